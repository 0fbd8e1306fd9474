//! What Postgres's errors mean to us, decided in one place. None of the texts holds an address: a password may stand in it.

use sqlx::error::DatabaseError;

use crate::error::ErrorKind;
use crate::state::StateError;

pub(super) fn state_error(action: &str, error: &sqlx::Error) -> StateError {
    let (kind, message) = judge(error);
    StateError { kind, action: action.to_owned(), message }
}

/// A value that does not fit its column or its type.
pub(super) fn value_error(action: &str, message: String) -> StateError {
    StateError { kind: ErrorKind::Config, action: action.to_owned(), message }
}

pub(super) fn no_answer(action: &str) -> StateError {
    let message = "the Postgres server does not answer".to_owned();
    StateError { kind: ErrorKind::Unavailable, action: action.to_owned(), message }
}

pub(super) fn fenced(action: &str, dataset: &str) -> StateError {
    let message = format!("the lease of `{dataset}` was taken over by another run");
    StateError { kind: ErrorKind::Conflict, action: action.to_owned(), message }
}

fn judge(error: &sqlx::Error) -> (ErrorKind, String) {
    match error {
        sqlx::Error::Database(database) => judge_database(&**database),
        sqlx::Error::Io(io) => (ErrorKind::Unavailable, format!("the Postgres server cannot be reached: {io}")),
        sqlx::Error::Tls(tls) => (ErrorKind::Unavailable, format!("no secure connection to the Postgres server: {tls}")),
        sqlx::Error::PoolTimedOut => (ErrorKind::Unavailable, "the Postgres server does not answer, or is busy".to_owned()),
        sqlx::Error::PoolClosed => (ErrorKind::Cancelled, "the state was closed".to_owned()),
        sqlx::Error::WorkerCrashed => (ErrorKind::Unavailable, "the connection to the Postgres server broke".to_owned()),
        // A connection that ends in the middle of an answer shows as nonsense.
        sqlx::Error::Protocol(_) => (ErrorKind::Unavailable, "the Postgres server's answer was cut off".to_owned()),
        sqlx::Error::Configuration(_) => (ErrorKind::Config, "`state.url` is not an address of a Postgres server".to_owned()),
        other => (ErrorKind::Bug, other.to_string()),
    }
}

/// By SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html.
fn judge_database(error: &dyn DatabaseError) -> (ErrorKind, String) {
    let code = error.code().unwrap_or_default();
    let told = |what: &str| format!("{what}: {} ({code})", error.message());
    match code.as_ref() {
        // It starts, stops, was told to, or is a standby after a failover.
        "57P01" | "57P02" | "57P03" | "25006" => (ErrorKind::Unavailable, told("the Postgres server does not take work now")),
        // Statement or lock took too long, a deadlock, or a transaction that has to be tried again.
        "57014" | "55P03" | "40P01" | "40001" => (ErrorKind::Unavailable, told("the Postgres server is busy")),
        "42501" => (ErrorKind::Config, told("the Postgres server does not let us")),
        "3D000" | "3F000" => (ErrorKind::Config, told("make the database first")),
        code => match code.get(..2).unwrap_or_default() {
            "08" => (ErrorKind::Unavailable, told("the connection to the Postgres server broke")),
            "53" | "58" => (ErrorKind::Unavailable, told("the Postgres server is short of something")),
            "28" => (ErrorKind::Config, told("the Postgres server refuses us")),
            "XX" => (ErrorKind::Config, told("the Postgres database is damaged")),
            _ => (ErrorKind::Bug, told("the Postgres server")),
        },
    }
}
