use std::cell::Cell;

use super::*;
use crate::spec::proxy::{NoMetadata, Proxy};
use crate::testing::{self, FixedConnection, FixedDraw};

fn read(text: &str, hosts: &[&str]) -> Result<TlsRoute, String> {
    let proxy = Proxy::new(&NoMetadata);
    let scope = Scope::of_document(None, &proxy);
    let template = testing::read(r#""{host}[:{port}]""#, |node| {
        crate::spec::destination::ClusterTemplate::read(node)
    });
    let naming = Naming { template: template.unwrap(), ..Naming::default() };
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let hosts = HostPatterns::new(&hosts);
    testing::read(text, |node| TlsRoute::read(node, "tls", Some(&hosts), &naming, &scope))
        .map(Option::unwrap)
}

/// Creates one route for each condition, to the clusters `c0`, `c1`, ...
fn routes(matches: &[&str]) -> TlsRoutes {
    let route = |(index, text): (usize, &&str)| {
        let text = format!(
            r#"{{"match": [{text}], "route": [{{"destination": {{"host": "c{index}"}}}}]}}"#
        );
        read(&text, &["*"]).unwrap()
    };
    TlsRoutes::new(matches.iter().enumerate().map(route).collect())
}

fn cluster(routes: &TlsRoutes, name: &str, connection: &FixedConnection) -> Option<String> {
    let name = ServerName::new(name.as_bytes());
    let (_, split) = routes.find(name.as_ref(), connection)?;
    Some(split.pick(None, &mut FixedDraw(0)).unwrap().1.to_string())
}

#[test]
fn the_most_specific_name_wins_in_any_order() {
    let matches = [
        r#"{"sniHosts": ["a.com", "*.b.com"]}"#,
        r#"{"sniHosts": ["x.b.com", "*.C.com"]}"#,
        r#"{"sniHosts": ["*.com"]}"#,
        r#"{"sniHosts": ["z.c.com", "b.com", "*.org"]}"#,
        r#"{"sniHosts": ["a.com", "new.net"]}"#,
    ];
    let connection = FixedConnection::default();
    let ordered = routes(&matches);
    for (name, expected) in [
        ("a.com", "c0"),
        ("x.b.com", "c1"),
        ("y.x.b.com", "c0"),
        ("z.c.com", "c3"),
        ("y.c.com", "c1"),
        ("b.com", "c3"),
        ("c.com", "c2"),
        ("a.org", "c3"),
        ("new.net", "c4"),
    ] {
        assert_eq!(cluster(&ordered, name, &connection).as_deref(), Some(expected), "{name}");
    }
    for name in ["org", "com", "localhost", ""] {
        assert_eq!(cluster(&ordered, name, &connection), None, "{name}");
    }
    let reversed: Vec<&str> = matches.iter().rev().copied().collect();
    let reversed = routes(&reversed);
    let find = |name: &str| cluster(&reversed, name, &connection);
    assert_eq!(find("x.b.com").as_deref(), Some("c3"), "as before, by its new number");
    assert_eq!(find("a.com").as_deref(), Some("c0"), "two matches have the name");
}

#[test]
fn a_star_in_a_list_stands_for_the_whole_list() {
    let routes = routes(&[r#"{"sniHosts": ["a.com", "*"]}"#, r#"{"sniHosts": ["a.com"]}"#]);
    let find = |name: &str| cluster(&routes, name, &FixedConnection::default());
    assert_eq!(["a.com", "b.com", ""].map(|name| find(name).unwrap()), ["c1", "c0", "c0"]);
}

/// The clusters are those that an Envoy 1.40.0 with such filter chains chooses.
#[test]
fn the_most_specific_subnet_comes_before_the_name() {
    let routes = routes(&[
        r#"{"sniHosts": ["a.com"]}"#,
        r#"{"sniHosts": ["*.com"], "destinationSubnets": ["10.1.0.0/16", "2001:db8::/32"]}"#,
        r#"{"sniHosts": ["b.org"], "destinationSubnets": ["10.0.0.0/8"]}"#,
        r#"{"sniHosts": ["b.org"]}"#,
        r#"{"sniHosts": ["a.com"], "destinationSubnets": ["10.1.2.3"], "port": 443}"#,
    ]);
    let find = |ip: &str, port, name: &str| {
        let connection = FixedConnection { ip: ip.parse().ok(), port: Some(port), source: None };
        cluster(&routes, name, &connection)
    };
    for (ip, port, name, expected) in [
        ("192.0.2.1", 443, "a.com", Some("c0")),
        ("192.0.2.1", 443, "b.org", Some("c3")),
        ("10.1.0.1", 443, "a.com", Some("c1")),
        ("2001:db8::1", 443, "a.com", Some("c1")),
        ("10.2.0.1", 443, "b.org", Some("c2")),
        ("10.1.2.3", 443, "a.com", Some("c4")),
        // The matches of another port are not part of the decision.
        ("10.1.2.3", 444, "a.com", Some("c1")),
        ("", 443, "a.com", Some("c0")),
        // No match of the most specific subnet has these names.
        ("10.1.0.1", 443, "b.org", None),
        ("10.2.0.1", 443, "a.com", None),
        ("10.1.2.3", 443, "x.com", None),
    ] {
        assert_eq!(find(ip, port, name).as_deref(), expected, "{name} at {ip} {port}");
    }
}

/// Counts what is read of a connection.
#[derive(Default)]
struct Reads {
    ip: Cell<usize>,
    port: Cell<usize>,
}

impl Connection for Reads {
    fn destination_ip(&self) -> Option<std::net::IpAddr> {
        self.ip.set(self.ip.get() + 1);
        "10.0.0.1".parse().ok()
    }

    fn destination_port(&self) -> Option<u16> {
        self.port.set(self.port.get() + 1);
        Some(443)
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn attributes_are_read_at_most_once_and_only_if_a_match_needs_them() {
    let reads = |matches: &[&str]| {
        let (routes, reads) = (routes(matches), Reads::default());
        routes.find(ServerName::new(b"a.com").as_ref(), &reads);
        (reads.ip.get(), reads.port.get())
    };
    let plain = r#"{"sniHosts": ["a.com"]}"#;
    assert_eq!(reads(&[plain]), (0, 0));
    let port = r#"{"sniHosts": ["a.com"], "port": 1}"#;
    assert_eq!(reads(&[port, port, port]), (0, 1));
    let subnet = r#"{"sniHosts": ["a.com"], "destinationSubnets": ["10.0.0.0/8"], "port": 2}"#;
    assert_eq!(reads(&[subnet, port, plain]), (1, 1));
}

#[test]
fn a_star_also_matches_a_missing_name() {
    let routes = routes(&[r#"{"sniHosts": ["a.com"]}"#, r#"{"sniHosts": ["*"]}"#]);
    let find = |name: &str| cluster(&routes, name, &FixedConnection::default());
    assert_eq!(["a.com", "b.com", ""].map(|name| find(name).unwrap()), ["c0", "c1", "c1"]);
}

#[test]
fn all_conditions_must_hold() {
    let routes = routes(&[
        r#"{"sniHosts": ["a.com"], "destinationSubnets": ["10.0.0.0/8", "2001:db8::1"], "port": 443}"#,
        r#"{"sniHosts": ["a.com"], "destinationSubnets": ["192.0.2.1"], "port": 0}"#,
        r#"{"sniHosts": ["*.com"], "port": 8443}"#,
    ]);
    let find = |ip: &str, port| {
        let connection = FixedConnection { ip: ip.parse().ok(), port, source: None };
        cluster(&routes, "a.com", &connection)
    };
    assert_eq!(find("10.9.9.9", Some(443)).as_deref(), Some("c0"));
    assert_eq!(find("2001:db8::1", Some(443)).as_deref(), Some("c0"));
    assert_eq!(find("192.0.2.1", Some(1)).as_deref(), Some("c1"));
    assert_eq!(find("10.9.9.9", Some(8443)).as_deref(), Some("c2"));
    assert_eq!(find("10.9.9.9", Some(1)), None);
    // An unknown address or port satisfies no condition.
    assert_eq!(find("", Some(443)), None);
    assert_eq!(find("10.9.9.9", None), None);
}

#[test]
fn destinations_are_selected_by_weight() {
    let text = r#"{"match": [{"sniHosts": ["a.com"]}], "route": [
        {"destination": {"host": "b", "port": {"number": 1}}, "weight": 1},
        {"destination": {"host": "c"}, "weight": 3}]}"#;
    let routes = TlsRoutes::new(vec![read(text, &["a.com"]).unwrap()]);
    let name = ServerName::new(b"a.com");
    let (found, split) = routes.find(name.as_ref(), &FixedConnection::default()).unwrap();
    assert_eq!(found, "tls.match[0]");
    let pick = |draw| split.pick(None, &mut FixedDraw(draw)).unwrap().1.text();
    assert_eq!([pick(0), pick(1), pick(3), pick(4)], ["b:1", "c", "c", "b:1"]);
}

#[test]
fn rejects_invalid_fields() {
    let text = r#"{"match": [
            {"sniHosts": ["10.0.0.1", "b.com", "*.com", "*-x.a.com", 7], "destinationSubnets": ["10.0.0.0/33"],
             "port": 70000, "sourceNamespace": "a b", "gateways": ["mesh"], "headers": {}},
            {"sniHosts": []}, {}],
        "route": [{"weight": -1}, {"destination": {"host": "*"}, "headers": {}}], "name": "x"}"#;
    assert_eq!(
        read(text, &["*.a.com", "a.com"]).unwrap_err(),
        "match[0].sniHosts[0]: \"10.0.0.1\" is an IP address, which is never a server name\n\
         match[0].sniHosts[1]: \"b.com\" is not within the hosts of the virtual service\n\
         match[0].sniHosts[2]: \"*.com\" is not within the hosts of the virtual service\n\
         match[0].sniHosts[3]: \"*-x.a.com\" is a partial wildcard; write *.SUFFIX\n\
         match[0].sniHosts[4]: 7 is not a string\n\
         match[0].destinationSubnets[0]: \"10.0.0.0/33\" is neither an IP address nor a range such as 10.0.0.0/8\n\
         match[0].port: 70000 is not in the range 1 to 65535\n\
         match[0].sourceNamespace: \"a b\" is not a namespace\n\
         match[0].headers: unknown field, the fields here are sniHosts, destinationSubnets, port, sourceLabels, \
         sourceNamespace, gateways\n\
         match[1].sniHosts: must not be empty\n\
         match[2].sniHosts: is required\n\
         route[0].destination: is required\n\
         route[0].weight: -1 is negative\n\
         route[1].destination.host: \"*\" is not a destination\n\
         route[1].headers: unknown field, the fields here are destination, weight\n\
         name: unknown field, the fields here are match, route"
    );
    assert_eq!(read("{}", &["a.com"]).unwrap_err(), "match: is required\nroute: is required");
    let weights = r#"{"match": [{"sniHosts": ["a.com"]}], "route": [
        {"destination": {"host": "b"}}, {"destination": {"host": "c"}}]}"#;
    assert_eq!(
        read(weights, &["a.com"]).unwrap_err(),
        "route: the total weight of the destinations is 0"
    );
}
