//! How requests prove who they are.

use crate::config::secret::SecretRef;

#[derive(Clone, Debug)]
pub enum Auth {
    None,
    Bearer { token: SecretRef },
    Basic { username: SecretRef, password: SecretRef },
    ApiKey { name: String, place: ApiKeyPlace, value: SecretRef, prefix: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyPlace {
    Header,
    Query,
}
