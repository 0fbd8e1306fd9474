//! Signed requests: an HMAC (RFC 2104) over what a template makes of the request, in headers of the API's own naming.

use std::sync::Arc;

use ::http::HeaderName;
use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, HMAC_SHA512, Key, sign};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use url::Url;

use crate::clock::Clock;
use crate::config::catalog::{Hmac, HmacAlgorithm, HmacEncoding};
use crate::config::secret::{ExposeSecret, SecretString};
use crate::error::ErrorKind;
use crate::source::FetchError;
use crate::template::{Scope, Template};

use super::Unsigned;
use super::resolver::Resolver;

pub(super) struct Signer {
    key: Key,
    key_id: Option<SecretString>,
    encoding: HmacEncoding,
    sign: Template,
    headers: Vec<(HeaderName, Template)>,
    clock: Arc<dyn Clock>,
}

impl Signer {
    pub(super) fn resolve(resolver: &mut Resolver<'_>, hmac: &Hmac, clock: Arc<dyn Clock>) -> Result<Self, FetchError> {
        let algorithm = match hmac.algorithm {
            HmacAlgorithm::Sha1 => HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            HmacAlgorithm::Sha256 => HMAC_SHA256,
            HmacAlgorithm::Sha512 => HMAC_SHA512,
        };
        let key = resolver.resolve(&hmac.key)?;
        let key_id = hmac.key_id.as_ref().map(|key_id| resolver.resolve(key_id)).transpose()?;
        Ok(Signer {
            key: Key::new(algorithm, key.expose_secret().as_bytes()),
            key_id,
            encoding: hmac.encoding,
            sign: hmac.sign.clone(),
            headers: hmac.headers.clone(),
            clock,
        })
    }

    /// Signs a request as it is sent now: an attempt, a redirect, each anew.
    pub(super) fn sign(&self, request: Unsigned<'_>) -> Result<(), FetchError> {
        let scope = self.scope(&request);
        let text = self.sign.render(&scope).map_err(|why| config(&format!("auth.sign: {why}")))?;
        let tag = sign(&self.key, text.as_bytes());
        let signature = match self.encoding {
            HmacEncoding::Hex => hex(tag.as_ref()),
            HmacEncoding::Base64 => STANDARD.encode(tag.as_ref()),
        };
        let scope = scope.set("signature", &signature);
        for (name, template) in &self.headers {
            let mut value = template.render_header(&scope).map_err(|why| config(&format!("auth.headers.{name}: {why}")))?;
            value.set_sensitive(true);
            request.headers.insert(name.clone(), value);
        }
        Ok(())
    }

    fn scope(&self, request: &Unsigned<'_>) -> Scope {
        let now = self.clock.now();
        let body = String::from_utf8_lossy(request.body);
        // Unlike any other, which is all that it is for.
        let nonce = self.clock.run_id().0.simple().to_string();
        let scope = Scope::new()
            .set("method", request.method.as_str())
            .set("path", request.url.path())
            .set("query", request.url.query().unwrap_or_default())
            .set("host", &host(request.url))
            .set("timestamp", &now.as_second().to_string())
            .set("timestamp_ms", &now.as_millisecond().to_string())
            .set("date", &now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
            .set("nonce", &nonce)
            .set("body", &body)
            .set("body_sha256", &hex(&Sha256::digest(request.body)));
        match &self.key_id {
            Some(key_id) => scope.set("key_id", key_id.expose_secret()),
            None => scope,
        }
    }
}

/// As the `Host` header has it.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn config(message: &str) -> FetchError {
    FetchError::new(ErrorKind::Config, message)
}
