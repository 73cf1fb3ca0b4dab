//! The cost of a configuration does not grow with the square of the length of a list.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sluice_conformance::{LONG_LISTS, LongList};
use sluice_wasm_tests::Instance;

/// Length of a list. Twice as long a list must cost less than [`MAX_GROWTH`] times as much.
const LENGTH: usize = 1_000;

/// Allowed growth of the instructions. In proportion to n log n it is about 2.2, to the square 4.
const MAX_GROWTH: f64 = 2.5;

/// Instructions to read a document with a list of this length, and the linear memory in bytes.
fn instructions(list: &LongList, length: usize) -> (u64, usize) {
    let mut instance = Instance::start(list.filter).unwrap();
    let document = (list.document)(length);
    let before = instance.instructions();
    let is_accepted =
        instance.accepts(&document).unwrap_or_else(|e| panic!("{}: {e:#}", list.name));
    let log = instance.host().log();
    assert_eq!(is_accepted, list.is_accepted, "{}: {log:?}", list.name);
    (instance.instructions() - before, instance.memory())
}

/// The growth of instructions and of memory, if the length doubles, as a line of text.
fn growth(list: &LongList) -> (f64, f64, String) {
    let ((one, memory), (two, memory_of_two)) =
        (instructions(list, LENGTH), instructions(list, 2 * LENGTH));
    let growth = two as f64 / one as f64;
    let memory_growth = memory_of_two as f64 / memory as f64;
    let line = format!(
        "{:<46} {one:>12} {two:>12} {growth:>6.2} {memory:>10} {memory_of_two:>10}",
        list.name
    );
    (growth, memory_growth, line)
}

#[test]
fn configuring_grows_less_than_quadratically_with_each_list() {
    let next = AtomicUsize::new(0);
    let worker = || {
        let lists = std::iter::from_fn(|| LONG_LISTS.get(next.fetch_add(1, Ordering::Relaxed)));
        let print = |found: &(_, _, String)| println!("{}", found.2);
        lists.map(growth).inspect(print).collect::<Vec<_>>()
    };
    let lines = thread::scope(|scope| {
        let workers = [(); 2].map(|()| scope.spawn(worker));
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    let slow: Vec<_> = lines
        .iter()
        .filter(|(growth, memory, _)| *growth > MAX_GROWTH || *memory > MAX_GROWTH)
        .map(|(.., line)| line.as_str())
        .collect();
    assert!(slow.is_empty(), "with {LENGTH} and {} elements:\n{}", 2 * LENGTH, slow.join("\n"));
}
