//! What the stores of all clouds have in common: the sink's settings with their secrets, few quick retries, one timeout.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::StoreError;
use super::errors::store_error;
use super::objects::Objects;
use crate::config::catalog::{SinkPlace, StorageValue};
use crate::config::secret::SecretSource;
use crate::error::ErrorKind;

/// For one request, unless `[storage]` says otherwise: copying a file of some gigabytes within the store takes its time.
pub(super) const TIMEOUT: &str = "120s";

/// A part of a store that is about to be opened.
pub(super) struct Place<'a> {
    /// `s3`, `gs` or `az`.
    pub scheme: &'static str,
    pub bucket: &'a str,
    pub prefix: &'a str,
    pub storage: &'a BTreeMap<String, StorageValue>,
    pub secrets: &'a dyn SecretSource,
    /// The sink's place: it knows the names of its settings.
    pub of: &'a SinkPlace,
    /// The sink's file.
    pub file: &'a str,
}

/// Settings by object_store's keys, and the secrets among them once more, to be kept out of messages.
pub(super) struct Settings<K> {
    pub pairs: Vec<(K, String)>,
    known: Vec<SecretString>,
}

impl<K: PartialEq> Settings<K> {
    pub fn has(&self, wanted: &[K]) -> bool {
        self.pairs.iter().any(|(key, _)| wanted.contains(key))
    }
}

impl Place<'_> {
    /// What a reader would type.
    fn address(&self) -> String {
        match self.prefix.trim_matches('/') {
            "" => format!("{}://{}", self.scheme, self.bucket),
            prefix => format!("{}://{}/{prefix}", self.scheme, self.bucket),
        }
    }

    /// Who is asked, for messages: without what an address could hold of secrets.
    fn asked(&self) -> String {
        let endpoint = match self.storage.get("endpoint") {
            Some(StorageValue::Text(text)) => Url::parse(text).ok(),
            _ => None,
        };
        match endpoint.as_ref().and_then(|url| Some((url, url.host_str()?))) {
            Some((url, host)) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("`{}://{host}{port}`, the `endpoint` in {}", url.scheme(), self.file)
            }
            None => format!("the store of {}", self.file),
        }
    }

    fn fail(&self, kind: ErrorKind, message: String) -> StoreError {
        StoreError { kind, verb: "open", address: self.address(), message }
    }

    /// `[storage]` with its secrets. Names were checked with the sink's file; whoever makes a sink by himself hears of it here.
    pub fn settings<K: FromStr>(&self) -> Result<Settings<K>, StoreError> {
        let mut settings = Settings { pairs: Vec::new(), known: Vec::new() };
        for (name, value) in self.storage {
            let known = self.of.storage_keys().any(|key| key == name);
            let key = match name.parse::<K>() {
                Ok(key) if known => key,
                _ => return Err(self.fail(ErrorKind::Config, self.unknown_key(name))),
            };
            let text = match value {
                StorageValue::Text(text) => text.clone(),
                StorageValue::Secret(reference) => {
                    let secret = self.secrets.resolve(reference);
                    let secret = secret.map_err(|error| self.fail(ErrorKind::Auth, format!("`{name}`: {error}")))?;
                    settings.known.push(secret.clone());
                    secret.expose_secret().to_owned()
                }
            };
            settings.pairs.push((key, text));
        }
        Ok(settings)
    }

    fn unknown_key(&self, name: &str) -> String {
        let likeness = |key: &str| strsim::normalized_damerau_levenshtein(name, key);
        let nearest = self.of.storage_keys().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
        match nearest {
            Some(key) if likeness(key) > 0.5 => format!("`[storage]` has no key `{name}`; there is `{key}`"),
            _ => {
                let known: Vec<&str> = self.of.storage_keys().collect();
                format!("`[storage]` has no key `{name}`; there are {}", known.join(", "))
            }
        }
    }

    /// Puts our verbs over what object_store built.
    pub fn opened<K, S: ObjectStore>(
        &self,
        built: object_store::Result<S>,
        settings: Settings<K>,
    ) -> Result<Objects, StoreError> {
        let root = Path::parse(self.prefix.trim_matches('/'));
        let root = root.map_err(|error| self.fail(ErrorKind::Config, error.to_string()))?;
        match built {
            Ok(store) => Ok(Objects::new(Arc::new(store), root, self.address(), settings.known).asking(self.asked())),
            Err(error) => {
                // What cannot be built is a wrong or missing setting, whatever object_store calls it.
                let told = store_error("open", self.address(), &error, &settings.known);
                Err(StoreError { kind: ErrorKind::Config, ..told })
            }
        }
    }
}

/// Few and quick: object_store repeats a put whose answer was lost, whatever it may have done. The caller reads back and decides.
pub(super) fn retries() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(3),
        ..BackoffConfig::default()
    };
    RetryConfig { backoff, max_retries: 3, retry_timeout: Duration::from_secs(10) }
}

#[cfg(test)]
pub(super) mod fixture {
    use super::*;
    use crate::config::secret::SecretRef;

    pub struct NoSecrets;

    impl SecretSource for NoSecrets {
        fn resolve(&self, secret: &SecretRef) -> Result<SecretString, String> {
            match secret {
                SecretRef::Literal(secret) => Ok(secret.clone()),
                other => Err(format!("{other:?} is not set")),
            }
        }
    }

    pub fn settings(pairs: &[(&str, StorageValue)]) -> BTreeMap<String, StorageValue> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    pub fn text(value: &str) -> StorageValue {
        StorageValue::Text(value.to_owned())
    }
}
