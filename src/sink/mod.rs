//! What a table on disk is: how it is written, decided, published, read and verified. Format version 1 (ARCHITECTURE.md).
//!
//! A dataset is decided by one chain of records, `_highwater/<dataset>/log/<seq>.json`; the record decides, the files follow.
//! Knows the store's verbs; never the state, the source or the schedule: `run` performs the machines' effects.

pub mod commit;
pub mod compact;
pub mod content;
pub mod control;
pub mod current;
pub mod delta;
pub mod distinct;
pub mod encode;
pub mod expire;
pub mod history;
pub mod layout;
pub mod live;
pub mod merge;
pub mod own;
mod page_header;
mod pages;
pub mod parents;
mod parquet_file;
pub mod partition;
mod parts;
pub mod publish;
pub mod query;
pub mod record;
mod row_groups;
pub mod settle;
mod side_by_side;
pub mod stage;
pub mod stored_file;
pub mod table;
pub mod verify;

use thiserror::Error;

use crate::error::ErrorKind;
use crate::store::StoreError;

/// Why a table could not be written or read.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct SinkError {
    pub kind: ErrorKind,
    pub message: String,
    #[source]
    pub source: Option<Box<StoreError>>,
}

impl SinkError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        SinkError { kind, message: message.into(), source: None }
    }

    pub fn data(message: impl Into<String>) -> Self {
        SinkError::new(ErrorKind::Data, message)
    }

    pub fn bug(message: impl Into<String>) -> Self {
        SinkError::new(ErrorKind::Bug, message)
    }
}

impl From<StoreError> for SinkError {
    fn from(error: StoreError) -> Self {
        SinkError { kind: error.kind, message: "the store did not answer as it should".to_owned(), source: Some(Box::new(error)) }
    }
}
