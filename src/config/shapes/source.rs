//! `sources/*.toml`.

use super::super::kinds::Kind;
use super::super::shape::{Choice, Literal, Shape, TableShape, VERSION, WORDS, optional, required};
use super::auth::AUTH;
use super::errors::ERROR_RULE;
use super::limits::LIMITS;
use super::stream::STREAM;

pub(super) const TEMPLATE: Shape = Shape::Text(Kind::Template);
pub(super) const QUERY: Shape = Shape::Map(Kind::Words, &Shape::ScalarTemplate);

pub(in super::super) static SOURCE: TableShape = TableShape::new(&[
    VERSION,
    required("type", Shape::Choice(&Choice { words: &["http"], later: &[] }), "The protocol."),
    required(
        "base_url",
        Shape::Text(Kind::AddressTemplate),
        "The API's address, perhaps with parameters in its host; streams' paths are joined below its own path.",
    ),
    optional(
        "experimental",
        Shape::Boolean,
        "Nobody has held the file to the API or to all of its documentation yet. Default: false.",
    ),
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
    optional("tls", Shape::Table(&TLS), "The certificate that the client shows, beside any `auth`."),
    optional("timeout", Shape::Text(Kind::Duration), "For one request, to the last byte of its body. Default: \"60s\"."),
    optional("body_max", Shape::Text(Kind::Size), "Largest body after decompression. Default: \"64MiB\"."),
    optional("retry", Shape::Table(&RETRY), "How failing requests are tried again."),
    optional(
        "errors",
        Shape::List(&Shape::Table(&ERROR_RULE)),
        "What answers mean to this API alone; the first that holds counts.",
    ),
    optional("limits", Shape::Table(&LIMITS), "The API's quota: one budget per credential and host, shared by all jobs."),
    optional("parameters", Shape::Map(Kind::Words, &Shape::Table(&PARAMETER)), "What a job must or may fill in."),
    required("streams", Shape::Map(Kind::Words, &Shape::Table(&STREAM)), "The kinds of records that the API has."),
]);

static TLS: TableShape = TableShape::new(&[
    required("certificate", Shape::Secret(Literal::Warned), "The certificate and those that lead up to a known one, PEM."),
    required("key", Shape::Secret(Literal::Warned), "Its private key, PEM."),
]);

static RETRY: TableShape =
    TableShape::new(&[optional("attempts", Shape::Integer(1, 20), "Attempts per page, the first included. Default: 5.")]);

static PARAMETER: TableShape = TableShape::new(&[
    optional("required", Shape::Boolean, "Every job must fill it in. Default: false."),
    optional("default", Shape::Scalar, "What it is where a job does not fill it in. Default: the empty text."),
]);
