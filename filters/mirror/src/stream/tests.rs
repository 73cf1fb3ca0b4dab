use std::sync::Arc;
use std::time::Duration;

use sluice_host::fake::FakeHost;
use sluice_host::filter::Filter;
use sluice_host::http::{CallAnswer, CallFailure};
use sluice_policy::mirror::Mirrors;
use sluice_policy::spec::mirror::compare::UPSTREAM_TIME;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

use super::*;
use crate::comparison::{FASTER, SLOWER};
use crate::original::MAX_KEPT_BYTES;

const PLUGIN: u32 = 3;
const COMPARE: &str = r#""compare": {"statuses": true, "headers": ["x"], "bodyHash": true,
    "timeout": "2s", "maxBodyBytes": 10, "maxActive": 2, "removeHeaders": ["authorization"]}"#;

/// A worker with these `mirroring` settings.
fn worker(mirroring: &str) -> Rc<Worker> {
    let document = format!(
        r#"{{"clusterName": "{{host}}", "mirroring": {{{mirroring}}}, "virtualServices": [
            {{"hosts": ["a"], "http": [{{"name": "all", "mirror": {{"host": "copy"}},
                "route": [{{"destination": {{"host": "a"}}}}]}}]}}]}}"#
    );
    let compiled = Mirrors::compile(document.as_bytes(), &NoMetadata);
    Rc::new(Worker::new(Arc::new(compiled.unwrap().0), PLUGIN, &FakeHost::default()))
}

/// How many times a counter was incremented.
fn count(stream: &Stream<FakeHost>, name: &str) -> usize {
    stream.host.count(&format!("sluice.mirror.{name}"))
}

fn host(method: &str) -> FakeHost {
    FakeHost::default()
        .with_request_header(":authority", "a")
        .with_request_header(":method", method)
        .with_request_header(":path", "/")
}

/// A host whose request the upstream has answered.
fn answered(method: &str) -> FakeHost {
    host(method)
        .with_request_header("authorization", "secret")
        .with_response_header(":status", "200")
        .with_response_header("x", "1")
        .with_property(&["response", "code_details"], "via_upstream")
        .with_property(&["response", "flags"], [0; 8])
}

fn copy(status: &str, x: &str, body: &str) -> CallAnswer {
    let headers = [(":status", status), ("x", x)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    CallAnswer {
        headers: headers.to_vec(),
        trailers: Vec::new(),
        body: body.as_bytes().to_vec(),
        body_size: body.len(),
    }
}

/// A request that is over, with a response body of `ok`.
fn finished(worker: &Rc<Worker>, host: FakeHost) -> Stream<FakeHost> {
    let stream = Stream::new(host, Rc::clone(worker));
    stream.on_request_headers();
    stream.host.set_body(b"ok");
    stream.on_response_body(1);
    stream.host.set_body(b"k");
    stream.on_response_body(1);
    stream.on_response_body(0);
    stream.on_log();
    stream
}

#[test]
fn envoy_is_asked_for_a_copy_and_a_client_cannot() {
    let worker = worker("");
    let host = host("POST")
        .with_request_header("x-sluice-mirror-0", "evil")
        .with_request_header("x-sluice-mirror-7", b"\xff");
    let stream = Stream::new(host, Rc::clone(&worker));
    stream.on_request_headers();
    let headers = stream.host.request_headers();
    assert_eq!(headers[3..], [("x-sluice-mirror-0".to_owned(), b"copy".to_vec())]);
    assert_eq!(stream.host.count("sluice.mirror.mirrored"), 1);
    stream.on_request_body(5);
    stream.on_response_body(5);
    stream.on_log();
    assert_eq!(stream.host.take_calls().len(), 0, "nothing is compared");
}

#[test]
fn headers_of_clients_go_also_where_nothing_is_mirrored() {
    let host = FakeHost::default()
        .with_request_header(":authority", "other")
        .with_request_header("x-sluice-mirror-0", "evil");
    let stream = Stream::new(host, worker(""));
    stream.on_request_headers();
    assert_eq!(stream.host.request_headers().len(), 1);
}

#[test]
fn the_bodies_that_a_worker_keeps_have_a_maximum_in_all() {
    let worker = worker(&COMPARE.replace(r#""maxBodyBytes": 10"#, r#""maxBodyBytes": 1048576"#));
    let body = vec![b'x'; 1 << 20];
    let begin = || {
        let stream = Stream::new(answered("GET"), Rc::clone(&worker));
        stream.on_request_headers();
        // In pieces, as Envoy has them.
        for piece in body.chunks(100_000) {
            stream.host.set_body(piece);
            stream.on_request_body(piece.len());
        }
        assert!(worker.kept_bytes.get() <= MAX_KEPT_BYTES);
        stream
    };
    let streams: Vec<_> = (0..100).map(|_| begin()).collect();
    streams.iter().for_each(HttpStream::on_log);
    let full = streams.iter().filter(|stream| count(stream, "compare_buffer_full") == 1).count();
    assert!((60..90).contains(&full), "{full}");
    assert_eq!(worker.kept_bytes.get(), 0, "all have ended");
    drop(begin());
    assert_eq!(worker.kept_bytes.get(), 0, "a stream that ends without a log entry");
}

#[test]
fn a_budget_ends_the_copies_of_its_window() {
    let worker = worker(r#""budget": {"requests": 2, "window": "1s"}"#);
    let run = || {
        let stream = Stream::new(host("GET"), Rc::clone(&worker));
        stream.on_request_headers();
        ["mirrored", "budget_exhausted"].map(|name| count(&stream, name))
    };
    assert_eq!([run(), run(), run()], [[1, 0], [1, 0], [0, 1]]);
}

#[test]
fn a_copy_that_is_compared_is_sent_when_the_original_is_over() {
    let worker = worker(COMPARE);
    let stream = Stream::new(answered("GET"), Rc::clone(&worker));
    stream.on_request_headers();
    assert_eq!(stream.host.request_headers().len(), 4, "the original is as it was");
    stream.host.set_body(b"abc");
    stream.on_request_body(3);
    stream.on_request_body(0);
    assert_eq!(stream.host.take_calls().len(), 0);
    stream.on_log();
    let calls = stream.host.take_calls();
    let [call] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(
        (call.plugin, &*call.cluster, call.timeout),
        (PLUGIN, "copy", Duration::from_secs(2))
    );
    let names: Vec<&str> = call.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [":authority", ":method", ":path"]);
    assert_eq!((call.body.as_slice(), call.max_answer_bytes), (&b"abc"[..], 10));
    stream.on_log();
    assert_eq!(stream.host.take_calls().len(), 0, "once");
    assert_eq!(stream.host.count("sluice.mirror.mirrored"), 0, "Envoy is not asked");
}

#[test]
fn answers_match_or_differ() {
    let worker = worker(COMPARE);
    let all = [
        "compare_match",
        "compare_mismatch",
        "compare_mismatch_status",
        "compare_mismatch_header",
        "compare_mismatch_body",
        "compare_timeout",
        "compare_failed",
        "compare_skipped",
        "unknown_cluster",
    ];
    let large = CallAnswer { body_size: 11, ..copy("200", "1", "ok") };
    for (answer, expected) in [
        (Ok(copy("200", "1", "ok")), vec![0]),
        (Ok(copy("500", "1", "ok")), vec![1, 2]),
        (Ok(copy("200", "2", "ok")), vec![1, 3]),
        (Ok(copy("200", "1", "OK")), vec![1, 4]),
        (Ok(copy("404", "", "")), vec![1, 2, 3, 4]),
        (Err(CallFailure::Timeout), vec![5]),
        (Err(CallFailure::Failed), vec![6]),
        (Ok(large), vec![7]),
        (Err(CallFailure::UnknownCluster), vec![8]),
    ] {
        let stream = finished(&worker, answered("GET"));
        assert_eq!(worker.comparisons.active(), 1);
        for call in stream.host.take_calls() {
            (call.on_answer)(&stream.host, answer.clone());
        }
        assert_eq!(worker.comparisons.active(), 0);
        let counted: Vec<_> = (0..all.len()).filter(|n| count(&stream, all[*n]) == 1).collect();
        assert_eq!(counted, expected, "{answer:?}");
    }
}

#[test]
fn times_are_compared_if_envoy_gives_both() {
    let worker = worker(COMPARE);
    let time = |own: &str| (UPSTREAM_TIME.to_owned(), own.as_bytes().to_vec());
    for (original, own, slower, faster) in [
        ("20", "35", vec![15], vec![]),
        ("20", "20", vec![0], vec![]),
        ("20", "5", vec![], vec![15]),
        ("20", "", vec![], vec![]),
        ("x", "5", vec![], vec![]),
        ("20", "18446744073709551615", vec![], vec![]),
        ("99999999999999999999", "5", vec![], vec![]),
    ] {
        let host = answered("GET").with_response_header(UPSTREAM_TIME, original);
        let stream = finished(&worker, host);
        for call in stream.host.take_calls() {
            let mut answer = copy("200", "1", "ok");
            answer.headers.push(time(own));
            (call.on_answer)(&stream.host, Ok(answer));
        }
        let recorded = [SLOWER, FASTER].map(|name| stream.host.recorded(name));
        assert_eq!(recorded, [slower, faster], "{original} {own}");
        assert_eq!(count(&stream, "compare_match"), 1, "times are no difference");
    }
}

#[test]
fn what_cannot_be_compared_is_skipped() {
    let worker = worker(COMPARE);
    let skipped = |stream: &Stream<FakeHost>| {
        assert_eq!(stream.host.take_calls().len(), 0);
        count(stream, "compare_skipped")
    };
    // Answered by Envoy itself, and broken off.
    let refused = host("GET").with_property(&["response", "code_details"], "no_healthy_upstream");
    assert_eq!(skipped(&finished(&worker, refused)), 1);
    let broken = host("GET")
        .with_property(&["response", "code_details"], "via_upstream")
        .with_property(&["response", "flags"], [0, 8, 0, 0, 0, 0, 0, 0]);
    assert_eq!(skipped(&finished(&worker, broken)), 1);
    // A body that turns out to be too long, either way.
    let stream = Stream::new(answered("GET"), Rc::clone(&worker));
    stream.on_request_headers();
    stream.host.set_body(b"123456");
    stream.on_request_body(6);
    stream.on_request_body(5);
    stream.on_log();
    assert_eq!(skipped(&stream), 1);
    let stream = Stream::new(answered("GET"), Rc::clone(&worker));
    stream.on_request_headers();
    stream.on_response_body(11);
    stream.on_log();
    assert_eq!(skipped(&stream), 1);
}

#[test]
fn what_is_known_to_be_unfit_for_comparison_is_left_to_envoy() {
    let worker = worker(COMPARE);
    let mirrored = |host: FakeHost| {
        let stream = Stream::new(host, Rc::clone(&worker));
        stream.on_request_headers();
        stream.on_log();
        let counts = ["mirrored", "compare_skipped"].map(|name| count(&stream, name));
        (counts, stream.host.take_calls().len())
    };
    let get = |name, value: &str| mirrored(answered("GET").with_request_header(name, value));
    assert_eq!(mirrored(answered("POST")), ([1, 0], 0));
    assert_eq!(get("content-length", "11"), ([1, 1], 0));
    assert_eq!(get("upgrade", "websocket"), ([1, 1], 0));
    assert_eq!(get("content-length", "10"), ([0, 0], 1));
}

#[test]
fn only_so_many_comparisons_are_under_way() {
    let worker = worker(COMPARE);
    let streams: Vec<_> = (0..3).map(|_| finished(&worker, answered("GET"))).collect();
    let overflow = |n: usize| count(&streams[n], "compare_overflow");
    assert_eq!([overflow(0), overflow(1), overflow(2)], [0, 0, 1]);
    let call = streams[0].host.take_calls().pop().unwrap();
    (call.on_answer)(&streams[0].host, Err(CallFailure::Failed));
    assert_eq!(finished(&worker, answered("GET")).host.take_calls().len(), 1);
}

#[test]
fn in_shadow_mode_copies_are_counted_and_none_is_made() {
    for compare in ["", COMPARE] {
        let mode = r#""mode": "shadow", "budget": {"requests": 1, "window": "1h"}"#;
        let settings = [mode, compare].into_iter().filter(|part| !part.is_empty());
        let worker = worker(&settings.collect::<Vec<_>>().join(", "));
        let sent = answered("GET").with_request_header("x-sluice-mirror-0", "evil");
        let stream = finished(&worker, sent);
        assert_eq!([count(&stream, "shadow_mirrored"), count(&stream, "mirrored")], [1, 0]);
        assert_eq!(stream.host.take_calls().len(), 0);
        let headers = stream.host.request_headers();
        assert!(headers.iter().all(|(name, _)| !name.starts_with("x-sluice-")), "{headers:?}");
        let second = finished(&worker, answered("GET"));
        assert_eq!(count(&second, "shadow_mirrored"), 0);
        assert_eq!(count(&second, "budget_exhausted"), 1);
    }
}
