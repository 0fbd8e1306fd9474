//! `body = { ... }` of a request.

use super::super::kinds::Kind;
use super::super::shape::{Shape, TableShape, Tagged, Variant, WORDS, optional, required};
use super::source::{QUERY, TEMPLATE};

pub(super) static BODY: Tagged = Tagged {
    variants: &[
        Variant {
            name: "json",
            about: "JSON. A text that is one expression has its type: \"{{ from | int }}\" is a number.",
            table: TableShape::new(&[required(
                "value",
                Shape::JsonTemplate,
                "The value, with templates in its texts; what renders to nothing is left out.",
            )]),
        },
        Variant {
            name: "form",
            about: "Fields of a form (application/x-www-form-urlencoded).",
            table: TableShape::new(&[required("fields", QUERY, "The fields; one that renders to nothing is left out.")]),
        },
        Variant {
            name: "text",
            about: "Any text.",
            table: TableShape::new(&[
                required("text", TEMPLATE, "The text."),
                optional("content_type", Shape::Text(Kind::Words), "Its media type. Default: \"text/plain; charset=utf-8\"."),
            ]),
        },
        Variant {
            name: "graphql",
            about: "A GraphQL query; `errors` in an answer are an error.",
            table: TableShape::new(&[
                optional("query", WORDS, "The query's text; it is no template, what changes goes into `variables`."),
                optional("query_file", WORDS, "A file that holds it instead, below the project folder unless absolute."),
                optional(
                    "variables",
                    Shape::Map(Kind::Words, &Shape::JsonTemplate),
                    "Its variables, with templates in their texts.",
                ),
            ]),
        },
    ],
    later: &[],
};
