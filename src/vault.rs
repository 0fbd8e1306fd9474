//! What credentials were given at run time and must not lose, as a port: `source` needs it, `state` implements it, and the two
//! never meet.
//!
//! A refresh token that is good for one use is such a thing: its successor comes with the answer, and whoever loses it has to log
//! in again by hand. The names of exports that a source makes on request are kept the same way: some of them let in whoever has them.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use thiserror::Error;

use crate::config::secret::{ExposeSecret, SecretString};
use crate::error::ErrorKind;

/// The longest text of an entry, bytes.
pub const TEXT_MAX: usize = 64 * 1024;

/// Entries that are kept; of more, those that were not written for the longest time go. A secret that was replaced leaves one.
pub const ENTRIES_MAX: u32 = 200;

/// Keeps one entry of text for each credential. An entry is replaced only by whoever knows what stands there, so that of several
/// processes none overwrites a token that it has not seen.
#[async_trait]
pub trait TokenVault: Send + Sync {
    /// What is kept for a credential; `None` for one that is new.
    async fn tokens(&self, credential: &str) -> Result<Option<VaultEntry>, VaultError>;
    /// Puts an entry in place of version `before` (0: where none is yet) and returns `true`; the stored version is `before + 1`.
    /// `false` changes nothing: another version stands there. Durable on return. Where the answer was lost, the very same call
    /// may be repeated: it is `true` as well if what stands there is exactly what it would write. `Bug` for a text of more than
    /// [`TEXT_MAX`].
    async fn put_tokens(&self, credential: &str, before: u64, text: &SecretString, at: Timestamp) -> Result<bool, VaultError>;
    /// Whether other processes may put entries there while this one is at work.
    fn is_shared(&self) -> bool;
}

/// What is kept for a credential.
#[derive(Clone)]
pub struct VaultEntry {
    /// A fingerprint of the secret that the files name, never the secret.
    pub credential: String,
    /// Counts from 1, and grows by 1 with each write.
    pub version: u64,
    /// What `source` wrote: JSON with tokens in it.
    pub text: SecretString,
    /// When it was written, by the writer's clock.
    pub at: Timestamp,
}

impl PartialEq for VaultEntry {
    fn eq(&self, other: &Self) -> bool {
        (&self.credential, self.version, self.at) == (&other.credential, other.version, other.at)
            && self.text.expose_secret() == other.text.expose_secret()
    }
}

impl fmt::Debug for VaultEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} of {}, written at {}: ***", self.version, self.credential, self.at)
    }
}

/// Why the vault did not answer.
#[derive(Debug, Error)]
#[error("{action}: {message}")]
pub struct VaultError {
    pub kind: ErrorKind,
    /// What was attempted, lower case: `keep the tokens of a credential`.
    pub action: String,
    pub message: String,
}

/// Refuses a text that is too long; every implementation does it with this.
///
/// # Errors
/// `Bug`: whoever writes bounds what it keeps.
pub fn check_text(text: &SecretString) -> Result<(), VaultError> {
    let length = text.expose_secret().len();
    if length <= TEXT_MAX {
        return Ok(());
    }
    let message = format!("an entry of {length} bytes, of {TEXT_MAX} at most");
    Err(VaultError { kind: ErrorKind::Bug, action: "keep the tokens of a credential".to_owned(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_shows_no_token() {
        let entry = VaultEntry { credential: "ab12".to_owned(), version: 3, text: "CANARY".into(), at: Timestamp::UNIX_EPOCH };
        // S-37
        assert_eq!(format!("{entry:?}"), "version 3 of ab12, written at 1970-01-01T00:00:00Z: ***");
        assert_ne!(entry, VaultEntry { text: "OTHER".into(), ..entry.clone() });
    }
}
