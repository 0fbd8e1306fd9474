//! SQL over live tables.

use std::sync::Arc;

use arrow::array::RecordBatch;
use thiserror::Error;

use crate::error::ErrorKind;
use crate::store::Store;

use super::live::LiveTable;

pub struct QueryAnswer {
    pub columns: Vec<(String, String)>,
    pub rows: RecordBatch,
    pub read_bytes: u64,
}

#[derive(Debug, Error)]
#[error("{message}")]
pub struct QueryError {
    pub kind: ErrorKind,
    pub message: String,
}

pub async fn query(_tables: Vec<(LiveTable, Arc<dyn Store>)>, _sql: &str, _memory: u64) -> Result<QueryAnswer, QueryError> {
    Err(QueryError { kind: ErrorKind::Bug, message: "not merged".to_owned() })
}
