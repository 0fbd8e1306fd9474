//! `highwater compact [JOB] [--dry-run]`: small files become larger ones.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::terminal::Side;
use crate::cli::text::{size, thousands};
use crate::run::{self, Compacted, Effort};

use super::upkeep;

/// What `compact --json` prints: one of these a job, in a list.
#[derive(Serialize)]
struct CompactJson {
    job: String,
    dry_run: bool,
    #[serde(flatten)]
    compacted: Compacted,
}

pub(super) async fn compact(context: &Context, job: Option<&str>, dry_run: bool) -> Result<Exit, Failure> {
    let done = upkeep::each(context, job, async |job, ports| run::compact(job, ports, Effort::all(dry_run)).await).await?;
    let found: Vec<CompactJson> =
        done.found.into_iter().map(|(job, compacted)| CompactJson { job, dry_run, compacted }).collect();
    if context.terminal.json {
        context.terminal.document(&found)?;
    } else {
        print(context, &found)?;
    }
    done.failed.map_or(Ok(Exit::Done), Err)
}

fn print(context: &Context, found: &[CompactJson]) -> Result<(), Failure> {
    use Side::{Left, Right};
    let columns = [
        ("job", Left),
        ("records", Right),
        ("files", Right),
        ("became", Right),
        ("rows", Right),
        ("size", Right),
        ("became", Right),
    ];
    let mut table = context.terminal.table(&columns);
    for CompactJson { job, compacted, .. } in found {
        let Compacted { records, files_before, files_after, rows, bytes_before, bytes_after, .. } = compacted;
        let numbers = [records, files_before, files_after, rows].map(|number| thousands(*number));
        let [records, files_before, files_after, rows] = numbers;
        table.row(&[job.clone(), records, files_before, files_after, rows, size(*bytes_before), size(*bytes_after)]);
    }
    table.keep_whole(0);
    context.terminal.line(&table.text())?;
    if found.iter().any(|one| one.dry_run && one.compacted.files_before > 0) {
        context.terminal.note("nothing was changed: this was a dry run, and what files and bytes become is a guess");
    }
    Ok(())
}
