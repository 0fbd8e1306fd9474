//! `[streams.NAME.parent]`.

use super::super::kinds::Kind;
use super::super::shape::{Shape, TableShape, WORDS, optional, required};

pub(super) static PARENT: TableShape = TableShape::new(&[
    required("stream", WORDS, "The stream of this source whose records are gone over, one after the other."),
    optional(
        "carry",
        Shape::Map(Kind::Words, &Shape::Text(Kind::FieldPath)),
        "Columns that each record gets from its parent: name to the parent's field.",
    ),
    optional(
        "changed_only",
        Shape::Boolean,
        "Only parents that changed since the last run are gone over, by their own cursor. Default: false.",
    ),
]);
