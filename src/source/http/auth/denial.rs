//! Why there is no token: an error that all who wait for it are told.

use crate::error::ErrorKind;
use crate::source::FetchError;
use crate::vault::VaultError;

#[derive(Clone, Debug)]
pub(super) struct Denial {
    pub(super) kind: ErrorKind,
    /// Without secrets.
    pub(super) message: String,
}

impl Denial {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Denial { kind, message: message.into() }
    }

    /// Whether it may be otherwise soon.
    pub(super) fn passes(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Throttled { .. } | ErrorKind::Conflict)
    }

    pub(super) fn of_vault(what: &str, error: &VaultError) -> Self {
        Denial::new(error.kind, format!("{what}: {error}"))
    }
}

impl From<Denial> for FetchError {
    fn from(denial: Denial) -> Self {
        FetchError::new(denial.kind, denial.message)
    }
}
