use crate::document::filter::Filter;
use crate::outlier::Outliers;
use crate::spec::document::Document;
use crate::spec::policy::Policy;
use crate::spec::proxy::NoMetadata;

/// Compiles rules with the cluster names `HOST[-SUBSET][:PORT]`, and returns the notices too.
fn read(rules: &str) -> Result<(Outliers, String), String> {
    read_with(r#""clusterName": "{host}[-{subset}][:{port}]""#, rules)
}

fn read_with(more: &str, rules: &str) -> Result<(Outliers, String), String> {
    let document = format!(r#"{{{more}, "destinationRules": {rules}}}"#);
    let read = Outliers::compile(document.as_bytes(), &NoMetadata);
    let (outliers, notices) = read.map_err(|rejection| rejection.to_string())?;
    let notices: Vec<String> = notices.iter().map(ToString::to_string).collect();
    Ok((outliers, notices.join("\n")))
}

/// Returns the base ejection time of a cluster in seconds, which identifies a policy in these
/// tests; 0 if the cluster has no policy.
fn base_seconds(outliers: &Outliers, cluster: &str) -> u64 {
    let target = outliers.target(cluster);
    target.map_or(0, |target| target.settings.base_ejection_time.as_secs())
}

fn detection(seconds: u32) -> String {
    format!(r#""outlierDetection": {{"baseEjectionTime": "{seconds}s"}}"#)
}

#[test]
fn a_subset_inherits_the_policy_of_the_host() {
    let rules = format!(
        r#"[{{"host": "a", "trafficPolicy": {{{}}}, "subsets": [
            {{"name": "v1", "labels": {{"version": "v1"}}, "trafficPolicy": {{{}}}}},
            {{"name": "v2", "trafficPolicy": {{"loadBalancer": {{}}}}}}, {{"name": "v3"}}]}}]"#,
        detection(1),
        detection(2)
    );
    let (outliers, notices) = read(&rules).unwrap();
    let bases = ["a", "a:80", "a-v1", "a-v1:80", "a-v2", "a-v3:80", "a-v4", "b"];
    assert_eq!(bases.map(|cluster| base_seconds(&outliers, cluster)), [1, 1, 2, 2, 1, 1, 0, 0]);
    assert_eq!(
        notices,
        "destinationRules[0].subsets[1].trafficPolicy.loadBalancer: is left to Envoy, \
         set it in the cluster"
    );
}

#[test]
fn a_port_policy_inherits_nothing() {
    let ports = format!(
        r#""portLevelSettings": [{{"port": {{"number": 80}}, {}}}, {{"port": {{"number": 81}}}}]"#,
        detection(3)
    );
    let rules = format!(
        r#"[{{"host": "a", "trafficPolicy": {{{}, {ports}}}, "subsets": [
            {{"name": "v1"}}, {{"name": "v2", "trafficPolicy": {{{}}}}},
            {{"name": "v3", "trafficPolicy": {{{ports}}}}}]}}]"#,
        detection(1),
        detection(2)
    );
    let (outliers, _) = read(&rules).unwrap();
    let bases = |name: &str| {
        [":80", ":81", ":82", ""].map(|port| base_seconds(&outliers, &format!("{name}{port}")))
    };
    assert_eq!(bases("a"), [3, 0, 1, 1]);
    assert_eq!(bases("a-v1"), [3, 0, 1, 1]);
    assert_eq!(bases("a-v2"), [2, 2, 2, 2]);
    assert_eq!(bases("a-v3"), [3, 0, 1, 1]);
}

#[test]
fn the_most_specific_host_wins() {
    let rule = |host: &str, seconds| {
        format!(r#"{{"host": "{host}", "trafficPolicy": {{{}}}}}"#, detection(seconds))
    };
    let rules =
        [rule("*", 1), rule("*.b.com", 2), rule("*.a.b.com", 3), rule("X.a.b.com", 4)].join(",");
    let (outliers, _) = read(&format!("[{rules}]")).unwrap();
    let bases = ["x.a.b.com:80", "y.a.b.com", "z.b.com", "b.com"];
    assert_eq!(bases.map(|cluster| base_seconds(&outliers, cluster)), [4, 3, 2, 1]);
}

#[test]
fn cluster_names_of_istio_are_the_default() {
    let rules = format!(
        r#"[{{"host": "reviews", "trafficPolicy": {{{}}}, "subsets": [{{"name": "v1"}}]}}]"#,
        detection(1)
    );
    let (outliers, _) = read_with(r#""namespace": "default""#, &rules).unwrap();
    for (cluster, seconds) in [
        ("outbound|9080||reviews.default.svc.cluster.local", 1),
        ("outbound|9080|v1|reviews.default.svc.cluster.local", 1),
        ("outbound|9080|v2|reviews.default.svc.cluster.local", 0),
        ("outbound|9080||reviews.other.svc.cluster.local", 0),
        ("inbound|9080||", 0),
    ] {
        assert_eq!(base_seconds(&outliers, cluster), seconds, "{cluster}");
    }
}

#[test]
fn rules_of_a_host_are_merged() {
    let rules = format!(
        r#"[{{"host": "a", "subsets": [{{"name": "v1"}}]}},
            {{"host": "a", "trafficPolicy": {{{}}}, "subsets": [{{"name": "v2"}}]}}]"#,
        detection(1)
    );
    let (outliers, _) = read(&rules).unwrap();
    assert_eq!(["a", "a-v1", "a-v2"].map(|cluster| base_seconds(&outliers, cluster)), [1, 1, 1]);
    let rules = r#"[{"host": "a", "trafficPolicy": {}, "subsets": [{"name": "v1"}]},
        {"host": "A", "trafficPolicy": {}, "subsets": [{"name": "v1"}]}]"#;
    assert_eq!(
        read(rules).unwrap_err(),
        "destinationRules[1].trafficPolicy: occurs twice for this host\n\
         destinationRules[1].subsets[0]: \"v1\" occurs twice for this host"
    );
}

#[test]
fn a_workload_selector_limits_a_rule() {
    let rule = |labels: &str, seconds| {
        format!(r#"{{"host": "a", {labels} "trafficPolicy": {{{}}}}}"#, detection(seconds))
    };
    let web = r#""workloadSelector": {"matchLabels": {"app": "web"}},"#;
    let rules = format!("[{}, {}]", rule("", 1), rule(web, 2));
    let proxy = |app: &str| {
        format!(r#""clusterName": "{{host}}", "proxy": {{"labels": {{"app": "{app}"}}}}"#)
    };
    assert_eq!(base_seconds(&read_with(&proxy("web"), &rules).unwrap().0, "a"), 2);
    assert_eq!(base_seconds(&read_with(&proxy("db"), &rules).unwrap().0, "a"), 1);
    let twice = format!("[{}, {}]", rule(web, 1), rule(web, 2));
    assert!(read_with(&proxy("web"), &twice).is_err());
    assert!(read_with(&proxy("db"), &twice).is_ok(), "a rule for other workloads cannot conflict");
}

#[test]
fn a_fallback_names_the_cluster_of_another_subset() {
    let rules = |own: &str, percent: u32| {
        format!(
            r#"[{{"host": "a", "subsets": [{{"name": "v1"}}, {{"name": "v2", "trafficPolicy":
                {{"outlierDetection": {{"maxEjectionPercent": {percent},
                "fallback": {{"subset": "{own}"}}}}}}}}]}}]"#
        )
    };
    let (outliers, notices) = read(&rules("v1", 100)).unwrap();
    let fallback = |cluster| outliers.target(cluster).unwrap().fallback;
    assert_eq!(fallback("a-v2:80").as_deref(), Some("a-v1:80"));
    assert_eq!(fallback("a-v2").as_deref(), Some("a-v1"));
    assert!(outliers.target("a-v2").unwrap().settings.half_open.is_some());
    assert_eq!(notices, "");
    let path = "destinationRules[0].subsets[1].trafficPolicy.outlierDetection.fallback";
    assert_eq!(
        read(&rules("v1", 50)).unwrap().1,
        format!(
            "{path}.subset: is used only when all hosts are out, which requires \
             maxEjectionPercent: 100"
        )
    );
    assert_eq!(
        read(&rules("v2", 100)).unwrap_err(),
        format!("{path}.subset: \"v2\" is the subset itself")
    );
    assert_eq!(
        read(&rules("v9", 100)).unwrap_err(),
        format!("{path}.subset: \"v9\" is not a subset of this host")
    );
    let rule = r#"[{"host": "a", "subsets": [{"name": "v1"}], "trafficPolicy":
        {"outlierDetection": {"fallback": {"subset": "v1"}}}}]"#;
    assert_eq!(
        read(rule).unwrap_err(),
        "destinationRules[0].trafficPolicy.outlierDetection.fallback.subset: can only be used in a subset"
    );
}

#[test]
fn settings_without_effect_are_reported() {
    let rules = format!(
        r#"[{{"host": "a", "exportTo": ["."], "trafficPolicy": {{"portLevelSettings":
            [{{"port": {{"number": 80}}, {}}}]}},
            "subsets": [{{"name": "v1", "trafficPolicy": {{{}}}}}]}}]"#,
        detection(1),
        detection(2)
    );
    let (_, notices) = read_with(r#""clusterName": "{host}""#, &rules).unwrap();
    assert_eq!(
        notices,
        "destinationRules[0].exportTo: has no effect in a filter, only attached documents apply\n\
         destinationRules[0].trafficPolicy.portLevelSettings[0]: has no effect, clusterName \
         has no {port}\n\
         destinationRules[0].subsets[0].trafficPolicy: has no effect, clusterName has no \
         {subset}"
    );
}

#[test]
fn rejects_invalid_fields() {
    let rules = r#"[{"host": "a*", "subset": []}, {"subsets": [{"name": "V 1"}, {"name": ""}, {}]},
        {"host": "a", "trafficPolicy": {"outlierDetection": {"intervall": "1s"}, "tls": {},
        "portLevelSettings": [{"port": {"number": 0}}, {}, {"port": {"number": 80}, "tunnel": 1},
        {"port": {"number": 80}}]}, "workloadSelector": {}}]"#;
    assert_eq!(
        read(rules).unwrap_err(),
        "destinationRules[0].host: \"a*\" has a * that is not at the start\n\
         destinationRules[0].subset: unknown field, did you mean \"subsets\"?\n\
         destinationRules[1].host: is required\n\
         destinationRules[1].subsets[0].name: \"V 1\" is not a DNS label\n\
         destinationRules[1].subsets[1].name: must not be empty\n\
         destinationRules[1].subsets[2].name: is required\n\
         destinationRules[2].trafficPolicy.outlierDetection.intervall: unknown field, did you mean \
         \"interval\"?\n\
         destinationRules[2].trafficPolicy.portLevelSettings[0].port.number: 0 is not in the range 1 to 65535\n\
         destinationRules[2].trafficPolicy.portLevelSettings[1].port: is required\n\
         destinationRules[2].trafficPolicy.portLevelSettings[2].tunnel: unknown field, the fields here are \
         port, outlierDetection, loadBalancer, connectionPool, tls\n\
         destinationRules[2].trafficPolicy.portLevelSettings[3]: port 80 occurs twice\n\
         destinationRules[2].workloadSelector.matchLabels: is required"
    );
}

#[test]
fn groups_of_clusters_have_the_detection_of_each_cluster() {
    let rules = format!(
        r#"[
            {{"host": "a.com", "trafficPolicy": {{{}, "portLevelSettings": [
                {{"port": {{"number": 80}}, {}}}, {{"port": {{"number": 90}}}}]}},
              "subsets": [{{"name": "v1"}}, {{"name": "v2", "trafficPolicy": {{{}}}}}]}},
            {{"host": "b.com", "subsets": [{{"name": "v1"}}]}}
        ]"#,
        detection(1),
        detection(2),
        detection(3),
    );
    let text = format!(
        r#"{{"clusterName": "{{host}}[-{{subset}}][:{{port}}]", "destinationRules": {rules}}}"#
    );
    let (document, _) =
        Document::parse(text.as_bytes(), Filter::Outlier, &NoMetadata).expect("a document");
    let rules = &document.destination_rules;
    let mut found = Vec::new();
    for clusters in rules.clusters() {
        let seconds = clusters.settings.map_or(0, |own| own.base_ejection_time.as_secs());
        let subset = clusters.subset.map(|subset| format!("-{subset}")).unwrap_or_default();
        let port = clusters.port.map(|port| format!(":{port}")).unwrap_or_default();
        let cluster = format!("{}{subset}{port}", clusters.host);
        let target = rules.target(&cluster);
        let of_cluster = target.map_or(0, |own| own.settings.base_ejection_time.as_secs());
        assert_eq!(of_cluster, seconds, "{cluster}");
        found.push(format!("{cluster} {seconds}"));
    }
    assert_eq!(
        found,
        [
            "a.com 1",
            "a.com:80 2",
            "a.com:90 0",
            "a.com-v1 1",
            "a.com-v1:80 2",
            "a.com-v1:90 0",
            "a.com-v2 3",
            "a.com-v2:80 3",
            "a.com-v2:90 3",
            "b.com 0",
            "b.com-v1 0",
        ]
    );
}
