//! What budgets keep, by account.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::errors::{state_error, value_error};
use super::{Flush, SqliteState, commit};
use crate::ledger::{Ledger, LedgerEntry, LedgerError, check_text};
use crate::state::StateError;
use crate::state::values::{from_integer, from_text, to_integer, to_text};

#[async_trait]
impl Ledger for SqliteState {
    async fn entry(&self, account: &str) -> Result<Option<LedgerEntry>, LedgerError> {
        let action = format!("read the ledger of {account}");
        let found = sqlx::query("SELECT * FROM ledger WHERE account = ?1").bind(account).fetch_optional(&self.pool).await;
        let found = found.map_err(|error| state_error(&action, &error))?;
        Ok(found.map(|row| read(&action, &row)).transpose()?)
    }

    async fn entries(&self) -> Result<Vec<LedgerEntry>, LedgerError> {
        let action = "read the ledger";
        let rows = sqlx::query("SELECT * FROM ledger ORDER BY account").fetch_all(&self.pool).await;
        let rows = rows.map_err(|error| state_error(action, &error))?;
        Ok(rows.iter().map(|row| read(action, row)).collect::<Result<_, _>>()?)
    }

    async fn put_entry(&self, account: &str, before: u64, text: &str, at: Timestamp) -> Result<bool, LedgerError> {
        let action = format!("write the ledger of {account}");
        check_text(account, text)?;
        // No version is as large as that, so another one stands there.
        let Ok(before) = to_integer(before) else { return Ok(false) };
        let Some(after) = before.checked_add(1) else { return Ok(false) };
        let statement = match before {
            0 => {
                "INSERT INTO ledger (account, version, entry, at) VALUES (?1, ?3, ?4, ?5)
                 ON CONFLICT (account) DO UPDATE SET version = ?3 WHERE version = ?3 AND entry = ?4 AND at = ?5"
            }
            _ => {
                "UPDATE ledger SET version = ?3, entry = ?4, at = ?5
                 WHERE account = ?1 AND (version = ?2 OR (version = ?3 AND entry = ?4 AND at = ?5))"
            }
        };
        let mut transaction = self.begin(&action, Flush::Now).await?;
        let done = sqlx::query(statement).bind(account).bind(before).bind(after).bind(text).bind(to_text(at));
        let done = done.execute(&mut *transaction).await.map_err(|error| state_error(&action, &error))?;
        commit(&action, transaction).await?;
        Ok(done.rows_affected() == 1)
    }
}

fn read(action: &str, row: &SqliteRow) -> Result<LedgerEntry, StateError> {
    let sql = |error: sqlx::Error| state_error(action, &error);
    let bad = |message: String| value_error(action, message);
    Ok(LedgerEntry {
        account: row.try_get("account").map_err(sql)?,
        version: from_integer(row.try_get("version").map_err(sql)?).map_err(bad)?,
        text: row.try_get("entry").map_err(sql)?,
        at: from_text(row.try_get("at").map_err(sql)?).map_err(bad)?,
    })
}
