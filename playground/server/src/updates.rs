//! Updates of the sandbox's rules, which Envoy reads from a file.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use sluice_cli::page;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::requests::get;
use crate::sandbox::Sandbox;
use crate::secret::Secret;

/// The time in which Envoy reads a changed file.
const DEADLINE: Duration = Duration::from_secs(10);

/// The time between two looks at the counters of Envoy.
const PAUSE: Duration = Duration::from_millis(50);

/// Envoy's counters of the filter that it reads from a file.
const COUNTERS: &str = "/stats?format=json&filter=extension_config_discovery.http_filter.sluice";

/// The rules in the sandbox.
pub struct Rules {
    sandbox: Sandbox,
    /// The file that Envoy reads
    file: PathBuf,
    /// The rules that Envoy has accepted
    current: Mutex<Current>,
}

/// Rules that Envoy has accepted.
#[derive(Clone, Debug)]
pub struct Current {
    /// The rules as YAML
    pub rules: String,
    /// What a request needs to be explained
    pub secret: Option<Secret>,
}

/// How often Envoy has accepted and rejected an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Updates {
    accepted: u64,
    rejected: u64,
}

impl Rules {
    /// The rules that the sandbox starts with. Writes them to `file`.
    ///
    /// # Errors
    /// The rules have an error, or the file cannot be written.
    pub fn new(sandbox: Sandbox, file: PathBuf) -> Result<Self> {
        let secret = write(&sandbox, &file, &sandbox.rules)?;
        let current = Mutex::new(Current { rules: sandbox.rules.clone(), secret });
        Ok(Self { sandbox, file, current })
    }

    /// The rules.
    pub async fn current(&self) -> Current {
        self.current.lock().await.clone()
    }

    /// Replaces the rules, and waits until Envoy has accepted them.
    ///
    /// # Errors
    /// The rules have an error, Envoy rejects them, or it does not read the file. Then the old
    /// rules stay.
    pub async fn replace(&self, rules: &str) -> Result<()> {
        // One update at a time, so that a counter belongs to its update.
        let mut current = self.current.lock().await;
        let before = self.updates().await?;
        let secret = write(&self.sandbox, &self.file, rules)?;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let now = self.updates().await?;
            if now.rejected > before.rejected {
                bail!("Envoy has rejected the rules, see its log");
            }
            if now.accepted > before.accepted {
                *current = Current { rules: rules.to_owned(), secret };
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("Envoy has not read the rules within {DEADLINE:?}");
            }
            sleep(PAUSE).await;
        }
    }

    async fn updates(&self) -> Result<Updates> {
        let stats = self.stats(COUNTERS).await?;
        let sum = |end: &str| {
            let own = stats.iter().filter(|(name, _)| name.ends_with(end));
            own.map(|(_, value)| value).sum()
        };
        Ok(Updates { accepted: sum("update_success"), rejected: sum("update_rejected") })
    }

    /// The counters of the filters that are not 0, by name.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub async fn counters(&self) -> Result<Vec<(String, u64)>> {
        self.stats("/stats?format=json&usedonly&filter=wasmcustom%5C.sluice").await
    }

    /// Counters and gauges of Envoy's admin interface.
    async fn stats(&self, path: &str) -> Result<Vec<(String, u64)>> {
        let body = get(self.sandbox.admin, path).await.context("Envoy's admin interface")?;
        let stats: Value = serde_json::from_slice(&body)?;
        let stats = stats.get("stats").and_then(Value::as_array).into_iter().flatten();
        let number = |own: &Value| {
            Some((own.get("name")?.as_str()?.to_owned(), own.get("value")?.as_u64()?))
        };
        Ok(stats.filter_map(number).collect())
    }

    /// The address of the sandbox.
    pub fn edge(&self) -> SocketAddr {
        self.sandbox.edge
    }
}

/// Writes the file that Envoy reads, in one step, so that Envoy never reads a part of it. Returns
/// what a request needs to be explained.
fn write(sandbox: &Sandbox, file: &Path, rules: &str) -> Result<Option<Secret>> {
    let document = page::document(rules).map_err(anyhow::Error::msg)?;
    let (text, secret) = sandbox.discovery(&document)?;
    let new = file.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, file).with_context(|| format!("{}", file.display()))?;
    Ok(secret)
}
