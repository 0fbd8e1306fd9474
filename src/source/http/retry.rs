//! When an attempt is made again. Pure: the caller waits. The only layer that retries; the client's own is switched off.

use std::time::Duration;

use super::status::Remedy;

/// First step of the backoff; each retry doubles it up to the cap.
const BACKOFF_BASE: Duration = Duration::from_millis(500);
const BACKOFF_CAP: Duration = Duration::from_secs(60);
/// Whoever is told to wait longer gives the page up; the job is due again then.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Waits that the source asked for spend no attempt, but they do not go on for ever.
const THROTTLES_MAX: u32 = 100;

/// The attempts at one page.
#[derive(Debug)]
pub(super) struct Attempts {
    max: u32,
    made: u32,
    throttled: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Try again after this length. `attempt` is the number of the next one.
    Again {
        after: Duration,
        attempt: u32,
    },
    GiveUp,
}

impl Attempts {
    /// `max` attempts in all, the first included. `asked` counts from 1 how often the caller has asked for the page: its asking
    /// again is a retry too, and retries of two layers must not multiply.
    pub(super) fn new(max: u32, asked: u32) -> Self {
        Attempts { max: max.saturating_sub(asked.saturating_sub(1)).max(1), made: 0, throttled: 0 }
    }

    /// What to do after an attempt failed. `paused`: the budget holds the next attempt back for as long as the source asked.
    /// `fraction` in `[0, 1)` is the dice.
    pub(super) fn decide(&mut self, remedy: Remedy, paused: bool, fraction: f64) -> Decision {
        match remedy {
            Remedy::None | Remedy::Renew => Decision::GiveUp,
            Remedy::Wait(length) => {
                self.throttled += 1;
                if self.throttled > THROTTLES_MAX || (length > WAIT_MAX && !paused) {
                    return Decision::GiveUp;
                }
                if paused && !length.is_zero() {
                    return Decision::Again { after: Duration::ZERO, attempt: self.made + 1 };
                }
                // The jitter comes on top: before the moment that the source named, every request is one too many.
                let after = length + backoff(self.throttled - 1, fraction);
                Decision::Again { after, attempt: self.made + 1 }
            }
            Remedy::Retry => {
                self.made += 1;
                if self.made >= self.max {
                    return Decision::GiveUp;
                }
                Decision::Again { after: backoff(self.made - 1, fraction), attempt: self.made + 1 }
            }
        }
    }

    /// Attempts that counted so far.
    pub(super) fn made(&self) -> u32 {
        self.made
    }
}

/// Full jitter: anything up to the doubled step, so that those who failed together do not come back together.
pub(super) fn backoff(retries_before: u32, fraction: f64) -> Duration {
    let step = BACKOFF_BASE.saturating_mul(2u32.saturating_pow(retries_before.min(16)));
    step.min(BACKOFF_CAP).mul_f64(fraction.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_up_to_its_cap() {
        //
        let most: Vec<u64> = (0..9).map(|retry| backoff(retry, 1.0).as_millis() as u64).collect();
        assert_eq!(most, [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
        assert_eq!(backoff(u32::MAX, 1.0), BACKOFF_CAP);
        assert_eq!(backoff(3, 0.0), Duration::ZERO);
        assert_eq!(backoff(3, 0.5), Duration::from_secs(2));
    }

    #[test]
    fn attempts_are_counted() {
        let mut attempts = Attempts::new(3, 1);
        assert_eq!(attempts.decide(Remedy::Retry, false, 0.5), Decision::Again { after: Duration::from_millis(250), attempt: 2 });
        assert_eq!(attempts.decide(Remedy::Retry, false, 0.5), Decision::Again { after: Duration::from_millis(500), attempt: 3 });
        assert_eq!(attempts.decide(Remedy::Retry, false, 0.5), Decision::GiveUp);
        assert_eq!(Attempts::new(3, 1).decide(Remedy::None, false, 0.5), Decision::GiveUp);
    }

    #[test]
    fn asking_again_spends_attempts() {
        //
        let mut attempts = Attempts::new(3, 2);
        assert!(matches!(attempts.decide(Remedy::Retry, false, 0.5), Decision::Again { .. }));
        assert_eq!(attempts.decide(Remedy::Retry, false, 0.5), Decision::GiveUp);
        assert_eq!(Attempts::new(3, 9).decide(Remedy::Retry, false, 0.5), Decision::GiveUp);
        assert_eq!(Attempts::new(0, 1).decide(Remedy::Retry, false, 0.5), Decision::GiveUp);
    }

    #[test]
    fn waits_spend_no_attempt_but_end() {
        let mut attempts = Attempts::new(2, 1);
        for _ in 0..THROTTLES_MAX {
            let Decision::Again { after, attempt: 1 } = attempts.decide(Remedy::Wait(Duration::from_secs(5)), false, 0.1) else {
                panic!("a wait spent an attempt");
            };
            // Never before what was asked for.
            assert!(after >= Duration::from_secs(5) && after <= Duration::from_secs(65));
        }
        assert_eq!(attempts.decide(Remedy::Wait(Duration::from_secs(5)), false, 0.1), Decision::GiveUp);
    }

    #[test]
    fn a_wait_of_hours_is_given_up() {
        //
        assert_eq!(Attempts::new(9, 1).decide(Remedy::Wait(WAIT_MAX + Duration::from_secs(1)), false, 0.0), Decision::GiveUp);
        assert!(matches!(Attempts::new(9, 1).decide(Remedy::Wait(WAIT_MAX), false, 0.0), Decision::Again { .. }));
    }
}
