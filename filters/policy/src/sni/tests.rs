use super::*;
use crate::spec::proxy::NoMetadata;
use crate::testing::{FixedConnection, FixedDraw};

fn policy(settings: &str) -> SniPolicy {
    let document = format!(
        r#"{{"clusterName": "{{host}}", "sni": {settings}, "sampling": {{"key": [{{"sourceAddress": true}}]}},
            "virtualServices": [
            {{"hosts": ["a.com", "*.b.com"], "tls": [
                {{"match": [{{"sniHosts": ["a.com"]}}], "route": [
                    {{"destination": {{"host": "c1"}}, "weight": 1}},
                    {{"destination": {{"host": "c2"}}, "weight": 1}}]}},
                {{"match": [{{"sniHosts": ["x.b.com"]}}], "route": [
                    {{"destination": {{"host": "c3"}}}}]}}]}}]}}"#
    );
    let (policy, notices) = SniPolicy::compile(document.as_bytes(), &NoMetadata)
        .unwrap_or_else(|rejection| panic!("{rejection}"));
    assert_eq!(notices, []);
    policy
}

/// The outcome and the cluster of a connection with this SNI.
fn open(policy: &SniPolicy, sni: &str) -> (Outcome, Option<String>) {
    let connection = FixedConnection::default();
    let opening = policy.open(Some(sni.as_bytes()), &connection, &mut FixedDraw(0));
    (opening.outcome, opening.cluster.map(Cow::into_owned))
}

fn hello(name: &str, has_ech: bool) -> ClientHello {
    match ServerName::new(name.as_bytes()) {
        Some(name) => ClientHello::Sni { name, has_ech },
        None => ClientHello::NoSni { has_ech },
    }
}

fn inspect(policy: &SniPolicy, outer: &str, hello: &ClientHello) -> Option<Outcome> {
    policy.inspect(ServerName::new(outer.as_bytes()).as_ref(), hello)
}

#[test]
fn connections_are_routed_by_their_name() {
    let policy = policy("{}");
    assert_eq!(open(&policy, "x.b.com"), (Outcome::Routed, Some("c3".to_owned())));
    assert_eq!(open(&policy, "X.B.com"), (Outcome::Routed, Some("c3".to_owned())));
    assert_eq!(open(&policy, "y.b.com"), (Outcome::NoRoute, None));
    assert_eq!(open(&policy, ""), (Outcome::NoSni, None));
    assert_eq!(open(&policy, "10.0.0.1"), (Outcome::InvalidSni, None));
    assert_eq!(open(&policy, "a.com\n"), (Outcome::InvalidSni, None));
}

#[test]
fn each_source_address_always_gets_the_same_destination() {
    let policy = policy("{}");
    let mut seen = std::collections::BTreeSet::new();
    for source in 0..40 {
        let source = Some(format!("10.0.0.{source}").into_bytes());
        let connection = FixedConnection { source, ..FixedConnection::default() };
        let pick = |draw| policy.open(Some(b"a.com"), &connection, &mut FixedDraw(draw)).cluster;
        assert_eq!(pick(0), pick(1));
        seen.extend(pick(0));
    }
    assert_eq!(Vec::from_iter(seen), ["c1", "c2"]);
    // Without a source address, the destination is drawn at random.
    let connection = FixedConnection::default();
    let pick = |draw| policy.open(Some(b"a.com"), &connection, &mut FixedDraw(draw)).cluster;
    assert_eq!([pick(0), pick(1)].map(Option::unwrap), ["c1", "c2"]);
}

#[test]
fn hosts_are_checked_before_routes() {
    let listed = policy(r#"{"hosts": ["a.com"]}"#);
    assert_eq!(open(&listed, "a.com").0, Outcome::Routed);
    assert_eq!(open(&listed, "x.b.com"), (Outcome::HostNotAllowed, None));
    let unrouted = policy(r#"{"hosts": ["*.com"], "routing": false}"#);
    assert_eq!(open(&unrouted, "y.b.com"), (Outcome::Allowed, None));
    assert_eq!(open(&unrouted, "a.org"), (Outcome::HostNotAllowed, None));
    let none = policy(r#"{"hosts": []}"#);
    assert_eq!(open(&none, "a.com"), (Outcome::HostNotAllowed, None));
}

#[test]
fn connections_without_a_name_are_rejected_by_default() {
    let allow = policy(r#"{"missing": "allow", "routing": false}"#);
    assert_eq!(open(&allow, "").0, Outcome::Allowed);
    assert_eq!(open(&policy(r#"{"missing": "allow"}"#), "").0, Outcome::NoRoute);
    assert_eq!(inspect(&allow, "", &hello("", false)), Some(Outcome::SnisMatch));
    assert_eq!(inspect(&allow, "", &hello("a.com", false)), Some(Outcome::SnisDoNotMatch));
    assert_eq!(inspect(&allow, "a.com", &hello("", false)), Some(Outcome::InnerSniNotFound));
}

#[test]
fn client_hellos_are_read_only_if_a_check_needs_them() {
    let reads = |settings: &str| {
        let policy = policy(settings);
        [policy.reads_hello(false), policy.reads_hello(true)]
    };
    assert_eq!(reads("{}"), [true, false]);
    assert_eq!(reads(r#"{"ech": "outerName"}"#), [false, false]);
    assert_eq!(reads(r#"{"ech": "outerName", "innerMustMatchOuter": true}"#), [true, true]);
}

#[test]
fn encrypted_client_hellos_are_rejected_by_default() {
    let outer = policy(r#"{"ech": "outerName"}"#);
    assert_eq!(inspect(&outer, "a.com", &hello("a.com", true)), Some(Outcome::SnisMatch));
    assert_eq!(inspect(&outer, "a.com", &hello("b.com", true)), Some(Outcome::SnisDoNotMatch));
    assert_eq!(inspect(&policy("{}"), "a.com", &hello("a.com", true)), Some(Outcome::Ech));
    let more = ClientHello::NeedMore { at_least: 9 };
    assert_eq!(inspect(&outer, "a.com", &more), None);
}

#[test]
fn exact_authorities_must_be_the_server_name() {
    let exact = policy(r#"{"hosts": ["*"], "authority": "exact"}"#);
    let request = |authority: &str| exact.request(Some(b"A.com"), authority.as_bytes());
    assert_eq!(request("a.com:443"), Outcome::Agreed);
    for authority in ["a.COM", "a.com.", "a.com.:443"] {
        assert_eq!(request(authority), Outcome::Agreed, "{authority}");
    }
    for authority in [
        "b.com",
        "a.com..",
        "a.com:443.",
        "10.0.0.1",
        "10.0.0.1.",
        "[::1]:443",
        "",
        "a.com:443:1",
        "a.com@b.com",
    ] {
        assert_eq!(request(authority), Outcome::Misdirected, "{authority}");
    }
}

#[test]
fn shadow_mode_rejects_nothing() {
    let report = policy(r#"{"mode": "shadow"}"#);
    assert!(Outcome::ALL.iter().all(|outcome| !report.refuses(*outcome)));
    let refused = |outcome: &&Outcome| policy("{}").refuses(**outcome);
    assert_eq!(Outcome::ALL.iter().filter(refused).count(), 13);
}

#[test]
fn names_of_outcomes_are_unique() {
    let names = Outcome::ALL.map(Outcome::name);
    for (index, name) in names.iter().enumerate() {
        assert!(names.iter().skip(index + 1).all(|other| other != name), "{name}");
    }
}

#[test]
fn invalid_settings_are_rejected() {
    let text = br#"{"sni": {"mode": "off", "missing": 1, "ech": "inner", "authority": "x",
        "innerMustMatchOuter": 1, "routing": "no", "forwardSni": 0, "hosts": ["a.com", "A.com", "10.0.0.1", "a.*"],
        "maxClientHelloBytes": 65537, "helloTimeout": "0s", "host": []},
        "virtualServices": [{"hosts": ["a.com"], "tcp": [{}]}]}"#;
    assert_eq!(
        SniPolicy::compile(text, &NoMetadata).unwrap_err().to_string(),
        "sni.mode: \"off\" is not one of enforce, shadow\n\
         sni.missing: 1 is not a string\n\
         sni.ech: \"inner\" is not one of refuse, outerName\n\
         sni.authority: \"x\" is not one of entry, exact\n\
         sni.innerMustMatchOuter: 1 is neither true nor false\n\
         sni.routing: \"no\" is neither true nor false\n\
         sni.forwardSni: 0 is neither true nor false\n\
         sni.hosts[1]: \"A.com\" occurs twice\n\
         sni.hosts[2]: \"10.0.0.1\" is an IP address, which is never a server name\n\
         sni.hosts[3]: \"a.*\" is not a server name\n\
         sni.maxClientHelloBytes: 65537 is not in the range 64 to 65536\n\
         sni.helloTimeout: \"0s\" is shorter than 1ms\n\
         sni.host: unknown field, did you mean \"hosts\"?"
    );
}

#[test]
fn unreachable_matches_are_reported() {
    let text = br#"{"clusterName": "{host}", "virtualServices": [{"hosts": ["*.com"], "tls": [
        {"match": [{"sniHosts": ["a.com"], "port": 1}, {"sniHosts": ["*.b.com", "c.com"]}],
         "route": [{"destination": {"host": "x"}}]},
        {"match": [{"sniHosts": ["a.com"]}, {"sniHosts": ["x.b.com", "*.y.b.com", "c.com"]},
                   {"sniHosts": ["c.com", "*.b.com"], "port": 7},
                   {"sniHosts": ["b.com", "c.com"]}, {"sniHosts": ["a.com"], "port": 2}],
         "route": [{"destination": {"host": "x"}}]},
        {"match": [{"sniHosts": ["a.com"], "destinationSubnets": ["10.0.0.0/8", "192.0.2.1"]},
                   {"sniHosts": ["a.com"], "destinationSubnets": ["10.1.0.0/16"]},
                   {"sniHosts": ["a.com"], "destinationSubnets": ["10.9.9.9/8"], "port": 1},
                   {"sniHosts": ["a.com"], "destinationSubnets": ["10.0.0.0/8", "192.0.2.2"]}],
         "route": [{"destination": {"host": "x"}}]}]}]}"#;
    let (_, notices) = SniPolicy::compile(text, &NoMetadata).unwrap();
    let notices: Vec<_> = notices.iter().map(ToString::to_string).collect();
    let place = "virtualServices[0].tls";
    let reason = "is never reached, an earlier match has its server names";
    assert_eq!(
        notices,
        [
            format!("{place}[1].match[2]: {reason}: {place}[0].match[1]"),
            format!("{place}[1].match[4]: {reason}: {place}[1].match[0]"),
            format!("{place}[2].match[2]: {reason}: {place}[2].match[0]"),
        ]
    );
}
