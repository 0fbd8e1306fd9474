//! What a request carries in its body: templates filled in, and what paging writes. Pure, but for a query's file.

use std::path::Path;

use ::http::HeaderValue;
use bytes::Bytes;
use serde_json::{Map, Value as Json};

use crate::config::catalog::{QueryText, RequestBody};
use crate::error::ErrorKind;
use crate::source::FetchError;
use crate::template::{JsonTemplate, Scope, Template};

use super::paging::Written;

/// Largest file of a query, bytes.
const QUERY_MAX: u64 = 1024 * 1024;

/// A body ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) content_type: HeaderValue,
    pub(super) bytes: Bytes,
}

/// What the bodies of all requests of a stream have in common.
pub(super) enum Draft {
    Json(JsonTemplate),
    Form(Vec<(String, Template)>),
    Text { text: Template, content_type: HeaderValue },
    Graphql { query: String, variables: JsonTemplate },
}

impl Draft {
    /// Reads a query's file. Errors are of kind config.
    pub(super) fn new(body: &RequestBody) -> Result<Self, FetchError> {
        Ok(match body {
            RequestBody::Json(value) => Draft::Json(value.clone()),
            RequestBody::Form(fields) => Draft::Form(fields.clone()),
            RequestBody::Text { text, content_type } => Draft::Text { text: text.clone(), content_type: content_type.clone() },
            RequestBody::Graphql { query, variables } => {
                let query = match query {
                    QueryText::Written(text) => text.clone(),
                    QueryText::File(path) => read_query(path)?,
                };
                Draft::Graphql { query, variables: variables.clone() }
            }
        })
    }

    /// The body of one request. `written` is what paging puts into it. The error says what is wrong, lower case, without a full stop.
    pub(super) fn render(&self, scope: &Scope, written: &[Written]) -> Result<Payload, String> {
        match self {
            Draft::Json(value) => {
                let value = value.render(scope)?.unwrap_or_else(|| Json::Object(Map::new()));
                json(value, written)
            }
            Draft::Graphql { query, variables } => {
                let variables = variables.render(scope).map_err(|why| format!("variables.{why}"))?;
                let mut body = Map::new();
                body.insert("query".to_owned(), Json::from(query.as_str()));
                body.insert("variables".to_owned(), variables.unwrap_or_else(|| Json::Object(Map::new())));
                json(Json::Object(body), written)
            }
            Draft::Form(fields) => form(fields, scope, written),
            Draft::Text { text, content_type } => {
                let bytes = Bytes::from(text.render(scope)?);
                Ok(Payload { content_type: content_type.clone(), bytes })
            }
        }
    }
}

fn json(mut body: Json, written: &[Written]) -> Result<Payload, String> {
    for Written { steps, value } in written {
        put(&mut body, steps, value.clone())?;
    }
    Ok(Payload { content_type: HeaderValue::from_static("application/json"), bytes: Bytes::from(body.to_string()) })
}

/// Puts a value at a path; objects on the way are made.
fn put(at: &mut Json, steps: &[String], value: Json) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        *at = value;
        return Ok(());
    };
    let next = match at {
        Json::Object(fields) => fields.entry(step.clone()).or_insert_with(|| Json::Object(Map::new())),
        Json::Array(items) => {
            let place = step.parse().ok().and_then(|index: usize| items.get_mut(index));
            place.ok_or_else(|| format!("the body has no place `{step}` in its list for the page's token"))?
        }
        _ => return Err(format!("the body has no place for the page's token: what `{step}` should stand in is no object")),
    };
    put(next, rest, value)
}

fn form(fields: &[(String, Template)], scope: &Scope, written: &[Written]) -> Result<Payload, String> {
    let mut entries = Vec::with_capacity(fields.len());
    for (name, template) in fields {
        let value = template.render(scope).map_err(|why| format!("{name}: {why}"))?;
        if !value.is_empty() {
            entries.push((name.clone(), value));
        }
    }
    for Written { steps, value } in written {
        let Some(name) = steps.first() else { continue };
        // What paging says of a field wins, as in a query.
        entries.retain(|(known, _)| known != name);
        entries.push((name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    }
    let bytes = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(entries).finish();
    Ok(Payload { content_type: HeaderValue::from_static("application/x-www-form-urlencoded"), bytes: Bytes::from(bytes) })
}

fn read_query(path: &Path) -> Result<String, FetchError> {
    let wrong = |why: String| FetchError::new(ErrorKind::Config, format!("query_file `{}`: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if length > QUERY_MAX {
        return Err(wrong(format!("a query has at most `{QUERY_MAX}` bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    match text.trim().is_empty() {
        true => Err(wrong("the file is empty".to_owned())),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    fn written(steps: &[&str], value: impl Into<Json>) -> Written {
        Written { steps: steps.iter().map(|step| (*step).to_owned()).collect(), value: value.into() }
    }

    fn text_of(payload: &Payload) -> &str {
        std::str::from_utf8(&payload.bytes).unwrap()
    }

    #[test]
    fn paging_writes_into_json_where_its_path_says() {
        let value =
            JsonTemplate::Object(vec![("filters".to_owned(), JsonTemplate::List(vec![JsonTemplate::Object(Vec::new())]))]);
        let draft = Draft::Json(value);
        let scope = Scope::new();
        let payload = draft.render(&scope, &[written(&["paging", "after"], "t1"), written(&["limit"], 100)]).unwrap();
        assert_eq!(text_of(&payload), r#"{"filters":[{}],"limit":100,"paging":{"after":"t1"}}"#);
        assert_eq!(payload.content_type, "application/json");
        let payload = draft.render(&scope, &[written(&["filters", "0", "after"], "t2")]).unwrap();
        assert_eq!(text_of(&payload), r#"{"filters":[{"after":"t2"}]}"#);
        assert!(draft.render(&scope, &[written(&["filters", "7"], "t")]).unwrap_err().contains("no place `7`"));
    }

    #[test]
    fn a_query_is_sent_as_it_is_and_its_variables_are_filled_in() {
        let variables = JsonTemplate::Object(vec![("since".to_owned(), JsonTemplate::Text(template("{{ from }}")))]);
        let body = RequestBody::Graphql { query: QueryText::Written("{ a(x: \"{{ no }}\") }".to_owned()), variables };
        let draft = Draft::new(&body).unwrap();
        let first = draft.render(&Scope::new().bounds(None, None), &[]).unwrap();
        assert_eq!(text_of(&first), r#"{"query":"{ a(x: \"{{ no }}\") }","variables":{}}"#);
        let next = draft.render(&Scope::new().bounds(Some("2026"), None), &[written(&["variables", "after"], "c1")]).unwrap();
        assert_eq!(text_of(&next), r#"{"query":"{ a(x: \"{{ no }}\") }","variables":{"after":"c1","since":"2026"}}"#);
    }

    #[test]
    fn a_form_leaves_out_what_is_empty_and_encodes_the_rest() {
        let fields = [("a b", "{{ from }}"), ("q", "x&y=1"), ("page", "0")];
        let draft = Draft::Form(fields.map(|(name, text)| (name.to_owned(), template(text))).to_vec());
        let payload = draft.render(&Scope::new().bounds(None, None), &[written(&["page"], 2)]).unwrap();
        assert_eq!(text_of(&payload), "q=x%26y%3D1&page=2");
    }

    #[test]
    fn a_missing_or_empty_query_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.graphql");
        let open = || {
            Draft::new(&RequestBody::Graphql {
                query: QueryText::File(path.clone()),
                variables: JsonTemplate::Object(Vec::new()),
            })
        };
        for (text, part) in [(None, "No such file"), (Some(" \n"), "empty")] {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let error = open().err().unwrap();
            assert_eq!(error.kind, ErrorKind::Config);
            assert!(error.message.contains("orders.graphql") && error.message.contains(part), "{}", error.message);
        }
    }
}
