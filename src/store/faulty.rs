//! A store whose every verb is an effect of a [`FaultPlan`].

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Listed, Part, Published, PutAbsent, StagedWriter, Store, StoreError};
use crate::error::ErrorKind;
use crate::fault::{FaultPlan, Outcome};

/// Wraps a store. In a dead world nothing reaches it, not even the end of a writer that is dropped.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: Arc<FaultPlan>,
}

impl FaultyStore {
    pub fn new(inner: Arc<dyn Store>, plan: Arc<FaultPlan>) -> Self {
        FaultyStore { inner, plan }
    }

    async fn effect<T>(
        &self,
        verb: &'static str,
        path: &str,
        perform: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let outcome = self.plan.effect(format!("store.{verb} {path}"), perform).await;
        answer(outcome, verb, || self.inner.address(path))
    }
}

/// What the caller is told of an effect.
fn answer<T>(outcome: Outcome<Result<T, StoreError>>, verb: &'static str, address: impl Fn() -> String) -> Result<T, StoreError> {
    let told = |kind, message: &str| StoreError { kind, verb, address: address(), message: message.to_owned() };
    match outcome {
        Outcome::Answer(answer) => answer,
        // Not `Unavailable`: whoever retries what passes would wait for a world that is gone.
        Outcome::Killed => Err(told(ErrorKind::Cancelled, "killed")),
        Outcome::Failed { .. } | Outcome::ToldExists => Err(told(ErrorKind::Unavailable, "failed as planned")),
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn put_absent(&self, path: &str, bytes: Bytes) -> Result<PutAbsent, StoreError> {
        let put = self.inner.put_absent(path, bytes);
        match self.plan.effect(format!("store.put_absent {path}"), put).await {
            Outcome::ToldExists => Ok(PutAbsent::Exists),
            outcome => answer(outcome, "put_absent", || self.inner.address(path)),
        }
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.effect("put", path, self.inner.put(path, bytes)).await
    }

    async fn get(&self, path: &str, size_max: u64) -> Result<Option<Bytes>, StoreError> {
        self.effect("get", path, self.inner.get(path, size_max)).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.effect("get_range", path, self.inner.get_range(path, range)).await
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        self.effect("size", path, self.inner.size(path)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.effect("list", prefix, self.inner.list(prefix)).await
    }

    async fn unfinished(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.effect("unfinished", prefix, self.inner.unfinished(prefix)).await
    }

    /// What is made ready ahead is no effect of a run: a probe, and a folder without a file.
    async fn prepare(&self, folder: &str) -> Result<(), StoreError> {
        self.inner.prepare(folder).await
    }

    fn part(&self) -> Part {
        self.inner.part()
    }

    async fn stage(&self, path: &str) -> Result<Box<dyn StagedWriter>, StoreError> {
        let inner = self.effect("stage", path, self.inner.stage(path)).await?;
        let writer = FaultyWriter {
            inner: Some(inner),
            plan: Arc::clone(&self.plan),
            path: path.to_owned(),
            address: self.inner.address(path),
        };
        Ok(Box::new(writer))
    }

    async fn publish(&self, staged: &str, target: &str, size: u64) -> Result<Published, StoreError> {
        self.effect("publish", target, self.inner.publish(staged, target, size)).await
    }

    async fn sync(&self, path: &str) -> Result<(), StoreError> {
        self.effect("sync", path, self.inner.sync(path)).await
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.effect("delete", path, self.inner.delete(path)).await
    }

    fn address(&self, path: &str) -> String {
        self.inner.address(path)
    }
}

struct FaultyWriter {
    /// There until the drop.
    inner: Option<Box<dyn StagedWriter>>,
    plan: Arc<FaultPlan>,
    path: String,
    address: String,
}

#[async_trait]
impl StagedWriter for FaultyWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let Some(inner) = &mut self.inner else { return Ok(()) };
        let bytes = match self.plan.cuts(&self.path) {
            true => bytes.slice(..bytes.len().saturating_sub(1)),
            false => bytes,
        };
        let outcome = self.plan.effect(format!("store.write {}", self.path), inner.write(bytes)).await;
        answer(outcome, "write", || self.address.clone())
    }

    async fn finish(&mut self) -> Result<u64, StoreError> {
        let Some(inner) = &mut self.inner else { return Ok(0) };
        let outcome = self.plan.effect(format!("store.finish {}", self.path), inner.finish()).await;
        answer(outcome, "finish", || self.address.clone())
    }

    async fn abort(&mut self) {
        let Some(inner) = &mut self.inner else { return };
        match self.plan.effect(format!("store.abort {}", self.path), inner.abort()).await {
            // An abort has no answer that could be lost.
            Outcome::Answer(()) | Outcome::Killed | Outcome::Failed { .. } | Outcome::ToldExists => {}
        }
    }
}

impl Drop for FaultyWriter {
    fn drop(&mut self) {
        // A killed process cleans nothing up: what its writers would remove when dropped must stay.
        if self.plan.is_dead() {
            std::mem::forget(self.inner.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Ending, Side};
    use crate::store::contract::store_contract;
    use crate::store::local::LocalStore;
    use crate::store::memory::MemoryStore;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[tokio::test]
    async fn keeps_the_contract_when_nothing_goes_wrong() {
        let plan = Arc::new(FaultPlan::none());
        store_contract(&FaultyStore::new(Arc::new(MemoryStore::new()), Arc::clone(&plan))).await;
        assert_eq!(plan.log()[0], "store.put_absent contract/log/00000000000000000001.json");
        assert_eq!(plan.log().len() as u64, plan.count());
    }

    #[tokio::test]
    async fn a_put_applies_though_its_answer_is_lost() {
        let inner = MemoryStore::new();
        let store = FaultyStore::new(Arc::new(inner.clone()), Arc::new(FaultPlan::none().error_after(1)));
        let error = store.put_absent("log/1", bytes("mine")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        // The way out of not knowing: the same bytes again, then read back.
        assert_eq!(store.put_absent("log/1", bytes("mine")).await.unwrap(), PutAbsent::Exists);
        assert_eq!(store.get("log/1", 10).await.unwrap(), Some(bytes("mine")));
    }

    #[tokio::test]
    async fn a_copy_whose_answer_is_lost_is_done() {
        // D-19
        let inner = MemoryStore::new();
        inner.put("s/1.staged", bytes("rows")).await.unwrap();
        let store = FaultyStore::new(Arc::new(inner.clone()), Arc::new(FaultPlan::none().error_after(1)));
        store.publish("s/1.staged", "t/1.parquet", 4).await.unwrap_err();
        inner.delete("s/1.staged").await.unwrap();
        assert_eq!(store.publish("s/1.staged", "t/1.parquet", 4).await.unwrap(), Published::Done);
        assert_eq!(store.get("t/1.parquet", 10).await.unwrap(), Some(bytes("rows")));
    }

    #[tokio::test]
    async fn a_lie_writes_nothing() {
        let inner = MemoryStore::new();
        let store = FaultyStore::new(Arc::new(inner.clone()), Arc::new(FaultPlan::none().lie_exists(1)));
        assert_eq!(store.put_absent("log/1", bytes("mine")).await.unwrap(), PutAbsent::Exists);
        assert_eq!(inner.get("log/1", 10).await.unwrap(), None);
        assert_eq!(store.put_absent("log/1", bytes("mine")).await.unwrap(), PutAbsent::Written);
    }

    #[tokio::test]
    async fn a_dead_world_does_nothing_more() {
        let inner = MemoryStore::new();
        let plan = Arc::new(FaultPlan::kill(2, Side::After, Ending::InProcess));
        let store = FaultyStore::new(Arc::new(inner.clone()), Arc::clone(&plan));
        store.put("a", bytes("a")).await.unwrap();
        assert_eq!(store.put("b", bytes("b")).await.unwrap_err().kind, ErrorKind::Cancelled);
        assert_eq!(store.put("c", bytes("c")).await.unwrap_err().kind, ErrorKind::Cancelled);
        assert!(store.delete("a").await.is_err());
        let left: Vec<String> = inner.list("").await.unwrap().into_iter().map(|listed| listed.path).collect();
        assert_eq!(left, ["a", "b"]);
    }

    #[tokio::test]
    async fn a_killed_writer_leaves_its_unfinished_file() {
        let folder = tempfile::tempdir().unwrap();
        // 1 stage, 2 write (one part is sent), 3 write.
        let plan = Arc::new(FaultPlan::kill(3, Side::Before, Ending::InProcess));
        let store = FaultyStore::new(Arc::new(LocalStore::new(folder.path())), plan);
        let mut writer = store.stage("s/1.staged").await.unwrap();
        writer.write(Bytes::from(vec![0; 9 << 20])).await.unwrap();
        writer.write(bytes("x")).await.unwrap_err();
        drop(writer);
        assert!(folder.path().join("s/1.staged#1").exists());
    }
}
