//! Credentials: resolved once when the source is opened, attached to requests that go to the source's own origin.

use ::http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use url::Url;

use crate::config::catalog::Auth;
use crate::config::secret::{ExposeSecret, SecretRef, SecretSource, SecretString};
use crate::error::ErrorKind;
use crate::source::FetchError;

use super::redact::Redactor;
use super::request::encode_query;

mod api_key;
mod basic;
mod bearer;
mod none;

/// What a source shows to be let in.
pub(super) struct Credentials {
    attach: Attach,
    redactor: Redactor,
    fingerprint: String,
}

/// Where a credential goes. All kinds come down to one of these.
enum Attach {
    Nothing,
    Header(HeaderName, HeaderValue),
    Query(String, SecretString),
}

impl Credentials {
    /// Resolves the secrets. A missing one is an error of kind auth that names the reference, never a value.
    pub(super) fn open(auth: &Auth, secrets: &dyn SecretSource) -> Result<Self, FetchError> {
        let mut resolver = Resolver { secrets, redactor: Redactor::default(), digest: Sha256::new() };
        let attach = match auth {
            Auth::None => none::attach(),
            Auth::Bearer { token } => bearer::attach(&mut resolver, token)?,
            Auth::Basic { username, password } => basic::attach(&mut resolver, username, password)?,
            Auth::ApiKey { name, place, value, prefix } => api_key::attach(&mut resolver, name, *place, value, prefix)?,
        };
        let digest = resolver.digest.finalize();
        let fingerprint = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Ok(Credentials { attach, redactor: resolver.redactor, fingerprint })
    }

    /// Puts the credential on a request. An entry of the same name that a next link echoes is replaced.
    pub(super) fn apply(&self, url: &mut Url, headers: &mut HeaderMap) {
        match &self.attach {
            Attach::Nothing => {}
            Attach::Header(name, value) => {
                headers.insert(name.clone(), value.clone());
            }
            Attach::Query(name, value) => set_entry(url, name, value),
        }
    }

    /// What all requests with this credential share: their budget. Says nothing about the credential itself.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }
}

fn set_entry(url: &mut Url, name: &str, value: &SecretString) {
    let is_other = |entry: &&str| {
        let key = entry.split('=').next().unwrap_or_default().replace('+', " ");
        percent_decode_str(&key).decode_utf8_lossy() != name
    };
    let mut query: Vec<String> = Vec::new();
    query
        .extend(url.query().unwrap_or_default().split('&').filter(|entry| !entry.is_empty()).filter(is_other).map(str::to_owned));
    query.push(format!("{}={}", encode_query(name), encode_query(value.expose_secret())));
    url.set_query(Some(&query.join("&")));
}

/// Resolves the secrets of one credential and remembers what must not be shown.
struct Resolver<'a> {
    secrets: &'a dyn SecretSource,
    redactor: Redactor,
    digest: Sha256,
}

impl Resolver<'_> {
    fn resolve(&mut self, reference: &SecretRef) -> Result<SecretString, FetchError> {
        let missing = |why: &str| FetchError::new(ErrorKind::Auth, format!("missing secret {}: {why}", describe(reference)));
        let secret = self.secrets.resolve(reference).map_err(|why| missing(&why))?;
        if secret.expose_secret().is_empty() {
            // An empty environment variable is a variable that nobody filled in.
            return Err(missing("it is empty"));
        }
        self.redactor.add(secret.expose_secret());
        self.digest.update((secret.expose_secret().len() as u64).to_le_bytes());
        self.digest.update(secret.expose_secret());
        Ok(secret)
    }

    /// A header's value that is never printed.
    fn header(&self, value: &str, reference: &SecretRef) -> Result<HeaderValue, FetchError> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            let message =
                format!("secret {} holds characters that a header cannot carry, a line end perhaps", describe(reference));
            FetchError::new(ErrorKind::Auth, message)
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn describe(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Env(name) => format!("`env {name}`"),
        SecretRef::File(path) => format!("`file {}`", path.display()),
        SecretRef::Credential(name) => format!("`credential {name}`"),
        SecretRef::Literal(_) => "given in the file".to_owned(),
    }
}

#[cfg(test)]
mod tests;
