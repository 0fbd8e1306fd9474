//! `highwater run [JOB...]`: now, once, with progress.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::cli::Context;
use crate::cli::args::{Again, How, Taken};
use crate::cli::daemon::client::Client;
use crate::cli::daemon::protocol::RunRequest;
use crate::cli::engine::{Engine, JobEnd, make_spool};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::faults::Faults;
use crate::cli::history::History;
use crate::cli::progress::Progress;
use crate::cli::project::Project;
use crate::cli::report::{RunJson, print_remarks, print_report, report_json};
use crate::cli::rewind::Asked;
use crate::cli::signals::Signals;
use crate::cli::text::printable;
use crate::config::catalog::Job;
use crate::event::Listener;
use crate::heap;
use crate::run::{Bound, RewindKind, RunOptions};
use crate::source::http::recording::Wire;
use crate::state::State;
use crate::stop::Stop;

use super::replay;

pub(super) async fn run(context: &Context, names: &[String], again: Again, taken: Taken, force: bool) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    let jobs = choose(&project, names)?;
    if let Some(recording) = &taken.replay {
        return replay::replay(context, &project, one_of(&jobs)?, recording, taken.into.as_deref()).await;
    }
    if taken.record.is_some() {
        one_of(&jobs)?;
    }
    let options = match asked(again)? {
        None => RunOptions { force, ..RunOptions::default() },
        Some(asked) => {
            let [job] = jobs.as_slice() else {
                return Err(Failure::new(Exit::Usage, "name one job: what is read again is shown and asked for job by job"));
            };
            if names.is_empty() {
                return Err(Failure::new(Exit::Usage, format!("name the job: `highwater run {} ..`", job.name)));
            }
            match asked.confirm(context, &project, job, force).await? {
                Some(options) => options,
                None => return Ok(Exit::Done),
            }
        }
    };
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
    if let (Some(folder), [job]) = (&taken.record, jobs.as_slice()) {
        return replay::record(context, &project, job.clone(), options, folder).await;
    }
    let runs = run_here_or_there(context, &project, jobs, options).await?;
    if context.terminal.json {
        context.terminal.document(&runs)?;
    } else {
        print_report(&context.terminal, &runs)?;
    }
    Ok(runs.iter().map(|run| run.status).max().unwrap_or(Exit::Done).max(exit))
}

/// The one job whose exchanges are kept, or taken from what was kept.
fn one_of(jobs: &[Job]) -> Result<&Job, Failure> {
    match jobs {
        [job] => Ok(job),
        _ => Err(Failure::new(Exit::Usage, "name one job: a recording is of one job's run")),
    }
}

/// What is to be read again; `None` for a run like any other.
fn asked(again: Again) -> Result<Option<Asked>, Failure> {
    let Again { full, from, to, how } = again;
    let what = match (full, from, to) {
        (true, _, _) => RewindKind::Full,
        (false, None, None) if how.set.is_some() || how.why.is_some() || how.yes => {
            let message = "--set, --why and --yes belong to --full, --from and --to";
            return Err(Failure::new(Exit::Usage, message).help("say what is to be read again"));
        }
        (false, None, None) => return Ok(None),
        (false, from, to) => RewindKind::Range { from, to },
    };
    Ok(Some(Asked { what, set: how.set, why: how.why, yes: how.yes }))
}

/// `highwater state set JOB --mark BOUND`: a run that reads nothing.
pub(super) async fn set_mark(context: &Context, job: &str, mark: Bound, how: How) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    let job = project.job(job)?.clone();
    let asked = Asked { what: RewindKind::Mark(mark), set: how.set, why: how.why, yes: how.yes };
    change(context, &project, job, asked).await
}

/// Does what was asked of what is known of a job, once it is confirmed.
pub(super) async fn change(context: &Context, project: &Project, job: Job, asked: Asked) -> Result<Exit, Failure> {
    let Some(options) = asked.confirm(context, project, &job, false).await? else { return Ok(Exit::Done) };
    let runs = run_here_or_there(context, project, vec![job], options).await?;
    if context.terminal.json {
        context.terminal.document(&runs)?;
    } else {
        print_remarks(&context.terminal, &runs)?;
    }
    Ok(runs.iter().map(|run| run.status).max().unwrap_or(Exit::Done))
}

/// Runs jobs in this process, or, where a daemon holds the state, in that one.
async fn run_here_or_there(
    context: &Context,
    project: &Project,
    jobs: Vec<Job>,
    options: RunOptions,
) -> Result<Vec<RunJson>, Failure> {
    let state = match project.take_state().await {
        Ok(state) => state,
        Err(failure) if failure.exit == Exit::TryLater => {
            // Somebody holds it: a daemon, which takes requests, or another `run`, which does not.
            let Some(client) = Client::connect(&project.catalog.settings.state_path).await? else { return Err(failure) };
            let names = jobs.into_iter().map(|job| job.name).collect();
            let request = RunRequest { jobs: names, files: project.digest.clone(), options };
            return client.run(context, request).await;
        }
        Err(failure) => return Err(failure),
    };
    let ends = run_until_stopped(context, project, state.clone(), jobs, &options, Wire::Network).await;
    // The system takes milliseconds to take back what the runs took, whether it is asked to now or when the process is gone; now the
    // disk is waited for.
    let giving = tokio::task::spawn_blocking(heap::give_back);
    close(state).await;
    drop(giving.await);
    Ok(ends?.iter().map(report_json).collect())
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
    options: &RunOptions,
    wire: Wire,
) -> Result<Vec<JobEnd>, Failure> {
    let settings = &project.catalog.settings;
    let spool = make_spool(&settings.state_path)?;
    let faults = Faults::read(&context.environment)?;
    // Past the faults: what is noted for `logs` is no effect of a run.
    let (history, writer) = History::new(Arc::clone(&state), Arc::clone(&context.clock));
    if options.force {
        for job in &jobs {
            history.note(Some(&job.name), "forced", "run with --force".to_owned());
        }
    }
    let mut listeners: Vec<Arc<dyn Listener>> = vec![history];
    if !context.terminal.json {
        let names = jobs.iter().map(|job| &job.name);
        listeners.push(Arc::new(Progress::new(context.screen.clone(), Arc::clone(&context.clock), names)));
    }
    let engine = Engine::new(faults.in_state(state), project.secrets.clone(), Arc::clone(&context.clock), spool);
    let engine = if options.force { engine.impatient() } else { engine };
    let mut engine = engine.listened_by(listeners);
    engine.memory = settings.memory;
    engine.runs = settings.runs;
    engine.faults = faults.clone();
    engine.wire = wire;
    let (stop, budgets, tokens) = (engine.stop.clone(), Arc::clone(&engine.budgets), Arc::clone(&engine.tokens));
    let engine = Arc::new(engine);
    let written = Stop::new();
    let mut writing = JoinSet::new();
    writing.spawn(writer.write(written.clone()));
    let mut signals = Signals::listen()?;
    let mut running = std::pin::pin!(engine.run_all(jobs, options));
    let mut sharing = std::pin::pin!(budgets.keep_sharing());
    loop {
        tokio::select! {
            ends = &mut running => {
                budgets.close().await;
                tokens.close().await;
                written.request();
                writing.join_all().await;
                faults.report(&context.terminal)?;
                return Ok(ends);
            }
            _ = signals.next() => heed(context, &stop)?,
            () = &mut sharing => {}
        }
    }
}

/// Leaves the state as one whole file where nobody uses it any more; after an abort somebody may.
pub(crate) async fn close(mut state: Arc<dyn State>) {
    if let Some(state) = Arc::get_mut(&mut state) {
        state.end().await;
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
