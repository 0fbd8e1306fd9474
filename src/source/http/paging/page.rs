//! Paging by page number.

use crate::config::catalog::CountedEnd;
use crate::page::PageAt;

use super::{Answer, counted, number};

pub(super) fn next(
    start: u64,
    page_size: Option<u64>,
    end: &CountedEnd,
    largest: u64,
    answer: &Answer<'_>,
) -> Result<Option<PageAt>, String> {
    if !counted::more(end, page_size, largest, answer)? {
        return Ok(None);
    }
    let page = number(&answer.at.at, start).ok_or("the position is no page number")?;
    Ok(Some(PageAt::Number(page.saturating_add(1))))
}
