//! What a source says of a page.

use crate::error::ErrorKind;

/// What a decoded page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    Records,
    /// An error that came with a status of success. Retried as a page, then the slice fails.
    ErrorInDisguise(String),
    /// The same, and no second attempt would mend it: the slice fails.
    Refused(ErrorKind, String),
    /// It counts as an empty page, the last one.
    Nothing,
    /// The same, and is put among the dead letters with this reason.
    Aside(String),
}

/// Where a page stands to the number of records that an API ever gives for one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    Within,
    /// The answer tells of more records than there will be.
    Announced,
    /// So many have come: there may be more, which are never given.
    Reached,
}

/// Why a page is the last one, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What says so, about the page: `more` is false.
    pub rule: String,
    /// Why it may not be the last one all the same, and what to look at.
    pub doubt: Option<String>,
}
