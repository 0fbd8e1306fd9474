use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, LargeListArray, StringViewArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int64Type, UInt32Type};
use async_trait::async_trait;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::*;
use crate::schema::{Field, TableSchema};
use crate::sink::live::LiveFile;
use crate::store::{Listed, Published, PutAbsent, StagedWriter, StoreError};

/// Files in memory, for reading only.
#[derive(Default)]
struct Shelf {
    files: BTreeMap<String, Bytes>,
    requests: AtomicU64,
    broken: bool,
}

impl Shelf {
    fn refuse<T>(&self, verb: &'static str, path: &str) -> Result<T, StoreError> {
        let message = "connection refused".to_owned();
        Err(StoreError { kind: ErrorKind::Unavailable, verb, address: self.address(path), message })
    }
}

#[async_trait]
impl Store for Shelf {
    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        match self.files.get(path) {
            Some(bytes) if !self.broken => {
                let end = (range.end as usize).min(bytes.len());
                Ok(bytes.slice((range.start as usize).min(end)..end))
            }
            _ => self.refuse("read", path),
        }
    }
    async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.files.get(path).map(|bytes| bytes.len() as u64))
    }
    async fn put_absent(&self, path: &str, _: Bytes) -> Result<PutAbsent, StoreError> {
        self.refuse("write", path)
    }
    async fn put(&self, path: &str, _: Bytes) -> Result<(), StoreError> {
        self.refuse("write", path)
    }
    async fn get(&self, path: &str, _: u64) -> Result<Option<Bytes>, StoreError> {
        self.refuse("read", path)
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.refuse("list", prefix)
    }
    async fn stage(&self, path: &str) -> Result<Box<dyn StagedWriter>, StoreError> {
        self.refuse("write", path)
    }
    async fn publish(&self, _: &str, target: &str, _: u64) -> Result<Published, StoreError> {
        self.refuse("publish", target)
    }
    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.refuse("delete", path)
    }
    fn address(&self, path: &str) -> String {
        format!("/lake/{path}")
    }
}

fn parquet_of(rows: &RecordBatch) -> Bytes {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1_000)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.into_inner().unwrap().into()
}

fn column(name: &str, array: impl Array + 'static) -> (String, ArrayRef) {
    (name.to_owned(), Arc::new(array))
}

fn texts(values: &[&str]) -> StringViewArray {
    StringViewArray::from(values.to_vec())
}

fn plan_field() -> ColumnType {
    ColumnType::Struct(vec![Field::new("name", ColumnType::Text), Field::new("seats", ColumnType::Int64)])
}

/// Two files of `orders`: the first of an older schema (int32 ids, a smaller struct, no tags), in the partitions NL and null.
fn lake() -> (LiveTable, Shelf) {
    let old_plan = StructArray::from(vec![(
        Arc::new(Field::new("name", ColumnType::Text).to_arrow()),
        Arc::new(texts(&["free", "pro"])) as ArrayRef,
    )]);
    let old = RecordBatch::try_from_iter([
        column("id", Int32Array::from(vec![1, 2])),
        column("at", TimestampMicrosecondArray::from(vec![1_000_000, 2_000_000]).with_timezone("UTC")),
        column("plan", old_plan),
    ]);
    let plan = StructArray::from(vec![
        (Arc::new(Field::new("name", ColumnType::Text).to_arrow()), Arc::new(texts(&["pro", "team", "pro"])) as ArrayRef),
        (Arc::new(Field::new("seats", ColumnType::Int64).to_arrow()), Arc::new(Int64Array::from(vec![5, 6, 7])) as ArrayRef),
    ]);
    let tags = LargeListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let new = RecordBatch::try_from_iter([
        column("id", Int64Array::from(vec![3, 4, i64::MAX])),
        column("at", TimestampMicrosecondArray::from(vec![3_000_000, 4_000_000, 5_000_000]).with_timezone("UTC")),
        column("plan", plan),
        column("tags", tags),
        column("_hw_commit", texts(&["b", "b", "b"])),
    ]);
    let mut shelf = Shelf::default();
    let mut files = Vec::new();
    for (path, rows, country) in [("orders/country=NL/a.parquet", old, Some("NL")), ("orders/country=__/b.parquet", new, None)] {
        let rows = rows.unwrap();
        let bytes = parquet_of(&rows);
        files.push(LiveFile {
            path: path.to_owned(),
            bytes: bytes.len() as u64,
            rows: rows.num_rows() as u64,
            partition: vec![
                ("country".to_owned(), country.map(str::to_owned)),
                ("at_month".to_owned(), Some("1970-01".to_owned())),
            ],
        });
        shelf.files.insert(path.to_owned(), bytes);
    }
    let fields = vec![
        Field::new("id", ColumnType::Int64),
        Field::new("country", ColumnType::Text),
        Field::new("at", ColumnType::Timestamp),
        Field::new("plan", plan_field()),
        Field::new("tags", ColumnType::List(Box::new(Field::new("item", ColumnType::Int64)))),
        Field::new("never", ColumnType::Null),
    ];
    let keys = vec!["country".to_owned(), "at_month".to_owned()];
    let table = LiveTable {
        table: "orders".to_owned(),
        seq: 2,
        schema: TableSchema { fields },
        partition_keys: keys,
        files,
        ..LiveTable::default()
    };
    (table, shelf)
}

/// `n` rows, 0 to n, with a long text each.
fn big(rows: i64) -> (LiveTable, Shelf) {
    let text: StringViewArray = (0..rows).map(|row| Some(format!("{row:0>200}"))).collect();
    let rows = RecordBatch::try_from_iter([column("n", Int64Array::from_iter_values(0..rows)), column("text", text)]).unwrap();
    let bytes = parquet_of(&rows);
    let path = "big/a.parquet".to_owned();
    let file = LiveFile { path: path.clone(), bytes: bytes.len() as u64, rows: rows.num_rows() as u64, partition: Vec::new() };
    let fields = vec![Field::new("n", ColumnType::Int64), Field::new("text", ColumnType::Text)];
    let table = LiveTable {
        table: "big".to_owned(),
        format: TableFormat::Parquet,
        seq: 1,
        schema: TableSchema { fields },
        partition_keys: Vec::new(),
        files: vec![file],
    };
    (table, Shelf { files: BTreeMap::from([(path, bytes)]), ..Shelf::default() })
}

const MEMORY: u64 = 64 << 20;

async fn ask(sql: &str) -> Result<QueryAnswer, QueryError> {
    ask_of(lake(), sql, MEMORY).await
}

async fn ask_of((table, shelf): (LiveTable, Shelf), sql: &str, memory: u64) -> Result<QueryAnswer, QueryError> {
    query(vec![(table, Arc::new(shelf))], sql, memory).await
}

fn integers(answer: &QueryAnswer, name: &str) -> Vec<Option<i64>> {
    answer.rows.column_by_name(name).unwrap().as_primitive::<Int64Type>().iter().collect()
}

#[tokio::test]
async fn all_columns_of_all_files_in_the_tables_own_form() {
    let answer = ask("SELECT * FROM orders ORDER BY id").await.unwrap();
    let columns: Vec<(&str, &str)> = answer.columns.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    let wanted = [
        ("id", "int64"),
        ("country", "text"),
        ("at", "timestamp"),
        ("plan", "struct(name text, seats int64)"),
        ("tags", "list(int64)"),
        ("_hw_commit", "text"),
    ];
    assert_eq!(columns, wanted);
    assert_eq!(integers(&answer, "id"), [Some(1), Some(2), Some(3), Some(4), Some(i64::MAX)]);
    let country: Vec<Option<&str>> = answer.rows.column(1).as_string_view().iter().collect();
    assert_eq!(country, [Some("NL"), Some("NL"), None, None, None]);
    assert_eq!(answer.rows.column(4).null_count(), 3, "the old file has no tags, and one row of the new one has none");
    assert_eq!(answer.rows.column(5).null_count(), 2);
    assert!(answer.read_bytes > 0);
}

#[tokio::test]
async fn filters_groups_joins_and_structs() {
    let answer = ask("WITH paid AS (SELECT id, plan.name AS plan, plan.seats AS seats FROM orders WHERE plan.name <> 'free') \
         SELECT plan, COUNT(*) AS n, SUM(seats) AS seats FROM paid GROUP BY plan ORDER BY plan;");
    let answer = answer.await.unwrap();
    assert_eq!(integers(&answer, "seats"), [Some(12), Some(6)]);
    assert_eq!(answer.rows.column_by_name("n").unwrap().as_primitive::<UInt32Type>().values(), &[3, 1]);
    let (big_table, big_shelf) = big(10);
    let (orders, shelf) = lake();
    let tables: Vec<(LiveTable, Arc<dyn Store>)> = vec![(orders, Arc::new(shelf)), (big_table, Arc::new(big_shelf))];
    let joined = query(
        tables,
        "SELECT big.n FROM orders JOIN big ON orders.id = big.n WHERE orders.at > '1970-01-01T00:00:01' ORDER BY n",
        MEMORY,
    );
    assert_eq!(integers(&joined.await.unwrap(), "n"), [Some(2), Some(3), Some(4)]);
}

#[tokio::test]
async fn a_count_needs_no_column_and_a_directory_no_file() {
    let answer = ask("SELECT COUNT(*) AS n FROM orders").await.unwrap();
    assert_eq!(answer.rows.column(0).as_primitive::<UInt32Type>().values(), &[5]);
    let (table, shelf) = lake();
    let shelf = Arc::new(shelf);
    let store: Arc<dyn Store> = Arc::clone(&shelf) as _;
    let answer = query(vec![(table, store)], "SELECT country, COUNT(*) AS n FROM orders GROUP BY country ORDER BY n", MEMORY)
        .await
        .unwrap();
    assert_eq!(answer.rows.column(1).as_primitive::<UInt32Type>().values(), &[2, 3]);
    assert_eq!(shelf.requests.load(Ordering::Relaxed), 1, "one footer, to know the columns");
}

#[tokio::test]
async fn only_the_columns_and_rows_that_are_asked_for_are_read() {
    let whole = ask_of(big(9_000), "SELECT * FROM big", MEMORY).await.unwrap().read_bytes;
    let narrow = ask_of(big(9_000), "SELECT SUM(n) AS n FROM big", MEMORY).await.unwrap();
    assert!(narrow.read_bytes < whole / 2, "{} of {whole}", narrow.read_bytes);
    let first = ask_of(big(9_000), "SELECT * FROM big LIMIT 3", MEMORY).await.unwrap();
    assert_eq!((first.rows.num_rows(), first.read_bytes < whole / 2), (3, true), "{} of {whole}", first.read_bytes);
}

#[tokio::test]
async fn a_query_that_is_too_large_says_what_to_type() {
    let error = ask_of(big(9_000), "SELECT MAX(text) AS t FROM big WHERE text <> 'it''s'", 1 << 20).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(
        error.message.starts_with("the query needs at least 2 MiB of columns, more than the 1 MiB of limits.memory"),
        "{error}"
    );
    let command = "duckdb -c 'CREATE VIEW \"big\" AS SELECT * FROM read_parquet('\\''/lake/big/**/*.parquet'\\'', \
                   hive_partitioning = true, union_by_name = true); SELECT MAX(text) AS t FROM big WHERE text <> '\\''it'\\'''\\''s'\\'''`";
    assert!(error.message.ends_with(command), "{error}");
    let (mut table, shelf) = big(9_000);
    table.format = TableFormat::Delta;
    let error = ask_of((table, shelf), "SELECT MAX(text) AS t FROM big", 1 << 20).await.unwrap_err();
    assert!(error.message.contains("SELECT * FROM delta_scan('\\''/lake/big'\\''); SELECT"), "{error}");
    // Fewer columns, or fewer rows, fit.
    assert!(ask_of(big(9_000), "SELECT MAX(n) AS n FROM big", 1 << 20).await.is_ok());
    assert!(ask_of(big(9_000), "SELECT * FROM big LIMIT 10", 1 << 20).await.is_ok());
    let error = ask_of(big(10_001), "SELECT n FROM big", MEMORY).await.unwrap_err();
    assert!(error.message.contains("more than 10000 rows: add `LIMIT 10000`"), "{error}");
}

#[tokio::test]
async fn nothing_but_a_select_over_known_tables() {
    for (sql, reason) in [
        ("DROP TABLE orders", "only one SELECT"),
        ("DELETE FROM orders", "only one SELECT"),
        ("TRUNCATE TABLE orders", "only one SELECT"),
        ("CREATE TABLE t AS SELECT * FROM orders", "only one SELECT"),
        ("EXPLAIN SELECT * FROM orders", "only one SELECT"),
        ("SELECT 1; SELECT 2", "only one SELECT"),
        ("", "only one SELECT"),
        ("SELECT id INTO t FROM orders", "SELECT INTO would write"),
        ("SELECT * FROM read_parquet('/etc/passwd')", "only the project's own tables"),
        ("SELECT * FROM orders WHERE id IN (SELECT id FROM read_csv('x'))", "only the project's own tables"),
        ("SELECT * FROM ordres", "no table `ordres`; nearest is `orders`"),
        ("SELECT * FROM main.orders", "without a schema before it"),
        ("SELEC * FROM orders", "not SQL"),
        ("SELECT nonsense(id) FROM orders", "nonsense"),
        ("SELECT missing FROM orders", "missing"),
    ] {
        let error = ask(sql).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{sql}: {error}");
        assert!(error.message.contains(reason), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_store_that_fails_and_a_file_that_is_cut_are_told_as_what_they_are() {
    let (table, mut shelf) = lake();
    shelf.broken = true;
    let error = ask_of((table, shelf), "SELECT * FROM orders", MEMORY).await.unwrap_err();
    assert!(error.message.contains("connection refused"), "{error}");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let (table, mut shelf) = lake();
    let path = "orders/country=NL/a.parquet";
    let cut = shelf.files[path].slice(0..100);
    shelf.files.insert(path.to_owned(), cut);
    let error = ask_of((table, shelf), "SELECT id FROM orders", MEMORY).await.unwrap_err();
    assert!(error.kind == ErrorKind::Data && error.message.contains(path), "{error}");
}

#[tokio::test]
async fn a_table_without_files_answers_with_no_rows() {
    let (mut table, shelf) = lake();
    table.files.clear();
    let answer = ask_of((table, shelf), "SELECT id, country FROM orders", MEMORY).await.unwrap();
    assert_eq!((answer.rows.num_rows(), answer.columns.len()), (0, 2));
}
