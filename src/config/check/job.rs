//! `jobs/*.toml`, with the sources and sinks in view.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::catalog::{Common, CursorType, DeclaredType, Job, OnTypeChange, PartitionColumn, Stream};
use crate::config::kinds::safe_name;
use crate::config::node::{Table, Value};
use crate::config::problem::{Report, nearest, quote};
use crate::config::read::ProjectFile;
use crate::ids::{DatasetName, JobName};
use crate::page::split_path;
use crate::schema::ColumnType;

use super::source::CheckedSource;
use super::{Surroundings, delivery, keep, parameters, schedule, service, steps, window};

/// `None` where the job cannot be built; the reasons are reported, here or in the file that they stand in.
pub(super) fn check(file: &ProjectFile, table: &Table, around: &Surroundings, report: &mut Report) -> Option<Job> {
    let source = find(table, "source", &around.sources, "sources", report);
    let shared = source.and_then(|source| find_stream(table, source, report));
    let stream: Option<&Stream> = shared.map(|stream| &**stream);
    let sink = find(table, "sink", &around.sinks, "sinks", report).and_then(|sink| sink.sink.as_ref());
    let parameters = parameters::check(table, source, report);
    let located = source.and_then(|source| parameters::locate(table, source, &parameters, report));
    let window = window::check(table.table("window"), stream, report);
    let freshness = service::freshness(table, stream, &window, report);
    let steps = steps::check(table, report);
    let partition_by = partition_by(table, report);
    let columns = columns(table, stream, report);
    let delivery = delivery::check(table, stream, report);
    let timing = schedule::check(table, report);
    let dataset = table_name(table, report);
    let table_name = dataset?;
    let mode = delivery.mode?;
    let kept = keep::OfJob { mode, partition_by: &partition_by, lookback: window.lookback };
    let keep = keep::job(table, sink?, &kept, report);
    Some(Job {
        name: JobName::new(&file.name),
        file: file.file.clone(),
        enabled: table.boolean("enabled").unwrap_or(true),
        schedule: timing.schedule,
        after: timing.after,
        catch_up: timing.catch_up,
        jitter: timing.jitter,
        source: located?,
        stream: shared?.clone(),
        keep,
        sink: sink?.clone(),
        dataset: DatasetName::new(&table_name),
        table: table_name,
        mode,
        on_delete: delivery.on_delete,
        partition_immutable: table.boolean("partition_immutable").unwrap_or(false),
        partition_by,
        parameters: parameters.common,
        sets: parameters.sets,
        window,
        steps,
        columns,
        on_type_change: match table.text("on_type_change").as_deref() {
            Some("dead_letter") => OnTypeChange::DeadLetter,
            Some("fail") => OnTypeChange::Fail,
            _ => OnTypeChange::NewColumn,
        },
        metadata: table.boolean("metadata").unwrap_or(true),
        freshness,
    })
}

fn find<'a, T>(table: &Table, key: &str, known: &'a BTreeMap<String, T>, folder: &str, report: &mut Report) -> Option<&'a T> {
    let name = table.text(key)?;
    let found = known.get(&name).filter(|_| !name.is_empty());
    if found.is_none() {
        let help = nearest(&name, known.keys().map(String::as_str).filter(|name| !name.is_empty()), folder);
        report.error(&table.place(key), format!("there is no {key} {}", quote(&name)), help);
    }
    found
}

fn find_stream<'a>(table: &Table, source: &'a CheckedSource, report: &mut Report) -> Option<&'a Common<Stream>> {
    let name = table.text("stream")?;
    match source.streams.get(&name) {
        Some(stream) => stream.as_ref(),
        // Where the source's file cannot be read at all, nothing can be said of its streams.
        None if source.streams.is_empty() && source.reason.is_some() => None,
        None => {
            let help = nearest(&name, source.streams.keys().map(String::as_str), "streams");
            report.error(&table.place("stream"), format!("{} has no stream {}", source.file, quote(&name)), help);
            None
        }
    }
}

/// The table's name becomes a folder and the dataset's name.
fn table_name(table: &Table, report: &mut Report) -> Option<String> {
    if table.has("table") {
        return table.text("table");
    }
    let stream = table.text("stream")?;
    match safe_name(&stream) {
        Ok(()) => Some(stream),
        Err(wrong) => {
            report.error(&table.place("table"), wrong.message, "the stream's name cannot be a table's: give a `table`");
            None
        }
    }
}

fn partition_by(table: &Table, report: &mut Report) -> Vec<PartitionColumn> {
    let mut columns: Vec<PartitionColumn> = Vec::new();
    for node in table.list("partition_by") {
        let Value::Partition(column) = &node.value else { continue };
        if columns.iter().any(|known| known.key() == column.key()) {
            report.error(&node.at, format!("the partition {} is given twice", quote(&column.key())), "name it once");
        }
        columns.push(column.clone());
    }
    columns
}

fn columns(table: &Table, stream: Option<&Stream>, report: &mut Report) -> BTreeMap<String, DeclaredType> {
    let mut columns = BTreeMap::new();
    for (path, node) in table.map("columns") {
        if let Value::Type(declared) = &node.value {
            columns.insert(path.clone(), declared.clone());
        }
    }
    refuse_inner_columns(table, &columns, report);
    let cursor = stream.and_then(|stream| stream.cursor.as_ref()).filter(|cursor| cursor.cursor_type != CursorType::Token);
    let Some(cursor) = cursor else {
        return columns;
    };
    if let Some(declared) = columns.get(&cursor.field)
        && !agrees(declared, cursor.cursor_type)
    {
        let place = table.table("columns").map(|columns| columns.place(&cursor.field)).unwrap_or_default();
        report.error(&place, "the stream's cursor says otherwise of this field", "take it out, or correct the cursor's `type`");
    }
    let implied = match cursor.cursor_type {
        CursorType::EpochS => Some(DeclaredType::EpochS),
        CursorType::EpochMs => Some(DeclaredType::EpochMs),
        CursorType::EpochUs => Some(DeclaredType::EpochUs),
        _ => None,
    };
    if let Some(implied) = implied {
        columns.entry(cursor.field.clone()).or_insert(implied);
    }
    columns
}

fn agrees(declared: &DeclaredType, cursor: CursorType) -> bool {
    match cursor {
        CursorType::EpochS => *declared == DeclaredType::EpochS,
        CursorType::EpochMs => *declared == DeclaredType::EpochMs,
        CursorType::EpochUs => *declared == DeclaredType::EpochUs,
        CursorType::Timestamp => *declared == DeclaredType::Column(ColumnType::Timestamp),
        CursorType::Date => *declared == DeclaredType::Column(ColumnType::Date),
        CursorType::Integer => *declared == DeclaredType::Column(ColumnType::Int64),
        // What is compared is the text, whatever the column makes of it.
        CursorType::String | CursorType::Token => true,
    }
}

/// A field cannot be one value and hold another.
fn refuse_inner_columns(table: &Table, columns: &BTreeMap<String, DeclaredType>, report: &mut Report) {
    let paths: BTreeSet<Vec<String>> = columns.keys().filter_map(|path| split_path(path).ok()).collect();
    for path in columns.keys() {
        let steps = split_path(path).unwrap_or_default();
        let outer = (1..steps.len()).find(|length| paths.contains(&steps[..*length]));
        if let Some(length) = outer {
            let place = table.table("columns").map(|columns| columns.place(path)).unwrap_or_default();
            let outer = crate::page::join_path(&steps[..length]);
            report.error(&place, format!("its outer field {} has a type already", quote(&outer)), "keep one of them");
        }
    }
}
