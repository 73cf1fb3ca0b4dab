use super::*;
use crate::yaml;

/// The errors of a plugin document in YAML, one per line.
fn errors(text: &str) -> String {
    errors_of(text, false)
}

/// The same, with elements that are Kubernetes objects or not.
fn errors_of(text: &str, are_objects: bool) -> String {
    let documents = yaml::parse(text).unwrap();
    let errors = check(&documents[0], |_| are_objects);
    errors.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n")
}

/// The errors of the trafficPolicy of a DestinationRule, without the path to it.
fn policy_errors(policy: &str) -> String {
    let text = format!("destinationRules: [{{host: a, trafficPolicy: {policy}}}]");
    errors(&text).replace("destinationRules[0].trafficPolicy", "")
}

#[test]
fn what_the_filters_read_is_left_to_them() {
    assert_eq!(errors("virtualServices: [{hosts: 7, http: [{x: 1}]}]"), "");
    assert_eq!(policy_errors("{outlierDetection: {failure: 7, consecutive5xxErrors: x}}"), "");
}

#[test]
fn a_second_policy_is_checked_too() {
    let text = "shadow: {virtualServices: [{hosts: [a], exportTo: [., .],
        tcp: [{route: [{destination: {host: a, subst: v1}}]}]}]}";
    assert_eq!(
        errors(text),
        "shadow.virtualServices[0].tcp[0].route[0].destination.subst: unknown field, did you mean \
         \"subset\"?\n\
         shadow.virtualServices[0].exportTo[1]: \".\" is an earlier namespace too"
    );
}

#[test]
fn fields_are_as_in_the_schemas() {
    assert_eq!(
        policy_errors(
            "{connectionPool: {http: {http1MaxPendingRequest: 1}}, loadBalancer: {simple: LEAST}}"
        ),
        ".connectionPool.http.http1MaxPendingRequest: unknown field, did you mean \
         \"http1MaxPendingRequests\"?\n\
         .loadBalancer.simple: \"LEAST\" is not one of UNSPECIFIED, LEAST_CONN, RANDOM, \
         PASSTHROUGH, ROUND_ROBIN, LEAST_REQUEST"
    );
    assert_eq!(
        policy_errors("{loadBalancer: {simple: RANDOM, consistentHash: {maglev: {}}}}"),
        ".loadBalancer: must have at most one of simple, consistentHash"
    );
    assert_eq!(
        policy_errors("{connection_pool: {tcp: {connect_timeout: 1us, maxConnections: 1.5}}}"),
        ".connection_pool.tcp.connect_timeout: \"1us\" is less than 1ms\n\
         .connection_pool.tcp.maxConnections: 1.5 is not a whole number"
    );
    assert_eq!(
        policy_errors("{connectionPool: {tcp: {maxConnections: -1}}}"),
        ".connectionPool.tcp.maxConnections: is negative"
    );
    assert_eq!(
        policy_errors("{tls: {mode: SIMPLE, mode: DISABLE, subjectAltNames: x}}"),
        ".tls.mode: occurs twice\n.tls.subjectAltNames: \"x\" is not a list"
    );
}

#[test]
fn objects_have_only_camel_case() {
    let text = "virtualServices: [{hosts: [a], http: [{match: [{without_headers: {}}],
                                                        mirror_percent: 5}],
                                   tls: [{match: [{sni_hosts: [a]}]}], export_to: [\"*\"]}]
destinationRules: [{host: a, traffic_policy: {load_balancer: {warmup: {duration: 1s, minimum_percent: 5}}}}]";
    assert_eq!(errors(text), "");
    let expected = [
        ("virtualServices[0].http[0].match[0].without_headers", "withoutHeaders"),
        ("virtualServices[0].tls[0].match[0].sni_hosts", "sniHosts"),
        ("virtualServices[0].export_to", "exportTo"),
        ("destinationRules[0].traffic_policy", "trafficPolicy"),
        ("destinationRules[0].traffic_policy.load_balancer", "loadBalancer"),
        (
            "destinationRules[0].traffic_policy.load_balancer.warmup.minimum_percent",
            "minimumPercent",
        ),
    ];
    let line = |(path, name)| {
        format!("{path}: is not in camelCase, which Kubernetes requires; write {name}")
    };
    assert_eq!(errors_of(text, true), expected.map(line).join("\n"));
}

#[test]
fn claims_of_objects_are_for_gateways() {
    let matched = "[{match: [{headers: {\"@request.auth.claims.a\": {exact: b}, x: {}}}]}]";
    let with = |gateways: &str, are_objects| {
        let text = format!("virtualServices: [{{hosts: [a], {gateways} http: {matched}}}]");
        errors_of(&text, are_objects)
    };
    let expected = "virtualServices[0].http[0].match[0].headers[\"@request.auth.claims.a\"]: is \
                    for gateways only; write gateways, without mesh";
    assert_eq!(with("", true), expected);
    assert_eq!(with("gateways: [g, mesh],", true), expected);
    assert_eq!(with("gateways: [g],", true), "");
    assert_eq!(with("", false), "");
}

#[test]
fn tcp_routes_are_checked() {
    let errors = |tcp: &str| errors(&format!("virtualServices: [{{hosts: [a], tcp: {tcp}}}]"));
    assert_eq!(errors("7"), "");
    assert_eq!(errors("[7]"), "virtualServices[0].tcp[0]: 7 is not an object");
    assert_eq!(errors("[{}]"), "virtualServices[0].tcp[0]: must have a route");
    assert_eq!(
        errors("[{match: [{port: 70000, destinationSubnets: [x]}], route: [{destination: {}}]}]"),
        "virtualServices[0].tcp[0].route[0].destination.host: is required"
    );
    assert_eq!(
        errors(
            "[{match: [{port: 70000, destinationSubnets: [x]}], route: [{destination: {host: a}}]}]"
        ),
        "virtualServices[0].tcp[0].match[0].destinationSubnets[0]: \"x\" is neither an IP address \
         nor a range such as 10.0.0.0/8\n\
         virtualServices[0].tcp[0].match[0].port: 70000 is not in the range 1 to 65535"
    );
    assert_eq!(
        errors("[{route: [{destination: {host: -a, port: {number: 0}}}]}]"),
        "virtualServices[0].tcp[0].route[0].destination.host: \"-a\" is not a host name\n\
         virtualServices[0].tcp[0].route[0].destination.port.number: 0 is not in the range 1 to 65535"
    );
    let two = "{destination: {host: a}}, {destination: {host: b}}";
    assert_eq!(
        errors(&format!("[{{route: [{two}]}}]")),
        "virtualServices[0].tcp[0].route: has weights with the sum 0"
    );
    let subset = |subset: &str| {
        errors(&format!("[{{route: [{{destination: {{host: a, subset: {subset}}}}}]}}]"))
    };
    assert_eq!(subset("v1") + &subset("''"), "");
    assert_eq!(
        subset("-v1"),
        "virtualServices[0].tcp[0].route[0].destination.subset: \"-v1\" is not a DNS label"
    );
}

#[test]
fn null_is_absent_except_in_lists() {
    assert_eq!(policy_errors("{connectionPool: {http: null, tcp: {maxConnections: null}}}"), "");
    assert_eq!(
        policy_errors("{tls: {mode: SIMPLE, subjectAltNames: [null]}}"),
        ".tls.subjectAltNames[0]: null is not a string"
    );
    assert_eq!(
        policy_errors("{tunnel: {targetHost: null, targetPort: 80}}"),
        ".tunnel.targetHost: is required"
    );
    assert_eq!(
        policy_errors("{tunnel: {targetHost: a.example.com, targetPort: 70000}}"),
        ".tunnel.targetPort: 70000 is not in the range 1 to 65535"
    );
}

#[test]
fn hosts_do_not_include_each_other() {
    let errors = |hosts: &str| errors(&format!("virtualServices: [{{hosts: {hosts}}}]"));
    assert_eq!(errors("['*.a.com', a.com, b.com, '*']").lines().count(), 3);
    assert_eq!(
        errors("['*.com', a.com]"),
        "virtualServices[0].hosts[1]: \"a.com\" is one of \"*.com\", which is a host too"
    );
    assert_eq!(errors("['*.a.com', a.com]"), "");
}

#[test]
fn exports_are_checked() {
    let errors = |list: &str, kind: &str, more: &str| {
        let text = format!("namespace: b\n{kind}: [{{hosts: [a], exportTo: {list}{more}}}]");
        errors(&text).replace(&format!("{kind}[0].exportTo"), "")
    };
    let (rules, entries) = ("destinationRules", "serviceEntries");
    for (list, error) in [
        ("['.', b]", "[1]: \"b\" is an earlier namespace too"),
        ("[c, '*']", ": cannot combine \"*\" with others"),
        ("[c]", ""),
        ("['~']", "[0]: \"~\" is not a namespace, . or *"),
        ("[a_b]", "[0]: \"a_b\" is not a namespace, . or *"),
    ] {
        assert_eq!(errors(list, rules, ""), error, "{list}");
    }
    assert_eq!(errors("['~']", entries, ""), "");
    let selector = ", workloadSelector: {}";
    assert_eq!(errors("[b]", rules, selector), "");
    assert_eq!(errors("['*']", rules, selector), ": must be . because of workloadSelector");
}

#[test]
fn policies_are_as_the_webhook_of_istiod_demands() {
    for (policy, error) in [
        (
            "{}",
            ": must have at least one of loadBalancer, connectionPool, outlierDetection, tls, \
                portLevelSettings, tunnel, proxyProtocol, retryBudget",
        ),
        (
            "{tls: {mode: MUTUAL, clientCertificate: x}}",
            ".tls.privateKey: is required: mode is MUTUAL without credentialName",
        ),
        (
            "{tls: {mode: MUTUAL, credentialName: x, caCertificates: y}}",
            ".tls.caCertificates: cannot be combined with credentialName",
        ),
        (
            "{tls: {mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [y]}}",
            ".tls.subjectAltNames: cannot be combined with insecureSkipVerify",
        ),
        ("{connectionPool: {}}", ".connectionPool: must have at least one of http, tcp"),
        (
            "{connectionPool: {http: {maxRetries: -1}}}",
            ".connectionPool.http.maxRetries: is negative",
        ),
        ("{loadBalancer: {warmup: {aggression: 1}}}", ".loadBalancer.warmup.duration: is required"),
        (
            "{loadBalancer: {consistentHash: {maglev: {tableSize: 10}}}}",
            ".loadBalancer.consistentHash.maglev.tableSize: 10 is not a prime less than 5000011",
        ),
        (
            "{loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 50}}]}}}",
            ".loadBalancer.localityLbSetting.distribute[0].to: has weights with the sum 50, not 100",
        ),
        (
            "{loadBalancer: {localityLbSetting: {failover: [{from: a, to: a}]}}}",
            ".loadBalancer.localityLbSetting.failover[0]: has the same region in from and to",
        ),
        (
            "{portLevelSettings: [{port: {number: 80}}]}",
            ".portLevelSettings[0]: must have at least \
            one of loadBalancer, connectionPool, outlierDetection, tls",
        ),
    ] {
        assert_eq!(policy_errors(policy), error, "{policy}");
    }
    for policy in [
        "{tls: {mode: MUTUAL, credentialName: x}}",
        "{tls: {mode: MUTUAL, clientCertificate: x, privateKey: y, caCertificates: z}}",
        "{loadBalancer: {consistentHash: {maglev: {tableSize: 65537}, useSourceIp: true}}}",
        "{loadBalancer: {warmup: {duration: 10s}}}",
        "{portLevelSettings: [{port: {number: 80}, tls: {}}]}",
    ] {
        assert_eq!(policy_errors(policy), "", "{policy}");
    }
}
