//! What answers mean to an account: that requests have arrived, what limits there are, who is to wait.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::catalog::HeaderTrust;
use crate::quota::claim::Claim;
use crate::quota::learnt::Learnt;
use crate::quota::told::{Refusal, RefusalCause, Told, ToldLimit, ToldShape};

use super::{Account, ENDPOINTS_MAX, Endpoint, LEARNT_MAX, Outcome, SHORT, SPENT};

impl Account {
    /// The answer to a request begins, or there will be none. `fraction` in `[0, 1)` is the dice. Returns whether something was
    /// learnt that must not be forgotten in a crash.
    pub(in crate::quota) fn answered(
        &mut self,
        number: u64,
        outcome: Outcome,
        told: &Told,
        now: Duration,
        fraction: f64,
    ) -> bool {
        let Some(flight) = self.flights.get_mut(&number).filter(|flight| !flight.answered) else { return false };
        flight.answered = true;
        flight.refused = told.refusal.is_some();
        let (sent, endpoint, groups) = (flight.sent, flight.endpoint.clone(), flight.groups.clone());
        let took = now.saturating_sub(sent);
        let refused = told.refusal.is_some();
        let late = match outcome {
            Outcome::Answered if !refused => self.endpoint(&endpoint).latency.note(took),
            _ => false,
        };
        // Whoever got no answer does not know when the request arrived, if it did.
        let quick = match outcome {
            Outcome::Answered | Outcome::Unclear => self.endpoint(&endpoint).latency.excess(took).map(|excess| sent + excess),
            Outcome::Failed | Outcome::TimedOut => None,
        };
        self.land(number, quick.unwrap_or(now), now);
        if self.trust != HeaderTrust::Ignore {
            self.learn(told, number, &endpoint, now);
        }
        let failed =
            outcome != Outcome::Answered || told.refusal.as_ref().is_some_and(|refusal| refusal.cause == RefusalCause::Overload);
        self.breaker.note(number, failed, now, fraction);
        let mut found = false;
        if late && self.gate.places() == 1 {
            self.endpoint(&endpoint).latency.accept();
        }
        if late || outcome == Outcome::TimedOut {
            self.gate.lower(number, self.numbers);
        } else if outcome == Outcome::Answered && !failed && !refused {
            self.gate.raise(number);
            found = self.pace.came_through(number, now);
            for place in &groups {
                // Kept over restarts is the pace of all alone.
                let _is_found = self.groups[*place].pace.came_through(number, now);
            }
        }
        match &told.refusal {
            Some(refusal) => self.refused(refusal, told, number, &groups, now),
            None => found,
        }
    }

    /// What the body of an answer tells besides: a refusal that the headers did not show, or how long it lasts.
    pub(in crate::quota) fn explained(&mut self, number: u64, told: &Told, now: Duration) -> bool {
        let Some(flight) = self.flights.get(&number) else { return false };
        let (groups, known) = (flight.groups.clone(), flight.refused);
        match &told.refusal {
            Some(refusal) if known => {
                let patience = refusal.patience.unwrap_or_default();
                if !patience.is_zero() {
                    self.pause(&groups, now + patience);
                }
                patience > SHORT
            }
            Some(refusal) => self.refused(refusal, told, number, &groups, now),
            None => false,
        }
    }

    fn refused(&mut self, refusal: &Refusal, told: &Told, number: u64, groups: &[usize], now: Duration) -> bool {
        let spent = refusal.cause == RefusalCause::Spent;
        let patience = refusal.patience.unwrap_or(if spent { SPENT } else { Duration::ZERO });
        if !patience.is_zero() {
            self.pause(groups, now + patience);
        }
        match refusal.cause {
            RefusalCause::Spent => {}
            RefusalCause::Rate => {
                let explained = |limit: &ToldLimit| limit.left == Some(0) && limit.shape != ToldShape::Concurrency;
                let hidden = self.trust == HeaderTrust::Ignore || !told.limits.iter().any(explained);
                if groups.is_empty() {
                    self.gate.lower(number, self.numbers);
                    if hidden {
                        self.pace.refused(number, self.numbers, now, patience);
                        return true;
                    }
                }
                // Limits of a group are its own: whoever asks for something else is not slowed down by them.
                for place in groups.iter().filter(|_| hidden) {
                    self.groups[*place].pace.refused(number, self.numbers, now, patience);
                }
            }
            RefusalCause::Concurrency | RefusalCause::Overload => self.gate.lower(number, self.numbers),
        }
        patience > SHORT
    }

    /// Nobody asks before a moment: of the groups that a request belongs to, where there are any, else of all. A shorter pause
    /// never replaces a longer one.
    fn pause(&mut self, groups: &[usize], until: Duration) {
        for place in groups {
            let paused = &mut self.groups[*place].paused;
            *paused = (*paused).max(until);
        }
        if groups.is_empty() {
            self.paused = self.paused.max(until);
        }
    }

    /// The same for a path.
    pub(in crate::quota) fn pause_path(&mut self, path: &str, until: Duration) {
        self.pause(&self.groups_of(path), until);
    }

    /// The same for a group that is told by its pattern, "" for all; one that is not known is passed over.
    pub(in crate::quota) fn pause_group(&mut self, pattern: &str, until: Duration) {
        let place = self.groups.iter().position(|group| group.pattern.to_string() == pattern);
        match place {
            Some(place) => self.pause(&[place], until),
            None if pattern.is_empty() => self.pause(&[], until),
            None => {}
        }
    }

    fn learn(&mut self, told: &Told, number: u64, endpoint: &str, now: Duration) {
        let under_way = self.flights.values().filter(|flight| !flight.answered);
        let (flying, points) = under_way.fold((0, 0), |(flying, points), flight| (flying + 1, points + flight.points));
        for limit in &told.limits {
            if limit.shape == ToldShape::Concurrency {
                self.gate.cap(limit.size.unwrap_or(u64::MAX));
                continue;
            }
            // Where the source says how long to wait, that counts (draft-ietf-httpapi-ratelimit-headers, section on Retry-After).
            let patience = told.refusal.as_ref().and_then(|refusal| refusal.patience);
            let mut limit = limit.clone();
            if let (ToldShape::Window { reset, .. }, Some(0), Some(patience)) = (&mut limit.shape, limit.left, patience) {
                *reset = Some(patience);
            }
            let limit = &limit;
            // One vendor's bucket and another's window of the same name are not the same limit.
            let name = match limit.shape {
                ToldShape::Points { .. } => format!("{} points", limit.name),
                _ => limit.name.clone(),
            };
            // One header can stand for a limit of each endpoint's own.
            let name = match self.learnt.get(&name) {
                Some(known) if known.is_of_others(limit, endpoint) => format!("{name} {endpoint}"),
                _ => name,
            };
            if self.learnt.len() >= LEARNT_MAX && !self.learnt.contains_key(&name) {
                continue;
            }
            let learnt = self.learnt.entry(name).or_insert_with(|| Learnt::new(limit, self.burst.min(0.02)));
            let flying = if matches!(limit.shape, ToldShape::Points { .. }) { points } else { flying };
            learnt.learn(limit, number, endpoint, now, flying);
        }
        if !told.limits.is_empty() {
            self.endpoint(endpoint).known = true;
            self.gate.trust();
        }
    }

    /// Takes in what a body told of limits, some time after its answer began.
    pub(in crate::quota) fn learn_of_body(&mut self, told: &Told, endpoint: &str, now: Duration) {
        if self.trust != HeaderTrust::Ignore {
            self.learn(told, self.numbers, endpoint, now);
        }
    }

    fn endpoint(&mut self, endpoint: &str) -> &mut Endpoint {
        // Beyond the bound all share one, rather than growing for ever.
        let full = self.endpoints.len() >= ENDPOINTS_MAX && !self.endpoints.contains_key(endpoint);
        self.endpoints.entry(if full { String::new() } else { endpoint.to_owned() }).or_default()
    }

    /// What a claim's request cost, as its answer tells: what was counted is put right, and the endpoint's next is counted as this.
    pub(in crate::quota) fn charge(&mut self, claim: &Claim, points: u64, now: Duration) {
        let groups = self.groups_of(&claim.path);
        let counted = claim.counted.swap(points, Ordering::Relaxed);
        self.endpoint(&claim.endpoint).points = Some(points.max(1));
        for limit in self.limits.iter_mut().filter(|limit| limit.points && limit.counts(&groups)) {
            if points > counted {
                limit.meter.count(now, points - counted);
                limit.allowed = limit.allowed.saturating_sub(points - counted);
            } else {
                limit.meter.refund(counted - points);
            }
        }
    }
}
