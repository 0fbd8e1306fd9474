//! The vault of tokens for who must not change it.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::config::secret::SecretString;
use crate::error::ErrorKind;
use crate::state::State;
use crate::vault::{TokenVault, VaultEntry, VaultError};

/// What another process keeps, to be used and not to be renewed: two that renew by turns would each lose what the other was given.
#[derive(Default)]
pub(super) struct LentVault {
    pub state: Option<Arc<dyn State>>,
}

#[async_trait]
impl TokenVault for LentVault {
    async fn tokens(&self, credential: &str) -> Result<Option<VaultEntry>, VaultError> {
        match &self.state {
            Some(state) => state.tokens(credential).await,
            None => Ok(None),
        }
    }

    async fn put_tokens(
        &self,
        _credential: &str,
        _before: u64,
        _text: &SecretString,
        _at: Timestamp,
    ) -> Result<bool, VaultError> {
        let message = "another highwater process works with the state: try again when it has renewed the token, or is done";
        let action = "keep the tokens of a credential".to_owned();
        Err(VaultError { kind: ErrorKind::Conflict, action, message: message.to_owned() })
    }

    fn is_shared(&self) -> bool {
        false
    }
}
