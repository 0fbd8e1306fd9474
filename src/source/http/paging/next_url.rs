//! Paging by the next page's address in the answer.

use url::Url;

use crate::page::{Captured, PageAt, ResponsePath};
use crate::source::http::origin::OriginRule;

use super::Answer;

pub(super) fn next(path: &ResponsePath, answer: &Answer<'_>, from: &Url, origins: &OriginRule) -> Result<Option<PageAt>, String> {
    let link = match answer.value(path)? {
        None | Some(Captured::Boolean(false)) => return Ok(None),
        Some(Captured::Text(link)) => link,
        Some(_) => return Err(format!("`url` must lead to a text, at `{path}` stands something else")),
    };
    if link.trim().is_empty() {
        return Ok(None);
    }
    let (url, _) = origins.follow(from, &link).map_err(|why| format!("the next page is refused: {why}"))?;
    Ok(Some(PageAt::Url(url.into())))
}
