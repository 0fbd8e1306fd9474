//! Never above a declared limit, and hardly below.

use proptest::prelude::*;

use super::world::{Api, Dice, World, fairness, most_within, silent};
use super::*;
use crate::clock::Uptime;
use crate::config::catalog::LimitGroup;
use crate::quota::account::{Account, SHORT};
use crate::quota::keep::{Moment, Part};

fn account(limits: &Limits) -> Account {
    let mut account = Account::new();
    account.declare(limits);
    account
}

/// One process after the other asks within the same limits; some of them die in the middle.
struct Trace {
    limits: Limits,
    account: Account,
    ledger: Option<Part>,
    written: bool,
    dice: Dice,
    now: Duration,
    wall_step: i64,
    /// Number, moment of the answer, whether it is complete.
    flying: Vec<(u64, Duration)>,
    /// When the API saw each request; a process that dies takes what is on its way along.
    arrivals: Vec<Duration>,
}

impl Trace {
    fn moment(&self) -> Moment {
        let wall = jiff::Timestamp::from_second(1_800_000_000 + self.wall_step + self.now.as_secs() as i64).expect("in range");
        let uptime = Uptime { boot: "b".to_owned(), length: self.now };
        Moment { now: self.now, wall, uptime: Some(uptime) }
    }

    fn advance(&mut self, to: Duration) {
        while let Some(at) = self.flying.iter().map(|(_, at)| *at).min().filter(|at| *at <= to) {
            self.now = self.now.max(at);
            let place = self.flying.iter().position(|(_, of)| *of == at).expect("it is there");
            let (number, _) = self.flying.swap_remove(place);
            let fraction = self.dice.fraction();
            self.account.answered(number, Outcome::Answered, &told::Told::default(), self.now, fraction);
            self.account.landed(number, self.now);
        }
        self.now = self.now.max(to);
    }

    fn restart(&mut self, cleanly: bool) {
        let (now, moment) = (self.now, self.moment());
        self.arrivals.retain(|at| *at <= now);
        if cleanly {
            let last = self.flying.iter().map(|(_, at)| *at).max().unwrap_or(now);
            self.advance(last);
            self.ledger = Some(Part::of(&self.account, false, &[], &self.moment()));
        }
        self.flying.clear();
        self.written = false;
        self.account = account(&self.limits);
        if let Some(part) = &self.ledger {
            let moment = if cleanly { self.moment() } else { moment };
            for place in 0..self.account.limits.len() {
                part.count(&mut self.account, place, &moment);
            }
        }
    }

    fn send(&mut self, claim: &Claim) {
        // Ends: a wait is for a moment, or for an answer that is under way.
        loop {
            match self.account.ask(claim, false, self.now) {
                Ok(()) => break,
                Err(blocked) => {
                    let answer = self.flying.iter().map(|(_, at)| *at).min();
                    let at = blocked.at.or(answer).expect("something ends the wait");
                    self.advance(at.max(self.now + Duration::from_nanos(1)));
                }
            }
        }
        let wanted = self.account.blocks_wanted(claim, self.now);
        if !self.written || !wanted.is_empty() {
            self.written = true;
            self.ledger = Some(Part::of(&self.account, true, &wanted, &self.moment()));
            for (place, amount) in wanted {
                self.account.limits[place].allowed += amount;
            }
        }
        let number = self.account.send(claim, false, self.now);
        let shortest = self.limits.requests.iter().map(|rate| rate.per).min().unwrap_or_default();
        let chance = self.dice.fraction();
        // In a window of seconds the ways of most requests differ by less than its margin; some are late, and answered late.
        let jitter = if shortest <= SHORT { shortest / 250 } else { secs(1) };
        let mut way = millis(20) + jitter.mul_f64(self.dice.fraction());
        if chance < 0.05 {
            way += millis(2500).mul_f64(self.dice.fraction());
        }
        let answered = way + if shortest <= SHORT { millis(30) } else { millis(3000).mul_f64(self.dice.fraction()) };
        self.arrivals.push(self.now + way);
        self.flying.push((number, self.now + answered));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    // Whatever the arrivals, the answers, the deaths and the steps of the wall clock: no interval of a window's length holds
    // more than its limit.
    #[test]
    fn no_interval_holds_more_than_its_limit(
        rates in prop::collection::vec((1u32..40, prop::sample::select(vec![1u64, 2, 7, 10, 11, 60, 3600])), 1..4),
        burst in prop::sample::select(vec![0.02, 0.5, 1.0]),
        steps in prop::collection::vec((0u8..20, 0u64..4_000, -7_200i64..7_200), 1..12),
        seed in any::<u64>(),
    ) {
        let limits = Limits { burst, ..limits(&rates, None) };
        let mut trace = Trace {
            account: account(&limits),
            limits,
            ledger: None,
            written: false,
            dice: Dice(seed),
            now: secs(100),
            wall_step: 0,
            flying: Vec::new(),
            arrivals: Vec::new(),
        };
        let claim = claim("a");
        for (what, amount, step) in steps {
            match what {
                0..=1 => {
                    trace.restart(what == 1);
                    trace.wall_step += step;
                    // A process is not up again at once.
                    let up = trace.now + millis(100 + amount);
                    trace.advance(up);
                }
                2..=3 => trace.wall_step += step,
                4..=6 => {
                    let until = trace.now + millis(amount);
                    trace.advance(until);
                }
                _ => (0..what).for_each(|_| trace.send(&claim)),
            }
        }
        for (requests, seconds) in rates {
            let most = most_within(&trace.arrivals, secs(seconds));
            prop_assert!(most <= requests as usize, "{most} in {seconds} s, {requests} are allowed");
        }
    }
}

#[test]
fn a_hundred_a_second_are_nearly_reached_and_shared() {
    // R-45 R-28
    let mut world = World::new(account(&limits(&[(100, 1)], None)), Api::new(&[(100, secs(1))]));
    let through = world.run(8, secs(60), &silent);
    let rate = through.iter().sum::<u64>() as f64 / 60.0;
    assert!(rate >= 97.0, "{rate} a second");
    assert_eq!(world.api.refused.len(), 0);
    assert!(fairness(&through) >= 0.9, "{through:?}");
}

#[test]
fn fifty_jobs_share_fairly_and_a_greedy_one_gets_no_more_than_the_others() {
    //
    let mut hungers = vec![1; 50];
    hungers[17] = 20;
    for windows in [&[(100, 1)][..], &[(600, 60)]] {
        let told: Vec<(usize, Duration)> = windows.iter().map(|(limit, per)| (*limit as usize, secs(*per))).collect();
        let mut world = World::new(account(&limits(windows, None)), Api::new(&told));
        let through = world.run_hungry(&hungers, secs(120), &silent);
        assert!(fairness(&through) >= 0.9, "{windows:?}: {through:?}");
        let even = through.iter().sum::<u64>() / 50;
        assert!(through.iter().all(|through| *through >= even * 4 / 5), "somebody starves, {windows:?}: {through:?}");
        assert!(through[17] <= even * 6 / 5, "{windows:?}: {through:?}");
    }
}

#[test]
fn limits_are_used_while_there_is_work() {
    for windows in [&[(10, 1)][..], &[(60, 60)], &[(900, 60)], &[(5000, 3600)], &[(20, 1), (600, 60)]] {
        let declared: Vec<(u32, u64)> = windows.to_vec();
        let told: Vec<(usize, Duration)> = windows.iter().map(|(limit, per)| (*limit as usize, secs(*per))).collect();
        let mut world = World::new(account(&limits(&declared, None)), Api::new(&told));
        let length = windows.iter().map(|(_, per)| *per).max().unwrap_or(1) * 10;
        let through: u64 = world.run(8, secs(length), &silent).iter().sum();
        let least = windows.iter().map(|(limit, per)| u64::from(*limit) * length / per).min().unwrap_or(1);
        assert!(through as f64 >= least as f64 * 0.95, "{windows:?}: {through} of {least}");
        assert_eq!(world.api.refused.len(), 0, "{windows:?}");
    }
}

#[test]
fn a_long_window_is_spent_at_once_or_spread() {
    for (pace, at_once) in [(crate::config::catalog::Pace::Burst, true), (crate::config::catalog::Pace::Spread, false)] {
        let limits = Limits { pace, ..limits(&[(1000, 86_400)], Some(8)) };
        let mut world = World::new(account(&limits), Api::new(&[(1000, secs(86_400))]));
        let through: u64 = world.run(8, secs(3600), &silent).iter().sum();
        assert_eq!(through == 1000, at_once, "{through}");
        assert!(at_once || (55..=70).contains(&through), "{through}");
    }
}

#[test]
fn a_part_is_kept_from_whoever_is_in_no_hurry() {
    let limits = Limits { reserve: 0.2, ..limits(&[(10, 60)], None) };
    let limits = Limits { burst: 1.0, ..limits };
    let mut account = account(&limits);
    let backfill = Claim { class: Class::Backfill, ..claim("old") };
    for _ in 0..8 {
        assert!(account.ask(&backfill, false, secs(10)).is_ok());
        let number = account.send(&backfill, false, secs(10));
        account.answered(number, Outcome::Answered, &told::Told::default(), secs(10), 0.0);
        account.landed(number, secs(10));
    }
    assert!(account.ask(&backfill, false, secs(10)).is_err());
    assert!(account.ask(&claim("fresh"), false, secs(10)).is_ok());
}

#[test]
fn a_group_has_limits_of_its_own() {
    //
    let group = LimitGroup {
        name: "search".to_owned(),
        pattern: crate::config::catalog::PathPattern::parse("/search/*").unwrap(),
        requests: vec![Rate { requests: 1, per: secs(60) }],
        points: Vec::new(),
        concurrency: Some(1),
    };
    let limits = Limits { groups: vec![group], ..limits(&[(100, 1)], None) };
    let mut account = account(&limits);
    let search = Claim { path: "/search/code".to_owned(), endpoint: "/search/code".to_owned(), ..claim("a") };
    let number = account.send(&search, false, secs(10));
    assert!(account.ask(&search, false, secs(11)).is_err());
    assert!(account.ask(&claim("a"), false, secs(11)).is_ok());
    // A refusal of one of its requests stops the group alone.
    let refusal = told::Refusal { cause: told::RefusalCause::Rate, patience: Some(secs(489)), limit: String::new() };
    account.answered(number, Outcome::Unclear, &told::Told { limits: Vec::new(), refusal: Some(refusal) }, secs(11), 0.0);
    account.landed(number, secs(11));
    assert_eq!(account.ask(&search, false, secs(100)).unwrap_err().at, Some(secs(500)));
    assert!(account.ask(&claim("a"), false, secs(100)).is_ok());
    account.pause_path("/search/code", secs(600));
    assert_eq!(account.ask(&search, false, secs(100)).unwrap_err().at, Some(secs(600)));
    assert!(account.ask(&claim("a"), false, secs(100)).is_ok());
    account.pause_path("/orders", secs(500));
    assert!(account.ask(&claim("a"), false, secs(100)).is_err());
}

#[test]
fn what_a_group_is_refused_without_a_word_slows_that_group_alone() {
    //
    let pattern = crate::config::catalog::PathPattern::parse("/search/*").unwrap();
    let group = LimitGroup { name: "search".to_owned(), pattern, requests: Vec::new(), points: Vec::new(), concurrency: None };
    let mut account = account(&Limits { groups: vec![group], ..limits(&[(100, 1)], None) });
    let search = Claim { path: "/search/code".to_owned(), endpoint: "/search/code".to_owned(), ..claim("a") };
    let refusal = told::Refusal { cause: told::RefusalCause::Rate, patience: None, limit: String::new() };
    let refused = told::Told { limits: Vec::new(), refusal: Some(refusal) };
    let (mut now, mut longest) = (secs(10), Duration::ZERO);
    for _ in 0..8 {
        let number = account.send(&search, false, now);
        account.answered(number, Outcome::Unclear, &refused, now, 0.0);
        account.landed(number, now);
        let at = account.ask(&search, false, now).unwrap_err().at.unwrap();
        assert!(account.ask(&claim("a"), false, now + millis(50)).is_ok(), "nobody else is slowed down");
        longest = longest.max(at - now);
        now = at;
    }
    assert!(longest >= secs(5), "{longest:?}");
    assert_eq!(account.gate.places(), 8);
}

#[test]
fn points_are_counted_as_they_come_to_be_known() {
    let points = vec![Rate { requests: 100, per: secs(60) }];
    let limits = Limits { points, burst: 1.0, cost_guess: 10, ..Limits::default() };
    let mut account = account(&limits);
    let claim = claim("a");
    let number = account.send(&claim, false, secs(10));
    account.answered(number, Outcome::Answered, &told::Told::default(), secs(10), 0.0);
    account.landed(number, secs(10));
    account.charge(&claim, 40, secs(10));
    assert_eq!(account.limits[0].meter.used(secs(10)), 40);
    // The next is counted as the last one cost: 40 and 40 fit, a third does not.
    let number = account.send(&claim, false, secs(11));
    account.answered(number, Outcome::Answered, &told::Told::default(), secs(11), 0.0);
    account.landed(number, secs(11));
    assert!(account.ask(&claim, false, secs(12)).is_err());
    account.charge(&claim, 20, secs(12));
    assert!(account.ask(&claim, false, secs(12)).is_ok());
}

#[test]
fn a_forecast_is_what_then_happens() {
    let limits = limits(&[(20, 1), (600, 60)], None);
    let forecast = crate::quota::forecast::reckon(account(&limits), &claim("a"), 3000, millis(50), secs(10));
    let mut world = World::new(account(&limits), Api::new(&[(20, secs(1)), (600, secs(60))]));
    world.jitter = Duration::ZERO;
    let through: u64 = world.run(1, forecast.length, &silent).iter().sum();
    assert!((2700..=3300).contains(&through), "{through} in {forecast:?}");
}
