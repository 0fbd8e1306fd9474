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
    let mut lines = Vec::with_capacity(rows.len());
    for run in rows {
        let took = run.finished_at.map(|end| length(end.duration_since(run.started_at).unsigned_abs())).unwrap_or_default();
        lines.push([
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
    let widths = columns.iter().enumerate().map(|(column, (name, _))| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0).max(name.chars().count())
    });
    let shown = fitting(widths.collect(), context.terminal.width.map(usize::from));
    let mut table = context.terminal.table(&shown.iter().map(|column| columns[*column]).collect::<Vec<_>>());
    for line in &lines {
        table.row(&shown.iter().map(|column| line[*column].as_str()).collect::<Vec<_>>());
    }
    for column in 0..shown.len() {
        table.keep_whole(column);
    }
    context.terminal.line(&table.text())?;
    for run in rows {
        if let Some(error) = &run.error {
            context.terminal.line(&format!("{} {}: {}", instant(run.started_at), run.job, one_line(error)))?;
        }
    }
    Ok(())
}

/// Which columns are shown where the terminal has no room for all: those that say least go first. `--json` has all of them.
fn fitting(widths: Vec<usize>, room: Option<usize>) -> Vec<usize> {
    const PADDING: usize = 2;
    const GO_FIRST: [usize; 4] = [7, 4, 3, 6];
    let mut shown: Vec<usize> = (0..widths.len()).collect();
    for column in GO_FIRST {
        let width: usize = shown.iter().map(|shown| widths[*shown] + PADDING).sum();
        if room.is_none_or(|room| width <= room) {
            break;
        }
        shown.retain(|shown| *shown != column);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_leaves_out_whole_columns() {
        let widths = vec![19, 11, 6, 6, 7, 6, 8, 8];
        assert_eq!(fitting(widths.clone(), None).len(), 8);
        assert_eq!(fitting(widths.clone(), Some(87)).len(), 8);
        assert_eq!(fitting(widths.clone(), Some(80)), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(fitting(widths, Some(40)), [0, 1, 2, 5]);
    }
}
