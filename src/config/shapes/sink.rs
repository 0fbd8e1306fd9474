//! `sinks/*.toml`.

use super::super::kinds::Kind;
use super::super::shape::{Choice, Shape, TableShape, VERSION, WORDS, optional, required};

pub(in super::super) static SINK: TableShape = TableShape::new(&[
    VERSION,
    required("type", Shape::Choice(&Choice { words: &["parquet", "delta"], later: &[] }), "What the tables are made of."),
    required(
        "url",
        WORDS,
        "A folder, below the project folder unless absolute, or s3://bucket/prefix, gs://bucket/prefix, az://container/prefix.",
    ),
    optional(
        "storage",
        Shape::Map(Kind::Words, &Shape::StorageValue),
        "Options of the object store by object_store's names: region, endpoint, access_key_id, ...",
    ),
    optional("parquet", Shape::Table(&PARQUET), "How files are written."),
    optional(
        "history",
        Shape::Text(Kind::Duration),
        "How long files that left a table are kept, for `state rollback`; \"0s\" keeps none. Default: \"7d\".",
    ),
    optional(
        "gc_min_age",
        Shape::Text(Kind::Duration),
        "How old an object that no record names must be before `gc` takes it away. Default: \"1d\".",
    ),
    optional(
        "compact_min_files",
        Shape::Integer(0, 10_000),
        "From how many small files of a partition on the daemon joins them between runs; 0: never. Default: 8, but a table of Parquet in mode \"append\" is left alone then.",
    ),
]);

static PARQUET: TableShape = TableShape::new(&[
    optional("compression", Shape::Text(Kind::Compression), "\"zstd(LEVEL)\", \"snappy\" or \"none\". Default: \"zstd(3)\"."),
    optional("file_size", Shape::Text(Kind::Size), "Files are closed at about this size, at most 4GiB. Default: \"128MiB\"."),
    optional("row_group_size", Shape::Text(Kind::Size), "Row groups are closed at about this size. Default: \"64MiB\"."),
]);
