//! Buckets of Google Cloud Storage, over its XML interface. Put-if-absent is a put for generation 0; each name takes about one
//! write a second, beyond which Google answers 429, which the few retries outlast.

use object_store::ClientConfigKey;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

use super::StoreError;
use super::cloud::{Place, Settings, TIMEOUT, retries};
use super::objects::Objects;

/// What says who we are; with one of these the keys of `[storage]` are the whole truth.
const CREDENTIALS: [GoogleConfigKey; 4] = [
    GoogleConfigKey::ServiceAccount,
    GoogleConfigKey::ServiceAccountKey,
    GoogleConfigKey::ApplicationCredentials,
    GoogleConfigKey::BearerToken,
];

/// Opens a bucket below a prefix. Without credentials in `[storage]` the usual chain of Google's tools is asked: `GOOGLE_*` of
/// the environment, the user's application default credentials, the machine's metadata server.
pub(super) fn open(place: &Place<'_>) -> Result<Objects, StoreError> {
    let settings = place.settings()?;
    place.opened(builder(place.bucket, &settings).build(), settings)
}

fn builder(bucket: &str, settings: &Settings<GoogleConfigKey>) -> GoogleCloudStorageBuilder {
    let given = settings.has(&CREDENTIALS);
    let mut builder = if given { GoogleCloudStorageBuilder::new() } else { GoogleCloudStorageBuilder::from_env() };
    builder = builder
        .with_bucket_name(bucket)
        .with_retry(retries())
        .with_config(GoogleConfigKey::Client(ClientConfigKey::Timeout), TIMEOUT);
    for (key, value) in &settings.pairs {
        builder = builder.with_config(*key, value);
    }
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::catalog::SinkPlace;
    use crate::error::ErrorKind;
    use crate::store::Store;
    use crate::store::cloud::fixture::{NoSecrets, settings, text};

    #[test]
    fn every_key_is_known_to_object_store() {
        let of = SinkPlace::Gcs { bucket: String::new(), prefix: String::new() };
        for key in of.storage_keys() {
            assert!(key.parse::<GoogleConfigKey>().is_ok(), "{key}");
        }
    }

    #[test]
    fn a_bucket_is_opened_and_a_key_of_another_store_refused() {
        let of = SinkPlace::Gcs { bucket: "lake".to_owned(), prefix: "raw".to_owned() };
        let open = |pairs: &[_]| {
            let storage = settings(pairs);
            super::open(&Place {
                scheme: "gs",
                bucket: "lake",
                prefix: "raw",
                storage: &storage,
                secrets: &NoSecrets,
                of: &of,
                file: "sinks/lake.toml",
            })
        };
        let store = open(&[("bearer_token", text("t"))]).unwrap();
        assert_eq!(store.address("t/a.parquet"), "gs://lake/raw/t/a.parquet");
        let error = open(&[("access_key_id", text("k"))]).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        let error = open(&[("service_account", text("/no/such/file.json"))]).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
    }
}
