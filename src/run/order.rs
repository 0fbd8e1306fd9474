//! What it is worth that an API sends its records in the order of their cursor.
//!
//! The order is the source's promise, and is watched: once a record stands where it should not, the slice is read on as if there were
//! no order, to its end. Values within one `precision` of each other may stand in any order, for APIs round what they sort by.

use crate::config::catalog::{Cursor, Job, Mode, Order};
use crate::cursor::CursorKey;
use crate::page::{PagePosition, RawPage};
use crate::plan;
use crate::slice::{Reach, Slice, Span};

use super::RunError;
use super::overlap::Overlap;
use super::recent::Recent;

/// Pages after which what was read is committed, if the order allows it.
const PAGES_MAX: u64 = 100;

/// The cursors of one page, whatever becomes of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageOrder {
    least: CursorKey,
    pub greatest: CursorKey,
    rises: bool,
    falls: bool,
}

impl PageOrder {
    /// `None` for a page without a cursor. `slop` is how far a record may stand from its place.
    pub(super) fn of(values: &[CursorKey], slop: i128) -> Option<Self> {
        let first = values.first()?;
        let mut order = PageOrder { least: first.clone(), greatest: first.clone(), rises: true, falls: true };
        for value in &values[1..] {
            order.rises &= !is_below(value, &order.greatest, slop);
            order.falls &= !is_below(&order.least, value, slop);
            if *value < order.least {
                order.least = value.clone();
            }
            if *value > order.greatest {
                order.greatest = value.clone();
            }
        }
        Some(order)
    }
}

/// Whether a value lies further below another one than it may.
fn is_below(value: &CursorKey, other: &CursorKey, slop: i128) -> bool {
    match (value, other) {
        (CursorKey::Number(value), CursorKey::Number(other)) => value.saturating_add(slop) < *other,
        (value, other) => value < other,
    }
}

/// How far records may stand from their place, in microseconds.
pub(super) fn slop(cursor: &Cursor) -> i128 {
    if cursor.cursor_type.is_time() { cursor.precision.as_micros() } else { 0 }
}

/// Follows the pages of a slice whose source keeps an order.
pub(super) struct Progress {
    cursor: Cursor,
    slop: i128,
    /// Of all pages.
    greatest: Option<CursorKey>,
    least: Option<CursorKey>,
    /// Of the pages that one after the other led to; pages that were read before come again where records have moved.
    reached: Option<CursorKey>,
    pages: u64,
}

impl Progress {
    /// `None` where no order is kept, or nothing is gained by it.
    pub(super) fn of(job: &Job) -> Option<Self> {
        let cursor = job.stream.cursor.as_ref().filter(|cursor| cursor.order != Order::None && job.mode != Mode::Replace)?;
        // The records of one parent come behind those of another, whatever their order.
        if job.stream.parent.is_some() {
            return None;
        }
        Some(Progress { cursor: cursor.clone(), slop: slop(cursor), greatest: None, least: None, reached: None, pages: 0 })
    }

    pub(super) fn rises(&self) -> bool {
        self.cursor.order == Order::Ascending
    }

    /// Takes a page in; false where it is out of order.
    pub(super) fn take(&mut self, page: &PageOrder) -> bool {
        let keeps = match self.cursor.order {
            Order::None => false,
            Order::Ascending => {
                page.rises && self.reached.as_ref().is_none_or(|reached| !is_below(&page.least, reached, self.slop))
            }
            Order::Descending => {
                page.falls && self.least.as_ref().is_none_or(|least| !is_below(least, &page.greatest, self.slop))
            }
        };
        for known in [&mut self.greatest, &mut self.reached] {
            if known.as_ref().is_none_or(|known| *known < page.greatest) {
                *known = Some(page.greatest.clone());
            }
        }
        if self.least.as_ref().is_none_or(|least| page.least < *least) {
            self.least = Some(page.least.clone());
        }
        self.pages += 1;
        keeps
    }

    /// Whether no page to come can hold anything that the slice wants.
    pub(super) fn is_over(&self, reach: &Reach) -> bool {
        let (Some(least), Some(greatest)) = (&self.least, &self.greatest) else { return false };
        match (self.cursor.order, reach) {
            (Order::Ascending, Reach::Time(span)) => {
                greatest.number().is_some_and(|greatest| greatest.saturating_sub(self.slop) >= micros(span.to))
            }
            (Order::Descending, Reach::Time(Span { from: Some(from), .. })) => {
                is_below(least, &CursorKey::Number(micros(*from)), self.slop)
            }
            (Order::Descending, Reach::Mark(Some(mark))) => *least < mark.value,
            _ => false,
        }
    }

    /// Whether so much was read that what the order allows is to be committed.
    pub(super) fn is_much(&self, spool_is_much: bool) -> bool {
        self.cursor.order == Order::Ascending && (spool_is_much || self.pages >= PAGES_MAX)
    }

    /// The part of the slice that was read whole; `None` where that is nothing, or all of it.
    pub(super) fn part(&self, reach: &Reach) -> Option<Reach> {
        let greatest = self.greatest.as_ref().filter(|_| self.cursor.order == Order::Ascending)?;
        match reach {
            Reach::Time(span) => {
                let end = i64::try_from(greatest.number()?.saturating_sub(self.slop)).ok()?;
                let end = plan::align_start(&self.cursor, jiff::Timestamp::from_microsecond(end).ok())?;
                let is_part = span.from.is_none_or(|from| from < end) && end < span.to;
                is_part.then(|| Reach::Time(Span::new(span.from, end)))
            }
            // All records at the mark are known by their keys, so it can stand anywhere.
            Reach::Mark(mark) if mark.as_ref().is_none_or(|mark| mark.value < *greatest) => Some(reach.clone()),
            _ => None,
        }
    }

    /// The next page is one that was read before.
    pub(super) fn step_back(&mut self) {
        self.reached = None;
    }

    /// The same for what is left after a commit.
    pub(super) fn go_on(mut self) -> Self {
        self.pages = 0;
        self
    }
}

fn micros(at: jiff::Timestamp) -> i128 {
    i128::from(at.as_microsecond())
}

/// What follows a part of a slice that was read whole.
pub(super) enum More {
    /// The pages behind it, of the same sequence.
    Rest(Box<Rest>),
    /// Nothing was read: this is more than the API gives at once, and is to be read in pieces.
    Split(Reach),
    /// Too much to hold: a sequence of pages that begins where it ends. What is left of the slice.
    Anew(Slice),
    /// A page that could not be had, and what is left of the slice.
    Failed(Slice, RunError),
}

/// What stands behind the part of a slice that is committed.
pub(super) enum Behind {
    Page(PagePosition),
    /// Nothing more of this sequence of pages.
    Anew,
    Error(RunError),
}

/// How a sequence of pages goes on behind a commit.
pub(super) struct Rest {
    /// What is left of the slice.
    pub slice: Slice,
    /// The slice that the requests are for, from the first on.
    pub asked: Slice,
    /// Pages that hold something behind the commit.
    pub pages: Vec<RawPage>,
    pub next: PagePosition,
    pub progress: Progress,
    pub overlap: Option<Overlap>,
    /// What was committed last: it comes again where pages are gone back to.
    pub recent: Option<Recent>,
    /// Where the slice began: a record out of order is not taken for one of before.
    pub lowest: Reach,
    pub cut_short: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixture;

    fn progress(order: &str, paging: &str) -> Progress {
        let source = format!(
            "[streams.rows]\npath = \"/rows\"\nrecords = \"\"\nprimary_key = [\"id\"]\npaging = {{ {paging} }}\n[streams.rows.cursor]\nfield = \"at\"\n\
             type = \"timestamp\"\norder = \"{order}\"\nquery = {{ since = \"{{{{ from }}}}\" }}"
        );
        Progress::of(&fixture::job(&source, "stream = \"rows\"\nmode = \"append\"")).expect("an order")
    }

    fn page(seconds: &[f64], slop: i128) -> PageOrder {
        let values: Vec<CursorKey> = seconds.iter().map(|second| CursorKey::Number((second * 1e6) as i128)).collect();
        PageOrder::of(&values, slop).expect("not empty")
    }

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).expect("in range")
    }

    fn reach(from: i64, to: i64) -> Reach {
        Reach::Time(Span::new(Some(at(from)), at(to)))
    }

    const TOKEN: &str = "type = \"page_token\", token = \"next\", param = \"t\"";
    const SECOND: i128 = 1_000_000;

    #[test]
    fn what_is_read_whole_ends_a_precision_before_the_last_cursor() {
        let mut progress = progress("ascending", TOKEN);
        assert!(progress.take(&page(&[10.0, 12.5, 12.0], SECOND)), "within a second any order will do");
        assert_eq!(progress.part(&reach(5, 100)), Some(Reach::Time(Span::new(Some(at(5)), at_ms(11_500)))));
        assert_eq!(progress.part(&reach(12, 100)), None, "nothing of it is whole");
        assert!(!progress.is_over(&reach(5, 100)) && progress.is_over(&reach(5, 11)));
        assert_eq!(progress.part(&reach(5, 11)), None, "that is all of it");
        // C-16
        assert!(!progress.take(&page(&[11.0, 14.0], SECOND)));
    }

    fn at_ms(milli: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(milli).expect("in range")
    }

    #[test]
    fn a_feed_ends_below_the_mark() {
        // C-15
        let mut progress = progress("descending", TOKEN);
        assert!(progress.take(&page(&[50.0, 30.0, 20.0], SECOND)));
        assert!(!progress.is_over(&reach(20, 100)) && progress.is_over(&reach(22, 100)));
        assert!(!progress.is_over(&Reach::Time(Span::new(None, at(100)))), "there is no end to stop at");
        assert_eq!(progress.part(&reach(0, 100)), None, "what is newest is only there at the end");
        assert!(!progress.take(&page(&[10.0, 40.0], SECOND)));
    }

    #[test]
    fn the_order_of_a_page_is_told_by_all_of_its_records() {
        let of = |seconds: &[f64], slop| (page(seconds, slop).rises, page(seconds, slop).falls);
        assert_eq!(of(&[1.0], 0), (true, true));
        assert_eq!(of(&[1.0, 1.0, 2.0], 0), (true, false));
        assert_eq!(of(&[2.0, 1.0, 1.0], 0), (false, true));
        assert_eq!(of(&[1.0, 3.0, 2.0], 0), (false, false));
        assert_eq!(of(&[1.0, 3.0, 2.0], SECOND), (true, false));
        assert_eq!(PageOrder::of(&[], 0), None);
        let texts = ["a", "B"].map(CursorKey::from);
        assert!(PageOrder::of(&texts, 0).is_some_and(|order| order.falls && !order.rises));
    }
}
