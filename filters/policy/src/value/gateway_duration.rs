//! Durations of the Gateway API: `1h30m`, `500ms`. Unlike Istio's they may be 0.

use crate::document::node::Node;
use crate::document::report::Reported;

/// The syntax (GEP-2257): at most four numbers of at most five digits, each with a unit.
pub const SYNTAX: &str = "([0-9]{1,5}(h|m|s|ms)){1,4}";

/// Milliseconds of each unit. `ms` comes before `m`, which is its start.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

/// Reads a duration in milliseconds.
pub fn read_milliseconds(node: &Node<'_>) -> Result<u64, Reported> {
    parse(node.string()?)
        .ok_or_else(|| node.invalid("is not a duration such as 10s, 1m30s or 500ms"))
}

fn parse(text: &str) -> Option<u64> {
    let (mut rest, mut total, mut parts) = (text, 0, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|count| *count <= 5)?;
        let (number, unit) = rest.split_at_checked(digits)?;
        let mut units = UNITS.iter();
        let (milliseconds, tail) =
            units.find_map(|(name, length)| Some((*length, unit.strip_prefix(name)?)))?;
        total += number.parse::<u64>().ok()? * milliseconds;
        rest = tail;
        parts += 1;
    }
    (1..=4).contains(&parts).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_up_to_four_parts() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("0ms", 0),
            ("10s", 10_000),
            ("1h1m1s1ms", 3_661_001),
            ("99999h", 359_996_400_000),
            ("1s1s", 2_000),
            ("00005ms", 5),
        ] {
            assert_eq!(parse(text), Some(milliseconds), "{text}");
        }
        for text in ["", "1", "s", "1.5s", "-1s", "+1s", "100000s", "1us", "1s1s1s1s1s", "1 s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
