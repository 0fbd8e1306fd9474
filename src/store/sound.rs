//! A store that is probed before it is written to for the first time: once a process and sink, not at all by a run that finds
//! nothing to write, so that looking leaves no trace.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OnceCell;

use super::{Listed, Part, Published, PutAbsent, StagedWriter, Store, StoreError, probe};
use crate::clock::Clock;
use crate::config::catalog::Sink;

/// Sinks remembered; beyond that all are forgotten and probed again. Only a daemon whose files are edited for ever comes there.
const KNOWN_MAX: usize = 10_000;

/// Which sinks of this process were found fit.
pub struct Soundness {
    clock: Arc<dyn Clock>,
    /// By place and settings: an edited sink is another one.
    known: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
}

impl Soundness {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Soundness { clock, known: Mutex::default() }
    }

    /// Puts the probe before a sink's store. A store that fails it refuses every verb that writes, with the reason; one that
    /// could not be asked is asked again the next time.
    pub fn guard(&self, sink: &Sink, store: Arc<dyn Store>) -> Arc<dyn Store> {
        // Secrets are in here as references, which do not print.
        let name = format!("{:?} {:?}", sink.place, sink.storage);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        let probed = Arc::clone(known.entry(name).or_default());
        Arc::new(SoundStore { inner: store, probed, clock: Arc::clone(&self.clock) })
    }
}

struct SoundStore {
    inner: Arc<dyn Store>,
    probed: Arc<OnceCell<()>>,
    clock: Arc<dyn Clock>,
}

impl SoundStore {
    async fn fit(&self) -> Result<&dyn Store, StoreError> {
        self.probed.get_or_try_init(|| probe::require(&*self.inner, &*self.clock)).await?;
        Ok(&*self.inner)
    }
}

#[async_trait]
impl Store for SoundStore {
    async fn put_absent(&self, path: &str, bytes: Bytes) -> Result<PutAbsent, StoreError> {
        self.fit().await?.put_absent(path, bytes).await
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.fit().await?.put(path, bytes).await
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
        self.inner.list(prefix).await
    }

    async fn unfinished(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.inner.unfinished(prefix).await
    }

    async fn prepare(&self, folder: &str) -> Result<(), StoreError> {
        self.fit().await?.prepare(folder).await
    }

    fn part(&self) -> Part {
        self.inner.part()
    }

    async fn stage(&self, path: &str) -> Result<Box<dyn StagedWriter>, StoreError> {
        self.fit().await?.stage(path).await
    }

    async fn publish(&self, staged: &str, target: &str, size: u64) -> Result<Published, StoreError> {
        self.fit().await?.publish(staged, target, size).await
    }

    async fn sync(&self, path: &str) -> Result<(), StoreError> {
        self.inner.sync(path).await
    }

    /// Not probed before: what is removed was found by a name that a record or a fit store gave.
    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.inner.delete(path).await
    }

    fn address(&self, path: &str) -> String {
        self.inner.address(path)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::SystemClock;
    use crate::config::catalog::{Compression, ParquetSettings, SinkPlace};
    use crate::fault::FaultPlan;
    use crate::store::contract::store_contract;
    use crate::store::faulty::FaultyStore;
    use crate::store::memory::MemoryStore;

    fn sink() -> Sink {
        Sink {
            name: "lake".to_owned(),
            file: "sinks/lake.toml".to_owned(),
            format: Default::default(),
            place: SinkPlace::Local("/nowhere".into()),
            storage: BTreeMap::new(),
            parquet: ParquetSettings { compression: Compression::None, file_size: 1, row_group_size: 1 },
            keep: Default::default(),
        }
    }

    #[tokio::test]
    async fn a_sink_is_probed_once_and_only_before_it_is_written_to() {
        let plan = Arc::new(FaultPlan::none());
        let inner: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), Arc::clone(&plan)));
        let soundness = Soundness::new(Arc::new(SystemClock::new()));
        let store = soundness.guard(&sink(), Arc::clone(&inner));
        assert_eq!(store.get("a", 10).await.unwrap(), None);
        assert_eq!(plan.count(), 1, "{:?}", plan.log());
        store.put("a", Bytes::new()).await.unwrap();
        let after = plan.count();
        assert!(after > 5, "{:?}", plan.log());
        soundness.guard(&sink(), inner).put("b", Bytes::new()).await.unwrap();
        assert_eq!(plan.count(), after + 1);
    }

    #[tokio::test]
    async fn what_was_prepared_is_not_probed_again() {
        let plan = Arc::new(FaultPlan::none().error_after(2));
        let inner: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), Arc::clone(&plan)));
        let store = Soundness::new(Arc::new(SystemClock::new())).guard(&sink(), inner);
        store.prepare("a").await.unwrap_err();
        store.prepare("a").await.unwrap();
        let after = plan.count();
        assert!(after > 5, "{:?}", plan.log());
        store.put("a", Bytes::new()).await.unwrap();
        assert_eq!(plan.count(), after + 1);
    }

    #[tokio::test]
    async fn a_store_that_could_not_be_asked_is_asked_again() {
        let plan = Arc::new(FaultPlan::none().error_after(2));
        let inner: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), plan));
        let store = Soundness::new(Arc::new(SystemClock::new())).guard(&sink(), inner);
        store.put("a", Bytes::new()).await.unwrap_err();
        store.put("a", Bytes::new()).await.unwrap();
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        let inner: Arc<dyn Store> = Arc::new(MemoryStore::new());
        store_contract(&*Soundness::new(Arc::new(SystemClock::new())).guard(&sink(), inner)).await;
    }
}
