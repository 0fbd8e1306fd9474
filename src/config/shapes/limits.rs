//! `[limits]` of a source.

use super::super::kinds::Kind;
use super::super::shape::{Choice, Key, Shape, TableShape, optional, required};

const REQUESTS: Key =
    optional("requests", Shape::List(&Shape::Text(Kind::Rate)), "Rates that must all be kept, such as \"5000/h\".");
const POINTS: Key = optional(
    "points",
    Shape::List(&Shape::Text(Kind::PointRate)),
    "Rates in points of cost that must all be kept, such as \"1000/min\".",
);
const CONCURRENCY: Key = optional("concurrency", Shape::Integer(1, 10_000), "Requests at the same time.");

pub(super) static LIMITS: TableShape = TableShape::new(&[
    REQUESTS,
    POINTS,
    CONCURRENCY,
    optional("burst", Shape::Text(Kind::Percent), "Share of each window that may leave at once. Default: \"2%\"."),
    optional(
        "reserve",
        Shape::Text(Kind::Percent),
        "Share of each window that is kept back from backfills and previews. Default: \"0%\".",
    ),
    optional(
        "pace",
        Shape::Choice(&PACE),
        "\"burst\": as fast as the windows allow. \"spread\": windows of an hour and longer are spent evenly. Default: \"burst\".",
    ),
    optional(
        "headers",
        Shape::Choice(&HEADER_TRUST),
        "What the limits that answers tell do to those written here: \"tighten\", \"follow\" (also widen) or \"ignore\". Default: \"tighten\".",
    ),
    optional(
        "cost",
        Shape::Text(Kind::ResponsePath),
        "Where a response says what its request cost in points, such as \"extensions.cost.actualQueryCost\" or \"header.x-cost\".",
    ),
    optional("cost_guess", Shape::Integer(1, 1_000_000_000), "Points that a request counts as before its response. Default: 1."),
    optional("groups", Shape::Map(Kind::Words, &Shape::Table(&LIMIT_GROUP)), "Limits of parts of the API, by a name."),
]);

static PACE: Choice = Choice { words: &["burst", "spread"], later: &[] };
static HEADER_TRUST: Choice = Choice { words: &["tighten", "follow", "ignore"], later: &[] };

static LIMIT_GROUP: TableShape = TableShape::new(&[
    required(
        "match",
        Shape::Text(Kind::PathPattern),
        "The paths below `base_url` that it holds, `*` for any characters, such as \"/search/*\".",
    ),
    REQUESTS,
    POINTS,
    CONCURRENCY,
]);
