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
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
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
/// Pages that may have come, and wait for their turn, while as many as ever are asked for.
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
        let room = (self.memory / (line.largest * PAGE_COST).max(1)).min((self.at_once + WAITING_MAX) as u64 - 1);
        let most = to_come.min(room);
        for steps in first..=most {
            let place = PagePosition {
                index: at.index + steps,
                records_before: at.records_before.saturating_add(records.saturating_mul(steps)),
                at: PageAt::Number(number.saturating_add(step.saturating_mul(steps))),
                parent: None,
            };
            let (pages, turns) = (Arc::clone(&self.pages), Arc::clone(&self.turns));
            let (parser, slice, asked) = (self.parser.clone(), slice.clone(), place.clone());
            let mut answer = JoinSet::new();
            answer.spawn(async move {
                let turn = turns.acquire().await;
                let page = pages.fetch(&slice, &asked, 1).await?;
                drop(turn);
                Ok(match parser {
                    Some(parser) => prepare(page, parser, |_, _| ()).await.0,
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
    work_on_page(is_light(&unprepared), parsing).await.unwrap_or((unprepared, None))
}

#[async_trait]
impl Source for Ahead {
    async fn fetch(&self, slice: &Slice, at: &PagePosition, attempt: u32) -> Result<RawPage, FetchError> {
        let asked = if attempt == 1 { self.take(slice, at) } else { None };
        // The page whose turn it is waits for none of those that may ask.
        let turn = if asked.is_none() { self.turns.try_acquire().ok() } else { None };
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
            Some(mut asked) => match asked.answer.join_next().await {
                Some(Ok(answer)) => answer?,
                Some(Err(error)) => return Err(FetchError::new(ErrorKind::Bug, format!("a request ahead: {error}"))),
                None => return Err(FetchError::new(ErrorKind::Bug, "a request ahead has no answer")),
            },
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
        let (first, envelope) = prepare(first, parser, Parser::envelope).await;
        let (at, headers) = (&first.position, &first.headers);
        // What is anything else is told where the page is worked on, and may well be the last one then.
        let is_plain =
            |envelope: &Envelope| self.judge(envelope) == Judgement::Records && self.cap(at, envelope, headers) == Cap::Within;
        if let Some(envelope) = envelope.flatten().filter(is_plain)
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
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use tokio::sync::Notify;

    use super::*;
    use crate::ids::PartitionKey;
    use crate::page::Captured;
    use crate::plan::fixture;
    use crate::slice::Reach;

    /// A list whose pages answer only once as many are asked for as there can be, or nothing more is to come.
    struct List {
        records: u64,
        page_size: u64,
        /// Places whose pages are a record shorter than the others.
        short: Vec<u64>,
        refused: Option<u64>,
        log: Mutex<Vec<u64>>,
        under_way: AtomicUsize,
        most: AtomicUsize,
        waits_for: usize,
        changed: Notify,
        body: Bytes,
    }

    fn total_path() -> ResponsePath {
        ResponsePath::parse("total").expect("a path")
    }

    fn page_of(records: u64, fails: bool) -> Bytes {
        let data: Vec<_> = (0..records).map(|id| serde_json::json!({ "id": id })).collect();
        Bytes::from(serde_json::json!({ "data": data, "fails": fails }).to_string())
    }

    impl List {
        fn new(records: u64, waits_for: usize) -> List {
            List {
                records,
                page_size: 10,
                short: Vec::new(),
                refused: None,
                log: Mutex::default(),
                under_way: AtomicUsize::new(0),
                most: AtomicUsize::new(0),
                waits_for,
                changed: Notify::new(),
                body: Bytes::from(vec![b' '; 100]),
            }
        }

        fn at(at: &PagePosition) -> u64 {
            match at.at {
                PageAt::Number(offset) => offset,
                _ => 0,
            }
        }

        /// How many records the page at an offset has.
        fn size(&self, offset: u64) -> u64 {
            (self.page_size - u64::from(self.short.contains(&offset))).min(self.records.saturating_sub(offset))
        }
    }

    #[async_trait]
    impl Source for List {
        fn clean(&self, message: String, _body: &[u8]) -> String {
            message
        }

        async fn fetch(&self, _slice: &Slice, at: &PagePosition, _attempt: u32) -> Result<RawPage, FetchError> {
            let offset = List::at(at);
            self.log.lock().unwrap_or_else(PoisonError::into_inner).push(offset);
            let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            self.changed.notify_waiters();
            let is_last_few = offset + self.page_size * self.waits_for as u64 > self.records;
            // The second page is the first whose neighbours can be known.
            while at.index > 0 && !is_last_few && self.most.load(Ordering::SeqCst) < self.waits_for {
                tokio::task::yield_now().await;
            }
            // Whoever may ask besides does so meanwhile.
            for _ in 0..2 * AT_ONCE_MAX {
                tokio::task::yield_now().await;
            }
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            if self.refused == Some(offset) {
                return Err(FetchError::new(ErrorKind::Unavailable, format!("refused at `{offset}`")));
            }
            Ok(RawPage { position: at.clone(), body: self.body.clone(), ..RawPage::nothing() })
        }

        fn requests(&self) -> u64 {
            self.log.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
        }

        fn wanted(&self) -> Vec<ResponsePath> {
            vec![ResponsePath::parse("fails").expect("a path")]
        }

        fn judge(&self, envelope: &Envelope) -> Judgement {
            match envelope.captured.values().any(|value| *value == Captured::Boolean(true)) {
                true => Judgement::ErrorInDisguise("it fails".to_owned()),
                false => Judgement::Records,
            }
        }

        fn told(&self, _at: &PagePosition, envelope: &Envelope, _headers: &HeaderMap) -> Option<u64> {
            envelope.captured.get(&total_path())?.text()?.parse().ok()
        }

        fn pages(&self, _slice: &Slice, _envelope: &Envelope, _headers: &HeaderMap) -> Option<u64> {
            Some(self.records.div_ceil(self.page_size))
        }

        fn next(
            &self,
            _slice: &Slice,
            at: &PagePosition,
            envelope: &Envelope,
            _headers: &HeaderMap,
        ) -> Result<Option<PagePosition>, FetchError> {
            let next = List::at(at) + envelope.records;
            Ok((next < self.records).then(|| at.after(envelope.records, PageAt::Number(next))))
        }
    }

    fn ahead(list: &Arc<List>, memory: u64) -> Arc<dyn Source> {
        let source = "[streams.rows]\npath = \"/rows\"\nrecords = \"data\"\nprimary_key = [\"id\"]\n\
            paging = { type = \"offset\", offset_param = \"o\", page_size = 10, total = \"total\" }";
        let job = fixture::job(source, "stream = \"rows\"\nmode = \"replace\"");
        Ahead::around(&job, Arc::clone(list) as Arc<dyn Source>, memory)
    }

    /// Reads to the end; returns the places in the order in which their pages came.
    async fn read(list: &List, source: &dyn Source) -> Result<Vec<u64>, FetchError> {
        let slice = Slice { partition: PartitionKey::default(), reach: Reach::Snapshot };
        let (mut at, mut seen) = (Some(PagePosition::start()), Vec::new());
        while let Some(position) = at {
            let page = source.fetch(&slice, &position, 1).await?;
            assert_eq!(page.position, position, "the page that was asked for");
            let offset = List::at(&position);
            seen.push(offset);
            let envelope = Envelope { records: list.size(offset), ..Envelope::default() };
            at = source.next(&slice, &position, &envelope, &page.headers)?;
        }
        Ok(seen)
    }

    #[tokio::test]
    async fn pages_are_asked_for_side_by_side_and_handed_out_in_order() {
        let list = Arc::new(List::new(95, AT_ONCE_MAX));
        let seen = read(&list, &*ahead(&list, 1 << 20)).await.expect("all pages");
        assert_eq!(seen, (0..10).map(|page| page * 10).collect::<Vec<_>>());
        assert_eq!(list.most.load(Ordering::SeqCst), AT_ONCE_MAX);
        assert_eq!(list.requests(), 10, "none is asked for twice, or behind the end");
    }

    #[tokio::test]
    async fn what_follows_the_first_page_is_asked_for_before_it_is_worked_on() {
        let list = Arc::new(List { body: page_of(10, false), ..List::new(95, 1) });
        let source = ahead(&list, 1 << 20);
        let slice = Slice { partition: PartitionKey::default(), reach: Reach::Snapshot };
        let first = source.fetch(&slice, &PagePosition::start(), 1).await.expect("a page");
        let first = source.read_on(&slice, first).await;
        while list.requests() < 1 + (AT_ONCE_MAX + WAITING_MAX) as u64 {
            tokio::task::yield_now().await;
        }
        assert!(first.prepared.take::<Parsed>().is_some(), "nothing is done twice");
        let mut seen = vec![0];
        let mut at = Some(PagePosition::start().after(10, PageAt::Number(10)));
        while let Some(position) = at {
            let page = source.fetch(&slice, &position, 1).await.expect("a page");
            seen.push(List::at(&page.position));
            let envelope = Envelope { records: list.size(List::at(&position)), ..Envelope::default() };
            // It had come when the second was asked for, which is as if they were read one after the other.
            let told = Envelope {
                captured: [(total_path(), Captured::Number(position.index.min(2).to_string()))].into(),
                ..envelope.clone()
            };
            assert_eq!(source.is_overtaken(&position, &told, &page.headers), position.index == 2, "page {}", position.index);
            at = source.next(&slice, &position, &envelope, &page.headers).expect("a place");
        }
        assert_eq!(seen, (0..10).map(|page| page * 10).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_was_asked_for_behind_a_page_came_before_it_where_that_is_asked_for_again() {
        let list = Arc::new(List { body: page_of(10, false), ..List::new(95, 1) });
        let source = ahead(&list, 1 << 20);
        let slice = Slice { partition: PartitionKey::default(), reach: Reach::Snapshot };
        let told = |total: &str| Envelope {
            captured: [(total_path(), Captured::Number(total.to_owned()))].into(),
            records: 10,
            ..Envelope::default()
        };
        let first = source.fetch(&slice, &PagePosition::start(), 1).await.expect("a page");
        let first = source.read_on(&slice, first).await;
        let first = source.fetch(&slice, &first.position, 2).await.expect("a page");
        assert!(!source.is_overtaken(&first.position, &told("96"), &first.headers));
        let next = source.next(&slice, &first.position, &told("96"), &first.headers).expect("a place").expect("another");
        let second = source.fetch(&slice, &next, 1).await.expect("a page");
        assert!(source.is_overtaken(&second.position, &told("95"), &second.headers));
    }

    #[tokio::test]
    async fn nothing_is_asked_for_behind_a_first_page_that_may_be_an_error() {
        for body in [page_of(10, true), Bytes::from_static(b"{\"error\": \"busy\"}"), Bytes::from_static(b"{\"data\": [")] {
            let list = Arc::new(List { body, ..List::new(95, 1) });
            let source = ahead(&list, 1 << 20);
            let slice = Slice { partition: PartitionKey::default(), reach: Reach::Snapshot };
            let first = source.fetch(&slice, &PagePosition::start(), 1).await.expect("a page");
            source.read_on(&slice, first).await;
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            assert_eq!(list.requests(), 1);
        }
    }

    #[tokio::test]
    async fn a_guess_that_does_not_come_true_is_the_last() {
        let list = Arc::new(List { short: vec![30], ..List::new(95, 1) });
        let seen = read(&list, &*ahead(&list, 1 << 20)).await.expect("all pages");
        assert_eq!(seen, [0, 10, 20, 30, 39, 49, 59, 69, 79, 89]);
        assert!(list.requests() < 10 + (AT_ONCE_MAX + WAITING_MAX) as u64, "{:?}", list.log);
    }

    #[tokio::test]
    async fn a_page_that_is_refused_is_so_when_its_turn_comes() {
        let list = Arc::new(List { refused: Some(50), ..List::new(95, 1) });
        let error = read(&list, &*ahead(&list, 1 << 20)).await.expect_err("page 50");
        assert_eq!(error.message, "refused at `50`");
    }

    #[tokio::test]
    async fn pages_that_would_not_fit_are_not_asked_for() {
        let list = Arc::new(List::new(95, 1));
        let seen = read(&list, &*ahead(&list, 8 * 100 * PAGE_COST - 1)).await.expect("all pages");
        assert_eq!((seen.len(), list.most.load(Ordering::SeqCst)), (10, 1));
    }
}
