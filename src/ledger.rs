//! What budgets keep over restarts, as a port: `quota` needs it, `state` implements it, and the two never meet.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use thiserror::Error;

use crate::error::ErrorKind;

/// The longest text of an entry, bytes.
pub const TEXT_MAX: usize = 64 * 1024;

/// Keeps one entry of text for each account. An entry is replaced only by whoever knows what stands there, so that several
/// processes can count on one account: whoever comes second reads again and adds its own.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// What is kept of an account; `None` for one that is new.
    async fn entry(&self, account: &str) -> Result<Option<LedgerEntry>, LedgerError>;
    /// Every account's entry, by account.
    async fn entries(&self) -> Result<Vec<LedgerEntry>, LedgerError>;
    /// Puts an entry in place of version `before` (0: where none is yet) and returns `true`; the stored version is `before + 1`.
    /// `false` changes nothing: another version stands there. Durable on return. Where the answer was lost, the very same call
    /// may be repeated: it is `true` as well if what stands there is exactly what it would write. `Bug` for a text of more than
    /// [`TEXT_MAX`].
    async fn put_entry(&self, account: &str, before: u64, text: &str, at: Timestamp) -> Result<bool, LedgerError>;
    /// Where several processes work with it: how long what one of them holds of a limit stays its own without word of it.
    fn shared_for(&self) -> Option<Duration> {
        None
    }
    /// What is kept of an account, and a moment between the question and the answer, by a clock that all of them have in common.
    /// Only where [`shared_for`](Self::shared_for) says that there are several.
    async fn shared_entry(&self, account: &str) -> Result<(Option<LedgerEntry>, Timestamp), LedgerError> {
        let (action, message) = (format!("read the ledger of {account}"), "nobody shares it".to_owned());
        Err(LedgerError { kind: ErrorKind::Bug, action, message })
    }
}

/// What is kept of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Host and fingerprint of the credential; never the credential.
    pub account: String,
    /// Counts from 1, and grows by 1 with each write.
    pub version: u64,
    /// What `quota` wrote: JSON.
    pub text: String,
    /// When it was written, by the writer's clock.
    pub at: Timestamp,
}

/// Why the ledger did not answer.
#[derive(Debug, Error)]
#[error("{action}: {message}")]
pub struct LedgerError {
    pub kind: ErrorKind,
    /// What was attempted, lower case: `read the ledger of api.example.com`.
    pub action: String,
    pub message: String,
}

/// Refuses a text that is too long; every implementation does it with this.
///
/// # Errors
/// `Bug`: whoever writes bounds what it counts.
pub fn check_text(account: &str, text: &str) -> Result<(), LedgerError> {
    if text.len() <= TEXT_MAX {
        return Ok(());
    }
    let message = format!("an entry of {} bytes, of {TEXT_MAX} at most", text.len());
    Err(LedgerError { kind: ErrorKind::Bug, action: format!("write the ledger of {account}"), message })
}
