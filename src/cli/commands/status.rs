//! `highwater status`: jobs, marks, freshness, and the daemon where one is at work.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::daemon::client::Client;
use crate::cli::daemon::protocol::{DaemonJobView, DaemonView};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::marks::{holes, mark_of_sets};
use crate::cli::project::Project;
use crate::cli::quota_text::quota_lines;
use crate::cli::terminal::Side;
use crate::cli::text::{ago, instant, length, one_line, printable};
use crate::config::catalog::{Catalog, Job};
use crate::config::service::AlertKind;
use crate::ids::{JobName, PartitionKey};
use crate::quota::{self, AccountView};
use crate::run;
use crate::schedule::still_parked;
use crate::state::{Condition, DatasetState, DueTimes, RunRow, State};

/// What `status --json` and the daemon's `/api/status` tell.
#[derive(Serialize)]
pub(crate) struct StatusJson {
    /// Null where none is at work.
    daemon: Option<DaemonJson>,
    jobs: Vec<JobStatusJson>,
    /// What is left of what the APIs grant each credential: the daemon's own count, else what was noted of the last runs.
    quotas: Vec<AccountView>,
}

#[derive(Serialize)]
struct DaemonJson {
    pid: u32,
    version: String,
    since: Timestamp,
    /// No run starts any more.
    stopping: bool,
    /// Why the project's files as they are now are not the ones it works with; null if they are.
    problem: Option<String>,
    running: usize,
    waiting: usize,
}

#[derive(Serialize)]
struct JobStatusJson {
    job: String,
    enabled: bool,
    table: Option<String>,
    /// Why the job cannot run; null if it can.
    parked: Option<String>,
    /// When a parked job is tried again; null if that takes somebody who changes something.
    parked_until: Option<Timestamp>,
    /// By schedule; null without a daemon, and without a schedule.
    next_due: Option<Timestamp>,
    /// Null unless a run is under way in the daemon.
    running_since: Option<Timestamp>,
    /// A run waits in the daemon for a place or for its moment.
    waiting: bool,
    /// The newest run; null before the first.
    last_run: Option<RunRow>,
    /// The high-water mark: RFC 3339, or a whole number; null before the first commit and without a cursor.
    mark: Option<String>,
    /// How many parameter sets the job has; `mark` is the lowest of theirs.
    sets: usize,
    /// The marks of the sets; empty without `for_each`.
    marks: BTreeMap<PartitionKey, Option<String>>,
    /// Seconds between the mark and now, where the mark is a time.
    behind_seconds: Option<i64>,
    /// Stretches between covered ones that a later run will fill.
    holes: usize,
    /// The last record of the table's log.
    seq: u64,
    /// What had been committed and was gone from the lake, as the daemon noticed within the last week; the newest first.
    lost: Vec<String>,
}

pub(super) async fn status(context: &Context) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    project.require_settings()?;
    let state = project.look_at_state().await?;
    let daemon = ask(context, &project).await;
    let now = context.clock.now();
    let kept = match state.as_deref().filter(|_| daemon.is_none()) {
        Some(state) => state.entries().await.map_err(|error| Failure::of(error.kind, error.to_string()))?,
        None => Vec::new(),
    };
    let kept = quota::kept_views(&kept, &*context.clock);
    let found = look(&project.catalog, &project.parked, state.as_deref(), daemon, kept, now).await?;
    if context.terminal.json {
        context.terminal.document(&found)?;
    } else {
        print(context, &found, now)?;
    }
    Ok(Exit::Done)
}

/// A daemon that does not answer is told, and keeps nobody from what the state says.
async fn ask(context: &Context, project: &Project) -> Option<DaemonView> {
    let view = match Client::connect(&project.catalog.settings.state_path).await {
        Ok(None) => return None,
        Ok(Some(client)) => client.view(&*context.clock).await,
        Err(failure) => Err(failure),
    };
    match view {
        Ok(view) => Some(view),
        Err(failure) => {
            context.terminal.note(&printable(&format!("the daemon: {}", failure.message)));
            None
        }
    }
}

/// What is known of jobs, by their files, the state and the daemon.
pub(crate) async fn look(
    catalog: &Catalog,
    parked: &BTreeMap<JobName, String>,
    state: Option<&dyn State>,
    daemon: Option<DaemonView>,
    kept: Vec<AccountView>,
    now: Timestamp,
) -> Result<StatusJson, Failure> {
    let mut jobs = Vec::new();
    // A daemon that is at work knows better.
    let due = match state.filter(|_| daemon.is_none()) {
        Some(state) => state.due_times().await.map_err(|error| Failure::of(error.kind, error.to_string()))?,
        None => Vec::new(),
    };
    let due: BTreeMap<JobName, DueTimes> = due.into_iter().collect();
    for job in catalog.jobs.values() {
        let (run, known) = match state {
            Some(state) => look_up(state, job).await?,
            None => (None, None),
        };
        let mut told = describe(job, run, &known.unwrap_or_default(), now);
        if let Some(due) = due.get(&job.name) {
            told.wait(job, due, now);
        }
        jobs.push(told);
    }
    for (job, reason) in parked {
        let last_run = match state {
            Some(state) => last_run(state, job).await?,
            None => None,
        };
        jobs.push(JobStatusJson { parked: Some(reason.clone()), last_run, ..JobStatusJson::of(job.to_string()) });
    }
    let lost = match state {
        Some(state) => losses(state).await?,
        None => Vec::new(),
    };
    for job in &mut jobs {
        job.lost = lost.iter().filter(|loss| loss.key.job.as_str() == job.job).map(|loss| loss.reason.clone()).collect();
    }
    let quotas = daemon.as_ref().map_or(kept, |view| view.quotas.clone());
    let daemon = daemon.map(|view| {
        let mut views: BTreeMap<String, DaemonJobView> = view.jobs.into_iter().map(|view| (view.job.to_string(), view)).collect();
        for job in &mut jobs {
            if let Some(view) = views.remove(&job.job) {
                job.add(view);
            }
        }
        DaemonJson {
            pid: view.pid,
            version: view.version,
            since: view.since,
            stopping: view.stopping,
            problem: view.problem,
            running: view.running,
            waiting: view.waiting,
        }
    });
    Ok(StatusJson { daemon, jobs, quotas })
}

impl JobStatusJson {
    fn of(job: String) -> Self {
        JobStatusJson {
            job,
            enabled: false,
            table: None,
            parked: None,
            parked_until: None,
            next_due: None,
            running_since: None,
            waiting: false,
            last_run: None,
            mark: None,
            sets: 0,
            marks: BTreeMap::new(),
            behind_seconds: None,
            holes: 0,
            seq: 0,
            lost: Vec::new(),
        }
    }

    /// What the next daemon will find.
    fn wait(&mut self, job: &Job, due: &DueTimes, now: Timestamp) {
        if let Some(parked) = still_parked(job.schedule.as_ref(), due, now) {
            (self.parked, self.parked_until) = (Some(parked.reason), parked.until);
        }
    }

    fn add(&mut self, view: DaemonJobView) {
        self.next_due = view.next_due;
        self.running_since = view.running_since;
        self.waiting = view.waiting;
        // What the files say now comes first: it is what has to be changed.
        if self.parked.is_none() && view.parked.is_some() {
            self.parked = view.parked;
            self.parked_until = view.parked_until;
        }
    }
}

async fn losses(state: &dyn State) -> Result<Vec<Condition>, Failure> {
    let mut conditions = state.conditions().await.map_err(|error| Failure::of(error.kind, error.to_string()))?;
    conditions.retain(|condition| condition.key.kind == AlertKind::Lost.name());
    conditions.sort_by_key(|condition| std::cmp::Reverse(condition.since));
    Ok(conditions)
}

async fn look_up(state: &dyn State, job: &Job) -> Result<(Option<RunRow>, Option<DatasetState>), Failure> {
    let known = state.dataset(&job.dataset).await.map_err(|error| Failure::of(error.kind, error.to_string()))?;
    Ok((last_run(state, &job.name).await?, known))
}

async fn last_run(state: &dyn State, job: &JobName) -> Result<Option<RunRow>, Failure> {
    let runs = state.runs(Some(job), 1).await.map_err(|error| Failure::of(error.kind, error.to_string()))?;
    Ok(runs.into_iter().next())
}

fn describe(job: &Job, last_run: Option<RunRow>, known: &DatasetState, now: Timestamp) -> JobStatusJson {
    let mark = run::mark_text(job, &known.coverage);
    JobStatusJson {
        enabled: job.enabled,
        table: Some(job.table.clone()),
        last_run,
        behind_seconds: mark
            .as_ref()
            .and_then(|mark| mark.parse::<Timestamp>().ok())
            .map(|mark| now.duration_since(mark).as_secs()),
        mark,
        sets: job.sets.len(),
        marks: run::marks(job, &known.coverage),
        holes: holes(&known.coverage, job.sets.iter().map(|set| &set.partition), &job.window).len(),
        seq: known.seq,
        ..JobStatusJson::of(job.name.to_string())
    }
}

fn print(context: &Context, found: &StatusJson, now: Timestamp) -> Result<(), Failure> {
    if let Some(daemon) = &found.daemon {
        let stopping = if daemon.stopping { ", stopping" } else { "" };
        context.terminal.line(&format!(
            "daemon: at work since {} (pid {}), {} running, {} waiting{stopping}",
            instant(daemon.since),
            daemon.pid,
            daemon.running,
            daemon.waiting
        ))?;
        if let Some(problem) = &daemon.problem {
            context.terminal.line(&format!("daemon: {}", one_line(problem)))?;
        }
    }
    if found.jobs.is_empty() {
        return context.terminal.line("no jobs: the project has no file in jobs/");
    }
    print_jobs(context, found, now)?;
    for job in &found.jobs {
        let error = job.last_run.as_ref().and_then(|run| run.error.as_ref());
        let told = match (&job.parked, job.parked_until) {
            (Some(reason), Some(until)) => format!("parked until {}: {}", instant(until), one_line(reason)),
            (Some(reason), None) => one_line(reason),
            (None, _) => match error {
                Some(reason) => one_line(reason),
                None => continue,
            },
        };
        context.terminal.line(&format!("{}: {told}", job.job))?;
    }
    for job in &found.jobs {
        for lost in &job.lost {
            context.terminal.line(&format!("{}: {}", job.job, one_line(lost)))?;
        }
    }
    for account in &found.quotas {
        for line in quota_lines(account) {
            context.terminal.line(&printable(&line))?;
        }
    }
    Ok(())
}

fn print_jobs(context: &Context, found: &StatusJson, now: Timestamp) -> Result<(), Failure> {
    use Side::{Left, Right};
    let mut columns =
        vec![("job", Left), ("last run", Left), ("result", Left), ("mark", Left), ("behind", Right), ("holes", Right)];
    if found.daemon.is_some() {
        columns.push(("next", Left));
    }
    let mut table = context.terminal.table(&columns);
    for job in &found.jobs {
        let run = job.last_run.as_ref();
        let result = match (&job.parked, run) {
            (Some(_), _) => "parked",
            (None, Some(run)) => run.status.as_str(),
            (None, None) if job.enabled => "never ran",
            (None, None) => "not enabled",
        };
        let behind = job.behind_seconds.map(|seconds| length(std::time::Duration::from_secs(seconds.max(0).unsigned_abs())));
        let mut row = vec![
            job.job.clone(),
            run.map(|run| ago(run.started_at, now)).unwrap_or_default(),
            result.to_owned(),
            mark_of_sets(job.mark.as_deref(), job.marks.len()),
            behind.unwrap_or_default(),
            if job.holes > 0 { job.holes.to_string() } else { String::new() },
        ];
        if found.daemon.is_some() {
            row.push(next(job));
        }
        table.row(&row);
    }
    table.keep_whole(0);
    context.terminal.line(&table.text())
}

/// What the daemon does with the job next.
fn next(job: &JobStatusJson) -> String {
    match job {
        JobStatusJson { running_since: Some(_), .. } => "running".to_owned(),
        JobStatusJson { waiting: true, .. } => "waiting".to_owned(),
        JobStatusJson { parked: Some(_), parked_until, .. } => parked_until.map(instant).unwrap_or_default(),
        job => job.next_due.map(instant).unwrap_or_default(),
    }
}
