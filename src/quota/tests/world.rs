//! An API with limits, and workers that ask it through one account: a simulation of discrete events, seeded.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;
use crate::quota::account::Account;
use crate::quota::queue::{Queue, Rank};
use crate::quota::told::{Refusal, RefusalCause, Told};

/// A small generator with a seed.
pub(super) struct Dice(pub u64);

impl Dice {
    pub(super) fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What the API does: counts every request that arrives within each sliding window.
pub(super) struct Api {
    pub windows: Vec<(usize, Duration)>,
    /// Of all requests, those that are refused for nothing.
    pub mood: f64,
    pub dice: Dice,
    pub arrived: VecDeque<Duration>,
    /// Every arrival that was let through.
    pub taken: Vec<Duration>,
    pub refused: Vec<Duration>,
}

impl Api {
    pub(super) fn new(windows: &[(usize, Duration)]) -> Self {
        Api {
            windows: windows.to_vec(),
            mood: 0.0,
            dice: Dice(23),
            arrived: VecDeque::new(),
            taken: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Whether a request that arrives now is let through; what is left of each window then.
    pub(super) fn arrive(&mut self, now: Duration) -> (bool, Vec<usize>) {
        let longest = self.windows.iter().map(|(_, per)| *per).max().unwrap_or_default();
        while self.arrived.front().is_some_and(|at| now - *at > longest) {
            self.arrived.pop_front();
        }
        let count = |per: Duration| self.arrived.iter().rev().take_while(|at| now - **at <= per).count();
        let used: Vec<usize> = self.windows.iter().map(|(_, per)| count(*per)).collect();
        let is_in_mood = self.mood == 0.0 || self.dice.fraction() >= self.mood;
        let through = is_in_mood && self.windows.iter().zip(&used).all(|((limit, _), used)| used < limit);
        if through {
            self.arrived.push_back(now);
            self.taken.push(now);
        } else {
            self.refused.push(now);
        }
        let left = self.windows.iter().zip(&used).map(|((limit, _), used)| limit.saturating_sub(used + usize::from(through)));
        (through, left.collect())
    }
}

/// What an answer tells, given what is left of each window.
pub(super) type Tell = dyn Fn(&Api, Duration, bool, &[usize]) -> Told;

/// Refuses without a word.
pub(super) fn silent(_: &Api, _: Duration, through: bool, _: &[usize]) -> Told {
    let refusal = Refusal { cause: RefusalCause::Rate, patience: None, limit: String::new() };
    Told { limits: Vec::new(), refusal: (!through).then_some(refusal) }
}

/// Requests that each worker got through, after `length` of everybody asking for all it can get.
pub(super) struct World {
    pub account: Account,
    pub api: Api,
    pub dice: Dice,
    pub latency: Duration,
    pub jitter: Duration,
    pub now: Duration,
}

impl World {
    pub(super) fn new(account: Account, api: Api) -> Self {
        World { account, api, dice: Dice(7), latency: millis(50), jitter: millis(2), now: secs(10) }
    }

    /// `workers` jobs ask one after the other, without end, for `length`.
    pub(super) fn run(&mut self, workers: usize, length: Duration, tell: &Tell) -> Vec<u64> {
        self.run_hungry(&vec![1; workers], length, tell)
    }

    /// The same, where each job asks for so many requests at a time.
    pub(super) fn run_hungry(&mut self, hungers: &[usize], length: Duration, tell: &Tell) -> Vec<u64> {
        let workers = hungers.len();
        let claims: Vec<Claim> = (0..workers).map(|worker| claim(&format!("job-{worker}"))).collect();
        let mut through = vec![0; workers];
        let mut queue: Queue<usize> = Queue::new();
        for (worker, claim) in claims.iter().enumerate() {
            for _ in 0..hungers[worker] {
                queue.enter(Rank::Class(claim.class), &claim.job, worker);
            }
        }
        // Arrivals and answers by time: (when, number, worker, arrival?).
        let mut events: BinaryHeap<Reverse<(Duration, bool, u64, usize)>> = BinaryHeap::new();
        let mut answers: std::collections::HashMap<u64, (bool, Told)> = Default::default();
        let end = self.now + length;
        // What is under way at the end still comes back.
        while self.now < end || !events.is_empty() {
            let mut wake = None;
            let fraction = self.dice.fraction();
            self.account.thaw(queue.len(), self.now, fraction);
            while let Some((place, worker)) = queue.after(None).filter(|_| self.now < end) {
                let worker = *worker;
                if let Err(blocked) = self.account.ask(&claims[worker], false, self.now) {
                    wake = blocked.at;
                    break;
                }
                queue.serve(&place);
                let number = self.account.send(&claims[worker], false, self.now);
                let way = self.latency / 4 + self.jitter.mul_f64(self.dice.fraction());
                let arrival = self.now + way;
                events.push(Reverse((arrival, false, number, worker)));
                events.push(Reverse((arrival + self.latency - self.latency / 4, true, number, worker)));
            }
            let next = events.peek().map(|Reverse((at, ..))| *at);
            let Some(at) = [next, wake].into_iter().flatten().min() else { break };
            self.now = at.max(self.now + Duration::from_nanos(1));
            while let Some(Reverse((at, answer, number, worker))) = events.peek().copied().filter(|event| event.0.0 <= self.now) {
                events.pop();
                if !answer {
                    let (let_through, left) = self.api.arrive(at);
                    let told = tell(&self.api, at, let_through, &left);
                    answers.insert(number, (let_through, told));
                    continue;
                }
                let (let_through, told) = answers.remove(&number).expect("it has arrived");
                let fraction = self.dice.fraction();
                self.account.answered(number, Outcome::Answered, &told, self.now, fraction);
                self.account.landed(number, self.now);
                through[worker] += u64::from(let_through);
                queue.enter(Rank::Class(Class::Scheduled), &claims[worker].job, worker);
            }
        }
        through
    }
}

/// Jain's index: 1 where all have the same, 1/n where one has all (Jain, Chiu, Hawe 1984).
pub(super) fn fairness(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|share| *share as f64).sum();
    let squares: f64 = shares.iter().map(|share| (*share as f64).powi(2)).sum();
    if squares == 0.0 { 1.0 } else { sum * sum / (shares.len() as f64 * squares) }
}

/// The most arrivals that any closed interval of a length holds.
pub(super) fn most_within(arrivals: &[Duration], length: Duration) -> usize {
    let mut sorted = arrivals.to_vec();
    sorted.sort_unstable();
    let (mut most, mut first) = (0, 0);
    for last in 0..sorted.len() {
        while sorted[last] - sorted[first] > length {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}
