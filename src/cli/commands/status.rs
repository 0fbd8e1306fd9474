//! `highwater status`: jobs, marks, freshness.

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::marks::{holes, short_mark};
use crate::cli::project::Project;
use crate::cli::terminal::Side;
use crate::cli::text::{ago, length, one_line};
use crate::config::catalog::Job;
use crate::ids::JobName;
use crate::run;
use crate::state::{DatasetState, RunRow, State};

/// What `status --json` prints: one of these a job, in a list.
#[derive(Serialize)]
struct StatusJson {
    job: String,
    enabled: bool,
    table: Option<String>,
    /// Why the job cannot run; null if it can.
    parked: Option<String>,
    /// The newest run; null before the first.
    last_run: Option<RunRow>,
    /// The high-water mark: RFC 3339, or a whole number; null before the first commit and without a cursor.
    mark: Option<String>,
    /// Seconds between the mark and now, where the mark is a time.
    behind_seconds: Option<i64>,
    /// Stretches between covered ones that a later run will fill.
    holes: usize,
    /// The last record of the table's log.
    seq: u64,
}

pub(super) async fn status(context: &Context) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    project.require_settings()?;
    let state = project.look_at_state().await?;
    let now = context.clock.now();
    let mut found = Vec::new();
    for job in project.catalog.jobs.values() {
        let (run, known) = match &state {
            Some(state) => look_up(&**state, job).await?,
            None => (None, None),
        };
        found.push(describe(job, run, &known.unwrap_or_default(), now));
    }
    for (job, reason) in &project.parked {
        let last_run = match &state {
            Some(state) => last_run(&**state, job).await?,
            None => None,
        };
        found.push(StatusJson {
            job: job.to_string(),
            enabled: false,
            table: None,
            parked: Some(reason.clone()),
            last_run,
            mark: None,
            behind_seconds: None,
            holes: 0,
            seq: 0,
        });
    }
    if context.terminal.json {
        context.terminal.document(&found)?;
    } else {
        print(context, &found, now)?;
    }
    Ok(Exit::Done)
}

async fn look_up(state: &dyn State, job: &Job) -> Result<(Option<RunRow>, Option<DatasetState>), Failure> {
    let known = state.dataset(&job.dataset).await.map_err(|error| Failure::of(error.kind, error.to_string()))?;
    Ok((last_run(state, &job.name).await?, known))
}

async fn last_run(state: &dyn State, job: &JobName) -> Result<Option<RunRow>, Failure> {
    let runs = state.runs(Some(job), 1).await.map_err(|error| Failure::of(error.kind, error.to_string()))?;
    Ok(runs.into_iter().next())
}

fn describe(job: &Job, last_run: Option<RunRow>, known: &DatasetState, now: Timestamp) -> StatusJson {
    let mark = run::mark_text(job, &known.coverage);
    StatusJson {
        job: job.name.to_string(),
        enabled: job.enabled,
        table: Some(job.table.clone()),
        parked: None,
        last_run,
        behind_seconds: mark
            .as_ref()
            .and_then(|mark| mark.parse::<Timestamp>().ok())
            .map(|mark| now.duration_since(mark).as_secs()),
        mark,
        holes: holes(&known.coverage, &job.window).len(),
        seq: known.seq,
    }
}

fn print(context: &Context, found: &[StatusJson], now: Timestamp) -> Result<(), Failure> {
    if found.is_empty() {
        return context.terminal.line("no jobs: the project has no file in jobs/");
    }
    use Side::{Left, Right};
    let columns = [("job", Left), ("last run", Left), ("result", Left), ("mark", Left), ("behind", Right), ("holes", Right)];
    let mut table = context.terminal.table(&columns);
    for job in found {
        let run = job.last_run.as_ref();
        let result = match (&job.parked, run) {
            (Some(_), _) => "parked",
            (None, Some(run)) => run.status.as_str(),
            (None, None) if job.enabled => "never ran",
            (None, None) => "not enabled",
        };
        let behind = job.behind_seconds.map(|seconds| length(std::time::Duration::from_secs(seconds.max(0).unsigned_abs())));
        table.row(&[
            job.job.clone(),
            run.map(|run| ago(run.started_at, now)).unwrap_or_default(),
            result.to_owned(),
            job.mark.as_deref().map(short_mark).unwrap_or_default(),
            behind.unwrap_or_default(),
            if job.holes > 0 { job.holes.to_string() } else { String::new() },
        ]);
    }
    table.keep_whole(0);
    context.terminal.line(&table.text())?;
    for job in found {
        let error = job.last_run.as_ref().and_then(|run| run.error.as_ref());
        if let Some(reason) = job.parked.as_ref().or(error) {
            context.terminal.line(&format!("{}: {}", job.job, one_line(reason)))?;
        }
    }
    Ok(())
}
