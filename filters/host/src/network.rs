//! The calls into Envoy that a network filter makes during a connection.

use crate::host::Host;

/// The filter state that chooses the cluster of `envoy.filters.network.tcp_proxy`. It has an effect
/// in `on_new_connection` only: when the first bytes arrive, the cluster has been chosen.
pub const TCP_PROXY_CLUSTER: &str = "envoy.tcp_proxy.cluster";

/// The filter state with the server name that Envoy sends to the upstream if it opens TLS itself.
pub const UPSTREAM_SERVER_NAME: &str = "envoy.network.upstream_server_name";

/// The calls into Envoy about the connection whose callback runs. None of them panics.
pub trait NetworkHost: Host {
    /// Returns the bytes from the client that have not been passed on, from `start` and at most
    /// `length` of them. Empty outside of `on_downstream_data` and if there is no byte at `start`.
    ///
    /// After a pause these are all bytes since the pause began, otherwise only the new ones.
    fn downstream_data(&self, start: usize, length: usize) -> Vec<u8>;

    /// Closes the connection to the client after all data for the client is sent. The callback has
    /// to return [`Pause`](crate::filter::Action::Pause).
    fn close_downstream(&self);

    /// Resumes a connection that was paused in `on_new_connection` or `on_downstream_data`. Has no
    /// effect on one that is not paused.
    fn resume_downstream(&self);

    /// Sets a filter state of the connection that Envoy knows, such as [`TCP_PROXY_CLUSTER`].
    /// Returns false if Envoy does not know it or refuses the value.
    ///
    /// Envoy 1.36 accepts it in callbacks of the connection itself only, not in `on_tick`.
    fn set_filter_state(&self, key: &str, value: &[u8]) -> bool;
}
