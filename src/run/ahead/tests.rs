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
async fn as_many_late_pages_as_come_at_once_are_followed_at_once() {
    let list = Arc::new(List { body: page_of(10, false), ..List::new(195, AT_ONCE_MAX) });
    let source = ahead(&list, 1 << 20);
    let slice = Slice { partition: PartitionKey::default(), reach: Reach::Snapshot };
    let first = source.fetch(&slice, &PagePosition::start(), 1).await.expect("a page");
    source.read_on(&slice, first).await;
    // It is waited for, and nobody asks for another one then.
    source.fetch(&slice, &PagePosition::start().after(10, PageAt::Number(10)), 1).await.expect("a page");
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(list.requests(), 1 + 2 * AT_ONCE_MAX as u64);
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
    assert!(list.requests() < 10 + 2 * AT_ONCE_MAX as u64, "{:?}", list.log);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_asked_for_in_their_order_whichever_task_runs_first() {
    for _ in 0..20 {
        let list = Arc::new(List { body: page_of(10, false), ..List::new(95, AT_ONCE_MAX) });
        let source = ahead(&list, 1 << 20);
        let slice = Slice { partition: PartitionKey::default(), reach: Reach::Snapshot };
        // On a thread of the pool the task that was begun last is the first to run.
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            let first = source.fetch(&slice, &PagePosition::start(), 1).await.expect("a page");
            source.read_on(&slice, first).await;
            source
        });
        let _source = reading.join_next().await.expect("a task").expect("no panic");
        while list.requests() < 1 + AT_ONCE_MAX as u64 {
            tokio::task::yield_now().await;
        }
        let mut asked = list.log.lock().unwrap_or_else(PoisonError::into_inner)[1..=AT_ONCE_MAX].to_vec();
        asked.sort_unstable();
        assert_eq!(asked, [10, 20, 30, 40]);
    }
}
