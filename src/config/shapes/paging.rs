//! `paging = { ... }`.

use super::super::kinds::Kind;
use super::super::shape::{Choice, Key, Shape, TableShape, Tagged, Variant, WORDS, optional, required};

const PAGES_MAX: Key = optional("pages_max", Shape::Integer(1, 1_000_000_000), "Reaching it is an error. Default: 100000.");
const RESULT_CAP: Key = optional(
    "result_cap",
    Shape::Integer(1, 1_000_000_000),
    "The API never gives more records than this for one query: what reaches it is asked for in pieces. Default: no such cap.",
);
const MORE: Key = optional("more", Shape::Text(Kind::ResponsePath), "Path of a boolean that says whether there is more.");
const LAST: Key = optional(
    "last",
    Shape::Text(Kind::ResponsePath),
    "Path of a boolean that is true on the last page, such as \"end_of_stream\".",
);
const TOTAL: Key = optional("total", Shape::Text(Kind::ResponsePath), "Path of the number of records of all pages.");
const TOTAL_PAGES: Key = optional("total_pages", Shape::Text(Kind::ResponsePath), "Path of the number of pages.");
const UNTIL: Key =
    optional("until", Shape::Choice(&UNTIL_WORDS), "\"short_page\": a page with fewer than `page_size` records is the last.");
static UNTIL_WORDS: Choice = Choice { words: &["short_page"], later: &[] };
const PLACE: Key = optional("in", Shape::Choice(&PLACE_WORDS), "Where paging writes: \"query\" or \"body\". Default: \"query\".");
static PLACE_WORDS: Choice = Choice { words: &["query", "body"], later: &[] };
const TOKEN_PARAM: Key = optional("param", WORDS, "Query entry that it goes back in.");
const TOKEN_HEADER: Key = optional("header", Shape::Text(Kind::HeaderName), "Header that it goes back in.");
const TOKEN_BODY: Key = optional(
    "body",
    Shape::Text(Kind::FieldPath),
    "Path in the request's JSON body, or field of its form, that it goes back in.",
);
const COUNT: Shape = Shape::Integer(0, i64::MAX);
const SIZE: Shape = Shape::Integer(1, 1_000_000);

pub(super) static PAGING: Tagged = Tagged {
    variants: &[
        Variant { name: "none", about: "One page is all there is.", table: TableShape::new(&[PAGES_MAX, RESULT_CAP]) },
        Variant {
            name: "page",
            about: "Pages are counted.",
            table: TableShape::new(&[
                required("param", WORDS, "Query entry for the page's number; a path with in = \"body\"."),
                PLACE,
                optional("start", COUNT, "Number of the first page. Default: 1."),
                optional("page_size", SIZE, "Records per page; sent only with `size_param`."),
                optional("size_param", WORDS, "Query entry for the page's size."),
                MORE,
                TOTAL,
                TOTAL_PAGES,
                UNTIL,
                PAGES_MAX,
                RESULT_CAP,
            ]),
        },
        Variant {
            name: "offset",
            about: "Records are counted.",
            table: TableShape::new(&[
                required("offset_param", WORDS, "Query entry for the offset; a path with in = \"body\"."),
                PLACE,
                optional("limit_param", WORDS, "Query entry for the page's size."),
                optional("start", COUNT, "Offset of the first record. Default: 0."),
                required("page_size", SIZE, "Records per page."),
                MORE,
                TOTAL,
                TOTAL_PAGES,
                UNTIL,
                PAGES_MAX,
                RESULT_CAP,
            ]),
        },
        Variant {
            name: "page_token",
            about: "Each page brings the next page's token.",
            table: TableShape::new(&[
                required(
                    "token",
                    Shape::Text(Kind::ResponsePath),
                    "Path of the next page's token; missing, null or empty at the end.",
                ),
                TOKEN_PARAM,
                TOKEN_HEADER,
                TOKEN_BODY,
                LAST,
                MORE,
                PAGES_MAX,
                RESULT_CAP,
            ]),
        },
        Variant {
            name: "next_url",
            about: "Each page brings the next page's address.",
            table: TableShape::new(&[
                required(
                    "url",
                    Shape::Text(Kind::ResponsePath),
                    "Path of the next page's address; missing, null or empty at the end.",
                ),
                LAST,
                MORE,
                PAGES_MAX,
                RESULT_CAP,
            ]),
        },
        Variant {
            name: "keyset",
            about: "The next page begins behind the last record of this one.",
            table: TableShape::new(&[
                required("from", Shape::Text(Kind::FieldPath), "The field of the last record that the next request names."),
                TOKEN_PARAM,
                TOKEN_HEADER,
                TOKEN_BODY,
                optional("page_size", SIZE, "Records per page."),
                optional("size_param", WORDS, "Query entry for the page's size."),
                MORE,
                UNTIL,
                PAGES_MAX,
                RESULT_CAP,
            ]),
        },
        Variant {
            name: "odata",
            about: "`@odata.nextLink` in the body, or what older versions of OData call it.",
            table: TableShape::new(&[PAGES_MAX, RESULT_CAP]),
        },
        Variant {
            name: "graphql",
            about: "A connection of Relay's kind: `hasNextPage` and `endCursor`.",
            table: TableShape::new(&[
                required("page_info", Shape::Text(Kind::BodyPath), "Path of the `pageInfo`, such as \"data.orders.pageInfo\"."),
                optional("variable", WORDS, "The query's variable that `endCursor` goes back in. Default: \"after\"."),
                PAGES_MAX,
                RESULT_CAP,
            ]),
        },
        Variant {
            name: "link_header",
            about: "`Link: <...>; rel=\"next\"` (RFC 8288).",
            table: TableShape::new(&[PAGES_MAX, RESULT_CAP]),
        },
    ],
    later: &[],
};
