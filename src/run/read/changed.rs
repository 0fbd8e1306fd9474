//! Whether a slice has to be read at all: what the source answered before stands in the record of its rows.

use crate::config::catalog::{Job, Mode};
use crate::error::chain;
use crate::page::{Answered, RawPage};
use crate::run::{Ports, RunError};
use crate::sink::current::Current;
use crate::sink::live::index_at;
use crate::sink::settle::Head;
use crate::slice::{Reach, Slice};
use crate::source::Source;

/// What the source answered last for this very slice, where the table holds all of it.
pub(super) async fn before(
    job: &Job,
    ports: &Ports,
    head: &Head,
    slice: &Slice,
    index: &mut Option<Current>,
) -> Result<Option<Answered>, RunError> {
    let means_the_same = match slice.reach {
        // An append without a cursor takes the answer down each time.
        Reach::Snapshot => job.mode != Mode::Append,
        Reach::Mark(_) | Reach::Token(_) => true,
        Reach::Time(_) => false,
    };
    if !means_the_same || ports.options.force || ports.options.rewind.is_some() {
        return Ok(None);
    }
    match head.record.as_ref().map(|record| &record.answered) {
        Some(Some((set, answered))) if *set == slice.partition => Ok(Some(answered.clone())),
        Some(Some(_)) => {
            let index = index_at(ports.store.as_ref(), &job.dataset, head, index).await?;
            Ok(index.answers.get(&slice.partition).cloned())
        }
        // No set's answer outlives a record without one.
        Some(None) | None => Ok(None),
    }
}

/// The slice's first page, unless it is what was answered before.
pub(super) async fn fetch(source: &dyn Source, slice: &Slice, before: &Answered) -> Result<Option<RawPage>, RunError> {
    source.fetch_changed(slice, before).await.map_err(|error| RunError::new(error.kind, chain(&error)))
}
