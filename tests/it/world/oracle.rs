//! The independent readers: DuckDB, pyarrow and deltalake, in a process of their own (tests/oracle/compare.py).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::api::Record;
use super::azure::{self, Container};
use super::bucket::Bucket;
use super::setting;
use crate::rust_text::root;

/// Tables to be compared with their ground truth, all in one go.
pub struct Oracle {
    python: String,
    scratch: tempfile::TempDir,
    cases: Vec<Value>,
}

impl Oracle {
    /// `None` where the readers are not installed.
    pub fn new() -> Option<Self> {
        let python = setting("HIGHWATER_TEST_PYTHON")?;
        Some(Oracle { python, scratch: tempfile::tempdir().unwrap(), cases: Vec::new() })
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
        let mut child = Command::new(&self.python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(serde_json::to_string(&self.cases).unwrap().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            return String::new();
        }
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Stops the test with the differences, if there are any.
    pub fn check(&self) {
        let differences = self.differences();
        assert!(differences.is_empty(), "{differences}");
    }
}

/// Has deltalake do something with a Delta table (tests/oracle/foreign.py): the table's version and its rows after that.
pub fn foreign(place: &Value, words: &[&str]) -> (u64, u64) {
    let python = setting("HIGHWATER_TEST_PYTHON").expect("asked for before");
    let script = root().join("tests/oracle/foreign.py");
    let output = Command::new(python).arg(script).arg(place.to_string()).args(words).output().unwrap();
    let (told, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words:?}: {told}{error}");
    let told: Value = serde_json::from_str(&told).unwrap();
    (told["version"].as_u64().unwrap(), told["rows"].as_u64().unwrap())
}
