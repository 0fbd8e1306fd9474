//! What an answer means to one API alone.

use std::time::Duration;

use crate::page::ResponsePath;

/// A rule for answers; the first that holds counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorRule {
    /// Empty: any status.
    pub status: Vec<u16>,
    /// Where to look; `None`: the body's text.
    pub at: Option<ResponsePath>,
    /// One of these stands there, as text.
    pub is: Vec<String>,
    /// In lower case.
    pub contains: Option<String>,
    pub then: Then,
    pub message: Option<String>,
}

/// What to do about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Ask again, as after a server's error.
    Retry,
    /// Ask again after so long; costs no attempt.
    Wait(Duration),
    /// Ask again with another token, as after a 401.
    Refresh,
    /// The slice fails at once.
    Fail,
    /// Take it for an empty page, the last one.
    Skip,
    /// The same, and put it among the dead letters; in a table that is replaced the slice fails.
    DeadLetter,
}
