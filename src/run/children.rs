//! A stream that is read once for each record of another: one source made of two.
//!
//! The parents are streamed: one page of them is held, and the first pages of the next few are asked for while one is worked on, in
//! order. A position names the parent it stands below, so that a page can be asked for again. What a record carries from its parent goes
//! along with its page, and the decoder writes it in; after that it is a record like any other.
//!
//! Where the slices of a run go over the same parents, these are listed once. Where children have a cursor of their own, the roster
//! says what is read of a parent besides the slice.

mod first_pages;
mod list;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use http::HeaderMap;
use jiff::Timestamp;

use crate::config::catalog::{Job, Mode, Parent};
use crate::error::ErrorKind;
use crate::page::{Also, Envelope, PagePosition, ParentAt, RawPage, ResponsePath, find_text, split_path};
use crate::scratch::Scratch;
use crate::slice::{Reach, Slice, Span};
use crate::source::{Cap, FetchError, Judgement, Source};

use super::RunError;
use super::refine::Refinery;
use super::roster::Roster;
use super::whole::{Desk, explain, fetch};
use first_pages::Ahead;
use list::{Draft, Key, List, Listed, identity};

/// Parents whose first pages are asked for at the same time, at most.
const AHEAD_MAX: usize = 16;
/// Pages of parents in a row without one that is to be gone over, at most.
const EMPTY_MAX: u32 = 100_000;
/// So many parents that are all gone are rather an address that is wrong.
const GONE_MIN: u64 = 3;

/// Children of a stream's records.
pub struct Children {
    /// The job that reads the parents.
    job: Job,
    parent: Parent,
    parents: Arc<dyn Source>,
    children: Arc<dyn Source>,
    /// Requests for children at the same time, at most.
    at_once: usize,
    /// Bytes that pages which wait may take.
    memory: u64,
    /// Where the parents' key stands in their records.
    key: Vec<Vec<String>>,
    scratch: Arc<Scratch>,
    /// The parents are gone over more than once.
    keeps_list: bool,
    roster: Option<Arc<Roster>>,
    listing: Mutex<Listing>,
    /// The page of parents that is gone over.
    here: Mutex<Option<Arc<ParentPage>>>,
    ahead: tokio::sync::Mutex<Ahead>,
    gone: AtomicU64,
    found: AtomicU64,
    /// There are more parents than the API gives for one query.
    capped: AtomicBool,
}

/// What became of asking for the parents.
#[derive(Default)]
enum Listing {
    /// They are asked for by every slice: another one goes over others.
    #[default]
    None,
    Draft(Box<Draft>),
    Whole(Box<List>),
}

struct ParentPage {
    at: PagePosition,
    /// Those to be gone over.
    records: Vec<Listed>,
    next: Option<PagePosition>,
    received_at: Timestamp,
    source_now: Option<Timestamp>,
    /// The page without what is in it.
    bare: RawPage,
}

impl Children {
    /// `job` is the one whose stream has a parent; `parents` reads the parents' stream and `children` the job's own.
    pub fn new(
        job: &Job,
        parents: Arc<dyn Source>,
        children: Arc<dyn Source>,
        memory: u64,
        scratch: Arc<Scratch>,
        roster: Option<Arc<Roster>>,
    ) -> Option<Self> {
        let parent = job.stream.parent.clone()?;
        let key = parent.stream.primary_key.iter().filter_map(|field| split_path(field).ok()).collect();
        let has_slices = job.stream.cursor.is_some() && job.mode != Mode::Replace;
        let of_parent = job.of_parent()?;
        let hangs_on = of_parent.parameters_used();
        // Two sets that ask for the same parents.
        let shares = job.sets.iter().enumerate().any(|(nth, set)| {
            let same = |name: &String| job.sets[0].parameters.get(name) == set.parameters.get(name);
            nth > 0 && hangs_on.iter().all(same)
        });
        Some(Children {
            job: of_parent,
            key,
            keeps_list: !parent.changed_only && (has_slices || shares),
            parent,
            parents,
            children,
            at_once: job.source.limits.concurrency.unwrap_or(AHEAD_MAX).clamp(1, AHEAD_MAX),
            memory: memory / 8,
            scratch,
            roster,
            listing: Mutex::default(),
            here: Mutex::default(),
            ahead: tokio::sync::Mutex::default(),
            gone: AtomicU64::new(0),
            found: AtomicU64::new(0),
            capped: AtomicBool::new(false),
        })
    }

    fn listing(&self) -> MutexGuard<'_, Listing> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the requests for the parents of a slice hang on.
    fn list_key(&self, slice: &Slice) -> Key {
        let set = self.job.sets.iter().find(|set| set.partition == slice.partition);
        let hangs_on = self.job.parameters_used();
        let used = |(name, _): &(&String, &String)| hangs_on.contains(*name);
        set.map(|set| set.parameters.iter().filter(used).map(|(name, value)| (name.clone(), value.clone())).collect())
            .unwrap_or_default()
    }

    /// A slice begins: its parents are those that are listed already, or are asked for.
    fn begin_list(&self, slice: &Slice) -> Result<(), FetchError> {
        if self.parent.changed_only {
            return Ok(());
        }
        let key = self.list_key(slice);
        let mut listing = self.listing();
        match &*listing {
            Listing::Whole(list) if list.key == key => self.capped.store(list.capped, Ordering::Relaxed),
            _ => {
                *listing =
                    Listing::Draft(Box::new(Draft::new(Arc::clone(&self.scratch), key, self.keeps_list).map_err(not_kept)?))
            }
        }
        Ok(())
    }

    /// A page of the list, where there is one.
    fn listed_page(&self, at: &PagePosition) -> Result<Option<Arc<ParentPage>>, FetchError> {
        let listing = self.listing();
        let Listing::Whole(list) = &*listing else { return Ok(None) };
        let (records, next) = list.page(at).map_err(not_kept)?;
        let bare = list.first.clone();
        let (received_at, source_now) = (bare.received_at, bare.source_now);
        Ok(Some(Arc::new(ParentPage { at: at.clone(), records, next, received_at, source_now, bare })))
    }

    /// Takes a page of parents into the list, and gives back those that did not come before.
    fn list(&self, page: &RawPage, parents: Vec<Listed>, is_last: bool) -> Result<Vec<Listed>, FetchError> {
        let mut listing = self.listing();
        let Listing::Draft(draft) = &mut *listing else { return Ok(parents) };
        let parents = draft.take(page, parents).map_err(not_kept)?;
        if is_last && let Listing::Draft(draft) = std::mem::take(&mut *listing) {
            let list = draft.finish(self.capped.load(Ordering::Relaxed)).map_err(not_kept)?;
            *listing = list.map_or(Listing::None, |list| Listing::Whole(Box::new(list)));
        }
        Ok(parents)
    }

    fn here(&self) -> Option<Arc<ParentPage>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_here(&self, page: Option<Arc<ParentPage>>) {
        *self.here.lock().unwrap_or_else(PoisonError::into_inner) = page;
    }

    /// The slice of the parents' stream that a slice of the children's goes over.
    fn parents_slice(&self, slice: &Slice) -> Slice {
        let reach = if self.parent.changed_only { slice.reach.clone() } else { Reach::Snapshot };
        Slice { partition: slice.partition.clone(), reach }
    }

    /// A page of parents: the JSON of those that are in the slice.
    async fn parents_page(&self, slice: &Slice, at: &PagePosition) -> Result<Arc<ParentPage>, FetchError> {
        if let Some(listed) = self.listed_page(at)? {
            self.set_here(Some(Arc::clone(&listed)));
            return Ok(listed);
        }
        let slice = self.parents_slice(slice);
        let source = self.parents.as_ref();
        let failed = |error: super::RunError| FetchError::new(error.kind, format!("the parents' {error}"));
        let refinery = Refinery::new(&self.job, None, source.wanted(), &slice).map_err(explain).map_err(failed)?;
        let first = fetch(source, &slice, at, 1).await.map_err(failed)?;
        let (page, refined) = Desk::new(refinery).whole(&self.job, source, &slice, first).await.map_err(failed)?;
        if source.cap(&page.position, &refined.envelope, &page.headers) != Cap::Within {
            self.capped.store(true, Ordering::Relaxed);
        }
        let next = source.next(&slice, &page.position, &refined.envelope, &page.headers)?;
        let above = page.position.parent.as_ref();
        let listed = |place: &u64| {
            let json = String::from_utf8_lossy(refined.raw.get(*place)).into_owned();
            let id = match above {
                // Below one that is like another, nothing tells one from another either.
                Some(above) => above.identity.as_ref().and_then(|above| identity(&json, &self.key, Some(above))),
                None => identity(&json, &self.key, None),
            };
            Listed { json, id }
        };
        let records = refined.places.iter().map(listed).collect();
        if let Some(reject) = refined.rejects.first() {
            // Left out, its children would be covered and never read.
            let (stream, field, reason) = (&self.job.stream.name, &reject.field, &reject.reason);
            let message = format!("a record of {stream} cannot be gone over: `{field}`: {reason}");
            return Err(FetchError::new(ErrorKind::Data, message));
        }
        let records = self.list(&page, records, next.is_none())?;
        let (received_at, source_now) = (page.received_at, page.source_now);
        let bare = page.into_nothing();
        let parents = Arc::new(ParentPage { at: at.clone(), records, next, received_at, source_now, bare });
        self.set_here(Some(Arc::clone(&parents)));
        Ok(parents)
    }

    /// The position with its parent's record, looked for from `at` on; `Err` with the last page of parents where there is none.
    async fn find_parent(&self, slice: &Slice, at: &ParentAt) -> Result<Result<Arc<ParentAt>, RawPage>, FetchError> {
        let (mut page_at, mut nth) = (at.page.clone(), at.nth);
        for _ in 0..EMPTY_MAX {
            let parents = match self.here().filter(|page| page.at == page_at) {
                Some(parents) => parents,
                None => self.parents_page(slice, &page_at).await?,
            };
            if let Some(Listed { json, id }) = parents.records.get(nth) {
                let (record, identity) = (Some(json.clone()), *id);
                return Ok(Ok(Arc::new(ParentAt { page: page_at, nth, record, identity })));
            }
            match &parents.next {
                Some(next) => (page_at, nth) = (next.clone(), 0),
                None => return Ok(Err(parents.bare.clone())),
            }
        }
        Err(FetchError::new(ErrorKind::Data, format!("no parent to go over in `{EMPTY_MAX}` pages of them")))
    }

    /// What is asked for of a parent: the slice, and what of it was not read before; and the latter by itself.
    fn own_slice(&self, slice: &Slice, parent: &ParentAt) -> Result<(Slice, Option<Also>), FetchError> {
        let (Some(roster), Reach::Time(span)) = (&self.roster, &slice.reach) else { return Ok((slice.clone(), None)) };
        let id = parent.identity.as_ref().ok_or_else(|| self.no_identity())?;
        let also = roster.also(id).map_err(unavailable)?;
        let (Some(first), Some(last)) = (also.first(), also.last()) else { return Ok((slice.clone(), None)) };
        let whole = Span::new(span.from.min(first.from), span.to.max(last.to));
        Ok((Slice { partition: slice.partition.clone(), reach: Reach::Time(whole) }, Some(Arc::new(also))))
    }

    fn no_identity(&self) -> FetchError {
        let (stream, key) = (&self.job.stream.name, self.job.stream.primary_key.join(", "));
        FetchError::new(ErrorKind::Data, format!("a record of {stream} has no `{key}`, so nothing tells it from another"))
    }

    /// What a parent's children are, where the parent may be gone meanwhile.
    fn judge_first(&self, page: Result<RawPage, FetchError>, parent: &Arc<ParentAt>) -> Result<RawPage, FetchError> {
        match page {
            Err(error) if matches!(error.status, Some(404 | 410)) => {
                self.gone.fetch_add(1, Ordering::Relaxed);
                let at = below(parent);
                tracing::warn!(job.id = %self.job.name, "a record of {} is gone: {error}", self.job.stream.name);
                let (received_at, source_now) = self.here().map(|page| (page.received_at, page.source_now)).unwrap_or_default();
                Ok(RawPage { position: at, received_at, source_now, ..RawPage::nothing() })
            }
            Ok(page) => {
                self.found.fetch_add(1, Ordering::Relaxed);
                if let (Some(roster), Some(id)) = (&self.roster, &parent.identity) {
                    roster.seen(id).map_err(unavailable)?;
                }
                Ok(page)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends along what each record of a page carries from its parent.
    fn carry(&self, mut page: RawPage, parent: &ParentAt) -> RawPage {
        if self.parent.carry.is_empty() || page.body.is_empty() {
            return page;
        }
        let record = parent.record.as_deref().unwrap_or("null");
        let text = |steps: &[String]| find_text(record, steps).unwrap_or("null").to_owned();
        let fields = self.parent.carry.iter().map(|(column, steps)| (column.clone(), text(steps))).collect();
        page.carried = Some(Arc::new(fields));
        page
    }

    /// Where every parent was gone, it is rather the address that is wrong.
    fn check_gone(&self) -> Result<(), FetchError> {
        let (gone, found) = (self.gone.load(Ordering::Relaxed), self.found.load(Ordering::Relaxed));
        if gone < GONE_MIN || found > 0 {
            return Ok(());
        }
        let message = format!(
            "all `{gone}` records of {} that were gone over answered 404 or 410: check the stream's `path`",
            self.job.stream.name
        );
        Err(FetchError::new(ErrorKind::Config, message))
    }
}

fn not_kept(error: std::io::Error) -> FetchError {
    let message = format!("the parents cannot be kept on the local disk: {error}; make room there");
    FetchError::new(ErrorKind::Unavailable, message)
}

fn unavailable(error: RunError) -> FetchError {
    FetchError::new(error.kind, error.message)
}

/// The first page below a parent.
fn below(parent: &Arc<ParentAt>) -> PagePosition {
    PagePosition { parent: Some(Arc::clone(parent)), ..PagePosition::start() }
}

#[async_trait]
impl Source for Children {
    async fn fetch(&self, slice: &Slice, at: &PagePosition, attempt: u32) -> Result<RawPage, FetchError> {
        let first = ParentAt { page: PagePosition::start(), nth: 0, record: None, identity: None };
        if at.parent.is_none() {
            self.gone.store(0, Ordering::Relaxed);
            self.found.store(0, Ordering::Relaxed);
            self.capped.store(false, Ordering::Relaxed);
            *self.ahead.lock().await = Ahead::default();
            self.set_here(None);
            self.begin_list(slice)?;
        }
        let wanted = at.parent.as_deref().unwrap_or(&first);
        let parent = match (&at.parent, &wanted.record) {
            (Some(parent), Some(_)) => Arc::clone(parent),
            _ => match self.find_parent(slice, wanted).await? {
                Ok(parent) => parent,
                // There is none left: the last page is one without records.
                Err(last) => return Ok(RawPage { position: PagePosition::start(), ..last }),
            },
        };
        let (own, also) = self.own_slice(slice, &parent)?;
        let page = match (at.index, attempt) {
            (0, 1) => self.judge_first(self.first_page(slice, &parent).await, &parent)?,
            _ => self.children.fetch(&own, &PagePosition { parent: Some(Arc::clone(&parent)), ..at.clone() }, attempt).await?,
        };
        let mut page = RawPage { also, ..self.carry(page, &parent) };
        if let (None, Some(here)) = (&at.parent, self.here()) {
            // Time is closed by what the parents' page knew of it.
            (page.received_at, page.source_now) = (here.received_at, here.source_now);
        }
        Ok(page)
    }

    fn requests(&self) -> u64 {
        self.parents.requests() + self.children.requests()
    }

    fn clean(&self, message: String, body: &[u8]) -> String {
        self.children.clean(message, body)
    }

    fn wanted(&self) -> Vec<ResponsePath> {
        self.children.wanted()
    }

    fn judge(&self, envelope: &Envelope) -> Judgement {
        self.children.judge(envelope)
    }

    fn cap(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Cap {
        match self.capped.load(Ordering::Relaxed) {
            true => Cap::Reached,
            false => self.children.cap(at, envelope, headers),
        }
    }

    fn next(
        &self,
        slice: &Slice,
        at: &PagePosition,
        envelope: &Envelope,
        headers: &HeaderMap,
    ) -> Result<Option<PagePosition>, FetchError> {
        let Some(parent) = &at.parent else { return self.check_gone().map(|()| None) };
        if let Some(next) = self.children.next(slice, at, envelope, headers)? {
            return Ok(Some(next));
        }
        let here = self.here().filter(|page| page.at == parent.page);
        let next = match here {
            Some(page) if parent.nth + 1 < page.records.len() => Some((parent.page.clone(), parent.nth + 1)),
            Some(page) => page.next.clone().map(|next| (next, 0)),
            // It is asked for again, and its records counted from there.
            None => Some((parent.page.clone(), parent.nth + 1)),
        };
        let Some((page, nth)) = next else { return self.check_gone().map(|()| None) };
        let parent = ParentAt { page, nth, record: None, identity: None };
        Ok(Some(PagePosition { parent: Some(Arc::new(parent)), ..PagePosition::start() }))
    }
}
