//! `highwater gc [JOB] [--dry-run]`: takes away what nothing names.

use std::sync::Arc;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::engine::make_spool;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::terminal::Side;
use crate::cli::text::{size, thousands};
use crate::config::catalog::Job;
use crate::error::chain;
use crate::event::Events;
use crate::fault::Guards;
use crate::run::{self, Collected, Heap, Ports, RunError, RunOptions};
use crate::source::none::NoSource;
use crate::state::State;
use crate::stop::Stop;

/// What `gc --json` prints: one of these a job, in a list.
#[derive(Serialize)]
struct GcJson {
    job: String,
    dry_run: bool,
    #[serde(flatten)]
    collected: Collected,
}

pub(super) async fn gc(context: &Context, job: Option<&str>, dry_run: bool) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    let jobs = project.jobs(job)?;
    let state = project.take_state().await?;
    let mut found = Vec::new();
    let mut failed = None;
    for job in jobs {
        match with_ports(context, &project, job, Arc::clone(&state), async |job, ports| run::collect(job, ports, dry_run).await)
            .await
        {
            Ok(collected) => found.push(GcJson { job: job.name.to_string(), dry_run, collected }),
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    super::run::close(state).await;
    if let Some(failure) = failed {
        return Err(failure);
    }
    if context.terminal.json {
        context.terminal.document(&found)?;
    } else {
        print(context, &found)?;
    }
    Ok(Exit::Done)
}

/// Does something to a job's table under its lease that asks its source for nothing.
pub(super) async fn with_ports<T>(
    context: &Context,
    project: &Project,
    job: &Job,
    state: Arc<dyn State>,
    work: impl AsyncFnOnce(&Job, &Ports) -> Result<T, RunError>,
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
        guards: Guards::ALL,
        options: RunOptions::default(),
    };
    let worked = work(job, &ports).await;
    worked.map_err(|error| Failure::of(error.kind, format!("{}: {}", job.name, chain(&error))))
}

fn print(context: &Context, found: &[GcJson]) -> Result<(), Failure> {
    use Side::{Left, Right};
    let columns = [("job", Left), ("staged", Right), ("orphans", Right), ("history", Right), ("size", Right)];
    let mut table = context.terminal.table(&columns);
    let cell = |heap: &Heap| thousands(heap.objects);
    for GcJson { job, collected, .. } in found {
        let Collected { staged, orphans, history } = collected;
        table.row(&[job.clone(), cell(staged), cell(orphans), cell(history), size(collected.bytes())]);
    }
    table.keep_whole(0);
    context.terminal.line(&table.text())?;
    if found.iter().any(|one| one.dry_run && one.collected.objects() > 0) {
        context.terminal.note("nothing was removed: this was a dry run");
    }
    Ok(())
}
