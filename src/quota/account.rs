//! Everything that is known of what one credential may ask of one host. Pure: time and chance are arguments.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::catalog::{HeaderTrust, Limits, Pace as DeclaredPace, PathPattern, Rate};
use crate::ids::JobName;

use super::adaptive::{Gate, Latency, Pace};
use super::blocked::{Blocked, Blocks, Why};
use super::breaker::{Breaker, Lets, Retries};
use super::claim::{Claim, Class};
use super::learnt::{Cost, EVEN_MAX, Learnt};
use super::meter::Meter;
use super::users::Users;

mod answers;
mod unread;

/// Limits of one account that are learnt; answers could name ever new ones.
const LEARNT_MAX: usize = 64;
/// Endpoints that are told apart.
const ENDPOINTS_MAX: usize = 1024;
/// Windows of an hour and more are what `pace = "spread"` spreads.
const LONG: Duration = Duration::from_secs(3600);
/// How long a spent quota is left alone whose end the source does not name.
const SPENT: Duration = Duration::from_secs(3660);
/// Those that waited for the same pause leave spread over this length.
const THAW: Duration = Duration::from_secs(1);
/// Blocks that a long window is kept in: what a crash can waste of it is one of them.
pub(super) const BLOCKS: u64 = 64;
/// Shorter windows are not kept while they are spent: after a crash they are waited for.
pub(super) const SHORT: Duration = Duration::from_secs(10);

/// The state of an account.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) limits: Vec<Limit>,
    pub(super) learnt: BTreeMap<String, Learnt>,
    /// Groups of endpoints that have limits of their own.
    pub(super) groups: Vec<Group>,
    /// Until when nobody is to ask.
    pub(super) paused: Duration,
    thaw: Option<Thaw>,
    pub(super) pace: Pace,
    pub(super) gate: Gate,
    pub(super) gate_need: Need,
    pub(super) users: Users,
    breaker: Breaker,
    retries: Retries,
    endpoints: BTreeMap<String, Endpoint>,
    flights: BTreeMap<u64, Flight>,
    /// Flights that hold a place of the gate.
    held: usize,
    numbers: u64,
    burst: f64,
    reserve: f64,
    trust: HeaderTrust,
    /// Points of a request whose endpoint has told of none yet.
    guess: u64,
    /// Where others share its limits.
    pub(super) sharing: Option<Standing>,
    /// What was spent before could not be read; when it is tried again.
    unread: Option<Duration>,
}

/// How an account stands whose limits others share.
#[derive(Clone, Copy, Default)]
pub(super) struct Standing {
    /// What it holds is believed to be its own still.
    pub(super) holds: bool,
    /// When others are asked for more next.
    pub(super) asks_at: Duration,
    /// Somebody waits for more than it holds.
    pub(super) short: bool,
}

/// How much of something that is shared was used and wished for.
#[derive(Clone, Copy, Default)]
pub(super) struct Need {
    /// The most since it was told last.
    pub(super) peak: u64,
    /// More would have been used.
    pub(super) short: bool,
    /// What the others are told, and when it was as much for the last time.
    pub(super) told: u64,
    pub(super) told_at: Duration,
}

/// A declared window.
#[derive(Clone)]
pub(super) struct Limit {
    /// The place of the group that it is for; `None` for all.
    pub(super) group: Option<usize>,
    pub(super) points: bool,
    pub(super) meter: Meter,
    /// Granted by the ledger and not sent yet.
    pub(super) allowed: u64,
    pub(super) need: Need,
    /// What others may count against it, as far as was heard.
    pub(super) others: u64,
    /// When others will have left room, where they share a long window.
    pub(super) room_at: Duration,
}

/// After a pause: whoever waited for its end leaves spread over a while, not all in one instant.
#[derive(Clone, Copy)]
struct Thaw {
    next: Duration,
    gap: Duration,
    end: Duration,
}

#[derive(Clone)]
pub(super) struct Group {
    pub(super) pattern: PathPattern,
    /// Requests at the same time.
    pub(super) most: usize,
    /// What of these is ours, where others share them.
    pub(super) share: usize,
    pub(super) flying: usize,
    pub(super) need: Need,
    /// Until when nobody is to ask.
    pub(super) paused: Duration,
    /// What a hidden limit of its own lets through.
    pub(super) pace: Pace,
}

#[derive(Clone, Default)]
struct Endpoint {
    latency: Latency,
    /// What its last request cost.
    points: Option<u64>,
    /// An answer has told of its limits.
    known: bool,
}

/// A request between its grant and the end of its body.
#[derive(Clone)]
struct Flight {
    sent: Duration,
    endpoint: String,
    groups: Vec<usize>,
    points: u64,
    learnt: Vec<String>,
    /// It goes on from a redirect, on the place of the request before.
    extra: bool,
    /// The first byte of the answer is there.
    answered: bool,
    /// The answer was known to be a refusal when it began.
    refused: bool,
}

/// What became of a request, as far as the account cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was asked for.
    Answered,
    /// An answer, but not what was asked for: it may refuse for a reason that only its body shows.
    Unclear,
    /// A status that says that the server is in trouble, or no answer at all.
    Failed,
    /// No complete answer in time.
    TimedOut,
}

impl Account {
    pub(super) fn new() -> Self {
        Account {
            limits: Vec::new(),
            learnt: BTreeMap::new(),
            groups: Vec::new(),
            paused: Duration::ZERO,
            thaw: None,
            pace: Pace::default(),
            gate: Gate::new(),
            gate_need: Need::default(),
            users: Users::default(),
            breaker: Breaker::default(),
            retries: Retries::new(),
            endpoints: BTreeMap::new(),
            flights: BTreeMap::new(),
            held: 0,
            numbers: 0,
            burst: 1.0,
            reserve: 0.0,
            trust: HeaderTrust::Tighten,
            guess: 1,
            sharing: None,
            unread: None,
        }
    }

    /// The same where others share its limits: nothing of them is its own before that is agreed upon.
    pub(super) fn new_shared() -> Self {
        Account { sharing: Some(Standing::default()), ..Account::new() }
    }

    /// Adds what a definition declares; returns the places of the windows that are new. Where two definitions describe one
    /// account, all that both declare holds.
    pub(super) fn declare(&mut self, limits: &Limits) -> Vec<usize> {
        self.burst = self.burst.min(limits.burst);
        self.reserve = self.reserve.max(limits.reserve);
        self.trust = match (self.trust, limits.headers) {
            (HeaderTrust::Ignore, _) | (_, HeaderTrust::Ignore) => HeaderTrust::Ignore,
            (HeaderTrust::Follow, _) | (_, HeaderTrust::Follow) => HeaderTrust::Follow,
            _ => HeaderTrust::Tighten,
        };
        let mut new = Vec::new();
        let mut add = |account: &mut Account, group: Option<usize>, rates: &[Rate], points: bool| {
            for rate in rates {
                let (limit, per) = (u64::from(rate.requests), rate.per);
                let same = |known: &Limit| {
                    (known.group, known.points) == (group, points) && (known.meter.limit(), known.meter.per()) == (limit, per)
                };
                if account.limits.iter().any(same) {
                    continue;
                }
                let even = per <= EVEN_MAX || (limits.pace == DeclaredPace::Spread && per >= LONG);
                let mut meter = Meter::new(limit, per, even.then_some(limits.burst));
                if account.sharing.is_some() && is_divided(per) {
                    meter.set_share(0);
                }
                new.push(account.limits.len());
                let (need, others, room_at) = (Need::default(), 0, Duration::ZERO);
                account.limits.push(Limit { group, points, meter, allowed: 0, need, others, room_at });
            }
        };
        add(self, None, &limits.requests, false);
        add(self, None, &limits.points, true);
        for declared in &limits.groups {
            let place = self.group(&declared.pattern);
            let group = &mut self.groups[place];
            if self.sharing.is_some() && group.most == usize::MAX && declared.concurrency.is_some() {
                group.share = 0;
            }
            group.most = group.most.min(declared.concurrency.unwrap_or(usize::MAX).max(1));
            add(self, Some(place), &declared.requests, false);
            add(self, Some(place), &declared.points, true);
        }
        if let Some(most) = limits.concurrency {
            if self.sharing.is_some() && self.gate.declared().is_none() {
                self.gate.set_share(0);
            }
            self.gate.declare(most);
        }
        if !self.limits.is_empty() {
            self.gate.trust();
        }
        self.guess = self.guess.max(u64::from(limits.cost_guess));
        new
    }

    /// The place of a group, which is made if there is none of that pattern.
    fn group(&mut self, pattern: &PathPattern) -> usize {
        if let Some(place) = self.groups.iter().position(|group| group.pattern == *pattern) {
            return place;
        }
        let share = usize::MAX;
        let (need, paused) = (Need::default(), Duration::ZERO);
        let pace = Pace::default();
        let group = Group { pattern: pattern.clone(), most: usize::MAX, share, flying: 0, need, paused, pace };
        self.groups.push(group);
        self.groups.len() - 1
    }

    /// Which groups a path belongs to, by place.
    fn groups_of(&self, path: &str) -> Vec<usize> {
        let of = |(place, group): (usize, &Group)| group.pattern.matches(path).then_some(place);
        self.groups.iter().enumerate().filter_map(of).collect()
    }

    /// Ends the pauses that are over, after which `waiting` requests leave spread. `fraction` in `[0, 1)` is the dice.
    pub(super) fn thaw(&mut self, waiting: usize, now: Duration, fraction: f64) {
        let pauses = self.groups.iter_mut().map(|group| &mut group.paused).chain([&mut self.paused]);
        let over = pauses.filter(|until| !until.is_zero() && **until <= now).map(|until| *until = Duration::ZERO).count();
        let gap = |left: Duration| left / u32::try_from(waiting.max(1)).unwrap_or(u32::MAX);
        if over > 0 {
            let next = now + gap(THAW).mul_f64(fraction);
            self.thaw = Some(Thaw { next, gap: gap(THAW), end: next + THAW });
        }
        match &mut self.thaw {
            Some(thaw) if now >= thaw.end => self.thaw = None,
            Some(thaw) => thaw.gap = gap(thaw.end - now),
            None => {}
        }
    }

    /// Whether the next request of a claim may leave now. `extra`: it goes on from a redirect.
    pub(super) fn ask(&mut self, claim: &Claim, extra: bool, now: Duration) -> Result<(), Blocked> {
        let mut blocks = Blocks::default();
        let groups = self.groups_of(&claim.path);
        if now < self.paused {
            blocks.add(Some(self.paused), Why::Patience, true);
        }
        for group in groups.iter().map(|place| &self.groups[*place]).filter(|group| now < group.paused) {
            blocks.add(Some(group.paused), Why::Patience, false);
        }
        if let Some(thaw) = self.thaw.filter(|thaw| now < thaw.next.min(thaw.end)) {
            blocks.add(Some(thaw.next), Why::Patience, true);
        }
        match self.breaker.lets(now) {
            Lets::All | Lets::Probe => {}
            Lets::NoneUntil(until) => blocks.add(Some(until), Why::Breaker, true),
            Lets::NoneBefore if extra => {}
            Lets::NoneBefore => blocks.add(None, Why::Breaker, true),
        }
        if !extra {
            if !self.gate.room(self.held, self.numbers) {
                let short = self.held >= self.gate.share();
                self.gate_need.short |= short;
                blocks.add(None, if short { Why::Others } else { Why::Concurrency }, true);
            }
            self.gate_need.note(self.held as u64 + 1);
            for place in &groups {
                let group = &mut self.groups[*place];
                let (short, full) = (group.flying >= group.share, group.flying >= group.most);
                if short || full {
                    blocks.add(None, if short { Why::Others } else { Why::Concurrency }, false);
                }
                group.need.short |= short;
                group.need.note(group.flying as u64 + 1);
            }
        }
        if let Some(next) = self.pace.next().filter(|next| now < *next) {
            blocks.add(Some(next), Why::Pace, true);
        }
        for next in groups.iter().filter_map(|place| self.groups[*place].pace.next()).filter(|next| now < *next) {
            blocks.add(Some(next), Why::Pace, false);
        }
        let kept = if extra || claim.class == Class::Scheduled { 0.0 } else { self.reserve };
        let cost = self.cost(claim);
        let followed = self.followed();
        for limit in self.limits.iter_mut().filter(|limit| limit.counts(&groups)) {
            if !limit.points && limit.group.is_none() && followed.contains(&limit.meter.per()) {
                continue;
            }
            let amount = if limit.points { cost.points } else { 1 };
            let kept = (limit.meter.limit() as f64 * kept) as u64;
            // One that costs less must not slip past for ever one that costs more.
            let everything = limit.points || limit.group.is_none();
            if let Err(full) = limit.meter.room(now, amount, kept) {
                blocks.add_full(full, everything);
            }
            if self.sharing.is_some() {
                limit.ask_others(now, amount, everything, &mut blocks);
            }
        }
        if self.sharing.is_some_and(|standing| !standing.holds) && self.has_limits() {
            blocks.add(None, Why::Others, true);
        }
        let known = self.endpoints.get(&claim.endpoint).is_some_and(|endpoint| endpoint.known);
        for learnt in self.learnt.values_mut().filter(|learnt| learnt.binds(&claim.endpoint, known)) {
            if let Err(full) = learnt.room(now, cost, kept) {
                blocks.add_full(full, learnt.counts_points());
            }
        }
        let blocked = blocks.end();
        if let (Err(blocked), Some(at)) = (&blocked, self.unread)
            && matches!(blocked.why, Why::Limit | Why::Others)
        {
            // What is known by then may leave room.
            return Err(Blocked { at: Some(blocked.at.unwrap_or(at).min(at).max(now)), why: Why::Unknown, ..*blocked });
        }
        if let (Err(blocked), Some(standing)) = (&blocked, &mut self.sharing)
            && blocked.why == Why::Others
        {
            standing.short = true;
            return Err(Blocked { at: Some(standing.asks_at.max(now)), ..*blocked });
        }
        blocked
    }

    /// Whether anything is declared that can be shared.
    pub(super) fn has_limits(&self) -> bool {
        !self.limits.is_empty() || self.gate.declared().is_some() || self.groups.iter().any(|group| group.most < usize::MAX)
    }

    /// Requests that hold a place.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Lengths of windows that answers tell of and that are believed more than what is declared.
    fn followed(&self) -> Vec<Duration> {
        if self.trust != HeaderTrust::Follow {
            return Vec::new();
        }
        self.learnt.values().filter_map(Learnt::window).map(|(_, per)| per).collect()
    }

    fn cost(&self, claim: &Claim) -> Cost {
        let points = self.endpoints.get(&claim.endpoint).and_then(|endpoint| endpoint.points);
        Cost { points: points.unwrap_or(self.guess).max(1) }
    }

    /// Whether the ledger has to grant more before a claim may be sent: the windows that need it, with the amounts.
    pub(super) fn blocks_wanted(&mut self, claim: &Claim, now: Duration) -> Vec<(usize, u64)> {
        let (cost, groups) = (self.cost(claim), self.groups_of(&claim.path));
        let mut wanted = Vec::new();
        for (place, limit) in self.limits.iter_mut().enumerate() {
            let amount = if limit.points { cost.points } else { 1 };
            if limit.meter.per() <= SHORT || !limit.counts(&groups) || limit.allowed >= amount {
                continue;
            }
            let left = limit.meter.limit().saturating_sub(limit.meter.used(now) + limit.allowed);
            let block = (limit.meter.limit() / BLOCKS).max(amount - limit.allowed).min(left.max(amount - limit.allowed));
            wanted.push((place, block));
        }
        wanted
    }

    /// Counts a request that leaves now; its number, with which its fate is told later.
    pub(super) fn send(&mut self, claim: &Claim, extra: bool, now: Duration) -> u64 {
        self.numbers += 1;
        let number = self.numbers;
        let (cost, groups) = (self.cost(claim), self.groups_of(&claim.path));
        claim.counted.store(cost.points, Ordering::Relaxed);
        for limit in self.limits.iter_mut().filter(|limit| limit.counts(&groups)) {
            let amount = if limit.points { cost.points } else { 1 };
            limit.meter.send(now, amount);
            limit.allowed = limit.allowed.saturating_sub(amount);
        }
        let known = self.endpoints.get(&claim.endpoint).is_some_and(|endpoint| endpoint.known);
        let mut learnt = Vec::new();
        for (name, limit) in self.learnt.iter_mut().filter(|(_, limit)| limit.binds(&claim.endpoint, known)) {
            limit.send(now, cost);
            learnt.push(name.clone());
        }
        if let Some(thaw) = &mut self.thaw {
            thaw.next += thaw.gap;
        }
        self.pace.send(now);
        groups.iter().for_each(|place| self.groups[*place].pace.send(now));
        self.breaker.send(number);
        self.users.note(&claim.job, now);
        if !extra {
            self.held += 1;
            for place in &groups {
                self.groups[*place].flying += 1;
            }
        }
        let flight = Flight {
            sent: now,
            endpoint: claim.endpoint.clone(),
            groups,
            points: cost.points,
            learnt,
            extra,
            answered: false,
            refused: false,
        };
        self.flights.insert(number, flight);
        number
    }

    /// A request was granted and then not sent.
    pub(super) fn cancel(&mut self, number: u64) {
        let Some(flight) = self.flights.remove(&number) else { return };
        for limit in self.limits.iter_mut().filter(|limit| limit.counts(&flight.groups)) {
            let amount = if limit.points { flight.points } else { 1 };
            limit.meter.cancel(amount);
            limit.allowed += amount;
        }
        for name in &flight.learnt {
            if let Some(learnt) = self.learnt.get_mut(name) {
                learnt.cancel();
            }
        }
        self.breaker.forget(number);
        self.give_place(&flight);
    }

    /// The end of a request's body, or of the wish for it.
    pub(super) fn landed(&mut self, number: u64, now: Duration) {
        let Some(flight) = self.flights.get(&number) else { return };
        if !flight.answered {
            // Dropped on the way: it may arrive as late as now, and nobody knows what it meant.
            self.land(number, now, now);
            self.breaker.forget(number);
        }
        if let Some(flight) = self.flights.remove(&number) {
            self.give_place(&flight);
        }
    }

    /// A request has arrived by now; by `quick` if it travelled as usual. In a short window the time of an answer would be a part
    /// of the window that matters, so there its usual length is not counted.
    fn land(&mut self, number: u64, quick: Duration, now: Duration) {
        let Some(flight) = self.flights.get(&number) else { return };
        for limit in self.limits.iter_mut().filter(|limit| limit.counts(&flight.groups)) {
            let amount = if limit.points { flight.points } else { 1 };
            let latest = if limit.meter.per() <= SHORT { quick } else { now };
            limit.meter.land(latest, amount);
        }
        for name in &flight.learnt {
            if let Some(learnt) = self.learnt.get_mut(name) {
                learnt.land(quick);
            }
        }
    }

    fn give_place(&mut self, flight: &Flight) {
        if flight.extra {
            return;
        }
        self.held = self.held.saturating_sub(1);
        for place in &flight.groups {
            let group = &mut self.groups[*place];
            group.flying = group.flying.saturating_sub(1);
        }
    }

    pub(super) fn note_first_attempt(&mut self) {
        self.retries.note_first_attempt();
    }

    pub(super) fn may_retry(&mut self) -> bool {
        self.retries.take()
    }

    /// What is under way is over, and the API is known: for whoever reckons with a copy.
    pub(super) fn set_going(&mut self) {
        let numbers: Vec<u64> = self.flights.keys().copied().collect();
        for number in numbers {
            let sent = self.flights.get(&number).map_or(Duration::ZERO, |flight| flight.sent);
            self.landed(number, sent);
        }
        self.gate.trust();
        (self.sharing, self.unread) = (None, None);
        self.gate.set_share(usize::MAX);
        self.groups.iter_mut().for_each(|group| group.share = usize::MAX);
        self.limits.iter_mut().for_each(|limit| limit.meter.set_share(limit.meter.limit()));
    }

    /// Requests under way.
    pub(super) fn flying(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.breaker.is_open()
    }

    /// Requests of each job in the last hour.
    pub(super) fn used_by(&self, now: Duration) -> Vec<(JobName, u64)> {
        self.users.of_the_hour(now)
    }
}

/// Whether members that share a window of this length hold parts of it; a longer one is spent in blocks.
pub(super) fn is_divided(per: Duration) -> bool {
    per <= EVEN_MAX
}

impl Need {
    pub(super) fn note(&mut self, amount: u64) {
        self.peak = self.peak.max(amount);
    }
}

impl Limit {
    /// Notes what is wished for, and asks whether a block that was granted has room for it.
    fn ask_others(&mut self, now: Duration, amount: u64, everything: bool, blocks: &mut Blocks) {
        let wish = self.meter.used(now) + amount;
        self.need.note(wish);
        if is_divided(self.meter.per()) {
            self.need.short |= wish > self.meter.share();
        } else if self.allowed < amount.min(self.meter.limit()) {
            self.need.short = true;
            match self.room_at > now {
                true => blocks.add(Some(self.room_at), Why::Limit, everything),
                false => blocks.add(None, Why::Others, everything),
            }
        }
    }

    fn counts(&self, groups: &[usize]) -> bool {
        self.group.is_none_or(|group| groups.contains(&group))
    }
}
