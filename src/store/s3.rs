//! Buckets of S3 and of what speaks its protocol.

use object_store::ClientConfigKey;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum, S3ConditionalPut};

use super::StoreError;
use super::cloud::{Place, Settings, TIMEOUT, retries};
use super::objects::Objects;

/// Opens a bucket below a prefix. With `access_key_id` the keys of `[storage]` are the whole truth; without, the usual chain of
/// the AWS tools is asked: `AWS_*` of the environment, web identity, container and instance credentials.
pub(super) fn open(place: &Place<'_>) -> Result<Objects, StoreError> {
    let settings = place.settings()?;
    place.opened(builder(place.bucket, &settings).build(), settings)
}

fn builder(bucket: &str, settings: &Settings<AmazonS3ConfigKey>) -> AmazonS3Builder {
    let given = settings.has(&[AmazonS3ConfigKey::AccessKeyId]);
    let mut builder = if given { AmazonS3Builder::new() } else { AmazonS3Builder::from_env() };
    builder = builder
        .with_bucket_name(bucket)
        .with_retry(retries())
        // Parts and objects damaged on the way are refused by the store.
        .with_checksum_algorithm(Checksum::SHA256)
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), TIMEOUT);
    for (key, value) in &settings.pairs {
        builder = builder.with_config(*key, value);
    }
    // Whatever the environment says: without it nothing would decide.
    builder.with_conditional_put(S3ConditionalPut::ETagMatch)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::catalog::{SinkPlace, StorageValue};
    use crate::config::secret::SecretRef;
    use crate::error::ErrorKind;
    use crate::store::Store;
    use crate::store::cloud::fixture::{NoSecrets, settings, text};

    fn open(bucket: &str, prefix: &str, storage: &BTreeMap<String, StorageValue>) -> Result<Objects, StoreError> {
        let of = SinkPlace::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() };
        super::open(&Place { scheme: "s3", bucket, prefix, storage, secrets: &NoSecrets, of: &of, file: "sinks/lake.toml" })
    }

    #[test]
    fn every_key_is_known_to_object_store() {
        let of = SinkPlace::S3 { bucket: String::new(), prefix: String::new() };
        for key in of.storage_keys() {
            assert!(key.parse::<AmazonS3ConfigKey>().is_ok(), "{key}");
        }
    }

    #[test]
    fn an_address_is_what_a_reader_types() {
        let keys = settings(&[("access_key_id", text("k")), ("secret_access_key", text("s"))]);
        let store = open("lake", "/raw/", &keys).unwrap();
        assert_eq!(store.address("t/a.parquet"), "s3://lake/raw/t/a.parquet");
        assert_eq!(open("lake", "", &keys).unwrap().address("t"), "s3://lake/t");
    }

    #[tokio::test]
    async fn an_endpoint_that_does_not_answer_is_named_with_the_file_that_names_it() {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let endpoint = format!("http://me:pass@127.0.0.1:{port}/x");
        let keys = [("access_key_id", text("k")), ("secret_access_key", text("s")), ("allow_http", text("true"))];
        let keys = settings(&[&keys[..], &[("endpoint", text(&endpoint))]].concat());
        let error = open("lake", "", &keys).unwrap().get("a", 9).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        let asked = format!("no answer from `http://127.0.0.1:{port}`, the `endpoint` in sinks/lake.toml: ");
        assert!(error.message.starts_with(&asked), "{error}");
        assert!(!error.message.contains("pass"), "{error}");
    }

    #[test]
    fn a_misspelt_key_names_the_right_one() {
        let error = open("lake", "", &settings(&[("acces_key", text("k"))])).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        assert_eq!(error.message, "`[storage]` has no key `acces_key`; there is `access_key_id`");
        let error = open("lake", "", &settings(&[("conditional_put", text("disabled"))])).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
    }

    #[test]
    fn half_a_pair_of_keys_and_a_missing_secret_are_refused() {
        let error = open("lake", "", &settings(&[("access_key_id", text("k"))])).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        let missing = StorageValue::Secret(SecretRef::Env("S3_KEY".to_owned()));
        let error = open("lake", "", &settings(&[("secret_access_key", missing)])).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Auth);
        assert!(error.message.contains("S3_KEY"), "{error}");
    }
}
