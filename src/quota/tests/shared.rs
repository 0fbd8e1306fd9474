//! Limits that several processes share.

use proptest::prelude::*;

use super::world::{Dice, most_within};
use super::*;
use crate::clock::Asked;
use crate::quota::account::{Account, SHORT};
use crate::quota::keep::Entry;
use crate::quota::share::{Proposal, Sharing, Times, later};
use crate::stop::Stop;
use test_clock::TestClock;

/// How long what a member holds stays its own.
const LENGTH: Duration = Duration::from_secs(30);

/// One process.
struct Member {
    keeper: Keeper,
    account: Account,
    sharing: Sharing,
    /// Number, moment of the answer.
    flying: Vec<(u64, Duration)>,
    /// What it read, and then wants to write: version, text.
    proposed: Option<(u64, Proposal)>,
}

/// Processes, a ledger and its clock.
struct Trace {
    limits: Limits,
    clock: TestClock,
    dice: Dice,
    members: Vec<Member>,
    born: u32,
    ledger: (u64, String),
    arrivals: Vec<Duration>,
    /// How many of the requests are on their way for long.
    late: f64,
}

impl Trace {
    fn new(limits: Limits, members: usize, seed: u64) -> Trace {
        let ledger = (0, Entry::default().text());
        let clock = TestClock::new();
        let mut trace =
            Trace { limits, clock, dice: Dice(seed), members: Vec::new(), born: 0, ledger, arrivals: Vec::new(), late: 0.0 };
        for place in 0..members {
            let member = trace.member(&format!("place-{place}"));
            trace.members.push(member);
        }
        trace
    }

    fn member(&mut self, place: &str) -> Member {
        self.born += 1;
        let ledger = Arc::new(super::kept::Paper::default());
        let keeper = Keeper { ledger, writer: format!("{}-{place}", self.born), patient: true, place: place.to_owned() };
        let mut account = Account::new_shared();
        account.declare(&self.limits);
        Member { keeper, account, sharing: Sharing::default(), flying: Vec::new(), proposed: None }
    }

    fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    fn advance(&mut self, by: Duration) {
        let to = self.now() + by;
        let next = |members: &[Member]| members.iter().flat_map(|member| &member.flying).map(|(_, at)| *at).min();
        while let Some(at) = next(&self.members).filter(|at| *at <= to) {
            self.clock.advance(at.saturating_sub(self.now()));
            let now = self.now();
            for member in &mut self.members {
                let (over, flying) = member.flying.iter().partition(|(_, at)| *at <= now);
                member.flying = flying;
                let over: Vec<(u64, Duration)> = over;
                for (number, _) in over {
                    let fraction = self.dice.fraction();
                    member.account.answered(number, Outcome::Answered, &told::Told::default(), now, fraction);
                    member.account.landed(number, now);
                }
            }
        }
        self.clock.advance(to.saturating_sub(self.now()));
    }

    /// Sends what may be sent; how many that was.
    fn send(&mut self, place: usize, amount: usize) -> usize {
        let now = self.now();
        let shortest = self.limits.requests.iter().map(|rate| rate.per).min().unwrap_or_default();
        let member = &mut self.members[place];
        member.sharing.wish(now);
        for sent in 0..amount {
            if let Some(standing) = &mut member.account.sharing {
                standing.holds = member.sharing.holds(LENGTH, &self.clock);
            }
            if member.account.ask(&claim("a"), false, now).is_err() {
                return sent;
            }
            let number = member.account.send(&claim("a"), false, now);
            let jitter = if shortest <= SHORT { shortest / 250 } else { millis(500) };
            let mut way = millis(20) + jitter.mul_f64(self.dice.fraction());
            if self.dice.fraction() < self.late {
                way += millis(1500).mul_f64(self.dice.fraction());
            }
            let answered = way + if shortest <= SHORT { millis(30) } else { millis(3000).mul_f64(self.dice.fraction()) };
            self.arrivals.push(now + way);
            member.flying.push((number, now + answered));
        }
        amount
    }

    /// The first half of an agreement.
    fn read(&mut self, place: usize) {
        let asked = Asked::now(&self.clock);
        self.advance(millis(1));
        let least = self.clock.now();
        self.advance(millis(1));
        let (now, most) = (self.now(), later(least, asked.age(&self.clock)));
        let times = Times { now, least, most, asked, length: LENGTH };
        let entry = Entry::read(&self.ledger.1).expect("ours");
        let member = &mut self.members[place];
        let proposal = member.sharing.propose(&mut member.account, &entry, &member.keeper, &times, false);
        member.proposed = proposal.map(|proposal| (self.ledger.0, proposal));
    }

    /// The second half: it is written unless somebody was quicker, or nothing gets through; and the answer may be lost.
    fn write(&mut self, place: usize, gets_through: bool, answered: bool) {
        let member = &mut self.members[place];
        let Some((version, proposal)) = member.proposed.take() else { return };
        let written = gets_through && version == self.ledger.0;
        if written {
            self.ledger = (version + 1, proposal.text.clone());
        }
        match (written, answered && gets_through) {
            (_, false) => member.sharing.doubt(),
            (true, true) => member.sharing.agree(&mut member.account, proposal),
            (false, true) => {}
        }
    }

    fn look(&mut self, place: usize) {
        self.read(place);
        self.write(place, true, true);
    }

    /// It dies with what it holds, and another one begins: at its place, or elsewhere.
    fn die(&mut self, place: usize, same: bool) {
        let name = if same { self.members[place].keeper.place.clone() } else { format!("elsewhere-{}", self.born) };
        self.members[place] = self.member(&name);
    }

    fn leave(&mut self, place: usize) {
        let last = self.members[place].flying.iter().map(|(_, at)| *at).max().unwrap_or_default();
        self.advance(last.saturating_sub(self.now()));
        let (now, least, asked) = (self.now(), self.clock.now(), Asked::now(&self.clock));
        let times = Times { now, least, most: least, asked, length: LENGTH };
        let entry = Entry::read(&self.ledger.1).expect("ours");
        let member = &mut self.members[place];
        let text = member.sharing.leave(&member.account, &entry, &member.keeper, &times);
        self.ledger = (self.ledger.0 + 1, text);
        self.die(place, true);
    }

    /// Everybody who is named wants as much as it can get.
    fn busy(&mut self, who: &[usize], length: Duration) -> Vec<usize> {
        let mut sent = vec![0; self.members.len()];
        let until = self.now() + length;
        let mut step = 0;
        while self.now() < until {
            for (place, sent) in sent.iter_mut().enumerate() {
                if who.contains(&place) {
                    *sent += self.send(place, 1);
                }
                if (step + place * 7) % 60 == 0 {
                    self.look(place);
                }
            }
            self.advance(millis(5));
            step += 1;
        }
        sent
    }

    fn check(&self) -> Result<(), String> {
        let mut arrivals = self.arrivals.clone();
        arrivals.sort_unstable();
        for rate in &self.limits.requests {
            let most = most_within(&arrivals, rate.per);
            if most > rate.requests as usize {
                return Err(format!("{most} in {:?}, {} are allowed", rate.per, rate.requests));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    // Whoever shares with whom, whatever dies, is stopped, or does not get through.
    #[test]
    fn no_interval_holds_more_than_the_limit_of_all(
        rates in prop::collection::vec((1u32..40, prop::sample::select(vec![1u64, 2, 10, 60, 3600])), 1..3),
        members in 1usize..5,
        steps in prop::collection::vec((0u8..24, 0usize..5, 0u64..3_000), 1..80),
        seed in any::<u64>(),
    ) {
        let limits = Limits { burst: 0.5, ..limits(&rates, None) };
        let mut trace = Trace::new(limits, members, seed);
        trace.late = 0.05;
        for (what, place, amount) in steps {
            let place = place % members;
            match what {
                0 => trace.die(place, amount % 2 == 0),
                1 => trace.leave(place),
                2 => trace.write(place, false, false),
                3 => trace.write(place, true, false),
                // For as long as what is held stays one's own, and more.
                4 => trace.advance(secs(25) + millis(amount * 5)),
                5..=8 => trace.read(place),
                9..=12 => trace.write(place, true, true),
                13..=15 => trace.look(place),
                16..=17 => trace.advance(millis(amount)),
                _ => drop(trace.send(place, 1 + amount as usize % 20)),
            }
        }
        prop_assert_eq!(trace.check(), Ok(()));
    }
}

#[test]
fn eight_that_have_work_use_what_one_alone_would() {
    //
    for (limit, per) in [(100, 1), (40, 1), (600, 60)] {
        let mut trace = Trace::new(limits(&[(limit, per)], None), 8, 7);
        trace.busy(&[0, 1, 2, 3, 4, 5, 6, 7], secs(per.max(5) * 2));
        let sent = trace.busy(&[0, 1, 2, 3, 4, 5, 6, 7], secs(per.max(5) * 4));
        let all = sent.iter().sum::<usize>() as f64 / (f64::from(limit) / per as f64 * (per.max(5) * 4) as f64);
        assert!(all >= 0.95, "{limit}/{per}: {all}, {sent:?}");
        assert_eq!(trace.check(), Ok(()));
        let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
        assert!(least * 2 > *most, "{limit}/{per}: {sent:?}");
    }
}

#[test]
fn what_one_does_not_need_the_others_use() {
    //
    let mut trace = Trace::new(limits(&[(100, 1)], None), 8, 7);
    for who in [&[0][..], &[5], &[2, 3]] {
        trace.busy(who, secs(6));
        let sent: usize = trace.busy(who, secs(10)).iter().sum();
        assert!(sent >= 950, "{who:?}: {sent} of 1000");
    }
    assert_eq!(trace.check(), Ok(()));
}

#[test]
fn a_limit_that_is_too_small_for_all_goes_round() {
    let mut trace = Trace::new(limits(&[(3, 1)], None), 8, 7);
    let sent = trace.busy(&[0, 1, 2, 3, 4, 5, 6, 7], secs(120));
    assert!(sent.iter().all(|sent| *sent > 15), "{sent:?}");
    assert_eq!(trace.check(), Ok(()));
}

#[test]
fn what_the_dead_held_comes_back() {
    //
    let mut trace = Trace::new(limits(&[(100, 1)], None), 2, 7);
    trace.busy(&[0, 1], secs(10));
    trace.members.truncate(1);
    let meanwhile: usize = trace.busy(&[0], secs(10)).iter().sum();
    assert!(meanwhile < 600, "half of it belongs to somebody who may live: {meanwhile}");
    trace.busy(&[0], LENGTH);
    let later: usize = trace.busy(&[0], secs(10)).iter().sum();
    assert!(later >= 950, "{later} of 1000");
    assert_eq!(trace.check(), Ok(()));
}

#[test]
fn who_begins_again_at_its_place_waits_for_no_lease() {
    //
    let mut trace = Trace::new(limits(&[(100, 1)], None), 1, 7);
    trace.busy(&[0], secs(10));
    trace.die(0, true);
    trace.busy(&[0], secs(6));
    let sent: usize = trace.busy(&[0], secs(10)).iter().sum();
    assert!(sent >= 950, "{sent} of 1000");
    assert_eq!(trace.check(), Ok(()));
}

#[test]
fn while_the_ledger_is_away_each_goes_on_for_a_while_and_then_waits() {
    //
    let mut trace = Trace::new(limits(&[(100, 1)], None), 2, 7);
    trace.busy(&[0, 1], secs(10));
    let mut sent = [0, 0];
    for _ in 0..400 {
        for (place, sent) in sent.iter_mut().enumerate() {
            *sent += trace.send(place, 1);
        }
        trace.advance(millis(50));
    }
    assert!(sent.iter().all(|sent| *sent > 300), "{sent:?}");
    trace.advance(secs(10));
    assert_eq!((trace.send(0, 1), trace.send(1, 1)), (0, 0), "nobody knows any more whose it is");
    trace.look(0);
    assert_eq!(trace.send(0, 1), 1);
    assert_eq!(trace.check(), Ok(()));
}

#[test]
fn a_long_window_is_spent_in_blocks_by_whoever_asks() {
    //
    let mut trace = Trace::new(limits(&[(640, 3600)], None), 4, 7);
    let sent = trace.busy(&[0, 1, 2, 3], secs(60));
    let all: usize = sent.iter().sum();
    assert!((609..=640).contains(&all), "{sent:?}");
    // A day later all of it is there again, for one alone as well.
    trace.advance(secs(4000));
    let sent: usize = trace.busy(&[1], secs(60)).iter().sum();
    assert!(sent >= 609, "{sent}");
    assert_eq!(trace.check(), Ok(()));
}

#[test]
fn places_are_shared_too() {
    let mut trace = Trace::new(limits(&[], Some(6)), 3, 7);
    let mut most = 0;
    for step in 0..4000 {
        for place in 0..3 {
            trace.send(place, 1);
            if (step + place * 7) % 60 == 0 {
                trace.look(place);
            }
        }
        most = most.max(trace.members.iter().map(|member| member.flying.len()).sum::<usize>());
        trace.advance(millis(5));
    }
    assert_eq!(most, 6);
    assert!(trace.members.iter().all(|member| member.flying.len() == 2), "two each");
}

#[tokio::test]
async fn nothing_is_sent_before_it_is_agreed_upon() {
    //
    let clock = Arc::new(TestClock::new());
    let paper = Arc::new(super::kept::Paper::shared(Arc::clone(&clock)));
    let budgets = Budgets::new(clock.clone()).patient_for(secs(2)).kept_in(paper.clone(), "one").at("here");
    let budget = budgets.get(key("a"), &limits(&[(10, 1)], None));
    paper.breaks(true);
    let refused = budget.take(Arc::new(claim("a")), &Stop::new(), &|_, _| ()).await.map(drop);
    assert!(matches!(refused, Err(Refused::Later { .. })), "{refused:?}");
    paper.breaks(false);
    let permit = budget.take(Arc::new(claim("a")), &Stop::new(), &|_, _| ()).await.unwrap();
    permit.answered(Outcome::Answered, &told::Told::default());
    drop(permit);
    budgets.close().await;
    let view = kept_views(&paper.entries().await.unwrap(), &*clock);
    assert_eq!(view[0].windows[0].left, Some(9), "what was not spent is given back: {view:?}");
}
