//! Pages that are asked for side by side: where places are counted and the first answer tells how many pages there are, those that
//! come next are asked for while one is worked on, and handed out in order. It is one source around another. Of the first page no more
//! is looked at before than how many there are, and that it is no error.
//!
//! Nothing hangs on a guess: a page is used only when it is asked for by that very place. A guess that was wrong costs a request, so
//! none is made beyond the end that was told, and none any more in a slice where one did not come true.
//!
//! Answers side by side may come from before and after a change, in any order. Where a list grows in front meanwhile, a record moves
//! from one page to the next, and stands in neither if the later page is of the time before: read one after the other, it stands in
//! both. So a page whose answer tells of another number than the one before is asked for again, and the rest one after the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::FutureExt;
use http::HeaderMap;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config::catalog::{CountedEnd, Job, Order, PagingKind, Stream};
use crate::decode::{DecodeSpec, Parsed, Parser};
use crate::error::ErrorKind;
use crate::fault::Guards;
use crate::ids::PartitionKey;
use crate::page::{Answered, Envelope, PageAt, PagePosition, Prepared, RawPage, ResponsePath};
use crate::slice::Slice;
use crate::source::{Cap, Ending, FetchError, Judgement, Source};

use super::stage::{is_light, work_on_page};

/// Pages of one slice that are asked for at the same time, at most.
const AT_ONCE_MAX: usize = 4;
/// Pages that may have come, and wait for their turn, while as many as ever are asked for. Where pages are late it is as many as are
/// asked for: what comes at once is followed at once, and not after one is worked on.
const WAITING_MAX: usize = 2;
/// A page takes this much more than its bytes while it waits and is worked on.
const PAGE_COST: u64 = 4;

/// How many pages of a slice are asked for at the same time, at most: one where an answer does not tell how many there are, or where
/// the source takes one request at a time. A number of pages does not tell of a record more: it is enough only where none can come in
/// front, because the list has an end in time, or the newest stand last.
pub fn at_once(job: &Job) -> usize {
    let tells = match &job.stream.paging.kind {
        PagingKind::Page { end, .. } | PagingKind::Offset { end, .. } => match end {
            CountedEnd::Total(_) => true,
            CountedEnd::TotalPages(_) => !grows_in_front(&job.stream),
            CountedEnd::EmptyPage | CountedEnd::ShortPage | CountedEnd::More(_) => false,
        },
        _ => false,
    };
    if tells { job.source.limits.concurrency.unwrap_or(AT_ONCE_MAX).clamp(1, AT_ONCE_MAX) } else { 1 }
}

fn grows_in_front(stream: &Stream) -> bool {
    let cursor = stream.cursor.as_ref().filter(|cursor| cursor.order == Order::Ascending || cursor.has_upper_bound(stream));
    cursor.is_none()
}

/// A source whose pages are asked for side by side.
pub struct Ahead {
    pages: Arc<dyn Source>,
    /// Parses pages before their turn.
    parser: Option<Parser>,
    /// Requests at the same time, at most.
    at_once: usize,
    /// Held by whoever has asked and has no answer yet.
    turns: Arc<Semaphore>,
    /// The last page whose turn it was had not come by then.
    is_late: Arc<AtomicBool>,
    /// Whether a place is a number of records; else one of pages.
    counts_records: bool,
    /// Bytes that pages which wait may take.
    memory: u64,
    line: Mutex<Line>,
}

/// The pages of the slice that is read.
#[derive(Default)]
struct Line {
    slice: Option<Slice>,
    /// How many the slice has, as its first page told.
    count: Option<u64>,
    /// The place that was asked for last.
    last: Option<PagePosition>,
    /// The one before it.
    before: Option<PagePosition>,
    /// The largest page so far, in bytes.
    largest: u64,
    asked: VecDeque<Asked>,
    guessed_wrong: bool,
    /// The page at work was asked for beside the one before it.
    is_beside: bool,
    /// How many there are, by the answer before.
    told: Option<u64>,
}

/// A page that was asked for before its turn. It is a task of its own, given up when it is dropped: a request that waited for
/// somebody to look after it would keep its place in the budget meanwhile.
struct Asked {
    at: PagePosition,
    /// The page before it had come when it was asked for.
    is_behind: bool,
    answer: JoinSet<Result<RawPage, FetchError>>,
}

/// A place, and how far it is from the one before it.
struct Apart<'a> {
    at: &'a PagePosition,
    before: &'a PagePosition,
}

impl Ahead {
    /// Around the source of a job's stream; that very source where nothing could be asked for before its turn.
    pub fn around(job: &Job, pages: Arc<dyn Source>, memory: u64) -> Arc<dyn Source> {
        let at_once = at_once(job);
        if at_once == 1 || job.stream.parent.is_some() {
            return pages;
        }
        let counts_records = matches!(job.stream.paging.kind, PagingKind::Offset { .. });
        // What is wrong with a declaration is told where the stream is read.
        let parser = Parser::new(&DecodeSpec::of(job, pages.wanted())).ok();
        Arc::new(Ahead {
            pages,
            parser,
            at_once,
            turns: Arc::new(Semaphore::new(at_once)),
            is_late: Arc::default(),
            counts_records,
            memory: memory / 8,
            line: Mutex::default(),
        })
    }

    /// The answer for a place, where it was asked for already.
    fn take(&self, slice: &Slice, at: &PagePosition) -> Option<Asked> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if at.index == 0 || line.slice.as_ref() != Some(slice) {
            *line = Line { slice: Some(slice.clone()), ..Line::default() };
            self.is_late.store(false, Ordering::Relaxed);
        }
        line.before = line.last.replace(at.clone());
        let found = line.asked.pop_front();
        let is_wrong = found.as_ref().is_some_and(|found| found.at != *at);
        if is_wrong {
            line.guessed_wrong = true;
            line.asked.clear();
        }
        line.is_beside = found.as_ref().is_some_and(|found| !found.is_behind) && !is_wrong;
        found.filter(|_| !is_wrong)
    }

    fn note_size(&self, bytes: usize) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.largest = line.largest.max(bytes as u64);
    }

    /// Asks for the pages behind a place, as far apart as the last two were.
    fn ask_on(&self, slice: &Slice, at: &PagePosition) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = line.before.clone().filter(|_| !line.guessed_wrong) {
            let first = line.asked.len() as u64 + 1;
            self.ask(&mut line, slice, Apart { at, before: &before }, first);
        }
    }

    /// Asks for the pages `first` steps behind a place and on, as many as may be.
    fn ask(&self, line: &mut Line, slice: &Slice, Apart { at, before }: Apart<'_>, first: u64) {
        let PageAt::Number(number) = at.at else { return };
        let records = at.records_before.saturating_sub(before.records_before);
        let step = if self.counts_records { records } else { 1 };
        if step == 0 {
            return;
        }
        let to_come = line.count.unwrap_or_default().saturating_sub(at.index + 1);
        let waiting = if self.is_late.load(Ordering::Relaxed) { self.at_once.max(WAITING_MAX) } else { WAITING_MAX };
        let room = (self.memory / (line.largest * PAGE_COST).max(1)).min((self.at_once + waiting) as u64 - 1);
        let most = to_come.min(room);
        for steps in first..=most {
            let place = PagePosition {
                index: at.index + steps,
                records_before: at.records_before.saturating_add(records.saturating_mul(steps)),
                at: PageAt::Number(number.saturating_add(step.saturating_mul(steps))),
                parent: None,
            };
            let (pages, is_late) = (Arc::clone(&self.pages), Arc::clone(&self.is_late));
            let (parser, slice, asked) = (self.parser.clone(), slice.clone(), place.clone());
            // Places stand in line as they are asked for, whichever task is the first to run: the page whose turn it is would come late.
            let mut in_line = Box::pin(Arc::clone(&self.turns).acquire_owned());
            let at_hand = (&mut in_line).now_or_never();
            let mut answer = JoinSet::new();
            answer.spawn(async move {
                let turn = match at_hand {
                    Some(turn) => turn,
                    None => in_line.await,
                };
                let page = pages.fetch(&slice, &asked, 1).await?;
                drop(turn);
                Ok(match parser {
                    Some(parser) => prepare(page, parser, is_late.load(Ordering::Relaxed), |_, _| ()).await.0,
                    None => page,
                })
            });
            line.asked.push_back(Asked { at: place, is_behind: steps == 0, answer });
        }
    }
}

/// Parses a page before its turn, and looks at it. What goes wrong with it is found again when its turn comes, and told then.
async fn prepare<T: Send + 'static>(
    page: RawPage,
    parser: Parser,
    is_late: bool,
    look: impl FnOnce(&Parser, &Parsed) -> T + Send + 'static,
) -> (RawPage, Option<T>) {
    let unprepared = page.clone();
    let parsing = move || match parser.parse(&page) {
        Ok(parsed) => {
            let seen = look(&parser, &parsed);
            (RawPage { prepared: Prepared::of(parsed), ..page }, Some(seen))
        }
        Err(_) => (page, None),
    };
    work_on_page(is_light(&unprepared), is_late, parsing).await.unwrap_or((unprepared, None))
}

#[async_trait]
impl Source for Ahead {
    async fn fetch(&self, slice: &Slice, at: &PagePosition, attempt: u32) -> Result<RawPage, FetchError> {
        let mut asked = if attempt == 1 { self.take(slice, at) } else { None };
        // The page whose turn it is waits for none of those that may ask.
        let turn = if asked.is_none() { self.turns.try_acquire().ok() } else { None };
        let here = asked.as_mut().and_then(|asked| asked.answer.try_join_next());
        if asked.is_some() {
            self.is_late.store(here.is_none(), Ordering::Relaxed);
        }
        match attempt {
            1 => self.ask_on(slice, at),
            // What was asked for behind this page has come before it now.
            _ => self
                .line
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .asked
                .iter_mut()
                .for_each(|asked| asked.is_behind = false),
        }
        let page = match asked {
            Some(mut asked) => {
                let answer = if here.is_some() { here } else { asked.answer.join_next().await };
                match answer {
                    Some(Ok(answer)) => answer?,
                    Some(Err(error)) => return Err(FetchError::new(ErrorKind::Bug, format!("a request ahead: {error}"))),
                    None => return Err(FetchError::new(ErrorKind::Bug, "a request ahead has no answer")),
                }
            }
            None => self.pages.fetch(slice, at, attempt).await?,
        };
        drop(turn);
        self.note_size(page.body.len());
        Ok(page)
    }

    async fn fetch_changed(&self, slice: &Slice, before: &Answered) -> Result<Option<RawPage>, FetchError> {
        drop(self.take(slice, &PagePosition::start()));
        let page = self.pages.fetch_changed(slice, before).await?;
        self.note_size(page.as_ref().map_or(0, |page| page.body.len()));
        Ok(page)
    }

    async fn read_on(&self, slice: &Slice, first: RawPage) -> RawPage {
        let Some(parser) = self.parser.clone().filter(|_| first.position.index == 0) else { return first };
        let (first, envelope) = prepare(first, parser, false, Parser::envelope).await;
        let (at, headers) = (&first.position, &first.headers);
        let envelope = envelope.flatten().map(|envelope| Envelope { receipt: first.receipt.clone(), ..envelope });
        // What is anything else is told where the page is worked on, and may well be the last one then.
        let is_plain =
            |envelope: &Envelope| self.judge(envelope) == Judgement::Records && self.cap(at, envelope, headers) == Cap::Within;
        if let Some(envelope) = envelope.filter(is_plain)
            && let Ok(Some(next)) = self.next(slice, at, &envelope, headers)
        {
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            self.ask(&mut line, slice, Apart { at: &next, before: at }, 0);
        }
        first
    }

    async fn under_way(&self, set: &PartitionKey) -> Result<Vec<Slice>, FetchError> {
        self.pages.under_way(set).await
    }

    async fn done(&self, slice: &Slice) {
        self.pages.done(slice).await;
    }

    fn requests(&self) -> u64 {
        self.pages.requests()
    }

    fn wanted(&self) -> Vec<ResponsePath> {
        self.pages.wanted()
    }

    fn judge(&self, envelope: &Envelope) -> Judgement {
        self.pages.judge(envelope)
    }

    fn clean(&self, message: String, body: &[u8]) -> String {
        self.pages.clean(message, body)
    }

    fn pages(&self, slice: &Slice, envelope: &Envelope, headers: &HeaderMap) -> Option<u64> {
        self.pages.pages(slice, envelope, headers)
    }

    fn token(&self, slice: &Slice, envelope: &Envelope, headers: &HeaderMap) -> Result<Option<String>, FetchError> {
        self.pages.token(slice, envelope, headers)
    }

    fn ending(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Option<Ending> {
        self.pages.ending(at, envelope, headers)
    }

    fn told(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Option<u64> {
        self.pages.told(at, envelope, headers)
    }

    fn is_overtaken(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> bool {
        let told = self.pages.told(at, envelope, headers);
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if !line.is_beside || told == line.told || !Guards::standing().in_order {
            line.told = told;
            return false;
        }
        (line.is_beside, line.guessed_wrong) = (false, true);
        line.asked.clear();
        true
    }

    fn cap(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Cap {
        self.pages.cap(at, envelope, headers)
    }

    fn next(
        &self,
        slice: &Slice,
        at: &PagePosition,
        envelope: &Envelope,
        headers: &HeaderMap,
    ) -> Result<Option<PagePosition>, FetchError> {
        let next = self.pages.next(slice, at, envelope, headers)?;
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        match &next {
            Some(_) if at.index == 0 => line.count = self.pages.pages(slice, envelope, headers),
            Some(_) => {}
            // What was asked for behind the end is not waited for.
            None => line.asked.clear(),
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests;
