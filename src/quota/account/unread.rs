//! While the ledger does not say what was spent before.

use std::time::Duration;

use super::{Account, BLOCKS};

/// How long whoever waits is kept waiting for what could not be read; then limits count as they are known.
const UNREAD_MAX: Duration = Duration::from_secs(3600);

impl Account {
    /// What was spent before is not known: of each window a block is used at most until it is, or until all that was spent before
    /// `began` has left it. `again_at` is when it is asked for again.
    pub(in crate::quota) fn hold_back(&mut self, began: Duration, now: Duration, again_at: Duration) {
        self.unread = (now < began.saturating_add(UNREAD_MAX)).then_some(again_at);
        for meter in self.limits.iter_mut().map(|limit| &mut limit.meter) {
            let is_over = now >= began.saturating_add(meter.per() + meter.margin());
            meter.set_share(if is_over { meter.limit() } else { (meter.limit() / BLOCKS).max(1) });
        }
    }

    /// What was spent before is known.
    pub(in crate::quota) fn hold_nothing_back(&mut self) {
        self.unread = None;
        self.limits.iter_mut().for_each(|limit| limit.meter.set_share(limit.meter.limit()));
    }
}
