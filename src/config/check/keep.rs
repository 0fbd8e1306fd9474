//! `history` of a sink and of a job, `gc_min_age` of a sink.

use jiff::SignedDuration;

use crate::config::catalog::{Keep, Sink, TableFormat};
use crate::config::node::Table;
use crate::config::problem::{Report, quote};
use crate::config::units::duration_text;

/// Below this the files of a run at work in another project would be taken for orphans.
const GC_MIN_AGE_MIN: SignedDuration = SignedDuration::from_hours(1);

pub(super) fn sink(table: &Table, report: &mut Report) -> Keep {
    let mut keep = Keep::default();
    keep.history = table.duration("history").unwrap_or(keep.history);
    keep.gc_min_age = table.duration("gc_min_age").unwrap_or(keep.gc_min_age);
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

/// What the job says wins over its sink.
pub(super) fn job(table: &Table, sink: &Sink, report: &mut Report) -> Keep {
    refuse_history(table, sink.format, report);
    let of_sink = sink.keep;
    Keep { history: table.duration("history").unwrap_or(of_sink.history), ..of_sink }
}
