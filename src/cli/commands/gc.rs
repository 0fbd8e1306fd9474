//! `highwater gc [JOB] [--dry-run]`: takes away what nothing names.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::terminal::Side;
use crate::cli::text::{size, thousands};
use crate::run::{self, Collected, Heap};

use super::upkeep;

/// What `gc --json` prints: one of these a job, in a list.
#[derive(Serialize)]
struct GcJson {
    job: String,
    dry_run: bool,
    #[serde(flatten)]
    collected: Collected,
}

pub(super) async fn gc(context: &Context, job: Option<&str>, dry_run: bool) -> Result<Exit, Failure> {
    let done = upkeep::each(context, job, async |job, ports| run::collect(job, ports, dry_run).await).await?;
    let found: Vec<GcJson> = done.found.into_iter().map(|(job, collected)| GcJson { job, dry_run, collected }).collect();
    if context.terminal.json {
        context.terminal.document(&found)?;
    } else {
        print(context, &found)?;
    }
    done.failed.map_or(Ok(Exit::Done), Err)
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
