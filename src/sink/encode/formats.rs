//! How row groups are written, by what their first rows are like.

use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::super::distinct::without_dictionary;
use super::super::own;
use super::super::pages::Packer;
use super::super::parquet_file::Format;
use super::EncodeSettings;
use crate::config::catalog::Compression;

/// Distinct keys of a row group that a bloom filter is laid out for, where no less is known; it is folded to what there are
/// (`Sbbf::fold_to_target_fpp`), which takes longer the more it was laid out for.
const BLOOM_KEYS_MAX: u64 = 1 << 18;
/// How often a bloom filter takes a key for one it has.
const BLOOM_ERRORS: f64 = 0.01;
/// A page is closed once its values come to so many bytes: below the heap's `LARGE` with all that a growing buffer takes more, for pages
/// of their own from the kernel would be made and zeroed for each. Larger ones pack hardly better: zstd(1) looks back 512 KiB.
const DATA_PAGE: usize = 480 * 1024;
/// Row groups of fewer rows have no dictionaries: pages that small are packed as well without, and the tables that find what is in a
/// dictionary take 50 KB a column, and longer to be made than to be used.
const DICTIONARY_ROWS_MIN: usize = 256;
/// Formats that are kept.
const KNOWN_MAX: usize = 64;

/// What is known of a row group before it is begun.
pub(super) enum RowGroupIs<'a> {
    /// These are its first rows.
    Begun(&'a RecordBatch),
    /// It has these rows and no others; what was [judged](without_dictionary) of rows of many such.
    Whole(&'a RecordBatch, &'a [ColumnPath]),
}

pub(super) struct Formats {
    compression: ParquetCompression,
    /// Packs the pages of all files, where `parquet` does not.
    packer: Option<Arc<Packer>>,
    is_keyed: bool,
    keys_max: u64,
    known: Vec<(Traits, Arc<Format>)>,
}

/// What tells formats of the same columns apart.
#[derive(PartialEq)]
struct Traits {
    /// The columns without a dictionary; `None` where none has one.
    without_dictionary: Option<Vec<ColumnPath>>,
    /// Distinct keys at most.
    keys_max: u64,
}

impl Formats {
    pub fn new(settings: &EncodeSettings) -> Self {
        let compression = match settings.parquet.compression {
            Compression::None => ParquetCompression::UNCOMPRESSED,
            Compression::Snappy => ParquetCompression::SNAPPY,
            // `check` has seen to the level.
            Compression::Zstd(level) => ParquetCompression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default()),
        };
        let keys_max = settings.keys_max.unwrap_or(BLOOM_KEYS_MAX).clamp(1, BLOOM_KEYS_MAX);
        let packer = Packer::of(compression);
        Formats { compression, packer, is_keyed: settings.own.keyed, keys_max, known: Vec::new() }
    }

    pub fn of(&mut self, row_group: RowGroupIs<'_>) -> Result<Arc<Format>, ParquetError> {
        let (first, traits) = match row_group {
            RowGroupIs::Begun(rows) => {
                (rows, Traits { without_dictionary: Some(without_dictionary(rows)), keys_max: self.keys_max })
            }
            RowGroupIs::Whole(rows, judged) => {
                let has_any = rows.num_rows() >= DICTIONARY_ROWS_MIN;
                // Few sizes, so that few formats do.
                let keys_max = self.keys_max.min((rows.num_rows() as u64).next_power_of_two());
                (rows, Traits { without_dictionary: has_any.then(|| judged.to_vec()), keys_max })
            }
        };
        let schema = first.schema();
        let known = self.known.iter().find(|(known, format)| *known == traits && *format.schema() == schema);
        if let Some((_, format)) = known {
            return Ok(Arc::clone(format));
        }
        let format = Format::new(schema, self.properties(&traits), self.compression, self.packer.clone())?;
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.push((traits, Arc::clone(&format)));
        Ok(format)
    }

    fn properties(&self, traits: &Traits) -> WriterPropertiesBuilder {
        let mut properties = WriterProperties::builder().set_dictionary_enabled(traits.without_dictionary.is_some());
        for column in traits.without_dictionary.iter().flatten() {
            properties = properties.set_column_dictionary_enabled(column.clone(), false);
        }
        if self.is_keyed {
            let key = ColumnPath::from(own::KEY);
            properties = properties
                .set_column_bloom_filter_enabled(key.clone(), true)
                .set_column_bloom_filter_fpp(key.clone(), BLOOM_ERRORS)
                .set_column_bloom_filter_max_ndv(key, traits.keys_max);
        }
        properties
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_data_page_size_limit(DATA_PAGE)
            .set_created_by(concat!("highwater ", env!("CARGO_PKG_VERSION")).to_owned())
    }
}
