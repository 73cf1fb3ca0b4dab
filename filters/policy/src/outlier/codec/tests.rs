use super::*;

fn host(address: &str) -> Host {
    Host {
        address: address.as_bytes().into(),
        seen: Duration::from_nanos(1),
        ejections: 2,
        multiplier: 3,
        ejection: None,
        returned: None,
        rates: Rates::default(),
    }
}

fn cluster() -> Cluster {
    let ejection = Ejection {
        at: Duration::from_nanos(4),
        jitter: Duration::from_nanos(5),
        probe: None,
        successes: 6,
    };
    let rate = |requests, successes| Rate { requests, successes };
    let hosts = vec![
        host("1.1.1.1:1"),
        Host { ejection: Some(ejection), ..host("1.1.1.1:2") },
        Host {
            ejection: Some(Ejection { probe: Some(Duration::from_nanos(7)), ..ejection }),
            ..host("[::1]:1")
        },
        Host {
            returned: Some(Duration::from_nanos(8)),
            rates: Rates { external: rate(9, 10), local: rate(11, 12) },
            ..host("[::2]:1")
        },
    ];
    let tried = Some(Duration::from_nanos(14));
    Cluster { hosts, last_tick: Duration::from_nanos(13), tried }
}

#[test]
fn decoding_returns_the_encoded_cluster() {
    let bytes = cluster().encode();
    assert_eq!(Cluster::decode(&bytes), Some(cluster()));
    let empty = Cluster::new(Duration::from_secs(1));
    assert_eq!(Cluster::decode(&empty.encode()), Some(empty));
    // A host without optional fields needs 18 bytes and its address.
    let hosts = vec![host("1.1.1.1:1")];
    let plain = Cluster { hosts, last_tick: Duration::ZERO, tried: None };
    assert_eq!(plain.encode().len(), 18 + 18 + 9);
}

#[test]
fn invalid_encodings_are_rejected() {
    let bytes = cluster().encode();
    // An encoding that is truncated between two hosts is a cluster with fewer hosts.
    let whole: Vec<usize> =
        (0..=bytes.len()).filter(|length| Cluster::decode(&bytes[..*length]).is_some()).collect();
    assert_eq!(whole.len(), 5, "{whole:?}");
    let twice = [&bytes[..], &bytes[18..]].concat();
    assert_eq!(Cluster::decode(&twice), None, "hosts are not sorted");
    let mut other = bytes;
    other[0] = 1;
    assert_eq!(Cluster::decode(&other), None, "another version");
    assert_eq!(Cluster::decode(&[]), None);
}
