//! Paging of GraphQL connections: `hasNextPage` and `endCursor` (GraphQL Cursor Connections Specification, section 4).

use crate::page::{Captured, PageAt, ResponsePath};

use super::{Answer, Ask, Written};

pub(super) fn ask(variable: &str, cursor: &str) -> Ask {
    let steps = vec!["variables".to_owned(), variable.to_owned()];
    Ask { body: vec![Written { steps, value: cursor.into() }], ..Ask::default() }
}

pub(super) fn next(has_next: &ResponsePath, end_cursor: &ResponsePath, answer: &Answer<'_>) -> Result<Option<PageAt>, String> {
    match answer.value(has_next)? {
        Some(Captured::Boolean(false)) => return Ok(None),
        Some(Captured::Boolean(true)) => {}
        Some(_) => return Err(format!("`{has_next}` must be a boolean")),
        None => return Err(format!("the answer has no `{has_next}`: ask for pageInfo {{ hasNextPage endCursor }} in the query")),
    }
    match answer.value(end_cursor)? {
        Some(Captured::Text(cursor)) if !cursor.is_empty() => Ok(Some(PageAt::Token(cursor))),
        _ => Err(format!("there is a next page, and no text at `{end_cursor}` to ask for it")),
    }
}
