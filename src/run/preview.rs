//! The first rows, on the same way as a load up to the store, which is never touched.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::Schema;

use crate::config::catalog::Job;
use crate::error::{ErrorKind, chain};
use crate::page::PagePosition;
use crate::plan;
use crate::slice::Slice;
use crate::source::Ending;

use super::doubles::Doubles;
use super::refine::Refinery;
use super::whole::{Desk, explain, fetch};
use super::{Ports, Preview, RunError, RunReport};

/// Pages after which a preview ends even if it has found nothing.
const PAGES_MAX: u64 = 20;

/// Slices after which a preview ends even if it has found nothing.
const SLICES_MAX: usize = 20;

pub(super) async fn preview(job: &Job, rows_wanted: usize, ports: &Ports) -> Result<RunReport, RunError> {
    let mut report = RunReport::start(job, ports.clock.run_id());
    // What one set's rows look like, the others' do too.
    let first = job.sets.first().map(|set| set.partition.clone()).unwrap_or_default();
    // Empty, but where a run that was recorded is looked at: it is begun where that one began.
    let coverage = ports.state.dataset(&job.dataset).await?.map(|known| known.coverage).unwrap_or_default();
    let now = ports.options.as_of.unwrap_or_else(|| ports.clock.now());
    let goal = match (ports.options.as_of, job.stream.window_cursor()) {
        (Some(_), Some(cursor)) => plan::expected_now(cursor, job.window.settle, coverage.spans(&first), now).unwrap_or(now),
        _ => now,
    };
    let mut tried: Vec<Slice> = Vec::new();
    // A window often begins before the first record: slices are gone over until one has something.
    while let Some(slice) = plan::next(job, &first, &coverage, &tried, goal) {
        let found = first_rows(job, rows_wanted, ports, &slice, &mut report).await?;
        tried.push(slice);
        let is_enough = found.rows.num_rows() > 0 || !found.rejects.is_empty();
        report.preview = Some(found);
        if is_enough || tried.len() >= SLICES_MAX || report.pages >= PAGES_MAX || ports.stop.requested() {
            break;
        }
    }
    if let Some(preview) = &mut report.preview {
        if report.counts.fetched > 0 && report.counts.out_of_window == report.counts.fetched {
            let warning = "every record lies outside of what was asked for: does the API heed the names in the cursor's `query`?";
            preview.warnings.push(warning.to_owned());
        }
        let more = plan::next(job, &first, &coverage, &tried, goal);
        if let (0, true, Some(next)) = (report.counts.fetched, preview.rejects.is_empty(), more.as_ref().and_then(Slice::span)) {
            let (slices, until) = (tried.len(), next.from.map(|from| from.to_string()).unwrap_or_default());
            preview.warnings.push(format!(
                "the first {slices} slices of the window, up to {until}, have nothing, and a preview looks no further: begin later (`window.start`)"
            ));
        }
    }
    Ok(report)
}

/// The first rows of a slice.
async fn first_rows(
    job: &Job,
    rows_wanted: usize,
    ports: &Ports,
    slice: &Slice,
    report: &mut RunReport,
) -> Result<Preview, RunError> {
    let refinery = Refinery::new(job, None, ports.source.wanted(), slice).map_err(explain)?;
    let mut desk = Desk::new(refinery);
    let mut pages = Vec::new();
    let mut at = Some(PagePosition::start());
    let mut kept = 0;
    let (mut doubles, mut way) = (Doubles::of(job), Way::default());
    while let Some(position) = at.take() {
        let first = fetch(ports.source.as_ref(), slice, &position, 1).await?;
        let (page, refined) = desk.whole(job, ports.source.as_ref(), slice, first).await?;
        report.pages += 1;
        report.bytes += page.body.len() as u64;
        kept += refined.batch.rows.num_rows();
        doubles.note(&refined);
        let next = ports.source.next(slice, &page.position, &refined.envelope, &page.headers);
        let goes_on = kept < rows_wanted && report.pages < PAGES_MAX && !ports.stop.requested();
        match next {
            Ok(Some(next)) if goes_on => at = Some(next),
            Ok(Some(_)) => way.stopped(),
            Ok(None) => way.ended(ports.source.ending(&page.position, &refined.envelope, &page.headers)),
            Err(error) if goes_on => return Err(RunError::new(error.kind, chain(&error))),
            // What was asked for is there, and a run would come to this.
            Err(error) => way.broken(&chain(&error)),
        }
        pages.push(page);
    }
    // Once more with the types that all pages agree on.
    desk.refinery()?.begin_anew();
    let (seen, mut batches, mut rejects) = (pages.len() as u64, Vec::with_capacity(pages.len()), Vec::new());
    for page in pages {
        let refined = desk.refine(&page).await?.map_err(explain)?;
        report.counts.add(&refined.counts);
        rejects.extend(refined.rejects);
        // A page without a row has no columns either.
        if refined.batch.rows.num_rows() > 0 {
            batches.push(refined.batch.rows);
        }
    }
    let rows = match batches.last() {
        Some(last) => {
            concat_batches(&last.schema(), &batches).map_err(|error| RunError::new(ErrorKind::Bug, error.to_string()))?
        }
        None => RecordBatch::new_empty(Arc::new(Schema::empty())),
    };
    let rows = rows.slice(0, rows.num_rows().min(rows_wanted));
    let Way { paging, more, mut warnings } = way.over(seen, kept);
    warnings.extend(doubles.tell());
    Ok(Preview { rows, rejects, paging, more, warnings })
}

/// How a preview went over the pages.
#[derive(Default)]
struct Way {
    paging: String,
    more: bool,
    warnings: Vec<String>,
}

impl Way {
    fn stopped(&mut self) {
        self.more = true;
    }

    fn ended(&mut self, ending: Option<Ending>) {
        let Some(Ending { rule, doubt }) = ending else { return };
        self.paging = format!("the last one: {rule}");
        self.warnings.extend(doubt);
    }

    fn broken(&mut self, why: &str) {
        self.paging = "what follows cannot be had".to_owned();
        self.warnings.push(format!("a run would fail behind this page: {why}"));
    }

    /// Says it with figures.
    fn over(self, pages: u64, rows: usize) -> Self {
        let plural = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (pages, rows) = (plural(pages, "page"), plural(rows as u64, "row"));
        let paging = match (self.more, self.paging.as_str()) {
            (true, _) => format!("stopped after {pages} with {rows}, more follow"),
            (false, "") => pages,
            (false, why) => format!("{pages}, {why}"),
        };
        Way { paging, ..self }
    }
}
