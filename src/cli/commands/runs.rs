//! `highwater runs [JOB]`: history, newest first.

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::terminal::Side;
use crate::cli::text::{instant, length, one_line, thousands};
use crate::ids::JobName;
use crate::state::RunRow;

/// With `--json`: a list of `RunRow` (`crate::state`), newest first.
pub(super) async fn runs(context: &Context, job: Option<&str>, limit: u32) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    project.require_settings()?;
    let name = job.map(JobName::new);
    let rows = match project.look_at_state().await? {
        Some(state) => state.runs(name.as_ref(), limit).await.map_err(|error| Failure::of(error.kind, error.to_string()))?,
        None => Vec::new(),
    };
    // A job whose file is gone still has a history; one that never was is a slip of the pen.
    if let (Some(job), true) = (job, rows.is_empty())
        && !project.parked.contains_key(&JobName::new(job))
    {
        project.job(job)?;
    }
    if context.terminal.json {
        context.terminal.document(&rows)?;
    } else {
        print(context, &rows)?;
    }
    Ok(Exit::Done)
}

fn print(context: &Context, rows: &[RunRow]) -> Result<(), Failure> {
    if rows.is_empty() {
        return context.terminal.line("no runs yet");
    }
    use Side::{Left, Right};
    let columns = [
        ("started", Left),
        ("job", Left),
        ("status", Left),
        ("took", Right),
        ("fetched", Right),
        ("kept", Right),
        ("rejected", Right),
        ("requests", Right),
    ];
    let mut table = context.terminal.table(&columns);
    for run in rows {
        let took = run.finished_at.map(|end| length(end.duration_since(run.started_at).unsigned_abs())).unwrap_or_default();
        table.row(&[
            instant(run.started_at),
            run.job.to_string(),
            run.status.clone(),
            took,
            thousands(run.counts.fetched),
            thousands(run.counts.kept),
            thousands(run.counts.rejected),
            thousands(run.requests),
        ]);
    }
    table.keep_whole(0);
    table.keep_whole(1);
    context.terminal.line(&table.text())?;
    for run in rows {
        if let Some(error) = &run.error {
            context.terminal.line(&format!("{} {}: {}", instant(run.started_at), run.job, one_line(error)))?;
        }
    }
    Ok(())
}
