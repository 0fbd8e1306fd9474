//! What an account keeps in the ledger, so that a restart overruns no window.
//!
//! A process writes before it spends: a block of a long window, a sixty-fourth of it, is counted in the ledger before its first
//! request leaves. After a crash the whole block counts as spent just now. Windows of seconds are not written while they are
//! spent; after a crash they are taken for full and waited out. Moments are written as lengths from the moment of writing, which
//! is told by the machine's time since its boot where that is still the same boot, else by the wall clock.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Uptime;
use crate::ledger;

use super::account::{Account, Limit, SHORT};
use super::adaptive::Vain;

/// Steps in which the past of a window is written.
const STEPS: usize = 64;
/// What a step takes of an entry's text at most, with room for what stands around it and for other processes.
const STEP_BYTES: usize = 80;

/// An account's text in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) format: u32,
    /// By the name that a process gave itself.
    pub(super) parts: BTreeMap<String, Part>,
}

/// What one process has to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) at: Timestamp,
    /// The machine's boot, and the time since then in milliseconds.
    boot: Option<(String, u64)>,
    /// It was not closed: more may have been spent than stands here.
    pub(super) open: bool,
    pub(super) windows: Vec<KeptWindow>,
    /// By pattern of a group, how long nobody is to ask, in milliseconds.
    pub(super) pauses: BTreeMap<String, u64>,
    /// Requests a second that a hidden limit was found to let through.
    pub(super) pace: Option<f64>,
    /// What was known beside it of refusals that are not for its sake; parts of older programs have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vain: Option<Vain>,
    /// Where several processes share the account; `at` is by the clock that they have in common then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) member: Option<Member>,
}

/// One of those that share an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    /// Where only one process can be at a time.
    pub(super) place: String,
    /// It sends nothing later than this unless it is heard of again.
    pub(super) until: Timestamp,
}

/// What counts against a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptWindow {
    pub(super) group: String,
    pub(super) points: bool,
    pub(super) limit: u64,
    /// Milliseconds; 0 where requests at the same time are counted.
    pub(super) per: u64,
    /// May be sent without asking again, or is under way.
    pub(super) ahead: u64,
    /// Amounts by the milliseconds after which they leave the window.
    pub(super) leaving: Vec<(u64, u64)>,
    /// What of the limit is the writer's own to spend and spend again.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(super) share: u64,
    /// What it could do with.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(super) need: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn is_nothing(amount: &u64) -> bool {
    *amount == 0
}

/// The moment of a reading or a writing.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// The monotonic clock of the process.
    pub(super) now: Duration,
    pub(super) wall: Timestamp,
    pub(super) uptime: Option<Uptime>,
}

impl Entry {
    /// Reads what stands in the ledger. What cannot be read was written by a newer version or is damaged.
    pub(super) fn read(text: &str) -> Result<Entry, String> {
        let entry: Entry = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if entry.format > 1 {
            return Err(format!("its format is `{}`, and this version reads 1", entry.format));
        }
        Ok(entry)
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Part {
    /// What an account is to be remembered as. `wanted`: what its windows, by place, are to be granted with this writing.
    pub(super) fn of(account: &Account, open: bool, wanted: &[(usize, u64)], moment: &Moment) -> Part {
        Part::beside(1, account, open, wanted, moment)
    }

    /// The same with room for so many of them in one entry.
    pub(super) fn beside(beside: usize, account: &Account, open: bool, wanted: &[(usize, u64)], moment: &Moment) -> Part {
        let after = |at: Duration| millis(at.saturating_sub(moment.now));
        let steps = (ledger::TEXT_MAX / STEP_BYTES / account.limits.len().max(1) / beside.max(1)).clamp(1, STEPS);
        let window = |(place, limit): (usize, &Limit)| {
            let granted: u64 = wanted.iter().filter(|(of, _)| *of == place).map(|(_, amount)| amount).sum();
            let mut leaving: Vec<(u64, u64)> =
                limit.meter.steps(steps).into_iter().map(|(at, amount)| (after(at), amount)).collect();
            // What is under way may arrive as late as the process dies.
            if !open && limit.meter.flying() > 0 {
                leaving.push((millis(limit.meter.per() + limit.meter.margin()), limit.meter.flying()));
            }
            KeptWindow {
                group: pattern_of(account, limit),
                points: limit.points,
                limit: limit.meter.limit(),
                per: millis(limit.meter.per()),
                ahead: if open { limit.allowed + granted + limit.meter.flying() } else { 0 },
                leaving,
                share: 0,
                need: 0,
            }
        };
        let pauses = account.groups.iter().map(|group| (group.pattern.to_string(), group.paused));
        let pauses = pauses.chain([(String::new(), account.paused)]);
        Part {
            at: moment.wall,
            boot: moment.uptime.clone().map(|uptime| (uptime.boot, millis(uptime.length))),
            open,
            windows: account.limits.iter().enumerate().map(window).collect(),
            pauses: pauses.map(|(group, until)| (group, after(until))).filter(|(_, left)| *left > 0).collect(),
            pace: account.pace.rate(),
            vain: account.pace.vain(),
            member: None,
        }
    }

    /// How long ago it was written. A wall clock that was put back makes it younger than it is, at most as young as can be.
    pub(super) fn age(&self, moment: &Moment) -> Duration {
        if let (Some((boot, up)), Some(uptime)) = (&self.boot, &moment.uptime)
            && *boot == uptime.boot
        {
            return uptime.length.saturating_sub(Duration::from_millis(*up));
        }
        Duration::try_from(moment.wall.duration_since(self.at)).unwrap_or_default()
    }

    /// Counts what an earlier process, or another, has spent of a window.
    pub(super) fn count(&self, account: &mut Account, place: usize, moment: &Moment) {
        let group = pattern_of(account, &account.limits[place]);
        let limit = &mut account.limits[place];
        let per = millis(limit.meter.per());
        let same = |window: &&KeptWindow| window.group == group && window.points == limit.points;
        let exact = self.windows.iter().filter(same).find(|window| window.per == per);
        // Another length: the longest knows most of what was spent.
        let Some(window) = exact.or_else(|| self.windows.iter().filter(same).max_by_key(|window| window.per)) else { return };
        let age = self.age(moment);
        let shift = window.per.saturating_sub(per);
        for (leaves, amount) in &window.leaving {
            let left = Duration::from_millis(leaves.saturating_sub(shift)).saturating_sub(age);
            if !left.is_zero() {
                limit.meter.count_until(moment.now + left.min(limit.meter.per() * 2), *amount);
            }
        }
        if self.open {
            // Whatever it may have sent, it has sent by now.
            let ahead = if limit.meter.per() <= SHORT { limit.meter.limit() } else { window.ahead };
            limit.meter.count(moment.now, ahead.min(limit.meter.limit()));
        }
    }

    /// Counts what another process has spent of a window since it wrote `before`.
    pub(super) fn count_more(&self, before: Option<&Part>, account: &mut Account, place: usize, moment: &Moment) {
        let group = pattern_of(account, &account.limits[place]);
        let limit = &mut account.limits[place];
        let per = millis(limit.meter.per());
        let used = |part: &Part| {
            let same = |window: &KeptWindow| (&window.group, window.points, window.per) == (&group, limit.points, per);
            part.windows(moment).into_iter().find(|(window, _)| same(window)).map_or(0, |(_, used)| used)
        };
        let more = used(self).saturating_sub(before.map_or(0, used));
        limit.meter.count(moment.now, more);
    }

    /// Heeds what the source asked an earlier process for.
    pub(super) fn pause(&self, account: &mut Account, moment: &Moment) {
        let age = self.age(moment);
        for (group, left) in &self.pauses {
            let left = Duration::from_millis(*left).saturating_sub(age);
            if !left.is_zero() {
                account.pause_group(group, moment.now + left);
            }
        }
    }

    /// What the windows look like at a moment: size, used, milliseconds of length.
    pub(super) fn windows(&self, moment: &Moment) -> Vec<(&KeptWindow, u64)> {
        let age = millis(self.age(moment));
        let used = |window: &KeptWindow| {
            if self.member.is_some() {
                return self.held(window, moment).min(window.limit);
            }
            let kept: u64 = window.leaving.iter().filter(|(leaves, _)| *leaves > age).map(|(_, amount)| amount).sum();
            (kept + window.ahead).min(window.limit)
        };
        self.windows.iter().map(|window| (window, used(window))).collect()
    }
}

/// The pattern of the group that a limit is for; empty where it is for all.
pub(super) fn pattern_of(account: &Account, limit: &Limit) -> String {
    limit.group.map_or_else(String::new, |place| account.groups[place].pattern.to_string())
}

pub(super) fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
