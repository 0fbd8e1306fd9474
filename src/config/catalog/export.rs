//! Records that an API writes out on request: asked for, waited for, then fetched.

use std::time::Duration;

use http::{HeaderName, Method};

use crate::page::ResponsePath;
use crate::template::Template;

use super::RequestBody;

#[derive(Clone, Debug)]
pub struct Export {
    /// Asks for the export; its templates speak of the slice.
    pub create: ExportRequest,
    /// Where the answer to `create` names the export.
    pub id: ResponsePath,
    pub poll: Poll,
    /// Where the answer that tells of the end has the addresses of what is to be fetched; `None`: the stream's own request fetches it.
    pub download: Option<ResponsePath>,
    /// Sent once the slice is committed.
    pub cleanup: Option<ExportRequest>,
}

/// A request beside those for records.
#[derive(Clone, Debug)]
pub struct ExportRequest {
    pub method: Method,
    pub path: Template,
    pub query: Vec<(String, Template)>,
    pub headers: Vec<(HeaderName, Template)>,
    pub body: Option<RequestBody>,
}

/// How an export is waited for.
#[derive(Clone, Debug)]
pub struct Poll {
    /// `None`: what names the export is itself the address to look at.
    pub request: Option<ExportRequest>,
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

impl ExportRequest {
    pub fn templates(&self) -> Vec<&Template> {
        let named = self.query.iter().map(|(_, template)| template).chain(self.headers.iter().map(|(_, template)| template));
        let body = self.body.iter().flat_map(RequestBody::templates);
        std::iter::once(&self.path).chain(named).chain(body).collect()
    }
}
