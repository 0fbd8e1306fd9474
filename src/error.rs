//! What an error means to whoever must act on it.
//!
//! A kind exists only where somebody acts differently on it. Every room has an error enum of its own with one `kind()`;
//! the texts chain into a sentence: `failed to run orders: fetch page 3: decode body: missing field`.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Edit a file; the job is parked until then.
    Config,
    /// Renew a secret; the job is parked until then.
    Auth,
    /// The source asked for patience; no attempt is spent.
    Throttled { retry_at: Option<Timestamp> },
    /// May work later; retried within count and time.
    Unavailable,
    /// The data are not what was declared.
    Data,
    /// Somebody else holds it; step back.
    Conflict,
    /// Asked to stop.
    Cancelled,
    /// Ours: an invariant does not hold.
    Bug,
}

impl ErrorKind {
    /// The word used in logs, states and `--json`.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Config => "config",
            ErrorKind::Auth => "auth",
            ErrorKind::Throttled { .. } => "throttled",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Data => "data",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::Bug => "bug",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The whole chain of an error as one sentence: `outer: inner: innermost`.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Some libraries repeat their source in their own text; saying it twice helps nobody.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}
