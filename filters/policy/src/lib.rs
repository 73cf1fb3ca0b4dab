//! Istio traffic policy, compiled once and asked on every request.
