//! What a table on disk is.
