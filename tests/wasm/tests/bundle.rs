//! `sluice.wasm` costs hardly more than the part of it that a document needs, and much less than
//! the modules that it replaces.

use sluice_wasm_tests::{Costs, STREAMS, cases, measure};

fn costs(module: &str, name: &str) -> Costs {
    let case = cases().into_iter().find(|case| case.module == module && case.name == name);
    let case = case.unwrap_or_else(|| panic!("no case {module}: {name}"));
    measure(&case).unwrap_or_else(|error| panic!("{module}: {name}: {error:#}"))
}

fn instructions(module: &str, name: &str) -> u64 {
    costs(module, name).instructions / STREAMS
}

/// The share of the first number in the second one, in percent.
fn percent(part: u64, whole: u64) -> u64 {
    part * 100 / whole
}

#[test]
fn a_document_with_routes_only_costs_hardly_more_than_in_the_router() {
    for name in ["10 header rules, the last matches", "split"] {
        let (bundle, router) = (instructions("sluice", name), instructions("router", name));
        println!("{name}: sluice {bundle}, router {router}");
        assert!(percent(bundle, router) <= 108, "{name}: {bundle} and {router} instructions");
    }
}

#[test]
fn all_parts_cost_less_than_half_of_the_chain() {
    let name = "all parts";
    let bundle = instructions("sluice", name);
    let [router, mirror, fault] =
        ["router", "mirror", "fault"].map(|module| instructions(module, name));
    println!("{name}: sluice {bundle}, router {router}, mirror {mirror}, fault {fault}");
    assert!(percent(bundle, router) <= 145, "{bundle}, the router alone {router}");
    assert!(percent(bundle, router + mirror + fault) <= 50, "{bundle} instructions");
}

#[test]
fn headers_are_read_once() {
    let read = |name| costs("sluice", name).calls["proxy_get_header_map_pairs"] / STREAMS;
    assert_eq!([read("all parts"), read("all parts and egress")], [1, 1]);
    assert_eq!(read("all parts, a delay"), 2, "again after the delay");
}
