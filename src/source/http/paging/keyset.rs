//! Paging from behind the last record: the next request names a field of it.

use crate::page::{Captured, PageAt, ResponsePath};

use crate::config::catalog::CountedEnd;

use super::{Answer, counted};

/// Where the field stands in a page: of the last record.
pub(super) fn path(records: &ResponsePath, from: &[String]) -> ResponsePath {
    let ResponsePath::Body(records) = records else { return records.clone() };
    ResponsePath::Body(records.iter().cloned().chain(["-1".to_owned()]).chain(from.iter().cloned()).collect())
}

pub(super) fn next(
    path: &ResponsePath,
    page_size: Option<u64>,
    end: &CountedEnd,
    largest: u64,
    answer: &Answer<'_>,
) -> Result<Option<PageAt>, String> {
    if !counted::more(end, page_size, largest, answer)? {
        return Ok(None);
    }
    match answer.value(path)? {
        Some(Captured::Text(text) | Captured::Number(text)) if !text.is_empty() => Ok(Some(PageAt::Token(text))),
        Some(_) => Err(format!("`from` must lead to a text or number of the last record, at `{path}` stands something else")),
        None if answer.envelope.records == 0 => {
            Err("the page is empty although the answer promises more: there is no last record to go on from".to_owned())
        }
        None => Err(format!("`from` names a field that the last record does not have: `{path}`")),
    }
}
