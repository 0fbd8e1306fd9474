//! A credential's place in the vault: read, announced before a refresh token is spent, written before its successor is used.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::vault::{TokenVault, VaultError};

use super::denial::Denial;
use super::errand::Errand;
use super::kept::Kept;

/// How often a writing that another process overtook, or that failed, is begun anew.
const WRITES_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// Whoever has asked for longer than this is taken for dead, and the answer for lost.
const ASKED_MAX: Duration = Duration::from_secs(120);

pub(super) struct Shelf {
    key: String,
    clock: Arc<dyn Clock>,
    vault: Arc<dyn TokenVault>,
    /// When this process has announced last that it asks.
    announced: Mutex<Option<Timestamp>>,
}

/// An entry, and which version of it was read.
#[derive(Clone)]
pub(super) struct Shelved {
    pub(super) entry: Kept,
    version: u64,
}

/// An entry that was answered and could not be written.
pub(super) type Unsaved = Kept;

impl Shelf {
    pub(super) fn new(key: String, clock: Arc<dyn Clock>, vault: Arc<dyn TokenVault>) -> Self {
        Shelf { key, clock, vault, announced: Mutex::default() }
    }

    /// What is kept. An entry that could not be written earlier is written first, since nothing newer can be there; it comes back
    /// with the error where that fails again.
    pub(super) async fn read(&self, errand: &Errand, unsaved: Option<Unsaved>) -> Result<Shelved, (Option<Unsaved>, Denial)> {
        let found = match self.look().await {
            Ok(found) => found,
            // Without what is kept, a token is asked for as if it were the first time.
            Err(denial) if !errand.rotates() => {
                tracing::warn!(reason = denial.message, "a kept token cannot be read");
                Shelved { entry: Kept::default(), version: 0 }
            }
            Err(denial) => return Err((unsaved, denial)),
        };
        let Some(entry) = unsaved else { return Ok(found) };
        let found = Shelved { entry, version: found.version };
        match self.keep(errand, found.clone()).await {
            Ok(()) => Ok(Shelved { version: found.version + 1, ..found }),
            Err((unsaved, denial)) => Err((Some(unsaved), denial)),
        }
    }

    /// Notes that a refresh token is about to be spent: where that cannot be noted, its successor could not be kept either, and it is
    /// not spent. `false` changes nothing: another process has written meanwhile.
    pub(super) async fn announce(&self, errand: &Errand, kept: &mut Shelved) -> Result<bool, Denial> {
        if !errand.rotates() {
            return Ok(true);
        }
        let now = self.clock.now();
        kept.entry.asked_at = Some(now);
        // Before it is written: where the answer to that is lost, it stands there all the same, and is none of another process.
        *self.announced() = Some(now);
        match self.put(kept).await {
            Ok(true) => {
                kept.version += 1;
                Ok(true)
            }
            Ok(false) => {
                *self.announced() = None;
                Ok(false)
            }
            Err(error) => {
                let what = format!("{} is not asked with, for its successor could not be kept", errand.grant_name());
                Err(Denial::of_vault(&what, &error))
            }
        }
    }

    /// Takes an announcement back that was answered: nobody is to wait for it. `before` is what stood there.
    pub(super) async fn withdraw(&self, errand: &Errand, kept: &mut Shelved, before: Option<Timestamp>) {
        if !errand.rotates() {
            return;
        }
        kept.entry.asked_at = before;
        // Harmless where it fails: it is waited for, and no longer than if this process had died.
        if let Err(error) = self.put(kept).await {
            tracing::debug!(%error, "that a token was asked for stands there still");
        }
    }

    /// Whether another process asks at this moment, as far as its announcement tells.
    pub(super) fn is_asked_elsewhere(&self, kept: &Shelved) -> bool {
        let Some(asked_at) = kept.entry.asked_at.filter(|_| self.vault.is_shared()) else { return false };
        // Clocks differ: what lies ahead of ours is as good as what lies behind.
        let age = self.clock.now().duration_since(asked_at).unsigned_abs();
        *self.announced() != Some(asked_at) && age < ASKED_MAX
    }

    /// Whether another process has kept a successor of what this one has asked with.
    pub(super) async fn is_overtaken(&self, errand: &Errand, kept: &Shelved) -> bool {
        if !errand.rotates() {
            return false;
        }
        match self.look().await {
            Ok(found) => found.version != kept.version && found.entry.refresh != kept.entry.refresh,
            // What was refused stays so, and is told.
            Err(_) => false,
        }
    }

    /// Writes an entry, durably. Of a token that does not rotate it is no harm if that fails.
    pub(super) async fn keep(&self, errand: &Errand, mut kept: Shelved) -> Result<(), (Unsaved, Denial)> {
        let mut failed = Denial::new(ErrorKind::Conflict, "another process writes it all the time");
        for round in 0..WRITES_MAX {
            match self.put(&kept).await {
                Ok(true) => return Ok(()),
                Ok(false) if !errand.rotates() => return Ok(()),
                // Another process renewed as well; ours is the answer that came last, so the token before it is spent.
                Ok(false) => match self.look().await {
                    Ok(found) => kept.version = found.version,
                    Err(denial) => failed = denial,
                },
                Err(error) if !errand.rotates() => {
                    tracing::warn!(%error, "a token cannot be kept: the next process asks for one again");
                    return Ok(());
                }
                Err(error) => {
                    let what = format!("the successor of {} cannot be kept, so it is not used yet", errand.grant_name());
                    failed = Denial::of_vault(&what, &error);
                    self.clock.sleep(PAUSE * (round + 1)).await;
                }
            }
        }
        Err((kept.entry, failed))
    }

    fn announced(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, kept: &Shelved) -> Result<bool, VaultError> {
        self.vault.put_tokens(&self.key, kept.version, &kept.entry.text(), self.clock.now()).await
    }

    async fn look(&self) -> Result<Shelved, Denial> {
        let found = self.vault.tokens(&self.key).await.map_err(|error| Denial::new(error.kind, error.to_string()))?;
        let Some(found) = found else { return Ok(Shelved { entry: Kept::default(), version: 0 }) };
        let entry = Kept::read(&found.text).map_err(|why| Denial::new(ErrorKind::Config, format!("a kept token: {why}")))?;
        Ok(Shelved { entry, version: found.version })
    }
}
