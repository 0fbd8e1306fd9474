//! `highwater verify --source`: a table beside what its source says that it has of what the table covers.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::ask::first_pages;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::text::{counted, thousands};
use crate::config::catalog::{CursorType, Job};
use crate::plan;
use crate::sink::verify::VerifyReport;
use crate::slice::{Coverage, Reach, Slice};

/// Requests that one table may cost.
const SLICES_MAX: usize = 1000;

/// What the source says.
#[derive(Serialize)]
pub(super) struct SourceJson {
    /// Records that the source says it has in what the table covers; null where it does not say.
    records: Option<u64>,
    /// Records that rules, dead letters and deletions kept out of the table, at the most: one that was read twice counts twice.
    dropped: u64,
    /// What that means, a sentence.
    pub says: String,
    /// The table lacks records, or the source could not be asked.
    #[serde(skip)]
    pub is_bad: bool,
}

/// What is to be counted of a source.
enum Extent {
    /// All of it lies before the mark: nothing new comes there.
    Closed(Vec<Slice>),
    /// What came since the last run is counted as well.
    Open(Vec<Slice>),
    /// Cannot be counted, for this reason.
    Unknown(&'static str),
}

pub(super) async fn ask_source(
    context: &Context,
    project: &Project,
    job: &Job,
    report: &VerifyReport,
) -> Result<SourceJson, Failure> {
    let failed = |error: crate::state::StateError| Failure::of(error.kind, error.to_string());
    let known = match project.look_at_state().await? {
        Some(state) => state.dataset(&job.dataset).await.map_err(failed)?,
        None => None,
    };
    let coverage = known.map(|known| known.coverage).unwrap_or_default();
    let (slices, is_closed) = match extent(job, &coverage, context.clock.now()) {
        Extent::Closed(slices) => (slices, true),
        Extent::Open(slices) => (slices, false),
        Extent::Unknown(why) => return Ok(untold(report, why)),
    };
    let probed = first_pages(context, project, job, &slices, None).await;
    let probed = match probed {
        Ok(probed) => probed,
        // What was recounted of the lake is told all the same, and the other tables are gone on with.
        Err((_, message)) => return Ok(SourceJson { is_bad: true, ..untold(report, &message) }),
    };
    let told: Option<u64> = probed.iter().map(|probed| probed.records).sum();
    match told.filter(|_| probed.len() == slices.len()) {
        Some(records) => Ok(compare(records, report.rows, report.dropped, is_closed)),
        None => {
            Ok(untold(report, "its answers do not say how many records there are (`paging` with `total` names where they do)"))
        }
    }
}

fn extent(job: &Job, coverage: &Coverage, now: jiff::Timestamp) -> Extent {
    if job.stream.parent.is_some() {
        return Extent::Unknown("it is asked for each record of another stream");
    }
    if job.stream.export.is_some() {
        return Extent::Unknown("it would have to write an export");
    }
    let begin = |set| plan::next(job, set, &Coverage::default(), &[], now);
    let sets = job.sets.iter().map(|set| &set.partition);
    let extent = match job.stream.window_cursor() {
        Some(cursor) if cursor.cursor_type == CursorType::Token => return Extent::Unknown("it tells changes, not what there is"),
        Some(cursor) if !cursor.cursor_type.has_mark() => {
            let of_set = |set| {
                let slice = move |span: &crate::slice::Span| Slice { partition: Clone::clone(set), reach: Reach::Time(*span) };
                coverage.spans(set).iter().map(slice)
            };
            Extent::Closed(sets.flat_map(of_set).take(SLICES_MAX + 1).collect())
        }
        _ => Extent::Open(sets.filter_map(begin).take(SLICES_MAX + 1).collect()),
    };
    match &extent {
        Extent::Closed(slices) if slices.is_empty() => Extent::Unknown("this state knows nothing to be covered: `run` it first"),
        Extent::Closed(slices) | Extent::Open(slices) if slices.len() > SLICES_MAX => {
            Extent::Unknown("it would take more than a thousand requests")
        }
        _ => extent,
    }
}

fn untold(report: &VerifyReport, why: &str) -> SourceJson {
    SourceJson { records: None, dropped: report.dropped, says: format!("the source was not counted: {why}"), is_bad: false }
}

fn compare(records: u64, rows: u64, dropped: u64, is_closed: bool) -> SourceJson {
    let has = format!("the source has {} in what is covered", counted(records, "record"));
    let lacks = records.saturating_sub(rows);
    let is_bad = is_closed && lacks > dropped;
    let says = match records.cmp(&rows) {
        std::cmp::Ordering::Equal => format!("{has}, as the table"),
        std::cmp::Ordering::Less => {
            let more = thousands(rows - records);
            format!("{has}, the table {more} more: changed or gone at the source since they were read, or versions of an append")
        }
        std::cmp::Ordering::Greater if lacks <= dropped => format!(
            "{has}, the table {} less: rules, dead letters and deletions kept {} out",
            thousands(lacks),
            thousands(dropped)
        ),
        std::cmp::Ordering::Greater if is_closed => format!(
            "{has}, the table {} less, and rules, dead letters and deletions kept {} out: the others are missing; look at `window.lookback` \
             and `window.settle`, and `run --full` reads all of it again",
            thousands(lacks),
            thousands(dropped)
        ),
        std::cmp::Ordering::Greater => {
            format!("{has} or came since, the table {} less: `run` it and look again", thousands(lacks))
        }
    };
    SourceJson { records: Some(records), dropped, says, is_bad }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nothing_explains_is_missing() {
        let says = |records, rows, dropped, is_closed| {
            let told = compare(records, rows, dropped, is_closed);
            (told.is_bad, told.says)
        };
        assert_eq!(says(100, 100, 0, true), (false, "the source has 100 records in what is covered, as the table".to_owned()));
        let (is_bad, text) = says(1_000, 990, 9, true);
        assert!(is_bad && text.contains("the table 10 less") && text.contains("kept 9 out"), "{text}");
        let (is_bad, text) = says(1_000, 990, 10, true);
        assert!(!is_bad && text.contains("kept 10 out"), "{text}");
        let (is_bad, text) = says(1_000, 990, 0, false);
        assert!(!is_bad && text.contains("look again"), "{text}");
        let (is_bad, text) = says(990, 1_000, 0, true);
        assert!(!is_bad && text.contains("10 more"), "{text}");
    }
}
