//! What the source has, how it changes, and how the job that reads it is written.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use highwater::config;
use highwater::config::catalog::{Job, TableFormat};
use highwater::page::{Envelope, PagePosition, RawPage, ResponsePath};
use highwater::slice::Slice;
use highwater::source::{FetchError, Judgement, Source};
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};

use crate::world::api::{Pages, Record};
use crate::world::dice::Dice;
use crate::world::project::{Project, source};
use crate::world::source::FakeSource;

const START: &str = "2026-03-01T00:00:00Z";
/// Rows may come so much later than their time.
const LATE_MAX: i64 = 90;
/// One seed of so many makes a Delta table, whose log costs many readings.
const DELTA_PART: u64 = 16;

/// A job is read from its files once, and then shared by all seeds of its shape.
static JOBS: LazyLock<Mutex<HashMap<String, Job>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Append,
    Merge,
    Replace,
}

/// How a job is written, chosen by seed.
#[derive(Clone, Debug)]
pub struct Shape {
    pub mode: Mode,
    pub lookback: bool,
    pub filter: bool,
    /// `soft`, `hard`, or no deletes at all.
    pub deletes: Option<&'static str>,
    pub moves: bool,
    partition_by: &'static str,
    step: &'static str,
    pub page_size: usize,
    pub delta: bool,
}

impl Shape {
    pub fn roll(dice: &mut Dice) -> Self {
        let mode = *dice.pick(&[Mode::Append, Mode::Append, Mode::Merge, Mode::Merge, Mode::Merge, Mode::Merge, Mode::Replace]);
        let lookback = dice.once_in(2);
        let deletes = *dice.pick(&[None, Some("soft"), Some("hard")]);
        Shape {
            mode,
            lookback: mode == Mode::Append || mode == Mode::Merge && lookback,
            filter: dice.once_in(2),
            deletes: deletes.filter(|_| mode == Mode::Merge),
            moves: !dice.once_in(4),
            partition_by: dice.pick::<&str>(&["[]", "[\"kind\"]", "[\"day(updated_at)\"]", "[\"kind\", \"day(updated_at)\"]"]),
            step: dice.pick::<&str>(&["", "step = \"6h\"\n", "step = \"1d\"\n"]),
            page_size: 2 + usize::try_from(dice.below(7)).unwrap(),
            delta: dice.once_in(DELTA_PART),
        }
    }

    pub fn job(&self) -> Job {
        let text = self.text();
        let api = source("http://127.0.0.1:9", &Pages::Page, self.page_size);
        let keys = "primary_key = [\"id\"]\n";
        let deleted = if self.deletes.is_some() { "primary_key = [\"id\"]\ndeleted = \"gone\"\n" } else { keys };
        let api = api.replace(keys, deleted);
        let mut job = JOBS.lock().unwrap().entry(format!("{text}{api}")).or_insert_with(|| read_job(&text, &api)).clone();
        if self.delta {
            job.sink.format = TableFormat::Delta;
        }
        job
    }

    fn text(&self) -> String {
        let mode = match self.mode {
            Mode::Append => "append",
            Mode::Merge => "merge",
            Mode::Replace => "replace",
        };
        let on_delete = self.deletes.map(|how| format!("on_delete = \"{how}\"\n")).unwrap_or_default();
        let stays = self.partition_by == "[\"kind\"]" && !self.moves && self.mode == Mode::Merge;
        let immutable = if stays { "partition_immutable = true\n" } else { "" };
        let lookback = if self.lookback { "lookback = \"2h\"\n" } else { "" };
        let filter = if self.filter { "[[steps]]\nfilter = \"hidden = false\"\n" } else { "" };
        format!(
            "version = 1\nsource = \"api\"\nstream = \"items\"\nsink = \"lake\"\nmode = \"{mode}\"\npartition_by = {}\n{on_delete}{immutable}\
             [window]\nstart = \"{START}\"\nsettle = \"1m\"\n{}{lookback}{filter}",
            self.partition_by, self.step
        )
    }
}

fn read_job(job: &str, api: &str) -> Job {
    let project = Project::new();
    project.write("sources/api.toml", api);
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    project.write("jobs/items.toml", job);
    let loaded = config::load(project.path(), None);
    let problems: Vec<String> = loaded.problems.iter().map(|problem| problem.to_string()).collect();
    loaded.catalog.jobs.values().next().unwrap_or_else(|| panic!("{job}\n{}", problems.join("\n"))).clone()
}

/// What the source knows of one record now.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub at: Timestamp,
    pub name: u64,
    pub kind: &'static str,
    pub hidden: bool,
    pub deleted: bool,
}

fn describe((id, item): (&u64, &Item)) -> String {
    let what = if item.deleted { " deleted" } else { "" };
    let hidden = if item.hidden { " hidden" } else { "" };
    format!("{id} at {} in {}{hidden}{what}", item.at, item.kind)
}

/// Everything that the source has.
pub struct Items {
    dice: Dice,
    shape: Shape,
    pub now: Timestamp,
    pub newest: BTreeMap<u64, Item>,
    /// Everything that an id ever was, for an append.
    pub versions: BTreeMap<u64, Vec<Item>>,
}

impl Items {
    pub fn new(seed: u64, shape: &Shape) -> Self {
        Items {
            dice: Dice::new(seed),
            shape: shape.clone(),
            now: START.parse::<Timestamp>().unwrap() + SignedDuration::from_mins(30),
            newest: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }

    /// Time goes on and the source changes; in words.
    pub fn go_on(&mut self) -> String {
        let (before, old) = (self.now, self.newest.clone());
        self.now += SignedDuration::from_mins(5 + i64::try_from(self.dice.below(500)).unwrap());
        for _ in 0..1 + self.dice.below(8) {
            self.change(before);
        }
        let changed: Vec<String> = self.newest.iter().filter(|(id, item)| old.get(id) != Some(item)).map(describe).collect();
        format!("the source goes on from {before} to {}: {}", self.now, changed.join(", "))
    }

    /// All that is known becomes old enough to be read.
    pub fn settle(&mut self) {
        self.now += SignedDuration::from_mins(2);
    }

    fn change(&mut self, before: Timestamp) {
        let minutes = (self.now.as_second() - before.as_second()) / 60;
        // Whole minutes, so that ties are common.
        let mut at = before + SignedDuration::from_mins(1 + i64::try_from(self.dice.below(minutes.unsigned_abs())).unwrap());
        if self.shape.lookback && self.dice.once_in(4) {
            at = before - SignedDuration::from_mins(i64::try_from(self.dice.below(LATE_MAX.unsigned_abs())).unwrap());
            at = at.max(START.parse().unwrap());
        }
        let known: Vec<u64> = self.newest.keys().copied().collect();
        let id = if known.is_empty() || self.dice.once_in(2) { known.len() as u64 } else { *self.dice.pick(&known) };
        let old = self.newest.get(&id).cloned();
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
        self.newest.insert(id, item);
    }

    fn records(&self) -> Vec<Record> {
        let mut records: Vec<(u64, Record)> = Vec::new();
        for (id, item) in &self.newest {
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
}

/// The source as requests see it: the first page of a slice shows what there is now, the others go on with that.
pub struct LiveSource {
    items: Arc<Mutex<Items>>,
    seen: Mutex<Arc<FakeSource>>,
}

impl LiveSource {
    pub fn new(items: Arc<Mutex<Items>>) -> Self {
        let seen = Mutex::new(Arc::new(LiveSource::look(&items)));
        LiveSource { items, seen }
    }

    fn look(items: &Mutex<Items>) -> FakeSource {
        let items = items.lock().unwrap();
        FakeSource { records: items.records(), page_size: items.shape.page_size, now: items.now }
    }

    fn seen(&self) -> Arc<FakeSource> {
        Arc::clone(&self.seen.lock().unwrap())
    }
}

#[async_trait]
impl Source for LiveSource {
    fn clean(&self, message: String, _body: &[u8]) -> String {
        message
    }

    async fn fetch(&self, slice: &Slice, at: &PagePosition, attempt: u32) -> Result<RawPage, FetchError> {
        if at.index == PagePosition::start().index {
            *self.seen.lock().unwrap() = Arc::new(LiveSource::look(&self.items));
        }
        self.seen().fetch(slice, at, attempt).await
    }

    fn requests(&self) -> u64 {
        0
    }

    fn wanted(&self) -> Vec<ResponsePath> {
        self.seen().wanted()
    }

    fn judge(&self, envelope: &Envelope) -> Judgement {
        self.seen().judge(envelope)
    }

    fn next(
        &self,
        slice: &Slice,
        at: &PagePosition,
        envelope: &Envelope,
        headers: &HeaderMap,
    ) -> Result<Option<PagePosition>, FetchError> {
        self.seen().next(slice, at, envelope, headers)
    }
}
