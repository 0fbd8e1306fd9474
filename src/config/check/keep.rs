//! `history` and `compact_min_files` of a sink and of a job, `gc_min_age` of a sink, `retain` of a job.

use jiff::SignedDuration;

use crate::config::catalog::{Keep, Lookback, Mode, PartitionColumn, PartitionUnit, Sink, TableFormat};
use crate::config::node::Table;
use crate::config::problem::{Report, quote};
use crate::config::units::duration_text;

/// Below this the files of a run at work in another project would be taken for orphans.
const GC_MIN_AGE_MIN: SignedDuration = SignedDuration::from_hours(1);

pub(super) fn sink(table: &Table, report: &mut Report) -> Keep {
    let mut keep = Keep::default();
    keep.history = table.duration("history").unwrap_or(keep.history);
    keep.gc_min_age = table.duration("gc_min_age").unwrap_or(keep.gc_min_age);
    keep.compact_min_files = compact_min_files(table, report);
    if keep.gc_min_age < GC_MIN_AGE_MIN {
        let message = format!("after {} a file may still belong to a run at work", quote(&duration_text(keep.gc_min_age)));
        report.error(&table.place("gc_min_age"), message, "give \"1h\" or more; longer than your longest run is right");
    }
    keep
}

/// A Delta table keeps what left it by itself, for readers of its older versions.
pub(super) fn refuse_history(table: &Table, format: TableFormat, report: &mut Report) {
    if format == TableFormat::Delta && table.has("history") {
        let help = "take it out: files that leave a Delta table stay for a week, and its older versions can be read";
        report.error(&table.place("history"), "a Delta table has no history of files", help);
    }
}

/// One file cannot be joined with itself.
fn compact_min_files(table: &Table, report: &mut Report) -> Option<u32> {
    let files = table.integer("compact_min_files")?;
    if files == 1 {
        report.error(&table.place("compact_min_files"), "one file is not joined with anything", "give 2 or more, or 0 for never");
    }
    u32::try_from(files).ok()
}

/// What the job says wins over its sink.
pub(super) fn job(table: &Table, sink: &Sink, of_job: &OfJob, report: &mut Report) -> Keep {
    refuse_history(table, sink.format, report);
    let of_sink = sink.keep;
    Keep {
        history: table.duration("history").unwrap_or(of_sink.history),
        compact_min_files: compact_min_files(table, report).or(of_sink.compact_min_files),
        retain: retain(table, of_job, report),
        ..of_sink
    }
}

/// What of a job `retain` depends on.
pub(super) struct OfJob<'a> {
    pub mode: Mode,
    pub partition_by: &'a [PartitionColumn],
    pub lookback: Option<Lookback>,
}

fn retain(table: &Table, of_job: &OfJob, report: &mut Report) -> Option<SignedDuration> {
    let retain = table.duration("retain")?;
    let place = table.place("retain");
    let mut refused = |message: String, help: &str| report.error(&place, message, help);
    let Some(column) = of_job.partition_by.iter().find(|column| column.unit != PartitionUnit::Value) else {
        let help = "whole partitions leave the table: give a partition by time, such as partition_by = [\"month(created_at)\"]";
        refused("nothing of the table has an age".to_owned(), help);
        return None;
    };
    if of_job.mode == Mode::Replace {
        let help = "take it out: what the table holds is what the last run read; read less, by the stream's query or a filter";
        refused("a table that is replaced as a whole keeps nothing".to_owned(), help);
    }
    let (unit, least) = match column.unit {
        PartitionUnit::Year => ("year", SignedDuration::from_hours(366 * 24)),
        PartitionUnit::Month => ("month", SignedDuration::from_hours(31 * 24)),
        PartitionUnit::Day | PartitionUnit::Value => ("day", SignedDuration::from_hours(24)),
        PartitionUnit::Hour => ("hour", SignedDuration::from_hours(1)),
    };
    if retain < least {
        let message = format!("{} is less than a {unit}, as {} is cut", quote(&duration_text(retain)), quote(&column.key()));
        refused(message, "keep at least one whole partition, or cut them finer");
    }
    if let Some(Lookback::Time(lookback)) =
        of_job.lookback.filter(|lookback| matches!(lookback, Lookback::Time(back) if *back >= retain))
    {
        let message =
            format!("the rows of `window.lookback` = {} would be read again and dropped again", quote(&duration_text(lookback)));
        refused(message, "keep more than what each run reads again");
    }
    Some(retain)
}
