//! Random histories of a source, read run by run into a merged table: in the end the table is what the source has, once each.
//!
//! Every history is made by its seed: inserts, updates, ties, deletes, moves across partitions, rows that a filter lets go and takes
//! back, rows that come late but within `lookback`, files that are joined in between, and a process that dies now and then at any of its
//! effects. The table is read
//! with the `parquet` crate alone. `HIGHWATER_TEST_HISTORIES` says how many (200), `HIGHWATER_TEST_SEED` where they begin.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use highwater::config;
use highwater::config::catalog::Job;
use highwater::event::Events;
use highwater::fault::{Ending, FaultPlan, Guards, Side};
use highwater::run::{self, Effort, Ports, Purpose, RunError, RunOptions, RunReport};
use highwater::sink::verify::verify;
use highwater::source::faulty::FaultySource;
use highwater::state::faulty::FaultyState;
use highwater::state::memory::MemoryState;
use highwater::stop::Stop;
use highwater::store::Store;
use highwater::store::faulty::FaultyStore;
use highwater::store::memory::MemoryStore;
use jiff::{SignedDuration, Timestamp};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::world::api::{Pages, Record};
use crate::world::clock::TestClock;
use crate::world::dice::Dice;
use crate::world::project::{Project, source};
use crate::world::setting;
use crate::world::source::FakeSource;

const HISTORIES: u64 = 200;
const TABLE: &str = "items";
/// Rows may come so much later than their time.
const LATE_MAX: i64 = 90;

/// What the source knows of one record now.
#[derive(Clone, Debug, PartialEq)]
struct Item {
    at: Timestamp,
    name: u64,
    kind: &'static str,
    hidden: bool,
    deleted: bool,
}

/// How a job is written, chosen by seed.
#[derive(Clone, Debug)]
struct Shape {
    append: bool,
    lookback: bool,
    filter: bool,
    /// `soft`, `hard`, or no deletes at all.
    deletes: Option<&'static str>,
    moves: bool,
    partition_by: &'static str,
    step: &'static str,
    page_size: usize,
}

impl Shape {
    fn roll(dice: &mut Dice) -> Self {
        let append = dice.once_in(5);
        let partition_by = *dice.pick(&["[]", "[\"kind\"]", "[\"day(updated_at)\"]", "[\"kind\", \"day(updated_at)\"]"]);
        Shape {
            append,
            lookback: append || dice.once_in(2),
            filter: dice.once_in(2),
            deletes: if append { None } else { *dice.pick(&[None, Some("soft"), Some("hard")]) },
            moves: !dice.once_in(4),
            partition_by,
            step: dice.pick::<&str>(&["", "step = \"6h\"\n", "step = \"1d\"\n"]),
            page_size: 2 + usize::try_from(dice.below(7)).unwrap(),
        }
    }

    fn job(&self) -> String {
        let mode = if self.append { "append" } else { "merge" };
        let on_delete = self.deletes.map(|how| format!("on_delete = \"{how}\"\n")).unwrap_or_default();
        let by_kind_alone = self.partition_by == "[\"kind\"]" && !self.moves && !self.append;
        let immutable = if by_kind_alone { "partition_immutable = true\n" } else { "" };
        let lookback = if self.lookback { "lookback = \"2h\"\n" } else { "" };
        let filter = if self.filter { "[[steps]]\nfilter = \"hidden = false\"\n" } else { "" };
        format!(
            "version = 1\nsource = \"api\"\nstream = \"items\"\nsink = \"lake\"\nmode = \"{mode}\"\npartition_by = {}\n{on_delete}{immutable}\
             [window]\nstart = \"2026-03-01T00:00:00Z\"\nsettle = \"1m\"\n{}{lookback}{filter}",
            self.partition_by, self.step
        )
    }
}

/// What a process does in its life.
enum Work {
    Load,
    Join,
}

struct History {
    seed: u64,
    dice: Dice,
    shape: Shape,
    project: Project,
    job: Job,
    store: MemoryStore,
    state: MemoryState,
    items: BTreeMap<u64, Item>,
    /// Everything that an id ever was, for an append.
    versions: BTreeMap<u64, Vec<Item>>,
    now: Timestamp,
    lives: u64,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let shape = Shape::roll(&mut dice);
        let project = Project::new();
        let api = source("http://127.0.0.1:9", &Pages::Page, shape.page_size);
        let deleted =
            if shape.deletes.is_some() { "primary_key = [\"id\"]\ndeleted = \"gone\"\n" } else { "primary_key = [\"id\"]\n" };
        project.write("sources/api.toml", &api.replace("primary_key = [\"id\"]\n", deleted));
        project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
        project.write("jobs/items.toml", &shape.job());
        let loaded = config::load(project.path(), None);
        let problems: Vec<String> = loaded.problems.iter().map(|problem| problem.to_string()).collect();
        let job = loaded.catalog.jobs.values().next().unwrap_or_else(|| panic!("{}", problems.join("\n"))).clone();
        History {
            seed,
            dice,
            shape,
            project,
            job,
            store: MemoryStore::new(),
            state: MemoryState::new(),
            items: BTreeMap::new(),
            versions: BTreeMap::new(),
            now: "2026-03-01T00:30:00Z".parse().unwrap(),
            lives: 0,
        }
    }

    /// Time goes on and the source changes.
    fn go_on(&mut self) {
        let before = self.now;
        self.now += SignedDuration::from_mins(5 + i64::try_from(self.dice.below(300)).unwrap());
        for _ in 0..self.dice.below(14) {
            self.change(before);
        }
    }

    fn change(&mut self, before: Timestamp) {
        let minutes = (self.now.as_second() - before.as_second()) / 60;
        // Whole minutes, so that ties are common.
        let mut at = before + SignedDuration::from_mins(1 + i64::try_from(self.dice.below(minutes.unsigned_abs())).unwrap());
        if self.shape.lookback && self.dice.once_in(4) {
            at = before - SignedDuration::from_mins(i64::try_from(self.dice.below(LATE_MAX.unsigned_abs())).unwrap());
            at = at.max("2026-03-01T00:00:00Z".parse().unwrap());
        }
        let known: Vec<u64> = self.items.keys().copied().collect();
        let id = if known.is_empty() || self.dice.once_in(2) { known.len() as u64 } else { *self.dice.pick(&known) };
        let old = self.items.get(&id).cloned();
        // The newest version is the one with the latest cursor: a source that turns its clock back is another story.
        if old.as_ref().is_some_and(|old| at <= old.at) {
            return;
        }
        let kind = match &old {
            Some(old) if !self.shape.moves => old.kind,
            _ => *self.dice.pick(&["a", "b", "c"]),
        };
        let deleted = self.shape.deletes.is_some() && old.is_some() && self.dice.once_in(4);
        let hidden = self.dice.once_in(4);
        let item = Item { at, name: self.dice.below(1_000_000), kind, hidden, deleted };
        self.versions.entry(id).or_default().push(item.clone());
        self.items.insert(id, item);
    }

    fn records(&self) -> Vec<Record> {
        let mut records: Vec<(u64, Record)> = Vec::new();
        for (id, item) in &self.items {
            let Item { at, name, kind, hidden, deleted } = item;
            let json = match deleted {
                true => format!("{{\"id\":{id},\"updated_at\":\"{at}\",\"gone\":true}}"),
                false => format!(
                    "{{\"id\":{id},\"updated_at\":\"{at}\",\"name\":\"n{name}\",\"kind\":\"{kind}\",\"hidden\":{hidden},\"gone\":null}}"
                ),
            };
            records.push((id * 7919 % 1009, Record { json, cursor: Some(*at) }));
        }
        // No order that anybody could rely on.
        records.sort_by_key(|(order, _)| *order);
        records.into_iter().map(|(_, record)| record).collect()
    }

    async fn run(&mut self, plan: FaultPlan) -> Result<RunReport, RunError> {
        Ok(self.work(plan, Work::Load).await?.expect("a load reports"))
    }

    async fn work(&mut self, plan: FaultPlan, work: Work) -> Result<Option<RunReport>, RunError> {
        self.lives += 1;
        let plan = Arc::new(plan);
        let source = FakeSource { records: self.records(), page_size: self.shape.page_size, now: self.now };
        let spool = self.project.at("spool");
        let ports = Ports {
            state: Arc::new(FaultyState::new(Arc::new(self.state.reopen()), plan.clone())),
            store: Arc::new(FaultyStore::new(Arc::new(self.store.clone()), plan.clone())),
            source: Arc::new(FaultySource::new(Arc::new(source), plan)),
            roster: None,
            clock: Arc::new(TestClock::new(&self.now.to_string(), self.seed << 16 | self.lives)),
            events: Events::default(),
            stop: Stop::new(),
            owner: format!("life {}", self.lives),
            spool,
            memory: 64 << 20,
            guards: Guards::ALL,
            options: RunOptions::default(),
        };
        match work {
            Work::Load => run::run_job(&self.job, Purpose::Load, &ports).await.map(Some),
            Work::Join => run::compact(&self.job, &ports, Effort::all(false)).await.map(|_| None),
        }
    }

    async fn live(&mut self) -> Vec<String> {
        for _ in 0..5 + self.dice.below(8) {
            self.go_on();
            while self.dice.once_in(3) {
                let side = *self.dice.pick(&[Side::Before, Side::After]);
                let at = 1 + self.dice.below(70);
                // How it ends is what the next run has to live with.
                drop(self.run(FaultPlan::kill(at, side, Ending::InProcess)).await);
            }
            // Files are joined between runs, and that ends badly as well.
            if self.dice.once_in(2) {
                let (at, side) = (1 + self.dice.below(90), *self.dice.pick(&[Side::Before, Side::After]));
                let plan = if self.dice.once_in(2) { FaultPlan::kill(at, side, Ending::InProcess) } else { FaultPlan::none() };
                drop(self.work(plan, Work::Join).await);
            }
            if !self.dice.once_in(4) {
                let report = self.run(FaultPlan::none()).await;
                match report {
                    Ok(report) if report.failed.is_empty() => {}
                    other => return vec![format!("a run failed: {other:?}")],
                }
            }
        }
        self.now += SignedDuration::from_mins(2);
        match self.run(FaultPlan::none()).await {
            Ok(report) if report.failed.is_empty() => {}
            other => return vec![format!("the last run failed: {other:?}")],
        }
        let mut wrong = self.compare().await;
        let report = self.run(FaultPlan::none()).await;
        if !report.as_ref().is_ok_and(|report| report.commits == 0 && report.failed.is_empty()) {
            wrong.push(format!("one more run: {report:?}"));
        }
        match verify(&self.store, &self.job.dataset).await {
            Ok(report) => wrong.extend(report.problems),
            Err(error) => wrong.push(error.to_string()),
        }
        wrong
    }

    async fn compare(&self) -> Vec<String> {
        let rows = read_rows(&self.store).await;
        let mut wrong = Vec::new();
        for (id, found) in &rows {
            match self.items.get(id) {
                None => wrong.push(format!("row {id} is not in the source")),
                Some(_) if self.shape.append => wrong.extend(self.compare_versions(*id, found)),
                Some(_) if found.len() != 1 => wrong.push(format!("row {id} is there {} times", found.len())),
                Some(item) if item.deleted && found[0].deleted != Some(true) => wrong.push(format!("row {id} was deleted")),
                Some(item) if item.deleted => {}
                Some(item) => {
                    let expected = Row {
                        at: item.at,
                        name: format!("n{}", item.name),
                        kind: item.kind.to_owned(),
                        deleted: found[0].deleted,
                    };
                    if found[0] != expected || found[0].deleted == Some(true) {
                        wrong.push(format!("row {id} is {:?}, not {expected:?}", found[0]));
                    }
                }
            }
        }
        for (id, item) in &self.items {
            let is_away = item.deleted || self.shape.filter && item.hidden;
            let found = rows.get(id);
            if !is_away && found.is_none() {
                wrong.push(format!("row {id} is lost: {item:?}"));
            }
            let should_not =
                item.deleted && self.shape.deletes == Some("hard") || self.shape.filter && item.hidden && !item.deleted;
            if should_not && found.is_some() && !self.shape.append {
                wrong.push(format!("row {id} should have gone: {item:?}"));
            }
        }
        wrong
    }

    /// An append has every version that was read, each once, and the newest among them.
    fn compare_versions(&self, id: u64, found: &[Row]) -> Vec<String> {
        let mut wrong = Vec::new();
        let versions = &self.versions[&id];
        for row in found {
            if !versions.iter().any(|item| item.at == row.at && format!("n{}", item.name) == row.name) {
                wrong.push(format!("row {id} was never {row:?}"));
            }
            if found.iter().filter(|other| *other == row).count() > 1 {
                wrong.push(format!("row {id} is doubled: {row:?}"));
            }
        }
        let newest = &self.items[&id];
        let is_there = found.iter().any(|row| row.at == newest.at);
        if !(is_there || self.shape.filter && newest.hidden) {
            wrong.push(format!("the newest version of {id} is lost: {newest:?}"));
        }
        wrong
    }
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    at: Timestamp,
    name: String,
    kind: String,
    deleted: Option<bool>,
}

async fn read_rows(store: &MemoryStore) -> BTreeMap<u64, Vec<Row>> {
    let mut rows: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
    for object in store.list(TABLE).await.unwrap() {
        let folder = object.path.split('/').find_map(|step| step.strip_prefix("kind=")).map(str::to_owned);
        let bytes = store.get(&object.path, 1 << 24).await.unwrap().unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let column = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name} in {}", object.path));
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

#[test]
fn random_histories_end_as_the_source_once_each() {
    // C-04, C-05, C-06, C-48, C-50, C-67, D-01, D-56, D-57
    let number = |name: &str, default: u64| setting(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (first, count) = (number("HIGHWATER_TEST_SEED", 1), number("HIGHWATER_TEST_HISTORIES", HISTORIES));
    let seeds: Vec<u64> = (first..first + count).collect();
    let wrong = super::sweep::in_parallel(&seeds, async |seed| {
        let mut history = History::new(*seed);
        let shape = history.shape.clone();
        let found = history.live().await;
        found.into_iter().map(|text| format!("seed {seed} ({shape:?}): {text}")).collect()
    });
    assert!(wrong.is_empty(), "{} violations, the first:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
}
