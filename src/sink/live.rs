//! The files of a table that count now.

use crate::ids::Seq;
use crate::schema::TableSchema;

/// A table as a reader sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveTable {
    pub table: String,
    pub seq: Seq,
    pub schema: TableSchema,
    pub partition_keys: Vec<String>,
    pub files: Vec<LiveFile>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LiveFile {
    /// Relative to the sink's root.
    pub path: String,
    pub bytes: u64,
    pub rows: u64,
    /// Directory keys and values; `None` is the null partition.
    pub partition: Vec<(String, Option<String>)>,
}
