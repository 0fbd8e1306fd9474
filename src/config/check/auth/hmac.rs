//! `type = "hmac"`: what is signed, and where the signature goes.

use std::collections::BTreeSet;

use http::HeaderName;

use crate::config::catalog::{Hmac, HmacAlgorithm, HmacEncoding};
use crate::config::node::Table;
use crate::config::problem::Report;
use crate::template::Template;

use super::super::names::{self, Position};

/// What a template of a signature may speak of, but for `key_id` and, behind the signing, `signature`.
const NAMES: [&str; 10] =
    ["method", "path", "query", "host", "timestamp", "timestamp_ms", "date", "nonce", "body", "body_sha256"];

pub(super) fn check(table: &Table, report: &mut Report) -> Option<Hmac> {
    let mut names: BTreeSet<String> = NAMES.map(str::to_owned).into();
    if table.has("key_id") {
        names.insert("key_id".to_owned());
    }
    let sign = table.template("sign");
    if let Some(sign) = &sign {
        names::check(sign, &table.place("sign"), Position::Header, &names, report);
    }
    names.insert("signature".to_owned());
    let headers: Vec<(HeaderName, Template)> = headers(table, &names, report);
    if table.has("headers") && !headers.iter().any(|(_, template)| template.uses("signature")) {
        report.error(&table.place("headers"), "the signature goes nowhere", "add a header with `{{ signature }}`");
    }
    let algorithm = match table.text("algorithm").as_deref() {
        Some("sha1") => HmacAlgorithm::Sha1,
        Some("sha512") => HmacAlgorithm::Sha512,
        _ => HmacAlgorithm::Sha256,
    };
    let encoding = match table.text("encoding").as_deref() {
        Some("base64") => HmacEncoding::Base64,
        _ => HmacEncoding::Hex,
    };
    let (key, key_id) = (table.secret("key")?, table.secret("key_id"));
    Some(Hmac { key, key_id, algorithm, encoding, sign: sign?, headers })
}

fn headers(table: &Table, names: &BTreeSet<String>, report: &mut Report) -> Vec<(HeaderName, Template)> {
    let mut headers = Vec::new();
    for (name, node) in table.map("headers") {
        let (Ok(name), Some(template)) = (HeaderName::from_bytes(name.as_bytes()), node.template()) else { continue };
        names::check(template, &node.at, Position::Header, names, report);
        headers.push((name, template.clone()));
    }
    headers
}
