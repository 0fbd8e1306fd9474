//! What SQLite's errors mean to us, decided in one place.

use std::io;

use sqlx::error::DatabaseError;

use crate::error::ErrorKind;
use crate::state::StateError;

/// Primary result codes, https://www.sqlite.org/rescode.html; extended ones hold them in their low byte.
mod code {
    pub const PERM: i32 = 3;
    pub const BUSY: i32 = 5;
    pub const LOCKED: i32 = 6;
    pub const READONLY: i32 = 8;
    pub const IOERR: i32 = 10;
    pub const CORRUPT: i32 = 11;
    pub const FULL: i32 = 13;
    pub const CANTOPEN: i32 = 14;
    pub const NOTADB: i32 = 26;
}

/// The text for a state that cannot be believed any more.
pub(super) const DAMAGED: &str =
    "the state is damaged; restore a copy of it, or move it away: the next run reads the marks back from the lake";

pub(super) fn state_error(action: &str, error: &sqlx::Error) -> StateError {
    let (kind, message) = judge(error);
    StateError { kind, action: action.to_owned(), message }
}

/// A value that does not fit its column or its type.
pub(super) fn value_error(action: &str, message: String) -> StateError {
    StateError { kind: ErrorKind::Config, action: action.to_owned(), message }
}

fn judge(error: &sqlx::Error) -> (ErrorKind, String) {
    match error {
        sqlx::Error::Database(database) => judge_database(&**database),
        sqlx::Error::Io(io) => judge_io(io),
        sqlx::Error::PoolTimedOut => (ErrorKind::Unavailable, "the state was busy for too long".to_owned()),
        sqlx::Error::PoolClosed => (ErrorKind::Cancelled, "the state was closed".to_owned()),
        other => (ErrorKind::Bug, other.to_string()),
    }
}

fn judge_database(error: &dyn DatabaseError) -> (ErrorKind, String) {
    let extended: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or_default();
    match extended & 0xff {
        code::CORRUPT | code::NOTADB => (ErrorKind::Config, format!("{DAMAGED} ({})", error.message())),
        code::FULL => (ErrorKind::Unavailable, "no space left on the disk".to_owned()),
        code::READONLY => (ErrorKind::Config, "the state may only be read here".to_owned()),
        code::CANTOPEN | code::PERM => (ErrorKind::Config, "the state cannot be opened: see the rights of its folder".to_owned()),
        code::BUSY | code::LOCKED => (ErrorKind::Unavailable, "the state is busy".to_owned()),
        code::IOERR => (ErrorKind::Unavailable, format!("the disk of the state failed: {}", error.message())),
        _ => (ErrorKind::Bug, error.message().to_owned()),
    }
}

pub(super) fn judge_io(error: &io::Error) -> (ErrorKind, String) {
    match error.kind() {
        io::ErrorKind::StorageFull => (ErrorKind::Unavailable, "no space left on the disk".to_owned()),
        io::ErrorKind::PermissionDenied => (ErrorKind::Config, "permission denied".to_owned()),
        io::ErrorKind::ReadOnlyFilesystem => (ErrorKind::Config, "the file system is read-only".to_owned()),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            (ErrorKind::Config, "a part of the path is a file, not a folder".to_owned())
        }
        _ => (ErrorKind::Unavailable, error.to_string()),
    }
}
