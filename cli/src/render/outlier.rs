//! The outlier detection of clusters, by Envoy or by the outlier filter.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use sluice_policy::document::filter::Filter;
use sluice_policy::spec::destination_rule::clusters::Clusters;
use sluice_policy::spec::outlier::Enforcement;
use sluice_policy::spec::outlier_detection::{Failures, Settings};

use super::attach::Files;
use super::filter_entry::FilterEntry;
use super::object::Object;
use super::part::duration_text;
use super::place::Place;
use super::templates;

/// The outlier detection of a cluster. Each variant is named after its template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "template")]
pub enum Detection {
    /// Envoy ejects hosts.
    #[serde(rename = "outlier-detection.yaml")]
    Native(Native),
    /// The outlier filter ejects hosts.
    #[serde(rename = "watched-cluster.yaml")]
    Filter { filter: FilterEntry },
}

/// The fields of a cluster in which Envoy ejects hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Native {
    /// `outlier_detection`
    fields: Vec<Field>,
    /// `common_lb_config.healthy_panic_threshold`
    panic_percent: u32,
    /// A regular expression of the statuses that are failures, if Envoy needs a matcher
    statuses: Option<String>,
    /// The filter that marks the failures that Envoy does not recognize
    filter: Option<FilterEntry>,
}

/// A field with a number, a duration or a Boolean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Field {
    name: &'static str,
    value: FieldValue,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum FieldValue {
    Flag(bool),
    Number(u32),
    Time(String),
}

impl From<bool> for FieldValue {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u32> for FieldValue {
    fn from(number: u32) -> Self {
        Self::Number(number)
    }
}

/// A duration, which has whole milliseconds, in the notation of protobuf's JSON.
impl From<Duration> for FieldValue {
    fn from(duration: Duration) -> Self {
        Self::Time(duration_text(duration))
    }
}

impl Detection {
    /// The outlier detection with these settings. `module` is the path of the modules.
    pub fn new(settings: &Settings, files: &Files) -> Self {
        let filter = FilterEntry::new(Filter::Outlier, Place::Upstream, files);
        match settings.enforcement {
            Enforcement::Envoy => Self::Native(Native::new(settings, filter)),
            Enforcement::Filter => Self::Filter { filter },
        }
    }

    /// Returns whether responses have the header that marks failures.
    pub fn marks_failures(&self) -> bool {
        matches!(self, Self::Native(Native { filter: Some(_), .. }))
    }

    /// Returns whether the outlier filter ejects hosts, for which it also runs in listeners.
    pub fn is_by_filter(&self) -> bool {
        matches!(self, Self::Filter { .. })
    }
}

impl Native {
    fn new(settings: &Settings, filter: FilterEntry) -> Self {
        let failures = &settings.failures;
        let filter = failures.need_filter().then_some(filter);
        let needs_matcher = filter.is_some() || !failures.statuses().is_empty();
        Self {
            fields: fields(&settings.clone().without_mode()),
            panic_percent: settings.min_health_percent,
            statuses: needs_matcher.then(|| statuses(failures)),
            filter,
        }
    }
}

/// `HttpProtocolOptions` of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpOptions {
    /// Its fields as YAML, apart from those of the outlier detection
    fields: minijinja::Value,
    /// A regular expression of the statuses that are failures, if Envoy needs a matcher
    statuses: Option<String>,
    /// The outlier filter
    filter: Option<FilterEntry>,
    /// Its `root_id`
    root_id: String,
}

impl HttpOptions {
    /// The options with `fields` and those of the outlier detection; `None` without any.
    /// `protocol` is the field that all options must have. `cluster` is the name of the cluster, if
    /// the options are only for this one.
    pub fn new(
        protocol: Object,
        fields: Object,
        detection: Option<&Detection>,
        cluster: Option<&str>,
    ) -> Option<Self> {
        let (statuses, filter) = match detection {
            Some(Detection::Native(own)) => (own.statuses.clone(), own.filter.clone()),
            Some(Detection::Filter { filter }) => (None, Some(filter.clone())),
            None => (None, None),
        };
        let is_needed = !fields.is_empty() || statuses.is_some() || filter.is_some();
        let mut all = protocol;
        all.extend(fields);
        let root_id = match cluster {
            Some(name) => format!("upstream/{name}"),
            None => "upstream".to_owned(),
        };
        is_needed.then(|| Self { fields: templates::fields(all), statuses, filter, root_id })
    }

    /// The options that only the outlier detection needs.
    fn of_detection(detection: &Detection) -> Option<Self> {
        let protocol = json!({ "explicit_http_config": { "http_protocol_options": {} } });
        Self::new(Object::new(protocol), Object::default(), Some(detection), None)
    }
}

/// A regular expression of the statuses that are failures.
fn statuses(failures: &Failures) -> String {
    let statuses: Vec<_> = failures.statuses().iter().map(ToString::to_string).collect();
    if statuses.is_empty() { "5..".to_owned() } else { statuses.join("|") }
}

/// The fields of `outlier_detection`. The first ones are those that istiod writes
/// (`applyOutlierDetection` of istio `pilot/pkg/networking/core/cluster_traffic_policy.go`), with
/// the defaults of Istio. The others are only in Envoy, and are written if they are set.
fn fields(settings: &Settings) -> Vec<Field> {
    let mut fields = Fields::default();
    let five = settings.consecutive_5xx;
    let gateway = settings.consecutive_gateway_failure;
    fields.add("consecutive_5xx", five.threshold);
    fields.add("enforcing_consecutive_5xx", enforced(five.enforcing, five.threshold));
    fields.add("consecutive_gateway_failure", gateway.threshold);
    let enforcing = enforced(gateway.enforcing, gateway.threshold);
    fields.add("enforcing_consecutive_gateway_failure", enforcing);
    if settings.splits_local_origin {
        let local = settings.consecutive_local_origin_failure;
        fields.add("split_external_local_origin_errors", true);
        fields.add("consecutive_local_origin_failure", local.threshold);
        fields.add("enforcing_consecutive_local_origin_failure", local.enforcing);
    }
    fields.add("interval", settings.interval);
    fields.add("base_ejection_time", settings.base_ejection_time);
    fields.add("max_ejection_percent", settings.max_ejection_percent);
    fields.add("max_ejection_time", settings.max_ejection_time);
    if !settings.max_ejection_time_jitter.is_zero() {
        fields.add("max_ejection_time_jitter", settings.max_ejection_time_jitter);
    }
    if settings.always_ejects_one_host {
        fields.add("always_eject_one_host", true);
    }
    fields.add_rates(settings);
    fields.0
}

#[derive(Default)]
struct Fields(Vec<Field>);

impl Fields {
    fn add(&mut self, name: &'static str, value: impl Into<FieldValue>) {
        self.0.push(Field { name, value: value.into() });
    }

    /// Adds the detectors by rates. Envoy enforces the success rate by default.
    fn add_rates(&mut self, settings: &Settings) {
        let has_split = settings.splits_local_origin;
        let rate = settings.success_rate;
        self.add("enforcing_success_rate", rate.map_or(0, |rate| rate.enforcing));
        if has_split {
            let enforcing = rate.map_or(0, |rate| rate.enforcing_local_origin);
            self.add("enforcing_local_origin_success_rate", enforcing);
        }
        if let Some(rate) = rate {
            self.add("success_rate_minimum_hosts", rate.minimum_hosts);
            self.add("success_rate_request_volume", rate.request_volume);
            self.add("success_rate_stdev_factor", rate.stdev_factor);
        }
        if let Some(rate) = settings.failure_percentage {
            self.add("failure_percentage_threshold", rate.threshold);
            self.add("enforcing_failure_percentage", rate.enforcing);
            if has_split {
                let enforcing = rate.enforcing_local_origin;
                self.add("enforcing_failure_percentage_local_origin", enforcing);
            }
            self.add("failure_percentage_minimum_hosts", rate.minimum_hosts);
            self.add("failure_percentage_request_volume", rate.request_volume);
        }
    }
}

/// The enforcement of a detector: none if the threshold turns it off, as istiod writes it.
fn enforced(percent: u32, threshold: u32) -> u32 {
    if threshold == 0 { 0 } else { percent }
}

/// Clusters of Istio that a patch selects, and their outlier detection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// The host, complete
    host: String,
    /// The subset; without one all subsets
    subset: Option<String>,
    /// The port; without one all ports
    port: Option<u16>,
    detection: Detection,
    options: Option<HttpOptions>,
}

impl Watched {
    fn new(host: String, subset: Option<String>, port: Option<u16>, detection: Detection) -> Self {
        let options = HttpOptions::of_detection(&detection);
        Self { host, subset, port, detection, options }
    }

    /// The clusters of all subsets of a host whose outlier detection is the filter's.
    pub fn by_filter(host: String, files: &Files) -> Self {
        let filter = FilterEntry::new(Filter::Outlier, Place::Upstream, files);
        Self::new(host, None, None, Detection::Filter { filter })
    }

    /// The outlier detection of these clusters.
    pub fn detection(&self) -> &Detection {
        &self.detection
    }

    /// The clusters of DestinationRules, as few groups as possible.
    ///
    /// # Errors
    /// Clusters that patches cannot express: the patch of a host also applies to its subsets and
    /// ports, and a second patch cannot set a number to 0 or remove a field.
    pub fn of_rules(groups: &[Clusters<'_>], files: &Files) -> Result<Vec<Self>, String> {
        let detection =
            |clusters: &Clusters<'_>| clusters.settings.map(|own| Detection::new(own, files));
        let mut watched: Vec<Self> = Vec::new();
        // Wider groups come first.
        let mut groups = groups.to_vec();
        groups.sort_by_key(|clusters| (clusters.subset.is_some(), clusters.port.is_some()));
        for clusters in groups {
            let own = detection(&clusters);
            let wider = watched.iter().filter(|wider| wider.contains(&clusters));
            let wider: Vec<_> = wider.map(|wider| &wider.detection).collect();
            // Where the filter ejects hosts, it reads from the document whether a cluster has none.
            let is_applied = |wider: &&Detection| match &own {
                Some(own) => own == *wider,
                None => wider.is_by_filter(),
            };
            if !wider.iter().all(is_applied) {
                return Err(conflict(&clusters));
            }
            if let (Some(detection), []) = (own, &wider[..]) {
                let Clusters { host, subset, port, .. } = clusters;
                let (host, subset) = (host.to_owned(), subset.map(str::to_owned));
                watched.push(Self::new(host, subset, port, detection));
            }
        }
        Ok(watched)
    }

    /// Returns whether the patch for these clusters also applies to the others.
    fn contains(&self, clusters: &Clusters<'_>) -> bool {
        self.host == clusters.host
            && (self.subset.is_none() || self.subset.as_deref() == clusters.subset)
            && (self.port.is_none() || self.port == clusters.port)
    }
}

fn conflict(clusters: &Clusters<'_>) -> String {
    let Clusters { host, subset, port, .. } = clusters;
    let subset = subset.map(|name| format!("subset {name:?}"));
    let port = port.map(|port| format!("port {port}"));
    let names: Vec<_> = subset.into_iter().chain(port).collect();
    format!(
        "cannot render the outlierDetection of {}, {host}: it differs from that of the whole host \
         or subset, whose patch in an EnvoyFilter applies here too; set outlierDetection in each \
         subset or port instead",
        names.join(", ")
    )
}
