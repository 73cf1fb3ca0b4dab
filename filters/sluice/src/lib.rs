//! Carries out the HTTP routes of an Istio VirtualService with their faults and mirrors, and the
//! egress policy. Does in one context what the egress, fault, mirror and router filters do one
//! after another.

pub mod worker;
pub mod stream;
mod plugin;
