//! Records on their way into a Delta log, without a run around them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;

use super::*;
use crate::batch::Counts;
use crate::error::ErrorKind;
use crate::ids::BatchId;
use crate::schema::{ColumnType, TableSchema};
use crate::sink::layout;
use crate::sink::record::{FORMAT, FileEntry, FileRole};
use crate::store::memory::MemoryStore;

static SALT: AtomicU64 = AtomicU64::new(1);

fn by_kind() -> Vec<PartitionColumn> {
    vec![PartitionColumn { column: "kind".to_owned(), unit: PartitionUnit::Value }]
}

/// A table of ids in partitions of one text.
struct Table {
    store: Arc<dyn Store>,
    guards: Guards,
}

impl Table {
    fn new() -> Self {
        Table { store: Arc::new(MemoryStore::new()), guards: Guards::standing() }
    }

    /// A record at `seq` that adds a file a partition value and removes `remove`; its files are published.
    async fn record(&self, seq: u64, add: &[(&str, i64)], remove: &[String]) -> Exposure {
        let batch = BatchId(uuid::Uuid::from_u128((u128::from(seq) << 64) | self.salt()));
        let mut files = Vec::new();
        for (number, (kind, id)) in add.iter().enumerate() {
            let by = by_kind();
            let values = vec![(!kind.is_empty()).then(|| (*kind).to_owned())];
            let directory = crate::sink::partition::directory(&by, &values).unwrap();
            let path = layout::data_file("items", &directory, seq, number, batch);
            let bytes = parquet_of(*id);
            self.store.put(&path, bytes.clone()).await.unwrap();
            files.push(FileEntry {
                role: FileRole::Data,
                path,
                staged: String::new(),
                bytes: bytes.len() as u64,
                rows: 1,
                sha256: String::new(),
                partition: vec![("kind".to_owned(), values[0].clone())],
                ranges: Default::default(),
                set: Default::default(),
            });
        }
        let schema = TableSchema { fields: vec![Field::new("id", ColumnType::Int64), Field::new("kind", ColumnType::Text)] };
        let record = Record {
            format: FORMAT,
            seq,
            generation: 1,
            batch,
            kind: if remove.is_empty() { RecordKind::Load } else { RecordKind::Merge },
            dataset: DatasetName::new("items"),
            job: "items".to_owned(),
            table: "items".to_owned(),
            table_format: TableFormat::Delta,
            fingerprint: BTreeMap::new(),
            covers: Vec::new(),
            uncovers: Vec::new(),
            voids: None,
            read_schema: TableSchema::default(),
            schema,
            partition_by: vec!["kind".to_owned()],
            counts: Counts::default(),
            add: files,
            remove: remove.to_vec(),
            carried: 0,
            superseded: 0,
            content: None,
            answered: None,
            history: false,
            restore: Default::default(),
            note: None,
            created_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            previous: String::new(),
        };
        Exposure {
            record,
            own: vec![Field::new("_hw_commit", ColumnType::Text)],
            by: by_kind(),
            replaces_all: false,
            now: "2026-02-01T00:00:00Z".parse().unwrap(),
            guards: self.guards,
        }
    }

    /// Batches of two records at one seq are not the same.
    fn salt(&self) -> u128 {
        SALT.fetch_add(1, Ordering::SeqCst).into()
    }

    async fn expose(&self, exposure: &Exposure) -> Exposed {
        exposure.clone().expose(Arc::clone(&self.store)).await.unwrap()
    }

    async fn active(&self) -> Vec<String> {
        active_files(Arc::clone(&self.store), "items").await.unwrap().unwrap_or_default().into_iter().collect()
    }

    /// The versions of the Delta log that are there as commits.
    async fn commits(&self) -> Vec<String> {
        let log = self.store.list("items/_delta_log").await.unwrap();
        log.into_iter().map(|listed| listed.path).filter(|path| path.ends_with(".json")).collect()
    }

    /// Puts a line into the log as another writer would.
    async fn foreign(&self, version: usize, actions: &str) {
        let path = format!("items/_delta_log/{version:020}.json");
        self.store.put_absent(&path, Bytes::from(actions.to_owned())).await.unwrap();
    }
}

fn parquet_of(id: i64) -> Bytes {
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(vec![id])) as ArrayRef, true),
        ("_hw_commit", Arc::new(StringArray::from(vec!["b"])) as ArrayRef, true),
    ])
    .unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    Bytes::from(bytes)
}

fn paths_of(exposure: &Exposure) -> Vec<String> {
    exposure.record.add.iter().map(|file| file.path.clone()).collect()
}

#[tokio::test]
async fn a_record_is_one_commit_however_often_it_is_published() {
    // D-13
    let table = Table::new();
    let first = table.record(1, &[("a/b %", 1), ("", 2)], &[]).await;
    assert_eq!(table.expose(&first).await, Exposed::Done);
    assert_eq!(table.expose(&first).await, Exposed::Done);
    let mut wanted = paths_of(&first);
    wanted.sort();
    assert_eq!(table.active().await, wanted, "values that must be escaped twice are found again");
    // The table itself, and the record.
    assert_eq!(table.commits().await.len(), 2);
    let log = table.store.get("items/_delta_log/00000000000000000001.json", 1 << 20).await.unwrap().unwrap();
    let log = String::from_utf8(log.to_vec()).unwrap();
    assert!(log.contains(r#""txn":{"appId":"items","version":1"#), "{log}");
    assert!(log.contains(r#"a%252Fb%2520%2525"#), "{log}");
    assert!(log.contains(r#"\"maxValues\":{\"id\":2"#), "{log}");
}

/// A record is published again by somebody who was paused while a later one took its file out of the table.
async fn published_late(guards: Guards) -> bool {
    let table = Table { guards, ..Table::new() };
    let first = table.record(1, &[("a", 1)], &[]).await;
    table.expose(&first).await;
    let second = table.record(2, &[("a", 1)], &paths_of(&first)).await;
    table.expose(&second).await;
    assert_eq!(table.active().await, paths_of(&second));
    table.expose(&first).await;
    table.active().await == paths_of(&second)
}

#[tokio::test]
async fn who_publishes_late_brings_nothing_back() {
    // D-44
    assert!(published_late(Guards::standing()).await);
    assert!(!published_late(Guards { delta_once: false, ..Guards::standing() }).await, "without the guard rows are there twice");
}

#[tokio::test]
async fn five_writers_make_one_table_and_publish_a_record_once() {
    // D-45
    let table = Table::new();
    let first = table.record(1, &[("a", 1), ("b", 2)], &[]).await;
    let exposed = futures::future::join_all((0..5).map(|_| table.expose(&first))).await;
    assert!(exposed.iter().all(|exposed| *exposed == Exposed::Done));
    assert_eq!(table.active().await.len(), 2);
    assert_eq!(table.commits().await.len(), 2);
}

#[tokio::test]
async fn a_checkpoint_knows_what_was_published() {
    // D-46
    let table = Table::new();
    let mut last = table.record(1, &[("a", 1)], &[]).await;
    table.expose(&last).await;
    for seq in 2..=12 {
        last = table.record(seq, &[("a", 1)], &paths_of(&last)).await;
        table.expose(&last).await;
    }
    let log = table.store.list("items/_delta_log").await.unwrap();
    let checkpoint = log.iter().find(|listed| listed.path.ends_with(".checkpoint.parquet")).expect("a checkpoint");
    let version: u64 = checkpoint.path["items/_delta_log/".len()..][..20].parse().unwrap();
    for at in 0..version {
        table.store.delete(&format!("items/_delta_log/{at:020}.json")).await.unwrap();
    }
    assert_eq!(table.active().await, paths_of(&last));
    let commits = table.commits().await;
    assert_eq!(table.expose(&last).await, Exposed::Done);
    assert_eq!(table.commits().await, commits, "nothing was committed again");
}

#[tokio::test]
async fn a_table_that_another_writer_rewrote_is_told_of() {
    // D-47
    let table = Table::new();
    let first = table.record(1, &[("a", 1)], &[]).await;
    table.expose(&first).await;
    let below = &paths_of(&first)[0]["items/".len()..];
    let actions = format!(
        "{{\"remove\":{{\"path\":\"{below}\",\"deletionTimestamp\":1,\"dataChange\":false}}}}\n{{\"add\":{{\"path\":\"kind=a/theirs.parquet\",\"partitionValues\":{{\"kind\":\"a\"}},\"size\":1,\"modificationTime\":1,\"dataChange\":false}}}}\n"
    );
    table.foreign(2, &actions).await;
    // An append goes on beside it.
    let second = table.record(2, &[("b", 2)], &[]).await;
    assert_eq!(table.expose(&second).await, Exposed::Done);
    assert_eq!(table.active().await.len(), 2);
    // What a merge replaces is not there to be replaced: neither is it decided, nor does it become visible.
    let third = table.record(3, &[("a", 1)], &paths_of(&first)).await;
    let displaced = Exposed::Displaced(paths_of(&first)[0].clone());
    assert_eq!(third.clone().foresee(&by_kind(), Arc::clone(&table.store)).await.unwrap(), displaced);
    assert_eq!(table.expose(&third).await, displaced);
    // Without the guard it is told as done, and the rows are there twice.
    let mut careless = third.clone();
    careless.guards = Guards { delta_replaced: false, ..Guards::standing() };
    assert_eq!(careless.foresee(&by_kind(), Arc::clone(&table.store)).await.unwrap(), Exposed::Done);
    // What replaces all of it takes theirs along.
    let mut all = table.record(3, &[("c", 3)], &paths_of(&first)).await;
    all.replaces_all = true;
    assert_eq!(table.expose(&all).await, Exposed::Done);
    assert_eq!(table.active().await, paths_of(&all));
}

#[tokio::test]
async fn a_table_that_forgets_its_transactions_is_refused() {
    // D-48
    let table = Table::new();
    let first = table.record(1, &[("a", 1)], &[]).await;
    table.expose(&first).await;
    let log = table.store.get("items/_delta_log/00000000000000000000.json", 1 << 20).await.unwrap().unwrap();
    let log = String::from_utf8(log.to_vec()).unwrap();
    let metadata = log.lines().find(|line| line.starts_with("{\"metaData\"")).unwrap();
    let mut action: serde_json::Value = serde_json::from_str(metadata).unwrap();
    action["metaData"]["configuration"]["delta.setTransactionRetentionDuration"] = "interval 1 second".into();
    table.foreign(2, &action.to_string()).await;
    let second = table.record(2, &[("a", 2)], &[]).await;
    let error = second.foresee(&by_kind(), Arc::clone(&table.store)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.to_string().contains("`delta.setTransactionRetentionDuration`"), "{error}");
}

#[tokio::test]
async fn a_log_of_ours_that_lost_its_end_gives_no_number_twice() {
    // D-41
    let table = Table::new();
    for seq in 1..=3 {
        let record = table.record(seq, &[("a", 1)], &[]).await;
        table.expose(&record).await;
    }
    let other = table.record(3, &[("a", 7)], &[]).await;
    let error = other.clone().expose(Arc::clone(&table.store)).await.unwrap_err();
    assert!(error.to_string().contains("lost its end"), "{error}");
    // Without the guard its rows are told as seen, and are not.
    let mut careless = other.clone();
    careless.guards = Guards { delta_own: false, ..Guards::standing() };
    assert_eq!(table.expose(&careless).await, Exposed::Done);
    assert!(!table.active().await.contains(&paths_of(&other)[0]));
}

#[tokio::test]
async fn columns_come_with_the_rows_that_have_them() {
    // C-66
    let table = Table::new();
    let first = table.record(1, &[("a", 1)], &[]).await;
    table.expose(&first).await;
    let mut second = table.record(2, &[("a", 2)], &[]).await;
    let inner = vec![Field::new("sku", ColumnType::Text)];
    second.record.schema.fields.push(Field::new("line", ColumnType::Struct(inner)));
    assert_eq!(table.expose(&second).await, Exposed::Done);
    let mut third = table.record(3, &[("a", 3)], &[]).await;
    let inner = vec![Field::new("sku", ColumnType::Text), Field::new("count", ColumnType::Int64)];
    third.record.schema.fields.push(Field::new("line", ColumnType::Struct(inner)));
    assert_eq!(table.expose(&third).await, Exposed::Done);
    let mut other = table.record(4, &[("a", 4)], &[]).await;
    other.record.schema.fields.push(Field::new("line", ColumnType::Text));
    let error = other.foresee(&by_kind(), Arc::clone(&table.store)).await.unwrap_err();
    assert!(error.to_string().contains("`line` is"), "{error}");
    assert_eq!(table.active().await.len(), 3);
}

#[tokio::test]
async fn a_record_is_partitioned_by_what_it_says_itself() {
    // D-60
    let table = Table::new();
    let mut record = table.record(1, &[], &[]).await.record;
    record.schema.fields.push(Field::new("year_month", ColumnType::Text));
    record.partition_by = ["at_month", "kind", "year_month", "_hw_set"].map(str::to_owned).to_vec();
    let by = |column: &str, unit| PartitionColumn { column: column.to_owned(), unit };
    let values = ["kind", "year_month", "_hw_set"].map(|column| by(column, PartitionUnit::Value));
    let wanted = [vec![by("at", PartitionUnit::Month)], values.to_vec()].concat();
    assert_eq!(partitions_of(&record), wanted);
    assert!(wanted.iter().map(PartitionColumn::key).eq(record.partition_by.iter().cloned()));
}

#[tokio::test]
async fn a_table_of_other_partitions_takes_no_record() {
    // D-60
    let table = Table::new();
    let first = table.record(1, &[("a", 1)], &[]).await;
    table.expose(&first).await;
    let second = table.record(2, &[("a", 2)], &[]).await;
    let error = second.clone().foresee(&[], Arc::clone(&table.store)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.to_string().contains("is partitioned by `kind`, the job by ``"), "{error}");
    let mut careless = second.clone();
    careless.guards = Guards { delta_partitions: false, ..Guards::standing() };
    let careless = careless.foresee(&[], Arc::clone(&table.store)).await;
    assert!(!careless.is_err_and(|error| error.kind == ErrorKind::Config), "the guard guards nothing");
    assert_eq!(second.foresee(&by_kind(), Arc::clone(&table.store)).await.unwrap(), Exposed::Done);
}

/// Two records of which each takes the file of the one before out of the table, the first a year ago and the second at `at`; what the
/// vacuum leaves of the two files on the tenth of January.
async fn left_by_a_vacuum(second_at: &str, live: bool, guards: Guards) -> [bool; 2] {
    let table = Table::new();
    let store = table.store.as_ref();
    let dataset = DatasetName::new("items");
    let files = ["items/kind=a/one.parquet", "items/kind=a/two.parquet"];
    for (seq, (file, at)) in (1..).zip(files.iter().zip(["2025-01-01T00:00:00Z", second_at])) {
        store.put(file, Bytes::from_static(b"rows")).await.unwrap();
        let mut record = table.record(seq, &[], &[(*file).to_owned()]).await.record;
        record.created_at = at.parse().unwrap();
        store.put(&layout::record(&dataset, seq), record.to_bytes().unwrap()).await.unwrap();
    }
    let mut index = Current { seq: 2, ..Current::default() };
    if live {
        let file = crate::sink::current::CurrentFile {
            bytes: 4,
            rows: 1,
            partition: Vec::new(),
            ranges: Default::default(),
            set: Default::default(),
        };
        index.files.insert(files[0].to_owned(), file);
    }
    vacuum(store, &dataset, &index, "2026-01-10T00:00:00Z".parse().unwrap(), guards).await.unwrap();
    [store.size(files[0]).await.unwrap().is_some(), store.size(files[1]).await.unwrap().is_some()]
}

#[tokio::test]
async fn a_vacuum_takes_what_left_a_week_ago_and_can_not_come_back() {
    // D-44, D-20
    let all = Guards::standing();
    let old = "2025-02-01T00:00:00Z";
    assert_eq!(left_by_a_vacuum(old, false, all).await, [false, true], "the last record may yet be voided");
    assert_eq!(left_by_a_vacuum(old, true, all).await, [true, true], "a later record gave it back");
    assert_eq!(left_by_a_vacuum(old, false, Guards { vacuum_last: false, ..all }).await, [false, false]);
    assert_eq!(left_by_a_vacuum(old, true, Guards { vacuum_live: false, ..all }).await, [false, true]);
    let young = "2026-01-09T00:00:00Z";
    let without_last = Guards { vacuum_last: false, ..all };
    assert_eq!(left_by_a_vacuum(young, false, without_last).await, [false, true]);
    assert_eq!(left_by_a_vacuum(young, false, Guards { vacuum_week: false, ..without_last }).await, [false, false]);
}
