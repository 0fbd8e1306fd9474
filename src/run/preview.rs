//! The first rows, on the same way as a load up to the store, which is never touched.

use arrow::compute::concat_batches;

use crate::config::catalog::Job;
use crate::error::{ErrorKind, chain};
use crate::page::PagePosition;
use crate::plan;
use crate::slice::Coverage;
use crate::source::Judgement;

use super::refine::{RefineError, Refined, Refinery};
use super::{Ports, Preview, RunError, RunReport};

/// Pages after which a preview ends even if it has found nothing.
const PAGES_MAX: u64 = 20;

pub(super) async fn preview(job: &Job, rows_wanted: usize, ports: &Ports) -> Result<RunReport, RunError> {
    let mut report = RunReport::start(job, ports.clock.run_id());
    // What one set's rows look like, the others' do too.
    let first = job.sets.first().map(|set| set.partition.clone()).unwrap_or_default();
    let Some(slice) = plan::next(job, &first, &Coverage::default(), &[], ports.clock.now()) else { return Ok(report) };
    let mut refinery = Refinery::new(job, None, ports.source.wanted(), &slice).map_err(explain)?;
    let mut pages = Vec::new();
    let mut at = Some(PagePosition::start());
    let mut kept = 0;
    while let Some(position) = at.take() {
        let page = ports.source.fetch(&slice, &position, 1).await.map_err(|error| RunError::new(error.kind, chain(&error)))?;
        let (returned, refined) = refine(refinery, page.clone()).await?;
        refinery = returned;
        if let Judgement::ErrorInDisguise(message) = ports.source.judge(&refined.envelope) {
            return Err(RunError::new(ErrorKind::Unavailable, message));
        }
        report.pages += 1;
        report.bytes += page.body.len() as u64;
        kept += refined.batch.rows.num_rows();
        if kept < rows_wanted && report.pages < PAGES_MAX && !ports.stop.requested() {
            let next = ports.source.next(&slice, &position, &refined.envelope, &page.headers);
            at = next.map_err(|error| RunError::new(error.kind, chain(&error)))?;
        }
        pages.push(page);
    }
    // Once more with the types that all pages agree on.
    refinery.begin_anew();
    let mut batches = Vec::with_capacity(pages.len());
    let mut rejects = Vec::new();
    for page in pages {
        let (returned, refined) = refine(refinery, page).await?;
        refinery = returned;
        report.counts.add(&refined.counts);
        rejects.extend(refined.rejects);
        batches.push(refined.batch.rows);
    }
    let Some(last) = batches.last() else { return Ok(report) };
    let rows = concat_batches(&last.schema(), &batches).map_err(|error| RunError::new(ErrorKind::Bug, error.to_string()))?;
    let rows = rows.slice(0, rows.num_rows().min(rows_wanted));
    report.preview = Some(Preview { rows, rejects });
    Ok(report)
}

pub(super) async fn refine(mut refinery: Refinery, page: crate::page::RawPage) -> Result<(Refinery, Refined), RunError> {
    let work = move || {
        let refined = refinery.refine(&page);
        (refinery, refined)
    };
    let (refinery, refined) = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| RunError::new(ErrorKind::Bug, format!("work on a page panicked: {error}")))?;
    Ok((refinery, refined.map_err(explain)?))
}

pub(super) fn explain(error: RefineError) -> RunError {
    match error {
        RefineError::Page(error) => RunError::new(error.kind, error.to_string()),
        RefineError::Slice { kind, message } => RunError::new(kind, message),
    }
}
