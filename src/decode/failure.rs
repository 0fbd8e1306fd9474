//! Why a page could not be decoded, made in one place.

use crate::error::ErrorKind;

use super::DecodeError;

impl DecodeError {
    /// The page is fetched again.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        DecodeError::new(ErrorKind::Unavailable, message)
    }

    /// The page is whole and is not what was promised.
    pub(super) fn data(message: impl Into<String>) -> Self {
        DecodeError::new(ErrorKind::Data, message)
    }

    /// A file has to be edited.
    pub(super) fn config(message: impl Into<String>) -> Self {
        DecodeError::new(ErrorKind::Config, message)
    }

    /// `what` is more than the source may send, such as "the unpacked body".
    pub(super) fn beyond_cap(what: &str, body_max: u64) -> Self {
        Self::config(format!("{what} is larger than body_max, ask for smaller pages or raise it: `{body_max}`"))
    }
}
