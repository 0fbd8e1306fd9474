//! Containers of Azure Blob Storage. Put-if-absent is `If-None-Match: *`, which Azure refuses with 412 and its emulator with
//! 409; object_store makes `AlreadyExists` of both.

use object_store::ClientConfigKey;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::StoreError;
use super::cloud::{Place, Settings, TIMEOUT, retries};
use super::objects::Objects;

/// What says who we are; with one of these the keys of `[storage]` are the whole truth.
const CREDENTIALS: [AzureConfigKey; 5] = [
    AzureConfigKey::AccessKey,
    AzureConfigKey::SasKey,
    AzureConfigKey::Token,
    AzureConfigKey::ClientSecret,
    AzureConfigKey::FederatedTokenFile,
];

/// Opens a container below a prefix. Without credentials in `[storage]` the usual chain of Azure's tools is asked: `AZURE_*` of
/// the environment, workload identity, the machine's managed identity.
pub(super) fn open(place: &Place<'_>) -> Result<Objects, StoreError> {
    let settings = place.settings()?;
    let opened = place.opened(builder(place.bucket, &settings).build(), settings);
    opened.map_err(|error| match error.message.contains("Account must be specified") {
        true => StoreError { message: "no account: set `account_name` under `[storage]`".to_owned(), ..error },
        false => error,
    })
}

fn builder(container: &str, settings: &Settings<AzureConfigKey>) -> MicrosoftAzureBuilder {
    let given = settings.has(&CREDENTIALS);
    let mut builder = if given { MicrosoftAzureBuilder::new() } else { MicrosoftAzureBuilder::from_env() };
    builder = builder
        .with_container_name(container)
        .with_retry(retries())
        .with_config(AzureConfigKey::Client(ClientConfigKey::Timeout), TIMEOUT);
    for (key, value) in &settings.pairs {
        builder = builder.with_config(*key, value);
    }
    // Whatever the environment says: the emulator of that name has an address of its own, and a well-known key.
    builder.with_use_emulator(false)
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
        let of = SinkPlace::Azure { container: String::new(), prefix: String::new() };
        for key in of.storage_keys() {
            assert!(key.parse::<AzureConfigKey>().is_ok(), "{key}");
        }
    }

    #[test]
    fn a_container_needs_its_account() {
        let of = SinkPlace::Azure { container: "lake".to_owned(), prefix: String::new() };
        let open = |pairs: &[_]| {
            let storage = settings(pairs);
            super::open(&Place {
                scheme: "az",
                bucket: "lake",
                prefix: "",
                storage: &storage,
                secrets: &NoSecrets,
                of: &of,
                file: "sinks/lake.toml",
            })
        };
        let store = open(&[("account_name", text("acme")), ("access_key", text("a2V5"))]).unwrap();
        assert_eq!(store.address("t/a.parquet"), "az://lake/t/a.parquet");
        let error = open(&[("access_key", text("a2V5"))]).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains("account_name"), "{error}");
        let error = open(&[("account_name", text("acme")), ("access_key", text("no base64!"))]).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(!error.message.contains("no base64!"), "{error}");
    }
}
