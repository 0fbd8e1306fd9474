//! What the environment says. Read once, here, and injected: no other room looks at it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::state::postgres::LEASE;

/// The variables that highwater knows. Secrets are looked up by name when a run begins (`secrets.rs`).
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `STATE_DIRECTORY`, set by systemd: where relative paths of state and local sinks lie.
    pub state_folder: Option<PathBuf>,
    /// `CREDENTIALS_DIRECTORY`, set by systemd: where `{ credential = ".." }` is looked up.
    pub credentials_folder: Option<PathBuf>,
    /// `NO_COLOR` (<https://no-color.org>): set and not empty.
    pub no_color: bool,
    /// `USER`, else `LOGNAME`: who asked, for the log of what was done by hand.
    pub user: Option<String>,
    /// `HIGHWATER_LOG`: a level, or `tracing` directives such as `highwater=debug,sqlx=warn`.
    pub log: Option<String>,
    /// `JOURNAL_STREAM`, set by systemd: device and inode of the stream that leads to the journal.
    pub journal_stream: Option<String>,
    /// `HIGHWATER_FAULT`, `HIGHWATER_MUTANT`, `HIGHWATER_FAULT_LOG`: tests only, and unknown to a release build.
    #[cfg(debug_assertions)]
    pub fault: Option<String>,
    #[cfg(debug_assertions)]
    pub mutant: Option<String>,
    #[cfg(debug_assertions)]
    pub fault_log: Option<PathBuf>,
    /// `HIGHWATER_LEASE_MS`: tests only, which cannot wait for a lease of a minute to end.
    #[cfg(debug_assertions)]
    pub lease: Option<Duration>,
}

impl Environment {
    pub fn read() -> Self {
        Environment {
            state_folder: text("STATE_DIRECTORY").and_then(|list| first_folder(&list)),
            credentials_folder: text("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            no_color: text("NO_COLOR").is_some(),
            user: text("USER").or_else(|| text("LOGNAME")),
            log: text("HIGHWATER_LOG"),
            journal_stream: text("JOURNAL_STREAM"),
            #[cfg(debug_assertions)]
            fault: text("HIGHWATER_FAULT"),
            #[cfg(debug_assertions)]
            mutant: text("HIGHWATER_MUTANT"),
            #[cfg(debug_assertions)]
            fault_log: text("HIGHWATER_FAULT_LOG").map(PathBuf::from),
            #[cfg(debug_assertions)]
            lease: text("HIGHWATER_LEASE_MS").and_then(|length| length.parse().ok()).map(Duration::from_millis),
        }
    }
}

impl Environment {
    /// How long a lease of a shared state holds.
    pub fn lease(&self) -> Duration {
        #[cfg(debug_assertions)]
        if let Some(lease) = self.lease {
            return lease;
        }
        LEASE
    }
}

/// A variable as text; unset, empty and not being UTF-8 are the same: `None`.
fn text(name: &str) -> Option<String> {
    raw(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
}

/// A variable as it stands.
pub fn raw(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// systemd joins several `StateDirectory=` by colons; the first is ours.
fn first_folder(list: &str) -> Option<PathBuf> {
    list.split(':').find(|folder| !folder.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_state_folders_is_ours() {
        assert_eq!(first_folder("/var/lib/a:/var/lib/b"), Some(PathBuf::from("/var/lib/a")));
        assert_eq!(first_folder(":"), None);
    }
}
