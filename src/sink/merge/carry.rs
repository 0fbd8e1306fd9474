//! The rows of a touched file that stay: as they are, or marked as deleted.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringViewArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field as ArrowField, Schema};

use crate::cursor::CursorKey;
use crate::ids::BatchId;
use crate::schema::ColumnType;
use crate::store::Store;

use super::super::SinkError;
use super::super::current::CurrentFile;
use super::super::own::{self, OwnColumns};
use super::super::stored_file::FileRows;
use super::candidates::{check_rows, open, read_rows, unreadable};
use super::resolve::Touched;

/// The columns of our own that rows of these files are written with, besides those that the job gives them: what some of the files have
/// must not be lost, whatever the job says today.
pub async fn own_columns<'f>(
    store: &Arc<dyn Store>,
    mut all: OwnColumns,
    files: impl Iterator<Item = (&'f str, &'f CurrentFile)>,
) -> Result<OwnColumns, SinkError> {
    for (path, file) in files {
        let rows = open(store, path, file).await?;
        let has = |name: &str| rows.schema().column_with_name(name).is_some();
        all.metadata |= has(own::COMMIT) || has(own::EXTRACTED_AT);
        all.set |= has(own::SET);
        all.deleted |= has(own::DELETED);
    }
    Ok(all)
}

/// The rows of one touched file, batch by batch.
pub struct Carried<'a> {
    touched: &'a Touched,
    stream: FileRows,
    batch: BatchId,
    /// Rows read so far.
    read: u64,
}

/// Opens a touched file. `batch` is the one that marks rows as deleted.
pub async fn carry<'a>(store: &Arc<dyn Store>, touched: &'a Touched, batch: BatchId) -> Result<Carried<'a>, SinkError> {
    let stream = read_rows(store, &touched.path, &touched.file).await?;
    Ok(Carried { touched, stream, batch, read: 0 })
}

impl Carried<'_> {
    /// The next rows that stay; `None` at the file's end, where its number of rows was found to be right.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, SinkError> {
        loop {
            let path = &self.touched.path;
            let Some(batch) = self.stream.next().await.map_err(|error| unreadable(path, error))? else {
                check_rows(path, &self.touched.file, self.read)?;
                return Ok(None);
            };
            let first = self.read;
            self.read += batch.num_rows() as u64;
            let rows = stay(&batch, first, self.touched, self.batch)?;
            if rows.num_rows() > 0 {
                return Ok(Some(rows));
            }
        }
    }
}

fn stay(batch: &RecordBatch, first: u64, touched: &Touched, by: BatchId) -> Result<RecordBatch, SinkError> {
    let rows = first..first + batch.num_rows() as u64;
    let marked = match touched.has_marks() && rows.clone().any(|row| touched.mark(row).is_some()) {
        true => mark(batch, rows.clone(), touched, by)?,
        false => batch.clone(),
    };
    let mask: BooleanArray = rows.map(|row| Some(!touched.is_gone(row))).collect();
    filter_record_batch(&marked, &mask).map_err(|error| SinkError::bug(error.to_string()))
}

/// Marked rows keep what was last seen of them; the mark tells when it was set, and by which batch.
fn mark(batch: &RecordBatch, rows: std::ops::Range<u64>, touched: &Touched, by: BatchId) -> Result<RecordBatch, SinkError> {
    let marks: Vec<Option<&CursorKey>> = rows.map(|row| touched.mark(row)).collect();
    let mut columns: Vec<(Arc<ArrowField>, ArrayRef)> =
        batch.schema().fields().iter().cloned().zip(batch.columns().iter().cloned()).collect();
    let column = |name: &str| batch.column_by_name(name);
    let was = column(own::DELETED).and_then(|column| column.as_boolean_opt());
    let deleted = (0..marks.len()).map(|row| marks[row].is_some() || was.is_some_and(|was| was.is_valid(row) && was.value(row)));
    put(&mut columns, own::DELETED, Arc::new(BooleanArray::from(deleted.collect::<Vec<bool>>())));
    if let Some(column) = column(own::CURSOR) {
        let cursors = own::read_cursors(column).ok_or_else(|| SinkError::data(format!("`{}` has odd cursors", touched.path)))?;
        let moved: Vec<CursorKey> = cursors.iter().zip(&marks).map(|(cursor, mark)| mark.unwrap_or(cursor).clone()).collect();
        let column_type = ColumnType::from_arrow(column.data_type()).map_err(|error| SinkError::bug(error.to_string()))?;
        put(&mut columns, own::CURSOR, own::cursor_array(&moved, &column_type)?);
    }
    if let Some(commits) = column(own::COMMIT).and_then(own::read_keys) {
        let by = by.to_string();
        let commits = commits.iter().zip(&marks).map(|(commit, mark)| if mark.is_some() { by.as_str() } else { commit });
        put(&mut columns, own::COMMIT, Arc::new(StringViewArray::from_iter_values(commits)));
    }
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| SinkError::bug(error.to_string()))
}

fn put(columns: &mut Vec<(Arc<ArrowField>, ArrayRef)>, name: &str, array: ArrayRef) {
    let field = Arc::new(ArrowField::new(name, array.data_type().clone(), true));
    match columns.iter_mut().find(|(known, _)| known.name() == name) {
        Some(column) => *column = (field, array),
        None => columns.push((field, array)),
    }
}
