use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::clock::SystemClock;
use crate::fault::FaultPlan;
use crate::store::faulty::FaultyStore;
use crate::store::local::LocalStore;
use crate::store::memory::MemoryStore;
use crate::store::{Listed, StagedWriter};

/// How a store breaks its word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// `If-None-Match` is taken for nothing.
    IgnoresConditions,
    /// Looks, and then writes: two that look at the same moment both write.
    LooksThenWrites,
    /// Copies the first half.
    CutsCopies,
    /// Shows nothing in listings.
    ListsLate,
    /// An hour behind.
    Slow,
    /// Cannot make durable what it shows.
    NeverSyncs,
}

struct Broken {
    inner: MemoryStore,
    fault: Fault,
}

#[async_trait]
impl Store for Broken {
    async fn put_absent(&self, path: &str, bytes: Bytes) -> Result<PutAbsent, StoreError> {
        match self.fault {
            Fault::IgnoresConditions => self.inner.put(path, bytes).await.map(|()| PutAbsent::Written),
            Fault::LooksThenWrites => {
                if self.inner.size(path).await?.is_some() {
                    return Ok(PutAbsent::Exists);
                }
                tokio::task::yield_now().await;
                self.inner.put(path, bytes).await.map(|()| PutAbsent::Written)
            }
            _ => self.inner.put_absent(path, bytes).await,
        }
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.inner.put(path, bytes).await
    }

    async fn get(&self, path: &str, size_max: u64) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(path, size_max).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.inner.get_range(path, range).await
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        self.inner.size(path).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let mut listed = self.inner.list(prefix).await?;
        match self.fault {
            Fault::ListsLate => listed.clear(),
            Fault::Slow => listed.iter_mut().for_each(|one| one.modified -= SignedDuration::from_hours(2)),
            _ => {}
        }
        Ok(listed)
    }

    async fn stage(&self, path: &str) -> Result<Box<dyn StagedWriter>, StoreError> {
        self.inner.stage(path).await
    }

    async fn publish(&self, staged: &str, target: &str, size: u64) -> Result<Published, StoreError> {
        if self.fault == Fault::CutsCopies {
            let whole = self.inner.get(staged, 1 << 20).await?.unwrap_or_default();
            self.inner.put(target, whole.slice(..whole.len() / 2)).await?;
        }
        self.inner.publish(staged, target, size).await
    }

    async fn sync(&self, path: &str) -> Result<(), StoreError> {
        match self.fault {
            Fault::NeverSyncs => Err(StoreError {
                kind: ErrorKind::Unavailable,
                verb: "sync",
                address: self.address(path),
                message: "Input/output error (os error 5)".to_owned(),
            }),
            _ => self.inner.sync(path).await,
        }
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.inner.delete(path).await
    }

    fn address(&self, path: &str) -> String {
        self.inner.address(path)
    }
}

async fn broken(fault: Fault) -> (Vec<Finding>, Result<(), StoreError>) {
    let store = Broken { inner: MemoryStore::new(), fault };
    let clock = SystemClock::new();
    let findings = probe(&store, &clock, Depth::Whole).await.unwrap();
    let required = require(&store, &clock).await;
    assert_eq!(store.inner.list("").await.unwrap(), vec![], "nothing is left");
    (findings, required)
}

fn worst<'a>(findings: &'a [Finding], what: &str) -> (Verdict, &'a str) {
    let found = findings.iter().find(|finding| finding.what == what).unwrap();
    (found.verdict, &found.message)
}

#[tokio::test]
async fn good_stores_are_found_good_and_nothing_is_left() {
    // O-18
    let folder = tempfile::tempdir().unwrap();
    let memory = MemoryStore::new();
    let local = LocalStore::new(&folder.path().join("lake"));
    for store in [&memory as &dyn Store, &local] {
        let findings = probe(store, &SystemClock::new(), Depth::Whole).await.unwrap();
        let whats: Vec<&str> = findings.iter().map(|finding| finding.what).collect();
        assert_eq!(whats, ["put_if_absent", "listing", "clock", "copy", "rivals", "unfinished_upload", "durable"]);
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:?}");
        assert_eq!(store.list("").await.unwrap(), vec![]);
        require(store, &SystemClock::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_ignores_put_if_absent_is_refused_with_the_way_out() {
    // D-53
    let (findings, required) = broken(Fault::IgnoresConditions).await;
    assert_eq!(findings.len(), 1, "nothing else is tried on it: {findings:?}");
    assert_eq!(worst(&findings, "put_if_absent").0, Verdict::Unfit);
    let error = required.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    insta::assert_snapshot!(error, @"probe `memory:/`: the store ignores put-if-absent: a second writer replaced what the first had decided: write to S3, Google Cloud Storage, Azure Blob Storage, a current MinIO, or a folder on a local disk");
}

#[tokio::test]
async fn a_store_that_looks_and_then_writes_is_found_by_whoever_asks() {
    // D-53
    let (findings, _) = broken(Fault::LooksThenWrites).await;
    assert_eq!(worst(&findings, "put_if_absent").0, Verdict::Good);
    assert_eq!(worst(&findings, "rivals").0, Verdict::Unfit);
}

#[tokio::test]
async fn a_store_that_cuts_copies_is_refused() {
    // D-54
    let (findings, required) = broken(Fault::CutsCopies).await;
    assert_eq!(worst(&findings, "copy"), (Verdict::Unfit, "the store cuts what it copies"));
    assert_eq!(required.unwrap_err().kind, ErrorKind::Config);
}

#[tokio::test]
async fn a_store_that_cannot_make_durable_what_it_shows_is_told() {
    // O-18, D-05
    let (findings, _) = broken(Fault::NeverSyncs).await;
    let (verdict, message) = worst(&findings, "durable");
    assert_eq!(verdict, Verdict::Unfit);
    assert!(message.starts_with("what was written cannot be made durable: memory://_highwater/probe/"), "{message}");
    assert!(message.ends_with("(os error 5)"), "{message}");
}

#[tokio::test]
async fn late_listings_and_a_wrong_clock_are_told_and_no_reason_to_refuse() {
    // D-55
    let (findings, required) = broken(Fault::ListsLate).await;
    assert_eq!(worst(&findings, "listing").0, Verdict::Odd);
    required.unwrap();
    let (findings, required) = broken(Fault::Slow).await;
    let (verdict, message) = worst(&findings, "clock");
    assert_eq!(verdict, Verdict::Odd);
    assert!(message.contains("behind this machine's"), "{message}");
    required.unwrap();
}

#[tokio::test]
async fn any_one_answer_may_be_lost() {
    // D-13
    let clean = Arc::new(FaultPlan::none());
    probe(&FaultyStore::new(Arc::new(MemoryStore::new()), Arc::clone(&clean)), &SystemClock::new(), Depth::Needed).await.unwrap();
    for at in 1..=clean.count() {
        let plan = Arc::new(FaultPlan::none().error_after(at));
        let found = probe(&FaultyStore::new(Arc::new(MemoryStore::new()), plan), &SystemClock::new(), Depth::Needed).await;
        // Either it could not be asked, or it is good: a lost answer makes no store unfit.
        match found {
            Ok(findings) => assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{at}: {findings:?}"),
            Err(error) => assert_eq!(error.kind, ErrorKind::Unavailable, "{at}"),
        }
    }
}

#[tokio::test]
async fn what_a_killed_probe_left_goes_with_a_later_one() {
    let inner = MemoryStore::new();
    inner.put("_highwater/probe/old/decided", Bytes::from_static(b"x")).await.unwrap();
    inner.put("_highwater/orders/current.json", Bytes::from_static(b"x")).await.unwrap();
    probe(&inner, &SystemClock::new(), Depth::Needed).await.unwrap();
    assert_eq!(inner.list("_highwater/probe").await.unwrap().len(), 1, "another process may be at work with it");
    let aged = Aged(inner.clone());
    probe(&aged, &SystemClock::new(), Depth::Needed).await.unwrap();
    let left: Vec<String> = inner.list("").await.unwrap().into_iter().map(|one| one.path).collect();
    assert_eq!(left, ["_highwater/orders/current.json"]);
}

/// What is called `old` is of yesterday.
struct Aged(MemoryStore);

#[async_trait]
impl Store for Aged {
    async fn put_absent(&self, path: &str, bytes: Bytes) -> Result<PutAbsent, StoreError> {
        self.0.put_absent(path, bytes).await
    }
    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.0.put(path, bytes).await
    }
    async fn get(&self, path: &str, size_max: u64) -> Result<Option<Bytes>, StoreError> {
        self.0.get(path, size_max).await
    }
    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.0.get_range(path, range).await
    }
    async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        self.0.size(path).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let mut listed = self.0.list(prefix).await?;
        for one in listed.iter_mut().filter(|one| one.path.contains("/old/")) {
            one.modified -= SignedDuration::from_hours(24);
        }
        Ok(listed)
    }
    async fn stage(&self, path: &str) -> Result<Box<dyn StagedWriter>, StoreError> {
        self.0.stage(path).await
    }
    async fn publish(&self, staged: &str, target: &str, size: u64) -> Result<Published, StoreError> {
        self.0.publish(staged, target, size).await
    }
    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.0.delete(path).await
    }
    fn address(&self, path: &str) -> String {
        self.0.address(path)
    }
}
