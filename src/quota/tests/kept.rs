//! What a restart remembers.

use std::collections::BTreeMap;
use std::sync::Mutex as StdMutex;

use async_trait::async_trait;
use jiff::Timestamp;

use super::*;
use crate::ledger::{Ledger, LedgerEntry, LedgerError};
use crate::quota::keep::Entry;
use crate::quota::told::{Refusal, RefusalCause, Told};
use crate::stop::Stop;
use test_clock::TestClock;

const SILENT: &(dyn Fn(&str, Duration) + Sync) = &|_, _| ();

#[derive(Default)]
pub(super) struct Paper {
    /// Several share it, and this is their clock.
    shared: Option<Arc<TestClock>>,
    entries: StdMutex<BTreeMap<String, LedgerEntry>>,
    broken: std::sync::atomic::AtomicBool,
    writes: std::sync::atomic::AtomicUsize,
    /// So many readings fail from now on.
    unread: std::sync::atomic::AtomicUsize,
    /// So many times from now on somebody else writes just before whoever wants to.
    rivals: std::sync::atomic::AtomicUsize,
}

impl Paper {
    pub(super) fn shared(clock: Arc<TestClock>) -> Paper {
        Paper { shared: Some(clock), ..Paper::default() }
    }

    pub(super) fn breaks(&self, broken: bool) {
        self.broken.store(broken, std::sync::atomic::Ordering::SeqCst);
    }

    fn one_less(count: &std::sync::atomic::AtomicUsize) -> bool {
        use std::sync::atomic::Ordering::SeqCst;
        count.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

#[async_trait]
impl Ledger for Paper {
    fn shared_for(&self) -> Option<Duration> {
        self.shared.as_ref().map(|_| secs(30))
    }

    async fn shared_entry(&self, account: &str) -> Result<(Option<LedgerEntry>, Timestamp), LedgerError> {
        if self.broken.load(std::sync::atomic::Ordering::SeqCst) {
            let kind = crate::error::ErrorKind::Unavailable;
            return Err(LedgerError { kind, action: "read".to_owned(), message: "no disk".to_owned() });
        }
        let clock = self.shared.as_ref().expect("it is shared");
        Ok((self.entry(account).await?, crate::clock::Clock::now(&**clock)))
    }

    async fn entry(&self, account: &str) -> Result<Option<LedgerEntry>, LedgerError> {
        if Paper::one_less(&self.unread) {
            let kind = crate::error::ErrorKind::Unavailable;
            return Err(LedgerError { kind, action: "read".to_owned(), message: "no disk".to_owned() });
        }
        Ok(self.entries.lock().unwrap().get(account).cloned())
    }

    async fn entries(&self) -> Result<Vec<LedgerEntry>, LedgerError> {
        Ok(self.entries.lock().unwrap().values().cloned().collect())
    }

    async fn put_entry(&self, account: &str, before: u64, text: &str, at: Timestamp) -> Result<bool, LedgerError> {
        use std::sync::atomic::Ordering::SeqCst;
        if self.broken.load(SeqCst) {
            let kind = crate::error::ErrorKind::Unavailable;
            return Err(LedgerError { kind, action: "write".to_owned(), message: "no disk".to_owned() });
        }
        self.writes.fetch_add(1, SeqCst);
        let mut entries = self.entries.lock().unwrap();
        if Paper::one_less(&self.rivals) {
            let new = LedgerEntry { account: account.to_owned(), version: 0, text: Entry::default().text(), at };
            entries.entry(account.to_owned()).or_insert(new).version += 1;
        }
        if entries.get(account).map_or(0, |entry| entry.version) != before {
            return Ok(false);
        }
        let entry = LedgerEntry { account: account.to_owned(), version: before + 1, text: text.to_owned(), at };
        entries.insert(account.to_owned(), entry);
        Ok(true)
    }
}

async fn once(budget: &Arc<Budget>) -> Result<(), Refused> {
    let permit = budget.take(Arc::new(claim("a")), &Stop::new(), SILENT).await?;
    permit.answered(Outcome::Answered, &Told::default());
    Ok(())
}

fn open(clock: &Arc<TestClock>, paper: &Arc<Paper>, writer: &str, limits: &Limits) -> (Budgets, Arc<Budget>) {
    let budgets = Budgets::new(clock.clone()).patient_for(secs(60)).kept_in(paper.clone(), writer);
    let budget = budgets.get(key("a"), limits);
    (budgets, budget)
}

#[tokio::test]
async fn a_long_window_is_not_overrun_by_a_crash() {
    //
    let (clock, paper) = (Arc::new(TestClock::new()), Arc::new(Paper::default()));
    let limits = limits(&[(640, 3600)], Some(4));
    let mut sent = 0;
    for life in 0..50 {
        let (budgets, budget) = open(&clock, &paper, &format!("life-{life}"), &limits);
        for _ in 0..35 {
            match once(&budget).await {
                Ok(()) => sent += 1,
                Err(refused) => assert!(matches!(refused, Refused::Later { .. })),
            }
        }
        // It dies: nothing is closed.
        drop(budgets);
        clock.advance(secs(1));
    }
    assert!(sent <= 640, "{sent}");
    // What each of the eighteen that could send lost is less than a block of ten.
    assert!(sent >= 640 - 19 * 10, "{sent}");
}

#[tokio::test]
async fn whoever_ends_well_gives_back_what_it_did_not_spend() {
    let (clock, paper) = (Arc::new(TestClock::new()), Arc::new(Paper::default()));
    let limits = limits(&[(640, 3600), (10, 1)], Some(4));
    let mut sent = 0;
    for life in 0..50 {
        let (budgets, budget) = open(&clock, &paper, &format!("life-{life}"), &limits);
        for _ in 0..35 {
            sent += u32::from(once(&budget).await.is_ok());
        }
        budgets.close().await;
    }
    assert_eq!(sent, 640);
    let views = kept_views(&paper.entries().await.unwrap(), &*clock);
    assert_eq!((views[0].host.as_str(), views[0].windows[0].left), ("api.example.com", Some(0)));
}

#[tokio::test]
async fn a_window_of_seconds_is_waited_out_after_a_crash_alone() {
    let (clock, paper) = (Arc::new(TestClock::new()), Arc::new(Paper::default()));
    let limits = limits(&[(100, 5)], None);
    let (_, budget) = open(&clock, &paper, "one", &limits);
    once(&budget).await.unwrap();
    let (budgets, budget) = open(&clock, &paper, "two", &limits);
    let before = clock.elapsed();
    once(&budget).await.unwrap();
    assert!(clock.elapsed() - before >= secs(5));
    budgets.close().await;
    let (_, budget) = open(&clock, &paper, "three", &limits);
    let before = clock.elapsed();
    once(&budget).await.unwrap();
    assert!(clock.elapsed() - before < secs(1));
}

#[tokio::test]
async fn patience_is_remembered() {
    //
    let (clock, paper) = (Arc::new(TestClock::new()), Arc::new(Paper::default()));
    let (_, budget) = open(&clock, &paper, "one", &limits(&[], None));
    let permit = budget.take(Arc::new(claim("a")), &Stop::new(), SILENT).await.unwrap();
    let refusal = Refusal { cause: RefusalCause::Rate, patience: Some(secs(600)), limit: String::new() };
    permit.answered(Outcome::Answered, &Told { limits: Vec::new(), refusal: Some(refusal) });
    drop(permit);
    budget.settle().await;
    clock.advance(secs(100));
    let (_, budget) = open(&clock, &paper, "two", &limits(&[], None));
    let Err(Refused::Later { length, .. }) = once(&budget).await else { panic!("granted within the patience") };
    assert!(length <= secs(500) && length > secs(498), "{length:?}");
}

#[test]
fn a_found_pace_is_remembered() {
    use crate::quota::account::Account;
    use crate::quota::keep::{Moment, Part};
    let mut world = super::world::World::new(Account::new(), super::world::Api::new(&[(50, secs(1))]));
    world.run(8, secs(30), &super::world::silent);
    let rate = world.account.pace.rate().expect("found");
    let moment = Moment { now: world.now, wall: Timestamp::UNIX_EPOCH, uptime: None };
    let part = Part::of(&world.account, true, &[], &moment);
    assert_eq!(part.pace, Some(rate));
}

#[tokio::test]
async fn a_ledger_that_does_not_answer_stops_nobody() {
    //
    let (clock, paper) = (Arc::new(TestClock::new()), Arc::new(Paper::default()));
    let (_, budget) = open(&clock, &paper, "one", &limits(&[(10, 3600)], None));
    paper.broken.store(true, std::sync::atomic::Ordering::SeqCst);
    for _ in 0..10 {
        once(&budget).await.unwrap();
    }
    assert!(once(&budget).await.is_err(), "the limit holds all the same");
}

#[tokio::test]
async fn who_cannot_read_what_was_spent_uses_a_block_until_it_can() {
    //
    use std::sync::atomic::Ordering::SeqCst;
    let (clock, paper) = (Arc::new(TestClock::new()), Arc::new(Paper::default()));
    let limits = limits(&[(640, 3600)], Some(4));
    let (budgets, budget) = open(&clock, &paper, "one", &limits);
    for _ in 0..600 {
        once(&budget).await.unwrap();
    }
    budgets.close().await;
    let began = clock.elapsed();
    paper.unread.store(3, SeqCst);
    let (budgets, budget) = open(&clock, &paper, "two", &limits);
    for _ in 0..10 {
        once(&budget).await.unwrap();
    }
    assert!(clock.elapsed() < began + secs(1), "a block is at hand at once");
    // More is there once it is known how much.
    let mut sent = 10;
    while once(&budget).await.is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 40, "600 were spent before");
    assert!(clock.elapsed() < began + secs(10), "it was not waited for longer than it had to be");
    assert_eq!(paper.unread.load(SeqCst), 0);
    budgets.close().await;
    let view = kept_views(&paper.entries().await.unwrap(), &*clock);
    assert_eq!(view[0].windows[0].left, Some(0), "{view:?}");
}

#[tokio::test]
async fn who_can_never_read_what_was_spent_uses_the_whole_limit_once_that_has_left_the_window() {
    //
    use std::sync::atomic::Ordering::SeqCst;
    let (clock, paper) = (Arc::new(TestClock::new()), Arc::new(Paper::default()));
    let limits = limits(&[(640, 3600)], Some(4));
    paper.unread.store(usize::MAX, SeqCst);
    let (_budgets, budget) = open(&clock, &paper, "one", &limits);
    let mut sent = 0;
    while once(&budget).await.is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 10);
    clock.advance(secs(3700));
    while once(&budget).await.is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 10 + 640);
    assert!(paper.entries().await.unwrap().is_empty(), "who does not know what stands there puts nothing in its place");
}

#[tokio::test]
async fn nothing_is_granted_that_others_cannot_see() {
    //
    use std::sync::atomic::Ordering::SeqCst;
    let (clock, paper) = (Arc::new(TestClock::new()), Arc::new(Paper::default()));
    let (_budgets, budget) = open(&clock, &paper, "one", &limits(&[(640, 3600)], Some(4)));
    let before = clock.elapsed();
    paper.rivals.store(5, SeqCst);
    once(&budget).await.unwrap();
    let entry = Entry::read(&paper.entries().await.unwrap()[0].text).unwrap();
    assert_eq!(entry.parts["one"].windows[0].ahead, 10, "it is written down before it is spent: {entry:?}");
    assert!(clock.elapsed() > before, "the ledger is left alone for a while");
    // Where others are quicker for ever, whoever waits is sent away like from any limit.
    paper.rivals.store(usize::MAX, SeqCst);
    let mut sent = 1;
    while once(&budget).await.is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 10, "what was granted");
    paper.rivals.store(0, SeqCst);
    once(&budget).await.unwrap();
}

#[tokio::test]
async fn two_processes_count_on_one_account() {
    let (clock, paper) = (Arc::new(TestClock::new()), Arc::new(Paper::default()));
    let limits = limits(&[(640, 3600)], Some(4));
    let (_, one) = open(&clock, &paper, "one", &limits);
    let (_, other) = open(&clock, &paper, "other", &limits);
    let mut sent = 0;
    for _ in 0..640 {
        sent += u32::from(once(&one).await.is_ok());
        sent += u32::from(once(&other).await.is_ok());
    }
    assert!((100..=640).contains(&sent), "{sent}");
}

#[tokio::test]
async fn little_is_written() {
    let (clock, paper) = (Arc::new(TestClock::new()), Arc::new(Paper::default()));
    let (_, budget) = open(&clock, &paper, "one", &limits(&[(6400, 3600)], Some(4)));
    for _ in 0..1000 {
        once(&budget).await.unwrap();
    }
    let writes = paper.writes.load(std::sync::atomic::Ordering::SeqCst);
    assert!(writes <= 12, "{writes} for 1000 requests");
    let size = paper.entries().await.unwrap()[0].text.len();
    assert!(size < 8 * 1024, "{size} bytes");
}
