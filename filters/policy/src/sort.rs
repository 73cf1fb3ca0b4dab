//! A stable sort with little code: the standard library's is compiled once for each type of values,
//! and here once for all types, for the places of the values.

use std::cmp::Ordering;

/// Compares the values of two places.
type Compare<'a> = dyn Fn(usize, usize) -> Ordering + 'a;

/// Sorts values. Equal values keep their order.
pub fn sort<T>(values: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let swaps = swaps(values.len(), &|left, right| match (values.get(left), values.get(right)) {
        (Some(left), Some(right)) => compare(left, right),
        _ => Ordering::Equal,
    });
    swaps.into_iter().for_each(|(left, right)| values.swap(left, right));
}

/// Returns the swaps that sort `count` values, at most one for each value.
#[inline(never)]
fn swaps(count: usize, compare: &Compare<'_>) -> Vec<(usize, usize)> {
    let mut swaps = Vec::new();
    // For each place, the place of its value. A place that is done has its own value.
    let mut sources: Vec<usize> = (0..count).collect();
    sources.sort_by(|left, right| compare(*left, *right));
    for start in 0..count {
        let mut place = start;
        while let Some(source) = sources.get_mut(place) {
            let next = std::mem::replace(source, place);
            if next == start || next == place {
                break;
            }
            swaps.push((place, next));
            place = next;
        }
    }
    swaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_keep_their_order() {
        for count in 0..70_u64 {
            let keys = (0..count).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 7);
            let mut values: Vec<_> = keys.zip(0..).collect();
            let mut expected = values.clone();
            expected.sort();
            sort(&mut values, |left, right| left.0.cmp(&right.0));
            assert_eq!(values, expected);
        }
    }
}
