//! Tests of the workspace's own sources.
//!
//! Each library and program of the workspace is read as a tree of modules ([`modules`]). The paths
//! in its code are resolved to imports between these modules ([`imports`]). The imports must not
//! run in a circle between files ([`circles`]), and where a crate declares layers they must all
//! point downwards ([`layers`]). Code that only tests compile is left out.
//!
//! Like in every crate with layers, the order of the modules below is the order of the layers.

pub mod workspace;
pub mod modules;
pub mod names;
pub mod tokens;
pub mod imports;
pub mod circles;
pub mod layers;
pub mod unsafe_code;
pub mod repeats;
pub mod width;
pub mod named_tests;
pub mod statistics;
