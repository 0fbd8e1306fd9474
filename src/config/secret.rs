//! References to secrets, and secrets once they are resolved. Neither ever prints a value.

use std::fmt;
use std::path::PathBuf;

pub use secrecy::{ExposeSecret, SecretString};

/// Where a secret is to be found. `Literal` exists for user names and tests; `check` warns of it elsewhere.
#[derive(Clone)]
pub enum SecretRef {
    Env(String),
    /// Relative paths lie under the project folder.
    File(PathBuf),
    /// A systemd credential: a file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    Literal(SecretString),
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "{{ env = {name:?} }}"),
            SecretRef::File(path) => write!(f, "{{ file = {path:?} }}"),
            SecretRef::Credential(name) => write!(f, "{{ credential = {name:?} }}"),
            SecretRef::Literal(_) => f.write_str("***"),
        }
    }
}

/// Resolves references when a run begins. The error names the reference, never a value.
pub trait SecretSource: Send + Sync {
    fn resolve(&self, secret: &SecretRef) -> Result<SecretString, String>;
}
