//! `auth = { ... }`: the kinds whose keys hang together.

use crate::config::catalog::{Auth, ClientPlace, Grant, JwtAlgorithm};

use super::{Files, SOURCE, with_top};

const TOKEN_URL: &str = "token_url = \"https://id.example.org/token\"";

fn oauth2(keys: &str) -> String {
    with_top(&format!("auth = {{ type = \"oauth2\", {TOKEN_URL}, {keys} }}"))
}

fn loaded(auth: &str) -> Auth {
    let source = SOURCE.replacen("[parameters]", &format!("auth = {auth}\n[parameters]"), 1);
    let loaded = Files { source, ..Files::good() }.load();
    assert!(!loaded.has_errors(), "{:?}", loaded.problems);
    loaded.catalog.jobs.values().next().unwrap().source.auth.clone()
}

#[test]
fn a_grant_says_what_it_needs() {
    insta::assert_snapshot!(oauth2("grant = \"password\""), @r#"
    error: sources/shop.toml:4:79: auth.grant: `password` is not known here
      help: the words are `client_credentials`, `refresh_token`, `jwt_bearer`
    "#);
    insta::assert_snapshot!(oauth2("grant = \"client_credentials\", refresh_token = { env = \"R\" }"), @r#"
    error: sources/shop.toml:4:8: auth.client_id: the grant `client_credentials` needs `client_id`
      help: add `client_id`
    error: sources/shop.toml:4:8: auth.client_secret: the grant `client_credentials` needs `client_secret`
      help: add `client_secret`
    error: sources/shop.toml:4:117: auth.refresh_token: the grant `client_credentials` has no use for `refresh_token`
      help: take it out
    "#);
    insta::assert_snapshot!(oauth2("grant = \"jwt_bearer\", key = { file = \"k.pem\" }, issuer = \"me\", lifetime = \"0s\", claims = { exp = 1 }"), @r#"
    error: sources/shop.toml:4:145: auth.lifetime: that is no lifetime of an assertion
      help: give a duration up to a day, such as "1h"
    error: sources/shop.toml:4:168: auth.claims.exp: `exp` cannot be written here: the assertion has it already
      help: take it out
    "#);
}

#[test]
fn scopes_entries_and_addresses_are_looked_at() {
    let credentials = "grant = \"client_credentials\", client_id = \"me\", client_secret = { env = \"S\" }";
    insta::assert_snapshot!(oauth2(&format!("{credentials}, scopes = [\"read write\", \"é\"], extra = {{ scope = \"x\" }}")), @r#"
    error: sources/shop.toml:4:160: auth.scopes[1]: `read write` is not one scope
      help: write each scope as an entry of its own: ["read", "write"]
    error: sources/shop.toml:4:174: auth.scopes[2]: `é` is not a scope
      help: use visible ASCII without quotes and backslashes
    error: sources/shop.toml:4:198: auth.extra.scope: `scope` cannot be written here: the token request has it already
      help: take it out
    "#);
    let plain = format!("auth = {{ type = \"oauth2\", token_url = \"http://id.example.org/token\", {credentials} }}");
    insta::assert_snapshot!(with_top(&plain), @r#"
    error: sources/shop.toml:4:39: auth.token_url: secrets would go there without the encryption that `base_url` has
      help: write an https address
    "#);
    insta::assert_snapshot!(with_top(&format!("headers = {{ Authorization = \"{{{{ owner }}}}\" }}\nauth = {{ type = \"oauth2\", {TOKEN_URL}, {credentials} }}")), @r#"
    warning: sources/shop.toml:4:29: headers.Authorization: the header `authorization` looks like a secret that is written out
      help: use `auth` with a reference such as { env = "API_TOKEN" }
    error: sources/shop.toml:4:29: headers.Authorization: `auth` writes the header `authorization` already
      help: keep one of them
    "#);
}

#[test]
fn a_grant_is_read_with_its_defaults() {
    let auth = loaded(
        "{ type = \"oauth2\", grant = \"refresh_token\", token_url = \"https://id.example.org/token\", client_id = \"me\", refresh_token = { env = \"R\" } }",
    );
    let Auth::OAuth2(oauth2) = &auth else { panic!("{auth:?}") };
    let Grant::RefreshToken { client, .. } = &oauth2.grant else { panic!("{auth:?}") };
    assert!(client.secret.is_none() && client.place == ClientPlace::Basic && oauth2.scopes.is_empty());
    assert!(auth.keeps_tokens());
    let auth = loaded(
        "{ type = \"oauth2\", grant = \"jwt_bearer\", token_url = \"https://id.example.org/token\", key = { file = \"k.pem\" }, issuer = \"me\" }",
    );
    let Auth::OAuth2(oauth2) = &auth else { panic!("{auth:?}") };
    let Grant::JwtBearer(jwt) = &oauth2.grant else { panic!("{auth:?}") };
    assert_eq!((jwt.algorithm, jwt.lifetime.as_secs()), (JwtAlgorithm::Rs256, 3600));
    assert_eq!(jwt.audience, "https://id.example.org/token");
}

#[test]
fn a_signature_is_made_of_known_names_and_goes_somewhere() {
    let line = "auth = { type = \"hmac\", key = { env = \"K\" }, sign = \"{{ key_id }}{{ bodi }}\", headers = { X-A = \"{{ timestamp }}\" } }";
    let at = |what: &str| line.find(what).unwrap() + what.len() + 1;
    let shown = with_top(line);
    let expected = [
        format!("error: sources/shop.toml:4:{}: auth.sign: `bodi` is not in scope here", at("sign = ")),
        format!("error: sources/shop.toml:4:{}: auth.sign: `key_id` is not in scope here", at("sign = ")),
        format!("error: sources/shop.toml:4:{}: auth.headers: the signature goes nowhere", at("headers = ")),
    ];
    let errors: Vec<&str> = shown.lines().filter(|line| line.starts_with("error")).collect();
    assert_eq!(errors, expected, "{shown}");
    assert!(matches!(
        loaded("{ type = \"hmac\", key = { env = \"K\" }, sign = \"{{ path }}\", headers = { X-A = \"{{ signature }}\" } }"),
        Auth::Hmac(_)
    ));
}

#[test]
fn a_certificate_needs_its_key() {
    insta::assert_snapshot!(with_top("tls = { certificate = { file = \"c.pem\" } }"), @r#"
    error: sources/shop.toml:4:7: tls.key: `key` is missing
      help: add `key`
    "#);
}
