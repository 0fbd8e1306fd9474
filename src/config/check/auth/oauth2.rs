//! `type = "oauth2"`: which grant needs what.

use std::time::Duration;

use url::Url;

use crate::config::catalog::{Client, ClientPlace, Grant, JwtAlgorithm, JwtBearer, OAuth2};
use crate::config::node::Table;
use crate::config::problem::{Report, quote};
use crate::config::secret::SecretRef;

const LIFETIME: Duration = Duration::from_secs(3600);
/// Servers take assertions of minutes or an hour; a day is a mistake.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// What each grant cannot do without, and what it has a use for besides.
const CLIENT_CREDENTIALS: Keys = Keys { needed: &["client_id", "client_secret"], other: &["client_auth"] };
const REFRESH_TOKEN: Keys = Keys { needed: &["client_id", "refresh_token"], other: &["client_secret", "client_auth"] };
const JWT_BEARER: Keys =
    Keys { needed: &["key", "issuer"], other: &["algorithm", "subject", "audience", "key_id", "lifetime", "claims"] };

struct Keys {
    needed: &'static [&'static str],
    other: &'static [&'static str],
}

/// Entries of a token request that are written by us.
const OWN_ENTRIES: [&str; 6] = ["grant_type", "client_id", "client_secret", "refresh_token", "assertion", "scope"];
const OWN_CLAIMS: [&str; 7] = ["iss", "sub", "aud", "iat", "exp", "jti", "scope"];

pub(super) fn check(table: &Table, base_url: Option<&Url>, report: &mut Report) -> Option<OAuth2> {
    let scopes = scopes(table, report);
    let extra = free_entries(table, "extra", &OWN_ENTRIES, "the token request has it already", report);
    let token_url = token_url(table, base_url, report);
    let grant = grant(table, token_url.as_ref(), report);
    Some(OAuth2 { token_url: token_url?, grant: grant?, scopes, extra })
}

fn grant(table: &Table, token_url: Option<&Url>, report: &mut Report) -> Option<Grant> {
    let grant = table.text("grant")?;
    let keys = match grant.as_str() {
        "client_credentials" => CLIENT_CREDENTIALS,
        "refresh_token" => REFRESH_TOKEN,
        _ => JWT_BEARER,
    };
    check_keys(table, &grant, &keys, report);
    match grant.as_str() {
        "client_credentials" => Some(Grant::ClientCredentials { client: client(table, Some(table.secret("client_secret")?))? }),
        "refresh_token" => {
            let client = client(table, table.secret("client_secret"))?;
            Some(Grant::RefreshToken { client, refresh_token: table.secret("refresh_token")? })
        }
        _ => jwt_bearer(table, token_url, report).map(Grant::JwtBearer),
    }
}

fn check_keys(table: &Table, grant: &str, keys: &Keys, report: &mut Report) {
    for key in keys.needed.iter().filter(|key| !table.has(key)) {
        report.error(&table.place_of_missing(key), format!("the grant `{grant}` needs `{key}`"), format!("add `{key}`"));
    }
    let common = ["type", "grant", "token_url", "scopes", "extra"];
    for (name, node) in &table.entries {
        let name = name.as_str();
        if !common.contains(&name) && !keys.needed.contains(&name) && !keys.other.contains(&name) {
            report.error(&node.at, format!("the grant `{grant}` has no use for `{name}`"), "take it out");
        }
    }
}

fn client(table: &Table, secret: Option<SecretRef>) -> Option<Client> {
    let place = match table.text("client_auth").as_deref() {
        Some("body") => ClientPlace::Body,
        _ => ClientPlace::Basic,
    };
    Some(Client { id: table.secret("client_id")?, secret, place })
}

fn jwt_bearer(table: &Table, token_url: Option<&Url>, report: &mut Report) -> Option<JwtBearer> {
    let algorithm = match table.text("algorithm").as_deref() {
        Some("ES256") => JwtAlgorithm::Es256,
        _ => JwtAlgorithm::Rs256,
    };
    let lifetime = table.duration("lifetime").map_or(Some(LIFETIME), |lifetime| Duration::try_from(lifetime).ok());
    let lifetime = lifetime.filter(|lifetime| !lifetime.is_zero() && *lifetime <= LIFETIME_MAX);
    if lifetime.is_none() {
        report.error(
            &table.place("lifetime"),
            "that is no lifetime of an assertion",
            "give a duration up to a day, such as \"1h\"",
        );
    }
    let claims = free_entries(table, "claims", &OWN_CLAIMS, "the assertion has it already", report);
    Some(JwtBearer {
        key: table.secret("key")?,
        algorithm,
        issuer: table.text("issuer")?,
        subject: table.text("subject"),
        audience: table.text("audience").or_else(|| token_url.map(Url::to_string))?,
        key_id: table.text("key_id"),
        lifetime: lifetime?,
        claims,
    })
}

fn token_url(table: &Table, base_url: Option<&Url>, report: &mut Report) -> Option<Url> {
    let address = table.address("token_url")?;
    if address.names().next().is_some() && table.text("grant").as_deref() == Some("jwt_bearer") && !table.has("audience") {
        report.error(&table.place_of_missing("audience"), "nothing says who the assertion is for", "add `audience`");
    }
    let token_url = address.sample().clone();
    if token_url.scheme() == "http" && base_url.is_some_and(|base_url| base_url.scheme() == "https") {
        let message = "secrets would go there without the encryption that `base_url` has";
        report.error(&table.place("token_url"), message, "write an https address");
    }
    Some(token_url)
}

fn scopes(table: &Table, report: &mut Report) -> Vec<String> {
    let mut scopes = Vec::new();
    for node in table.list("scopes") {
        let Some(scope) = node.text() else { continue };
        // RFC 6749 section 3.3.
        let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
        if scope.contains(' ') {
            let help = "write each scope as an entry of its own: [\"read\", \"write\"]";
            report.error(&node.at, format!("{} is not one scope", quote(scope)), help);
        } else if !scope.chars().all(fits) {
            report.error(
                &node.at,
                format!("{} is not a scope", quote(scope)),
                "use visible ASCII without quotes and backslashes",
            );
        }
        scopes.push(scope.to_owned());
    }
    scopes
}

fn free_entries(table: &Table, key: &str, taken: &[&str], why: &str, report: &mut Report) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    for (name, node) in table.map(key) {
        if taken.contains(&name.as_str()) {
            report.error(&node.at, format!("`{name}` cannot be written here: {why}"), "take it out");
        }
        entries.extend(node.text().map(|text| (name.clone(), text.to_owned())));
    }
    entries
}
