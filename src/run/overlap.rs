//! Pages that are counted, read with one record in common: so it is seen when a record that goes, or moves, pulls those behind it to
//! pages that are read already.
//!
//! A page must hold a record of the page before it; then nothing lies between them. Where it holds none, the one before it is asked
//! for, until one does. That needs no order at all, but records that can be told apart: they come twice.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::config::catalog::{Job, Mode, Order, PagingKind};
use crate::decode::RawRecords;
use crate::fault::Guards;
use crate::page::{PageAt, PagePosition, RawPage};

/// Steps back in a row after which the records move faster than they can be read.
const STEPS_MAX: u32 = 20;

pub(super) struct Overlap {
    page_size: u64,
    keyed: RandomState,
    /// The records of the page before.
    before: HashSet<u64>,
    steps: u32,
}

impl Overlap {
    /// `None` where places are not counted in records, or records cannot be told apart, or nobody said that it is worth it.
    pub(super) fn of(job: &Job) -> Option<Self> {
        let PagingKind::Offset { page_size, .. } = &job.stream.paging.kind else { return None };
        let ordered = job.stream.cursor.as_ref().is_some_and(|cursor| cursor.order != Order::None);
        let wanted = ordered
            && job.stream.parent.is_none()
            && job.mode != Mode::Replace
            && !job.stream.primary_key.is_empty()
            && *page_size > 1
            && Guards::standing().pages_overlap;
        wanted.then(|| Overlap { page_size: *page_size, keyed: RandomState::new(), before: HashSet::new(), steps: 0 })
    }

    /// What is asked for after a page of so many records that leads to `next`. The error is that there is no end of moving.
    pub(super) fn follow(
        &mut self,
        page: &RawPage,
        raw: &RawRecords,
        next: Option<PagePosition>,
    ) -> Result<Option<PagePosition>, String> {
        let here: HashSet<u64> = raw.iter().map(|record| self.keyed.hash_one(record)).collect();
        let records = raw.iter().count();
        // Before the first page lies nothing.
        let is_first = page.position.records_before == 0;
        if !is_first && !self.before.is_empty() && self.before.is_disjoint(&here) {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err("records move faster than their pages can be read".to_owned());
            }
            return Ok(Some(stepped(&page.position, self.page_size)));
        }
        self.steps = 0;
        let brings_nothing = !self.before.is_empty() && here.is_subset(&self.before);
        let has_more = next.filter(|_| !brings_nothing || records > 1);
        self.before = here;
        Ok(has_more.map(|next| if records > 1 { back(&next, 1, next.index) } else { next }))
    }
}

/// The page before one.
fn stepped(at: &PagePosition, page_size: u64) -> PagePosition {
    back(at, page_size, at.index + 1)
}

fn back(at: &PagePosition, records: u64, index: u64) -> PagePosition {
    let place = match at.at {
        PageAt::Number(number) => PageAt::Number(number.saturating_sub(records.min(at.records_before))),
        _ => at.at.clone(),
    };
    PagePosition { index, records_before: at.records_before.saturating_sub(records), at: place, parent: at.parent.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixture;

    fn overlap() -> Overlap {
        let source = "[streams.rows]\npath = \"/rows\"\nrecords = \"\"\nprimary_key = [\"id\"]\npaging = { type = \"offset\", offset_param = \"o\", page_size = 3 }\n\
            [streams.rows.cursor]\nfield = \"at\"\ntype = \"timestamp\"\norder = \"ascending\"\nquery = { since = \"{{ from }}\" }";
        Overlap::of(&fixture::job(source, "stream = \"rows\"\nmode = \"append\"")).expect("counted places")
    }

    /// Reads a list that loses its first record after every answer so far; returns what was seen.
    fn read(mut list: Vec<u64>, losses: usize) -> Result<(Vec<u64>, usize), String> {
        let (mut overlap, mut seen, mut answers) = (overlap(), Vec::new(), 0);
        let mut at = Some(PagePosition::start());
        while let Some(position) = at {
            let PagePosition { at: PageAt::Number(first), .. } = &position else {
                at = Some(PagePosition { at: PageAt::Number(0), ..position });
                continue;
            };
            let first = *first as usize;
            let page: Vec<u64> = list.iter().skip(first).take(3).copied().collect();
            answers += 1;
            if answers <= losses {
                list.remove(0);
            }
            seen.extend(&page);
            let next = (!page.is_empty()).then(|| position.after(page.len() as u64, PageAt::Number((first + page.len()) as u64)));
            let raw = RawPage { position: position.clone(), ..RawPage::nothing() };
            at = overlap.follow(&raw, &RawRecords::of(page.iter().map(u64::to_string)), next)?;
        }
        seen.sort_unstable();
        seen.dedup();
        Ok((seen, answers))
    }

    #[test]
    fn what_goes_while_it_is_paged_pulls_nothing_away() {
        // C-22
        for losses in 0..10 {
            let (seen, _) = read((0..30).collect(), losses).expect("read");
            assert_eq!(seen, (0..30).collect::<Vec<u64>>(), "{losses} losses");
        }
        assert_eq!(
            read((0..30).collect(), 0).expect("read").1,
            16,
            "one record a page is read twice, and the last one shows the end"
        );
        assert_eq!(read(Vec::new(), 0), Ok((Vec::new(), 1)));
        assert_eq!(read(vec![1], 0).map(|(seen, _)| seen), Ok(vec![1]));
    }
}
