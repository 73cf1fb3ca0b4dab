//! State of the host.

use std::collections::{BTreeMap, VecDeque};

use crate::answers::Hostility;
use crate::headers::Headers;

/// The state of an Envoy with one plugin, and the script of the stream that it runs.
#[derive(Debug, Default)]
pub struct Host {
    /// Nanoseconds since the start, on all clocks
    pub(crate) now: u64,
    /// Time of the next tick of the plugin, and its period, in nanoseconds
    pub(crate) timer: Option<(u64, u64)>,
    /// Attributes, by their path with zero bytes between its parts
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Header maps, by proxy-wasm's number of their kind; maps of other phases are absent
    pub(crate) maps: BTreeMap<u32, Headers>,
    /// Buffers, by proxy-wasm's number of their kind
    pub(crate) buffers: BTreeMap<u32, Vec<u8>>,
    /// Names and values of metrics; the id is the index
    pub(crate) metrics: Vec<(String, i64)>,
    /// Shared data, with the version of each value
    pub(crate) shared: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    /// Log messages of level info or above
    pub(crate) log: Vec<String>,
    /// The status of the local reply to the stream
    pub(crate) reply: Option<u32>,
    /// Whether the module let the stream go on that it had paused
    pub(crate) is_resumed: bool,
    /// Whether the module closed the connection
    pub(crate) is_closed: bool,
    /// Existing contexts
    pub(crate) contexts: Vec<u32>,
    /// Number of calls of each imported function; the names are in `imports`
    pub(crate) calls: Vec<u64>,
    pub(crate) imports: Vec<String>,
    /// Number of times that the host allocated memory in the module, to pass a value
    pub(crate) allocations: u64,
    /// Number of requests for random bytes
    pub(crate) draws: u8,
    /// Calls to clusters that were not answered yet, and the number of the last one
    pub(crate) sent_calls: VecDeque<u32>,
    pub(crate) last_token: u32,
    /// How the host answers
    pub(crate) hostility: Hostility,
    /// The plugin whose callback runs
    pub(crate) effective_plugin: Option<u32>,
    /// The last context of a stream inside of a call. These contexts count down from the top
    pub(crate) nested_context: u32,
    /// Number of wrong answers
    pub(crate) wrong_answers: u64,
}

/// proxy-wasm's numbers of header maps.
pub(crate) mod map {
    pub const REQUEST_HEADERS: u32 = 0;
    pub const RESPONSE_HEADERS: u32 = 2;
    pub const RESPONSE_TRAILERS: u32 = 3;
}

/// proxy-wasm's numbers of buffers.
pub(crate) mod buffer {
    pub const RESPONSE_BODY: u32 = 1;
    pub const DOWNSTREAM_DATA: u32 = 2;
    pub const PLUGIN_CONFIGURATION: u32 = 7;
}

impl Host {
    /// Returns the value of a metric that the module defined.
    pub fn metric(&self, name: &str) -> Option<i64> {
        self.metrics.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// Returns the log messages of level info or above.
    pub fn log(&self) -> &[String] {
        &self.log
    }

    /// Removes the finished stream.
    pub(crate) fn end_stream(&mut self) {
        self.properties.clear();
        self.maps.clear();
        self.buffers.clear();
        self.reply = None;
        self.is_resumed = false;
        self.is_closed = false;
    }
}
