//! Processor time that the modules take to read documents with long lists, and how it grows with
//! their length.

use sluice_conformance::{LONG_LISTS, LongList};
use sluice_e2e::{Bootstrap, Envoy, wasm};
use sluice_progress::Progress;

use crate::listener::{any, edge};
use crate::results::Table;
use crate::samples::median;

const LENGTHS: [usize; 4] = [12_500, 25_000, 50_000, 100_000];
/// One VM validates the configuration, one is for the main thread and one for the worker.
const VMS: f64 = 3.0;
const ROUNDS: usize = 3;
/// Longest time of one VM after which a list of twice the length is tried, in seconds.
const LIMIT: f64 = 3.0;

/// Measures and returns the table.
pub async fn run() -> Vec<Table> {
    let columns = LENGTHS.map(|length| format!("{length}"));
    let columns: Vec<&str> = columns.iter().map(String::as_str).chain(["exponent"]).collect();
    let mut table = Table::new(
        "Long lists: CPU seconds of each VM by the number of elements, and the exponent of the growth",
        &columns,
    );
    let lists: Vec<_> = LONG_LISTS.iter().filter(|list| list.is_accepted).collect();
    let mut progress = Progress::new("lists", lists.len() as u64, "lists");
    for list in lists {
        let base = start(list, 8).await;
        let mut seconds = Vec::new();
        for length in LENGTHS {
            if seconds.last().is_some_and(|last| *last > LIMIT) {
                break;
            }
            seconds.push((start(list, length).await - base) / VMS);
        }
        let growth = exponent(&seconds);
        seconds.resize(LENGTHS.len(), f64::NAN);
        seconds.push(growth);
        progress.print(&format!("{:<46} {seconds:.3?}", list.name));
        progress.advance();
        table.row(list.name, &seconds, None);
    }
    vec![table]
}

/// Processor time of an Envoy with the list until it serves, in seconds. The median of some rounds.
async fn start(list: &LongList, length: usize) -> f64 {
    let document = (list.document)(length).to_string();
    let filters = vec![wasm(list.filter, "edge", &document)];
    let bootstrap = Bootstrap::new().raw_listener(edge(filters, any()));
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        samples.push(Envoy::start(&bootstrap).await.processor_time().as_secs_f64());
    }
    median(&mut samples)
}

/// The slope of the logarithm of the seconds over the logarithm of the length, by least squares.
/// Times below a millisecond count as one.
fn exponent(seconds: &[f64]) -> f64 {
    let points = LENGTHS.iter().zip(seconds);
    let points: Vec<(f64, f64)> =
        points.map(|(length, time)| ((*length as f64).ln(), time.max(1e-3).ln())).collect();
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let covariance: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    covariance / variance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_of_squares_is_2() {
        let squares = LENGTHS.map(|length| (length as f64).powi(2));
        assert!((exponent(&squares) - 2.0).abs() < 1e-9);
        assert!((exponent(&squares[..2]) - 2.0).abs() < 1e-9);
    }
}
