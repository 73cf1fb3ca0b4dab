use std::sync::Arc;
use std::time::Duration;

use sluice_host::fake::FakeHost;
use sluice_host::filter::Filter;
use sluice_policy::sni::SniPolicy;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

use super::*;

const PLUGIN: u32 = 1;
const REFUSED: &str = "sluice.sni.refused";
const REPORTED: &str = "sluice.sni.reported";

fn worker(settings: &str) -> Rc<Worker> {
    let document = format!(
        r#"{{"clusterName": "{{host}}", "sni": {settings}, "virtualServices": [
            {{"hosts": ["a.com"], "tls": [{{"match": [{{"sniHosts": ["a.com"]}}],
                "route": [{{"destination": {{"host": "c"}}}}]}}]}}]}}"#
    );
    let (policy, _) = SniPolicy::compile(document.as_bytes(), &NoMetadata)
        .unwrap_or_else(|rejection| panic!("{rejection}"));
    Rc::new(Worker::with_policy(Arc::new(policy), &FakeHost::default()))
}

/// A connection with this SNI; `is_terminated` says that Envoy has ended the TLS.
fn connect(worker: &Rc<Worker>, sni: &str, is_terminated: bool) -> Connection<FakeHost> {
    let version = if is_terminated { "TLSv1.3" } else { "" };
    let host = FakeHost::default()
        .with_property(&["connection", "requested_server_name"], sni)
        .with_property(&["connection", "tls_version"], version);
    Connection::new(7, host, Rc::clone(worker))
}

/// A ClientHello with this name and nothing else.
fn hello(name: &str) -> Vec<u8> {
    let vector = |body: &[u8]| [&(body.len() as u16).to_be_bytes()[..], body].concat();
    let name = vector(&[&[0][..], &vector(name.as_bytes())].concat());
    let extensions = vector(&[&[0, 0][..], &vector(&name)].concat());
    let body = [&[3; 34][..], b"\0\0\x02\x13\x01\x01\0", &extensions].concat();
    let message = [&[1, 0][..], &vector(&body)].concat();
    [&[22, 3, 1][..], &vector(&message)].concat()
}

/// The outcomes that were counted, and how many were refused and reported.
fn counts(host: &FakeHost) -> (Vec<Outcome>, usize, usize) {
    let count = |name| host.count(name);
    let counted = |outcome: &Outcome| (0..count(outcome.counter())).map(|_| *outcome).collect();
    let outcomes: Vec<Vec<Outcome>> = Outcome::ALL.iter().map(counted).collect();
    (outcomes.concat(), count(REFUSED), count(REPORTED))
}

/// Sends bytes; what has come so far waits.
fn send(connection: &Connection<FakeHost>, sent: &mut usize, bytes: &[u8], is_end: bool) -> Action {
    connection.host.receive(bytes);
    *sent += bytes.len();
    connection.on_downstream_data(*sent, is_end)
}

const CHECK: &str = r#"{"innerMustMatchOuter": true, "helloTimeout": "5s"}"#;
const FIVE: Duration = Duration::from_secs(5);

#[test]
fn a_connection_gets_the_cluster_of_its_name() {
    let worker = worker("{}");
    let connection = connect(&worker, "a.com", true);
    assert_eq!(connection.on_new_connection(), Action::Continue);
    let host = &connection.host;
    assert_eq!(host.filter_states(), [(TCP_PROXY_CLUSTER.to_owned(), b"c".to_vec())]);
    // Where Envoy has ended the TLS, anything may be inside.
    assert_eq!(send(&connection, &mut 0, b"EHLO", false), Action::Continue);
    assert_eq!(counts(host), (vec![Outcome::Routed], 0, 0));
    assert_eq!(host.closures(), 0);
}

#[test]
fn the_name_goes_on_to_the_upstream_where_that_is_set() {
    let connection = connect(&worker(r#"{"forwardSni": true}"#), "A.com", true);
    connection.on_new_connection();
    let states = connection.host.filter_states();
    assert_eq!(states[1], (UPSTREAM_SERVER_NAME.to_owned(), b"a.com".to_vec()));
    let refused = connect(&worker(r#"{"forwardSni": true}"#), "b.com", true);
    refused.on_new_connection();
    assert_eq!(refused.host.filter_states(), []);
}

#[test]
fn a_connection_without_a_route_is_closed() {
    for (sni, outcome) in
        [("b.com", Outcome::NoRoute), ("", Outcome::NoSni), ("1.2.3.4", Outcome::InvalidSni)]
    {
        let connection = connect(&worker("{}"), sni, false);
        assert_eq!(connection.on_new_connection(), Action::Pause, "{sni}");
        let host = &connection.host;
        assert_eq!((host.closures(), host.filter_states()), (1, vec![]));
        assert_eq!(counts(host), (vec![outcome], 1, 0));
        // Whatever Envoy still has of it.
        assert_eq!(send(&connection, &mut 0, &hello("a.com"), true), Action::Pause);
        assert_eq!(host.closures(), 1);
    }
}

#[test]
fn the_inner_name_is_compared_once_it_is_there() {
    let hello = hello("A.com");
    for chunk in [1, 7, 40, hello.len()] {
        let worker = worker(CHECK);
        let connection = connect(&worker, "a.com", true);
        assert_eq!(connection.on_new_connection(), Action::Continue);
        assert_eq!(connection.host.timer(), Some(FIVE));
        let mut sent = 0;
        for part in hello.chunks(chunk) {
            let next = send(&connection, &mut sent, part, false);
            let is_last = sent == hello.len();
            let expected = if is_last { Action::Continue } else { Action::Pause };
            assert_eq!(next, expected, "{sent} in {chunk}");
        }
        assert_eq!(send(&connection, &mut sent, b"more", false), Action::Continue);
        let host = &connection.host;
        assert_eq!(counts(host), (vec![Outcome::Routed, Outcome::SnisMatch], 0, 0));
        assert!(worker.delays.is_empty());
    }
}

#[test]
fn what_is_not_the_outer_name_is_closed() {
    let mut broken = hello("a.com");
    broken.truncate(60);
    for (bytes, is_end, outcome) in [
        (hello("b.com"), false, Outcome::SnisDoNotMatch),
        (b"GET / HTTP/1.1\r\n".to_vec(), false, Outcome::TlsNotFound),
        (broken, true, Outcome::IncompleteHello),
        (Vec::new(), true, Outcome::IncompleteHello),
        (hello(""), false, Outcome::MalformedHello),
        (b"\x16\x03\x01\x40\0\x01\x01\0\0".to_vec(), false, Outcome::ClientHelloTooLarge),
    ] {
        let worker = worker(CHECK);
        let connection = connect(&worker, "a.com", true);
        connection.on_new_connection();
        assert_eq!(send(&connection, &mut 0, &bytes, is_end), Action::Pause, "{outcome:?}");
        let host = &connection.host;
        assert_eq!(counts(host), (vec![Outcome::Routed, outcome], 1, 0));
        assert_eq!(host.closures(), 1);
        assert_eq!(host.notes().last().unwrap().1, outcome.name());
        assert!(worker.delays.is_empty());
    }
}

#[test]
fn a_hello_that_passes_through_is_read_for_ech() {
    let connection = connect(&worker("{}"), "a.com", false);
    assert_eq!(connection.on_new_connection(), Action::Continue);
    let hello = hello("a.com");
    let mut sent = 0;
    let first = send(&connection, &mut sent, &hello[..30], false);
    assert_eq!(first, Action::Pause);
    assert_eq!(connection.host.timer(), Some(Duration::from_secs(15)));
    let second = send(&connection, &mut sent, &hello[30..], false);
    assert_eq!(second, Action::Continue);
    assert_eq!(counts(&connection.host), (vec![Outcome::Routed, Outcome::SnisMatch], 0, 0));

    let connection = connect(&worker(r#"{"ech": "outerName"}"#), "a.com", false);
    connection.on_new_connection();
    assert_eq!(send(&connection, &mut 0, b"x", false), Action::Continue);
}

#[test]
fn a_slow_client_is_closed() {
    let worker = worker(CHECK);
    let connection = connect(&worker, "a.com", true);
    connection.on_new_connection();
    let hello = hello("a.com");
    let mut sent = 0;
    for byte in &hello[..4] {
        connection.host.pass(Duration::from_secs(1));
        let next = send(&connection, &mut sent, std::slice::from_ref(byte), false);
        assert_eq!(next, Action::Pause);
    }
    let host = &connection.host;
    assert_eq!(host.closures(), 0);
    host.pass(Duration::from_secs(1));
    worker.on_tick(PLUGIN, host);
    assert_eq!((host.closures(), host.resumptions()), (1, 0));
    assert_eq!(counts(host), (vec![Outcome::Routed, Outcome::HelloTimeout], 1, 0));
    assert_eq!(send(&connection, &mut sent, &hello[4..], false), Action::Pause);
}

#[test]
fn a_client_that_leaves_is_forgotten() {
    let worker = worker(CHECK);
    let connection = connect(&worker, "a.com", true);
    connection.on_new_connection();
    send(&connection, &mut 0, &hello("a.com")[..20], false);
    assert!(!worker.delays.is_empty());
    connection.on_end();
    assert_eq!(counts(&connection.host), (vec![Outcome::Routed, Outcome::IncompleteHello], 1, 0));
    assert!(worker.delays.is_empty());
}

#[test]
fn shadow_mode_counts_and_lets_pass() {
    let settings = r#"{"mode": "shadow", "innerMustMatchOuter": true}"#;
    let worker = worker(settings);
    let connection = connect(&worker, "b.com", true);
    assert_eq!(connection.on_new_connection(), Action::Continue);
    assert_eq!(connection.host.timer(), Some(Duration::from_secs(15)));
    assert_eq!(send(&connection, &mut 0, b"GET", false), Action::Continue);
    let host = &connection.host;
    assert_eq!((host.closures(), host.filter_states()), (0, vec![]));
    assert_eq!(counts(host), (vec![Outcome::NoRoute, Outcome::TlsNotFound], 0, 2));

    let connection = connect(&worker, "a.com", true);
    connection.on_new_connection();
    connection.host.pass(Duration::from_secs(15));
    worker.on_tick(PLUGIN, &connection.host);
    assert_eq!((connection.host.closures(), connection.host.resumptions()), (0, 1));
    assert_eq!(send(&connection, &mut 0, b"x", false), Action::Continue);
}
