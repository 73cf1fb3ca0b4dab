//! Splits, sticky draws, percentages and durations.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sluice_policy::request::Draws;
use sluice_policy::spec::fault::DelayLength;
use sluice_policy::spec::split::{Choice, Split};
use sluice_policy::value::duration::{GoDuration, InvalidDuration};
use sluice_policy::value::percent::Percent;

/// Weights of 2 to 6 destinations, some of them 0 but not all.
fn weights(largest: u32) -> impl Strategy<Value = Vec<u32>> {
    let weight = prop_oneof![1 => Just(0), 4 => 0..=largest];
    vec(weight, 2..=6).prop_filter("all weights are 0", |weights| weights.iter().any(|w| *w > 0))
}

fn split(weights: &[u32]) -> Split<usize> {
    let order: Vec<usize> = (0..weights.len()).collect();
    ordered_split(weights, &order)
}

/// The destinations with these weights, in another order.
fn ordered_split(weights: &[u32], order: &[usize]) -> Split<usize> {
    let choice = |target: &usize| Choice {
        weight: weights[*target],
        sampling_name: format!("service|80|v{target}").into(),
        target: *target,
    };
    Split::try_new(order.iter().map(choice).collect()).unwrap()
}

struct Draw(u64);

impl Draws for Draw {
    fn draw(&mut self) -> u64 {
        self.0
    }
}

/// Sticky choices never draw.
struct NoDraw;

impl Draws for NoDraw {
    fn draw(&mut self) -> u64 {
        panic!("a draw for a user")
    }
}

fn drawn(split: &Split<usize>, random: u64) -> usize {
    *split.pick(None, &mut Draw(random)).unwrap().1
}

fn sticky(split: &Split<usize>, user: u64) -> usize {
    *split.pick(Some(user), &mut NoDraw).unwrap().1
}

proptest! {
    #[test]
    fn consecutive_draws_have_exact_shares(weights in weights(50), start in any::<u64>()) {
        let split = split(&weights);
        let total = u64::from(weights.iter().sum::<u32>());
        // Avoids an overflow within a round.
        let start = start - start % total;
        let start = start.min(u64::MAX - u64::MAX % total - total);
        let mut counts = vec![0; weights.len()];
        (start..start + total).for_each(|random| counts[drawn(&split, random)] += 1);
        prop_assert_eq!(counts, weights);
    }

    #[test]
    fn no_draw_picks_a_weight_of_zero(
        weights in weights(i32::MAX as u32 / 3),
        random in any::<u64>(),
    ) {
        let picked = drawn(&split(&weights), random);
        prop_assert!(weights[picked] > 0);
    }

    #[test]
    fn the_index_of_a_pick_gives_the_same_target(
        weights in weights(100),
        random in any::<u64>(),
        user in any::<Option<u64>>(),
    ) {
        let split = split(&weights);
        let (index, target) = split.pick(user, &mut Draw(random)).unwrap();
        prop_assert_eq!(split.target(index), Some(target));
    }

    #[test]
    fn a_user_stays(weights in weights(1000), user in any::<u64>()) {
        let picked = sticky(&split(&weights), user);
        prop_assert!(weights[picked] > 0);
        prop_assert_eq!(sticky(&split(&weights), user), picked);
    }

    #[test]
    fn the_order_of_destinations_does_not_change_sticky_choices(
        (weights, order) in weights(1000).prop_flat_map(|weights| {
            let order: Vec<usize> = (0..weights.len()).collect();
            (Just(weights), Just(order).prop_shuffle())
        }),
        users in vec(any::<u64>(), 50),
    ) {
        let (one, other) = (split(&weights), ordered_split(&weights, &order));
        for user in users {
            prop_assert_eq!(sticky(&one, user), sticky(&other, user));
        }
    }

    #[test]
    fn a_raised_weight_moves_users_only_to_its_destination(
        weights in weights(1000),
        raised in any::<prop::sample::Index>(),
        by in 1u32..1000,
        users in vec(any::<u64>(), 100),
    ) {
        let raised = raised.index(weights.len());
        let before = split(&weights);
        let mut more = weights.clone();
        more[raised] += by;
        let after = split(&more);
        for user in users {
            let (from, to) = (sticky(&before, user), sticky(&after, user));
            prop_assert!(to == from || to == raised, "from {} to {}, raised {}", from, to, raised);
        }
    }

    #[test]
    fn multiplying_all_weights_does_not_change_sticky_choices(
        weights in weights(1000),
        times in 2u32..1000,
        users in vec(any::<u64>(), 50),
    ) {
        let larger: Vec<u32> = weights.iter().map(|weight| weight * times).collect();
        let (one, other) = (split(&weights), split(&larger));
        for user in users {
            prop_assert_eq!(sticky(&one, user), sticky(&other, user));
        }
    }

    #[test]
    fn percentages_are_truncated_to_a_millionth(value in 0.0..=100.0f64, random in any::<u64>()) {
        let percent = Percent::new(value).unwrap();
        let exact = value * 10_000.0;
        let off = exact - f64::from(percent.per_million());
        prop_assert!((0.0..1.0).contains(&off), "{}", off);
        prop_assert_eq!(percent.hit(random), random % 1_000_000 < u64::from(percent.per_million()));
    }

    #[test]
    fn larger_percentages_include_the_hits_of_smaller_ones(
        one in 0.0..=100.0f64,
        other in 0.0..=100.0f64,
        random in any::<u64>(),
    ) {
        let smaller = Percent::new(one.min(other)).unwrap();
        let larger = Percent::new(one.max(other)).unwrap();
        prop_assert!(smaller <= larger);
        prop_assert!(!smaller.hit(random) || larger.hit(random));
    }

    #[test]
    fn percentages_outside_of_the_range_are_refused(value in any::<f64>()) {
        prop_assert_eq!(Percent::new(value).is_some(), (0.0..=100.0).contains(&value));
    }

    #[test]
    fn delays_are_within_their_bounds(
        shortest in 1u64..100_000_000,
        more in 0u64..100_000_000,
        random in any::<u64>(),
    ) {
        let (shortest, more) = (Duration::from_millis(shortest), Duration::from_millis(more));
        let fixed = DelayLength::Fixed { duration: shortest, jitter: more }.draw(random);
        prop_assert!((shortest..=shortest + more).contains(&fixed), "{:?}", fixed);
        let exponential = DelayLength::Exponential { mean: shortest, max: more }.draw(random);
        prop_assert!(exponential <= more, "{:?}", exponential);
    }

    #[test]
    fn displayed_durations_parse_to_the_same_value(nanoseconds in 0..=i64::MAX as u64) {
        let duration = GoDuration(Duration::from_nanos(nanoseconds));
        prop_assert_eq!(duration.to_string().parse::<GoDuration>(), Ok(duration));
    }

    #[test]
    fn durations_with_several_units_parse(
        hours in 0u64..1000,
        minutes in 0u64..100,
        seconds in 0u64..100,
        milliseconds in 0u64..2000,
    ) {
        let text = format!("{hours}h{minutes}m{seconds}s{milliseconds}ms");
        let total = ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds;
        let duration = GoDuration(Duration::from_millis(total));
        prop_assert_eq!(text.parse::<GoDuration>(), Ok(duration));
        prop_assert_eq!(duration.to_string().parse::<GoDuration>(), Ok(duration));
    }

    #[test]
    fn durations_above_the_maximum_are_refused(seconds in 9_223_372_037u64..=u64::MAX) {
        prop_assert_eq!(format!("{seconds}s").parse::<GoDuration>(), Err(InvalidDuration::TooLong));
    }

    #[test]
    fn any_text_is_refused_or_parses_within_the_limit(
        text in "[-+]?([0-9]{0,25}\\.?[0-9]{0,25}(ns|us|\u{b5}s|ms|s|m|h|d)?){0,3}",
    ) {
        if let Ok(duration) = text.parse::<GoDuration>() {
            prop_assert!(duration.0.as_nanos() <= i64::MAX as u128);
        }
    }
}
