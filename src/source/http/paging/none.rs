//! One page is all there is.

use crate::page::PageAt;

pub(super) fn next() -> Result<Option<PageAt>, String> {
    Ok(None)
}
