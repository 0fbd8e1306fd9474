//! What a budget has in the ledger: read once, written before it is spent, agreed upon with whoever shares it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Asked;
use crate::ledger::{LedgerEntry, LedgerError};

use super::super::keep::{Entry, Moment, Part};
use super::super::share::{self, Keeper, Times, later};
use super::{Budget, Inner};

/// How often a writing that another process overtook is begun anew, before it is left for a while.
const WRITES_MAX: u32 = 5;
/// How long a ledger is left alone that did not answer when it was read, or that others wrote to whenever this process did.
const AGAIN: Duration = Duration::from_secs(1);

/// Where the ledger stands.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) version: u64,
    /// What earlier processes spent, for windows that are declared later on.
    pub(super) past: Vec<Part>,
    /// What processes that work beside this one had written when it met them last.
    pub(super) others: BTreeMap<String, Part>,
    /// Windows that need a grant of the ledger.
    pub(super) wanted: Vec<(usize, u64)>,
    /// Something is to be written besides.
    pub(super) due: bool,
    pub(super) writing: bool,
    /// This process has written.
    pub(super) written: bool,
    /// The ledger did not answer, and that was told.
    pub(super) away: bool,
    /// What earlier processes spent could not be read yet, and when that is tried again.
    pub(super) unread: bool,
    pub(super) reads_at: Duration,
    /// Others were quicker at every attempt to write, which is made again then.
    pub(super) writes_at: Duration,
}

impl Budget {
    pub(super) fn wants_writing(&self) -> bool {
        let now = self.clock.elapsed();
        let inner = self.inner();
        if let Some(standing) = inner.account.sharing {
            return standing.short && now >= standing.asks_at && !inner.kept.writing;
        }
        let first = !inner.kept.written && inner.kept.due && !inner.account.limits.is_empty();
        let may = self.keeper.is_some() && !inner.kept.writing && inner.kept.writes_at <= now;
        may && (first || !inner.kept.wanted.is_empty())
    }

    /// Reads what earlier processes spent. Where the ledger does not answer, a small part of each limit is used until it does:
    /// `Err`, and it is to be tried again.
    pub(super) async fn read(&self) -> Result<(), Unread> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        let account = keeper.account(&self.key);
        if self.shared.is_some() {
            if let Ok((Some(entry), at)) = keeper.ledger.shared_entry(&account).await {
                let moment = Moment { now: self.clock.elapsed(), wall: at, uptime: None };
                self.inner().heed(&read_entry(&account, &entry), keeper, &moment);
            }
            // Each agreement reads it anew, and nothing is sent before the first one.
            return Ok(());
        }
        if self.clock.elapsed() < self.inner().kept.reads_at {
            return Err(Unread);
        }
        let entry = match keeper.ledger.entry(&account).await {
            Ok(entry) => entry,
            Err(error) => {
                let now = self.clock.elapsed();
                let mut inner = self.inner();
                let inner = &mut *inner;
                if !inner.kept.unread {
                    tracing::warn!(
                        quota.account = account,
                        %error,
                        "what was spent before is not known, a small part of the limits is used until it is: {error}"
                    );
                }
                (inner.kept.unread, inner.kept.reads_at) = (true, now + AGAIN);
                inner.account.hold_back(self.began, now, inner.kept.reads_at);
                return Err(Unread);
            }
        };
        let moment = self.moment();
        let mut inner = self.inner();
        if std::mem::take(&mut inner.kept.unread) {
            inner.account.hold_nothing_back();
        }
        let Some(entry) = entry else { return Ok(()) };
        inner.kept.version = entry.version;
        match Entry::read(&entry.text) {
            Ok(known) => {
                let mut past: Vec<Part> = known.parts.into_values().collect();
                if !keeper.patient {
                    past.iter_mut().for_each(|part| part.pauses.clear());
                }
                inner.take_past(past, &moment);
            }
            Err(message) => {
                tracing::warn!(quota.account = account, "what was spent before cannot be read, it is begun anew: {message}");
            }
        }
        Ok(())
    }

    /// Writes this process's part. Where the ledger does not answer, what was wanted is granted all the same: the limits hold for
    /// as long as this process lives, only a crash would forget what was spent. Where others were quicker each time, nothing is
    /// granted: they count on the same limits, and what this process spends would be nowhere that they see.
    pub(super) async fn write(&self, open: bool) {
        let Some(keeper) = &self.keeper else { return };
        let account = keeper.account(&self.key);
        {
            let mut inner = self.inner();
            if inner.kept.writing {
                return;
            }
            inner.kept.writing = true;
        }
        let writing = Writing(self);
        if let Some(length) = self.shared {
            return self.agree(keeper, &account, length, open).await;
        }
        self.know().await;
        // What stands there is not known, so that nothing can be put in its place.
        let is_away = self.inner().kept.unread;
        let mut wanted = self.inner().kept.wanted.clone();
        let mut is_granted = is_away;
        for _ in 0..if is_away { 0 } else { WRITES_MAX } {
            let moment = self.moment();
            let (version, text) = {
                let mut inner = self.inner();
                wanted.clone_from(&inner.kept.wanted);
                inner.kept.due = false;
                let part = Part::of(&inner.account, open, &wanted, &moment);
                let mut entry = Entry { format: 1, parts: inner.kept.others.clone() };
                entry.parts.insert(keeper.writer.clone(), part);
                (inner.kept.version, entry.text())
            };
            match keeper.ledger.put_entry(&account, version, &text, moment.wall).await {
                Ok(true) => {
                    self.inner().kept.version = version + 1;
                    is_granted = true;
                    break;
                }
                Ok(false) => {
                    // Another process counts on the same account: what it spent is added to what is known.
                    if let Ok(entry) = keeper.ledger.entry(&account).await {
                        let moment = self.moment();
                        let mut inner = self.inner();
                        inner.kept.version = entry.as_ref().map_or(0, |entry| entry.version);
                        let entry = entry.map(|entry| read_entry(&account, &entry)).unwrap_or_default();
                        let mut others = entry.parts;
                        others.remove(&keeper.writer);
                        inner.take_others(others, &moment);
                    }
                }
                Err(error) => {
                    tracing::warn!(quota.account = account, %error, "what is spent is not kept, a crash would forget it: {error}");
                    self.inner().kept.due = true;
                    is_granted = true;
                    break;
                }
            }
        }
        {
            let later = self.clock.elapsed() + AGAIN.mul_f64(0.5 + self.clock.fraction());
            let mut inner = self.inner();
            let inner = &mut *inner;
            if is_granted {
                for (place, amount) in wanted {
                    inner.account.limits[place].allowed += amount;
                }
                inner.kept.written = true;
            } else {
                (inner.kept.due, inner.kept.writes_at) = (true, later);
            }
            inner.kept.wanted.clear();
        }
        drop(writing);
    }

    /// What a member that has something to do with others looks at time after time.
    pub(in crate::quota) async fn look_around(&self) {
        let now = self.clock.elapsed();
        let engaged = {
            let inner = self.inner();
            inner.sharing.is_engaged(&inner.account, now)
        };
        if engaged {
            self.write(true).await;
        }
    }

    /// Agrees with those that share the account about who may spend what. Where the ledger does not answer, everything stays as
    /// it is, for as long as it is certain that others leave it so.
    async fn agree(&self, keeper: &Keeper, account: &str, length: Duration, open: bool) {
        for _ in 0..WRITES_MAX {
            let asked = Asked::now(&*self.clock);
            self.ask_again_later();
            let (entry, at) = match keeper.ledger.shared_entry(account).await {
                Ok(found) => found,
                Err(error) => return self.no_agreement(account, &error),
            };
            let version = entry.as_ref().map_or(0, |entry| entry.version);
            let entry = entry.map(|entry| read_entry(account, &entry)).unwrap_or_default();
            let (text, most, proposal) = {
                let mut inner = self.inner();
                let inner = &mut *inner;
                let now = self.clock.elapsed();
                let times = Times { now, least: at, most: later(at, asked.age(&*self.clock)), asked, length };
                inner.heed(&entry, keeper, &Moment { now, wall: at, uptime: None });
                if open {
                    let proposal = inner.sharing.propose(&mut inner.account, &entry, keeper, &times, inner.kept.due);
                    let Some(proposal) = proposal else { return };
                    (proposal.text.clone(), times.most, Some(proposal))
                } else {
                    (inner.sharing.leave(&inner.account, &entry, keeper, &times), times.most, None)
                }
            };
            match keeper.ledger.put_entry(account, version, &text, most).await {
                Ok(true) => {
                    let mut inner = self.inner();
                    let inner = &mut *inner;
                    (inner.kept.due, inner.kept.away) = (false, false);
                    if let Some(proposal) = proposal {
                        inner.sharing.agree(&mut inner.account, proposal);
                    }
                    break;
                }
                // Another process was quicker.
                Ok(false) => {}
                Err(error) => return self.no_agreement(account, &error),
            }
        }
        self.ask_again_later();
    }

    fn ask_again_later(&self) {
        let at = self.clock.elapsed() + share::LOOK;
        if let Some(standing) = &mut self.inner().account.sharing {
            standing.asks_at = at;
        }
    }

    fn no_agreement(&self, account: &str, error: &LedgerError) {
        self.ask_again_later();
        let mut inner = self.inner();
        // What was written may stand there all the same.
        inner.sharing.doubt();
        if !inner.kept.away {
            inner.kept.away = true;
            tracing::warn!(quota.account = account, %error, "nothing can be agreed with other daemons about limits: {error}");
        }
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { now: self.clock.elapsed(), wall: self.clock.now(), uptime: self.clock.uptime() }
    }
}

impl Inner {
    /// Counts what processes beside this one have spent since it met them last.
    fn take_others(&mut self, others: BTreeMap<String, Part>, moment: &Moment) {
        for (writer, part) in &others {
            let before = self.kept.others.get(writer);
            for place in 0..self.account.limits.len() {
                part.count_more(before, &mut self.account, place, moment);
            }
        }
        self.kept.others = others;
    }

    /// What others were asked for by the source holds for all.
    fn heed(&mut self, entry: &Entry, keeper: &Keeper, moment: &Moment) {
        for part in entry.parts.iter().filter(|(writer, _)| **writer != keeper.writer).map(|(_, part)| part) {
            if keeper.patient {
                part.pause(&mut self.account, moment);
            }
            if let Some(rate) = part.pace.filter(|_| !self.sharing.has_written() && self.account.pace.rate().is_none()) {
                self.account.pace.remember(rate, part.vain, moment.now);
                self.account.gate.trust();
            }
        }
    }

    fn take_past(&mut self, past: Vec<Part>, moment: &Moment) {
        for part in &past {
            for place in 0..self.account.limits.len() {
                part.count(&mut self.account, place, moment);
            }
            part.pause(&mut self.account, moment);
            if let Some(rate) = part.pace {
                self.account.pace.remember(rate, part.vain, moment.now);
                self.account.gate.trust();
            }
        }
        self.kept.past = past;
    }
}

fn read_entry(account: &str, entry: &LedgerEntry) -> Entry {
    Entry::read(&entry.text).unwrap_or_else(|message| {
        tracing::warn!(quota.account = account, "what is agreed upon cannot be read, it is begun anew: {message}");
        Entry::default()
    })
}

/// What was spent before could not be read.
pub(super) struct Unread;

/// Says that nobody writes any more, whatever became of the writing.
struct Writing<'a>(&'a Budget);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        inner.kept.writing = false;
        if let Some((_, waiter)) = inner.queue.first() {
            waiter.wake.notify_one();
        }
    }
}
