//! Memory that runs leave behind goes back to the system. What a run frees lies between what others still use, where the allocator keeps
//! it for the next one, and the code that it took stays mapped; a daemon that rests has no use for either (docs/adr/0045, 0048).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::heap;
use crate::image;
use crate::stop::Stop;

/// After work has ended, for so long other work may begin, which would only ask for the memory again.
const PAUSE: Duration = Duration::from_secs(1);
/// Where there is always work, memory goes back this often.
const BUSY: Duration = Duration::from_secs(60);

/// What is at work that takes memory: runs, and turns that tend a table.
#[derive(Default)]
pub(super) struct Spare {
    at_work: AtomicUsize,
    ended: Notify,
}

/// Something is at work for as long as this is there.
pub(super) struct AtWork(Arc<Spare>);

impl Spare {
    pub fn begin(self: &Arc<Self>) -> AtWork {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork(Arc::clone(self))
    }

    /// Gives memory back whenever work has ended, until `stop` is asked for.
    pub async fn give_back(self: Arc<Self>, clock: Arc<dyn Clock>, stop: Stop) {
        let mut last = clock.elapsed();
        // The start is such work, too.
        self.ended.notify_one();
        while !stop.requested() {
            tokio::select! {
                () = stop.wait() => return,
                () = async { self.ended.notified().await; clock.sleep(PAUSE).await } => {}
            }
            if self.is_due(clock.elapsed().saturating_sub(last)) {
                let giving = || {
                    heap::give_back();
                    image::give_back();
                };
                if let Err(error) = tokio::task::spawn_blocking(giving).await {
                    tracing::warn!(%error, "memory could not be given back");
                }
                last = clock.elapsed();
            }
        }
    }

    /// While something is at work, its end will say so again.
    fn is_due(&self, since_last: Duration) -> bool {
        self.at_work.load(Ordering::Relaxed) == 0 || since_last >= BUSY
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
        self.0.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_goes_back_once_nothing_is_at_work_and_now_and_then_where_there_always_is() {
        let spare = Arc::new(Spare::default());
        let (one, other) = (spare.begin(), spare.begin());
        drop(one);
        spare.ended.notified().await;
        assert!(!spare.is_due(Duration::ZERO));
        assert!(spare.is_due(BUSY));
        drop(other);
        spare.ended.notified().await;
        assert!(spare.is_due(Duration::ZERO));
    }
}
