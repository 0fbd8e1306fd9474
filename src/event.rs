//! What happens during a run, for whoever shows, counts or alerts. One enum; sending never blocks and never fails a run.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::Counts;
use crate::ids::{JobName, RunId, Seq};
use crate::slice::Slice;

#[derive(Clone, Debug)]
pub enum Event {
    RunStarted {
        job: JobName,
        run: RunId,
    },
    SliceStarted {
        job: JobName,
        slice: Slice,
    },
    /// A page was fetched: bytes after decompression, records in it; the source's total where the API tells one.
    PageFetched {
        job: JobName,
        bytes: u64,
        records: u64,
        total: Option<u64>,
    },
    /// A request waits for its budget or for the source's patience.
    Waiting {
        job: JobName,
        reason: String,
        length: Duration,
    },
    /// An attempt failed and will be made again.
    Retrying {
        job: JobName,
        reason: String,
        attempt: u32,
        length: Duration,
    },
    SchemaChanged {
        job: JobName,
        change: String,
    },
    SliceCommitted {
        job: JobName,
        seq: Seq,
        counts: Counts,
        files: u64,
        bytes: u64,
    },
    /// Nothing in it: coverage advanced without a record.
    SliceEmpty {
        job: JobName,
        slice: Slice,
    },
    SliceFailed {
        job: JobName,
        slice: Slice,
        reason: String,
    },
    Recovered {
        job: JobName,
        what: String,
    },
    RunFinished {
        job: JobName,
        run: RunId,
        counts: Counts,
        failed: bool,
    },
}

/// Whoever wants to hear of events.
pub trait Listener: Send + Sync {
    fn hear(&self, event: &Event);
}

/// Where events go. Cheap to clone.
#[derive(Clone, Default)]
pub struct Events {
    listeners: Vec<Arc<dyn Listener>>,
}

impl Events {
    pub fn to(listeners: Vec<Arc<dyn Listener>>) -> Self {
        Events { listeners }
    }

    pub fn tell(&self, event: Event) {
        for listener in &self.listeners {
            listener.hear(&event);
        }
    }
}
