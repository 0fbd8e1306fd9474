//! The table as readers find it, read with the `parquet` crate alone, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use highwater::store::Store;
use jiff::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::source::{Item, Items, Mode, Shape};

pub const TABLE: &str = "items";
const OBJECT_MAX: u64 = 1 << 24;

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    at: Timestamp,
    name: String,
    kind: String,
    deleted: Option<bool>,
}

/// The data files that the table's folder holds.
pub async fn files_by_listing(store: &dyn Store) -> BTreeSet<String> {
    let listed = store.list(TABLE).await.unwrap();
    listed.into_iter().map(|object| object.path).filter(|path| path.ends_with(".parquet")).collect()
}

/// The data files that `current.json` names.
pub async fn files_by_index(store: &dyn Store) -> BTreeSet<String> {
    let Some(bytes) = store.get("_highwater/items/current.json", OBJECT_MAX).await.unwrap() else { return BTreeSet::new() };
    let index: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    index["files"].as_object().unwrap().keys().cloned().collect()
}

pub async fn read_rows(store: &dyn Store, files: &BTreeSet<String>) -> BTreeMap<u64, Vec<Row>> {
    let mut rows: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
    for path in files {
        let folder = path.split('/').find_map(|step| step.strip_prefix("kind=")).map(str::to_owned);
        let bytes = store.get(path, OBJECT_MAX).await.unwrap().unwrap_or_else(|| panic!("{path} is gone"));
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let column = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name} in {path}"));
            let text = |name: &str| arrow::compute::cast(column(name), &DataType::Utf8).unwrap();
            let ids = column("id").as_primitive::<Int64Type>();
            let micros = arrow::compute::cast(column("updated_at"), &DataType::Int64).unwrap();
            let names = text("name");
            let kinds = folder.is_none().then(|| text("kind"));
            let deleted = batch.column_by_name("_hw_deleted").map(|column| column.as_boolean());
            for row in 0..batch.num_rows() {
                let kind = match (&folder, &kinds) {
                    (Some(folder), _) => folder.clone(),
                    (None, Some(kinds)) => kinds.as_string::<i32>().value(row).to_owned(),
                    (None, None) => unreachable!("the kind stands in the path or in the file"),
                };
                let name = names.as_string::<i32>();
                rows.entry(u64::try_from(ids.value(row)).unwrap()).or_default().push(Row {
                    at: Timestamp::from_microsecond(micros.as_primitive::<Int64Type>().value(row)).unwrap(),
                    name: if name.is_null(row) { String::new() } else { name.value(row).to_owned() },
                    kind,
                    deleted: deleted.map(|deleted| deleted.is_valid(row) && deleted.value(row)),
                });
            }
        }
    }
    rows
}

/// What the table has against what the source has: each row once, in its newest form.
pub fn compare(shape: &Shape, items: &Items, rows: &BTreeMap<u64, Vec<Row>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, found) in rows {
        match items.newest.get(id) {
            None => wrong.push(format!("row {id} is not in the source")),
            Some(newest) if shape.mode == Mode::Append => {
                wrong.extend(compare_versions(*id, found, newest, &items.versions[id], shape.filter));
            }
            Some(_) if found.len() != 1 => wrong.push(format!("row {id} is doubled: {found:?}")),
            Some(item) if item.deleted && found[0].deleted != Some(true) => wrong.push(format!("row {id} was deleted")),
            Some(item) if item.deleted => {}
            Some(item) => {
                let (name, kind) = (format!("n{}", item.name), item.kind.to_owned());
                let expected = Row { at: item.at, name, kind, deleted: found[0].deleted };
                if found[0] != expected || found[0].deleted == Some(true) {
                    wrong.push(format!("row {id} is {:?}, not {expected:?}", found[0]));
                }
            }
        }
    }
    for (id, item) in &items.newest {
        let is_away = item.deleted || shape.filter && item.hidden;
        let is_there = rows.contains_key(id);
        if !is_away && !is_there {
            wrong.push(format!("row {id} is lost: {item:?}"));
        }
        let should_not = item.deleted && shape.deletes == Some("hard") || shape.filter && item.hidden && !item.deleted;
        if should_not && is_there && shape.mode != Mode::Append {
            wrong.push(format!("row {id} should have gone: {item:?}"));
        }
    }
    wrong
}

/// An append has every version that was read, each once, and the newest among them.
fn compare_versions(id: u64, found: &[Row], newest: &Item, versions: &[Item], filter: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for row in found {
        if !versions.iter().any(|item| item.at == row.at && format!("n{}", item.name) == row.name) {
            wrong.push(format!("row {id} was never {row:?}"));
        }
        if found.iter().filter(|other| *other == row).count() > 1 {
            wrong.push(format!("row {id} is doubled: {row:?}"));
        }
    }
    let is_there = found.iter().any(|row| row.at == newest.at);
    if !(is_there || filter && newest.hidden) {
        wrong.push(format!("the newest version of {id} is lost: {newest:?}"));
    }
    wrong
}
