//! The budget of one credential at one host: the account with a queue before it, a clock, and the ledger behind it.

mod keeping;
mod line;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Notify, OnceCell, oneshot};

use crate::clock::Clock;
use crate::config::catalog::Limits;
use crate::stop::Stop;

use super::BudgetKey;
use super::account::{Account, Outcome};
use super::blocked::{Blocked, By, Why};
use super::claim::Claim;
use super::queue::{Place, Queue, Rank};
use super::share::{Keeper, Sharing};
use super::told::Told;
use super::view::AccountView;
use keeping::Kept;
use line::Line;

/// Whoever holds pages that it would lose is not sent away before it has to wait this long.
pub const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Where only an answer can make room, the queue is looked at again after this all the same.
const LOOK: Duration = Duration::from_secs(5);
/// Wishes that are remembered as turned down while others are served.
const TURNED_DOWN_MAX: usize = 64;

/// Told before each wait: why, and for how long.
type Waiting<'a> = &'a (dyn Fn(&str, Duration) + Sync);

/// Why no request was granted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    #[error("stop was asked for")]
    Stopped,
    /// Waiting here makes no sense for so long.
    #[error("{why}: no request for {} s", length.as_secs().max(1))]
    Later { why: &'static str, length: Duration },
}

/// What one credential may ask of one host.
pub struct Budget {
    key: BudgetKey,
    clock: Arc<dyn Clock>,
    keeper: Option<Keeper>,
    /// Whoever has to wait longer is sent away, unless it holds pages.
    patience: Duration,
    /// Where others share it: how long what it holds of a limit stays its own.
    shared: Option<Duration>,
    inner: Mutex<Inner>,
    read: OnceCell<()>,
    /// Whatever an earlier process spent, it spent before.
    began: Duration,
}

struct Inner {
    account: Account,
    queue: Queue<Waiter>,
    /// When those in the queue that can be sent away have waited for too long; of some that are served already, too.
    leaving: VecDeque<(Duration, Place)>,
    /// Who sleeps until the next moment, and that moment.
    watch: Option<(Place, Option<Duration>)>,
    /// What is in the way of the first.
    blocked: Option<Blocked>,
    kept: Kept,
    sharing: Sharing,
}

struct Waiter {
    claim: Arc<Claim>,
    grant: oneshot::Sender<Result<u64, Refused>>,
    wake: Arc<Notify>,
}

/// The right to send one request, and to have it under way; dropping it gives the place back.
pub struct Permit {
    budget: Arc<Budget>,
    claim: Arc<Claim>,
    number: u64,
}

impl Budget {
    pub(super) fn new(key: BudgetKey, clock: Arc<dyn Clock>, keeper: Option<Keeper>, patience: Duration) -> Self {
        let shared = keeper.as_ref().and_then(|keeper| keeper.ledger.shared_for());
        let inner = Inner {
            account: if shared.is_some() { Account::new_shared() } else { Account::new() },
            queue: Queue::new(),
            leaving: VecDeque::new(),
            watch: None,
            blocked: None,
            kept: Kept::default(),
            sharing: Sharing::default(),
        };
        let began = clock.elapsed();
        Budget { key, clock, keeper, patience, shared, inner: Mutex::new(inner), read: OnceCell::new(), began }
    }

    /// How long a run may wait for something before it is sent away, where somebody begins it again.
    pub fn parks_after(&self) -> Option<Duration> {
        Some(self.patience).filter(|patience| *patience < PAUSE_MAX)
    }

    pub(super) fn declare(&self, limits: &Limits) {
        let moment = self.moment();
        let mut inner = self.inner();
        let inner = &mut *inner;
        let new = inner.account.declare(limits);
        inner.kept.due |= !new.is_empty();
        if inner.kept.unread {
            inner.account.hold_back(self.began, moment.now, inner.kept.reads_at);
        }
        for part in &inner.kept.past {
            for place in &new {
                part.count(&mut inner.account, *place, &moment);
            }
            part.pause(&mut inner.account, &moment);
        }
    }

    /// Waits until one exchange may begin, and counts its first request. It must be sent at once, its answer told with
    /// [`Permit::answered`], and the permit held until the body is read. Safe to drop.
    pub async fn take(self: &Arc<Self>, claim: Arc<Claim>, stop: &Stop, waiting: Waiting<'_>) -> Result<Permit, Refused> {
        let rank = Rank::Class(claim.class);
        self.wait_in_line(claim, rank, stop, waiting).await
    }

    async fn wait_in_line(
        self: &Arc<Self>,
        claim: Arc<Claim>,
        rank: Rank,
        stop: &Stop,
        waiting: Waiting<'_>,
    ) -> Result<Permit, Refused> {
        self.know().await;
        let mut line = Line::enter(self, claim, rank);
        let mut told: Option<Duration> = None;
        loop {
            self.know().await;
            self.serve();
            if let Some(granted) = line.granted() {
                return granted.map(|number| line.permit(number));
            }
            if self.wants_writing() {
                self.write(true).await;
                continue;
            }
            let (nap, blocked) = self.outlook(&line.place);
            if let Some((why, length)) = blocked
                && told.is_none_or(|before| length > before + Duration::from_secs(1) || length * 2 < before)
            {
                waiting(why, length);
                told = Some(length);
            }
            let nap = async {
                match nap {
                    Some(nap) => self.clock.sleep(nap).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                granted = &mut line.grant => {
                    // The sender is dropped unused only with the budget itself.
                    let granted = granted.unwrap_or(Err(Refused::Stopped));
                    line.served = true;
                    return granted.map(|number| line.permit(number));
                }
                // What can be had without waiting is had even after stop: the slice under way is finished.
                () = stop.wait() => return Err(Refused::Stopped),
                () = line.wake.notified() => {}
                () = nap => {}
            }
        }
    }

    /// Nobody sends before `length` has passed: of the group of a path, where that has limits of its own, else of all.
    pub fn pause(&self, path: &str, length: Duration) {
        let until = self.clock.elapsed().saturating_add(length);
        let mut inner = self.inner();
        inner.account.pause_path(path, until);
        inner.kept.due = true;
    }

    /// What a request cost, in points, as its body tells.
    pub fn charge(&self, claim: &Claim, points: u64) {
        let now = self.clock.elapsed();
        self.inner().account.charge(claim, points, now);
        self.serve();
    }

    /// Takes in what a body told of limits.
    pub fn learn(&self, claim: &Claim, told: &Told) {
        let now = self.clock.elapsed();
        self.inner().account.learn_of_body(told, &claim.endpoint, now);
        self.serve();
    }

    /// A page is asked for the first time: that pays for a part of a retry.
    pub fn note_first_attempt(&self) {
        self.inner().account.note_first_attempt();
    }

    /// Takes one of the retries that all jobs of the account share; `false` if they are used up.
    pub fn may_retry(&self) -> bool {
        self.inner().account.may_retry()
    }

    /// Writes what must not be forgotten in a crash, if there is anything.
    pub async fn settle(&self) {
        let now = self.clock.elapsed();
        let is_due = {
            let inner = self.inner();
            inner.kept.due && inner.kept.writes_at <= now
        };
        if self.keeper.is_some() && is_due {
            self.write(true).await;
        }
    }

    /// The last writing of a process that ends well: nothing more will be spent.
    pub(super) async fn close(&self) {
        let spent = {
            let inner = self.inner();
            inner.kept.written || inner.kept.due || inner.sharing.has_written()
        };
        if spent {
            self.write(false).await;
        }
    }

    /// Reads what the ledger knows of it, again after a while where it did not answer; what takes a permit does so by itself.
    pub async fn know(&self) {
        // What did not work out is told there, and tried again.
        drop(self.read.get_or_try_init(|| self.read()).await);
    }

    /// What people are shown of it.
    pub fn view(&self) -> AccountView {
        let now = self.clock.elapsed();
        let inner = self.inner();
        AccountView::of(&self.key, &inner.account, inner.queue.len(), now)
    }

    /// A copy of what is known, to reckon with.
    pub(super) fn account(&self) -> Account {
        self.inner().account.clone()
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Serves whoever can be served, in order.
    fn serve(&self) {
        let (now, fraction) = (self.clock.elapsed(), self.clock.fraction());
        let mut inner = self.inner();
        let inner = &mut *inner;
        inner.account.thaw(inner.queue.len(), now, fraction);
        inner.blocked = None;
        if let (Some(length), Some(standing)) = (self.shared, &mut inner.account.sharing) {
            standing.holds = inner.sharing.holds(length, &*self.clock);
            standing.short = false;
            if inner.queue.len() > 0 {
                inner.sharing.wish(now);
            }
        }
        // Those that were served in time need not be looked at when their time is over.
        let queue = &inner.queue;
        while inner.leaving.pop_front_if(|(_, place)| !queue.contains(place)).is_some() {}
        inner.kept.wanted.clear();
        let mut next_at: Option<Duration> = None;
        // Also whoever moves up too slowly is sent away.
        while let Some((_, place)) = inner.leaving.pop_front_if(|(at, _)| *at <= now) {
            if let Some(waiter) = inner.queue.leave(&place) {
                let why = inner.account.ask(&waiter.claim, false, now).err().map_or(Why::Limit, |blocked| blocked.why);
                // Whoever is gone need not be told.
                drop(waiter.grant.send(Err(Refused::Later { why: why.text(), length: self.patience })));
            }
        }
        let mut passed: Option<Place> = None;
        // Whoever wants the same as one that was turned down is turned down as well.
        let mut turned_down: Vec<Arc<Claim>> = Vec::new();
        while let Some((place, waiter)) = inner.queue.after(passed) {
            let claim = Arc::clone(&waiter.claim);
            let extra = place.0 == Rank::GoesOn;
            if !extra && turned_down.iter().any(|other| other.wants_the_same(&claim)) {
                passed = Some(place);
                continue;
            }
            if let Err(blocked) = inner.account.ask(&claim, extra, now) {
                let patience = if claim.holds || extra { PAUSE_MAX.max(self.patience) } else { self.patience };
                if let Some(length) = blocked.at.map(|at| at.saturating_sub(now)).filter(|length| *length > patience) {
                    let refused = Refused::Later { why: blocked.why.text(), length };
                    if let Some(waiter) = inner.queue.leave(&place) {
                        // Whoever is gone need not be told.
                        drop(waiter.grant.send(Err(refused)));
                    }
                    continue;
                }
                inner.blocked.get_or_insert(blocked);
                next_at = match (next_at, blocked.at) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
                if blocked.by == By::Everything {
                    break;
                }
                passed = Some(place);
                if !extra && turned_down.len() < TURNED_DOWN_MAX {
                    turned_down.push(claim);
                }
                continue;
            }
            if self.keeper.is_some() && self.shared.is_none() {
                let wanted = inner.account.blocks_wanted(&claim, now);
                let first = !inner.kept.written && !inner.account.limits.is_empty();
                if first || !wanted.is_empty() {
                    inner.kept.wanted = wanted;
                    inner.kept.due = true;
                    let writes_at = inner.kept.writes_at;
                    if writes_at > now {
                        inner.blocked.get_or_insert(Blocked { at: Some(writes_at), why: Why::Unknown, by: By::Everything });
                        next_at = Some(next_at.map_or(writes_at, |at| at.min(writes_at)));
                    }
                    break;
                }
            }
            let number = inner.account.send(&claim, extra, now);
            let Some(waiter) = inner.queue.serve(&place) else { break };
            if waiter.grant.send(Ok(number)).is_err() {
                inner.account.cancel(number);
            }
        }
        let next_at = match (next_at, inner.leaving.front()) {
            (Some(one), Some((other, _))) => Some(one.min(*other)),
            (one, other) => one.or(other.map(|(at, _)| *at)),
        };
        let first = inner.queue.first().map(|(place, waiter)| (*place, Arc::clone(&waiter.wake)));
        let watch = first.as_ref().map(|(place, _)| (*place, next_at));
        let writing_due = !inner.kept.wanted.is_empty() && !inner.kept.writing && inner.kept.writes_at <= now;
        if inner.watch != watch || writing_due {
            inner.watch = watch;
            if let Some((_, wake)) = first {
                wake.notify_one();
            }
        }
    }

    /// How long whoever waits at a place sleeps, `None` for as long as nobody wakes it; and what it waits for.
    fn outlook(&self, place: &Place) -> (Option<Duration>, Option<(&'static str, Duration)>) {
        let now = self.clock.elapsed();
        let inner = self.inner();
        let length = |at: Duration| at.saturating_sub(now).max(Duration::from_nanos(1));
        let blocked = inner.blocked.map(|blocked| (blocked.why.text(), blocked.at.map_or(Duration::ZERO, length)));
        match inner.watch {
            Some((watcher, at)) if watcher == *place => (Some(at.map_or(LOOK, length)), blocked),
            _ => (None, blocked),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The first byte of the answer is there, or there will be none.
    pub fn answered(&self, outcome: Outcome, told: &Told) {
        let (now, fraction) = (self.budget.clock.elapsed(), self.budget.clock.fraction());
        {
            let mut inner = self.budget.inner();
            let keep = inner.account.answered(self.number, outcome, told, now, fraction);
            inner.kept.due |= keep;
        }
        self.budget.serve();
    }

    /// The body of a refusal told more than its headers.
    pub fn explained(&self, told: &Told) {
        let now = self.budget.clock.elapsed();
        let mut inner = self.budget.inner();
        let keep = inner.account.explained(self.number, told, now);
        inner.kept.due |= keep;
    }

    /// Waits until one more request of the same exchange may be sent, a redirect for instance, and counts it.
    pub async fn go_on(&self, stop: &Stop, waiting: Waiting<'_>) -> Result<Permit, Refused> {
        self.budget.wait_in_line(Arc::clone(&self.claim), Rank::GoesOn, stop, waiting).await
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = self.budget.clock.elapsed();
        self.budget.inner().account.landed(self.number, now);
        self.budget.serve();
    }
}
