//! What a network filter asks of Envoy during a connection.

use crate::host::Host;

/// The filter state by which a network filter chooses the cluster of `envoy.filters.network.tcp_proxy`.
/// Of effect only in `on_new_connection`: by the first bytes the cluster has been chosen.
pub const TCP_PROXY_CLUSTER: &str = "envoy.tcp_proxy.cluster";

/// The filter state with the server name that Envoy sends to the upstream, where it opens TLS itself.
pub const UPSTREAM_SERVER_NAME: &str = "envoy.network.upstream_server_name";

/// The calls into Envoy, of the connection whose callback runs. None of them panics.
pub trait NetworkHost: Host {
    /// What has come from the client and has not been let through, from `start` on and at most `length`
    /// bytes. Empty outside of `on_downstream_data`, and when there is no byte at `start`.
    ///
    /// After a pause it is all that has gathered, after letting it go on only what came since.
    fn downstream_data(&self, start: usize, length: usize) -> Vec<u8>;

    /// Closes the connection to the client, once what was sent to it is flushed. The callback has to
    /// pause, so that nothing more goes on.
    fn close_downstream(&self);

    /// Lets a connection go on that was paused in `on_new_connection` or `on_downstream_data`. Calls
    /// outside of a pause are harmless.
    fn resume_downstream(&self);

    /// Sets a filter state that Envoy knows, such as [`TCP_PROXY_CLUSTER`], for the connection. False
    /// when Envoy does not know it or refuses the value.
    ///
    /// Envoy 1.36 takes it only in a callback of the connection itself, not in `on_tick`.
    fn set_filter_state(&self, key: &str, value: &[u8]) -> bool;
}
