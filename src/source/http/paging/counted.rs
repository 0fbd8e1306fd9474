//! How paging by number or offset knows its end.
//!
//! A path that leads nowhere is an error here, not the end: a misspelt `more` would else read one page and call it everything.

use crate::config::catalog::{CountedEnd, Placed};
use crate::page::{Captured, ResponsePath, split_path};

use super::{Answer, Ask, Written};

/// What counted paging adds to a request: its number, and the page's size. In a body the names are paths.
pub(super) fn ask(placed: Placed, number: (&str, u64), size: Option<(&str, u64)>) -> Ask {
    let entries = [Some(number), size].into_iter().flatten();
    match placed {
        Placed::Query => {
            Ask { query: entries.map(|(name, value)| (name.to_owned(), value.to_string())).collect(), ..Ask::default() }
        }
        Placed::Body => {
            // Checked when the files were read.
            let written = |(name, value): (&str, u64)| Some(Written { steps: split_path(name).ok()?, value: value.into() });
            Ask { body: entries.filter_map(written).collect(), ..Ask::default() }
        }
    }
}

/// The path that the end is read from.
pub(super) fn path(end: &CountedEnd) -> Option<&ResponsePath> {
    match end {
        CountedEnd::EmptyPage | CountedEnd::ShortPage => None,
        CountedEnd::More(path) | CountedEnd::Total(path) | CountedEnd::TotalPages(path) => Some(path),
    }
}

/// Whether there is a page after this one. `largest` are the records of the largest page before it.
pub(super) fn more(end: &CountedEnd, page_size: Option<u64>, largest: u64, answer: &Answer<'_>) -> Result<bool, String> {
    let records = answer.envelope.records;
    match end {
        CountedEnd::EmptyPage => Ok(records > 0),
        // Without a size there is nothing to be shorter than; only an empty page is short for certain. And a server may give fewer
        // than it was asked for on every page: one that is no shorter than all before it is not the last for that.
        CountedEnd::ShortPage => Ok(records >= page_size.unwrap_or(1).max(1) || (records > 0 && records >= largest)),
        CountedEnd::More(path) => truth("more", path, answer),
        // Servers cap page sizes silently and totals change while they are paged: what counts is what was received, against
        // the total of this very answer.
        CountedEnd::Total(path) => match count("total", path, answer)? {
            0 if records > 0 => Err(format!(
                "`{path}` tells of 0 records, and {records} came: it is not how many there are; take `total` out, and an empty page is \
                 the end"
            )),
            total => Ok(answer.records_so_far() < total),
        },
        CountedEnd::TotalPages(path) => {
            let pages = count("total_pages", path, answer)?;
            if pages == 0 && records > 0 {
                return Err(format!(
                    "`{path}` tells of 0 pages, and {records} records came: it is not how many there are, or it counts from 0; take \
                     `total_pages` out, and an empty page is the end"
                ));
            }
            // As many pages came as there are, and the last of them is none: another one was left out.
            if records == 0 && answer.at.index > 0 && answer.at.index + 1 == pages {
                return Err(format!(
                    "`{path}` tells of {pages} pages, and the last of them is empty: if the API counts from another page, say so with \
                     `start`; if it tells of a page too many, take `total_pages` out, and an empty page is the end"
                ));
            }
            Ok(answer.at.index + 1 < pages)
        }
    }
}

/// How many records the whole sequence has, where an answer tells.
pub(super) fn total(end: &CountedEnd, answer: &Answer<'_>) -> Option<u64> {
    match end {
        CountedEnd::Total(path) => count("total", path, answer).ok(),
        _ => None,
    }
}

/// The number that an answer tells, of records or of pages.
pub(super) fn told(end: &CountedEnd, answer: &Answer<'_>) -> Option<u64> {
    match end {
        CountedEnd::Total(path) => count("total", path, answer).ok(),
        CountedEnd::TotalPages(path) => count("total_pages", path, answer).ok(),
        CountedEnd::EmptyPage | CountedEnd::More(_) | CountedEnd::ShortPage => None,
    }
}

/// How many pages the whole sequence has, where its first page tells.
pub(super) fn pages(end: &CountedEnd, answer: &Answer<'_>) -> Option<u64> {
    match end {
        CountedEnd::Total(path) => {
            let total = count("total", path, answer).ok()?;
            Some(total.div_ceil(answer.envelope.records.max(1)).max(1))
        }
        CountedEnd::TotalPages(path) => Some(count("total_pages", path, answer).ok()?.max(1)),
        CountedEnd::EmptyPage => (answer.envelope.records == 0).then_some(1),
        CountedEnd::More(_) | CountedEnd::ShortPage => None,
    }
}

pub(super) fn truth(key: &str, path: &ResponsePath, answer: &Answer<'_>) -> Result<bool, String> {
    match answer.value(path)? {
        Some(Captured::Boolean(more)) => Ok(more),
        Some(Captured::Number(text) | Captured::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(format!("`{key}` must be a boolean at `{path}`, the answer has another value there")),
        },
        Some(_) => Err(format!("`{key}` must be a boolean at `{path}`, the answer has a nested value there")),
        None => Err(format!("`{key}` names a path that the answer does not have: `{path}`")),
    }
}

fn count(key: &str, path: &ResponsePath, answer: &Answer<'_>) -> Result<u64, String> {
    let Some(value) = answer.value(path)? else {
        return Err(format!("`{key}` names a path that the answer does not have: `{path}`"));
    };
    let number = value.text().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| format!("`{key}` must be a whole number at `{path}`, the answer has something else there"))
}
