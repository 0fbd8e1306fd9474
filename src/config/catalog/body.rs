//! What a request carries.

use std::path::PathBuf;

use http::HeaderValue;

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
