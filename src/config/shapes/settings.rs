//! `config.toml`.

use super::super::kinds::Kind;
use super::super::shape::{Shape, TableShape, VERSION, WORDS, optional};

pub(in super::super) static SETTINGS: TableShape = TableShape::new(&[
    VERSION,
    optional("state", Shape::Table(&STATE), "Where the daemon remembers what it did."),
    optional("limits", Shape::Table(&LIMITS), "What the process may take."),
])
.later(&["web", "alerts"]);

static STATE: TableShape = TableShape::new(&[optional(
    "url",
    WORDS,
    "The SQLite file, below the project folder unless absolute. Default: \"sqlite://state/highwater.db\".",
)]);

static LIMITS: TableShape = TableShape::new(&[
    optional("memory", Shape::Text(Kind::Size), "Ceiling on data in flight, kept by back-pressure. Default: \"512MiB\"."),
    optional("runs", Shape::Integer(1, 1_000), "Jobs at the same time. Default: 8."),
]);
