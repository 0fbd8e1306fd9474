//! A stream that is read once for each record of another: one source made of two.
//!
//! The parents are streamed: one page of them is held, and the first pages of the next few are asked for while one is worked on, in
//! order. A position names the parent it stands below, so that a page can be asked for again. What a record carries from its parent goes
//! along with its page, and the decoder writes it in; after that it is a record like any other.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::config::catalog::{Job, Parent};
use crate::decode::raw_records;
use crate::error::ErrorKind;
use crate::page::{Envelope, PagePosition, ParentAt, RawPage, ResponsePath, find_value};
use crate::slice::{Reach, Slice};
use crate::source::{Cap, FetchError, Judgement, Source};

use super::refine::Refinery;
use super::whole::{Desk, explain, fetch};

/// Parents whose first pages are asked for at the same time, at most.
const AHEAD_MAX: usize = 16;
/// Pages of parents in a row without one that is to be gone over, at most.
const EMPTY_MAX: u32 = 100_000;
/// So many parents that are all gone are rather an address that is wrong.
const GONE_MIN: u64 = 3;
/// A page of children takes this much more than its bytes while it waits.
const PAGE_COST: u64 = 4;

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
    /// The page of parents that is gone over.
    here: Mutex<Option<Arc<ParentPage>>>,
    ahead: tokio::sync::Mutex<Ahead>,
    gone: AtomicU64,
    found: AtomicU64,
    /// There are more parents than the API gives for one query.
    capped: AtomicBool,
}

struct ParentPage {
    at: PagePosition,
    /// The JSON texts of those to be gone over.
    records: Vec<String>,
    next: Option<PagePosition>,
    received_at: Timestamp,
    source_now: Option<Timestamp>,
}

type First = (usize, Result<RawPage, FetchError>);

/// First pages of the parents that come next.
#[derive(Default)]
struct Ahead {
    /// Of which page of parents.
    page: Option<PagePosition>,
    asked: VecDeque<usize>,
    /// Tasks of their own: a request that waited for somebody to look after it would keep its place in the budget meanwhile, and
    /// the next page of this very stream might wait for that place.
    under_way: JoinSet<First>,
    done: HashMap<usize, Result<RawPage, FetchError>>,
    /// The largest page of children so far.
    largest: u64,
    /// How many were asked for ahead of the last one.
    most: usize,
}

impl Children {
    /// `job` is the one whose stream has a parent; `parents` reads the parents' stream and `children` the job's own.
    pub fn new(job: &Job, parents: Arc<dyn Source>, children: Arc<dyn Source>, memory: u64) -> Option<Self> {
        let parent = job.stream.parent.clone()?;
        Some(Children {
            job: job.of_parent()?,
            parent,
            parents,
            children,
            at_once: job.source.limits.concurrency.unwrap_or(AHEAD_MAX).clamp(1, AHEAD_MAX),
            memory: memory / 8,
            here: Mutex::default(),
            ahead: tokio::sync::Mutex::default(),
            gone: AtomicU64::new(0),
            found: AtomicU64::new(0),
            capped: AtomicBool::new(false),
        })
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
    async fn parents_page(&self, slice: &Slice, at: &PagePosition) -> Result<(Arc<ParentPage>, RawPage), FetchError> {
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
        let raw = raw_records(&refined.json, &self.job.stream.records, &refined.places);
        let records = raw.iter().map(|record| String::from_utf8_lossy(record).into_owned()).collect();
        if let Some(reject) = refined.rejects.first() {
            // Left out, its children would be covered and never read.
            let (stream, field, reason) = (&self.job.stream.name, &reject.field, &reject.reason);
            let message = format!("a record of {stream} cannot be gone over: `{field}`: {reason}");
            return Err(FetchError::new(ErrorKind::Data, message));
        }
        let (received_at, source_now) = (page.received_at, page.source_now);
        let parents = Arc::new(ParentPage { at: at.clone(), records, next, received_at, source_now });
        self.set_here(Some(Arc::clone(&parents)));
        Ok((parents, page))
    }

    /// The position with its parent's record, looked for from `at` on; `Err` with the last page of parents where there is none.
    async fn find_parent(&self, slice: &Slice, at: &ParentAt) -> Result<Result<Arc<ParentAt>, RawPage>, FetchError> {
        let (mut page_at, mut nth) = (at.page.clone(), at.nth);
        for _ in 0..EMPTY_MAX {
            let (parents, raw) = match self.here().filter(|page| page.at == page_at && nth < page.records.len()) {
                Some(parents) => (parents, None),
                None => self.parents_page(slice, &page_at).await.map(|(parents, raw)| (parents, Some(raw)))?,
            };
            if let Some(record) = parents.records.get(nth) {
                return Ok(Ok(Arc::new(ParentAt { page: page_at, nth, record: Some(record.clone()) })));
            }
            match (&parents.next, raw) {
                (Some(next), _) => (page_at, nth) = (next.clone(), 0),
                (None, Some(raw)) => return Ok(Err(raw)),
                (None, None) => break,
            }
        }
        Err(FetchError::new(ErrorKind::Data, format!("no parent to go over in `{EMPTY_MAX}` pages of them")))
    }

    /// The first page of a parent's children, and those of the next few begun.
    async fn first_page(&self, slice: &Slice, parent: &Arc<ParentAt>) -> Result<RawPage, FetchError> {
        let mut ahead = self.ahead.lock().await;
        if ahead.page.as_ref() != Some(&parent.page) {
            let (largest, most) = (ahead.largest, ahead.most);
            *ahead = Ahead { page: Some(parent.page.clone()), largest, most, ..Ahead::default() };
        }
        if !ahead.asked.contains(&parent.nth) {
            ahead.done.clear();
            ahead.under_way = JoinSet::new();
            ahead.asked.clear();
        }
        let most = match ahead.largest {
            // Until something is known of their size, one after the other.
            0 => 1,
            largest => usize::try_from(self.memory / (largest * PAGE_COST).max(1)).unwrap_or(AHEAD_MAX).clamp(1, self.at_once),
        };
        // One page says little of the next: the number grows as pages are seen.
        let most = most.min(2 * ahead.most.max(1));
        ahead.most = most;
        if let Some(parents) = self.here().filter(|page| page.at == parent.page) {
            let begin = ahead.asked.back().map_or(parent.nth, |last| last + 1);
            for nth in begin..parents.records.len().min(parent.nth.saturating_add(most)) {
                ahead.ask(&self.children, slice, &parents, nth);
            }
        }
        if ahead.asked.is_empty() {
            return self.children.fetch(slice, &below(parent), 1).await;
        }
        loop {
            if let Some(page) = ahead.done.remove(&parent.nth) {
                ahead.asked.retain(|nth| *nth > parent.nth);
                if let Ok(page) = &page {
                    ahead.largest = ahead.largest.max(page.body.len() as u64).max(1);
                }
                return page;
            }
            match ahead.under_way.join_next().await {
                Some(Ok((nth, page))) => drop(ahead.done.insert(nth, page)),
                Some(Err(error)) => return Err(FetchError::new(ErrorKind::Bug, format!("a request ahead: {error}"))),
                None => return self.children.fetch(slice, &below(parent), 1).await,
            }
        }
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
                Ok(page)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends along what each record of a page carries from its parent.
    fn carry(&self, mut page: RawPage, parent: &ParentAt) -> Result<RawPage, FetchError> {
        if self.parent.carry.is_empty() || page.body.is_empty() {
            return Ok(page);
        }
        let bug = |error: serde_json::Error| FetchError::new(ErrorKind::Bug, format!("a parent's record is not JSON: {error}"));
        let record: Value = serde_json::from_str(parent.record.as_deref().unwrap_or("null")).map_err(bug)?;
        let fields: Vec<(String, Value)> = self
            .parent
            .carry
            .iter()
            .map(|(column, steps)| (column.clone(), find_value(&record, steps).cloned().unwrap_or_default()))
            .collect();
        page.carried = Some(Arc::new(fields));
        Ok(page)
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

impl Ahead {
    fn ask(&mut self, children: &Arc<dyn Source>, slice: &Slice, parents: &ParentPage, nth: usize) {
        let record = parents.records.get(nth).cloned();
        let at = below(&Arc::new(ParentAt { page: parents.at.clone(), nth, record }));
        let (children, slice) = (Arc::clone(children), slice.clone());
        self.asked.push_back(nth);
        self.under_way.spawn(async move { (nth, children.fetch(&slice, &at, 1).await) });
    }
}

/// The first page below a parent.
fn below(parent: &Arc<ParentAt>) -> PagePosition {
    PagePosition { parent: Some(Arc::clone(parent)), ..PagePosition::start() }
}

#[async_trait]
impl Source for Children {
    async fn fetch(&self, slice: &Slice, at: &PagePosition, attempt: u32) -> Result<RawPage, FetchError> {
        let first = ParentAt { page: PagePosition::start(), nth: 0, record: None };
        if at.parent.is_none() {
            self.gone.store(0, Ordering::Relaxed);
            self.found.store(0, Ordering::Relaxed);
            self.capped.store(false, Ordering::Relaxed);
            *self.ahead.lock().await = Ahead::default();
            self.set_here(None);
        }
        let wanted = at.parent.as_deref().unwrap_or(&first);
        let parent = match (&at.parent, &wanted.record) {
            (Some(parent), Some(_)) => Arc::clone(parent),
            _ => match self.find_parent(slice, wanted).await? {
                Ok(parent) => parent,
                // There is none left: the last page is one without records.
                Err(last) => return Ok(RawPage { position: PagePosition::start(), ..last.into_nothing() }),
            },
        };
        let page = match (at.index, attempt) {
            (0, 1) => self.judge_first(self.first_page(slice, &parent).await, &parent)?,
            _ => self.children.fetch(slice, &PagePosition { parent: Some(Arc::clone(&parent)), ..at.clone() }, attempt).await?,
        };
        let mut page = self.carry(page, &parent)?;
        if let (None, Some(here)) = (&at.parent, self.here()) {
            // Time is closed by what the parents' page knew of it.
            (page.received_at, page.source_now) = (here.received_at, here.source_now);
        }
        Ok(page)
    }

    fn requests(&self) -> u64 {
        self.parents.requests() + self.children.requests()
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
        let parent = ParentAt { page, nth, record: None };
        Ok(Some(PagePosition { parent: Some(Arc::new(parent)), ..PagePosition::start() }))
    }
}
