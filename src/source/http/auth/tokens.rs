//! The tokens of the process: jobs with the same credential share one, and one renewal of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::vault::TokenVault;

use super::held::HeldToken;

/// They are held for as long as the process lives: a job that opens its source again must not ask for a token again.
pub struct Tokens {
    clock: Arc<dyn Clock>,
    vault: Arc<dyn TokenVault>,
    held: Mutex<HashMap<String, Arc<HeldToken>>>,
}

impl Tokens {
    pub fn new(clock: Arc<dyn Clock>, vault: Arc<dyn TokenVault>) -> Self {
        Tokens { clock, vault, held: Mutex::default() }
    }

    /// Where they are kept, for what else must outlive the process.
    pub(in super::super) fn vault(&self) -> Arc<dyn TokenVault> {
        Arc::clone(&self.vault)
    }

    /// The token of a credential, by its key in the vault.
    pub(super) fn hold(&self, key: String) -> Arc<HeldToken> {
        let mut held = self.held();
        let new = || Arc::new(HeldToken::new(key.clone(), Arc::clone(&self.clock), Arc::clone(&self.vault)));
        Arc::clone(held.entry(key.clone()).or_insert_with(new))
    }

    /// Waits until nothing is asked for any more: a token whose answer is under way would be lost with the process.
    pub async fn close(&self) {
        let held: Vec<Arc<HeldToken>> = self.held().values().map(Arc::clone).collect();
        for token in held {
            token.close().await;
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Arc<HeldToken>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
