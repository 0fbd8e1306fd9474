//! `--record DIR`, `--replay DIR`: a job's exchanges with its API, kept, and taken from what was kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::Context;
use crate::cli::engine::{Engine, JobEnd};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::report::{print_report, report_json};
use crate::cli::text::{counted, printable, size};
use crate::clock::{Clock, ReplayedClock, SystemClock};
use crate::config::catalog::{Auth, Job, Limits, SinkPlace};
use crate::error::chain;
use crate::run::{self, Purpose, RunOptions};
use crate::source::http::recording::{Ended, Recording, Tape, Wire};
use crate::state::State;
use crate::state::sqlite::SqliteState;
use crate::store::sound::Soundness;

use super::run::{close, run_until_stopped};

/// Runs one job as ever, and keeps what is asked and answered.
pub(super) async fn record(
    context: &Context,
    project: &Project,
    job: Job,
    options: RunOptions,
    folder: &Path,
) -> Result<Exit, Failure> {
    // A daemon that held the state would make the run, and keep nothing.
    let state = project.take_state().await?;
    let as_of = context.clock.now();
    let tape = Tape::begin(folder, &job, as_of).map_err(|why| Failure::new(Exit::Usage, why))?;
    let tape = Arc::new(tape);
    let options = RunOptions { as_of: Some(as_of), ..options };
    let ends = run_until_stopped(context, project, state.clone(), vec![job], &options, Wire::Record(Arc::clone(&tape))).await;
    close(state).await;
    let ends = ends?;
    let report = ends.first().and_then(|end| end.outcome.as_ref().ok());
    let exit = tell(context, &ends)?;
    // A run that did not get as far as a report leaves a recording without an end.
    let Some(finished) = report else { return Ok(exit) };
    let summary = tape.finish(finished.report.began_with.to_covers());
    let about = format!("{}, {} in {}", counted(summary.exchanges, "exchange"), size(summary.bytes), folder.display());
    context.terminal.note(&printable(&format!("recorded: {about}")));
    if summary.redacted > 0 {
        let answers = counted(summary.redacted, "answer");
        let message = format!("note: a secret was hidden in {answers}; a replay has `***` there");
        context.terminal.note(&message);
    }
    match summary.ended {
        Ended::Full => {
            context.terminal.note("warning: there was more than a recording takes: a replay ends where it does");
            Ok(exit)
        }
        Ended::Broken => {
            let why = summary.trouble.unwrap_or_default();
            Err(Failure::new(exit.max(Exit::Failed), format!("the run is over, but its recording is not whole: {why}")))
        }
        Ended::Whole | Ended::Not => Ok(exit),
    }
}

/// Runs one job from a recording into a folder of its own. Nothing is sent, no secret is looked up, and what is known of the job's own
/// table stays as it is.
pub(super) async fn replay(
    context: &Context,
    project: &Project,
    job: &Job,
    folder: &Path,
    into: Option<&Path>,
) -> Result<Exit, Failure> {
    let recording = Arc::new(open(folder, job)?);
    let into = make_folder(context, into)?;
    let job = offline(job, &into.join("lake"));
    let end = run_into(project, &job, &recording, &into, Purpose::Load).await?;
    let ends = [end];
    let exit = tell(context, &ends)?;
    let table = into.join("lake").join(&job.table);
    context.terminal.note(&printable(&format!("replayed into {}: the table is {}", into.display(), table.display())));
    let unserved = recording.unserved();
    if !unserved.is_empty() && exit == Exit::Done {
        let numbers: Vec<String> = unserved.iter().take(10).map(ToString::to_string).collect();
        let more = if unserved.len() > 10 { ", .." } else { "" };
        let message = format!("note: nobody asked for exchange {}{more} of the recording", numbers.join(", "));
        context.terminal.note(&message);
    }
    Ok(exit)
}

/// The job's run from a recording; state, lake and spool stand in `scratch`.
pub(super) async fn run_into(
    project: &Project,
    job: &Job,
    recording: &Arc<Recording>,
    scratch: &Path,
    purpose: Purpose,
) -> Result<JobEnd, Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("make a folder in `{}`: {error}", scratch.display()));
    let folder = scratch.join("state");
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let state = SqliteState::open(&folder.join("highwater.db")).await;
    let state = Arc::new(state.map_err(|error| Failure::of(error.kind, error.to_string()))?);
    let as_of = recording.manifest.as_of;
    let begun = run::begin_with(job, &*state, &recording.manifest.covers, "replay", as_of).await;
    begun.map_err(|error| Failure::of(error.kind, chain(&error)))?;
    let shared: Arc<dyn State> = state.clone();
    let clock: Arc<dyn Clock> = Arc::new(ReplayedClock::at(as_of));
    let mut engine = Engine::new(shared, project.secrets.clone(), clock, folder);
    engine.wire = Wire::Replay(Arc::clone(recording));
    // The folder is of today, whenever the recorded run was.
    engine.soundness = Soundness::new(Arc::new(SystemClock::new()));
    // What was a replacement of a large table then is the first of its rows here.
    let options = RunOptions { as_of: Some(as_of), force: true, ..RunOptions::default() };
    let outcome = engine.run_one(job, purpose, &options, project.catalog.settings.memory).await;
    engine.tokens.close().await;
    engine.budgets.close().await;
    drop(engine);
    close(state).await;
    Ok(JobEnd { job: job.name.clone(), outcome })
}

/// A recording of this job, with an end.
pub(super) fn open(folder: &Path, job: &Job) -> Result<Recording, Failure> {
    let recording = Recording::open(folder).and_then(|recording| recording.require_end().map(|()| recording));
    let recording = recording.map_err(|why| Failure::new(Exit::Usage, why))?;
    let of = &recording.manifest;
    if of.source != job.source.name || of.stream != job.stream.name {
        let message = format!(
            "`{}` is a recording of stream `{}` of source `{}`, and job `{}` reads `{}` of `{}`",
            folder.display(),
            of.stream,
            of.source,
            job.name,
            job.stream.name,
            job.source.name
        );
        return Err(Failure::new(Exit::Usage, message).help(format!("it was made by job `{}`", of.job)));
    }
    Ok(recording)
}

/// The job without all that is of no use where nothing is sent, into a lake of its own.
pub(super) fn offline(job: &Job, lake: &Path) -> Job {
    let mut job = job.clone();
    job.source.auth = Auth::None;
    (job.source.identity, job.source.proxy, job.source.ca_file) = (None, None, None);
    // Nobody's quota is spent.
    job.source.limits = Limits::default();
    job.sink.place = SinkPlace::Local(lake.to_owned());
    job.sink.storage.clear();
    job
}

fn make_folder(context: &Context, into: Option<&Path>) -> Result<PathBuf, Failure> {
    let folder = match into {
        Some(folder) => folder.to_owned(),
        None => std::env::temp_dir().join(format!("highwater-replay-{}", context.clock.run_id())),
    };
    let failed =
        |error: std::io::Error| Failure::new(Exit::Failed, format!("the folder `{}` cannot be made: {error}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    if std::fs::read_dir(&folder).map_err(failed)?.next().is_some() {
        let message = format!("`{}` is not empty: a replay begins in a folder of its own", folder.display());
        return Err(Failure::new(Exit::Usage, message).help("name a new one with --into"));
    }
    Ok(folder)
}

fn tell(context: &Context, ends: &[JobEnd]) -> Result<Exit, Failure> {
    let runs: Vec<_> = ends.iter().map(report_json).collect();
    match context.terminal.json {
        true => context.terminal.document(&runs)?,
        false => print_report(&context.terminal, &runs)?,
    }
    Ok(runs.iter().map(|run| run.status).max().unwrap_or(Exit::Done))
}
