//! What a dataset's log knows of parents: for whom the coverage holds, and what of it does not hold for one.
//!
//! A file has a row for each parent of which nothing is lacking, and one for each stretch that a parent lacks. The rows of a later
//! record take the place of all those that earlier ones have of the same parent.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::page::ParentId;
use crate::store::Store;

use super::SinkError;
use super::current::CurrentFile;
use super::merge::{check_rows, open, unreadable};
use super::stored_file::FileRows;

const PARENT: &str = "_hw_parent";
const LACKS: &str = "lacks";
const FROM: &str = "from_us";
const TO: &str = "to_us";
/// Rows of one batch while a file is read.
const BATCH_ROWS: usize = 16 * 1024;

/// What is known of a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParentRow {
    pub parent: ParentId,
    pub lacks: Option<Lack>,
}

/// A stretch that was not read of a parent although the coverage holds it, in microseconds since 1970. Without a beginning it is all
/// before `to`; without an end, whatever is covered from `from` on, now or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lack {
    pub from: Option<i64>,
    pub to: Option<i64>,
}

/// The columns of a file.
pub fn to_batch(rows: &[ParentRow]) -> Result<RecordBatch, SinkError> {
    let bug = |error: arrow::error::ArrowError| SinkError::bug(format!("parents cannot be written: {error}"));
    let mut parents = FixedSizeBinaryBuilder::with_capacity(rows.len(), 16);
    rows.iter().try_for_each(|row| parents.append_value(row.parent)).map_err(bug)?;
    let of = |value: fn(&Lack) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(|row| row.lacks.as_ref().and_then(value)).collect::<Int64Array>())
    };
    let lacks: Vec<bool> = rows.iter().map(|row| row.lacks.is_some()).collect();
    let lacks: ArrayRef = Arc::new(arrow::array::BooleanArray::from(lacks));
    RecordBatch::try_from_iter_with_nullable([
        (PARENT, Arc::new(parents.finish()) as ArrayRef, false),
        (LACKS, lacks, false),
        (FROM, of(|lack| lack.from), true),
        (TO, of(|lack| lack.to), true),
    ])
    .map_err(bug)
}

/// Goes over a file's rows, in order.
pub async fn read_parents(
    store: &Arc<dyn Store>,
    path: &str,
    file: &CurrentFile,
    mut take: impl FnMut(ParentRow) -> Result<(), SinkError>,
) -> Result<(), SinkError> {
    let builder = open(store, path, file).await?;
    let mut stream = FileRows::new(builder.with_batch_size(BATCH_ROWS).build().map_err(|error| unreadable(path, error))?);
    let mut rows = 0;
    let mut last: Option<ParentRow> = None;
    while let Some(batch) = stream.next().await.map_err(|error| unreadable(path, error))? {
        for row in from_batch(path, &batch)? {
            if last.is_some_and(|last| last >= row) {
                return Err(SinkError::data(format!("`{path}` is out of order: it was changed")));
            }
            last = Some(row);
            take(row)?;
        }
        rows += batch.num_rows() as u64;
    }
    check_rows(path, file, rows)
}

fn from_batch(path: &str, batch: &RecordBatch) -> Result<Vec<ParentRow>, SinkError> {
    let wrong = || SinkError::data(format!("`{path}` does not have the columns of a file of parents: it was changed"));
    let column = |name: &str| batch.column_by_name(name).ok_or_else(wrong);
    let parents = column(PARENT)?.as_fixed_size_binary_opt().filter(|parents| parents.value_length() == 16).ok_or_else(wrong)?;
    let lacks = column(LACKS)?.as_boolean_opt().ok_or_else(wrong)?;
    let from = column(FROM)?.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
    let to = column(TO)?.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
    let value = |array: &Int64Array, row: usize| array.is_valid(row).then(|| array.value(row));
    (0..batch.num_rows())
        .map(|row| {
            let parent = ParentId::try_from(parents.value(row)).map_err(|_| wrong())?;
            let lacks = lacks.value(row).then(|| Lack { from: value(from, row), to: value(to, row) });
            Ok(ParentRow { parent, lacks })
        })
        .collect()
}
