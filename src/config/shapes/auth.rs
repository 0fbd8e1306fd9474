//! `auth = { ... }`.

use super::super::kinds::Kind;
use super::super::shape::{Choice, Key, Literal, Shape, TableShape, Tagged, Variant, WORDS, optional, required};
use super::session::SESSION;
use super::source::TEMPLATE;

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
                required(
                    "password",
                    Shape::Secret(Literal::EmptyFine),
                    "The password; \"\" where there is none, as in `curl -u KEY:`.",
                ),
            ]),
        },
        Variant {
            name: "api_key",
            about: "A key in a header, in the query or in a cookie.",
            table: TableShape::new(&[
                required("name", WORDS, "Name of the header, of the query entry or of the cookie."),
                optional("in", Shape::Choice(&API_KEY_PLACE), "Where the key goes. Default: \"header\"."),
                required("value", Shape::Secret(Literal::Warned), "The key."),
                optional("prefix", Shape::Text(Kind::Any), "Written before the key, such as \"Token \". Default: nothing."),
            ]),
        },
        Variant {
            name: "oauth2",
            about: "Access tokens from an authorization server (RFC 6749), renewed ahead of their end and after a 401.",
            table: TableShape::new(OAUTH2),
        },
        Variant {
            name: "session",
            about: "A login of the API's own, made again where the session ends.",
            table: TableShape::new(SESSION),
        },
        Variant {
            name: "hmac",
            about: "Each request signed with a key that both sides know (RFC 2104).",
            table: TableShape::new(&[
                required("key", Shape::Secret(Literal::Warned), "The key."),
                optional("key_id", Shape::Secret(Literal::Fine), "Its name, `key_id` in templates."),
                optional("algorithm", Shape::Choice(&HMAC_ALGORITHM), "Default: \"sha256\"."),
                optional("encoding", Shape::Choice(&HMAC_ENCODING), "How the signature is written. Default: \"hex\"."),
                required(
                    "sign",
                    TEMPLATE,
                    "What is signed: method, path, query, host, timestamp, timestamp_ms, date, nonce, body, body_sha256, key_id.",
                ),
                required(
                    "headers",
                    Shape::Map(Kind::HeaderName, &TEMPLATE),
                    "What is written: templates over the same and `signature`.",
                ),
            ]),
        },
    ],
    later: &["aws_sigv4", "oauth1"],
};

static API_KEY_PLACE: Choice = Choice { words: &["header", "query", "cookie"], later: &[] };

/// Which of these a grant needs and may have is said in `check/auth.rs`.
const OAUTH2: &[Key] = &[
    required("grant", Shape::Choice(&GRANT), "What is shown to the authorization server."),
    required("token_url", Shape::Text(Kind::AddressTemplate), "Where tokens are asked for; its host may hold parameters."),
    optional("client_id", Shape::Secret(Literal::Fine), "The client's name there. Not for jwt_bearer."),
    optional("client_secret", Shape::Secret(Literal::Warned), "The client's secret. A public client has none."),
    optional("client_auth", Shape::Choice(&CLIENT_AUTH), "Where the client shows its secret. Default: \"basic\"."),
    optional(
        "refresh_token",
        Shape::Secret(Literal::Warned),
        "For grant refresh_token: the first one. Its successors are kept in the state; another one here wins over them.",
    ),
    optional("key", Shape::Secret(Literal::Warned), "For grant jwt_bearer: the private key that signs, PEM."),
    optional("algorithm", Shape::Choice(&JWT_ALGORITHM), "For grant jwt_bearer. Default: \"RS256\"."),
    optional("issuer", WORDS, "For grant jwt_bearer: who signs (`iss`), such as a service account's address."),
    optional("subject", WORDS, "For grant jwt_bearer: for whom (`sub`). Default: left out."),
    optional("audience", WORDS, "For grant jwt_bearer: who is to believe it (`aud`). Default: `token_url`."),
    optional("key_id", WORDS, "For grant jwt_bearer: which key it is (`kid`). Default: left out."),
    optional("lifetime", Shape::Text(Kind::Duration), "For grant jwt_bearer: how long an assertion holds. Default: \"1h\"."),
    optional("claims", Shape::Map(Kind::Words, &Shape::Scalar), "For grant jwt_bearer: further claims."),
    optional("scopes", Shape::List(&WORDS), "What is asked for, each scope an entry. Default: what the server gives."),
    optional(
        "extra",
        Shape::Map(Kind::Words, &Shape::Scalar),
        "Further entries of the token request, such as { audience = \"..\" }.",
    ),
];

static GRANT: Choice = Choice { words: &["client_credentials", "refresh_token", "jwt_bearer"], later: &[] };
static HMAC_ALGORITHM: Choice = Choice { words: &["sha256", "sha1", "sha512"], later: &[] };
static HMAC_ENCODING: Choice = Choice { words: &["hex", "base64"], later: &[] };
static CLIENT_AUTH: Choice = Choice { words: &["basic", "body"], later: &[] };
static JWT_ALGORITHM: Choice = Choice { words: &["RS256", "ES256"], later: &[] };
