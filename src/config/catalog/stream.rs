//! One kind of record of an API.

use http::Method;

use crate::page::ResponsePath;
use crate::template::Template;

use super::{Cursor, Paging};

#[derive(Clone, Debug)]
pub struct Stream {
    pub name: String,
    pub method: Method,
    /// Joined below `base_url`'s own path; parts are percent-encoded by position.
    pub path: Template,
    /// In file order; an entry that renders to nothing is left out.
    pub query: Vec<(String, Template)>,
    /// Where the records stand in the body; the root is the body itself.
    pub records: ResponsePath,
    /// The records' list may be missing or null, meaning an empty page.
    pub records_optional: bool,
    /// Dotted paths of the fields that identify a record; may be empty.
    pub primary_key: Vec<String>,
    /// Dotted path of the field that says that a record was deleted.
    pub deleted: Option<String>,
    pub paging: Paging,
    pub cursor: Option<Cursor>,
}
