//! What a run would cost: requests, shares of the quota, and when it would end.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::text::{counted, instant, length, thousands};
use crate::cli::vault::LentVault;
use crate::config::catalog::{CountedEnd, Job, PagingKind};
use crate::error::chain;
use crate::event::Events;
use crate::ledger::{Ledger, LedgerEntry, LedgerError};
use crate::plan::Outline;
use crate::quota::{Budgets, Class, WindowView};
use crate::run::{self, Probed};
use crate::slice::Slice;
use crate::source::http::recording::Wire;
use crate::source::http::{HttpSource, Shared, Tokens};
use crate::state::State;
use crate::stop::Stop;

use super::plan::at_least;

/// What an answer is taken to need where nothing is known of the API.
const LATENCY: Duration = Duration::from_millis(200);
/// Runs that are looked at for what a slice took before.
const RUNS_MAX: u32 = 20;

/// Requests that a run takes, and what follows from them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Forecast {
    pub requests: u64,
    /// How `requests` is known.
    pub basis: Basis,
    /// Seconds until the last answer, begun now with nothing else going on.
    pub seconds: f64,
    /// How many of these are waiting for limits.
    pub waiting_seconds: f64,
    pub ends_at: Option<Timestamp>,
    /// Seconds that an answer is taken to need.
    pub latency_seconds: f64,
    /// Of each declared limit, and each that answers tell of.
    pub shares: Vec<Share>,
    /// It would not be over when the job is due again.
    pub overruns_schedule: bool,
    /// Asking for first pages would tell how many there are.
    #[serde(skip)]
    pub can_be_asked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Basis {
    /// One page a slice, or the first page of each slice told how many there are.
    Exact,
    /// Slices took so many requests in the last runs, or those that were probed did.
    Estimate,
    /// One a slice: nothing more is known.
    AtLeast,
}

/// What a run takes of a limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Share {
    pub limit: WindowView,
    /// Of one window; more than 1 spans several.
    pub share: f64,
}

/// The ledger as it stands, for whoever only reckons.
struct Copied(Vec<LedgerEntry>);

#[async_trait]
impl Ledger for Copied {
    async fn entry(&self, account: &str) -> Result<Option<LedgerEntry>, LedgerError> {
        Ok(self.0.iter().find(|entry| entry.account == account).cloned())
    }

    async fn entries(&self) -> Result<Vec<LedgerEntry>, LedgerError> {
        Ok(self.0.clone())
    }

    async fn put_entry(&self, _account: &str, _before: u64, _text: &str, _at: Timestamp) -> Result<bool, LedgerError> {
        Ok(true)
    }
}

/// `None` where there is nothing to read, or the source cannot be opened because a secret is missing: that is `check`'s to tell.
pub(super) async fn forecast(
    context: &Context,
    project: &Project,
    state: Option<&Arc<dyn State>>,
    job: &Job,
    outline: &Outline,
    probe: bool,
) -> Result<Option<Forecast>, Failure> {
    let Some(first) = outline.slices.first() else { return Ok(None) };
    let failed = |error: crate::state::StateError| Failure::of(error.kind, error.to_string());
    let (entries, runs) = match state {
        Some(state) => {
            let entries = state.entries().await.map_err(|error| Failure::of(error.kind, error.to_string()))?;
            (entries, state.runs(Some(&job.name), RUNS_MAX).await.map_err(failed)?)
        }
        None => (Vec::new(), Vec::new()),
    };
    let budgets = Budgets::new(Arc::clone(&context.clock)).kept_in(Arc::new(Copied(entries)), "plan");
    let stop = Stop::new();
    let vault = if probe { project.vault(job).await? } else { Arc::new(LentVault::default()) };
    let tokens = Tokens::new(Arc::clone(&context.clock), vault);
    let shared = Shared { budgets: &budgets, tokens: &tokens, wire: &Wire::Network };
    let source = HttpSource::open(job, &*project.secrets, shared, Arc::clone(&context.clock), Events::default(), stop.clone());
    let source = match source {
        Ok(source) => source,
        Err(error) if probe => return Err(Failure::of(error.kind, chain(&error))),
        Err(_) => return Ok(None),
    };
    source.know_quota().await;
    let (source, probed) = if probe {
        let source = source.at_most(Class::Preview);
        let probed = run::probe(job, &outline.slices, &source, &*context.clock, &stop).await;
        tokens.close().await;
        let probed = probed.map_err(|error| Failure::of(error.kind, format!("probe {}: {}", job.name, chain(&error))))?;
        (source.at_most(Class::Scheduled), probed)
    } else {
        (source, Vec::new())
    };
    let counted = count(job, outline, &probed, &runs);
    let latency = latency(job, &probed, &runs, counted.0.div_ceil(outline.total().max(1)));
    reckon(context, job, &source, first, counted, latency)
}

fn reckon(
    context: &Context,
    job: &Job,
    source: &HttpSource,
    first: &Slice,
    (requests, basis): (u64, Basis),
    latency: Duration,
) -> Result<Option<Forecast>, Failure> {
    let forecast = source.forecast(first, requests, latency);
    let forecast = forecast.map_err(|error| Failure::new(Exit::Failed, chain(&error)))?;
    let now = context.clock.now();
    let ends_at = now.checked_add(forecast.length).ok();
    let share = |limit: WindowView| {
        let most = limit.limit.filter(|most| *most > 0)?;
        Some(Share { share: requests as f64 / most as f64, limit })
    };
    let shares = source.quota().windows.into_iter().filter(|window| !window.points).filter_map(share).collect();
    Ok(Some(Forecast {
        requests,
        basis,
        seconds: forecast.length.as_secs_f64(),
        waiting_seconds: forecast.waiting.as_secs_f64(),
        ends_at,
        latency_seconds: latency.as_secs_f64(),
        shares,
        overruns_schedule: overruns(job, now, ends_at),
        can_be_asked: tells_pages(job),
    }))
}

/// Whether a first page tells how many there are.
fn tells_pages(job: &Job) -> bool {
    let is_told = |end: &CountedEnd| matches!(end, CountedEnd::Total(_) | CountedEnd::TotalPages(_));
    match &job.stream.paging.kind {
        _ if job.stream.export.is_some() || job.stream.parent.is_some() => false,
        PagingKind::Page { end, .. } | PagingKind::Offset { end, .. } => is_told(end),
        _ => false,
    }
}

/// How many requests the slices take.
fn count(job: &Job, outline: &Outline, probed: &[Probed], runs: &[crate::state::RunRow]) -> (u64, Basis) {
    let slices = outline.total();
    let is_export = job.stream.export.is_some();
    if !is_export && job.stream.parent.is_none() && matches!(job.stream.paging.kind, PagingKind::None) {
        return (slices, Basis::Exact);
    }
    let known: Vec<u64> = probed.iter().filter_map(|probed| probed.pages).collect();
    if !known.is_empty() {
        let sum: u64 = known.iter().sum();
        if known.len() as u64 == slices {
            return (sum, Basis::Exact);
        }
        return ((sum as f64 / known.len() as f64 * slices as f64).ceil() as u64, Basis::Estimate);
    }
    let done = runs.iter().filter(|run| run.status == "done" && run.commits > 0);
    let (requests, commits) = done.fold((0, 0), |(requests, commits), run| (requests + run.requests, commits + run.commits));
    if commits > 0 {
        let each = (requests as f64 / commits as f64).max(1.0);
        return ((each * slices as f64).ceil() as u64, Basis::Estimate);
    }
    // An export is asked for, looked at and fetched.
    (if is_export { slices.saturating_mul(3) } else { slices }, Basis::AtLeast)
}

/// What a request adds to a run: what an answer needs, which is the middle of the probes, less what pages that are asked for side by
/// side save; else what the last runs needed for a request, waits among it.
fn latency(job: &Job, probed: &[Probed], runs: &[crate::state::RunRow], pages: u64) -> Duration {
    let at_once = u64::try_from(run::at_once(job)).unwrap_or(1);
    // The first page stands alone, for it tells how many there are.
    let turns = pages.min(1) + pages.saturating_sub(1).div_ceil(at_once);
    let saved = |latency: Duration| latency.mul_f64(turns as f64 / pages.max(1) as f64);
    let mut took: Vec<Duration> = probed.iter().map(|probed| probed.took).collect();
    took.sort();
    if let Some(middle) = took.get(took.len() / 2) {
        return saved(*middle);
    }
    let took = |run: &crate::state::RunRow| {
        let length = Duration::try_from(run.finished_at?.duration_since(run.started_at)).ok()?;
        (run.status == "done" && run.requests > 0).then(|| length / u32::try_from(run.requests).unwrap_or(u32::MAX))
    };
    runs.iter().filter_map(took).min().unwrap_or_else(|| saved(LATENCY))
}

/// Whether the job is due again before it ends.
fn overruns(job: &Job, now: Timestamp, ends_at: Option<Timestamp>) -> bool {
    let next = job.schedule.as_ref().and_then(|schedule| schedule.next_after(now));
    let interval = next.and_then(|next| Some((next, job.schedule.as_ref()?.next_after(next)?)));
    match (interval, ends_at) {
        (Some((first, second)), Some(ends_at)) => ends_at.duration_since(now) > second.duration_since(first),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

impl Forecast {
    /// For people, a line each.
    pub fn lines(&self, job: &Job) -> Vec<String> {
        let requests = match self.basis {
            Basis::Exact => counted(self.requests, "request"),
            Basis::Estimate => format!("about {}, as slices took before", counted(self.requests, "request")),
            Basis::AtLeast => {
                let more = match (self.can_be_asked, job.stream.parent.is_some()) {
                    (true, _) => "; --probe asks how many",
                    (false, false) => "; the API does not tell how many pages there are",
                    (false, true) => "",
                };
                format!("{}{more}", at_least(job, self.requests))
            }
        };
        let mut lines = vec![format!("requests: {requests}")];
        for share in &self.shares {
            let per = share.limit.per.map(|per| format!(" in {}", length(Duration::from_secs(per)))).unwrap_or_default();
            let limit = thousands(share.limit.limit.unwrap_or_default());
            let left = share.limit.left.map(|left| format!(", {} left now", thousands(left))).unwrap_or_default();
            let name = if share.limit.name.is_empty() { String::new() } else { format!("{}: ", share.limit.name) };
            lines.push(format!("quota:    {name}{:.1} % of {limit}{per}{left}", share.share * 100.0));
        }
        let least = if self.basis == Basis::AtLeast { "at least " } else { "" };
        let waiting = if self.waiting_seconds >= 1.0 {
            format!(", {} of it waiting for limits", length(Duration::from_secs_f64(self.waiting_seconds)))
        } else {
            String::new()
        };
        let ends = self.ends_at.map(|at| format!(", until {}", instant(at))).unwrap_or_default();
        let took = length(Duration::from_secs_f64(self.seconds));
        let latency = length(Duration::from_secs_f64(self.latency_seconds));
        lines.push(format!("finish:   {least}{took}{ends}{waiting}, at {latency} an answer"));
        if self.overruns_schedule {
            lines.push("warning:  it would not be over when the job is due again".to_owned());
        }
        lines
    }
}
