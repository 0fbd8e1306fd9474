//! Why a state did not answer.

use thiserror::Error;

use crate::error::ErrorKind;
use crate::ledger::LedgerError;
use crate::vault::VaultError;

/// Why the state did not answer.
#[derive(Debug, Error)]
#[error("{action}: {message}")]
pub struct StateError {
    pub kind: ErrorKind,
    /// What was attempted: `take the lease of orders`.
    pub action: String,
    pub message: String,
}

impl From<StateError> for LedgerError {
    fn from(StateError { kind, action, message }: StateError) -> Self {
        LedgerError { kind, action, message }
    }
}

impl From<StateError> for VaultError {
    fn from(StateError { kind, action, message }: StateError) -> Self {
        VaultError { kind, action, message }
    }
}
