//! How a job's rows reach its table, with the stream's key and cursor in view.

use crate::config::catalog::{Mode, OnDelete, Stream};
use crate::config::node::Table;
use crate::config::problem::Report;

pub(super) struct Delivery {
    /// `None` where it was reported, or hangs on a stream that is not known.
    pub mode: Option<Mode>,
    pub on_delete: OnDelete,
}

/// `stream` is `None` where it is not known well enough.
pub(super) fn check(table: &Table, stream: Option<&Stream>, report: &mut Report) -> Delivery {
    let mode = mode(table, stream);
    if let (Some(mode), Some(stream)) = (mode, stream) {
        check_mode(table, mode, stream, report);
    }
    let on_delete = match table.text("on_delete").as_deref() {
        Some("hard") => OnDelete::Hard,
        _ => OnDelete::Soft,
    };
    Delivery { mode, on_delete }
}

fn mode(table: &Table, stream: Option<&Stream>) -> Option<Mode> {
    match table.text("mode").as_deref() {
        Some("append") => return Some(Mode::Append),
        Some("merge") => return Some(Mode::Merge),
        Some("replace") => return Some(Mode::Replace),
        // One that is written badly was reported where it stands.
        _ if table.has("mode") => return None,
        _ => {}
    }
    let stream = stream?;
    Some(match (stream.window_cursor(), stream.primary_key.is_empty()) {
        (Some(_), false) => Mode::Merge,
        (Some(_), true) => Mode::Append,
        (None, _) => Mode::Replace,
    })
}

fn check_mode(table: &Table, mode: Mode, stream: &Stream, report: &mut Report) {
    if mode == Mode::Merge && stream.primary_key.is_empty() {
        let help = "add primary_key = [\"id\"] to the stream, or write mode = \"append\"";
        report.error(&table.place("mode"), "a merge needs a key: it keeps one row for each", help);
    }
    if mode == Mode::Append && stream.parent.as_ref().is_some_and(|parent| parent.changed_only) {
        let message = "the records of a parent that changed are read again, and an append would double them";
        report.error(&table.place("mode"), message, "write mode = \"merge\", or take changed_only out of the stream");
    }
    for key in ["on_delete", "partition_immutable"] {
        if mode != Mode::Merge && table.has(key) {
            let message = format!("`{key}` has no meaning in mode \"{}\"", mode.name());
            report.error(&table.place(key), message, "take it out, or write mode = \"merge\"");
        }
    }
    if mode == Mode::Merge && table.has("on_delete") && stream.deleted.is_none() {
        let help = "add deleted = \"path\" to the stream: the field that says that a record was deleted";
        report.error(&table.place("on_delete"), "the stream does not say how deleted records are told", help);
    }
    if mode == Mode::Merge && table.boolean("partition_immutable") == Some(true) && table.list("partition_by").is_empty() {
        let help = "take it out, or add partition_by";
        report.error(&table.place("partition_immutable"), "the table has no partitions", help);
    }
    let Some(window) = table.table("window") else { return };
    if mode == Mode::Replace {
        if window.has("lookback") {
            report.error(&window.place("lookback"), "`lookback` has no meaning in mode \"replace\"", "take it out");
        }
        if window.has("step") {
            let message = "`step` is ignored: what replaces a table is read and committed as one";
            report.warning(&window.place("step"), message, "take it out");
        }
    }
}
