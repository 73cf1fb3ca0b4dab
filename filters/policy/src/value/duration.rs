//! Durations in Go's notation, as in Istio: `5s`, `0.5s`, `100ms`, `1h30m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::document::node::Node;
use crate::document::report::Reported;

/// A duration in Go's notation.
///
/// The units are `ns`, `us` (or `µs`), `ms`, `s`, `m` and `h`. Every number requires a unit, except
/// a single `0`. The maximum is 2^63 - 1 nanoseconds, about 292 years. Source: Go
/// `time.ParseDuration`, with which Istio reads durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoDuration(pub Duration);

/// Why a text is not a valid duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidDuration {
    /// The duration is negative. No policy allows this.
    Negative,
    /// The text is not in Go's notation.
    Syntax,
    /// The duration is longer than 2^63 - 1 nanoseconds.
    TooLong,
}

impl fmt::Display for InvalidDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Negative => "is negative",
            Self::Syntax => "is not a duration such as 5s, 0.5s, 100ms or 1h30m",
            Self::TooLong => "is too long for a duration",
        })
    }
}

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl FromStr for GoDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if rest.is_empty() {
            return Err(InvalidDuration::Syntax);
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (nanoseconds, tail) = leading_part(rest)?;
            total = total
                .checked_add(nanoseconds)
                .filter(|total| i64::try_from(*total).is_ok())
                .ok_or(InvalidDuration::TooLong)?;
            rest = tail;
        }
        if negative {
            Err(InvalidDuration::Negative)
        } else {
            Ok(Self(Duration::from_nanos(total)))
        }
    }
}

/// Reads the first number and its unit. Returns the nanoseconds and the rest of `text`.
fn leading_part(text: &str) -> Result<(u64, &str), InvalidDuration> {
    let (whole, rest) = leading_digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => leading_digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(InvalidDuration::Syntax);
    }
    let unit_end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(unit_end).ok_or(InvalidDuration::Syntax)?;
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(InvalidDuration::Syntax)?;
    let whole: u64 =
        if whole.is_empty() { 0 } else { whole.parse().map_err(|_| InvalidDuration::TooLong)? };
    let mut nanoseconds = whole.checked_mul(*unit).ok_or(InvalidDuration::TooLong)?;
    // Digit by digit, so that 0.1s is exactly 100ms. Fractions of a nanosecond are cut off.
    let mut place = *unit;
    for digit in fraction.bytes() {
        place /= 10;
        nanoseconds = nanoseconds
            .checked_add(place * u64::from(digit - b'0'))
            .ok_or(InvalidDuration::TooLong)?;
    }
    Ok((nanoseconds, rest))
}

fn leading_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

impl fmt::Display for GoDuration {
    /// The shortest exact form: whole hours and minutes, then the rest in the largest unit that is
    /// not longer than the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        let (minutes, rest) = (nanoseconds / 60_000_000_000, nanoseconds % 60_000_000_000);
        let (hours, minutes) = (minutes / 60, minutes % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if rest == 0 {
            return if nanoseconds == 0 { f.write_str("0s") } else { Ok(()) };
        }
        let (unit, name) = match rest {
            1_000_000_000.. => (1_000_000_000, "s"),
            1_000_000.. => (1_000_000, "ms"),
            1_000.. => (1_000, "us"),
            _ => (1, "ns"),
        };
        let width = if unit == 1 { 0 } else { unit.to_string().len() - 1 };
        let fraction = format!("{:0width$}", rest % unit);
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() {
            write!(f, "{}{name}", rest / unit)
        } else {
            write!(f, "{}.{fraction}{name}", rest / unit)
        }
    }
}

/// Reads a duration in milliseconds. It must be at least 1 ms and have no fraction of a
/// millisecond. Source: Istio `ValidateDuration`.
pub fn read_milliseconds(node: &Node<'_>) -> Result<u64, Reported> {
    let duration = read_any(node)?;
    if duration < Duration::from_millis(1) {
        return Err(node.invalid("is shorter than 1ms"));
    }
    if duration.subsec_nanos() % 1_000_000 != 0 {
        return Err(node.invalid("is not a whole number of milliseconds"));
    }
    u64::try_from(duration.as_millis()).map_err(|_| node.invalid(InvalidDuration::TooLong))
}

/// Reads a duration with the rules of [`read_milliseconds`].
pub fn read(node: &Node<'_>) -> Result<Duration, Reported> {
    read_milliseconds(node).map(Duration::from_millis)
}

/// Reads a duration of any length.
fn read_any(node: &Node<'_>) -> Result<Duration, Reported> {
    let duration = node.string()?.parse::<GoDuration>();
    duration.map(|duration| duration.0).map_err(|reason| node.invalid(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<u128, InvalidDuration> {
        text.parse::<GoDuration>().map(|duration| duration.0.as_nanos())
    }

    #[test]
    fn go_notation_is_parsed_exactly() {
        assert_eq!(parse("5s"), Ok(5_000_000_000));
        assert_eq!(parse("0.5s"), Ok(500_000_000));
        assert_eq!(parse(".5s"), Ok(500_000_000));
        assert_eq!(parse("5.s"), Ok(5_000_000_000));
        assert_eq!(parse("1h30m"), Ok(5_400_000_000_000));
        assert_eq!(parse("1.5h"), Ok(5_400_000_000_000));
        assert_eq!(parse("100ms"), Ok(100_000_000));
        assert_eq!(parse("3us"), Ok(3_000));
        assert_eq!(parse("3\u{b5}s"), Ok(3_000));
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(parse("+1s"), Ok(1_000_000_000));
    }

    #[test]
    fn invalid_durations_are_rejected() {
        for text in ["", "5", "s", "5 s", "1d", "5s ", ".s", "1h30", "five", "1e3s", "-", "\u{b5}"]
        {
            assert_eq!(parse(text), Err(InvalidDuration::Syntax), "{text:?}");
        }
        assert_eq!(parse("-5s"), Err(InvalidDuration::Negative));
        assert_eq!(parse("9223372037s"), Err(InvalidDuration::TooLong));
        assert_eq!(parse("99999999999999999999h"), Err(InvalidDuration::TooLong));
    }

    #[test]
    fn durations_are_displayed_in_the_shortest_form() {
        for text in ["0s", "1s", "1.5s", "100ms", "1.5ms", "1h30m", "1m250ms", "7ns", "2us"] {
            assert_eq!(text.parse::<GoDuration>().unwrap().to_string(), text);
        }
    }
}
