//! Histograms in the statistics of an Envoy.

use crate::envoy::Envoy;
use crate::wait::until;

/// A histogram as Prometheus gets it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// How many values it has
    pub count: u64,
    /// Upper bounds, each with the number of the values up to it
    buckets: Vec<(String, u64)>,
}

impl Histogram {
    /// Returns the number of values up to a bound, which must be that of a bucket, such as `100`.
    ///
    /// # Panics
    /// If there is no such bucket.
    pub fn up_to(&self, bound: &str) -> u64 {
        let bucket = self.buckets.iter().find(|(own, _)| own == bound);
        bucket.unwrap_or_else(|| panic!("no bucket {bound} in {self:?}")).1
    }
}

impl Envoy {
    /// Waits until a histogram of the filters, such as `sluice.fault.delay_ms`, has `count` values.
    /// Envoy updates histograms when it flushes statistics (`stats_flush_interval`).
    pub async fn histogram(&self, name: &str, count: u64) -> Histogram {
        let own = name.replace('.', "_");
        until(&format!("{name} has {count} values"), async || {
            let text = self.admin(&format!("/stats/prometheus?filter={name}")).await.text();
            let mut histogram = Histogram::default();
            // Envoy strips the namespace of wasm modules only.
            let lines = text.lines().filter_map(|line| line.split_once(&own));
            for (_, rest) in lines.filter(|(prefix, _)| !prefix.starts_with('#')) {
                let value = rest.rsplit(' ').next().and_then(|value| value.parse().ok());
                if rest.starts_with("_count") {
                    histogram.count = value.expect("a number");
                } else if let Some(bucket) = rest.strip_prefix("_bucket{le=\"") {
                    let bound = bucket.split('"').next().expect("a bound").to_owned();
                    histogram.buckets.push((bound, value.expect("a number")));
                }
            }
            (histogram.count == count).then_some(histogram)
        })
        .await
    }
}
