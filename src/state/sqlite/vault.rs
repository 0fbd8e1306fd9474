//! What credentials were given at run time, by fingerprint.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::errors::{state_error, value_error};
use super::{Flush, SqliteState, commit};
use crate::config::secret::{ExposeSecret, SecretString};
use crate::state::StateError;
use crate::state::values::{from_integer, from_text, to_integer, to_text};
use crate::vault::{ENTRIES_MAX, TokenVault, VaultEntry, VaultError, check_text};

#[async_trait]
impl TokenVault for SqliteState {
    async fn tokens(&self, credential: &str) -> Result<Option<VaultEntry>, VaultError> {
        let action = "read the tokens of a credential";
        let found = sqlx::query("SELECT * FROM vault WHERE credential = ?1").bind(credential).fetch_optional(&self.pool).await;
        let found = found.map_err(|error| state_error(action, &error))?;
        Ok(found.map(|row| read(action, &row)).transpose()?)
    }

    async fn put_tokens(&self, credential: &str, before: u64, text: &SecretString, at: Timestamp) -> Result<bool, VaultError> {
        let action = "keep the tokens of a credential";
        check_text(text)?;
        // No version is as large as that, so another one stands there.
        let Ok(before) = to_integer(before) else { return Ok(false) };
        let Some(after) = before.checked_add(1) else { return Ok(false) };
        let statement = match before {
            0 => {
                "INSERT INTO vault (credential, version, entry, at) VALUES (?1, ?3, ?4, ?5)
                 ON CONFLICT (credential) DO UPDATE SET version = ?3 WHERE version = ?3 AND entry = ?4 AND at = ?5"
            }
            _ => {
                "UPDATE vault SET version = ?3, entry = ?4, at = ?5
                 WHERE credential = ?1 AND (version = ?2 OR (version = ?3 AND entry = ?4 AND at = ?5))"
            }
        };
        let told = |error: sqlx::Error| state_error(action, &error);
        let mut transaction = self.begin(action, Flush::Now).await?;
        let done = sqlx::query(statement).bind(credential).bind(before).bind(after).bind(text.expose_secret()).bind(to_text(at));
        let done = done.execute(&mut *transaction).await.map_err(told)?;
        if before == 0 {
            let old = "DELETE FROM vault WHERE credential <> ?1 AND credential NOT IN
                 (SELECT credential FROM vault WHERE credential <> ?1 ORDER BY at DESC, credential LIMIT ?2)";
            let dropped = sqlx::query(old).bind(credential).bind(i64::from(ENTRIES_MAX) - 1);
            dropped.execute(&mut *transaction).await.map_err(told)?;
        }
        commit(action, transaction).await?;
        Ok(done.rows_affected() == 1)
    }

    fn is_shared(&self) -> bool {
        false
    }
}

fn read(action: &str, row: &SqliteRow) -> Result<VaultEntry, StateError> {
    let sql = |error: sqlx::Error| state_error(action, &error);
    let bad = |message: String| value_error(action, message);
    let text: String = row.try_get("entry").map_err(sql)?;
    Ok(VaultEntry {
        credential: row.try_get("credential").map_err(sql)?,
        version: from_integer(row.try_get("version").map_err(sql)?).map_err(bad)?,
        text: SecretString::from(text),
        at: from_text(row.try_get("at").map_err(sql)?).map_err(bad)?,
    })
}
