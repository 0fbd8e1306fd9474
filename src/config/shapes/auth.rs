//! `auth = { ... }`.

use super::super::kinds::Kind;
use super::super::shape::{Choice, Literal, Shape, TableShape, Tagged, Variant, WORDS, optional, required};

pub(super) static AUTH: Tagged = Tagged {
    variants: &[
        Variant { name: "none", about: "No credentials.", table: TableShape::new(&[]) },
        Variant {
            name: "bearer",
            about: "`Authorization: Bearer TOKEN`.",
            table: TableShape::new(&[required("token", Shape::Secret(Literal::Warned), "The token.")]),
        },
        Variant {
            name: "basic",
            about: "`Authorization: Basic ...` (RFC 7617).",
            table: TableShape::new(&[
                required("username", Shape::Secret(Literal::Fine), "The user's name."),
                required("password", Shape::Secret(Literal::Warned), "The password."),
            ]),
        },
        Variant {
            name: "api_key",
            about: "A key in a header or in the query.",
            table: TableShape::new(&[
                required("name", WORDS, "Name of the header or of the query entry."),
                optional("in", Shape::Choice(&API_KEY_PLACE), "Where the key goes. Default: \"header\"."),
                required("value", Shape::Secret(Literal::Warned), "The key."),
                optional("prefix", Shape::Text(Kind::Any), "Written before the key, such as \"Token \". Default: nothing."),
            ]),
        },
    ],
    later: &["oauth2", "session", "hmac", "aws_sigv4", "oauth1"],
};

static API_KEY_PLACE: Choice = Choice { words: &["header", "query"], later: &["cookie"] };
