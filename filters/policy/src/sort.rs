//! A stable sort with little code: the standard library's is ten times as large, once for each type
//! of values.

/// Sorts values. `is_greater` returns whether its first value must come after its second one.
pub fn sort<T>(values: &mut [T], is_greater: impl Fn(&T, &T) -> bool) {
    let swaps = swaps(values.len(), &|left, right| match (values.get(left), values.get(right)) {
        (Some(left), Some(right)) => is_greater(left, right),
        _ => false,
    });
    swaps.into_iter().for_each(|(left, right)| values.swap(left, right));
}

/// Returns the swaps that sort `count` values, at most one for each value.
#[inline(never)]
fn swaps(count: usize, is_greater: &dyn Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let mut swaps = Vec::new();
    // For each place, the place of its value. A place that is done has its own value.
    let mut sources = order(count, is_greater);
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

/// Returns the numbers below `count`, sorted. Merges runs of twice the length in each pass.
fn order(count: usize, is_greater: &dyn Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut merged = Vec::with_capacity(count);
    let mut length = 1;
    while length < count {
        for runs in order.chunks(2 * length) {
            let (mut left, mut right) = runs.split_at(length.min(runs.len()));
            while let (Some((first, others)), Some((second, rest))) =
                (left.split_first(), right.split_first())
            {
                if is_greater(*first, *second) {
                    merged.push(*second);
                    right = rest;
                } else {
                    merged.push(*first);
                    left = others;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(&mut order, &mut merged);
        merged.clear();
        length *= 2;
    }
    order
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
            sort(&mut values, |left, right| left.0 > right.0);
            assert_eq!(values, expected);
        }
    }
}
