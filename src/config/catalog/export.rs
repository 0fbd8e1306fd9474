//! Records that an API writes out on request: asked for, waited for, then fetched.

use std::time::Duration;

use http::HeaderName;

use crate::page::ResponsePath;

use super::PlainRequest;

#[derive(Clone, Debug)]
pub struct Export {
    /// Asks for the export; its templates speak of the slice.
    pub create: PlainRequest,
    /// Carries the same key each time that one creation is asked for again, and so makes no second export.
    pub idempotency_header: Option<HeaderName>,
    /// Where the answer to `create` names the export.
    pub id: ResponsePath,
    pub poll: Poll,
    /// Where the answer that tells of the end has the addresses of what is to be fetched; `None`: the stream's own request fetches it.
    pub download: Option<ResponsePath>,
    /// Sent once the slice is committed.
    pub cleanup: Option<PlainRequest>,
}

/// How an export is waited for.
#[derive(Clone, Debug)]
pub struct Poll {
    /// `None`: what names the export is itself the address to look at.
    pub request: Option<PlainRequest>,
    /// Above zero, and no longer than `every_max`.
    pub every: Duration,
    pub every_max: Duration,
    /// From the creation on.
    pub deadline: Duration,
    /// Where the answer says how far it is; `None`: its HTTP status says so, 202 for an export that is under way.
    pub status: Option<ResponsePath>,
    pub done: Vec<String>,
    pub failed: Vec<String>,
    /// Where the answer says why it failed.
    pub message: Option<ResponsePath>,
}
