//! What a table on disk is.

pub mod live;
pub mod query;
