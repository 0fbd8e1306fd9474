//! `format = { ... }` and `compression` of a stream.

use super::super::kinds::Kind;
use super::super::shape::{Choice, FIELDS, Shape, TableShape, Tagged, Variant, WORDS, optional};

pub(super) static FORMAT: Tagged = Tagged {
    variants: &[
        Variant { name: "json", about: "One JSON document.", table: TableShape::new(&[]) },
        Variant { name: "ndjson", about: "One JSON value a line.", table: TableShape::new(&[]) },
        Variant {
            name: "csv",
            about: "Delimited text.",
            table: TableShape::new(&[
                optional("delimiter", CHARACTER, "What stands between fields, such as \";\" or \"\\t\". Default: \",\"."),
                optional("quote", CHARACTER, "What stands around a field; \"\" for nothing. Default: the double quote."),
                optional("header", Shape::Boolean, "The first line names the columns. Default: true."),
                optional("columns", Shape::List(&WORDS), "The columns' names, where there is no header."),
                optional("comment", CHARACTER, "Lines that begin with this character are skipped. Default: none."),
                optional("encoding", WORDS, "A label of the Encoding Standard, such as \"windows-1252\". Default: \"utf-8\"."),
                optional(
                    "infer",
                    Shape::Boolean,
                    "Fields without quotes that are written like JSON's numbers and booleans are such. Default: true.",
                ),
            ]),
        },
        Variant {
            name: "xml",
            about: "An XML document; attributes are fields with an `@` before their names.",
            table: TableShape::new(&[
                optional("namespaces", Shape::Choice(&NAMESPACES), "Whether names keep their prefixes. Default: \"strip\"."),
                optional("lists", FIELDS, "Elements that are lists even where they stand alone, as paths in a record."),
            ]),
        },
    ],
    later: &[],
};

/// One character; which ones is for the check to say.
const CHARACTER: Shape = Shape::Text(Kind::Any);

static NAMESPACES: Choice = Choice { words: &["strip", "keep"], later: &[] };

pub(super) static COMPRESSION: Choice =
    Choice { words: &["auto", "none", "gzip", "deflate", "zstd", "brotli", "zip"], later: &[] };
