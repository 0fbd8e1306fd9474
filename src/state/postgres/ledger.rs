//! What budgets keep and share, by account.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::PostgresState;
use super::errors::{state_error, value_error};
use crate::ledger::{Ledger, LedgerEntry, LedgerError, check_text};
use crate::state::StateError;
use crate::state::values::{from_integer, from_text, to_integer, to_text};

#[async_trait]
impl Ledger for PostgresState {
    async fn entry(&self, account: &str) -> Result<Option<LedgerEntry>, LedgerError> {
        let action = format!("read the ledger of {account}");
        let found =
            self.ask(&action, || sqlx::query("SELECT * FROM ledger WHERE account = $1").bind(account).fetch_optional(&self.pool));
        Ok(found.await?.map(|row| read(&action, &row)).transpose()?)
    }

    async fn entries(&self) -> Result<Vec<LedgerEntry>, LedgerError> {
        let action = "read the ledger";
        let rows = self.ask(action, || sqlx::query("SELECT * FROM ledger ORDER BY account").fetch_all(&self.pool)).await?;
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
                "INSERT INTO ledger AS l (account, version, entry, at) VALUES ($1, $3, $4, $5)
                 ON CONFLICT (account) DO UPDATE SET version = $3
                     WHERE $2 = 0 AND l.version = $3 AND l.entry = $4 AND l.at = $5"
            }
            _ => {
                "UPDATE ledger SET version = $3, entry = $4, at = $5
                 WHERE account = $1 AND (version = $2 OR (version = $3 AND entry = $4 AND at = $5))"
            }
        };
        let done = self.ask_once(
            &action,
            sqlx::query(statement)
                .bind(account)
                .bind(before)
                .bind(after)
                .bind(text.as_bytes())
                .bind(to_text(at))
                .execute(&self.pool),
        );
        Ok(done.await?.rows_affected() == 1)
    }

    fn shared_for(&self) -> Option<Duration> {
        Some(self.lease / 2)
    }

    async fn shared_entry(&self, account: &str) -> Result<(Option<LedgerEntry>, Timestamp), LedgerError> {
        let action = format!("read the ledger of {account}");
        // Once: whoever shares looks again soon, and must know between which moments of its own this one lies.
        let row = self.ask_once(
            &action,
            sqlx::query(
                "SELECT ledger.*, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS asked_at
                 FROM (VALUES (1)) AS one LEFT JOIN ledger ON account = $1",
            )
            .bind(account)
            .fetch_one(&self.pool),
        );
        let row = row.await?;
        let sql = |error: sqlx::Error| state_error(&action, &error);
        let asked_at = Timestamp::from_microsecond(row.try_get("asked_at").map_err(sql)?);
        let asked_at = asked_at.map_err(|error| value_error(&action, error.to_string()))?;
        let there: Option<&str> = row.try_get("account").map_err(sql)?;
        let entry = there.map(|_| read(&action, &row)).transpose()?;
        Ok((entry, asked_at))
    }
}

fn read(action: &str, row: &PgRow) -> Result<LedgerEntry, StateError> {
    let sql = |error: sqlx::Error| state_error(action, &error);
    let bad = |message: String| value_error(action, message);
    let bytes: Vec<u8> = row.try_get("entry").map_err(sql)?;
    Ok(LedgerEntry {
        account: row.try_get("account").map_err(sql)?,
        version: from_integer(row.try_get("version").map_err(sql)?).map_err(bad)?,
        text: String::from_utf8(bytes).map_err(|_| bad("the state holds a ledger's entry that is no text".to_owned()))?,
        at: from_text(row.try_get("at").map_err(sql)?).map_err(bad)?,
    })
}
