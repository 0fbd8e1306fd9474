//! One life of the program after the other over the same lake and state, inside this process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use bytes::Bytes;
use highwater::clock::Clock;
use highwater::config;
use highwater::config::catalog::{Job, Mode, Sink, TableFormat};
use highwater::error::ErrorKind;
use highwater::event::Events;
use highwater::fault::{FaultPlan, Guards};
use highwater::ids::{BatchId, DatasetName, RunId};
use highwater::run::{self, Ports, Purpose, RunError, RunOptions, RunReport};
use highwater::sink::delta;
use highwater::sink::live::live_table;
use highwater::sink::verify::verify;
use highwater::source::faulty::FaultySource;
use highwater::state::State;
use highwater::state::faulty::FaultyState;
use highwater::state::memory::MemoryState;
use highwater::state::sqlite::SqliteState;
use highwater::stop::Stop;
use highwater::store::Store;
use highwater::store::faulty::FaultyStore;
use highwater::store::memory::MemoryStore;
use jiff::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::scenarios::stores::TestSecrets;
use crate::world::api::{Pages, Record};
use crate::world::bucket::Bucket;
use crate::world::clock::TestClock;
use crate::world::kind::{Kind, Tried};
use crate::world::pause;
use crate::world::project::{Project, job, source};
use crate::world::source::FakeSource;

const TABLE: &str = "items";
const NOW: &str = "2026-01-04T12:00:00Z";
/// Runs that a recovery may take: one settles and reads; a second one is for what failed in passing.
const RECOVERIES_MAX: u32 = 3;
const OBJECT_MAX: u64 = 1 << 24;

static LIVES: AtomicU64 = AtomicU64::new(1);

/// The job and its records: three slices of a day, two partitions each, some dead letters, pages of four.
#[derive(Clone)]
pub struct Fixture {
    job: Job,
    records: Vec<Record>,
    /// Keeps the project's folder.
    _project: Arc<Project>,
    spool: PathBuf,
    tried: Option<Tried>,
}

impl Fixture {
    /// Every record is a row.
    pub fn new() -> Self {
        Fixture::of("mode = \"append\"\n", records())
    }

    /// Records are versions of twelve rows, which each slice brings anew: files are touched, rewritten and removed.
    pub fn merge() -> Self {
        let mut records = records();
        for (index, record) in records.iter_mut().enumerate().filter(|(_, record)| record.cursor.is_some()) {
            record.json = record.json.replace(&format!("\"id\":{index},"), &format!("\"id\":{},", index % 12));
        }
        Fixture::of("mode = \"merge\"\n", records)
    }

    /// The table is what one slice holds, and every run reads it again.
    pub fn replace() -> Self {
        Fixture::of("mode = \"replace\"\n", records())
    }

    /// Slices of half a day, so that a day has two files of each kind, and the first day is too old. In a merge, two rows of that day
    /// have no newer version.
    pub fn small_files(mode: &str) -> Self {
        let mut records = records();
        for (index, record) in records.iter_mut().enumerate().filter(|(_, record)| record.cursor.is_some() && mode == "merge") {
            let id = if index < 2 { 50 + index } else { index % 12 };
            record.json = record.json.replace(&format!("\"id\":{index},"), &format!("\"id\":{id},"));
        }
        let mut fixture = Fixture::of(&format!("mode = \"{mode}\"\n"), records);
        fixture.job.window.step = Some(jiff::SignedDuration::from_hours(12));
        // By the clock of these lives, half of the third day is over then.
        fixture.job.keep.retain = Some(jiff::SignedDuration::from_hours(48));
        fixture
    }

    /// The same without an end to what is kept.
    pub fn keeping_all(mut self) -> Self {
        self.job.keep.retain = None;
        self
    }

    /// What is older than this has left the table.
    fn kept_from(&self) -> Timestamp {
        let Some(kept) = self.job.keep.retain else { return Timestamp::MIN };
        let cutoff = NOW.parse::<Timestamp>().unwrap() - kept;
        cutoff.to_zoned(jiff::tz::TimeZone::UTC).start_of_day().unwrap().timestamp()
    }

    /// The same job, with a Delta table.
    pub fn with_delta(mut self) -> Self {
        self.job.sink.format = TableFormat::Delta;
        self
    }

    pub fn is_delta(&self) -> bool {
        self.job.sink.format == TableFormat::Delta
    }

    /// Two accounts with rows of their own: the records of even and of odd ids.
    pub fn sets() -> Self {
        Fixture::of("mode = \"merge\"\nfor_each = [{ account = \"even\" }, { account = \"odd\" }]\n", records())
    }

    /// The job as it was before somebody thought of other partitions.
    pub fn partitioned_otherwise(mut self) -> Self {
        self.job.partition_by.pop();
        self
    }

    /// What the source had after so many days.
    pub fn first_days(mut self, days: i64) -> Self {
        let end: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let end = end + jiff::SignedDuration::from_hours(24 * days);
        self.records.retain(|record| record.cursor.is_none_or(|cursor| cursor < end));
        self
    }

    pub fn job(&mut self) -> &mut Job {
        &mut self.job
    }

    /// What is wrong with the table as it stands; empty if nothing is.
    pub async fn compare_now(&self, home: &Home) -> Vec<String> {
        let store = home.store();
        let counting = self.counting(home).await;
        let mut wrong = self.compare(&read_rows(store.as_ref(), TABLE, counting.as_ref()).await);
        let report = verify(store.as_ref(), self.dataset()).await.expect("verified");
        wrong.extend(report.problems.iter().map(|problem| format!("verify: {problem}")));
        wrong
    }

    /// The files that the index says count.
    pub async fn live_files(&self, home: &Home) -> BTreeSet<String> {
        let live = live_table(home.store().as_ref(), &self.job).await.expect("an index").expect("a table");
        live.files.into_iter().map(|file| file.path).collect()
    }

    /// What is wrong with the table as our own readers have it, who ask the index which files count.
    pub async fn read_by_index(&self, home: &Home) -> Vec<String> {
        let store = home.store();
        let counting = self.live_files(home).await;
        let mut wrong = self.compare(&read_rows(store.as_ref(), TABLE, Some(&counting)).await);
        if self.is_delta() {
            let told = delta::verify(store, self.dataset()).await.expect("a Delta log");
            wrong.extend(told.iter().map(|problem| format!("the Delta log: {problem}")));
        }
        wrong
    }

    fn of(mode: &str, records: Vec<Record>) -> Self {
        let project = Project::new();
        let parameters = "[parameters]\naccount = { default = \"\" }\n[streams.items]";
        let source = source("http://127.0.0.1:9", &Pages::Page, 4).replace("[streams.items]\n", &format!("{parameters}\n"));
        project.write("sources/api.toml", &source);
        project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
        project.write(
            "jobs/items.toml",
            &format!(
                "version = 1\nsource = \"api\"\nstream = \"items\"\nsink = \"lake\"\n{mode}\
                 partition_by = [\"day(updated_at)\", \"kind\"]\n[window]\nstart = \"2026-01-01T00:00:00Z\"\nstep = \"1d\"\n"
            ),
        );
        let loaded = config::load(project.path(), None);
        let problems: Vec<String> = loaded.problems.iter().map(|problem| problem.to_string()).collect();
        let job = loaded.catalog.jobs.values().next().unwrap_or_else(|| panic!("{}", problems.join("\n"))).clone();
        let spool = project.at("spool");
        std::fs::create_dir_all(&spool).unwrap();
        Fixture { job, records, _project: Arc::new(project), spool, tried: None }
    }

    /// The same on real stores: for each kind of table the fixture, whose lives are noted, and where they are lived.
    pub fn of_kinds(&self, tried: &Tried, kinds: &[Kind]) -> Vec<(Fixture, fn() -> Home)> {
        let of = |kind: &Kind| {
            let mut fixture = self.clone();
            fixture.tried = Some(tried.clone());
            let fixture = if kind.is_delta() { fixture.with_delta() } else { fixture };
            (fixture, if kind.is_on_s3() { Home::bucket as fn() -> Home } else { Home::disk })
        };
        kinds.iter().map(of).collect()
    }

    pub fn dataset(&self) -> &DatasetName {
        &self.job.dataset
    }

    /// One run of a process that dies, if it dies, as the plan says.
    pub async fn live(&self, home: &Home, plan: &Arc<FaultPlan>, guards: Guards) -> Result<RunReport, RunError> {
        self.live_with(home, plan, guards, &RunOptions::default()).await
    }

    /// The same with what an operator asks of it.
    pub async fn live_with(
        &self,
        home: &Home,
        plan: &Arc<FaultPlan>,
        guards: Guards,
        options: &RunOptions,
    ) -> Result<RunReport, RunError> {
        self.with_ports(home, plan, guards, options, async |job, ports| run::run_job(job, Purpose::Load, ports).await).await
    }

    /// Something else that is done to the table, by a process that dies as the plan says.
    pub async fn with_ports<T>(
        &self,
        home: &Home,
        plan: &Arc<FaultPlan>,
        guards: Guards,
        options: &RunOptions,
        work: impl AsyncFnOnce(&Job, &Ports) -> Result<T, RunError>,
    ) -> Result<T, RunError> {
        if let (Some(tried), Some(kind)) = (&self.tried, home.kind(self.is_delta())) {
            tried.saw(kind);
        }
        let opened = home.open().await;
        let source = FakeSource { records: self.records.clone(), page_size: 4, now: NOW.parse().unwrap() };
        // Batches of two processes are never called the same.
        let seed = LIVES.fetch_add(1, Ordering::SeqCst);
        let ports = Ports {
            state: Arc::new(FaultyState::new(opened.state.clone(), plan.clone())),
            store: Arc::new(FaultyStore::new(opened.store.clone(), plan.clone())),
            source: Arc::new(FaultySource::new(Arc::new(source), plan.clone())),
            roster: None,
            clock: Arc::new(TestClock::new(NOW, seed)),
            events: Events::default(),
            stop: Stop::new(),
            owner: format!("life {seed}"),
            spool: self.spool.clone(),
            memory: 64 << 20,
            guards,
            options: options.clone(),
        };
        let done = work(&self.job, &ports).await;
        drop(ports);
        opened.close().await;
        done
    }

    /// Runs until a run succeeds, then says what is wrong with the table; empty if nothing is.
    pub async fn recover_and_check(&self, home: &Home, guards: Guards) -> Vec<String> {
        let none = || Arc::new(FaultPlan::none());
        let mut last = "no run".to_owned();
        for _ in 0..RECOVERIES_MAX {
            match self.live(home, &none(), guards).await {
                Ok(report) if report.failed.is_empty() => return self.check(home, guards).await,
                Ok(report) => last = format!("{:?}", report.failed),
                Err(error) => last = error.to_string(),
            }
        }
        vec![format!("it does not recover: {last}")]
    }

    /// The files that a Delta log names; `None` for a table whose folder says which count.
    async fn counting(&self, home: &Home) -> Option<BTreeSet<String>> {
        match self.job.sink.format {
            TableFormat::Parquet => None,
            TableFormat::Delta => delta::active_files(home.store(), TABLE).await.expect("a Delta log"),
        }
    }

    async fn check(&self, home: &Home, guards: Guards) -> Vec<String> {
        let store = home.store();
        let counting = self.counting(home).await;
        let mut wrong = self.compare(&read_rows(store.as_ref(), TABLE, counting.as_ref()).await);
        match delta::verify(store.clone(), self.dataset()).await {
            Ok(problems) => wrong.extend(problems.iter().map(|problem| format!("the Delta log: {problem}"))),
            Err(error) => wrong.push(format!("the Delta log: {error}")),
        }
        match verify(store.as_ref(), self.dataset()).await {
            Ok(report) => wrong.extend(report.problems.iter().map(|problem| format!("verify: {problem}"))),
            Err(error) => wrong.push(format!("verify: {error}")),
        }
        wrong.extend(index_of_another(store.as_ref()).await);
        // One more run adds nothing; it may only sweep up staged files that nobody needs any more.
        let before = listing(store.as_ref()).await;
        let report = self.live(home, &Arc::new(FaultPlan::none()), guards).await;
        let commits = report.as_ref().map_or(0, |report| report.commits);
        let after = listing(store.as_ref()).await;
        let gone = before.iter().filter(|(path, size)| after.get(*path) != Some(size) && !path.contains("/staging/"));
        let came = after.keys().filter(|path| !before.contains_key(*path));
        let changed: Vec<&String> = gone.map(|(path, _)| path).chain(came).collect();
        if report.is_err() || commits > 0 || !changed.is_empty() {
            wrong.push(format!("one more run changed the lake: {commits} commits, {changed:?}"));
        }
        wrong
    }

    /// What the table and the dead letters hold against what the source has: each row once, with its values.
    fn compare(&self, rows: &BTreeMap<i64, Vec<String>>) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut wanted: BTreeMap<i64, Vec<(Timestamp, String)>> = BTreeMap::new();
        for record in &self.records {
            let Some(cursor) = record.cursor else { continue };
            let value: serde_json::Value = serde_json::from_str(&record.json).unwrap();
            let by_kind = self.job.partition_by.iter().any(|column| column.column == "kind");
            let kind = if by_kind { value["kind"].as_str().unwrap() } else { "?" };
            let text = format!("{}/{kind}", value["name"].as_str().unwrap());
            let versions = wanted.entry(value["id"].as_i64().unwrap()).or_default();
            if self.job.mode == Mode::Merge {
                // Records stand in the order of their cursors: the last one is the newest.
                versions.clear();
            }
            versions.push((cursor, text));
        }
        let kept_from = self.kept_from();
        let kept =
            |versions: Vec<(Timestamp, String)>| versions.into_iter().filter(|(at, _)| *at >= kept_from).map(|(_, text)| text);
        let wanted = wanted.into_iter().map(|(id, versions)| (id, kept(versions).collect::<Vec<_>>()));
        let wanted: BTreeMap<i64, Vec<String>> = wanted.filter(|(_, versions)| !versions.is_empty()).collect();
        for (id, values) in &wanted {
            match rows.get(id) {
                None => wrong.push(format!("row {id} is lost")),
                Some(found) if found.len() != values.len() => wrong.push(format!("row {id} is there {} times", found.len())),
                Some(found) if found != values => wrong.push(format!("row {id} is {found:?}, not {values:?}")),
                Some(_) => {}
            }
        }
        wrong.extend(rows.keys().filter(|id| !wanted.contains_key(id)).map(|id| format!("row {id} is not in the source")));
        wrong
    }
}

/// What is wrong with `current.json`, read without our own code: it must be of the log's last record.
pub async fn index_of_another(store: &dyn Store) -> Option<String> {
    let last = store.list("_highwater/items/log").await.unwrap().pop()?.path;
    let record = store.get(&last, OBJECT_MAX).await.unwrap().unwrap();
    let index = store.get("_highwater/items/current.json", OBJECT_MAX).await.unwrap()?;
    let (seq, hash) = (value(&record)["seq"].clone(), sha256(&record));
    let index = value(&index);
    let wanted = index["seq"] == seq && index["record_hash"] == hash;
    (!wanted).then(|| format!("current.json is of record {}, the log ends at {seq}", index["seq"]))
}

fn value(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn records() -> Vec<Record> {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut records = Vec::new();
    for index in 0..27i64 {
        let at = start + jiff::SignedDuration::from_mins(index * 160);
        let kind = if index % 3 == 0 { "a" } else { "b" };
        let json = format!("{{\"id\":{index},\"updated_at\":\"{at}\",\"name\":\"n{index}\",\"kind\":\"{kind}\"}}");
        records.push(Record { json, cursor: Some(at) });
    }
    // Without a cursor value they belong to no slice: dead letters.
    for index in 100..102 {
        records
            .push(Record { json: format!("{{\"id\":{index},\"updated_at\":null,\"name\":\"x\",\"kind\":\"a\"}}"), cursor: None });
    }
    records
}

/// Every row of a table, read without our own code: id to name and the `kind` that its folder tells.
/// `counting` are the files that readers read; without, all that are there.
async fn read_rows(store: &dyn Store, table: &str, counting: Option<&BTreeSet<String>>) -> BTreeMap<i64, Vec<String>> {
    let mut rows: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for object in store.list(table).await.unwrap() {
        if counting.is_some_and(|counting| !counting.contains(&object.path)) {
            continue;
        }
        let kind = object.path.split('/').find_map(|step| step.strip_prefix("kind=")).unwrap_or("?").to_owned();
        let bytes = store.get(&object.path, OBJECT_MAX).await.unwrap().unwrap();
        for batch in read_parquet(bytes) {
            let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().clone();
            let names = arrow::compute::cast(batch.column_by_name("name").unwrap(), &arrow::datatypes::DataType::Utf8).unwrap();
            let names = names.as_string::<i32>();
            for row in 0..ids.len() {
                rows.entry(ids.value(row)).or_default().push(format!("{}/{kind}", names.value(row)));
            }
        }
    }
    rows
}

fn read_parquet(bytes: Bytes) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

/// Every object with its size.
pub async fn listing(store: &dyn Store) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for prefix in [TABLE, "_highwater"] {
        found.extend(store.list(prefix).await.unwrap().into_iter().map(|object| (object.path, object.size)));
    }
    found
}

/// Where lake and state live while processes come and go.
#[derive(Clone)]
pub struct Home {
    place: Arc<Place>,
}

enum Place {
    Memory {
        store: MemoryStore,
        state: MemoryState,
    },
    /// The state on a disk, the lake in a place of its own.
    Real {
        lake: Lake,
        state: tempfile::TempDir,
    },
}

#[derive(Clone)]
enum Lake {
    Folder(Arc<tempfile::TempDir>),
    Bucket(Arc<Sink>),
}

/// Lake and state as one process sees them.
pub struct Opened {
    store: Arc<dyn Store>,
    state: Arc<dyn State>,
    sqlite: Option<Arc<SqliteState>>,
}

impl Opened {
    async fn close(self) {
        drop(self.state);
        if let Some(sqlite) = self.sqlite {
            // Nobody else holds it: the ports are gone.
            Arc::into_inner(sqlite).expect("the process is dead").close().await;
        }
    }
}

impl Home {
    fn at(place: Place) -> Self {
        Home { place: Arc::new(place) }
    }

    pub fn memory() -> Self {
        Home::at(Place::Memory { store: MemoryStore::new(), state: MemoryState::new() })
    }

    pub fn disk() -> Self {
        Home::with(Lake::Folder(Arc::new(tempfile::tempdir().unwrap())))
    }

    fn with(lake: Lake) -> Self {
        Home::at(Place::Real { lake, state: tempfile::tempdir().unwrap() })
    }

    /// On the S3 server, which the test has asked for before.
    pub fn bucket() -> Self {
        // Whoever makes a life may be in the middle of one.
        let bucket = std::thread::spawn(Bucket::new).join().unwrap().expect("asked for before");
        let project = Project::new();
        project.write("sources/api.toml", &source("http://127.0.0.1:9", &Pages::Page, 4));
        project.write("sinks/lake.toml", &bucket.sink(&bucket.endpoint));
        project.write("jobs/items.toml", &job(""));
        let jobs = config::load(project.path(), None).catalog.jobs;
        let sink = &jobs.values().next().expect("a job").sink;
        Home::with(Lake::Bucket(Arc::new(Sink::clone(sink))))
    }

    /// Where tables are of a kind.
    fn kind(&self, is_delta: bool) -> Option<Kind> {
        let Place::Real { lake, .. } = &*self.place else { return None };
        Some(Kind::of(is_delta, matches!(lake, Lake::Bucket(_))))
    }

    /// A copy that goes its own way; nobody is at work here.
    pub fn fork(&self) -> Self {
        match &*self.place {
            Place::Memory { store, state } => Home::at(Place::Memory { store: store.fork(), state: state.fork() }),
            Place::Real { lake: Lake::Folder(lake), state } => {
                let copy = Home::disk();
                copy_folder(state.path(), copy.folder());
                if let Place::Real { lake: Lake::Folder(other), .. } = &*copy.place {
                    copy_folder(lake.path(), other.path());
                }
                copy
            }
            Place::Real { .. } => panic!("a bucket is not copied"),
        }
    }

    /// The same lake seen by another process with an empty state of its own.
    pub fn rival(&self) -> Self {
        match &*self.place {
            Place::Memory { store, .. } => Home::at(Place::Memory { store: store.clone(), state: MemoryState::new() }),
            Place::Real { lake, .. } => Home::with(lake.clone()),
        }
    }

    /// The same lake for a process whose state was lost; `None` where that takes more than memory.
    pub fn amnesiac(&self) -> Option<Self> {
        matches!(&*self.place, Place::Memory { .. }).then(|| self.rival())
    }

    /// The folder of the state.
    fn folder(&self) -> &Path {
        match &*self.place {
            Place::Real { state, .. } => state.path(),
            Place::Memory { .. } => panic!("there is no folder in memory"),
        }
    }

    pub fn store(&self) -> Arc<dyn Store> {
        match &*self.place {
            Place::Memory { store, .. } => Arc::new(store.clone()),
            Place::Real { lake: Lake::Folder(folder), .. } => open_local(folder.path()),
            Place::Real { lake: Lake::Bucket(sink), .. } => {
                highwater::store::open(sink, &TestSecrets, Guards::ALL).expect("a bucket opens")
            }
        }
    }

    async fn open(&self) -> Opened {
        let store = self.store();
        match &*self.place {
            Place::Memory { state, .. } => Opened { store, state: Arc::new(state.reopen()), sqlite: None },
            Place::Real { state, .. } => {
                let sqlite = Arc::new(reopen(&state.path().join("state.db")).await);
                Opened { store, state: sqlite.clone(), sqlite: Some(sqlite) }
            }
        }
    }

    /// The state's file as a backup takes it: no process is alive.
    pub fn copy_of_state(&self) -> Vec<u8> {
        std::fs::read(self.folder().join("state.db")).unwrap()
    }

    pub fn put_state(&self, backup: &[u8]) {
        for left in ["state.db-wal", "state.db-shm"] {
            // Not there after a clean end.
            drop(std::fs::remove_file(self.folder().join(left)));
        }
        std::fs::write(self.folder().join("state.db"), backup).unwrap();
    }

    pub async fn copy_of_lake(&self) -> BTreeMap<String, Bytes> {
        let store = self.store();
        let mut copy = BTreeMap::new();
        for path in listing(store.as_ref()).await.into_keys() {
            let bytes = store.get(&path, OBJECT_MAX).await.unwrap().unwrap();
            copy.insert(path, bytes);
        }
        copy
    }

    pub async fn put_lake(&self, backup: &BTreeMap<String, Bytes>) {
        let store = self.store();
        for path in listing(store.as_ref()).await.into_keys() {
            store.delete(&path).await.unwrap();
        }
        for (path, bytes) in backup {
            store.put(path, bytes.clone()).await.unwrap();
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn open_local(folder: &Path) -> Arc<dyn Store> {
    use highwater::config::catalog::{Compression, ParquetSettings, SinkPlace};
    let sink = Sink {
        name: "lake".to_owned(),
        file: "sinks/lake.toml".to_owned(),
        format: TableFormat::Parquet,
        place: SinkPlace::Local(folder.to_owned()),
        storage: BTreeMap::new(),
        parquet: ParquetSettings { compression: Compression::None, file_size: 1 << 27, row_group_size: 1 << 26 },
        keep: Default::default(),
    };
    highwater::store::open(&sink, &TestSecrets, Guards::standing()).expect("a folder opens")
}

/// A clock whose first wait lets something else happen.
pub struct Meanwhile {
    what: tokio::sync::Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    clock: TestClock,
}

impl Meanwhile {
    pub fn new(what: Pin<Box<dyn Future<Output = ()> + Send>>) -> Self {
        Meanwhile { what: tokio::sync::Mutex::new(Some(what)), clock: TestClock::new(NOW, 1) }
    }
}

#[async_trait]
impl Clock for Meanwhile {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }
    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
    async fn sleep(&self, _length: Duration) {
        let what = self.what.lock().await.take();
        if let Some(what) = what {
            what.await;
        }
    }
    fn fraction(&self) -> f64 {
        self.clock.fraction()
    }
    fn batch_id(&self) -> BatchId {
        self.clock.batch_id()
    }
    fn run_id(&self) -> RunId {
        self.clock.run_id()
    }
}

/// A process that another test starts has our lock too, until it has become what it is to be.
async fn reopen(path: &Path) -> SqliteState {
    for _ in 0..500 {
        match SqliteState::open(path).await {
            Err(error) if error.kind == ErrorKind::Conflict => pause(Duration::from_millis(20)).await,
            opened => return opened.expect("the state opens"),
        }
    }
    panic!("somebody else works with the state `{}`", path.display());
}
