//! What stops asking an API that does not answer: a circuit breaker, and a budget for retries.

use std::time::Duration;

/// Fewer outcomes than this say nothing.
const LEAST: u32 = 20;
/// Outcomes are counted over one to two of these.
const SPAN: Duration = Duration::from_secs(30);
const OPEN_FIRST: Duration = Duration::from_secs(30);
const OPEN_MOST: Duration = Duration::from_secs(300);

/// Opens where half of the answers fail; then one probe at a time finds out whether it is over.
#[derive(Clone, Debug, Default)]
pub(super) struct Breaker {
    /// Outcomes of this span and of the one before: all, failed.
    now: (u32, u32),
    before: (u32, u32),
    span_began: Duration,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    until: Duration,
    length: Duration,
    /// The number of the request that finds out.
    probe: Option<u64>,
}

/// What the breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lets {
    All,
    /// One request, that finds out.
    Probe,
    NoneUntil(Duration),
    /// The probe is under way.
    NoneBefore,
}

impl Breaker {
    pub(super) fn lets(&self, now: Duration) -> Lets {
        match self.open {
            None => Lets::All,
            Some(open) if now < open.until => Lets::NoneUntil(open.until),
            Some(Open { probe: Some(_), .. }) => Lets::NoneBefore,
            Some(_) => Lets::Probe,
        }
    }

    /// Request `number` is sent.
    pub(super) fn send(&mut self, number: u64) {
        if let Some(open) = &mut self.open {
            open.probe = Some(number);
        }
    }

    /// Request `number` was answered, by a failure or not. `fraction` in `[0, 1)` is the dice.
    pub(super) fn note(&mut self, number: u64, failed: bool, now: Duration, fraction: f64) {
        if let Some(open) = self.open {
            // What was sent before it opened says nothing new.
            if open.probe != Some(number) {
                return;
            }
            if failed {
                let length = (open.length * 2).min(OPEN_MOST);
                let until = now + length + length.mul_f64(fraction / 4.0);
                self.open = Some(Open { until, length, probe: None });
            } else {
                *self = Breaker { span_began: now, ..Breaker::default() };
            }
            return;
        }
        self.turn(now);
        self.now.0 += 1;
        self.now.1 += u32::from(failed);
        let (all, bad) = (self.now.0 + self.before.0, self.now.1 + self.before.1);
        if all >= LEAST && bad * 2 >= all {
            let until = now + OPEN_FIRST + OPEN_FIRST.mul_f64(fraction / 4.0);
            self.open = Some(Open { until, length: OPEN_FIRST, probe: None });
        }
    }

    /// Request `number` was not sent after all, or nobody knows what became of it.
    pub(super) fn forget(&mut self, number: u64) {
        if let Some(open) = self.open.as_mut().filter(|open| open.probe == Some(number)) {
            open.probe = None;
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn turn(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.span_began);
        if passed < SPAN {
            return;
        }
        self.before = if passed < SPAN * 2 { self.now } else { (0, 0) };
        self.now = (0, 0);
        self.span_began = now;
    }
}

/// Retries that each first attempt pays for, and what there is to begin with: a page may fail a few times where nothing else does.
const RETRY_SHARE: f64 = 0.2;
const RETRY_START: f64 = 10.0;
const RETRY_MOST: f64 = 100.0;

/// Keeps retries below a fifth of the requests, whoever retries.
#[derive(Clone, Debug)]
pub(super) struct Retries {
    left: f64,
}

impl Retries {
    pub(super) fn new() -> Self {
        Retries { left: RETRY_START }
    }

    pub(super) fn note_first_attempt(&mut self) {
        self.left = (self.left + RETRY_SHARE).min(RETRY_MOST);
    }

    /// Takes one retry, if there is one.
    pub(super) fn take(&mut self) -> bool {
        let there = self.left >= 1.0;
        if there {
            self.left -= 1.0;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn half_of_twenty_failures_open_it_and_one_probe_closes_it() {
        //
        let mut breaker = Breaker::default();
        for number in 0..19 {
            breaker.note(number, number % 2 == 0, secs(1), 0.0);
            assert_eq!(breaker.lets(secs(1)), Lets::All);
        }
        breaker.note(19, true, secs(1), 0.0);
        assert_eq!(breaker.lets(secs(2)), Lets::NoneUntil(secs(31)));
        assert_eq!(breaker.lets(secs(31)), Lets::Probe);
        breaker.send(20);
        assert_eq!(breaker.lets(secs(31)), Lets::NoneBefore, "one at a time");
        // An answer to what was sent before it opened decides nothing.
        breaker.note(3, false, secs(32), 0.0);
        assert_eq!(breaker.lets(secs(32)), Lets::NoneBefore);
        breaker.note(20, true, secs(33), 0.0);
        assert_eq!(breaker.lets(secs(34)), Lets::NoneUntil(secs(93)), "twice as long");
        breaker.send(21);
        breaker.forget(21);
        assert_eq!(breaker.lets(secs(93)), Lets::Probe, "a probe that was lost is made again");
        breaker.send(22);
        breaker.note(22, false, secs(94), 0.0);
        assert_eq!(breaker.lets(secs(94)), Lets::All);
    }

    #[test]
    fn failures_of_long_ago_are_forgotten() {
        let mut breaker = Breaker::default();
        for number in 0..19 {
            breaker.note(number, true, secs(1), 0.0);
        }
        breaker.note(19, true, secs(100), 0.0);
        assert!(!breaker.is_open());
    }

    #[test]
    fn retries_are_a_fifth_in_the_long_run() {
        //
        let mut retries = Retries::new();
        let mut sent = 0;
        for _ in 0..1000 {
            sent += 1;
            retries.note_first_attempt();
            while retries.take() {
                sent += 1;
            }
        }
        assert!(sent <= 1210, "{sent}");
    }
}
