//! What a request carries.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue, Method};

use crate::template::{JsonTemplate, Template};

#[derive(Clone, Debug)]
pub enum RequestBody {
    Json(JsonTemplate),
    /// In file order; a field that renders to nothing is left out.
    Form(Vec<(String, Template)>),
    Text {
        text: Template,
        content_type: HeaderValue,
    },
    Graphql {
        query: QueryText,
        /// An object.
        variables: JsonTemplate,
    },
}

/// A GraphQL query; it is sent as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryText {
    Written(String),
    /// Read when the source is opened.
    File(PathBuf),
}

impl RequestBody {
    /// All templates in it.
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            RequestBody::Json(value) => value.templates(),
            RequestBody::Form(fields) => fields.iter().map(|(_, template)| template).collect(),
            RequestBody::Text { text, .. } => vec![text],
            RequestBody::Graphql { variables, .. } => variables.templates(),
        }
    }
}

/// A request beside those for records.
#[derive(Clone, Debug)]
pub struct PlainRequest {
    pub method: Method,
    pub path: Template,
    pub query: Vec<(String, Template)>,
    pub headers: Vec<(HeaderName, Template)>,
    pub body: Option<RequestBody>,
}

impl PlainRequest {
    pub fn templates(&self) -> Vec<&Template> {
        let named = self.query.iter().map(|(_, template)| template).chain(self.headers.iter().map(|(_, template)| template));
        let body = self.body.iter().flat_map(RequestBody::templates);
        std::iter::once(&self.path).chain(named).chain(body).collect()
    }
}
