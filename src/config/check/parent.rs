//! `[streams.NAME.parent]`: which stream is gone over, once all of a source's streams are known.

use std::collections::BTreeMap;

use crate::config::catalog::{Cursor, Parent, Stream};
use crate::config::node::Table;
use crate::config::problem::{Report, nearest, quote};
use crate::page::split_path;

/// Parents of parents, at most.
const DEPTH_MAX: usize = 4;

/// Gives every stream its parent. A stream whose parent is not right is none itself.
pub(super) fn resolve(tables: &BTreeMap<&str, &Table>, streams: &mut BTreeMap<String, Option<Stream>>, report: &mut Report) {
    let own = streams.clone();
    for (name, table) in tables {
        if table.has("parent") {
            let stream = resolved(name, tables, &own, DEPTH_MAX, &mut |table, key, message, help| {
                report.error(&table.place(key), message, help);
            });
            streams.insert((*name).to_owned(), stream);
        }
    }
}

/// Children that are read by a cursor of their own: coverage tells of each parent.
fn own_cursor(
    cursor: &Cursor,
    of_parent: &Stream,
    changed_only: bool,
    table: &Table,
    stream: &Table,
    tell: &mut Tell<'_>,
) -> Option<()> {
    if changed_only {
        let message = "the stream has a cursor of its own, which reads what is new of every parent: one of the two decides";
        tell(table, "changed_only", message.to_owned(), "take this out, or the stream's cursor".to_owned());
        return None;
    }
    if !cursor.cursor_type.is_time() {
        let message = "below a parent a cursor is a time or a date: a mark of another kind would have to be kept for each parent";
        let help =
            "name a field that is one, or take the cursor out; with changed_only = true the parents' cursor tells what is new";
        tell(stream, "cursor", message.to_owned(), help.to_owned());
        return None;
    }
    if cursor.history_max.is_some() {
        let message = "below a parent what lies behind `history_max` would be asked for again with every parent that is new";
        tell(stream, "cursor", message.to_owned(), "take history_max out".to_owned());
        return None;
    }
    let mut above = Some(of_parent);
    while let Some(keyless) = above {
        if keyless.primary_key.is_empty() {
            let message = format!(
                "nothing tells the records of {} from each other, so that nobody could say what was read of which",
                quote(&keyless.name)
            );
            tell(table, "stream", message, format!("add primary_key to the stream {}", quote(&keyless.name)));
            return None;
        }
        above = keyless.parent.as_ref().map(|parent| parent.stream.as_ref());
    }
    Some(())
}

type Tell<'a> = dyn FnMut(&Table, &str, String, String) + 'a;

fn resolved(
    name: &str,
    tables: &BTreeMap<&str, &Table>,
    streams: &BTreeMap<String, Option<Stream>>,
    depth: usize,
    tell: &mut Tell<'_>,
) -> Option<Stream> {
    let stream = streams.get(name)?.clone()?;
    let Some(table) = tables.get(name).and_then(|table| table.table("parent")) else { return Some(stream) };
    let parent = table.text("stream")?;
    if !tables.contains_key(parent.as_str()) {
        let help = nearest(&parent, tables.keys().copied(), "streams");
        tell(table, "stream", format!("there is no stream {}", quote(&parent)), help);
        return None;
    };
    if depth == 0 || parent == name {
        tell(
            table,
            "stream",
            "the streams go over each other in a circle, or too deeply".to_owned(),
            "name another one".to_owned(),
        );
        return None;
    }
    // What is wrong with the parent's own parent is told where that stands.
    let of_parent = resolved(&parent, tables, streams, depth - 1, &mut |_, _, _, _| {})?;
    if of_parent.export.is_some() {
        let message = format!("the stream {} is exported, and such a one cannot be gone over yet", quote(&parent));
        tell(table, "stream", message, "name one that is read page by page".to_owned());
        return None;
    }
    let changed_only = table.boolean("changed_only").unwrap_or(false);
    if changed_only && !of_parent.window_cursor().is_some_and(|cursor| cursor.cursor_type.is_time()) {
        let message =
            format!("the stream {} has no cursor of time, so nobody can tell which of its records changed", quote(&parent));
        tell(table, "changed_only", message, "give it a cursor, or take this out".to_owned());
    }
    if changed_only && stream.primary_key.is_empty() {
        let message = "the records of a parent that changed are read again, and nothing tells them from those that are there";
        tell(table, "changed_only", message.to_owned(), "add primary_key to the stream, or take this out".to_owned());
    }
    if !stream.templates().iter().any(|template| template.uses("parent")) {
        let help = "name what tells them apart, such as \"/orders/{{ parent.id }}/lines\"";
        tell(tables[name], "path", "the requests for all parents are the same".to_owned(), help.to_owned());
    }
    if let Some(cursor) = &stream.cursor {
        own_cursor(cursor, &of_parent, changed_only, table, tables[name], tell)?;
    }
    let carry = table.map("carry").iter();
    let carry = carry.filter_map(|(column, node)| Some((column.clone(), split_path(node.text()?).ok()?))).collect();
    Some(Stream { parent: Some(Parent { stream: Box::new(of_parent), carry, changed_only }), ..stream })
}
