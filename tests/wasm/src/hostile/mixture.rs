//! Random callbacks in a host that is more or less hostile.

use anyhow::{Context, Result, ensure};
use fastrand::Rng;

use crate::answers::Hostility;
use crate::hostile::traffic::{Outcome, Target, Traffic};

/// Callbacks between two changes of the share of wrong answers.
const CALLBACKS: u64 = 500;

/// The shares of wrong answers, in percent.
const PERCENT: [u8; 5] = [0, 3, 20, 60, 100];

/// Maximum number of bytes that a module may have in use after all callbacks, beyond what it had
/// after a tenth of them. All contexts are deleted at both times.
pub const MAX_GROWTH: u64 = 16 << 10;

/// What a module has in use after a tenth of the callbacks, and after all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mixture {
    /// After a tenth of the callbacks
    pub early: Outcome,
    /// After all callbacks
    pub late: Outcome,
}

impl Mixture {
    /// Fails if the module keeps more after all callbacks than after a tenth of them.
    pub fn check(&self) -> Result<()> {
        let growth = self.late.used.saturating_sub(self.early.used);
        ensure!(growth <= MAX_GROWTH, "{growth} bytes are left of streams that have ended");
        Ok(())
    }
}

/// Makes random callbacks of a module. Everything follows from the seed.
///
/// # Errors
/// If the module traps, or does not go on in a host that is not hostile any more.
pub fn mix(target: &Target, seed: u64, callbacks: u64) -> Result<Mixture> {
    let mut rng = Rng::with_seed(seed);
    let mut traffic = Traffic::start(target, rng.u64(..))?;
    let mut run = |part: u64| {
        for _ in 0..part.div_ceil(CALLBACKS) {
            let percent = rng.choice(PERCENT).unwrap_or_default();
            traffic.set_hostility(Hostility::Random { percent, rng: rng.fork() });
            traffic.run(CALLBACKS)?;
        }
        traffic.end()
    };
    let of_seed = || format!("seed {seed}");
    let early = run(callbacks / 10).with_context(of_seed)?;
    let late = run(callbacks - callbacks / 10).with_context(of_seed)?;
    Ok(Mixture { early, late })
}
