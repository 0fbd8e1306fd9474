//! What people are shown of an account.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::BudgetKey;
use super::account::Account;
use super::keep::{Entry, Moment, pattern_of};

/// An account as `status`, `plan` and the metrics show it. Lengths are whole seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AccountView {
    pub host: String,
    /// The beginning of the credential's fingerprint; empty where none is sent.
    pub credential: String,
    pub windows: Vec<WindowView>,
    /// Requests under way, and how many may be.
    pub under_way: usize,
    pub places: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Requests a second that a hidden limit lets through; null where none was found.
    pub pace: Option<f64>,
    /// How long the source wants no request; null if it does not say so.
    pub paused_for: Option<u64>,
    /// It fails, and is asked by one probe at a time.
    pub broken: bool,
    /// Requests of the last hour by job, the most first.
    pub used_by: Vec<UsedBy>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsedBy {
    pub job: String,
    pub requests: u64,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowView {
    /// The pattern of a group, or the API's own name of the limit; empty where it is one for all.
    pub name: String,
    pub declared: bool,
    /// It counts points of cost, not requests.
    pub points: bool,
    pub limit: Option<u64>,
    /// The window's length; null for a bucket, and where it is not known.
    pub per: Option<u64>,
    pub left: Option<u64>,
    /// Until nothing that counts now counts any more; null where it is not known.
    pub resets_in: Option<u64>,
}

/// An account that was not heard of for so long, and of which nothing is spent, is not shown.
const STALE: Duration = Duration::from_secs(24 * 3600);

impl WindowView {
    /// What tells it from the account's other limits: `/search/* 30/60s`.
    pub fn label(&self) -> String {
        let per = self.per.map(|per| format!("/{per}s")).unwrap_or_default();
        let points = if self.points { " points" } else { "" };
        format!("{} {}{per}{points}", self.name, self.limit.unwrap_or_default()).trim().to_owned()
    }
}

impl AccountView {
    pub(super) fn of(key: &BudgetKey, account: &Account, waiting: usize, now: Duration) -> AccountView {
        let declared = account.limits.iter().map(|limit| WindowView {
            name: pattern_of(account, limit),
            declared: true,
            points: limit.points,
            limit: Some(limit.meter.limit()),
            per: Some(limit.meter.per().as_secs()),
            left: Some(limit.meter.limit().saturating_sub(limit.meter.used_at(now).saturating_add(limit.others))),
            resets_in: limit.meter.empty_at().map(|at| seconds(at.saturating_sub(now))),
        });
        let learnt = account.learnt.iter().map(|(name, learnt)| {
            let (limit, left, per, reset) = learnt.view(now);
            WindowView {
                name: name.clone(),
                declared: false,
                points: learnt.counts_points(),
                limit,
                per: per.map(|per| per.as_secs()),
                left,
                resets_in: reset.map(seconds),
            }
        });
        let pauses = account.groups.iter().map(|group| group.paused).chain([account.paused]);
        let paused_for = pauses.max().filter(|until| *until > now).map(|until| seconds(until - now));
        AccountView {
            host: key.host.clone(),
            credential: short(&key.credential),
            windows: declared.chain(learnt).collect(),
            under_way: account.flying(),
            places: account.gate.places(),
            waiting,
            pace: account.pace.rate(),
            paused_for,
            broken: account.is_broken(),
            used_by: account.used_by(now).into_iter().map(|(job, requests)| UsedBy { job: job.to_string(), requests }).collect(),
        }
    }

    /// What an entry of the ledger says, for whoever looks while nobody works with it.
    pub(super) fn of_entry(account: &str, text: &str, moment: &Moment) -> Option<AccountView> {
        let entry = Entry::read(text).ok()?;
        let key = BudgetKey::of_account(account);
        let mut of_late = false;
        let mut view = AccountView { host: key.host, credential: short(&key.credential), ..AccountView::default() };
        for part in entry.parts.values() {
            for (window, used) in part.windows(moment).into_iter().filter(|(window, _)| window.per > 0) {
                let same = |known: &&mut WindowView| {
                    (&known.name, known.points, known.limit, known.per)
                        == (&window.group, window.points, Some(window.limit), Some(window.per / 1000))
                };
                // Those that share it count against one limit.
                if let Some(known) = view.windows.iter_mut().find(same).filter(|_| part.member.is_some()) {
                    known.left = known.left.map(|left| left.saturating_sub(used));
                    continue;
                }
                view.windows.push(WindowView {
                    name: window.group.clone(),
                    declared: true,
                    points: window.points,
                    limit: Some(window.limit),
                    per: Some(window.per / 1000),
                    left: Some(window.limit.saturating_sub(used)),
                    resets_in: None,
                });
            }
            let age = part.age(moment).as_millis();
            let paused = part.pauses.values().max().and_then(|left| u64::try_from(u128::from(*left).checked_sub(age)?).ok());
            view.paused_for = view.paused_for.max(paused.filter(|left| *left > 0).map(|left| left.div_ceil(1000)));
            view.pace = view.pace.or(part.pace);
            of_late |= part.age(moment) < STALE;
        }
        // A credential that is not used any more is no news.
        let in_use = view.windows.iter().any(|window| window.left < window.limit) || view.paused_for.is_some();
        (in_use || of_late).then_some(view)
    }
}

fn seconds(length: Duration) -> u64 {
    length.as_secs() + u64::from(length.subsec_nanos() > 0)
}

/// Enough of a fingerprint to tell two apart.
fn short(fingerprint: &str) -> String {
    fingerprint.chars().take(8).collect()
}
