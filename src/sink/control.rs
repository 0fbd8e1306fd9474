//! Control tables: what happened to a table, as Parquet beside its log, for who asks in SQL: `runs` and `schema_changes`.
//!
//! A control table is a folder of files that are never changed. Each holds the rows from one key to another, which its name tells, so
//! that no row is ever in two files: what to write is what no name spans. Many files of one level are folded into one of the next:
//! the new one stands aside until the old ones are gone, so a glob misses rows for a moment rather than counting them twice.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use bytes::Bytes;
use jiff::Timestamp;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::ids::{DatasetName, RunId, Seq};
use crate::schema::TableSchema;
use crate::store::{Published, Store};

use super::record::Record;
use super::{SinkError, layout};

/// Files of one level that become one of the next.
const FOLD: usize = 32;
/// The last level, whose oldest file goes where there are too many: about a million rows are kept.
const LEVEL_MAX: u8 = 3;
/// Largest file that is read to be folded, bytes.
const FILE_MAX: u64 = 256 << 20;
/// What a fold is called until the files that it is made of are gone.
const ASIDE: &str = ".staged";

/// The kinds of control tables that are written here; dead letters are a third one, written with the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlTable {
    Runs,
    SchemaChanges,
}

impl ControlTable {
    pub fn name(self) -> &'static str {
        match self {
            ControlTable::Runs => "runs",
            ControlTable::SchemaChanges => "schema_changes",
        }
    }
}

/// Where a row stands among all of its table: texts of one length, in order.
pub type Key = String;

/// The key of a run. Of one job no two runs begin at once, but clocks may say so.
pub fn run_key(started_at: Timestamp, run: RunId) -> Key {
    format!("{:020}_{run}", started_at.as_microsecond().max(0))
}

/// The key of what a record changed.
pub fn seq_key(seq: Seq) -> Key {
    format!("{seq:020}")
}

/// A file by its name: the level, and the first and the last key in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    level: u8,
    first: Key,
    last: Key,
    aside: bool,
}

impl Named {
    fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?;
        let (name, aside) = match name.strip_suffix(ASIDE) {
            Some(name) => (name, true),
            None => (name.strip_suffix(".parquet")?, false),
        };
        let mut parts = name.splitn(3, '.');
        let level = parts.next()?.parse().ok()?;
        let (first, last) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        (first <= last).then_some(Named { level, first, last, aside })
    }

    fn path(&self, folder: &str) -> String {
        let end = if self.aside { ASIDE } else { ".parquet" };
        format!("{folder}/{}.{}.{}{end}", self.level, self.first, self.last)
    }

    fn spans(&self, key: &str) -> bool {
        self.first.as_str() <= key && key <= self.last.as_str()
    }
}

/// A control table as it stands.
pub struct Control {
    store: Arc<dyn Store>,
    folder: String,
    files: Vec<Named>,
}

impl Control {
    /// Looks what is there. What a crash left of a fold is finished.
    pub async fn open(store: &Arc<dyn Store>, dataset: &DatasetName, table: ControlTable) -> Result<Self, SinkError> {
        let folder = layout::control(dataset, table.name());
        let listed = store.list(&folder).await?;
        let mut files: Vec<Named> = listed.iter().filter_map(|listed| Named::of(&listed.path)).collect();
        files.sort();
        let mut control = Control { store: Arc::clone(store), folder, files };
        let aside: Vec<Named> = control.files.iter().filter(|file| file.aside).cloned().collect();
        for file in aside {
            control.put_in_place(file).await?;
        }
        Ok(control)
    }

    /// Whether the row of this key was written.
    pub fn has(&self, key: &str) -> bool {
        self.files.iter().any(|file| file.spans(key))
    }

    /// Adds rows, in order of their keys, from `first` to `last`: all that there are between them. Written once, whatever comes between.
    pub async fn add(&mut self, first: &str, last: &str, rows: &RecordBatch) -> Result<(), SinkError> {
        let named = Named { level: 0, first: first.to_owned(), last: last.to_owned(), aside: false };
        // Written already says the same as written: the name says which rows these are.
        self.store.put_absent(&named.path(&self.folder), to_parquet(rows)?).await?;
        self.files.push(named);
        self.files.sort();
        Ok(())
    }

    /// Folds levels that have grown wide, so that there are never many files.
    pub async fn fold(&mut self) -> Result<(), SinkError> {
        for level in 0..=LEVEL_MAX {
            let wide: Vec<Named> = self.files.iter().filter(|file| file.level == level).cloned().collect();
            if wide.len() < FOLD {
                continue;
            }
            if level == LEVEL_MAX {
                self.drop_file(&wide[0]).await?;
                continue;
            }
            let mut batches = Vec::new();
            for file in &wide {
                batches.extend(self.read(file).await?);
            }
            let (Some(schema), Some(last)) = (batches.first().map(RecordBatch::schema), wide.last()) else { continue };
            let rows = concat_batches(&schema, &batches).map_err(|error| SinkError::data(error.to_string()))?;
            let folded = Named { level: level + 1, first: wide[0].first.clone(), last: last.last.clone(), aside: true };
            self.store.put(&folded.path(&self.folder), to_parquet(&rows)?).await?;
            self.files.push(folded.clone());
            self.put_in_place(folded).await?;
        }
        Ok(())
    }

    /// Lets a fold that stands aside take the place of the files that it is made of.
    async fn put_in_place(&mut self, aside: Named) -> Result<(), SinkError> {
        let made_of = |file: &&Named| !file.aside && file.level < aside.level && aside.spans(&file.first);
        let gone: Vec<Named> = self.files.iter().filter(made_of).cloned().collect();
        for file in gone {
            self.drop_file(&file).await?;
        }
        let seen = Named { aside: false, ..aside.clone() };
        let (from, to) = (aside.path(&self.folder), seen.path(&self.folder));
        if let Some(size) = self.store.size(&from).await?
            && self.store.publish(&from, &to, size).await? == Published::Done
        {
            self.store.delete(&from).await?;
        }
        self.files.retain(|file| *file != aside && *file != seen);
        self.files.push(seen);
        self.files.sort();
        Ok(())
    }

    async fn drop_file(&mut self, file: &Named) -> Result<(), SinkError> {
        self.store.delete(&file.path(&self.folder)).await?;
        self.files.retain(|known| known != file);
        Ok(())
    }

    async fn read(&self, file: &Named) -> Result<Vec<RecordBatch>, SinkError> {
        let path = file.path(&self.folder);
        let unreadable = |what: String| SinkError::data(format!("cannot read `{}`: {what}", self.store.address(&path)));
        let bytes = self.store.get(&path, FILE_MAX).await?.ok_or_else(|| unreadable("it is gone".to_owned()))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(ParquetRecordBatchReaderBuilder::build);
        let reader = reader.map_err(|error| unreadable(error.to_string()))?;
        reader.collect::<Result<_, _>>().map_err(|error| unreadable(error.to_string()))
    }
}

fn to_parquet(rows: &RecordBatch) -> Result<Bytes, SinkError> {
    let failed =
        |error: parquet::errors::ParquetError| SinkError::bug(format!("a control table's rows cannot be written: {error}"));
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).map_err(failed)?;
    writer.write(rows).map_err(failed)?;
    writer.into_inner().map(Bytes::from).map_err(failed)
}

/// One column that a record added, took away or gave another type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaChange {
    pub column: String,
    /// `None` where the column was not there before, or is not there any more.
    pub before: Option<String>,
    pub after: Option<String>,
}

/// What of the columns differs, in their order; columns that were always null have no type yet, and count once they have one.
pub fn schema_changes(before: &TableSchema, after: &TableSchema) -> Vec<SchemaChange> {
    let types = |schema: &TableSchema| -> Vec<(String, String)> {
        super::table::written(schema).fields.iter().map(|field| (field.name.clone(), field.column_type.to_string())).collect()
    };
    let (before, after) = (types(before), types(after));
    let type_of =
        |schema: &[(String, String)], name: &str| schema.iter().find(|(known, _)| known == name).map(|(_, kind)| kind.clone());
    let names = after.iter().chain(before.iter().filter(|(name, _)| type_of(&after, name).is_none())).map(|(name, _)| name);
    let change =
        |name: &String| SchemaChange { column: name.clone(), before: type_of(&before, name), after: type_of(&after, name) };
    names.map(change).filter(|change| change.before != change.after).collect()
}

/// The rows of `schema_changes` for one record.
pub fn schema_change_rows(record: &Record, changes: &[SchemaChange]) -> Result<RecordBatch, SinkError> {
    let count = changes.len();
    let text =
        |value: fn(&SchemaChange) -> Option<&str>| -> ArrayRef { Arc::new(changes.iter().map(value).collect::<StringArray>()) };
    let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, count))) };
    let kind = |change: &SchemaChange| match (&change.before, &change.after) {
        (None, _) => Some("added"),
        (_, None) => Some("removed"),
        _ => Some("changed"),
    };
    let at = TimestampMicrosecondArray::from_value(record.created_at.as_microsecond(), count).with_timezone("UTC");
    let seq = i64::try_from(record.seq).unwrap_or(i64::MAX);
    rows_of(vec![
        ("seq", Arc::new(Int64Array::from_value(seq, count))),
        ("at", Arc::new(at)),
        ("job", same(&record.job)),
        ("table", same(&record.table)),
        ("column", text(|change| Some(&change.column))),
        ("change", Arc::new(changes.iter().map(kind).collect::<StringArray>())),
        ("type_before", text(|change| change.before.as_deref())),
        ("type_after", text(|change| change.after.as_deref())),
    ])
}

/// Columns of a control table, all of which may be null.
pub fn rows_of(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, SinkError> {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .map_err(|error| SinkError::bug(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ColumnType, Field};
    use crate::store::memory::MemoryStore;

    fn row(number: i64) -> RecordBatch {
        rows_of(vec![("number", Arc::new(Int64Array::from(vec![number])))]).expect("rows")
    }

    async fn open(store: &Arc<dyn Store>) -> Control {
        Control::open(store, &DatasetName::new("orders"), ControlTable::SchemaChanges).await.expect("opened")
    }

    /// All rows that a glob finds.
    async fn numbers(control: &Control) -> Vec<i64> {
        let mut numbers = Vec::new();
        for listed in control.store.list(&control.folder).await.expect("listed") {
            let Some(named) = Named::of(&listed.path).filter(|named| !named.aside) else { continue };
            for batch in control.read(&named).await.expect("read") {
                use arrow::array::AsArray;
                numbers.extend(batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().iter().copied());
            }
        }
        numbers.sort_unstable();
        numbers
    }

    #[tokio::test]
    async fn rows_are_written_once_and_files_stay_few() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        for number in 0..1_100i64 {
            let mut control = open(&store).await;
            let key = seq_key(number.unsigned_abs());
            assert!(!control.has(&key));
            control.add(&key, &key, &row(number)).await.expect("added");
            // An answer that was lost: the same again.
            control.add(&key, &key, &row(number)).await.expect("added again");
            let mut control = open(&store).await;
            control.fold().await.expect("folded");
            assert!(control.has(&key) && control.files.len() <= 3 * FOLD, "{}", control.files.len());
        }
        assert_eq!(numbers(&open(&store).await).await, (0..1_100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_fold_that_was_cut_off_is_finished_and_doubles_nothing() {
        for dropped in 0..=FOLD {
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let mut control = open(&store).await;
            let count = i64::try_from(FOLD).expect("few");
            for number in 0..count {
                let key = seq_key(number.unsigned_abs());
                control.add(&key, &key, &row(number)).await.expect("added");
            }
            let (all, files) = ((0..count).collect::<Vec<_>>(), control.files.clone());
            // As it is where the fold stands aside and some of the others are gone.
            let batches: Vec<RecordBatch> = all.iter().map(|number| row(*number)).collect();
            let rows = concat_batches(&batches[0].schema(), &batches).expect("one");
            let last = files.last().expect("some").last.clone();
            let aside = Named { level: 1, first: files[0].first.clone(), last, aside: true };
            store.put(&aside.path(&control.folder), to_parquet(&rows).expect("encoded")).await.expect("put");
            for file in &files[..dropped] {
                store.delete(&file.path(&control.folder)).await.expect("deleted");
            }
            assert_eq!(numbers(&control).await, all[dropped..], "nothing is there twice meanwhile");
            let control = open(&store).await;
            assert_eq!((numbers(&control).await, control.files.len()), (all, 1));
        }
    }

    #[test]
    fn what_became_of_columns_is_told() {
        let schema = |fields: &[(&str, ColumnType)]| TableSchema {
            fields: fields.iter().map(|(name, kind)| Field::new(*name, kind.clone())).collect(),
        };
        let before = schema(&[("a", ColumnType::Int32), ("b", ColumnType::Null), ("c", ColumnType::Text)]);
        let after = schema(&[("a", ColumnType::Int64), ("b", ColumnType::Date), ("d", ColumnType::Null)]);
        let told: Vec<_> =
            schema_changes(&before, &after).into_iter().map(|change| (change.column, change.before, change.after)).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                ("a".to_owned(), text("int32"), text("int64")),
                ("b".to_owned(), None, text("date")),
                ("c".to_owned(), text("text"), None),
            ]
        );
    }
}
