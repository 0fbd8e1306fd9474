//! `highwater plan [JOB]`: what a run would do. Fetches nothing, but for the first page of each slice with `--probe`.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::progress::describe_slice;
use crate::cli::project::Project;
use crate::cli::text::{counted, one_line, size, thousands};
use crate::config::catalog::{Job, Mode, PagingKind, Rate};
use crate::error::chain;
use crate::ids::Seq;
use crate::plan::{self, Outline};
use crate::sink::live::{LiveFile, LiveTable, live_table, load_index};
use crate::sink::record::Record;
use crate::sink::{SinkError, layout};
use crate::slice::{Coverage, Reach, Slice};
use crate::store::Store;

use super::forecast::{Forecast, forecast};

/// Slices listed in full.
const LISTED_MAX: usize = 20;

/// What `plan --json` prints: one of these a job, in a list.
#[derive(Serialize)]
struct PlanJson {
    job: String,
    enabled: bool,
    /// `append`, `merge` or `replace`.
    mode: &'static str,
    /// How many parameter sets the job goes over; 1 without `for_each`.
    sets: usize,
    /// The first slices; there are `slices_total`.
    slices: Vec<SliceJson>,
    slices_total: u64,
    /// At least so many; how many pages a slice has is known only by asking.
    requests_min: u64,
    /// How many requests that is exactly, where the stream is one page.
    requests: Option<u64>,
    /// What it costs and when it ends; null where nothing is to be read, and where a secret is missing.
    forecast: Option<Forecast>,
    /// The table's folder as a reader would type it.
    address: String,
    /// What the table holds now; null before its first commit, and where the sink does not answer.
    table: Option<TableJson>,
    /// Directory keys, outermost first.
    partitioned_by: Vec<String>,
    /// What of the table a run can write anew; null where it only adds.
    rewrites: Option<RewritesJson>,
}

/// Files that hold a row which comes again are written anew; which ones these are is known only by asking the source.
#[derive(Serialize)]
struct RewritesJson {
    files_max: u64,
    bytes_max: u64,
    /// Files that the last commit took the place of.
    last_files: u64,
}

#[derive(Clone, Copy, Serialize)]
struct TableJson {
    files: u64,
    rows: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct SliceJson {
    partition: String,
    /// RFC 3339; null where there is no lower end.
    from: Option<String>,
    /// RFC 3339; null where it is not time.
    to: Option<String>,
}

/// What the lake has of a job's table.
struct Lake {
    table: Result<Option<TableJson>, String>,
    rewrites: Option<RewritesJson>,
}

pub(super) async fn plan(context: &Context, job: Option<&str>, probe: bool) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    let jobs = project.jobs(job)?;
    let state = project.look_at_state().await?;
    let mut plans = Vec::new();
    for job in jobs.into_iter().filter(|one| job.is_some() || one.enabled) {
        let known = match &state {
            Some(state) => state.dataset(&job.dataset).await.map_err(|error| Failure::of(error.kind, error.to_string()))?,
            None => None,
        };
        let coverage = known.map(|known| known.coverage).unwrap_or_default();
        let outline = outline(context, job, &coverage);
        let forecast = forecast(context, &project, state.as_ref(), job, &outline, probe).await?;
        let store = project.store(job)?;
        let address = store.address(&job.table);
        // A plan can be made without the sink: then only what is there now stays unknown.
        let table = live_table(store.as_ref(), job).await.map_err(|error| error.to_string());
        let lake = Lake {
            table: table.map(|table| table.map(|table| measure(&table))),
            rewrites: rewrites(store.as_ref(), job).await.ok().flatten(),
        };
        if context.terminal.json {
            plans.push(as_json(job, &outline, address, lake, forecast));
        } else {
            print(context, job, &outline, &address, &lake, forecast.as_ref())?;
        }
    }
    if context.terminal.json {
        context.terminal.document(&plans)?;
    }
    for (name, reason) in project.parked.iter().filter(|_| job.is_none()) {
        context.terminal.note(&format!("parked: {name}: {reason}"));
    }
    Ok(Exit::Done)
}

fn outline(context: &Context, job: &Job, coverage: &Coverage) -> Outline {
    plan::outline(job, coverage, context.clock.now())
}

fn measure(table: &LiveTable) -> TableJson {
    let sum = |of: fn(&LiveFile) -> u64| table.files.iter().map(of).sum();
    TableJson { files: table.files.len() as u64, rows: sum(|file| file.rows), bytes: sum(|file| file.bytes) }
}

fn describe_table(table: &Result<Option<TableJson>, String>) -> String {
    match table {
        Ok(Some(table)) => {
            format!("{}, {}, {} now", counted(table.files, "file"), counted(table.rows, "row"), size(table.bytes))
        }
        Ok(None) => "nothing yet".to_owned(),
        Err(reason) => format!("unknown: {}", one_line(reason)),
    }
}

fn describe_requests(job: &Job, outline: &Outline) -> String {
    match exact_requests(job, outline) {
        Some(requests) => counted(requests, "request"),
        None => at_least(job, outline.total()),
    }
}

/// What is known of a run's requests before it, and why it is no more.
pub(super) fn at_least(job: &Job, requests: u64) -> String {
    let why = match &job.stream.parent {
        Some(parent) => format!("one a page of `{}` and one or more for each record of it", parent.stream.name),
        None => "one a page of each slice".to_owned(),
    };
    format!("at least {}, {why}", counted(requests, "request"))
}

fn exact_requests(job: &Job, outline: &Outline) -> Option<u64> {
    (job.stream.parent.is_none() && matches!(job.stream.paging.kind, PagingKind::None)).then(|| outline.total())
}

fn print(
    context: &Context,
    job: &Job,
    outline: &Outline,
    address: &str,
    lake: &Lake,
    forecast: Option<&Forecast>,
) -> Result<(), Failure> {
    let terminal = &context.terminal;
    let total = outline.total();
    let sets = if job.is_for_each() { format!(", {}", counted(job.sets.len() as u64, "set")) } else { String::new() };
    terminal.heading(&format!("{}: {}{sets}", job.name, counted(total, "slice")))?;
    for slice in outline.slices.iter().take(LISTED_MAX) {
        terminal.line(&format!("  {}", describe_slice(slice)))?;
    }
    let unlisted = total.saturating_sub(outline.slices.len().min(LISTED_MAX) as u64);
    if unlisted > 0 {
        terminal.line(&format!("  ... and {} more", thousands(unlisted)))?;
    }
    match forecast {
        Some(forecast) => {
            for line in forecast.lines(job) {
                terminal.line(&format!("  {line}"))?;
            }
        }
        None => terminal.line(&format!("  requests: {}", describe_requests(job, outline)))?,
    }
    terminal.line(&format!("  limits:   {}", describe_limits(job)))?;
    let keys: Vec<String> = job.partition_by.iter().map(|column| column.key()).collect();
    let per = if keys.is_empty() { "a slice".to_owned() } else { format!("a slice and value of {}", keys.join(", ")) };
    terminal.line(&format!("  files:    one or more {per}, none for an empty slice"))?;
    terminal.line(&format!("  mode:     {}", job.mode.name()))?;
    terminal.line(&format!("  table:    {}", describe_table(&lake.table)))?;
    if let Some(rewrites) = &lake.rewrites {
        terminal.line(&format!("  rewrites: {}", describe_rewrites(job, rewrites)))?;
    }
    terminal.line(&format!("  to:       {address}"))
}

/// What a run can write anew of the table, from the lake's own index.
async fn rewrites(store: &dyn Store, job: &Job) -> Result<Option<RewritesJson>, Failure> {
    if job.mode == Mode::Append {
        return Ok(None);
    }
    let failed = |error: SinkError| Failure::of(error.kind, format!("{}: {}", job.name, chain(&error)));
    let index = load_index(store, &job.dataset, None).await.map_err(failed)?;
    let last = match index.seq {
        0 => None,
        seq => last_record(store, job, seq).await.map_err(failed)?,
    };
    Ok(Some(RewritesJson {
        files_max: index.files.len() as u64,
        bytes_max: index.bytes,
        last_files: last.map_or(0, |record| record.remove.len() as u64),
    }))
}

async fn last_record(store: &dyn Store, job: &Job, seq: Seq) -> Result<Option<Record>, SinkError> {
    let found = store.get(&layout::record(&job.dataset, seq), layout::SMALL_OBJECT_MAX).await?;
    found.map(|bytes| Record::from_bytes(&bytes, &job.dataset, seq)).transpose()
}

fn describe_rewrites(job: &Job, rewrites: &RewritesJson) -> String {
    let all = format!("{} in {}", size(rewrites.bytes_max), counted(rewrites.files_max, "file"));
    match job.mode {
        Mode::Replace => format!("all of the table, {all}, unless the source gives the same rows"),
        _ => format!(
            "of {all} those files that hold a row which comes again; the last commit rewrote {}",
            counted(rewrites.last_files, "file")
        ),
    }
}

fn describe_limits(job: &Job) -> String {
    let limits = &job.source.limits;
    let written = |rates: &[Rate], noun: &str| -> Vec<String> {
        let one = |rate: &Rate| format!("{} in {}", counted(u64::from(rate.requests), noun), crate::cli::text::length(rate.per));
        rates.iter().map(one).collect()
    };
    let rates = [written(&limits.requests, "request"), written(&limits.points, "point")].concat();
    if rates.is_empty() { "none declared".to_owned() } else { rates.join(", ") }
}

fn as_json(job: &Job, outline: &Outline, address: String, lake: Lake, forecast: Option<Forecast>) -> PlanJson {
    let slice = |slice: &Slice| {
        let (from, to) = match &slice.reach {
            Reach::Snapshot => (None, None),
            Reach::Time(span) => (span.from.map(|from| from.to_string()), Some(span.to.to_string())),
            Reach::Mark(mark) => (mark.as_ref().map(|mark| mark.value.to_string()), None),
            Reach::Token(token) => (token.clone(), None),
        };
        SliceJson { partition: slice.partition.to_string(), from, to }
    };
    PlanJson {
        job: job.name.to_string(),
        enabled: job.enabled,
        mode: job.mode.name(),
        sets: job.sets.len(),
        slices: outline.slices.iter().map(slice).collect(),
        slices_total: outline.total(),
        requests_min: outline.total(),
        requests: exact_requests(job, outline),
        forecast,
        address,
        table: lake.table.unwrap_or_default(),
        partitioned_by: job.partition_by.iter().map(|column| column.key()).collect(),
        rewrites: lake.rewrites,
    }
}
