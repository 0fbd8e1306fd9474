//! What stands in a recording's folder, format 1: `recording.json`, and of each exchange `000001.json` with its body beside it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::slice::Cover;

pub const FORMAT: u32 = 1;
pub(super) const MANIFEST: &str = "recording.json";
/// Exchanges of a recording, at most.
pub(super) const EXCHANGES_MAX: u64 = 100_000;
/// Bytes of a recording's bodies, at most.
pub(super) const BYTES_MAX: u64 = 1 << 30;
/// The largest file that is no body.
const TEXT_MAX: u64 = 4 << 20;

/// What a recording is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub job: String,
    pub source: String,
    pub stream: String,
    /// What counted as now when slices were planned: requests name it.
    pub as_of: Timestamp,
    /// What counted as read when the run began.
    pub covers: Vec<Cover>,
    pub ended: Ended,
    pub exchanges: u64,
    /// Answers in which a secret was hidden.
    pub redacted: u64,
    /// The query entry that carried the credential; it stands in no address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<String>,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It did not: it goes on, or was cut off.
    Not,
    Whole,
    /// There was more than a recording takes.
    Full,
    /// It could not be written any more.
    Broken,
}

/// One exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub request: Asked,
    pub answer: Answer,
}

/// A request as it was before the credential went on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub method: String,
    pub address: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// When it was complete, by the clock of whoever asked.
    pub at: Timestamp,
    pub status: u16,
    /// In order; one name may stand several times.
    pub headers: Vec<(String, String)>,
    /// The body's file, decompressed as HTTP had it; none for an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(default)]
    pub bytes: u64,
}

pub(super) fn head_name(number: u64) -> String {
    format!("{number:06}.json")
}

/// The body's file, with the ending that its content has elsewhere.
pub(super) fn body_name(number: u64, content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let ending = match essence.as_str() {
        kind if kind.contains("ndjson") || kind.contains("jsonl") || kind.contains("json-seq") => "ndjson",
        kind if kind.contains("json") => "json",
        kind if kind.contains("csv") => "csv",
        "text/html" => "html",
        kind if kind.contains("xml") => "xml",
        kind if kind.starts_with("text/") => "txt",
        _ => "bin",
    };
    format!("{number:06}.body.{ending}")
}

/// Writes a file that is there whole or not at all.
pub(super) fn write_json(folder: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    let unfinished = folder.join(format!("{name}.part"));
    let mut file = fs::File::create(&unfinished)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(unfinished, folder.join(name))
}

/// Reads a file of JSON. The error says what is wrong with it, lower case, without a full stop.
pub(super) fn read_json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T, String> {
    let bytes = read_capped(&folder.join(name), TEXT_MAX).map_err(|error| format!("`{name}` cannot be read: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("`{name}` is no file of a recording: {error}"))
}

pub(super) fn read_capped(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than `{most}` bytes")));
    }
    Ok(bytes)
}
