//! What is done to the tables of jobs, one after the other, and asks no source for anything.

use std::sync::Arc;

use crate::cli::Context;
use crate::cli::engine::make_spool;
use crate::cli::failure::Failure;
use crate::cli::faults::Faults;
use crate::cli::project::Project;
use crate::config::catalog::Job;
use crate::error::chain;
use crate::event::Events;
use crate::run::{Ports, RunError, RunOptions};
use crate::source::none::NoSource;
use crate::state::State;
use crate::stop::Stop;

/// What came of it.
pub(super) struct Done<T> {
    /// By job.
    pub(super) found: Vec<(String, T)>,
    /// Why the first could not be done where some could not; of the others it was told.
    pub(super) failed: Option<Failure>,
}

/// Does something to the table of a job, or of each. Where one cannot be done, because another process has it or its lake is away,
/// the others are all the same.
pub(super) async fn each<T>(
    context: &Context,
    job: Option<&str>,
    work: impl AsyncFn(&Job, &Ports) -> Result<T, RunError>,
) -> Result<Done<T>, Failure> {
    let project = Project::open(context)?;
    let jobs = project.jobs(job)?;
    let state = project.take_state().await?;
    let mut done = Done { found: Vec::new(), failed: None };
    for job in jobs {
        match with_ports(context, &project, job, Arc::clone(&state), &work).await {
            Ok(found) => done.found.push((job.name.to_string(), found)),
            Err(failure) if done.failed.is_none() => done.failed = Some(failure),
            Err(failure) => context.terminal.note(&failure.message),
        }
    }
    super::run::close(state).await;
    Ok(done)
}

async fn with_ports<T>(
    context: &Context,
    project: &Project,
    job: &Job,
    state: Arc<dyn State>,
    work: &impl AsyncFn(&Job, &Ports) -> Result<T, RunError>,
) -> Result<T, Failure> {
    let ports = Ports {
        state,
        store: project.store(job)?,
        source: Arc::new(NoSource),
        clock: Arc::clone(&context.clock),
        events: Events::default(),
        stop: Stop::new(),
        owner: format!("{}:{}", std::process::id(), context.clock.run_id()),
        spool: make_spool(&project.catalog.settings.state_path)?,
        roster: None,
        memory: project.catalog.settings.memory,
        guards: Faults::read(&context.environment)?.guards,
        options: RunOptions::default(),
    };
    let worked = work(job, &ports).await;
    worked.map_err(|error| Failure::of(error.kind, format!("{}: {}", job.name, chain(&error))))
}
