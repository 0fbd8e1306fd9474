//! What `[storage]` may say of each kind of store, by object_store's names.
//!
//! object_store knows more. Left out are those that the sink's address decides (`bucket`), those that would switch off a condition
//! this program rests on (`conditional_put`), what copying within the store cannot do (customers' keys), and what reads the
//! environment behind our back (`use_emulator`).

use super::catalog::SinkPlace;

/// Of every store that is reached over HTTP.
const CLIENT: &[&str] = &[
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "http1_only",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "read_timeout",
    "timeout",
    "user_agent",
];

const S3: &[&str] = &[
    "access_key_id",
    "checksum_algorithm",
    "container_authorization_token_file",
    "container_credentials_full_uri",
    "container_credentials_relative_uri",
    "endpoint",
    "endpoint_url_sts",
    "imdsv1_fallback",
    "metadata_endpoint",
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
    "unsigned_payload",
    "virtual_hosted_style_request",
    "web_identity_token_file",
];

const GCS: &[&str] =
    &["application_credentials", "base_url", "bearer_token", "service_account", "service_account_key", "skip_signature"];

const AZURE: &[&str] = &[
    "access_key",
    "account_name",
    "authority_host",
    "bearer_token",
    "client_id",
    "client_secret",
    "credential_type",
    "endpoint",
    "federated_token_file",
    "msi_endpoint",
    "msi_resource_id",
    "object_id",
    "sas_key",
    "skip_signature",
    "tenant_id",
    "use_azure_cli",
    "use_fabric_endpoint",
];

/// Those whose value is a secret, not a name or a path to one.
const SECRETS: &[&str] =
    &["access_key", "bearer_token", "client_secret", "sas_key", "secret_access_key", "service_account_key", "session_token"];

impl SinkPlace {
    /// The names that `[storage]` may hold for this place, those for all stores last; none for a folder.
    pub fn storage_keys(&self) -> impl Iterator<Item = &'static str> {
        let (own, client): (&[&str], &[&str]) = match self {
            SinkPlace::Local(_) => (&[], &[]),
            SinkPlace::S3 { .. } => (S3, CLIENT),
            SinkPlace::Gcs { .. } => (GCS, CLIENT),
            SinkPlace::Azure { .. } => (AZURE, CLIENT),
        };
        own.iter().chain(client).copied()
    }
}

/// Whether the value of this name is a secret.
pub(super) fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name)
}
