//! Paging of OData: the next page's address stands in the body (OData JSON Format 4.01, section 4.6.5; version 2 calls it `d.__next`).

use url::Url;

use crate::page::{PageAt, ResponsePath};
use crate::source::http::origin::OriginRule;

use super::{Answer, next_url};

/// Where the address can stand, the newest name first.
pub(super) fn paths() -> Vec<ResponsePath> {
    let plain = ["@odata.nextLink", "@nextLink", "odata.nextLink"].map(|name| vec![name.to_owned()]);
    plain.into_iter().chain([vec!["d".to_owned(), "__next".to_owned()]]).map(ResponsePath::Body).collect()
}

pub(super) fn next(answer: &Answer<'_>, from: &Url, origins: &OriginRule) -> Result<Option<PageAt>, String> {
    for path in paths() {
        if answer.value(&path)?.is_some() {
            return next_url::next(&path, answer, from, origins);
        }
    }
    Ok(None)
}
