//! The cost of a stream in the released modules does not exceed the committed table.

use sluice_wasm_tests::{Table, cases, measure};

/// `make costs` rewrites the table, after a change that justifies its cost.
const REWRITE: &str = "SLUICE_REWRITE_COSTS";

#[test]
fn streams_cost_no_more_than_the_table_says() {
    let mut table = Table::default();
    for case in cases() {
        let name = format!("{}: {}", case.module, case.name);
        let costs = measure(&case).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert!(table.0.insert(name.clone(), costs).is_none(), "two cases are called {name}");
    }
    if std::env::var_os(REWRITE).is_some() {
        return table.store().unwrap();
    }
    let found = table.exceeding(&Table::load().unwrap());
    assert!(found.is_empty(), "more than in costs.json:\n{}", found.join("\n"));
}

#[test]
fn counts_are_repeatable() {
    let case = cases().into_iter().find(|case| case.module == "router").unwrap();
    assert_eq!(measure(&case).unwrap(), measure(&case).unwrap());
}
