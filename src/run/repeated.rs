//! A source that gives the same page whatever place is asked for: it does not heed where to go on, and all that lies behind its first
//! page would be missing from a slice that seems whole.

use std::sync::Arc;

use crate::config::catalog::Job;
use crate::decode::RawRecords;
use crate::page::{ParentAt, RawPage};

/// How often in a row a page may come again where its records can be told apart: where answers side by side come from before and
/// after a change, or as many records came in front as a page goes on by. Not at the end: nothing behind it would show that the
/// source does go on.
const KEYED_MAX: u32 = 1;
/// How often it may come again where they cannot, or where it is a single record: others may have moved it, and what has no key may
/// say the same again.
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

    /// Looks at the next page, and whether the source says that it is the last. The error says that it is the one before once more.
    pub(super) fn look(&mut self, page: &RawPage, records: &RawRecords, is_last: bool) -> Result<(), String> {
        let parent = &page.position.parent;
        let is_same = self.before.as_ref().is_some_and(|(of, before)| of == parent && before.iter().eq(records.iter()));
        let count = records.iter().count();
        self.times = if is_same && count > 0 { self.times + 1 } else { 0 };
        let most = match self.is_keyed && count > 1 {
            true if is_last => 0,
            true => KEYED_MAX,
            false => UNKEYED_MAX,
        };
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
            let records = RawRecords::of(records.iter().map(|record| (*record).to_owned()));
            repeated.look(&page, &records, index + 1 == pages.len()).is_err()
        })
    }

    #[test]
    fn the_same_page_again_is_an_error_and_what_may_be_chance_is_none() {
        let (one, other): (&[&str], &[&str]) = (&["1", "2"], &["2", "3"]);
        assert_eq!(look_at(true, &[one, other, one]), None);
        assert_eq!(look_at(true, &[one, other, other]), Some(2), "nothing behind it shows that it was chance");
        assert_eq!(look_at(true, &[one, one, other]), None, "it moved on");
        assert_eq!(look_at(true, &[one, one, one, other]), Some(2));
        assert_eq!(look_at(true, &[&["1"], &["1"], &["2"]]), None, "others moved it to the next page");
        assert_eq!(look_at(true, &[&[], &[], &[]]), None, "the guard of paging counts these");
        assert_eq!(look_at(false, &[one; 11]), None);
        assert_eq!(look_at(false, &[one; 12]), Some(11));
    }
}
