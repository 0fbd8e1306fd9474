//! `auth = { type = "session", ... }`.

use super::super::kinds::Kind;
use super::super::shape::{Key, Literal, Shape, TableShape, WORDS, optional, required};
use super::body::BODY;
use super::source::TEMPLATE;

pub(super) const SESSION: &[Key] = &[
    required("username", Shape::Secret(Literal::Fine), "Who logs in, `username` in the login's templates."),
    required("password", Shape::Secret(Literal::Warned), "`password` in the login's templates."),
    required("login", Shape::Table(&LOGIN), "The request that logs in."),
    optional(
        "token",
        Shape::Text(Kind::ResponsePath),
        "Where its answer has the session's token: \"data.token\", \"header.x-token\".",
    ),
    optional("header", Shape::Text(Kind::HeaderName), "The header that the token goes into. Default: \"Authorization\"."),
    optional("prefix", Shape::Text(Kind::Any), "Written before the token, such as \"Bearer \". Default: nothing."),
    optional("cookie", WORDS, "Instead of `token`: the cookie that the login sets and requests show."),
    optional("expires", Shape::Text(Kind::Duration), "How long a session holds. Default: until a 401, or what the cookie says."),
];

static LOGIN: TableShape = TableShape::new(&[
    required("path", TEMPLATE, "Joined below `base_url`'s own path; templates over the parameters."),
    optional("method", Shape::Text(Kind::Method), "Default: \"POST\"."),
    optional("headers", Shape::Map(Kind::HeaderName, &TEMPLATE), "Its headers; those of the source are not sent with it."),
    optional("body", Shape::Tagged(&BODY), "Its body, with `username` and `password` in the templates."),
]);
