//! `[[steps]]`: their form. What the SQL says is the room `transform`'s to check.

use std::collections::BTreeSet;

use crate::config::catalog::{DeclaredType, Step, StepKind};
use crate::config::node::{Node, Table, Value};
use crate::config::problem::{Report, quote};

/// Columns that rows carry by themselves.
const OWN_PREFIX: &str = "_hw_";

pub(super) fn check(table: &Table, report: &mut Report) -> Vec<Step> {
    let mut steps = Vec::new();
    for (index, node) in table.list("steps").iter().enumerate() {
        let Some(entry) = node.table() else { continue };
        if let Some(kind) = kind(entry, report) {
            steps.push(Step { number: index + 1, line: node.at.line, kind });
        }
    }
    steps
}

fn kind(entry: &Table, report: &mut Report) -> Option<StepKind> {
    let (key, node) = entry.entries.first()?;
    match (key.as_str(), &node.value) {
        ("select", _) => Some(StepKind::Select(columns(entry, key, report))),
        ("drop", _) => Some(StepKind::Drop(columns(entry, key, report))),
        ("rename", Value::Table(map)) => {
            let pairs = pairs(map, key, report);
            refuse_doubles(map, &pairs, report);
            Some(StepKind::Rename(pairs))
        }
        ("cast", Value::Table(map)) => Some(StepKind::Cast(casts(map, report))),
        ("derive", Value::Table(map)) => {
            for (name, node) in &map.entries {
                refuse_own(name, node, report);
            }
            Some(StepKind::Derive(pairs(map, key, report)))
        }
        ("filter", Value::Text(predicate)) => Some(StepKind::Filter(predicate.clone())),
        ("flatten", Value::Table(flatten)) => Some(StepKind::Flatten {
            columns: columns(flatten, "columns", report),
            separator: flatten.text("separator").unwrap_or_else(|| "_".to_owned()),
        }),
        ("sql", Value::Text(query)) => Some(StepKind::Sql(query.clone())),
        _ => None,
    }
}

fn columns(table: &Table, key: &str, report: &mut Report) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    for node in table.list(key) {
        let Some(column) = node.text() else { continue };
        if !seen.insert(column) {
            report.error(&node.at, format!("the column {} stands twice", quote(column)), "name it once");
        }
        columns.push(column.to_owned());
    }
    let empty = matches!(table.node(key), Some(Node { value: Value::List(items), .. }) if items.is_empty());
    if empty {
        report.error(&table.place(key), "the list is empty", "name at least one column");
    }
    columns
}

fn pairs(map: &Table, key: &str, report: &mut Report) -> Vec<(String, String)> {
    if map.entries.is_empty() {
        report.error(&map.at, format!("`{key}` says nothing"), "name at least one column");
    }
    map.entries.iter().filter_map(|(name, node)| Some((name.clone(), node.text()?.to_owned()))).collect()
}

fn casts(map: &Table, report: &mut Report) -> Vec<(String, crate::schema::ColumnType)> {
    if map.entries.is_empty() {
        report.error(&map.at, "`cast` says nothing", "name at least one column");
    }
    let mut casts = Vec::new();
    for (name, node) in &map.entries {
        if let Value::Type(DeclaredType::Column(column)) = &node.value {
            casts.push((name.clone(), column.clone()));
        }
    }
    casts
}

fn refuse_doubles(map: &Table, pairs: &[(String, String)], report: &mut Report) {
    let mut seen = BTreeSet::new();
    for (old, new) in pairs {
        let Some(node) = map.node(old) else { continue };
        if !seen.insert(new) {
            report.error(&node.at, format!("two columns become {}", quote(new)), "give each a name of its own");
        }
        refuse_own(new, node, report);
    }
}

fn refuse_own(name: &str, node: &Node, report: &mut Report) {
    if name.starts_with(OWN_PREFIX) {
        report.error(&node.at, format!("names that begin with `{OWN_PREFIX}` are highwater's own"), "choose another name");
    }
}
