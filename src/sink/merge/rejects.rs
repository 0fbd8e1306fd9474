//! Rejects that lie among the dead letters already: a record that is read again and still does not fit is no second one.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;

use crate::store::Store;

use super::super::SinkError;
use super::super::content::bytes_hash;
use super::super::current::CurrentFile;
use super::super::stored_file::FileRows;
use super::candidates::{open, unreadable};

/// The column of the dead letters that holds a record as it came.
const RECORD: &str = "record";

/// The hashes of all records in these files of dead letters; see [`bytes_hash`].
pub async fn known_rejects(store: &Arc<dyn Store>, files: &BTreeMap<String, CurrentFile>) -> Result<HashSet<i64>, SinkError> {
    let mut known = HashSet::new();
    for (path, file) in files {
        let builder = open(store, path, file).await?;
        let roots = builder.schema().fields().iter().enumerate();
        let roots: Vec<usize> = roots.filter(|(_, field)| field.name() == RECORD).map(|(root, _)| root).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let mut stream = FileRows::new(builder.with_projection(mask).build().map_err(|error| unreadable(path, error))?);
        while let Some(batch) = stream.next().await.map_err(|error| unreadable(path, error))? {
            let Some(column) = batch.column_by_name(RECORD) else { continue };
            let texts = cast(column, &DataType::Utf8View).map_err(|error| SinkError::bug(error.to_string()))?;
            known.extend(texts.as_string_view().iter().flatten().map(|text| bytes_hash(text.as_bytes())));
        }
    }
    Ok(known)
}
