//! `sources/*.toml`.

use super::super::kinds::Kind;
use super::super::shape::{Choice, FIELDS, Key, Literal, Shape, TableShape, Tagged, VERSION, Variant, WORDS, optional, required};

const TEMPLATE: Shape = Shape::Text(Kind::Template);
const QUERY: Shape = Shape::Map(Kind::Words, &Shape::ScalarTemplate);

pub(in super::super) static SOURCE: TableShape = TableShape::new(&[
    VERSION,
    required("type", Shape::Choice(&Choice { words: &["http"], later: &[] }), "The protocol."),
    required("base_url", Shape::Text(Kind::Address), "The API's address; streams' paths are joined below its own path."),
    optional("headers", Shape::Map(Kind::HeaderName, &TEMPLATE), "Sent with every request; templates over the parameters."),
    optional("auth", Shape::Tagged(&AUTH), "How requests prove who they are."),
    optional(
        "allow_hosts",
        Shape::List(&Shape::Text(Kind::Host)),
        "Hosts that next links may also lead to, without credentials.",
    ),
    optional("allow_private", Shape::Boolean, "Private addresses may be reached. Default: only if `base_url` names one."),
    optional("proxy", Shape::Text(Kind::Address), "A proxy for all requests. Default: none, whatever the environment says."),
    optional(
        "ca_file",
        WORDS,
        "PEM file of certificates to trust besides the system's, below the project folder unless absolute.",
    ),
    optional("timeout", Shape::Text(Kind::Duration), "For one request, to the last byte of its body. Default: \"60s\"."),
    optional("body_max", Shape::Text(Kind::Size), "Largest body after decompression. Default: \"64MiB\"."),
    optional("retry", Shape::Table(&RETRY), "How failing requests are tried again."),
    optional("limits", Shape::Table(&LIMITS), "The API's quota: one budget per credential and host, shared by all jobs."),
    optional("parameters", Shape::Map(Kind::Words, &Shape::Table(&PARAMETER)), "What a job must or may fill in."),
    required("streams", Shape::Map(Kind::Words, &Shape::Table(&STREAM)), "The kinds of records that the API has."),
])
.later(&["tls"]);

static RETRY: TableShape =
    TableShape::new(&[optional("attempts", Shape::Integer(1, 20), "Attempts per page, the first included. Default: 5.")]);

const REQUESTS: Key =
    optional("requests", Shape::List(&Shape::Text(Kind::Rate)), "Rates that must all be kept, such as \"5000/h\".");
const POINTS: Key = optional(
    "points",
    Shape::List(&Shape::Text(Kind::PointRate)),
    "Rates in points of cost that must all be kept, such as \"1000/min\".",
);
const CONCURRENCY: Key = optional("concurrency", Shape::Integer(1, 10_000), "Requests at the same time.");

static LIMITS: TableShape = TableShape::new(&[
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

static PARAMETER: TableShape = TableShape::new(&[
    optional("required", Shape::Boolean, "Every job must fill it in. Default: false."),
    optional("default", Shape::Scalar, "What it is where a job does not fill it in. Default: the empty text."),
]);

static AUTH: Tagged = Tagged {
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

static STREAM: TableShape = TableShape::new(&[
    required("path", TEMPLATE, "Joined below `base_url`'s own path; each part is percent-encoded."),
    optional("method", Shape::Choice(&METHOD), "The request's method. Default: \"GET\"."),
    optional("query", QUERY, "What every request carries; an entry that renders to nothing is left out."),
    optional(
        "records",
        Shape::Text(Kind::BodyPath),
        "Where the records stand in the body, such as \"data.items\". Default: \"\", the body itself.",
    ),
    optional("records_optional", Shape::Boolean, "The list of records may be missing or null and is then empty. Default: false."),
    optional("primary_key", FIELDS, "The fields that identify a record."),
    optional(
        "deleted",
        Shape::Text(Kind::FieldPath),
        "The field that says that a record was deleted: true, a time, or anything but null, false, 0 and empty.",
    ),
    optional("paging", Shape::Tagged(&PAGING), "How one page leads to the next. Default: none."),
    optional("cursor", Shape::Table(&CURSOR), "The field that orders records, for reading only what changed."),
])
.later(&["parent", "body"]);

static METHOD: Choice = Choice { words: &["GET"], later: &["POST"] };

const PAGES_MAX: Key = optional("pages_max", Shape::Integer(1, 1_000_000_000), "Reaching it is an error. Default: 100000.");
const MORE: Key = optional("more", Shape::Text(Kind::ResponsePath), "Path of a boolean that says whether there is more.");
const TOTAL: Key = optional("total", Shape::Text(Kind::ResponsePath), "Path of the number of records of all pages.");
const TOTAL_PAGES: Key = optional("total_pages", Shape::Text(Kind::ResponsePath), "Path of the number of pages.");
const UNTIL: Key =
    optional("until", Shape::Choice(&UNTIL_WORDS), "\"short_page\": a page with fewer than `page_size` records is the last.");
static UNTIL_WORDS: Choice = Choice { words: &["short_page"], later: &[] };
const COUNT: Shape = Shape::Integer(0, i64::MAX);
const SIZE: Shape = Shape::Integer(1, 1_000_000);

static PAGING: Tagged = Tagged {
    variants: &[
        Variant { name: "none", about: "One page is all there is.", table: TableShape::new(&[PAGES_MAX]) },
        Variant {
            name: "page",
            about: "Pages are counted.",
            table: TableShape::new(&[
                required("param", WORDS, "Query entry for the page's number."),
                optional("start", COUNT, "Number of the first page. Default: 1."),
                optional("page_size", SIZE, "Records per page; sent only with `size_param`."),
                optional("size_param", WORDS, "Query entry for the page's size."),
                MORE,
                TOTAL,
                TOTAL_PAGES,
                UNTIL,
                PAGES_MAX,
            ]),
        },
        Variant {
            name: "offset",
            about: "Records are counted.",
            table: TableShape::new(&[
                required("offset_param", WORDS, "Query entry for the offset."),
                optional("limit_param", WORDS, "Query entry for the page's size."),
                optional("start", COUNT, "Offset of the first record. Default: 0."),
                required("page_size", SIZE, "Records per page."),
                MORE,
                TOTAL,
                TOTAL_PAGES,
                UNTIL,
                PAGES_MAX,
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
                optional("param", WORDS, "Query entry that the token goes back in."),
                optional("header", Shape::Text(Kind::HeaderName), "Header that the token goes back in."),
                PAGES_MAX,
            ])
            .later(&["body"]),
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
                PAGES_MAX,
            ]),
        },
        Variant { name: "link_header", about: "`Link: <...>; rel=\"next\"` (RFC 8288).", table: TableShape::new(&[PAGES_MAX]) },
    ],
    later: &["keyset", "odata", "graphql"],
};

static CURSOR: TableShape = TableShape::new(&[
    required("field", Shape::Text(Kind::FieldPath), "Dotted path of the field in a record."),
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
    optional("nulls", Shape::Choice(&NULLS), "What becomes of records without a cursor. Default: \"dead_letter\"."),
]);

static CURSOR_TYPE: Choice =
    Choice { words: &["timestamp", "date", "epoch_s", "epoch_ms", "epoch_us", "integer"], later: &["string", "token"] };
static ORDER: Choice = Choice { words: &["none", "ascending", "descending"], later: &[] };
static NULLS: Choice = Choice { words: &["dead_letter"], later: &[] };
