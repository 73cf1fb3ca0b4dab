//! A model of Envoy's outlier detection, written from its source and without code of Sluice:
//! `source/common/upstream/outlier_detection_impl.cc`. Times are in milliseconds. All random
//! numbers are equal.

use std::cmp::min;

/// `DetectorConfig`.
#[derive(Clone, Debug)]
pub struct Config {
    pub interval: i64,
    pub base_ejection_time: i64,
    pub max_ejection_time: i64,
    pub max_ejection_time_jitter: i64,
    pub max_ejection_percent: u32,
    pub always_eject_one_host: bool,
    pub split: bool,
    pub consecutive_5xx: u32,
    pub consecutive_gateway_failure: u32,
    pub consecutive_local_origin_failure: u32,
    pub enforcing_consecutive_5xx: u64,
    pub enforcing_consecutive_gateway_failure: u64,
    pub enforcing_consecutive_local_origin_failure: u64,
    /// Minimum hosts, request volume, factor in thousandths
    pub success_rate: Option<(usize, u64, u32)>,
    /// Minimum hosts, request volume, threshold
    pub failure_percentage: Option<(usize, u64, u32)>,
}

/// `Result` of the router, with the HTTP status where there is one.
#[derive(Clone, Copy, Debug)]
pub enum Report {
    Code(u16),
    ConnectFailed,
    ConnectSuccess,
    Timeout,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    success: u64,
    total: u64,
}

/// `DetectorHostMonitorImpl` and the health flag of its host.
#[derive(Clone, Debug, Default)]
pub struct Monitor {
    pub failed_outlier_check: bool,
    pub consecutive_5xx: u32,
    pub consecutive_gateway_failure: u32,
    pub consecutive_local_origin_failure: u32,
    pub eject_time_backoff: i64,
    num_ejections: u32,
    last_ejection_time: i64,
    last_unejection_time: Option<i64>,
    jitter: i64,
    external: Bucket,
    local: Bucket,
}

/// `DetectorImpl`.
pub struct Detector {
    config: Config,
    random: u64,
    ejections_active: u32,
    pub monitors: Vec<Monitor>,
    pub timeline: Vec<String>,
}

impl Detector {
    pub fn new(config: Config, hosts: usize, random: u64) -> Self {
        let monitors = vec![Monitor::default(); hosts];
        Self { config, random, ejections_active: 0, monitors, timeline: Vec::new() }
    }

    pub fn put_result(&mut self, now: i64, host: usize, report: Report) {
        if self.config.split {
            match report {
                Report::Code(code) => self.put_http_response_code(now, host, code),
                Report::ConnectSuccess => {
                    let monitor = &mut self.monitors[host];
                    monitor.local.total += 1;
                    monitor.local.success += 1;
                    monitor.consecutive_local_origin_failure = 0;
                }
                Report::ConnectFailed | Report::Timeout => {
                    let monitor = &mut self.monitors[host];
                    monitor.local.total += 1;
                    monitor.consecutive_local_origin_failure += 1;
                    let threshold = self.config.consecutive_local_origin_failure;
                    if monitor.consecutive_local_origin_failure == threshold {
                        self.on_consecutive(now, host, "consecutive_local_origin_failure");
                    }
                }
            }
        } else {
            match report {
                Report::Code(code) => self.put_http_response_code(now, host, code),
                Report::ConnectFailed => self.put_http_response_code(now, host, 503),
                Report::ConnectSuccess => {}
                Report::Timeout => self.put_http_response_code(now, host, 504),
            }
        }
    }

    fn put_http_response_code(&mut self, now: i64, host: usize, code: u16) {
        self.monitors[host].external.total += 1;
        if !(500..600).contains(&code) {
            let monitor = &mut self.monitors[host];
            monitor.external.success += 1;
            monitor.consecutive_5xx = 0;
            monitor.consecutive_gateway_failure = 0;
            return;
        }
        // Both are posted to the main thread, so the second counter increases before the first one
        // takes effect.
        let monitor = &mut self.monitors[host];
        let mut posted = Vec::new();
        if [502, 503, 504].contains(&code) {
            monitor.consecutive_gateway_failure += 1;
            if monitor.consecutive_gateway_failure == self.config.consecutive_gateway_failure {
                posted.push("consecutive_gateway_failure");
            }
        } else {
            monitor.consecutive_gateway_failure = 0;
        }
        monitor.consecutive_5xx += 1;
        if monitor.consecutive_5xx == self.config.consecutive_5xx {
            posted.push("consecutive_5xx");
        }
        posted.into_iter().for_each(|kind| self.on_consecutive(now, host, kind));
    }

    fn on_consecutive(&mut self, now: i64, host: usize, kind: &str) {
        if self.monitors[host].failed_outlier_check {
            return;
        }
        self.eject_host(now, host, kind);
        let monitor = &mut self.monitors[host];
        match kind {
            "consecutive_5xx" => monitor.consecutive_5xx = 0,
            "consecutive_gateway_failure" => monitor.consecutive_gateway_failure = 0,
            _ => monitor.consecutive_local_origin_failure = 0,
        }
    }

    fn enforce(&self, kind: &str) -> bool {
        let percent = match kind {
            "consecutive_5xx" => self.config.enforcing_consecutive_5xx,
            "consecutive_gateway_failure" => self.config.enforcing_consecutive_gateway_failure,
            "consecutive_local_origin_failure" => {
                self.config.enforcing_consecutive_local_origin_failure
            }
            _ => 100,
        };
        self.random % 100 < percent
    }

    fn eject_host(&mut self, now: i64, host: usize, kind: &str) {
        let active = f64::from(self.ejections_active + 1);
        let ejected_percent = 100.0 * active / self.monitors.len() as f64;
        let mut should_eject = ejected_percent <= f64::from(self.config.max_ejection_percent);
        if self.config.always_eject_one_host {
            should_eject = self.ejections_active == 0 || should_eject;
        }
        let enforced = should_eject && self.enforce(kind);
        let suffix = if enforced { "" } else { ", not enforced" };
        self.timeline.push(format!("{now} {host} detected {kind}{suffix}"));
        if !should_eject {
            self.timeline.push(format!("{now} {host} overflow"));
        }
        if !enforced {
            return;
        }
        self.ejections_active += 1;
        let config = &self.config;
        let monitor = &mut self.monitors[host];
        monitor.failed_outlier_check = true;
        monitor.num_ejections += 1;
        monitor.last_ejection_time = now;
        monitor.jitter =
            i64::try_from(self.random % (config.max_ejection_time_jitter as u64 + 1)).unwrap();
        if monitor.eject_time_backoff * config.base_ejection_time
            < config.max_ejection_time + config.base_ejection_time
        {
            monitor.eject_time_backoff += 1;
        }
        let time = ejection_time(config, monitor);
        let number = monitor.num_ejections;
        self.timeline
            .push(format!("{now} {host} ejected for {time} ms by {kind}, number {number}"));
    }

    pub fn on_interval_timer(&mut self, now: i64) {
        let mut external = Vec::new();
        let mut local = Vec::new();
        for (host, monitor) in self.monitors.iter_mut().enumerate() {
            let since = now - monitor.last_ejection_time;
            if monitor.failed_outlier_check && ejection_time(&self.config, monitor) <= since {
                self.ejections_active -= 1;
                monitor.failed_outlier_check = false;
                monitor.consecutive_5xx = 0;
                monitor.consecutive_gateway_failure = 0;
                monitor.consecutive_local_origin_failure = 0;
                monitor.last_unejection_time = Some(now);
                self.timeline.push(format!("{now} {host} returned after {since} ms"));
            }
            external.push(std::mem::take(&mut monitor.external));
            local.push(std::mem::take(&mut monitor.local));
        }
        self.process_success_rate_ejections(now, &external, "");
        self.process_success_rate_ejections(now, &local, "local_origin_");
        for monitor in &mut self.monitors {
            let is_long_ago = |time: i64| now - time >= self.config.interval;
            if !monitor.failed_outlier_check
                && monitor.last_unejection_time.is_some_and(is_long_ago)
                && monitor.eject_time_backoff != 0
            {
                monitor.eject_time_backoff -= 1;
            }
        }
    }

    fn process_success_rate_ejections(&mut self, now: i64, buckets: &[Bucket], prefix: &str) {
        let valid = |volume: u64| -> Vec<(usize, f64)> {
            let hosts = self.monitors.iter().zip(buckets).enumerate();
            hosts
                .filter(|(_, (monitor, _))| !monitor.failed_outlier_check)
                .filter(|(_, (_, bucket))| bucket.total > 0 && bucket.total >= volume)
                .map(|(host, (_, b))| (host, b.success as f64 * 100.0 / b.total as f64))
                .collect()
        };
        let success = self
            .config
            .success_rate
            .map(|(hosts, volume, factor)| (valid(volume), hosts, f64::from(factor) / 1000.0));
        let failure = self
            .config
            .failure_percentage
            .map(|(hosts, volume, threshold)| (valid(volume), hosts, f64::from(threshold)));
        if let Some((rates, minimum, factor)) = success
            && !rates.is_empty()
            && rates.len() >= minimum
        {
            let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / rates.len() as f64;
            let squares = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>();
            let threshold = mean - factor * (squares / rates.len() as f64).sqrt();
            for (host, _) in rates.iter().filter(|(_, rate)| *rate < threshold) {
                self.eject_host(now, *host, &format!("{prefix}success_rate"));
            }
        }
        if let Some((rates, minimum, threshold)) = failure
            && !rates.is_empty()
            && rates.len() >= minimum
        {
            for (host, _) in rates.iter().filter(|(_, rate)| 100.0 - rate >= threshold) {
                self.eject_host(now, *host, &format!("{prefix}failure_percentage"));
            }
        }
    }
}

fn ejection_time(config: &Config, monitor: &Monitor) -> i64 {
    min(config.base_ejection_time * monitor.eject_time_backoff, config.max_ejection_time)
        + monitor.jitter
}
