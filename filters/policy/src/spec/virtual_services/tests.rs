use std::sync::Arc;

use std::fmt::Write;

use super::*;
use crate::document::filter::Filter;
use crate::spec::document::Document;
use crate::spec::proxy::NoMetadata;
use crate::testing::{FixedAttributes, pairs};

impl Table {
    /// Returns the expected result of the index, by evaluation of each rule in order.
    fn first_in_order(&self, request: &Request<'_>) -> Option<Match<'_>> {
        self.rules.iter().find_map(|rule| {
            let path = rule.matches(request)?;
            Some(Match { route: &rule.route, name: &rule.name, path })
        })
    }
}

/// Generates rules and requests from small sets of values, so that many requests match.
struct Generator(fastrand::Rng);

impl Generator {
    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.0.usize(..choices.len())]
    }

    fn one_in(&mut self, number: u32) -> bool {
        self.0.u32(..number) == 0
    }

    fn string_match(&mut self, values: &[&str]) -> String {
        let value = self.pick(values);
        let start = &value[..self.0.usize(..=value.len())];
        match self.0.u32(..8) {
            0..4 => format!(r#"{{"exact": "{value}"}}"#),
            4 | 5 if !start.is_empty() => format!(r#"{{"prefix": "{start}"}}"#),
            6 => format!(r#"{{"regex": "{start}.*"}}"#),
            _ => format!(r#"{{"regex": "({value}|{start})?[a-c/]*"}}"#),
        }
    }

    fn http_match(&mut self) -> String {
        let mut fields = Vec::new();
        if !self.one_in(3) {
            fields.push(format!(r#""uri": {}"#, self.string_match(&PATHS)));
            if self.one_in(3) {
                fields.push(r#""ignoreUriCase": true"#.to_owned());
            }
        }
        if self.one_in(4) {
            fields.push(format!(r#""method": {}"#, self.string_match(&METHODS)));
        }
        if self.one_in(6) {
            fields.push(format!(r#""authority": {}"#, self.string_match(&["a.com", "a.com:80"])));
        }
        for field in ["headers", "withoutHeaders", "queryParams"] {
            if self.one_in(2) {
                let [first, second] = [0, 1].map(|_| match self.one_in(5) {
                    true => "{}".to_owned(),
                    false => self.string_match(&VALUES),
                });
                let name = self.pick(&["x", "y"]);
                let more =
                    if self.one_in(3) { format!(r#", "z": {second}"#) } else { String::new() };
                fields.push(format!(r#""{field}": {{"{name}": {first}{more}}}"#));
            }
        }
        format!("{{{}}}", fields.join(","))
    }

    fn document(&mut self, rules: usize) -> String {
        let mut http = String::new();
        for rule in 0..rules {
            let matches: Vec<_> = (0..self.0.usize(1..3)).map(|_| self.http_match()).collect();
            let comma = if rule > 0 { "," } else { "" };
            write!(
                http,
                r#"{comma}{{"match": [{}], "directResponse": {{"status": 200}}}}"#,
                matches.join(",")
            )
            .unwrap();
        }
        format!(r#"{{"virtualServices": [{{"hosts": ["a.com"], "http": [{http}]}}]}}"#)
    }

    fn request(&mut self) -> Vec<(String, Vec<u8>)> {
        let (path, query, value) = (self.pick(&PATHS), self.pick(&NAMES), self.pick(&VALUES));
        let path = match self.0.u32(..3) {
            0 => path.to_owned(),
            1 => format!("{}?{query}={value}&z={}", path.to_uppercase(), self.pick(&VALUES)),
            _ => format!("{path}{}?{query}={value}", self.pick(&PATHS)),
        };
        let mut headers =
            vec![(":authority", "a.com"), (":path", &path), (":method", self.pick(&METHODS))];
        for _ in 0..self.0.usize(..5) {
            headers.push((self.pick(&NAMES), self.pick(&VALUES)));
        }
        pairs(&headers)
    }
}

const PATHS: [&str; 6] = ["/", "/a", "/a/b", "/a/bc", "/b", "/A/b"];
const METHODS: [&str; 3] = ["GET", "GETS", "POST"];
const NAMES: [&str; 4] = ["x", "y", "z", "z"];
const VALUES: [&str; 6] = ["", "a", "ab", "abc", "a,a", "b"];

fn services(document: &str) -> Arc<VirtualServices> {
    Document::parse(document.as_bytes(), Filter::Router, &NoMetadata).unwrap().0.services
}

/// Tests 80 sets of up to 60 rules with 100 requests each.
#[test]
fn the_index_returns_the_first_matching_rule() {
    let attributes = FixedAttributes::default();
    let mut generator = Generator(fastrand::Rng::with_seed(2026));
    let (mut found, mut later) = (0, 0);
    for round in 0..80 {
        let document = generator.document(1 + round % 60);
        let services = services(&document);
        let table = &services.tables[0];
        for _ in 0..100 {
            let headers = generator.request();
            let request = Request::new(&headers, &attributes);
            let by_index = services.find(&request).ok().map(|found| (found.name, found.path));
            let in_order = table.first_in_order(&request).map(|found| (found.name, found.path));
            assert_eq!(by_index, in_order, "{headers:?} {document}");
            found += usize::from(in_order.is_some());
            later += usize::from(in_order.is_some_and(|(name, _)| !name.contains("http[0]")));
        }
    }
    // Verifies that enough requests match, also rules after the first one.
    assert!(found > 4_000 && later > 2_000, "{found} found, {later} not in the first rule");
}

#[test]
fn gateways_have_no_short_names() {
    let finds = |proxy: &str, host| {
        let services = services(&format!(
            r#"{{"namespace": "shop", {proxy} "virtualServices": [
            {{"hosts": ["reviews"], "gateways": ["mesh", "shop/edge"],
              "http": [{{"directResponse": {{"status": 201}}}}]}}]}}"#
        ));
        let headers = pairs(&[(":path", "/"), (":authority", host)]);
        services.find(&Request::new(&headers, &FixedAttributes::default())).is_ok()
    };
    let [full, short] = ["reviews.shop.svc.cluster.local", "reviews"];
    for proxy in ["", r#""proxy": {"gateways": ["mesh"]},"#] {
        assert!(finds(proxy, full) && finds(proxy, short), "{proxy}");
    }
    let gateway = r#""proxy": {"gateways": ["shop/edge"]},"#;
    assert!(finds(gateway, full) && !finds(gateway, short));
}

#[test]
fn sidecars_apply_the_first_service_that_has_rules_for_the_port() {
    let read = |proxy: &str| {
        services(&format!(
            r#"{{{proxy} "virtualServices": [
            {{"hosts": ["a.com", "b.com"], "http": [
              {{"match": [{{"port": 1}}, {{"port": 2, "uri": {{"prefix": "/a"}}}}],
                "directResponse": {{"status": 201}}}}]}},
            {{"hosts": ["a.com"], "http": [{{"match": [{{"port": 2}}, {{"port": 3}}],
                "directResponse": {{"status": 202}}}}]}},
            {{"hosts": ["a.com"], "http": [{{"match": [{{"uri": {{"prefix": "/a"}}}}],
                "directResponse": {{"status": 203}}}}]}},
            {{"hosts": ["a.com"], "http": [{{"directResponse": {{"status": 204}}}}]}}]}}"#
        ))
    };
    let find = |services: &VirtualServices, host, path, port| {
        let headers = pairs(&[(":path", path), (":authority", host)]);
        let attributes = FixedAttributes { port: Some(port), ..Default::default() };
        let request = Request::new(&headers, &attributes);
        let found = services.find(&request).map(|found| found.name.to_owned());
        let all = services.candidates(&request).unwrap();
        assert!(
            found.as_ref().is_ok_and(|own| all.iter().any(|rule| *rule.name == **own))
                || found.is_err()
        );
        found.map(|name| name.as_bytes()["virtualServices[".len()] - b'0')
    };
    let sidecar = read(r#""proxy": {"gateways": ["mesh"]},"#);
    let in_sidecar = |path, port| find(&sidecar, "a.com", path, port);
    assert_eq!(in_sidecar("/b", 1), Ok(0));
    // The first service has a rule for the port, which does not match.
    assert_eq!(in_sidecar("/b", 2), Err(NoMatch::Route));
    assert_eq!(in_sidecar("/b", 3), Ok(1));
    assert_eq!(in_sidecar("/a", 4), Ok(2));
    assert_eq!(in_sidecar("/b", 4), Err(NoMatch::Route));
    assert_eq!(find(&sidecar, "b.com", "/a", 3), Err(NoMatch::VirtualHost));
    // The last service is never used, and the others are in a table each, the first one in two.
    assert_eq!(sidecar.lists().flatten().count(), 2 + 2 + 2 + 1);
    let merged = read("");
    assert_eq!(find(&merged, "a.com", "/b", 2), Ok(1));
    assert_eq!(find(&merged, "a.com", "/b", 4), Ok(3));
}

#[test]
fn merged_rules_for_all_requests_are_the_last_ones() {
    let services = services(
        r#"{"virtualServices": [
            {"hosts": ["a.com", "b.com"], "http": [
                {"match": [{"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/"}}],
                 "directResponse": {"status": 201}},
                {"match": [{"uri": {"prefix": "/b"}}], "directResponse": {"status": 202}}]},
            {"hosts": ["a.com"], "http": [
                {"match": [{"uri": {"prefix": "/b"}}], "directResponse": {"status": 203}},
                {"directResponse": {"status": 204}}]}]}"#,
    );
    let rules = |host| {
        let headers = pairs(&[(":path", "/"), (":authority", host)]);
        let attributes = FixedAttributes::default();
        let found = services.candidates(&Request::new(&headers, &attributes));
        let names = found.unwrap().iter().map(|rule| rule.name.replace("virtualServices", ""));
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        rules("a.com"),
        "[0].http[0].match[0] [1].http[0].match[0] [0].http[0].match[1] [1].http[1]"
    );
    // The rules of one service stay as they are.
    assert_eq!(rules("b.com"), "[0].http[0].match[0] [0].http[0].match[1] [0].http[1].match[0]");
}

#[test]
fn hosts_of_one_service_share_a_table() {
    let services = services(
        r#"{"virtualServices": [
            {"hosts": ["a.com", "b.com"], "http": [{"directResponse": {"status": 201}}]},
            {"hosts": ["b.com", "c.com"], "http": [{"directResponse": {"status": 202}}]}]}"#,
    );
    let counts: Vec<_> = services.tables.iter().map(|table| table.rules.len()).collect();
    assert_eq!(counts, [1, 2, 1]);
    let same = r#"{"virtualServices": [{"hosts": ["a.com", "b.com", "c.com"],
        "http": [{"directResponse": {"status": 201}}]}]}"#;
    let services = self::services(same);
    assert_eq!(services.tables.len(), 1);
    let between = r#"{"virtualServices": [
        {"hosts": ["a.com", "b.com", "c.com"], "http": [{"directResponse": {"status": 201}}]},
        {"hosts": ["b.com", "d.com"], "http": [{"directResponse": {"status": 202}}]}]}"#;
    let services = self::services(between);
    assert_eq!(services.tables.len(), 3);
    let rules = |host| {
        let headers = pairs(&[(":path", "/"), (":authority", host)]);
        let attributes = FixedAttributes::default();
        let found = services.candidates(&Request::new(&headers, &attributes));
        found.unwrap().iter().map(|rule| &*rule.name).collect::<Vec<_>>().join(" ")
    };
    let [first, second] = ["virtualServices[0].http[0]", "virtualServices[1].http[0]"];
    assert_eq!(
        ["a.com", "b.com", "c.com", "d.com"].map(rules),
        [first, &format!("{first} {second}"), first, second]
    );
}

#[test]
fn filters_without_http_routes_only_check_them() {
    let text = r#"{"clusterName": "{host}", "proxy": {"gateways": ["a"]},
        "outboundTrafficPolicy": {"mode": "ALLOW_ANY"}, "virtualServices": [
        {"hosts": ["a.com"], "gateways": ["a"], "http": [{"match": [
            {"uri": {"prefix": "/a"}}, {"gateways": ["b"]}], "route": [{"destination": {"host": "a"}}]},
            {"match": [{"gateways": ["b"]}], "route": [{"destination": {"host": "a"}}]}]},
        {"hosts": ["b.com"], "gateways": ["b"], "http": [{"directResponse": {"status": 200}}]}]}"#;
    let read = |filter| {
        let (document, _) = Document::parse(text.as_bytes(), filter, &NoMetadata).unwrap();
        let places: Vec<_> = document.left_out.iter().map(|it| it.place.to_string()).collect();
        (document.services.lists().flatten().count(), places)
    };
    let left_out =
        ["virtualServices[0].http[0].match[1]", "virtualServices[0].http[1]", "virtualServices[1]"];
    for (filter, count) in [(Filter::Router, 1), (Filter::Egress, 0), (Filter::Outlier, 0)] {
        let (rules, places) = read(filter);
        assert_eq!((rules, &*places), (count, &left_out.map(str::to_owned)[..]), "{filter:?}");
    }
    let invalid = text.replace("200", "600");
    assert!(Document::parse(invalid.as_bytes(), Filter::Egress, &NoMetadata).is_err());
}
