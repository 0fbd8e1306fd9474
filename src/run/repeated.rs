//! A source that gives the same page whatever place is asked for: it does not heed where to go on, and all that lies behind its first
//! page would be missing from a slice that seems whole.

use std::sync::Arc;

use crate::config::catalog::Job;
use crate::decode::RawRecords;
use crate::page::{ParentAt, RawPage};

/// Pages without keys that may say the same one after the other.
const UNKEYED_MAX: u32 = 10;

/// The page before, and how often it came.
pub(super) struct Repeated {
    before: Option<(Option<Arc<ParentAt>>, RawRecords)>,
    /// How often in a row the same came again.
    times: u32,
    /// Records can be told apart.
    is_keyed: bool,
}

impl Repeated {
    pub(super) fn of(job: &Job) -> Self {
        Repeated { before: None, times: 0, is_keyed: !job.stream.primary_key.is_empty() }
    }

    /// Looks at the next page. The error says that it is the one before once more. One record may come twice by itself, because others
    /// have moved it; and what has no key may say the same again.
    pub(super) fn look(&mut self, page: &RawPage, records: &RawRecords) -> Result<(), String> {
        let parent = &page.position.parent;
        let is_same = self.before.as_ref().is_some_and(|(of, before)| of == parent && before.iter().eq(records.iter()));
        let count = records.iter().count();
        self.times = if is_same && count > 0 { self.times + 1 } else { 0 };
        let most = if self.is_keyed && count > 1 { 0 } else { UNKEYED_MAX };
        if self.times > most {
            return Err(format!(
                "page {} has the very records of the page before it: the source does not heed which page is asked for; check the names of the parameters in `paging`",
                page.position.index + 1
            ));
        }
        self.before = Some((parent.clone(), records.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::PagePosition;

    fn look_at(is_keyed: bool, pages: &[&[&str]]) -> Option<usize> {
        let mut repeated = Repeated { before: None, times: 0, is_keyed };
        pages.iter().enumerate().position(|(index, records)| {
            let position = PagePosition { index: index as u64, ..PagePosition::start() };
            let page = RawPage { position, ..RawPage::nothing() };
            repeated.look(&page, &RawRecords::of(records.iter().map(|record| (*record).to_owned()))).is_err()
        })
    }

    #[test]
    fn the_same_page_again_is_an_error_and_what_may_be_chance_is_none() {
        let (one, other): (&[&str], &[&str]) = (&["1", "2"], &["2", "3"]);
        assert_eq!(look_at(true, &[one, other, one]), None);
        assert_eq!(look_at(true, &[one, other, other]), Some(2));
        assert_eq!(look_at(true, &[&["1"], &["1"], &["2"]]), None, "others moved it to the next page");
        assert_eq!(look_at(true, &[&[], &[], &[]]), None, "the guard of paging counts these");
        assert_eq!(look_at(false, &[one; 11]), None);
        assert_eq!(look_at(false, &[one; 12]), Some(11));
    }
}
