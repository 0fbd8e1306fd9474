//! One request a slice: what its first page tells of the others. Writes nothing.

use std::time::Duration;

use jiff::SignedDuration;

use crate::clock::Clock;
use crate::config::catalog::Job;
use crate::page::PagePosition;
use crate::slice::Slice;
use crate::source::Source;
use crate::stop::Stop;

use super::RunError;
use super::refine::Refinery;
use super::whole::{Desk, explain, fetch};

/// What was found out of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    pub slice: Slice,
    /// Requests that reading it takes, retries aside; `None` where the API does not tell.
    pub pages: Option<u64>,
    /// Records that it has; `None` where the API does not tell.
    pub records: Option<u64>,
    /// How long the answer took, waits for the quota among it.
    pub took: Duration,
    /// How far the source's clock is ahead of ours, by its answer's `Date`; `None` where it has none.
    pub ahead: Option<SignedDuration>,
}

/// Asks for the first page of each slice. Ends early, with what it has, where stop is asked for.
pub async fn probe(
    job: &Job,
    slices: &[Slice],
    source: &dyn Source,
    clock: &dyn Clock,
    stop: &Stop,
) -> Result<Vec<Probed>, RunError> {
    let mut probed = Vec::with_capacity(slices.len());
    if job.stream.export.is_some() || job.stream.parent.is_some() {
        // To find out how many pages it has, the source would have to write each slice out, or every parent be asked for.
        return Ok(probed);
    }
    for slice in slices {
        if stop.requested() {
            break;
        }
        let began = clock.elapsed();
        let first = fetch(source, slice, &PagePosition::start(), 1).await?;
        let took = clock.elapsed().saturating_sub(began);
        let ahead = first.source_now.map(|theirs| theirs.duration_since(first.received_at));
        let refinery = Refinery::new(job, None, source.wanted(), slice).map_err(explain)?;
        let (page, refined) = Desk::new(refinery).whole(job, source, slice, first).await?;
        let pages = source.pages(slice, &refined.envelope, &page.headers);
        let records = source.records(slice, &refined.envelope, &page.headers);
        probed.push(Probed { slice: slice.clone(), pages, records, took, ahead });
    }
    Ok(probed)
}
