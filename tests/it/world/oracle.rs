//! The independent readers: DuckDB, pyarrow and deltalake, in a process of their own (tests/oracle/compare.py).

use std::path::Path;

use serde_json::{Value, json};

use super::api::Record;
use super::azure::{self, Container};
use super::bucket::Bucket;
use super::python::Python;
use crate::rust_text::root;

/// Tables to be compared with their ground truth, all in one go.
pub struct Oracle {
    python: Python,
    scratch: tempfile::TempDir,
    cases: Vec<Value>,
}

impl Oracle {
    /// `None` where the readers are not installed.
    pub fn new() -> Option<Self> {
        Some(Oracle { python: Python::new()?, scratch: tempfile::tempdir().unwrap(), cases: Vec::new() })
    }

    /// A table in a local folder, rows identified by `id`.
    pub fn expect(&mut self, name: &str, table: &Path, truth: &[Record]) -> &mut Value {
        self.add(name, json!(table), truth)
    }

    /// The table `items` of the sink that `Bucket::sink` describes.
    pub fn expect_in(&mut self, name: &str, bucket: &Bucket, truth: &[Record]) -> &mut Value {
        self.add(name, bucket.place(), truth)
    }

    /// The table `items` of the sink that `Container::sink` describes.
    pub fn expect_at(&mut self, name: &str, container: &Container, truth: &[Record]) -> &mut Value {
        let place = json!({
            "azure": container.host(), "account": azure::ACCOUNT, "key": azure::KEY,
            "bucket": container.name, "prefix": "raw/items",
        });
        self.add(name, place, truth)
    }

    /// A Delta table at a place, as compare.py names places, read by its log.
    pub fn expect_delta(&mut self, name: &str, place: &Value, truth: &[Record]) -> &mut Value {
        let case = self.add(name, place.clone(), truth);
        case["delta"] = true.into();
        case
    }

    /// A table of either format at a place.
    pub fn expect_place(&mut self, name: &str, place: &Value, is_delta: bool, truth: &[Record]) -> &mut Value {
        let case = self.add(name, place.clone(), truth);
        case["delta"] = is_delta.into();
        case
    }

    fn add(&mut self, name: &str, table: Value, truth: &[Record]) -> &mut Value {
        let path = self.scratch.path().join(format!("{}.jsonl", self.cases.len()));
        let lines: Vec<&str> = truth.iter().map(|record| record.json.as_str()).collect();
        assert!(lines.iter().all(|line| !line.contains('\n')), "a record of the truth is one line");
        std::fs::write(&path, lines.join("\n")).unwrap();
        self.cases.push(json!({ "name": name, "truth": path, "key": ["id"], "table": table }));
        self.cases.last_mut().unwrap()
    }

    /// What the readers found different; empty if every table is right.
    pub fn differences(&self) -> String {
        let script = root().join("tests/oracle/compare.py");
        self.python.run(&[&script.to_string_lossy()], &json!(self.cases).to_string()).err().unwrap_or_default()
    }

    /// Stops the test with the differences, if there are any.
    pub fn check(&self) {
        let differences = self.differences();
        assert!(differences.is_empty(), "{differences}");
    }
}

/// Has deltalake do something with a Delta table (tests/oracle/foreign.py): the table's version and its rows after that.
pub fn foreign(place: &Value, words: &[&str]) -> (u64, u64) {
    let script = root().join("tests/oracle/foreign.py");
    let (script, place) = (script.to_string_lossy(), place.to_string());
    let program = [&[&*script, place.as_str()], words].concat();
    let told = Python::new().expect("asked for before").ask(&program);
    (told["version"].as_u64().unwrap(), told["rows"].as_u64().unwrap())
}
