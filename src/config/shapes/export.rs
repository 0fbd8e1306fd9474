//! `[streams.NAME.export]`.

use super::super::kinds::Kind;
use super::super::shape::{Key, Shape, TableShape, WORDS, optional, required};
use super::body::BODY;
use super::source::{QUERY, TEMPLATE};

pub(super) static EXPORT: TableShape = TableShape::new(&[
    required("create", Shape::Table(&CREATE), "The request that asks for the export; `from` and `to` stand here."),
    optional(
        "idempotency_header",
        Shape::Text(Kind::HeaderName),
        "A header of `create`, such as \"Idempotency-Key\": a key of its own for each export, the same when it is asked for again. Default: none.",
    ),
    required(
        "id",
        Shape::Text(Kind::ResponsePath),
        "Where its answer names the export, `export.id` in templates: \"id\", or \"header.location\".",
    ),
    required("poll", Shape::Table(&POLL), "How the export is waited for."),
    optional(
        "download",
        Shape::Text(Kind::BodyPath),
        "Where poll's last answer has the address of what is to be fetched, or a list of them: \"url\", \"files.*.url\". Default: the stream's own request fetches it.",
    ),
    optional("cleanup", Shape::Table(&CLEANUP), "A request once the rows are committed, such as a DELETE. Default: none."),
]);

const PATH: Key = required("path", TEMPLATE, "Joined below `base_url`'s own path.");
const METHOD: Key = optional("method", Shape::Text(Kind::Method), "Default: \"GET\", with a body \"POST\".");
const ENTRIES: Key = optional("query", QUERY, "Its query; an entry that renders to nothing is left out.");
const HEADERS: Key = optional("headers", Shape::Map(Kind::HeaderName, &TEMPLATE), "Its own headers, over the source's.");
const CARRIED: Key = optional("body", Shape::Tagged(&BODY), "Its body.");

static CREATE: TableShape =
    TableShape::new(&[PATH, optional("method", Shape::Text(Kind::Method), "Default: \"POST\"."), ENTRIES, HEADERS, CARRIED]);

static CLEANUP: TableShape =
    TableShape::new(&[PATH, optional("method", Shape::Text(Kind::Method), "Default: \"DELETE\"."), ENTRIES, HEADERS, CARRIED]);

static POLL: TableShape = TableShape::new(&[
    optional("path", TEMPLATE, "Such as \"/jobs/{{ export.id }}\". Default: `id` is itself the address to look at."),
    METHOD,
    ENTRIES,
    HEADERS,
    CARRIED,
    optional("every", Shape::Text(Kind::Duration), "The first wait; each one is half as long again. Default: \"5s\"."),
    optional("every_max", Shape::Text(Kind::Duration), "The longest wait. Default: \"60s\"."),
    optional("deadline", Shape::Text(Kind::Duration), "How long an export may take, from its creation on. Default: \"2h\"."),
    optional(
        "status",
        Shape::Text(Kind::ResponsePath),
        "Where the answer says how far it is. Default: its HTTP status, 202 while it is under way.",
    ),
    optional("done", Shape::List(&WORDS), "What `status` says of an export that is done."),
    optional("failed", Shape::List(&WORDS), "What `status` says of one that failed."),
    optional("message", Shape::Text(Kind::ResponsePath), "Where the answer says why it failed."),
]);
