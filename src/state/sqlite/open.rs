//! From a path to a state that can be trusted: lock, integrity, version, migrations.

use std::cmp::Ordering;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection};

use super::errors::{DAMAGED, judge_io, state_error};
use super::{Flush, SqliteState, commit, history};
use crate::error::ErrorKind;
use crate::fault::Guards;
use crate::state::StateError;

static MIGRATIONS: Migrator = sqlx::migrate!("src/state/migrations");

/// How long a transaction waits for a reader that copies the log back, or for whatever else holds the file.
const BUSY: Duration = Duration::from_secs(10);

/// How long a caller waits for its turn.
const TURN: Duration = Duration::from_secs(60);

/// Takes what lies beside a state for this process alone, for as long as the file lives: spools and the daemon's socket.
///
/// # Errors
/// `Conflict` if another process has it.
pub(in crate::state) fn take_folder(path: &Path) -> Result<File, StateError> {
    let action = "take the state's folder";
    take_lock(path).map_err(|failure| failure.into_error(action, path))
}

pub(super) async fn for_writing(path: &Path) -> Result<SqliteState, StateError> {
    let action = action(path);
    let lock = take_lock(path).map_err(|failure| failure.into_error(&action, path))?;
    make_file(path).map_err(|error| io_error(&action, &error))?;
    let pool = connect(&action, options(path)).await?;
    check_integrity(&action, &pool).await?;
    let found = found(&action, &pool).await?;
    if let Found::Newer(version) = found {
        return Err(newer(&action, version));
    }
    let logged = is_logged(&action, &pool).await?;
    let state = SqliteState::new(pool, path, Some(lock), logged);
    if !matches!(found, Found::Current) {
        migrate(&action, &state, matches!(found, Found::Empty)).await?;
    }
    history::bury_runs(&state).await?;
    Ok(state)
}

pub(super) async fn for_reading(path: &Path) -> Result<SqliteState, StateError> {
    let action = action(path);
    let config = |message: &str| StateError { kind: ErrorKind::Config, action: action.clone(), message: message.to_owned() };
    if !path.exists() {
        return Err(config("there is no state yet: nothing was run in this project"));
    }
    let pool = connect(&action, options(path).read_only(true).create_if_missing(false)).await?;
    match found(&action, &pool).await? {
        Found::Current | Found::Altered => Ok(SqliteState::new(pool, path, None, false)),
        Found::Newer(version) => Err(newer(&action, version)),
        Found::Empty | Found::Older => {
            Err(config("the state is of an older highwater, or not finished; `highwater run` or `serve` brings it up to date"))
        }
    }
}

pub(super) async fn examine(path: &Path) -> Result<(), StateError> {
    let state = for_reading(path).await?;
    check_integrity(&action(path), &state.pool).await
}

fn action(path: &Path) -> String {
    format!("open the state `{}`", path.display())
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .foreign_keys(true)
}

async fn connect(action: &str, options: SqliteConnectOptions) -> Result<SqlitePool, StateError> {
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(TURN).idle_timeout(None).max_lifetime(None);
    // A full disk makes SQLite roll back by itself; sqlx then counts a transaction that is no more and begins no other on that
    // connection. It is closed, and the next caller gets a new one.
    let pool = pool.after_release(|connection, _| {
        Box::pin(async move {
            // Behind the rollback that a dropped transaction has sent off.
            connection.ping().await?;
            Ok(!connection.is_in_transaction())
        })
    });
    pool.connect_with(options).await.map_err(|error| state_error(action, &error))
}

enum LockFailure {
    Held,
    Io(io::Error),
}

impl LockFailure {
    fn into_error(self, action: &str, path: &Path) -> StateError {
        match self {
            LockFailure::Held => StateError {
                kind: ErrorKind::Conflict,
                action: action.to_owned(),
                message: format!("another highwater process works with this state (`{}`)", path.display()),
            },
            LockFailure::Io(error) => io_error(action, &error),
        }
    }
}

/// The lock goes with the process, however it ends: the kernel drops it.
fn take_lock(path: &Path) -> Result<File, LockFailure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(LockFailure::Io)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().create(true).append(true).open(PathBuf::from(name)).map_err(LockFailure::Io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) if !Guards::standing().one_process => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LockFailure::Held),
        Err(TryLockError::Error(error)) => Err(LockFailure::Io(error)),
    }
}

/// Makes the file for its owner's eyes only, for it holds tokens; SQLite gives the files beside it the same rights.
fn make_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn io_error(action: &str, error: &io::Error) -> StateError {
    let (kind, message) = judge_io(error);
    StateError { kind, action: action.to_owned(), message }
}

/// Looks at every page. The state is small: history is bounded, coverage is merged.
async fn check_integrity(action: &str, pool: &SqlitePool) -> Result<(), StateError> {
    let found: String =
        sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(pool).await.map_err(|error| state_error(action, &error))?;
    match found.as_str() {
        "ok" => Ok(()),
        damage => {
            let message = format!("{DAMAGED} ({})", damage.replace('\n', " "));
            Err(StateError { kind: ErrorKind::Config, action: action.to_owned(), message })
        }
    }
}

enum Found {
    /// Nobody made its tables yet.
    Empty,
    Older,
    /// Made by the very migrations of this program.
    Current,
    /// Up to the same version, by others, or not all of them whole.
    Altered,
    Newer(i64),
}

async fn found(action: &str, pool: &SqlitePool) -> Result<Found, StateError> {
    let told = |error: sqlx::Error| state_error(action, &error);
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
        .fetch_one(pool)
        .await
        .map_err(told)?;
    if tables == 0 {
        return Ok(Found::Empty);
    }
    let made: Vec<(i64, Vec<u8>, bool)> =
        sqlx::query_as("SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version")
            .fetch_all(pool)
            .await
            .map_err(told)?;
    let ours = MIGRATIONS.iter().map(|migration| (migration.version, &*migration.checksum, true));
    if made.iter().map(|(version, checksum, success)| (*version, checksum.as_slice(), *success)).eq(ours.clone()) {
        return Ok(Found::Current);
    }
    let newest = made.iter().filter(|(_, _, success)| *success).map(|(version, ..)| *version).max().unwrap_or_default();
    let last = ours.map(|(version, ..)| version).max().unwrap_or_default();
    Ok(match newest.cmp(&last) {
        Ordering::Greater => Found::Newer(newest),
        Ordering::Equal => Found::Altered,
        Ordering::Less => Found::Older,
    })
}

fn newer(action: &str, version: i64) -> StateError {
    let message =
        format!("it was written by a newer highwater (tables of version {version}); run that one, or restore an older copy");
    StateError { kind: ErrorKind::Config, action: action.to_owned(), message }
}

/// Whether the file has a log ahead of it, which not every file system can have.
async fn is_logged(action: &str, pool: &SqlitePool) -> Result<bool, StateError> {
    let mode: Result<String, _> = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await;
    mode.map(|mode| mode == "wal").map_err(|error| state_error(action, &error))
}

/// All migrations that are missing, in one transaction: power that fails leaves the state as it was, or with all of them.
async fn migrate(action: &str, state: &SqliteState, is_empty: bool) -> Result<(), StateError> {
    let mut transaction = state.begin(action, Flush::WithTheNext).await?;
    if is_empty {
        // The same as one after the other, in fewer steps: each is a way to the file's thread and back, which a first run waits for.
        let all: Vec<&str> = MIGRATIONS.iter().map(|migration| migration.sql.as_str()).collect();
        let made = sqlx::raw_sql(AssertSqlSafe(all.join("\n"))).execute(&mut *transaction).await;
        made.map_err(|error| state_error(action, &error))?;
    }
    // What `run` and `skip` do: tables that were just made are only told of. Through these it would be no future that can be sent.
    match MIGRATIONS.run_direct(None, &mut *transaction, is_empty).await {
        Ok(()) => commit(action, transaction).await,
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => Err(state_error(action, &error)),
        // Tables that were made by another program, or changed by hand.
        Err(other) => Err(StateError { kind: ErrorKind::Config, action: action.to_owned(), message: other.to_string() }),
    }
}

/// Reads a page of the file, in turn with everybody else: a transaction that hangs shows.
pub(super) async fn ping(state: &SqliteState) -> Result<(), StateError> {
    let read: Result<i64, _> = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations").fetch_one(&state.pool).await;
    read.map(drop).map_err(|error| state_error("ask the state", &error))
}
