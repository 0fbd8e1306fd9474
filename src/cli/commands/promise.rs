//! What a job is promised, in plain words, and what it is not: docs/guarantees.md, as far as it concerns the job's own files.

use serde::Serialize;

use crate::config::catalog::{Cursor, CursorType, Job, Limits, Lookback, Mode, OnDelete, Order, Rate, SinkPlace, TableFormat};
use crate::config::units::duration_text;

use super::super::text::counted;

/// What `check --json` prints of a job; each entry is a sentence or two.
#[derive(Serialize)]
pub(super) struct Promise {
    job: String,
    /// What cannot be missing from the table, and what can.
    lost: Vec<String>,
    /// What counts once, and what may stand there more often.
    doubled: Vec<String>,
    /// What readers see of a commit.
    readers: String,
    /// What a loss of power leaves.
    power: String,
    /// Who else may write to the table.
    writers: String,
    /// Which limits are kept.
    quota: String,
}

impl Promise {
    pub(super) fn of(job: &Job, has_shared_state: bool) -> Promise {
        Promise {
            job: job.name.to_string(),
            lost: lost(job),
            doubled: doubled(job),
            readers: readers(job),
            power: power(job),
            writers: writers(has_shared_state),
            quota: quota(&job.source.limits, has_shared_state),
        }
    }

    /// Each line with the word that it is about, or an empty one below a line of the same.
    pub(super) fn lines(&self) -> Vec<(&'static str, &str)> {
        let others = [("readers", &self.readers), ("power", &self.power), ("writers", &self.writers), ("quota", &self.quota)];
        let lists = [("lost", &self.lost), ("doubled", &self.doubled)];
        let listed = lists.into_iter().flat_map(|(name, lines)| {
            lines.iter().enumerate().map(move |(place, line)| (if place == 0 { name } else { "" }, line.as_str()))
        });
        listed.chain(others.map(|(name, line)| (name, line.as_str()))).collect()
    }
}

fn lost(job: &Job) -> Vec<String> {
    let stream = &job.stream;
    let mut lines = match (job.mode, stream.window_cursor()) {
        (Mode::Replace, _) => {
            vec!["nothing: each run reads all of it; what was not read to its end, or is less than half of the table, replaces nothing".to_owned()]
        }
        (_, None) => vec!["nothing: each run reads the whole stream".to_owned()],
        (_, Some(cursor)) if cursor.cursor_type == CursorType::Token => {
            vec!["nothing that the source gives for its last token; what it leaves out there is not noticed".to_owned()]
        }
        (_, Some(cursor)) if cursor.cursor_type.has_mark() => by_mark(job, cursor),
        (_, Some(cursor)) => by_time(job, cursor),
    };
    if let Some(history) = stream.window_cursor().and_then(|cursor| cursor.history_max) {
        let history = duration_text(history);
        lines.push(format!("the API tells of the last {history}: a run that comes later than that fails and says so"));
    }
    if stream.parent.as_ref().is_some_and(|parent| parent.changed_only) {
        lines.push("what belongs to a parent that did not change is not read".to_owned());
    }
    lines.extend(deletions(job));
    if let Some(retain) = job.keep.retain {
        lines.push(format!("partitions that ended more than {} ago leave the table (`retain`)", duration_text(retain)));
    }
    lines
}

fn by_mark(job: &Job, cursor: &Cursor) -> Vec<String> {
    let field = &cursor.field;
    let first = format!("nothing that comes with a larger `{field}` than any before");
    let late = match job.window.lookback {
        Some(Lookback::Integer(units)) => {
            format!("each run reads again {units} below that; a record that comes with a still smaller `{field}` is missed")
        }
        _ if cursor.cursor_type == CursorType::Integer => {
            format!(
                "a record that comes later with a smaller `{field}` is missed: `window.lookback` reads again below the largest"
            )
        }
        _ => format!("a record that comes later with a smaller `{field}`, byte by byte, is missed"),
    };
    vec![first, late]
}

fn by_time(job: &Job, cursor: &Cursor) -> Vec<String> {
    let (field, settle) = (&cursor.field, duration_text(job.window.settle));
    let zone = cursor.timezone.iana_name().unwrap_or("the source's zone");
    let first = match cursor.cursor_type {
        CursorType::Date => format!(
            "nothing whose `{field}` lies before the mark: a day counts as read once it ended in {zone}, {settle} (settle) ago by the source's clock"
        ),
        _ => format!("nothing whose `{field}` lies before the mark, which stays {settle} (settle) behind the source's clock"),
    };
    let late = match job.window.lookback {
        Some(Lookback::Time(length)) => {
            let length = duration_text(length);
            format!("each run reads again {length} behind the mark; a row that comes with a still older `{field}` is missed")
        }
        _ if job.stream.primary_key.is_empty() => {
            format!(
                "a row that comes later with an older `{field}` is missed: make `window.settle` as long as the API may be late"
            )
        }
        _ => format!("a row that comes later with an older `{field}` is missed: `window.lookback` reads again behind the mark"),
    };
    let mut lines = vec![first, late];
    if cursor.order == Order::Descending && !cursor.has_upper_bound(job.stream.window_stream()) {
        lines.push("it is read from the newest down to the mark; the source's order is believed below it".to_owned());
    }
    lines
}

fn deletions(job: &Job) -> Option<String> {
    let reads_all = job.stream.window_cursor().is_none();
    Some(match (job.mode, &job.stream.deleted, job.on_delete) {
        (Mode::Replace, ..) => return None,
        (Mode::Merge, Some(field), OnDelete::Soft) => {
            format!("a record that `{field}` calls deleted keeps its row, with `_hw_deleted`; one that goes without a word stays")
        }
        (Mode::Merge, Some(field), OnDelete::Hard) => {
            format!("a record that `{field}` calls deleted loses its row; one that goes without a word stays")
        }
        (Mode::Merge, None, _) if reads_all => {
            "a record that is not in the stream any more keeps its row: `mode = \"replace\"` drops it".to_owned()
        }
        _ => "a record that is deleted at the source stays: no answer tells of it".to_owned(),
    })
}

fn doubled(job: &Job) -> Vec<String> {
    let stream = &job.stream;
    let key = stream.primary_key.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
    let shifted = match key.is_empty() {
        true => "a record that comes twice because pages shift while they are read stands there twice: no `primary_key` tells"
            .to_owned(),
        false => format!("a record that comes twice because pages shift, byte for byte, is one row (by {key})"),
    };
    let first = match (job.mode, stream.cursor.as_ref().filter(|cursor| cursor.cursor_type != CursorType::Token)) {
        (Mode::Merge, Some(cursor)) => {
            return vec![format!(
                "nothing: one row for each {key}, the one with the newest `{}`, of equals the last one read",
                cursor.field
            )];
        }
        (Mode::Merge, None) => return vec![format!("nothing: one row for each {key}, the one that was read last")],
        (Mode::Replace, _) => "nothing: the table is what one run read".to_owned(),
        (Mode::Append, _) if stream.window_cursor().is_none() => {
            "each run adds all records once more; no slice counts twice".to_owned()
        }
        (Mode::Append, _) if key.is_empty() => "no slice counts twice".to_owned(),
        (Mode::Append, _) => {
            "no slice counts twice; a record that changed is a row for each change seen: choose the newest when you read"
                .to_owned()
        }
    };
    vec![first, shifted]
}

fn readers(job: &Job) -> String {
    let text = match (job.sink.format, job.mode) {
        (TableFormat::Delta, _) => "who reads the Delta log sees a commit whole; who globs the folder finds replaced files too",
        (TableFormat::Parquet, Mode::Append) => {
            "who globs sees the files of a commit one after the other, each whole; `query` and `current.json` see commits whole"
        }
        (TableFormat::Parquet, _) => {
            "who globs may find a row twice, or a file gone, while a commit replaces files; `query` and `current.json` see commits whole"
        }
    };
    text.to_owned()
}

fn power(job: &Job) -> String {
    let text = match job.sink.place {
        SinkPlace::Local(_) => {
            "what was committed stays, if the disk keeps what it was told to sync; files and folders are synced first"
        }
        _ => {
            "what was committed is as durable as the bucket; it must refuse to overwrite when asked to (`check --connect` tries it)"
        }
    };
    text.to_owned()
}

fn writers(has_shared_state: bool) -> String {
    let who = match has_shared_state {
        true => "daemons that share the state in Postgres take turns",
        false => "one process at a time (state in SQLite)",
    };
    format!("{who}; one with another state reads the table's log and goes on from there")
}

fn quota(limits: &Limits, has_shared_state: bool) -> String {
    let rates = |rates: &[Rate], noun: &str| -> Vec<String> {
        let one = |rate: &Rate| {
            let per = jiff::SignedDuration::try_from(rate.per).map(duration_text).unwrap_or_default();
            format!("{} in {per}", counted(u64::from(rate.requests), noun))
        };
        rates.iter().map(one).collect()
    };
    let mut kept = rates(&limits.requests, "request");
    kept.extend(rates(&limits.points, "point"));
    kept.extend(limits.concurrency.map(|most| format!("{most} at a time")));
    kept.extend(limits.groups.iter().map(|group| format!("`limits.groups.{}`", group.name)));
    if kept.is_empty() {
        return "no limit is declared: what answers tell (429, Retry-After, limit headers) is kept to".to_owned();
    }
    let whose = if has_shared_state { "all daemons of this state" } else { "this project" };
    format!("never above {} by {whose}, in any interval, over restarts", kept.join(", "))
}
