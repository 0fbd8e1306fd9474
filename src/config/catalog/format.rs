//! How the body of an answer is written.

use encoding_rs::Encoding;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One document.
    Json,
    /// A JSON value a line.
    Ndjson,
    Csv(Csv),
    Xml(Xml),
}

/// Delimited text. The characters are ASCII and differ from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csv {
    pub delimiter: u8,
    /// `None` where quotes are characters like others.
    pub quote: Option<u8>,
    /// A line that begins with it is skipped.
    pub comment: Option<u8>,
    /// The columns' names where the body has no header; each is there once.
    pub columns: Option<Vec<String>>,
    /// A byte order mark wins over it.
    pub encoding: &'static Encoding,
    /// Numbers and booleans are told from texts by how they are written.
    pub infer: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xml {
    /// Names keep the prefix of their namespace.
    pub keep_prefixes: bool,
    /// Elements that are lists even where they stand alone, as paths inside of a record.
    pub lists: Vec<Vec<String>>,
}

/// What is around a body besides `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Told by the first bytes: gzip, zstd or zip, else nothing.
    Auto,
    None,
    Gzip,
    Deflate,
    Zstd,
    Brotli,
    /// An archive of one file.
    Zip,
}
