//! `[streams.NAME.cursor]`.

use super::super::kinds::Kind;
use super::super::shape::{Choice, Shape, TableShape, WORDS, optional, required};

use super::source::QUERY;

pub(super) static CURSOR: TableShape = TableShape::new(&[
    required(
        "field",
        Shape::Text(Kind::FieldPath),
        "Dotted path of the field in a record; of a token in the response, or `header.NAME`.",
    ),
    required("type", Shape::Choice(&CURSOR_TYPE), "What the field holds."),
    optional("query", QUERY, "How the API is asked: entries with `from` and `to`; one that renders to nothing is left out."),
    optional("order", Shape::Choice(&ORDER), "How the API sorts by the cursor. Default: \"none\"."),
    optional(
        "format",
        WORDS,
        "strftime pattern of `from` and `to`. Default: RFC 3339 in UTC with milliseconds; epochs as whole numbers of their unit.",
    ),
    optional(
        "precision",
        Shape::Text(Kind::Duration),
        "The API is asked this much wider on both ends. Default: \"1s\", for dates \"1d\".",
    ),
    optional("timezone", Shape::Text(Kind::Zone), "The zone in which `format` is written and days begin. Default: \"UTC\"."),
    optional("to_inclusive", Shape::Boolean, "The API's upper bound includes the value itself. Default: false."),
    optional(
        "history_max",
        Shape::Text(Kind::Duration),
        "How far back the API looks: what changed before is not given any more. Default: no limit.",
    ),
    optional("nulls", Shape::Choice(&NULLS), "What becomes of records without a cursor. Default: \"dead_letter\"."),
]);

static CURSOR_TYPE: Choice =
    Choice { words: &["timestamp", "date", "epoch_s", "epoch_ms", "epoch_us", "integer", "string", "token"], later: &[] };
static ORDER: Choice = Choice { words: &["none", "ascending", "descending"], later: &[] };
static NULLS: Choice = Choice { words: &["dead_letter"], later: &[] };
