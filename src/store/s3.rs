//! Buckets of S3 and of what speaks its protocol.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum, S3ConditionalPut};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, RetryConfig};
use secrecy::{ExposeSecret, SecretString};

use super::StoreError;
use super::errors::store_error;
use super::objects::Objects;
use crate::config::catalog::StorageValue;
use crate::config::secret::SecretSource;
use crate::error::ErrorKind;

/// What `[storage]` may say. object_store knows more: left out are those that the sink's address decides (`bucket`), those that
/// would switch off a condition this program rests on (`conditional_put`), and what copying cannot do (customer keys).
pub const KEYS: &[&str] = &[
    "access_key_id",
    "allow_http",
    "allow_invalid_certificates",
    "checksum_algorithm",
    "connect_timeout",
    "container_authorization_token_file",
    "container_credentials_full_uri",
    "container_credentials_relative_uri",
    "endpoint",
    "endpoint_url_sts",
    "http1_only",
    "imdsv1_fallback",
    "metadata_endpoint",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "read_timeout",
    "region",
    "request_payer",
    "role_arn",
    "role_session_name",
    "secret_access_key",
    "server_side_encryption",
    "session_token",
    "skip_signature",
    "sse_bucket_key_enabled",
    "sse_kms_key_id",
    "timeout",
    "unsigned_payload",
    "user_agent",
    "virtual_hosted_style_request",
    "web_identity_token_file",
];

/// For one request, unless `[storage]` says otherwise: copying a file of some gigabytes within the store takes its time.
const TIMEOUT: &str = "120s";

/// Opens a bucket below a prefix. With `access_key_id` the keys of `[storage]` are the whole truth; without, the usual chain of
/// the AWS tools is asked: `AWS_*` of the environment, web identity, container and instance credentials.
pub(super) fn open(
    bucket: &str,
    prefix: &str,
    storage: &BTreeMap<String, StorageValue>,
    secrets: &dyn SecretSource,
) -> Result<Objects, StoreError> {
    let prefix = prefix.trim_matches('/');
    let address = match prefix {
        "" => format!("s3://{bucket}"),
        prefix => format!("s3://{bucket}/{prefix}"),
    };
    let fail = |kind, message| StoreError { kind, verb: "open", address: address.clone(), message };
    let (settings, known) = resolve(storage, secrets).map_err(|(kind, message)| fail(kind, message))?;
    let root = Path::parse(prefix).map_err(|error| fail(ErrorKind::Config, error.to_string()))?;
    match builder(bucket, &settings).build() {
        Ok(store) => Ok(Objects::new(Arc::new(store), root, address, known)),
        Err(error) => {
            // What cannot be built is a wrong or missing setting, whatever object_store calls it.
            let told = store_error("open", address, &error, &known);
            Err(StoreError { kind: ErrorKind::Config, ..told })
        }
    }
}

type Settings = Vec<(AmazonS3ConfigKey, String)>;

/// The settings with their secrets, and those secrets once more, to be kept out of messages.
fn resolve(
    storage: &BTreeMap<String, StorageValue>,
    secrets: &dyn SecretSource,
) -> Result<(Settings, Vec<SecretString>), (ErrorKind, String)> {
    let mut settings = Vec::new();
    let mut known = Vec::new();
    for (name, value) in storage {
        let key = match name.parse::<AmazonS3ConfigKey>() {
            Ok(key) if KEYS.contains(&name.as_str()) => key,
            _ => return Err((ErrorKind::Config, unknown_key(name))),
        };
        match value {
            StorageValue::Text(text) => settings.push((key, text.clone())),
            StorageValue::Secret(reference) => {
                let secret = secrets.resolve(reference).map_err(|error| (ErrorKind::Auth, format!("`{name}`: {error}")))?;
                settings.push((key, secret.expose_secret().to_owned()));
                known.push(secret);
            }
        }
    }
    Ok((settings, known))
}

fn unknown_key(name: &str) -> String {
    let mut nearest = ("", 0.0);
    for key in KEYS {
        let likeness = strsim::normalized_damerau_levenshtein(name, key);
        if likeness > nearest.1 {
            nearest = (key, likeness);
        }
    }
    match nearest {
        (key, likeness) if likeness > 0.5 => format!("`[storage]` has no key `{name}`; there is `{key}`"),
        _ => format!("`[storage]` has no key `{name}`"),
    }
}

fn builder(bucket: &str, settings: &Settings) -> AmazonS3Builder {
    let given = settings.iter().any(|(key, _)| *key == AmazonS3ConfigKey::AccessKeyId);
    let mut builder = if given { AmazonS3Builder::new() } else { AmazonS3Builder::from_env() };
    builder = builder
        .with_bucket_name(bucket)
        .with_retry(retries())
        // Parts and objects damaged on the way are refused by the store.
        .with_checksum_algorithm(Checksum::SHA256)
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), TIMEOUT);
    for (key, value) in settings {
        builder = builder.with_config(*key, value);
    }
    // Whatever the environment says: without it nothing would decide.
    builder.with_conditional_put(S3ConditionalPut::ETagMatch)
}

/// Few and quick: object_store repeats a put whose answer was lost, whatever it may have done. The caller reads back and decides.
fn retries() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(3),
        ..BackoffConfig::default()
    };
    RetryConfig { backoff, max_retries: 3, retry_timeout: Duration::from_secs(10) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::SecretRef;
    use crate::store::Store;

    struct NoSecrets;

    impl SecretSource for NoSecrets {
        fn resolve(&self, secret: &SecretRef) -> Result<SecretString, String> {
            match secret {
                SecretRef::Literal(secret) => Ok(secret.clone()),
                other => Err(format!("{other:?} is not set")),
            }
        }
    }

    fn settings(pairs: &[(&str, StorageValue)]) -> BTreeMap<String, StorageValue> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn text(value: &str) -> StorageValue {
        StorageValue::Text(value.to_owned())
    }

    #[test]
    fn every_key_is_known_to_object_store() {
        for key in KEYS {
            assert!(key.parse::<AmazonS3ConfigKey>().is_ok(), "{key}");
        }
    }

    #[test]
    fn an_address_is_what_a_reader_types() {
        let keys = settings(&[("access_key_id", text("k")), ("secret_access_key", text("s"))]);
        let store = open("lake", "/raw/", &keys, &NoSecrets).unwrap();
        assert_eq!(store.address("t/a.parquet"), "s3://lake/raw/t/a.parquet");
        assert_eq!(open("lake", "", &keys, &NoSecrets).unwrap().address("t"), "s3://lake/t");
    }

    #[test]
    fn a_misspelt_key_names_the_right_one() {
        let error = open("lake", "", &settings(&[("acces_key", text("k"))]), &NoSecrets).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        assert_eq!(error.message, "`[storage]` has no key `acces_key`; there is `access_key_id`");
        let error = open("lake", "", &settings(&[("conditional_put", text("disabled"))]), &NoSecrets).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
    }

    #[test]
    fn half_a_pair_of_keys_and_a_missing_secret_are_refused() {
        let error = open("lake", "", &settings(&[("access_key_id", text("k"))]), &NoSecrets).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        let missing = StorageValue::Secret(SecretRef::Env("S3_KEY".to_owned()));
        let error = open("lake", "", &settings(&[("secret_access_key", missing)]), &NoSecrets).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Auth);
        assert!(error.message.contains("S3_KEY"), "{error}");
    }
}
