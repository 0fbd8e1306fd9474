//! Paging by the number of records before a page.

use crate::config::catalog::CountedEnd;
use crate::page::PageAt;

use super::{Answer, counted, number};

pub(super) fn next(
    start: u64,
    page_size: u64,
    end: &CountedEnd,
    largest: u64,
    answer: &Answer<'_>,
) -> Result<Option<PageAt>, String> {
    if !counted::more(end, Some(page_size), largest, answer)? {
        return Ok(None);
    }
    let offset = number(&answer.at.at, start).ok_or("the position is no offset")?;
    if answer.envelope.records == 0 {
        return Err(format!(
            "the page at offset `{offset}` is empty although the answer promises more; the API may not page that far, so ask for less \
             with window.step, or check the path of the end"
        ));
    }
    // By what came, not by what was asked for: a server that caps the page size would else make us skip records.
    Ok(Some(PageAt::Number(offset.saturating_add(answer.envelope.records))))
}
