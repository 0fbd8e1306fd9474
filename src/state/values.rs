//! How values stand in columns, of either database.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::state::BatchStatus;

/// Of every `_json` column. Raised when a type behind one changes so that older programs would misread it.
const JSON_VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a, T> {
    version: u32,
    value: &'a T,
}

#[derive(Deserialize)]
struct Read<T> {
    value: T,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

pub(in crate::state) fn to_json<T: Serialize>(value: &T) -> Result<String, String> {
    serde_json::to_string(&Written { version: JSON_VERSION, value }).map_err(|error| format!("cannot be written: {error}"))
}

pub(in crate::state) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let unreadable = |error: serde_json::Error| format!("the state holds what cannot be read: {error}");
    let Version { version } = serde_json::from_str(text).map_err(unreadable)?;
    if version != JSON_VERSION {
        return Err(format!("the state was written by a newer highwater (format `{version}`)"));
    }
    let read: Read<T> = serde_json::from_str(text).map_err(unreadable)?;
    Ok(read.value)
}

/// All of nine digits, so that texts sort as instants do.
pub(in crate::state) fn to_text(at: Timestamp) -> String {
    format!("{at:.9}")
}

pub(in crate::state) fn from_text(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| format!("the state holds `{text}` for an instant"))
}

/// Both databases have signed integers only.
pub(in crate::state) fn to_integer(value: u64) -> Result<i64, String> {
    i64::try_from(value).map_err(|_| format!("too large for the state: `{value}`"))
}

pub(in crate::state) fn from_integer(value: i64) -> Result<u64, String> {
    u64::try_from(value).map_err(|_| format!("the state holds a count below zero: `{value}`"))
}

pub(in crate::state) fn status_name(status: BatchStatus) -> &'static str {
    match status {
        BatchStatus::Prepared => "prepared",
        BatchStatus::Aborted => "aborted",
        BatchStatus::Done => "done",
        BatchStatus::Dropped => "dropped",
    }
}

pub(in crate::state) fn status_from(name: &str) -> Result<BatchStatus, String> {
    let all = [BatchStatus::Prepared, BatchStatus::Aborted, BatchStatus::Done, BatchStatus::Dropped];
    let found = all.into_iter().find(|status| status_name(*status) == name);
    found.ok_or_else(|| format!("the state holds an unknown batch status: `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slice::{Coverage, Covered, CursorMark};

    #[test]
    fn what_version_1_wrote_is_read() {
        let text = r#"{"version":1,"value":{"partitions":{"":{"integer":{"value":-170141183460469231731687303715884105728,"keys":["ab"]}},
            "x":{"spans":[{"from":null,"to":"2026-01-02T03:04:05.000006Z"}]}}}}"#;
        let coverage: Coverage = from_json(text).unwrap();
        let mark = CursorMark { value: i128::MIN.into(), keys: vec!["ab".to_owned()] };
        assert_eq!(coverage.partitions.values().next(), Some(&Covered::Mark(mark)));
        assert_eq!(from_json::<Coverage>(&to_json(&coverage).unwrap()), Ok(coverage));
    }

    #[test]
    fn a_newer_format_is_refused_before_it_is_read() {
        let error = from_json::<Coverage>(r#"{"version":2,"value":{"shape":"unheard of"}}"#).unwrap_err();
        assert!(error.contains("newer highwater"), "{error}");
    }

    #[test]
    fn texts_sort_as_instants_do() {
        let instants =
            ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000001Z", "2026-01-01T00:00:00.1Z", "2026-01-01T00:00:01Z"];
        let texts: Vec<String> = instants.iter().map(|text| to_text(text.parse().unwrap())).collect();
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(from_text(&texts[1]).unwrap(), instants[1].parse().unwrap());
    }
}
