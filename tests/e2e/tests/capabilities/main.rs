//! Envoy denies a module every host call that it does not import, and the module needs each of the
//! others: without one of them, its behaviour or its statistics are others.

mod modules;
mod observe;
mod outlier;
mod tls;
mod variants;

use observe::Observer;
use sluice_e2e::Envoy;
use variants::{ALL, Variant};

/// Calls that nobody outside of the module can miss, with the reason; of one module, or of all. The
/// tests fail for a call in this list that is missed, and for another one that is not missed.
const UNSEEN: [(Option<&str>, &str, &str); 8] = [
    (None, "environ_get", "only a panic asks for environment variables, for its backtrace"),
    (None, "environ_sizes_get", "only a panic asks for environment variables, for its backtrace"),
    (None, "fd_write", "only a panic writes to standard error"),
    (None, "proc_exit", "only a panic ends the process"),
    (None, "proxy_get_log_level", "it saves the formatting of lines that Envoy would not show"),
    (Some("mirror"), "proxy_replace_header_map_value", "the filter only adds and removes headers"),
    (Some("mirror"), "proxy_set_effective_context", "it enters the context that is entered"),
    (Some("outlier"), "proxy_add_header_map_value", "the filter only sets and removes headers"),
];

impl Variant {
    /// Returns whether nothing is missed.
    fn is_whole(&self) -> bool {
        let is_of = |module: Option<&str>| module.is_none_or(|module| module == self.module);
        let is_unseen = UNSEEN.iter().any(|(module, call, _)| *call == self.name && is_of(*module));
        self.name == ALL || is_unseen
    }
}

/// Compares what is seen of each variant with what is seen of the one with all host calls.
async fn compare(envoy: &Envoy, variants: &[Variant], requests: impl AsyncFn(&mut Observer<'_>)) {
    let mut all = Vec::new();
    let mut wrong = Vec::new();
    for variant in variants {
        let mut observer = Observer::new(envoy, variant);
        if envoy.has_listener(variant.name) {
            requests(&mut observer).await;
        } else {
            assert!(variant.name != ALL, "{}", envoy.log());
            observer.see("listener", "refused");
        }
        let seen = observer.seen;
        if variant.name == ALL {
            println!("{}", seen.join("\n"));
            all = seen;
            continue;
        }
        let is_missed = seen != all;
        let (new, gone) = (difference(&seen, &all), difference(&all, &seen));
        let found = format!("without {}: {new:#?} in place of {gone:#?}", variant.name);
        println!("{found}");
        if is_missed == variant.is_whole() {
            wrong.push(found);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The lines that only the first one has.
fn difference<'a>(lines: &'a [String], others: &[String]) -> Vec<&'a String> {
    lines.iter().filter(|line| !others.contains(line)).collect()
}
