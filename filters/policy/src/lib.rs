//! Istio traffic policy: documents are compiled once, then each request is decided by them.
//!
//! This crate makes no calls to Envoy, reads no clock and draws no random numbers: callers pass in
//! what a decision needs. Its modules are layers in reading order. A module imports only from
//! those above it:
//!
//! - [`bytes`] compares bytes, eight at a time. [`mod@hash`], [`name_set`] and [`mod@sort`] are a
//!   hash function, a set of names and a sort.
//! - [`document`] parses a document and reports every error with its path. It contains nothing of
//!   Istio.
//! - [`value`] contains small types with their syntax and errors: durations, percentages, hosts.
//! - [`request`] is what a decision can read: headers, connection, random numbers, ClientHello.
//! - [`lookup`] finds one host, rule or name among ten thousand.
//! - [`spec`] contains Istio's resources and Sluice's settings, one file each: the fields, the
//!   reader, the compiled form.
//! - [`router`], [`fault`], [`mirror`], [`sni`], [`egress`] and [`outlier`] are the policies, one
//!   for each filter. [`chain`] combines those of an HTTP request.
//! - [`explain`] explains the decisions about a request to those who may ask.
//! - [`desk`] explains and warns, for the command only.
//!
//! # From a document to a policy
//!
//! [`document::parse`](mod@document::parse) turns the bytes, JSON or a protobuf `Struct`, into a
//! tree. [`Document`](spec::document::Document) reads the tree object by object: each object
//! declares its [fields](document::fields), and a reader returns a value or the proof that it
//! reported an error. A document with an error is rejected as a whole, with all errors. Each
//! [`Policy`] is built from the compiled document. The declarations of the fields are also the
//! source of the JSON Schema.
//!
//! # From a request to a decision
//!
//! A filter builds a [`Request`](request::Request) over the headers that Envoy passed, without
//! copying them. The policy finds the virtual host by authority, then the first rule that matches
//! (through an index if there are many), and returns a decision: edits of headers, a reply, a
//! delay, copies. The filter carries it out.

pub mod bytes;
pub mod hash;
pub mod name_set;
pub mod sort;
pub mod document;
pub mod value;
pub mod request;
pub mod lookup;
pub mod spec;
pub mod router;
pub mod fault;
pub mod mirror;
pub mod sni;
pub mod egress;
pub mod outlier;
pub mod chain;
pub mod explain;
pub mod desk;
#[cfg(test)]
mod testing;

pub use chain::Chain;
pub use egress::Egress;
pub use fault::Faults;
pub use mirror::Mirrors;
pub use outlier::Outliers;
pub use router::Router;
pub use sni::SniPolicy;
pub use spec::policy::Policy;
