//! Looks up the secrets of one credential and remembers what must not be shown.

use ::http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::config::secret::{ExposeSecret, SecretRef, SecretSource, SecretString};
use crate::error::ErrorKind;
use crate::source::FetchError;

use super::super::redact::Redactor;
use super::attach::Attach;

pub(super) struct Resolver<'a> {
    secrets: &'a dyn SecretSource,
    pub(super) redactor: Redactor,
    digest: Sha256,
    /// What was looked up, in order.
    references: Vec<String>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(secrets: &'a dyn SecretSource) -> Self {
        Resolver { secrets, redactor: Redactor::default(), digest: Sha256::new(), references: Vec::new() }
    }

    pub(super) fn resolve(&mut self, reference: &SecretRef) -> Result<SecretString, FetchError> {
        let missing = |why: &str| FetchError::new(ErrorKind::Auth, format!("missing secret {}: {why}", describe(reference)));
        let secret = self.secrets.resolve(reference).map_err(|why| missing(&why))?;
        if secret.expose_secret().is_empty() {
            // An empty environment variable is a variable that nobody filled in.
            return Err(missing("it is empty"));
        }
        self.redactor.add(secret.expose_secret());
        self.digest.update((secret.expose_secret().len() as u64).to_le_bytes());
        self.digest.update(secret.expose_secret());
        self.references.push(describe(reference));
        Ok(secret)
    }

    /// A header's value that is never printed.
    pub(super) fn header(&self, value: &str, reference: &SecretRef) -> Result<HeaderValue, FetchError> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            let message =
                format!("secret {} holds characters that a header cannot carry, a line end perhaps", describe(reference));
            FetchError::new(ErrorKind::Auth, message)
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// A cookie that is never printed.
    pub(super) fn cookie(&self, name: &str, value: &str, reference: &SecretRef) -> Result<Attach, FetchError> {
        // RFC 6265 section 4.1.1: these would end the cookie, or begin another.
        if value.contains([';', ',', '"', '\\', ' ']) {
            let message = format!("secret {} holds characters that a cookie cannot carry", describe(reference));
            return Err(FetchError::new(ErrorKind::Auth, message));
        }
        Ok(Attach::Cookie(self.header(&format!("{name}={value}"), reference)?))
    }

    /// Says nothing about the secrets, and tells sets of them apart.
    pub(super) fn fingerprint(&self) -> String {
        let digest = self.digest.clone().finalize();
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// What was looked up, for a message.
    pub(super) fn name(&self) -> String {
        self.references.join(", ")
    }
}

pub(super) fn describe(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Env(name) => format!("`env {name}`"),
        SecretRef::File(path) => format!("`file {}`", path.display()),
        SecretRef::Credential(name) => format!("`credential {name}`"),
        SecretRef::Literal(_) => "given in the file".to_owned(),
    }
}
