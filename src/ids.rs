//! Names and numbers that identify things, as types so that they cannot be mixed up.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(name: impl Into<String>) -> Self {
                $name(name.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// A job: the stem of its file.
    JobName
}
name_type! {
    /// The tables that commit together; named after the job's table.
    DatasetName
}
name_type! {
    /// Which parameter set of a job a slice belongs to; empty where there is only one.
    PartitionKey
}

impl Default for PartitionKey {
    /// The one set of a job that has no more.
    fn default() -> Self {
        PartitionKey(String::new())
    }
}

/// What stands in a set's key as it is. Everything else is percent-encoded, the signs between the parts above all.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':').remove(b'@');

impl PartitionKey {
    /// The key of a parameter set: `owner=a,repo=b`, sorted by name, values percent-encoded. The same values always give the same
    /// key, in whatever order they are written.
    pub fn of<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut parts: Vec<(&str, &str)> = values.into_iter().collect();
        parts.sort_unstable();
        let encode = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        let parts: Vec<String> = parts.into_iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        PartitionKey(parts.join(","))
    }

    /// The key that a person means: the parts in any order.
    pub fn from_words(text: &str) -> Self {
        let mut parts: Vec<&str> = text.trim().split(',').map(str::trim).collect();
        parts.sort_unstable();
        PartitionKey(parts.join(","))
    }

    /// Whether it is the one set of a job that has no more.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

/// One unit of commit. A UUID version 7 (RFC 9562), minted once, kept by every retry of that batch, never used again after a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(pub Uuid);

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hyphenated())
    }
}

/// One run of one job. A UUID version 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hyphenated())
    }
}

/// One attempt to take a due time. Kept by every retry of that attempt. A UUID version 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimId(pub Uuid);

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hyphenated())
    }
}

/// The place of a record in its dataset's log: 1, 2, 3 ...; 0 stands before the first.
pub type Seq = u64;
/// A reading of the source; `--full` and rollback open a new one. The first is 1.
pub type Generation = u32;
/// The fencing number of a lease.
pub type Epoch = u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sets_key_is_the_same_however_it_is_written() {
        let key = PartitionKey::of([("repo", "b"), ("owner", "a")]);
        assert_eq!(key.as_str(), "owner=a,repo=b");
        assert_eq!(key, PartitionKey::of([("owner", "a"), ("repo", "b")]));
        assert_eq!(key, PartitionKey::from_words(" repo=b, owner=a"));
        // A value cannot look like a second parameter.
        let one = PartitionKey::of([("a", "1,b=2")]);
        assert_eq!(one.as_str(), "a=1%2Cb%3D2");
        assert_ne!(one, PartitionKey::of([("a", "1"), ("b", "2")]));
        assert_eq!(PartitionKey::of([("a", "100% ü/x")]).as_str(), "a=100%25%20%C3%BC/x");
    }
}
