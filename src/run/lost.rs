//! Files of a table that somebody took away, or that are of another size than the log says: a merge cannot go on where one of them holds
//! what it has to compare with. Reading everything again gives their rows back, so they leave the table then, and the rest of it stays.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};

use crate::config::catalog::{Job, Mode, TableFormat};
use crate::sink::SinkError;
use crate::sink::current::{Current, CurrentFile};
use crate::store::Store;

use super::rewind::may_read_again;
use super::{Rewind, RewindKind, RunError};

/// Files that are looked for at the same time.
const LOOKS_AT_ONCE: usize = 16;

/// Whether lost files matter to what was asked: all is read again. Of one parameter set alone other sets' rows would not come back.
pub(super) fn matter(job: &Job, asked: &Rewind) -> bool {
    asked.what == RewindKind::Full && asked.set.is_none() && may_leave(job)
}

/// Whether files of the job's table may leave it because they are lost: what is read again is compared with the rest. A replacement
/// leaves no file in its place anyway; a Delta table has a log besides ours, in which others may have moved what we look for.
pub(super) fn may_leave(job: &Job) -> bool {
    job.mode != Mode::Replace && job.sink.format == TableFormat::Parquet && may_read_again(job).is_ok()
}

fn live(index: &Current) -> impl Iterator<Item = (&String, &CurrentFile)> {
    [&index.files, &index.tombstones, &index.parents, &index.dead_letters].into_iter().flatten()
}

/// The live files that are [lost](of).
pub(super) async fn of_table(store: &dyn Store, index: &Current) -> Result<BTreeSet<String>, RunError> {
    let lost = of(store, live(index).map(|(path, file)| (path.as_str(), file.bytes))).await?;
    Ok(lost.into_iter().map(str::to_owned).collect())
}

/// What a slice failed of, with the way out where it is a file that it names and that is lost.
pub(super) async fn explained(error: RunError, job: &Job, store: &dyn Store, index: Option<&Current>) -> RunError {
    let Some(index) = index.filter(|_| may_leave(job)) else { return error };
    let named = live(index).filter(|(path, _)| error.message.contains(path.as_str()));
    let named = of(store, named.map(|(path, file)| (path.as_str(), file.bytes))).await;
    // A store that does not answer says nothing of files.
    let is_lost = named.is_ok_and(|named| !named.is_empty());
    if !is_lost {
        return error;
    }
    let message = format!(
        "{}; a file of the table is not in the lake any more, or of another size: put it back, or read all of it again with `highwater run {} --full`",
        error.message, job.name
    );
    RunError { message, ..error }
}

/// Of these paths, with what their files should take, bytes, those that are not in the store so, in order.
pub(super) async fn of<'f>(store: &dyn Store, files: impl Iterator<Item = (&'f str, u64)>) -> Result<Vec<&'f str>, RunError> {
    let looks: Vec<_> = files
        .map(async |(path, bytes)| {
            let size = store.size(path).await.map_err(SinkError::from)?;
            Ok::<_, SinkError>((size != Some(bytes)).then_some(path))
        })
        .collect();
    let found: Vec<Option<&str>> = futures::stream::iter(looks).buffered(LOOKS_AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}
