//! One kind of record of an API.

use http::{HeaderName, Method};

use crate::page::ResponsePath;
use crate::template::Template;

use super::{Cursor, ErrorRule, Export, Format, Packing, Paging, Parent, RequestBody};

#[derive(Clone, Debug)]
pub struct Stream {
    pub name: String,
    pub method: Method,
    /// Joined below `base_url`'s own path; parts are percent-encoded by position.
    pub path: Template,
    /// In file order; an entry that renders to nothing is left out.
    pub query: Vec<(String, Template)>,
    /// Over the source's own.
    pub headers: Vec<(HeaderName, Template)>,
    pub body: Option<RequestBody>,
    /// The stream's own, then the source's.
    pub errors: Vec<ErrorRule>,
    pub format: Format,
    pub packing: Packing,
    /// Where the records stand in the body; the root is the body itself.
    pub records: ResponsePath,
    /// The records' list may be missing or null, meaning an empty page.
    pub records_optional: bool,
    /// One object stands there instead of a list: the one record.
    pub one_record: bool,
    /// Dotted paths of the fields that identify a record; may be empty.
    pub primary_key: Vec<String>,
    /// Dotted path of the field that says that a record was deleted.
    pub deleted: Option<String>,
    /// The values of that field that say so; empty for anything but null, false, 0 and empty.
    pub deleted_is: Vec<String>,
    pub paging: Paging,
    /// Whether a source is asked for what it may say has not changed.
    pub conditional: Conditional,
    pub cursor: Option<Cursor>,
    pub parent: Option<Parent>,
    /// The records are written out on request; the stream's own request, and its paging, fetch them then.
    pub export: Option<Export>,
}

/// By what a request says which answer is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conditional {
    /// By a tag that stands for the content.
    #[default]
    Etag,
    /// By the date of the last change too, where the source gives no tag.
    LastModified,
    Never,
}

impl Stream {
    /// All templates that requests are made of, but the cursor's.
    pub fn templates(&self) -> Vec<&Template> {
        let asked = self.export.iter().flat_map(|export| export.create.templates());
        self.own_templates().into_iter().chain(asked).collect()
    }

    /// Those of the stream's own request.
    pub fn own_templates(&self) -> Vec<&Template> {
        let named = self.query.iter().map(|(_, template)| template).chain(self.headers.iter().map(|(_, template)| template));
        let body = self.body.iter().flat_map(RequestBody::templates);
        std::iter::once(&self.path).chain(named).chain(body).collect()
    }
}
