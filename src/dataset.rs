//! What is known at the end of a dataset's log.

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, Seq};
use crate::slice::{Cover, Coverage};

/// What the state knows of a dataset: the lake's truth up to `seq`, and the empty slices since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetState {
    /// The last record that is decided and published; 0 if there is none.
    pub seq: Seq,
    /// Hex SHA-256 of that record's bytes; empty at 0.
    pub record_hash: String,
    pub generation: Generation,
    /// The records' covers and `pending` together.
    pub coverage: Coverage,
    /// Covers of empty slices that no record names yet.
    pub pending: Vec<Cover>,
}
