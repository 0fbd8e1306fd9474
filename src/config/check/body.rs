//! `body = { ... }` of a request.

use std::collections::BTreeSet;
use std::path::Path;

use http::HeaderValue;

use crate::config::catalog::{QueryText, RequestBody};
use crate::config::node::Table;
use crate::config::problem::{Report, quote};
use crate::template::JsonTemplate;

use super::names::{self, Position};

const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// `root` is the project's folder.
pub(super) fn check(
    table: &Table,
    root: &Path,
    position: Position,
    parameters: &BTreeSet<String>,
    report: &mut Report,
) -> Option<RequestBody> {
    let body = match table.text("type")?.as_str() {
        "json" => RequestBody::Json(table.json("value")?),
        "form" => RequestBody::Form(
            table.map("fields").iter().filter_map(|(name, node)| Some((name.clone(), node.template()?.clone()))).collect(),
        ),
        "text" => RequestBody::Text { text: table.template("text")?, content_type: content_type(table, report)? },
        _ => graphql(table, root, report)?,
    };
    for template in body.templates() {
        names::check(template, &table.at, position, parameters, report);
    }
    Some(body)
}

fn content_type(table: &Table, report: &mut Report) -> Option<HeaderValue> {
    let text = table.text("content_type").unwrap_or_else(|| TEXT_TYPE.to_owned());
    let value = HeaderValue::from_str(&text).ok().filter(|_| text.contains('/'));
    if value.is_none() {
        report.error(
            &table.place("content_type"),
            format!("{} is not a media type", quote(&text)),
            "write one, such as \"application/sparql-query\"",
        );
    }
    value
}

fn graphql(table: &Table, root: &Path, report: &mut Report) -> Option<RequestBody> {
    let query = match (table.text("query"), table.text("query_file")) {
        (Some(text), None) => {
            if text.contains("{{") {
                // Two braces in a row are no template here; whoever writes them most often means one.
                report.warning(
                    &table.place("query"),
                    "the query's text is no template",
                    "use a variable of the query, and the template in `variables`",
                );
            }
            QueryText::Written(text)
        }
        (None, Some(file)) => QueryText::File(root.join(file)),
        (None, None) => {
            report.error(&table.at, "there is no query", "write `query`, or `query_file`");
            return None;
        }
        (Some(_), Some(_)) => {
            report.error(&table.place("query_file"), "the query is given twice", "keep one of `query` and `query_file`");
            return None;
        }
    };
    let variables = table.map("variables").iter().filter_map(|(name, node)| Some((name.clone(), node.json()?.clone()))).collect();
    Some(RequestBody::Graphql { query, variables: JsonTemplate::Object(variables) })
}
