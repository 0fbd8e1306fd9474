//! The four kinds of table on which every case of delivery has to hold, and what keeps the catalogue honest about them.
//!
//! A test says in its comment on which kinds it tries a case (`// D-01 on every kind`), and takes `tried!()`. Its projects carry that,
//! and wherever the program is started on one of them, the kind of its sink is noted. What was claimed and not tried, or tried and not
//! claimed, fails the test.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::api::{FakeApi, Pages, Record};
use super::bucket::Bucket;
use super::oracle::Oracle;
use super::project::{Project, job};
use super::skip;
use crate::catalogue;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    ParquetLocal,
    ParquetS3,
    DeltaLocal,
    DeltaS3,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::ParquetLocal, Kind::ParquetS3, Kind::DeltaLocal, Kind::DeltaS3];
    pub const LOCAL: [Kind; 2] = [Kind::ParquetLocal, Kind::DeltaLocal];
    pub const S3: [Kind; 2] = [Kind::ParquetS3, Kind::DeltaS3];
    pub const DELTA: [Kind; 2] = [Kind::DeltaLocal, Kind::DeltaS3];

    pub fn name(self) -> &'static str {
        match self {
            Kind::ParquetLocal => "parquet-local",
            Kind::ParquetS3 => "parquet-s3",
            Kind::DeltaLocal => "delta-local",
            Kind::DeltaS3 => "delta-s3",
        }
    }

    pub fn is_delta(self) -> bool {
        Kind::DELTA.contains(&self)
    }

    pub fn is_on_s3(self) -> bool {
        Kind::S3.contains(&self)
    }

    pub fn of(is_delta: bool, is_on_s3: bool) -> Self {
        Kind::ALL.into_iter().find(|kind| (kind.is_delta(), kind.is_on_s3()) == (is_delta, is_on_s3)).unwrap()
    }

    /// Of a sink's file.
    fn of_text(sink: &str) -> Option<Self> {
        let is_on_s3 = sink.contains("url = \"s3://");
        (is_on_s3 || !sink.contains("://")).then(|| Kind::of(sink.contains("type = \"delta\""), is_on_s3))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What a test claims and what it tried.
#[derive(Clone)]
pub struct Tried(Arc<Inner>);

struct Inner {
    test: String,
    claimed: BTreeSet<Kind>,
    seen: Mutex<BTreeSet<Kind>>,
}

/// The kinds that this test says it tries; to be called in the test itself.
macro_rules! tried {
    () => {{
        fn here() {}
        $crate::world::kind::Tried::claimed(file!(), std::any::type_name_of_val(&here))
    }};
}
pub(crate) use tried;

impl Tried {
    /// `path` is the type name of a function within the test.
    pub fn claimed(file: &str, path: &str) -> Self {
        let mut names = path.rsplit("::").skip(1).filter(|name| *name != "{{closure}}");
        let test = names.next().unwrap_or_default();
        let claimed = catalogue::kinds_claimed(file, test);
        assert!(!claimed.is_empty(), "{test} claims no kind of table");
        Tried(Arc::new(Inner { test: test.to_owned(), claimed, seen: Mutex::default() }))
    }

    pub fn saw(&self, kind: Kind) {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(kind);
    }

    /// What the program is about to read.
    pub fn saw_sinks_of(&self, project: &Path) {
        let sinks = std::fs::read_dir(project.join("sinks")).into_iter().flatten().map(|entry| entry.unwrap().path());
        sinks.filter_map(|path| Kind::of_text(&std::fs::read_to_string(path).unwrap())).for_each(|kind| self.saw(kind));
    }

    /// A project of a kind, whose job `items` reads two slices of two weeks each.
    pub fn table(&self, kind: Kind, api: &FakeApi, page_size: usize) -> Table {
        self.table_behind(kind, api, page_size, |endpoint| endpoint.to_owned())
    }

    /// The same where the way to S3 leads over an endpoint that is made of the server's.
    pub fn table_behind(&self, kind: Kind, api: &FakeApi, page_size: usize, way: impl FnOnce(&str) -> String) -> Table {
        let bucket = kind.is_on_s3().then(|| Bucket::new().expect("asked for before"));
        let sink = match &bucket {
            None => "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n".to_owned(),
            Some(bucket) => bucket.sink(&way(&bucket.endpoint)),
        };
        let sink = if kind.is_delta() { sink.replace("\"parquet\"", "\"delta\"") } else { sink };
        let project = Project::of_items_to(&sink, api, &Pages::Token, page_size).witnessed(self);
        project.write("jobs/items.toml", &format!("{}step = \"14d\"\n", job("").replace("2026-01-01", "2026-01-31")));
        Table { kind, project, bucket }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let names = |kinds: &BTreeSet<Kind>| kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        assert_eq!(names(&seen), names(&self.claimed), "{}: tried, and claimed in its comment", self.test);
    }
}

/// A project with a table of a kind, and where other programs find that.
pub struct Table {
    pub kind: Kind,
    pub project: Project,
    pub bucket: Option<Bucket>,
}

impl Deref for Table {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.project
    }
}

impl Table {
    pub fn merging(self) -> Self {
        self.project.edit("jobs/items.toml", "mode = \"append\"", "mode = \"merge\"");
        self
    }

    /// The table `items`, as compare.py names places.
    pub fn place(&self) -> Value {
        self.bucket.as_ref().map_or_else(|| json!(self.project.at("lake/items")), Bucket::place)
    }

    pub fn expect<'a>(&self, oracle: &'a mut Oracle, name: &str, truth: &[Record]) -> &'a mut Value {
        oracle.expect_place(&format!("{}: {name}", self.kind), &self.place(), self.kind.is_delta(), truth)
    }

    /// The records of its log, as they stand there.
    pub fn records(&self) -> Vec<String> {
        let names = self.objects().into_iter().filter(|name| name.starts_with("_highwater/items/log/"));
        let read = |name: String| match &self.bucket {
            None => std::fs::read_to_string(self.project.at(&format!("lake/{name}"))).unwrap(),
            Some(bucket) => String::from_utf8(bucket.get(&format!("raw/{name}")).expect("a record").to_vec()).unwrap(),
        };
        names.map(read).collect()
    }

    pub fn remove(&self, name: &str) {
        match &self.bucket {
            None => std::fs::remove_file(self.project.at(&format!("lake/{name}"))).unwrap(),
            Some(bucket) => bucket.delete(&format!("raw/{name}")),
        }
    }

    /// The names of everything in the lake.
    pub fn objects(&self) -> BTreeSet<String> {
        match &self.bucket {
            None => {
                self.project.listing("lake").into_keys().filter_map(|name| Some(name.strip_prefix("lake/")?.to_owned())).collect()
            }
            Some(bucket) => bucket.objects().iter().filter_map(|name| Some(name.strip_prefix("raw/")?.to_owned())).collect(),
        }
    }
}

/// The readers; a skip, noted, where they or the S3 server are missing.
pub fn prepared(test: &str) -> Option<Oracle> {
    let oracle = Oracle::new().filter(|_| Bucket::new().is_some());
    if oracle.is_none() {
        skip(test, "the independent readers or the S3 server are not installed");
    }
    oracle
}

#[test]
fn a_claim_that_was_not_tried_fails_its_test() {
    let fails = |seen: &[Kind]| {
        let inner =
            Inner { test: "a test".to_owned(), claimed: Kind::LOCAL.into(), seen: Mutex::new(seen.iter().copied().collect()) };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(inner))).is_err()
    };
    assert!(!fails(&Kind::LOCAL));
    assert!(fails(&[Kind::ParquetLocal]) && fails(&Kind::ALL) && fails(&[]));
}
