//! Updates of the sandbox's rules, which Envoy reads from a file.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use sluice_cli::page;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::requests::get;
use crate::sandbox::Sandbox;

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
    /// The rules as YAML, as Envoy has accepted them
    current: Mutex<String>,
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
        let current = Mutex::new(sandbox.rules.clone());
        let rules = Self { sandbox, file, current };
        rules.write(&rules.sandbox.rules)?;
        Ok(rules)
    }

    /// The rules as YAML.
    pub async fn current(&self) -> String {
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
        self.write(rules)?;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let now = self.updates().await?;
            if now.rejected > before.rejected {
                bail!("Envoy has rejected the rules, see its log");
            }
            if now.accepted > before.accepted {
                rules.clone_into(&mut current);
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("Envoy has not read the rules within {DEADLINE:?}");
            }
            sleep(PAUSE).await;
        }
    }

    /// Writes the file in one step, so that Envoy never reads a part of it.
    fn write(&self, rules: &str) -> Result<()> {
        let document = page::document(rules).map_err(anyhow::Error::msg)?;
        let new = self.file.with_extension("new");
        fs::write(&new, self.sandbox.discovery(&document)?)?;
        fs::rename(&new, &self.file).with_context(|| format!("{}", self.file.display()))
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
        let body = get(self.sandbox.admin_port, path).await.context("Envoy's admin interface")?;
        let stats: Value = serde_json::from_slice(&body)?;
        let stats = stats.get("stats").and_then(Value::as_array).into_iter().flatten();
        let number = |own: &Value| {
            Some((own.get("name")?.as_str()?.to_owned(), own.get("value")?.as_u64()?))
        };
        Ok(stats.filter_map(number).collect())
    }

    /// The port of the sandbox.
    pub fn port(&self) -> u16 {
        self.sandbox.port
    }
}
