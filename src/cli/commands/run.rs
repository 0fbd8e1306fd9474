//! `highwater run [JOB...]`: now, once, with progress.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use crate::batch::Counts;
use crate::cli::Context;
use crate::cli::engine::{Engine, Finished, JobEnd, make_spool};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::faults::Faults;
use crate::cli::marks::short_mark;
use crate::cli::progress::{Progress, describe_slice};
use crate::cli::project::Project;
use crate::cli::terminal::{Side, Terminal};
use crate::cli::text::{counted, one_line, printable, size, thousands};
use crate::config::catalog::Job;
use crate::run::RunReport;
use crate::state::State;
use crate::state::sqlite::SqliteState;
use crate::stop::Stop;

/// What `run --json` prints: one of these a job, in a list.
#[derive(Serialize)]
pub(crate) struct RunJson {
    job: String,
    /// `done`, `failed`, `try_later` or `config`.
    status: &'static str,
    run: Option<String>,
    counts: Counts,
    requests: u64,
    /// Bytes of the answers, decompressed.
    bytes: u64,
    files: u64,
    bytes_written: u64,
    commits: u64,
    empty_slices: u64,
    /// The high-water mark afterwards.
    mark: Option<String>,
    /// Stop was asked for before everything was read.
    stopped: bool,
    recovered: Vec<String>,
    failed: Vec<FailedJson>,
}

#[derive(Serialize)]
pub(crate) struct FailedJson {
    /// The slice; null where the run as a whole failed.
    slice: Option<String>,
    /// As `crate::error::ErrorKind::name`, or the exit's name where the run as a whole failed.
    kind: &'static str,
    reason: String,
}

pub(super) async fn run(context: &Context, names: &[String]) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    let jobs = choose(&project, names)?;
    let mut exit = Exit::Done;
    if names.is_empty() && !project.parked.is_empty() {
        for (job, reason) in &project.parked {
            context.terminal.note(&printable(&format!("parked: {job}: {reason}")));
        }
        // Jobs that should run and cannot: whoever watches the exit code must hear of it.
        exit = Exit::Config;
    }
    if jobs.is_empty() {
        if exit == Exit::Done {
            context.terminal.note("no job is enabled: name one, or set `enabled = true` in its file");
        }
        return Ok(exit);
    }
    let state = Arc::new(project.take_state().await?);
    let ends = run_until_stopped(context, &project, state.clone(), jobs).await;
    close(state).await;
    let ends = ends?;
    if context.terminal.json {
        context.terminal.document(&ends.iter().map(report_json).collect::<Vec<_>>())?;
    } else {
        print_report(&context.terminal, &ends)?;
    }
    Ok(ends.iter().map(JobEnd::exit).max().unwrap_or(Exit::Done).max(exit))
}

/// The named jobs, once each, enabled or not; all enabled ones if none is named.
fn choose(project: &Project, names: &[String]) -> Result<Vec<Job>, Failure> {
    project.require_settings()?;
    if names.is_empty() {
        return Ok(project.catalog.jobs.values().filter(|job| job.enabled).cloned().collect());
    }
    let names: BTreeSet<&String> = names.iter().collect();
    names.into_iter().map(|name| project.job(name).cloned()).collect()
}

/// Runs jobs with progress. The first signal lets them finish their slices, the second aborts.
pub(crate) async fn run_until_stopped(
    context: &Context,
    project: &Project,
    state: Arc<dyn State>,
    jobs: Vec<Job>,
) -> Result<Vec<JobEnd>, Failure> {
    let settings = &project.catalog.settings;
    let progress = Progress::new(context.screen.clone(), Arc::clone(&context.clock), jobs.iter().map(|job| &job.name));
    let spool = make_spool(&settings.state_path)?;
    let faults = Faults::read(&context.environment)?;
    let mut engine = Engine::new(faults.in_state(state), project.secrets.clone(), Arc::clone(&context.clock), spool);
    engine.memory = settings.memory;
    engine.runs = settings.runs;
    engine.faults = faults.clone();
    if !context.terminal.json {
        engine = engine.listened_by(Arc::new(progress));
    }
    let stop = engine.stop.clone();
    let engine = Arc::new(engine);
    let mut signals = Signals::listen()?;
    let mut running = std::pin::pin!(engine.run_all(jobs));
    loop {
        tokio::select! {
            ends = &mut running => {
                faults.report(&context.terminal)?;
                return Ok(ends);
            }
            () = signals.next() => heed(context, &stop)?,
        }
    }
}

/// Leaves the state as one whole file where nobody uses it any more; after an abort somebody may.
pub(crate) async fn close(state: Arc<SqliteState>) {
    if let Ok(state) = Arc::try_unwrap(state) {
        state.close().await;
    }
}

fn heed(context: &Context, stop: &Stop) -> Result<(), Failure> {
    if stop.requested() {
        let failure = Failure::new(Exit::TryLater, "aborted: what was at work is settled by the next run");
        return Err(failure);
    }
    stop.request();
    context.screen.say("stopping: what was read is committed or left to the next run; once more aborts at once");
    Ok(())
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("listen for signals: {error}"));
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Result<Self, Failure> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What became of the runs: a table and what asks for attention; what failed goes to stderr.
pub(crate) fn print_report(terminal: &Terminal, ends: &[JobEnd]) -> Result<(), Failure> {
    let reports: Vec<&RunReport> =
        ends.iter().filter_map(|end| end.outcome.as_ref().ok()).map(|finished| &finished.report).collect();
    if !reports.is_empty() {
        terminal.line(&report_table(terminal, &reports))?;
    }
    for end in ends {
        match &end.outcome {
            Err(trouble) => terminal.note(&format!("error: {}: {}", end.job, printable(&trouble.reason))),
            Ok(finished) => print_remarks(terminal, &finished.report)?,
        }
    }
    Ok(())
}

/// A column's name and what stands in it.
type CountColumn = (&'static str, fn(&Counts) -> u64);

fn report_table(terminal: &Terminal, reports: &[&RunReport]) -> String {
    use Side::{Left, Right};
    let optional: [CountColumn; 5] = [
        ("filtered", |counts| counts.filtered),
        ("rejected", |counts| counts.rejected),
        ("out of window", |counts| counts.out_of_window),
        ("duplicate", |counts| counts.duplicate),
        ("unchanged", |counts| counts.unchanged),
    ];
    // A column of zeros pushes the others off a narrow terminal and says nothing.
    let shown: Vec<_> = optional.iter().filter(|(_, count)| reports.iter().any(|report| count(&report.counts) > 0)).collect();
    let mut columns = vec![("job", Left), ("fetched", Right), ("kept", Right)];
    columns.extend(shown.iter().map(|(name, _)| (*name, Right)));
    columns.extend([("files", Right), ("size", Right), ("commits", Right), ("mark", Left)]);
    let mut table = terminal.table(&columns);
    for report in reports {
        let mut row = vec![report.job.to_string(), thousands(report.counts.fetched), thousands(report.counts.kept)];
        row.extend(shown.iter().map(|(_, count)| thousands(count(&report.counts))));
        row.push(thousands(report.files));
        row.push(size(report.bytes_written));
        row.push(thousands(report.commits));
        row.push(report.mark.as_deref().map(short_mark).unwrap_or_default());
        table.row(&row);
    }
    table.keep_whole(0);
    table.text()
}

fn print_remarks(terminal: &Terminal, report: &RunReport) -> Result<(), Failure> {
    let job = &report.job;
    for what in &report.recovered {
        terminal.line(&format!("recovered: {job}: {}", one_line(what)))?;
    }
    for failure in &report.failed {
        let slice = describe_slice(&failure.slice);
        terminal.note(&format!("error: {job}: {slice}: {}", printable(&failure.reason)));
    }
    if report.counts.rejected > 0 {
        let rejected = counted(report.counts.rejected, "record");
        terminal.line(&format!("rejected: {job}: {rejected} did not fit and went to the dead letters"))?;
    }
    if report.stopped {
        terminal.line(&format!("stopped: {job}: the rest is left to the next run"))?;
    }
    Ok(())
}

pub(crate) fn report_json(end: &JobEnd) -> RunJson {
    let status = end.exit().name();
    match &end.outcome {
        Ok(Finished { report, requests }) => RunJson {
            job: end.job.to_string(),
            status,
            run: Some(report.run.to_string()),
            counts: report.counts,
            requests: *requests,
            bytes: report.bytes,
            files: report.files,
            bytes_written: report.bytes_written,
            commits: report.commits,
            empty_slices: report.empty_slices,
            mark: report.mark.clone(),
            stopped: report.stopped,
            recovered: report.recovered.clone(),
            failed: report
                .failed
                .iter()
                .map(|failure| FailedJson {
                    slice: Some(describe_slice(&failure.slice)),
                    kind: failure.kind.name(),
                    reason: failure.reason.clone(),
                })
                .collect(),
        },
        Err(trouble) => RunJson {
            job: end.job.to_string(),
            status,
            run: None,
            counts: Counts::default(),
            requests: 0,
            bytes: 0,
            files: 0,
            bytes_written: 0,
            commits: 0,
            empty_slices: 0,
            mark: None,
            stopped: false,
            recovered: Vec::new(),
            failed: vec![FailedJson { slice: None, kind: trouble.exit.name(), reason: trouble.reason.clone() }],
        },
    }
}
