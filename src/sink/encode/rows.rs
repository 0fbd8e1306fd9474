//! What stands in a slice's files: the columns of a table's rows, and those of the files of our own beside it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, RecordBatch, RecordBatchOptions, StringArray, StringViewArray, StringViewBuilder, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};

use super::super::own::{self, cursor_array};
use super::super::{SinkError, table};
use super::EncodeSettings;
use crate::batch::Batch;
use crate::config::catalog::PartitionUnit;
use crate::cursor::CursorKey;
use crate::ids::BatchId;
use crate::reject::Reject;
use crate::schema::{Field, TableSchema};

pub(super) struct Columns {
    /// What of the table's columns is written.
    written: TableSchema,
    arrow: SchemaRef,
    /// What of that stands in the files, with our own columns.
    filed: TableSchema,
    file_schema: SchemaRef,
}

impl Columns {
    pub fn of(settings: &EncodeSettings) -> Self {
        let path_only = |name: &str| settings.partition_by.iter().any(|by| by.unit == PartitionUnit::Value && by.column == name);
        let written = table::written(&settings.schema);
        let mut fields: Vec<Field> = written.fields.iter().filter(|field| !path_only(&field.name)).cloned().collect();
        fields.extend(settings.own.fields());
        let filed = TableSchema { fields };
        Columns { arrow: written.to_arrow(), file_schema: filed.to_arrow(), written, filed }
    }

    /// Whether the files have a column of this name.
    pub fn has(&self, name: &str) -> bool {
        self.filed.fields.iter().any(|field| field.name == name)
    }

    /// How deep the columns of the files are nested; 1 without nested ones.
    pub fn depth(&self) -> usize {
        fn of(field: &ArrowField) -> usize {
            let deepest = match field.data_type() {
                DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => of(item),
                DataType::Struct(fields) => fields.iter().map(|field| of(field)).max().unwrap_or_default(),
                _ => 0,
            };
            deepest + 1
        }
        self.file_schema.fields().iter().map(|field| of(field)).max().unwrap_or_default()
    }

    /// Rows of a file of the same table, with the columns of today.
    pub fn carried(&self, rows: &RecordBatch) -> Result<RecordBatch, SinkError> {
        table::conform(rows, &self.filed, &self.file_schema)
    }

    /// The rows with every column that is written; partition columns that were always null come along as nulls.
    pub fn source(&self, batch: &Batch, settings: &EncodeSettings) -> Result<RecordBatch, SinkError> {
        let rows = &batch.rows;
        let mut conformed = table::conform(rows, &self.written, &self.arrow)?;
        for by in &settings.partition_by {
            if conformed.column_by_name(&by.column).is_none()
                && let Some(column) = rows.column_by_name(&by.column)
            {
                let field = ArrowField::new(&by.column, column.data_type().clone(), true);
                conformed = beside(&conformed, [(field, column.clone())])?;
            }
        }
        if let Some(marks) = &batch.marks {
            let marks = own::mark_columns(marks, &settings.own)?.into_iter();
            conformed = beside(&conformed, marks.map(|(field, column)| (field.to_arrow(), column)))?;
        }
        Ok(conformed)
    }

    /// The columns of the files, out of [the rows with every column](Self::source).
    pub fn of_file(&self, rows: &RecordBatch, batch: &Batch, settings: &EncodeSettings) -> Result<RecordBatch, SinkError> {
        let count = rows.num_rows();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.file_schema.fields().len());
        for field in self.file_schema.fields() {
            columns.push(match field.name().as_str() {
                own::COMMIT => repeated(&settings.batch.to_string(), count)?,
                own::SET => repeated(settings.set.as_str(), count)?,
                own::EXTRACTED_AT => {
                    let at = TimestampMicrosecondArray::from_value(batch.extracted_at.as_microsecond(), count);
                    Arc::new(at.with_timezone("UTC"))
                }
                name => {
                    rows.column_by_name(name).cloned().ok_or_else(|| SinkError::bug(format!("the column `{name}` is lost")))?
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.file_schema.clone(), columns, &options)
            .map_err(|error| SinkError::bug(error.to_string()))
    }
}

/// The rows with more columns behind theirs; of both there may be none.
fn beside(rows: &RecordBatch, more: impl IntoIterator<Item = (ArrowField, ArrayRef)>) -> Result<RecordBatch, SinkError> {
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    let mut columns = rows.columns().to_vec();
    for (field, column) in more {
        fields.push(Arc::new(field));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| SinkError::bug(error.to_string()))
}

/// Keys that were deleted, with the cursor of their deletion.
pub(super) fn tombstones(keys: &[String], cursors: &[CursorKey], settings: &EncodeSettings) -> Result<RecordBatch, SinkError> {
    let mut columns: Vec<(&str, ArrayRef)> = vec![(own::KEY, Arc::new(StringViewArray::from_iter_values(keys)))];
    if let Some(cursor) = &settings.own.cursor {
        columns.push((own::CURSOR, cursor_array(cursors, cursor)?));
    }
    let batch = settings.batch.to_string();
    columns.push((own::COMMIT, Arc::new(StringArray::from_iter_values(std::iter::repeat_n(batch, keys.len())))));
    RecordBatch::try_from_iter(columns).map_err(|error| SinkError::bug(error.to_string()))
}

/// The columns of a dead letters' file.
pub(super) fn dead_letters(rejects: &[Reject], batch: BatchId) -> Result<RecordBatch, SinkError> {
    let text = |value: fn(&Reject) -> String| -> ArrayRef {
        Arc::new(rejects.iter().map(|reject| Some(value(reject))).collect::<StringArray>())
    };
    let number = |value: fn(&Reject) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(rejects.iter().map(value))) };
    let received = rejects.iter().map(|reject| reject.received_at.as_microsecond());
    let columns: Vec<(&str, ArrayRef)> = vec![
        (own::COMMIT, Arc::new(StringArray::from_iter_values(std::iter::repeat_n(batch.to_string(), rejects.len())))),
        ("rejected_at", text(|reject| reject.at.name().to_owned())),
        ("reason", text(|reject| reject.reason.clone())),
        ("field", text(|reject| reject.field.clone())),
        ("record", text(|reject| String::from_utf8_lossy(&reject.record).into_owned())),
        ("page", number(|reject| reject.page)),
        ("place", number(|reject| reject.place)),
        ("received_at", Arc::new(TimestampMicrosecondArray::from_iter_values(received).with_timezone("UTC"))),
    ];
    let fields: Vec<ArrowField> =
        columns.iter().map(|(name, array)| ArrowField::new(*name, array.data_type().clone(), false)).collect();
    debug_assert_eq!(fields[7].data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| SinkError::bug(error.to_string()))
}

/// One text in every row, held once.
fn repeated(text: &str, count: usize) -> Result<ArrayRef, SinkError> {
    let mut rows = StringViewBuilder::with_capacity(count);
    let block = rows.append_block(Buffer::from(text.as_bytes()));
    let length = u32::try_from(text.len()).map_err(|_| SinkError::bug("a text of our own is too long"))?;
    for _ in 0..count {
        rows.try_append_view(block, 0, length).map_err(|error| SinkError::bug(error.to_string()))?;
    }
    Ok(Arc::new(rows.finish()))
}
