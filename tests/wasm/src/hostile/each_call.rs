//! Each call of a module fails with each status.

use anyhow::{Context, Result, ensure};

use crate::answers::{Hostility, STATUSES};
use crate::hostile::traffic::{Target, Traffic};

/// Callbacks while a call fails.
const CALLBACKS: u64 = 30;

/// Functions that only the start of a VM or a panic calls.
const OF_START: [&str; 4] = ["environ_get", "environ_sizes_get", "fd_write", "proc_exit"];

/// WASI's functions, without which a plugin cannot work.
const NEEDED: [&str; 2] = ["clock_time_get", "random_get"];

/// What was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallFailures {
    /// Number of functions that the module calls
    pub calls: u64,
    /// Number of statuses that each of them has had
    pub statuses: u64,
    /// Number of callbacks
    pub callbacks: u64,
}

/// Fails each call of a module with each status: in its streams, in the configuration of another
/// plugin, and from the start of the VM.
///
/// # Errors
/// If the module traps, if it does not go on afterwards, or if it accepts a document without a call
/// that it needs.
pub fn fail_each_call(module: &str) -> Result<CallFailures> {
    let target = Target::read(module)?;
    let mut tried = CallFailures { statuses: STATUSES.len() as u64, ..CallFailures::default() };
    let calls = target.program.imports().into_iter();
    for call in calls.filter(|call| !OF_START.contains(&call.as_str())) {
        tried.calls += 1;
        let later = fail_later(&target, &call);
        tried.callbacks += later.with_context(|| format!("{module}: {call} fails later"))?;
        for status in STATUSES {
            let from_start = fail_from_start(&target, &call, status);
            let what = || format!("{module}: {call} returns {status} from the start");
            tried.callbacks += from_start.with_context(what)?;
        }
    }
    Ok(tried)
}

fn failing(call: &str, status: i32) -> Hostility {
    Hostility::Always { call: call.to_owned(), status }
}

/// The call has each status in turn, in streams of a plugin that was configured before, and in the
/// configuration of another plugin.
fn fail_later(target: &Target, call: &str) -> Result<u64> {
    let mut traffic = Traffic::start(target, 1)?;
    traffic.run(CALLBACKS)?;
    for status in STATUSES {
        let what = || format!("status {status}");
        traffic.set_hostility(failing(call, status));
        traffic.run(CALLBACKS).with_context(what)?;
        traffic.add_plugin(0).with_context(what)?;
        traffic.run(CALLBACKS).with_context(what)?;
    }
    Ok(traffic.end()?.callbacks)
}

fn fail_from_start(target: &Target, call: &str, status: i32) -> Result<u64> {
    let hostility = failing(call, status);
    let (mut traffic, is_accepted) = Traffic::start_hostile(target, 2, hostility)?;
    let is_needed = NEEDED.contains(&call) && status != 0;
    ensure!(!(is_needed && is_accepted), "the document is accepted");
    traffic.run(CALLBACKS)?;
    Ok(traffic.end()?.callbacks)
}
