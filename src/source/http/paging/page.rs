//! Paging by page number.

use crate::config::catalog::CountedEnd;
use crate::page::PageAt;

use super::{Answer, Ask, counted, number};

pub(super) fn ask(param: &str, page: u64, size_param: Option<&str>, page_size: Option<u64>) -> Ask {
    let mut query = vec![(param.to_owned(), page.to_string())];
    if let (Some(name), Some(size)) = (size_param, page_size) {
        query.push((name.to_owned(), size.to_string()));
    }
    Ask { query, ..Ask::default() }
}

pub(super) fn next(start: u64, page_size: Option<u64>, end: &CountedEnd, answer: &Answer<'_>) -> Result<Option<PageAt>, String> {
    if !counted::more(end, page_size, answer)? {
        return Ok(None);
    }
    let page = number(&answer.at.at, start).ok_or("the position is no page number")?;
    Ok(Some(PageAt::Number(page.saturating_add(1))))
}
