//! What a token request says, RFC 6749 sections 4.4 and 6, RFC 7523 section 2.1.

use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderValue, Method};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::config::catalog::{self, ClientPlace, Grant};
use crate::config::secret::{ExposeSecret, SecretString};
use crate::error::ErrorKind;
use crate::source::FetchError;

use super::super::origin::without_query;
use super::super::redact::Redactor;
use super::super::status::Remedy;
use super::answer::{self, Asked, Obtained};
use super::assertion::Assertion;
use super::denial::Denial;
use super::line::{Line, Post};
use super::resolver::{Resolver, describe};

/// A grant with its secrets.
pub(super) struct Recipe {
    token_url: Url,
    scopes: Vec<String>,
    extra: Vec<(String, String)>,
    shown: Shown,
    /// As messages show the secret that the grant rests on, and the one that the client is known by.
    grant_name: String,
    client_name: String,
    vault_key: String,
}

enum Shown {
    ClientCredentials(Client),
    RefreshToken { client: Client, first: SecretString },
    JwtBearer(Assertion),
}

struct Client {
    id: SecretString,
    secret: Option<SecretString>,
    place: ClientPlace,
}

impl Recipe {
    pub(super) fn resolve(resolver: &mut Resolver<'_>, oauth2: &catalog::OAuth2) -> Result<Self, FetchError> {
        let (shown, grant_name, client_name, seed) = match &oauth2.grant {
            Grant::ClientCredentials { client } => {
                let resolved = Client::resolve(resolver, client)?;
                let name = client.secret.as_ref().map_or_else(|| describe(&client.id), describe);
                let seed = resolved.seed(resolved.secret.as_ref());
                (Shown::ClientCredentials(resolved), name.clone(), name, seed)
            }
            Grant::RefreshToken { client, refresh_token } => {
                let resolved = Client::resolve(resolver, client)?;
                let first = resolver.resolve(refresh_token)?;
                // The client's secret may be renewed while the refresh token goes on.
                let seed = resolved.seed(Some(&first));
                (Shown::RefreshToken { client: resolved, first }, describe(refresh_token), describe(&client.id), seed)
            }
            Grant::JwtBearer(jwt) => {
                let (assertion, seed) = Assertion::resolve(resolver, jwt)?;
                let name = describe(&jwt.key);
                (Shown::JwtBearer(assertion), name.clone(), name, seed)
            }
        };
        let vault_key = fingerprint(["oauth2", oauth2.token_url.as_str()].into_iter().chain(seed.iter().map(String::as_str)));
        Ok(Recipe {
            token_url: oauth2.token_url.clone(),
            scopes: oauth2.scopes.clone(),
            extra: oauth2.extra.clone(),
            shown,
            grant_name,
            client_name,
            vault_key,
        })
    }

    /// By what the tokens are kept: where and with which secret they are asked for.
    pub(super) fn vault_key(&self) -> String {
        self.vault_key.clone()
    }

    pub(super) fn variant(&self) -> String {
        let extra = self.extra.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        fingerprint(self.scopes.iter().map(String::as_str).chain([""]).chain(extra))
    }

    pub(super) fn rotates(&self) -> bool {
        matches!(self.shown, Shown::RefreshToken { .. })
    }

    pub(super) fn grant_name(&self) -> &str {
        &self.grant_name
    }

    pub(super) async fn ask(&self, line: &Line, refresh: Option<&str>, redactor: &Redactor) -> Result<Obtained, Denial> {
        let address = without_query(&self.token_url);
        let asked = Asked { address: &address, grant: &self.grant_name, client: &self.client_name };
        let make = || self.post(line, refresh);
        line.ask(make, |reply| match reply.status.is_success() {
            true => answer::read(asked, reply.status, &reply.body, redactor).map_err(|denial| (denial, Remedy::None)),
            false => Err(answer::refuse(asked, reply.status, &reply.body, redactor)),
        })
        .await
    }

    fn post(&self, line: &Line, refresh: Option<&str>) -> Result<Post, Denial> {
        let mut form = Serializer::new(String::new());
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        match &self.shown {
            Shown::ClientCredentials(client) => {
                form.append_pair("grant_type", "client_credentials");
                client.show(&mut headers, &mut form)?;
            }
            Shown::RefreshToken { client, first } => {
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("refresh_token", refresh.unwrap_or(first.expose_secret()));
                client.show(&mut headers, &mut form)?;
            }
            Shown::JwtBearer(assertion) => {
                form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                form.append_pair("assertion", &assertion.sign(&self.scopes, &*line.clock)?);
            }
        }
        if !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes.join(" "));
        }
        for (name, value) in &self.extra {
            form.append_pair(name, value);
        }
        Ok(Post { method: Method::POST, url: self.token_url.clone(), headers, body: Bytes::from(form.finish()) })
    }
}

impl Client {
    fn resolve(resolver: &mut Resolver<'_>, client: &catalog::Client) -> Result<Self, FetchError> {
        let id = resolver.resolve(&client.id)?;
        let secret = client.secret.as_ref().map(|secret| resolver.resolve(secret)).transpose()?;
        let resolved = Client { id, secret, place: client.place };
        if let Some(pair) = resolved.pair() {
            resolver.redactor.add(&pair);
        }
        Ok(resolved)
    }

    fn seed(&self, secret: Option<&SecretString>) -> Vec<String> {
        [Some(&self.id), secret].into_iter().flatten().map(|secret| secret.expose_secret().to_owned()).collect()
    }

    /// What goes into `Authorization: Basic`. RFC 6749 section 2.3.1 has both parts encoded as a form's.
    fn pair(&self) -> Option<String> {
        let encode = |secret: &SecretString| byte_serialize(secret.expose_secret().as_bytes()).collect::<String>();
        let secret = self.secret.as_ref().filter(|_| self.place == ClientPlace::Basic)?;
        Some(format!("{}:{}", encode(&self.id), encode(secret)))
    }

    fn show(&self, headers: &mut HeaderMap, form: &mut Serializer<'_, String>) -> Result<(), Denial> {
        if let Some(pair) = self.pair() {
            let bad = |_| Denial::new(ErrorKind::Bug, "an encoded client cannot stand in a header");
            let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).map_err(bad)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
            return Ok(());
        }
        form.append_pair("client_id", self.id.expose_secret());
        if let Some(secret) = &self.secret {
            form.append_pair("client_secret", secret.expose_secret());
        }
        Ok(())
    }
}

/// Tells lists of texts apart and says nothing about them.
pub(in super::super) fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
