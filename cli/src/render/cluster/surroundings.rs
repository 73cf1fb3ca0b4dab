//! What the fields of a cluster depend on, beside its policy.

/// What the fields of a cluster depend on, beside its policy.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Whether the service speaks HTTP/2 only, by the protocol of its port
    pub is_http2: bool,
    /// `subjectAltNames` of the ServiceEntry
    pub subject_alt_names: &'a [String],
    /// The file with the certificate authorities of the system
    pub system_authorities: &'a str,
    /// Whether the outlier filter selects hosts, with a policy of its own for load balancing
    pub filter_selects_hosts: bool,
    /// Whether HTTP requests use the cluster, and not only connections
    pub is_for_http: bool,
    /// Whether requests may be copied, on routes of their own
    pub has_mirrors: bool,
}
