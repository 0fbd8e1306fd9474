//! `[[errors]]`: what answers mean to this API alone.

use super::super::kinds::Kind;
use super::super::shape::{Choice, Shape, TableShape, WORDS, optional, required};

pub(super) static ERROR_RULE: TableShape = TableShape::new(&[
    optional("status", Shape::List(&Shape::Integer(100, 599)), "Statuses that it holds for. Default: all."),
    optional(
        "at",
        Shape::Text(Kind::ResponsePath),
        "Where in the answer to look, such as \"error.code\" or \"header.x-reason\". Default: the body's text.",
    ),
    optional("is", Shape::List(&Shape::Scalar), "It holds where one of these stands there."),
    optional("contains", WORDS, "It holds where this stands in it, upper or lower case."),
    required("then", Shape::Choice(&THEN), "What to do about it."),
    optional("wait", Shape::Text(Kind::Duration), "How long to wait, with then = \"wait\". Default: \"60s\"."),
    optional("message", WORDS, "What to tell the user, such as what to do about it."),
]);

static THEN: Choice = Choice { words: &["retry", "wait", "refresh", "fail", "skip", "dead_letter"], later: &[] };
