//! One file a command.

mod against;
mod check;
mod compact;
mod completions;
mod doctor;
mod doubts;
mod forecast;
mod gc;
mod init;
mod logs;
mod plan;
mod preview;
mod promise;
mod query;
mod rebuild;
mod recount;
mod replay;
mod rollback;
mod run;
mod runs;
mod schema;
mod state;
mod status;
mod upkeep;
mod verify;

use std::future::Future;
use std::time::Duration;

use super::Context;
use super::args::{Command, StateAction};
use super::daemon;
use super::demo;
use super::exit::Exit;
use super::failure::Failure;

pub(crate) use query::tables_of;
pub(crate) use run::{close, run_until_stopped};
pub(crate) use status::look as look_at_jobs;

/// Does what was asked. Commands that need no runtime get none.
pub(super) fn perform(command: Command, context: &Context) -> Result<Exit, Failure> {
    match command {
        Command::Init { dir } => init::init(context, dir.as_deref()),
        Command::Check { job, connect: true, .. } => with_runtime(check::check_connected(context, job.as_deref())),
        Command::Check { job, against: Some(recording), .. } => {
            with_runtime(check::check_against(context, job.as_deref(), &recording))
        }
        Command::Check { job, .. } => check::check(context, job.as_deref()),
        Command::Doctor => with_runtime(doctor::doctor(context)),
        Command::Schema { kind, dir } => schema::schema(context, kind.as_deref(), dir.as_deref()),
        Command::Completions { shell } => completions::completions(context, shell),
        Command::Plan { job, probe } => with_runtime(plan::plan(context, job.as_deref(), probe)),
        Command::Preview { job, rows, replay } => with_runtime(preview::preview(context, &job, rows, replay.as_deref())),
        Command::Run { jobs, again, taken, force } => with_runtime(run::run(context, &jobs, again, taken, force)),
        Command::Serve => with_runtime(daemon::serve(context)),
        Command::Logs { job, limit, follow } => with_runtime(logs::logs(context, job.as_deref(), limit, follow)),
        Command::Status => with_runtime(status::status(context)),
        Command::Runs { job, limit } => with_runtime(runs::runs(context, job.as_deref(), limit)),
        Command::State { action: StateAction::Show { job } } => with_runtime(state::show(context, job.as_deref())),
        Command::State { action: StateAction::Set { job, mark, how } } => with_runtime(run::set_mark(context, &job, mark, how)),
        Command::State { action: StateAction::Rebuild { job } } => with_runtime(rebuild::rebuild(context, job.as_deref())),
        Command::State { action: StateAction::Rollback { job, to, why, yes } } => {
            with_runtime(rollback::rollback(context, &job, &to, why, yes))
        }
        Command::Query { sql } => with_runtime(query::query(context, &sql)),
        Command::Verify { job, source } => with_runtime(verify::verify(context, job.as_deref(), source)),
        Command::Gc { job, dry_run } => with_runtime(gc::gc(context, job.as_deref(), dry_run)),
        Command::Compact { job, dry_run } => with_runtime(compact::compact(context, job.as_deref(), dry_run)),
        Command::Demo { feed, dir } => with_runtime(demo::demo(context, feed.as_deref(), &dir)),
    }
}

/// A thread for blocking work that has none for so long goes. Each keeps its stack, and what its allocator has at hand, and jobs that come
/// every few seconds would keep as many as ever worked at the same time. They are gone when a daemon that rests gives memory back.
const IDLE_THREADS: Duration = Duration::from_millis(500);

fn with_runtime(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_keep_alive(IDLE_THREADS).build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("start the runtime: {error}")))?;
    let ended = runtime.block_on(work);
    // After an abort some thread may still be computing what nobody waits for: do not wait either.
    runtime.shutdown_background();
    ended
}
