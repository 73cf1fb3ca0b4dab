//! Envoy's own filters and Sluice's, side by side: random VirtualServices, translated into native
//! configuration as istiod does and given to Sluice as they are, must have the same effect on every
//! request.
//!
//! - [`generate`] makes VirtualServices, and [`requests`] the requests for them,
//! - [`native`] translates them into Envoy's routes, without any code of Sluice,
//! - [`world`] runs one Envoy with a listener for each side, and sends requests,
//! - [`compare`] compares what became of a request,
//! - [`reduce`] makes a mismatch as small as possible,
//! - [`run`] does all of it and counts,
//! - [`versions`] has requests that versions of Envoy treat differently.

pub mod words;
pub mod case;
pub mod generate;
pub mod requests;
pub mod native;
pub mod observe;
pub mod world;
pub mod compare;
pub mod features;
pub mod reduce;
pub mod run;
pub mod versions;
