//! From an address to a state that can be worked with: connection, version, migrations.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};

use super::errors::{no_answer, state_error};
use super::{CALL, LEASE, PostgresState};
use crate::clock::Clock;
use crate::config::secret::{ExposeSecret, SecretString};
use crate::error::ErrorKind;
use crate::state::StateError;

static MIGRATIONS: Migrator = sqlx::migrate!("src/state/postgres/migrations");

/// Calls are short and take their turn; a server has a hundred connections for all daemons and everybody else.
const CONNECTIONS: u32 = 4;
/// How long a caller waits for its turn, or for a new connection.
const TURN: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(300);
/// How long a connection has to answer that comes back, or is taken again: one that is silent is given up for another.
const HERE: Duration = Duration::from_secs(3);
/// How long an opening is tried: daemon and server may be started together.
const OPENING: Duration = Duration::from_secs(15);
/// How long bringing the tables up to date may take: of a large table, or behind another process that does it.
const MIGRATION: Duration = Duration::from_secs(600);

const ACTION: &str = "open the state";

pub(super) async fn for_working(url: &SecretString, clock: Arc<dyn Clock>, lease: Duration) -> Result<PostgresState, StateError> {
    let pool = connect(url, &[], &clock)?;
    let mut state = PostgresState::new(pool, clock, String::new(), lease);
    if let Found::Newer(version) = state.ask_for(OPENING, ACTION, || found(&state.pool)).await? {
        return Err(newer(version));
    }
    // Under a lock of the server, so that processes that start together wait for the first.
    if let Err(error) = state.ask_within(OPENING, (MIGRATION, MIGRATION), ACTION, || migrate(&state.pool)).await? {
        return Err(refused(&error));
    }
    let process = state.ask(ACTION, || sqlx::query_scalar("SELECT gen_random_uuid()::text").fetch_one(&state.pool)).await?;
    state.process = process;
    Ok(state)
}

pub(super) async fn for_reading(url: &SecretString, clock: Arc<dyn Clock>) -> Result<Option<PostgresState>, StateError> {
    let pool = connect(url, &[("default_transaction_read_only", "on")], &clock)?;
    let state = PostgresState::new(pool, clock, String::new(), LEASE);
    match state.ask(ACTION, || found(&state.pool)).await? {
        Found::Nothing => Ok(None),
        Found::Current => Ok(Some(state)),
        Found::Newer(version) => Err(newer(version)),
        Found::Older => {
            let message = "its tables are an older highwater's; `highwater run` or `serve` brings them up to date".to_owned();
            Err(StateError { kind: ErrorKind::Config, action: ACTION.to_owned(), message })
        }
    }
}

/// Nothing is connected yet: the pool does that when it is asked.
fn connect(url: &SecretString, settings: &[(&str, &str)], clock: &Arc<dyn Clock>) -> Result<PgPool, StateError> {
    let options = PgConnectOptions::from_str(url.expose_secret()).map_err(|error| state_error(ACTION, &error))?;
    let limits = [("statement_timeout", "18s"), ("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "60s")];
    let options = options.application_name("highwater").options(limits).options(settings.iter().copied());
    let (back, again) = (Arc::clone(clock), Arc::clone(clock));
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(TURN).idle_timeout(IDLE);
    // The pool would wait for an answer as long as that takes: a connection that is silent would keep its place for ever, and four
    // of them the state.
    let pool = pool
        .after_release(move |connection, _| Box::pin(answers(Arc::clone(&back), connection)))
        .test_before_acquire(false)
        .before_acquire(move |connection, _| Box::pin(answers(Arc::clone(&again), connection)));
    Ok(pool.connect_lazy_with(options))
}

async fn answers(clock: Arc<dyn Clock>, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    tokio::select! {
        answer = connection.ping() => answer.map(|()| true),
        () = clock.sleep(HERE) => Err(sqlx::Error::WorkerCrashed),
    }
}

enum Found {
    Nothing,
    Older,
    Current,
    Newer(i64),
}

async fn found(pool: &PgPool) -> Result<Found, sqlx::Error> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(pool).await?;
    if !there {
        return Ok(Found::Nothing);
    }
    let version: Option<i64> =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success").fetch_one(pool).await?;
    let ours = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    Ok(match version {
        None => Found::Nothing,
        Some(version) if version > ours => Found::Newer(version),
        Some(version) if version == ours => Found::Current,
        Some(_) => Found::Older,
    })
}

fn newer(version: i64) -> StateError {
    let message =
        format!("it was written by a newer highwater (tables of version {version}); run that one, or restore an older copy");
    StateError { kind: ErrorKind::Config, action: ACTION.to_owned(), message }
}

/// A migration is one transaction, and may be tried again where the connection broke; the inner error is one that stays.
async fn migrate(pool: &PgPool) -> Result<Result<(), MigrateError>, sqlx::Error> {
    match MIGRATIONS.run(pool).await {
        Ok(()) => Ok(Ok(())),
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => Err(error),
        Err(other) => Ok(Err(other)),
    }
}

fn refused(error: &MigrateError) -> StateError {
    match error {
        // Another process was newer and quicker.
        MigrateError::VersionMissing(version) => newer(*version),
        // Tables that were made by another program, or changed by hand.
        other => StateError { kind: ErrorKind::Config, action: ACTION.to_owned(), message: other.to_string() },
    }
}

/// Reads something, once: whoever pings wants to know whether it answers now.
pub(super) async fn ping(state: &PostgresState) -> Result<(), StateError> {
    let action = "ask the state";
    let read = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM _sqlx_migrations").fetch_one(&state.pool);
    state.attempt(CALL, action, read).await.map(drop)
}

/// Gives back what this process still holds, so that nobody waits for the end of its leases, and closes the connections.
pub(super) async fn end(state: &PostgresState) {
    let action = "give back all leases";
    if !state.process.is_empty() {
        let given =
            sqlx::query("UPDATE dataset SET owner = NULL, process = NULL, token = NULL, lease_until = NULL WHERE process = $1")
                .bind(&state.process)
                .execute(&state.pool);
        if let Err(error) = state.ask_once(action, given).await {
            tracing::debug!(%error, "leases end by themselves");
        }
    }
    tokio::select! {
        () = state.pool.close() => {}
        () = state.clock.sleep(CALL) => tracing::debug!("{}", no_answer("close the state")),
    }
}
