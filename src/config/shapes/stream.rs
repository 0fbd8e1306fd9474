//! `[streams.NAME]`.

use super::super::kinds::Kind;
use super::super::shape::{Choice, FIELDS, Shape, TableShape, optional};

use super::body::BODY;
use super::cursor::CURSOR;
use super::errors::ERROR_RULE;
use super::export::EXPORT;
use super::format::{COMPRESSION, FORMAT};
use super::paging::PAGING;
use super::parent::PARENT;
use super::source::{QUERY, TEMPLATE};

pub(super) static STREAM: TableShape = TableShape::new(&[
    optional(
        "path",
        TEMPLATE,
        "Joined below `base_url`'s own path; each part is percent-encoded. Only an export that tells the address needs none.",
    ),
    optional("method", Shape::Text(Kind::Method), "The request's method. Default: \"GET\", with a body \"POST\"."),
    optional("query", QUERY, "What every request carries; an entry that renders to nothing is left out."),
    optional("headers", Shape::Map(Kind::HeaderName, &TEMPLATE), "This stream's own headers, over the source's."),
    optional("body", Shape::Tagged(&BODY), "What every request carries in its body."),
    optional("errors", Shape::List(&Shape::Table(&ERROR_RULE)), "As the source's `errors`; looked at first."),
    optional(
        "records",
        Shape::Text(Kind::BodyPath),
        "Where the records stand in the body, such as \"data.items\". Default: \"\", the body itself.",
    ),
    optional("format", Shape::Tagged(&FORMAT), "How the body is written. Default: JSON."),
    optional(
        "compression",
        Shape::Choice(&COMPRESSION),
        "What the body is packed in besides `Content-Encoding`. Default: \"auto\".",
    ),
    optional("records_optional", Shape::Boolean, "The list of records may be missing or null and is then empty. Default: false."),
    optional("one_record", Shape::Boolean, "What stands at `records` is one object, not a list: the one record. Default: false."),
    optional("primary_key", FIELDS, "The fields that identify a record."),
    optional(
        "deleted",
        Shape::Text(Kind::FieldPath),
        "The field that says that a record was deleted: true, a time, or anything but null, false, 0 and empty.",
    ),
    optional(
        "deleted_is",
        Shape::List(&Shape::Scalar),
        "The values of `deleted` that say so, where others do not: [\"deleted\"].",
    ),
    optional("parent", Shape::Table(&PARENT), "The stream is read once for each record of another one."),
    optional("export", Shape::Table(&EXPORT), "The API writes the records out on request: asked for, waited for, then fetched."),
    optional("paging", Shape::Tagged(&PAGING), "How one page leads to the next. Default: none."),
    optional(
        "conditional",
        Shape::Choice(&CONDITIONAL),
        "Whether an answer that came whole is asked for only if it has changed, and by what. Default: \"etag\".",
    ),
    optional("cursor", Shape::Table(&CURSOR), "The field that orders records, for reading only what changed."),
]);

static CONDITIONAL: Choice = Choice { words: &["etag", "last_modified", "never"], later: &[] };
