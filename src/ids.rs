//! Names and numbers that identify things, as types so that they cannot be mixed up.

use std::fmt;

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

impl PartitionKey {
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
