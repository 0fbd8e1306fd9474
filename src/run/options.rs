//! What an operator asks of one run, in a form that can be handed to another process.

use std::fmt;
use std::str::FromStr;

use jiff::{Timestamp, civil};
use serde::{Deserialize, Serialize};

use crate::ids::{PartitionKey, Seq};

/// What an operator asks of one run, beyond that it happens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunOptions {
    /// Replace a table even by nothing, or by less than half of what it has.
    #[serde(default)]
    pub force: bool,
    /// Before the run: what is to count as not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewind: Option<Rewind>,
    /// What counts as now when slices are planned, where the run is recorded, or is one that was.
    #[serde(skip)]
    pub as_of: Option<Timestamp>,
}

/// A change of what counts as read, by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewind {
    pub what: RewindKind,
    /// Of this parameter set alone; of all of them where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<PartitionKey>,
    /// It was shown that the table would be emptied, and meant: a daemon that works with other files must not find that out alone.
    #[serde(default)]
    pub may_empty: bool,
    /// So many files were shown to be lost, which leave the table: no more may be by then.
    #[serde(default)]
    pub may_lose: u64,
    /// Who asked: a user's name.
    pub asked_by: String,
    /// Why, as the operator said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RewindKind {
    /// Everything is read again. The table is emptied first if the job means something else than the table; else files of it that are
    /// lost leave it.
    Full,
    /// What lies in `[from, to)` of the cursor is read again.
    Range { from: Option<Bound>, to: Option<Bound> },
    /// What lies before it counts as read, what lies behind it does not. Nothing is read by this run.
    Mark(Bound),
    /// The table is what it was after the record of this seq. Nothing is read by this run.
    Rollback(Seq),
}

impl RewindKind {
    /// Whether the run ends with it: it only changes what is known.
    pub fn reads_nothing(&self) -> bool {
        matches!(self, RewindKind::Mark(_) | RewindKind::Rollback(_))
    }
}

impl fmt::Display for RewindKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RewindKind::Full => f.write_str("run --full"),
            RewindKind::Range { from, to } => {
                f.write_str("run")?;
                from.iter().try_for_each(|from| write!(f, " --from {from}"))?;
                to.iter().try_for_each(|to| write!(f, " --to {to}"))
            }
            RewindKind::Mark(mark) => write!(f, "state set --mark {mark}"),
            RewindKind::Rollback(seq) => write!(f, "state rollback --to {seq}"),
        }
    }
}

/// A place on a cursor's line as it is typed: an instant, a day (its beginning in the cursor's zone), a whole number, or any text for
/// cursors that are texts. What a type shows differently from how it was typed stays a text: whoever means the text means its letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    Instant(Timestamp),
    Day(civil::Date),
    Integer(i128),
    Text(String),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Instant(at) => at.fmt(f),
            Bound::Day(day) => day.fmt(f),
            Bound::Integer(value) => value.fmt(f),
            Bound::Text(text) => f.write_str(text),
        }
    }
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let typed = text.parse().map(Bound::Integer).ok();
        // A timestamp is a day too for the parser of days, which leaves the time out.
        let typed = typed.or_else(|| text.parse().map(Bound::Instant).ok()).or_else(|| text.parse().map(Bound::Day).ok());
        match typed.filter(|typed| typed.to_string() == text) {
            Some(typed) => Ok(typed),
            None if text.trim().is_empty() => Err("it is empty".to_owned()),
            None => Ok(Bound::Text(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_they_are_shown() {
        for text in [
            "2026-01-31",
            "2026-01-31T07:00:00Z",
            "-12",
            "170141183460469231731687303715884105727",
            "+5",
            "2026-01-31T07:00:00+02:00",
            "01J#a",
        ] {
            let bound: Bound = text.parse().expect(text);
            assert_eq!(bound.to_string(), text);
            let json = serde_json::to_string(&bound).expect("JSON");
            assert_eq!(serde_json::from_str::<Bound>(&json).expect("a bound"), bound);
        }
        assert!("".parse::<Bound>().is_err() && " ".parse::<Bound>().is_err());
        for text in ["yesterday", "2026-01-31T07:00", "2026-13-01", "1.5", "2026-01-31T07:00:00+02:00"] {
            assert_eq!(text.parse::<Bound>(), Ok(Bound::Text(text.to_owned())));
        }
    }

    #[test]
    fn options_survive_the_way_and_unknown_ones_are_refused() {
        let range = RewindKind::Range { from: "2026-01-01".parse().ok(), to: None };
        assert_eq!(range.to_string(), "run --from 2026-01-01");
        let set = Some(PartitionKey::of([("a", "1")]));
        let rewind = Rewind { what: range, set, may_empty: false, may_lose: 0, asked_by: "alice".to_owned(), why: None };
        let options = RunOptions { force: true, rewind: Some(rewind), as_of: None };
        let json = serde_json::to_string(&options).expect("JSON");
        assert_eq!(serde_json::from_str::<RunOptions>(&json).expect("options"), options);
        assert!(serde_json::from_str::<RunOptions>("{\"dry\":true}").is_err());
    }
}
