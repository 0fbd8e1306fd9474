//! Exit codes: one meaning each, from one total match.

use serde::{Deserialize, Serialize};

use crate::error::ErrorKind;

/// How a command ended, from best to worst: of several ends the greatest is the command's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Done,
    /// Somebody else holds the state, the source asked for patience, or the run was stopped: the same command works later.
    TryLater,
    /// A file or a secret has to be changed first.
    Config,
    /// A run failed, or a table is not what it should be.
    Failed,
    /// The command line itself.
    Usage,
}

impl Exit {
    /// The process's exit code; 64 and above as in BSD's `sysexits.h`.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 64,
            Exit::TryLater => 75,
            Exit::Config => 78,
        }
    }

    /// The word for `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::TryLater => "try_later",
            Exit::Config => "config",
        }
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Config => Exit::Config,
            ErrorKind::Throttled { .. } | ErrorKind::Conflict | ErrorKind::Cancelled => Exit::TryLater,
            // A refused secret was found by asking the API: the run was tried and failed.
            ErrorKind::Auth | ErrorKind::Unavailable | ErrorKind::Data | ErrorKind::Bug => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_own_documented_code() {
        let ends = [Exit::Done, Exit::Failed, Exit::Usage, Exit::TryLater, Exit::Config];
        assert_eq!(ends.map(Exit::code), [0, 1, 64, 75, 78]);
        for end in ends {
            assert_eq!(serde_json::to_string(&end).expect("JSON"), format!("\"{}\"", end.name()));
        }
    }

    #[test]
    fn a_failed_run_outweighs_a_bad_file_and_that_outweighs_patience() {
        let worst = [Exit::TryLater, Exit::Failed, Exit::Config, Exit::Done].into_iter().max();
        assert_eq!(worst, Some(Exit::Failed));
        assert_eq!([Exit::TryLater, Exit::Config].into_iter().max(), Some(Exit::Config));
    }

    #[test]
    fn each_kind_of_error_has_its_exit() {
        let of = |kind: ErrorKind| Exit::from(kind).code();
        assert_eq!(of(ErrorKind::Config), 78);
        assert_eq!(of(ErrorKind::Throttled { retry_at: None }), 75);
        assert_eq!(of(ErrorKind::Conflict), 75);
        assert_eq!(of(ErrorKind::Cancelled), 75);
        for kind in [ErrorKind::Auth, ErrorKind::Unavailable, ErrorKind::Data, ErrorKind::Bug] {
            assert_eq!(of(kind), 1);
        }
    }
}
