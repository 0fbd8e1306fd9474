//! `highwater plan [JOB]`: what a run would do. Fetches nothing.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::progress::describe_slice;
use crate::cli::project::Project;
use crate::cli::text::{counted, one_line, size, thousands};
use crate::config::catalog::{Job, PagingKind};
use crate::plan::{self, Outline};
use crate::sink::live::{LiveFile, LiveTable, live_table};
use crate::slice::{Coverage, Reach, Slice};

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
    /// The table's folder as a reader would type it.
    address: String,
    /// What the table holds now; null before its first commit, and where the sink does not answer.
    table: Option<TableJson>,
    /// Directory keys, outermost first.
    partitioned_by: Vec<String>,
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

pub(super) async fn plan(context: &Context, job: Option<&str>) -> Result<Exit, Failure> {
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
        let store = project.store(job)?;
        let address = store.address(&job.table);
        // A plan can be made without the sink: then only what is there now stays unknown.
        let table = live_table(store.as_ref(), &job.dataset).await.map_err(|error| error.to_string());
        let table = table.map(|table| table.map(|table| measure(&table)));
        if context.terminal.json {
            plans.push(as_json(job, &outline, address, table.unwrap_or_default()));
        } else {
            print(context, job, &outline, &address, &table)?;
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

fn exact_requests(job: &Job, outline: &Outline) -> Option<u64> {
    matches!(job.stream.paging.kind, PagingKind::None).then(|| outline.total())
}

fn print(
    context: &Context,
    job: &Job,
    outline: &Outline,
    address: &str,
    table: &Result<Option<TableJson>, String>,
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
    let requests = match exact_requests(job, outline) {
        Some(requests) => counted(requests, "request"),
        None => format!("at least {}, one a page of each slice", counted(total, "request")),
    };
    terminal.line(&format!("  requests: {requests}"))?;
    terminal.line(&format!("  limits:   {}", describe_limits(job)))?;
    let keys: Vec<String> = job.partition_by.iter().map(|column| column.key()).collect();
    let per = if keys.is_empty() { "a slice".to_owned() } else { format!("a slice and value of {}", keys.join(", ")) };
    terminal.line(&format!("  files:    one or more {per}, none for an empty slice"))?;
    terminal.line(&format!("  mode:     {}", job.mode.name()))?;
    terminal.line(&format!("  table:    {}", describe_table(table)))?;
    terminal.line(&format!("  to:       {address}"))
}

fn describe_limits(job: &Job) -> String {
    let rates = job.source.limits.requests.iter().map(|rate| {
        let per = crate::cli::text::length(rate.per);
        format!("{} in {per}", counted(u64::from(rate.requests), "request"))
    });
    let rates: Vec<String> = rates.collect();
    if rates.is_empty() { "none declared".to_owned() } else { rates.join(", ") }
}

fn as_json(job: &Job, outline: &Outline, address: String, table: Option<TableJson>) -> PlanJson {
    let slice = |slice: &Slice| {
        let (from, to) = match &slice.reach {
            Reach::Snapshot => (None, None),
            Reach::Time(span) => (span.from.map(|from| from.to_string()), Some(span.to.to_string())),
            Reach::Integer(mark) => (mark.as_ref().map(|mark| mark.value.to_string()), None),
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
        address,
        table,
        partitioned_by: job.partition_by.iter().map(|column| column.key()).collect(),
    }
}
