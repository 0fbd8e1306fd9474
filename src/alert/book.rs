//! What is wrong, and who knows of it. Pure: events and moments come in, what is due to be told and to be saved goes out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::service::AlertKind;
use crate::config::units::duration_text;
use crate::event::{Event, RunEnd};
use crate::freshness::Watched;
use crate::ids::JobName;
use crate::state::{Condition, ConditionKey, Told};

use super::Setup;

/// Conditions in one message.
pub(super) const ITEMS_MAX: usize = 20;
/// Tables that are late when the daemon begins are given this long to catch up before anybody is told.
const LATE_GRACE: SignedDuration = SignedDuration::from_mins(5);
/// What happened once and does not pass, such as a change of columns, is remembered this long, so that it is told once, and kept this
/// long for a channel that takes nothing.
const HAPPENING_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Happenings of one kind remembered of one job.
const HAPPENINGS_MAX: usize = 100;

/// Why a job is parked, as the key's detail: each has another way out.
pub(super) const BY_FILES: &str = "files";
pub(super) const BY_RUN: &str = "run";
pub(super) const FOR_TIME: &str = "time";

/// What one channel is to be told of one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub key: ConditionKey,
    pub kind: AlertKind,
    pub telling: Told,
    pub since: Timestamp,
    /// For a condition that has passed.
    pub until: Option<Timestamp>,
    pub reason: String,
}

/// What the state is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Put(Condition),
    Drop(ConditionKey),
}

pub(super) struct Book {
    born_at: Timestamp,
    conditions: BTreeMap<ConditionKey, Condition>,
    jobs: BTreeMap<JobName, Watched>,
    /// Changed since the state was told.
    changed: BTreeSet<ConditionKey>,
    /// On their way, by channel.
    sending: BTreeMap<String, Vec<(ConditionKey, Told)>>,
}

impl Book {
    /// `conditions` as the state remembers them.
    pub fn new(conditions: Vec<Condition>, now: Timestamp) -> Self {
        let conditions = conditions.into_iter().map(|condition| (condition.key.clone(), condition)).collect();
        Book { born_at: now, conditions, jobs: BTreeMap::new(), changed: BTreeSet::new(), sending: BTreeMap::new() }
    }

    /// Other jobs than before, or the same ones with other limits.
    pub fn set(&mut self, setup: &Setup, now: Timestamp) {
        let mut before = std::mem::take(&mut self.jobs);
        for watched in &setup.jobs {
            let mut watched = watched.clone();
            if let Some(before) = before.remove(&watched.job) {
                watched.go_on(&before);
            }
            self.jobs.insert(watched.job.clone(), watched);
        }
        let known: Vec<ConditionKey> = self.conditions.keys().cloned().collect();
        for key in known {
            let watched = self.jobs.get(&key.job);
            let parked = setup.parked.contains_key(&key.job);
            let unlimited = key.kind == AlertKind::Late.name() && watched.is_some_and(|watched| watched.limit.is_none());
            if (watched.is_none() && !parked) || unlimited {
                self.forget(&key);
            } else if key.detail == BY_FILES && !parked {
                self.clear(&key, now);
            }
        }
        for (job, reason) in &setup.parked {
            self.raise(key(job, AlertKind::Parked, BY_FILES), now, reason);
        }
    }

    pub fn hear(&mut self, event: &Event, now: Timestamp) {
        let job = event.job();
        // A job that is run by hand, or whose file went while it ran, is looked at by whoever did that.
        let Some(watched) = self.jobs.get_mut(job) else { return };
        watched.freshness.hear(event, now);
        match event {
            Event::SchemaChanged { change, .. } => self.raise(key(job, AlertKind::SchemaChanged, change), now, change),
            Event::Recovered { recovery, what, .. } if recovery.is_loss() => {
                self.raise(key(job, AlertKind::Lost, what), now, what);
            }
            Event::JobEnded { end, .. } => self.take_end(job, end, now),
            _ => {}
        }
    }

    fn take_end(&mut self, job: &JobName, end: &RunEnd, now: Timestamp) {
        let failed = key(job, AlertKind::RunFailed, "");
        let parked = key(job, AlertKind::Parked, BY_RUN);
        let paused = key(job, AlertKind::Parked, FOR_TIME);
        match end {
            RunEnd::Stopped => {}
            RunEnd::Done => [&failed, &parked, &paused].into_iter().for_each(|key| self.clear(key, now)),
            // One thing is wrong with a job at a time: what it turns into is told instead.
            RunEnd::Failed { reason, .. } => self.replace(&[&parked, &paused], failed, now, reason),
            RunEnd::Parked { until: None, reason } => self.replace(&[&failed, &paused], parked, now, reason),
            RunEnd::Parked { until: Some(until), reason } => {
                self.replace(&[&failed, &parked], paused, now, &format!("{reason}; until {}", moment(*until)));
            }
        }
    }

    fn replace(&mut self, before: &[&ConditionKey], key: ConditionKey, now: Timestamp, reason: &str) {
        before.iter().for_each(|key| self.forget(key));
        self.raise(key, now, reason);
    }

    /// Looks at the time: what is late, and what need not be remembered any longer.
    pub fn look(&mut self, now: Timestamp) {
        let ages: Vec<(JobName, Duration, Duration)> = self
            .jobs
            .values()
            .filter_map(|watched| Some((watched.job.clone(), watched.freshness.age(now), watched.limit?)))
            .collect();
        for (job, age, limit) in ages {
            let key = key(&job, AlertKind::Late, "");
            if age <= limit {
                self.clear(&key, now);
            } else if now.duration_since(self.born_at) >= LATE_GRACE {
                let since = SignedDuration::try_from(age - limit).ok().and_then(|over| now.checked_sub(over).ok());
                let reason = format!("its table is {} old and should be at most {} old", rounded(age), rounded(limit));
                self.raise_since(key, since.unwrap_or(now), &reason);
            }
        }
        let old: Vec<ConditionKey> = self
            .happenings()
            .filter(|happening| now.duration_since(happening.since) > HAPPENING_KEPT)
            .map(|happening| happening.key.clone())
            .collect();
        old.iter().for_each(|key| self.forget(key));
    }

    fn happenings(&self) -> impl Iterator<Item = &Condition> {
        self.conditions.values().filter(|condition| happens(&condition.key))
    }

    fn raise(&mut self, key: ConditionKey, now: Timestamp, reason: &str) {
        self.raise_since(key, now, reason);
    }

    /// A condition that holds already is not raised again: its beginning and first reason stay.
    fn raise_since(&mut self, key: ConditionKey, since: Timestamp, reason: &str) {
        let told = match self.conditions.get(&key) {
            Some(known) if known.cleared_at.is_none() => return,
            // Whoever was not told yet that it had passed need not be told that it is back.
            Some(known) => {
                known.told.iter().filter(|(_, told)| **told == Told::Raised).map(|(name, told)| (name.clone(), *told)).collect()
            }
            None => BTreeMap::new(),
        };
        if happens(&key) {
            self.make_room(&key);
        }
        self.changed.insert(key.clone());
        let condition = Condition { key: key.clone(), since, reason: reason.to_owned(), cleared_at: None, told };
        self.conditions.insert(key, condition);
    }

    fn make_room(&mut self, like: &ConditionKey) {
        let alike = || self.happenings().filter(|other| other.key.job == like.job && other.key.kind == like.kind);
        if alike().count() < HAPPENINGS_MAX {
            return;
        }
        if let Some(oldest) = alike().min_by_key(|other| other.since).map(|other| other.key.clone()) {
            self.forget(&oldest);
        }
    }

    fn clear(&mut self, key: &ConditionKey, now: Timestamp) {
        if let Some(condition) = self.conditions.get_mut(key).filter(|condition| condition.cleared_at.is_none()) {
            condition.cleared_at = Some(now);
            self.changed.insert(key.clone());
        }
    }

    fn forget(&mut self, key: &ConditionKey) {
        if self.conditions.remove(key).is_some() {
            self.changed.insert(key.clone());
        }
    }

    /// What a channel is to be told now, the oldest first, at most [`ITEMS_MAX`].
    pub fn due(&self, channel: &str, on: &BTreeSet<AlertKind>) -> Vec<Item> {
        let mut due: Vec<Item> = self.conditions.values().filter_map(|condition| item(condition, channel, on)).collect();
        due.sort_by_key(|item| item.until.unwrap_or(item.since));
        due.truncate(ITEMS_MAX);
        due
    }

    /// These are on their way.
    pub fn send(&mut self, channel: &str, items: &[Item]) {
        self.sending.insert(channel.to_owned(), items.iter().map(|item| (item.key.clone(), item.telling)).collect());
    }

    /// What was on its way to a channel arrived, or did not.
    pub fn sent(&mut self, channel: &str, arrived: bool) {
        for (key, telling) in self.sending.remove(channel).unwrap_or_default() {
            if let Some(condition) = self.conditions.get_mut(&key).filter(|_| arrived) {
                condition.told.insert(channel.to_owned(), telling);
                self.changed.insert(key);
            }
        }
    }

    /// Forgets what has passed and nobody is left to be told of.
    pub fn tidy(&mut self, channels: &[(&str, &BTreeSet<AlertKind>)]) {
        let settled = |condition: &Condition| {
            condition.cleared_at.is_some()
                && !channels.iter().any(|(name, on)| item(condition, name, on).is_some())
                && !self.sending.values().flatten().any(|(key, _)| *key == condition.key)
        };
        let settled: Vec<ConditionKey> =
            self.conditions.values().filter(|condition| settled(condition)).map(|condition| condition.key.clone()).collect();
        settled.iter().for_each(|key| self.forget(key));
    }

    /// What the state does not know yet. Given back with [`Book::unsaved`] where it could not be saved.
    pub fn changes_to_save(&mut self) -> Vec<Change> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|key| match self.conditions.get(&key) {
                Some(condition) => Change::Put(condition.clone()),
                None => Change::Drop(key),
            })
            .collect()
    }

    pub fn unsaved(&mut self, change: &Change) {
        self.changed.insert(match change {
            Change::Put(condition) => condition.key.clone(),
            Change::Drop(key) => key.clone(),
        });
    }
}

/// Whether it happened once, and is no state of things that may pass.
fn happens(key: &ConditionKey) -> bool {
    [AlertKind::SchemaChanged, AlertKind::Lost].iter().any(|kind| kind.name() == key.kind)
}

fn key(job: &JobName, kind: AlertKind, detail: &str) -> ConditionKey {
    ConditionKey { job: job.clone(), kind: kind.name().to_owned(), detail: detail.to_owned() }
}

fn item(condition: &Condition, channel: &str, on: &BTreeSet<AlertKind>) -> Option<Item> {
    // A word of a newer program is nothing that we know how to tell.
    let kind = AlertKind::from_name(&condition.key.kind)?;
    let telling = match (condition.cleared_at, condition.told.get(channel)) {
        (None, None) if on.contains(&kind) => Told::Raised,
        (Some(_), Some(Told::Raised)) if on.contains(&AlertKind::Recovered) => Told::Cleared,
        _ => return None,
    };
    let (key, since, until) = (condition.key.clone(), condition.since, condition.cleared_at);
    Some(Item { key, kind, telling, since, until, reason: condition.reason.clone() })
}

/// As people read it: `2026-01-31 07:08 UTC`.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Nobody needs the seconds of hours.
pub(super) fn rounded(length: Duration) -> String {
    let seconds = match length.as_secs() {
        seconds @ 0..600 => seconds,
        seconds => seconds / 60 * 60,
    };
    duration_text(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests;
