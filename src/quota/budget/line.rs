//! A place in the queue before a budget.

use std::sync::Arc;

use tokio::sync::{Notify, oneshot};

use super::super::claim::Claim;
use super::super::queue::{Place, Rank};
use super::{Budget, Permit, Refused, Waiter};

/// A place in the queue; left when dropped.
pub(super) struct Line<'a> {
    budget: &'a Arc<Budget>,
    pub(super) claim: Arc<Claim>,
    pub(super) place: Place,
    pub(super) grant: oneshot::Receiver<Result<u64, Refused>>,
    pub(super) wake: Arc<Notify>,
    pub(super) served: bool,
}

impl<'a> Line<'a> {
    pub(super) fn enter(budget: &'a Arc<Budget>, claim: Arc<Claim>, rank: Rank) -> Self {
        let (sender, grant) = oneshot::channel();
        let wake = Arc::new(Notify::new());
        let waiter = Waiter { claim: Arc::clone(&claim), grant: sender, wake: Arc::clone(&wake) };
        let leaves_at = budget.clock.elapsed().saturating_add(budget.patience);
        let place = {
            let mut inner = budget.inner();
            let place = inner.queue.enter(rank, &claim.job, waiter);
            if !claim.holds && rank != Rank::GoesOn {
                inner.leaving.push_back((leaves_at, place));
            }
            place
        };
        Line { budget, claim, place, grant, wake, served: false }
    }

    pub(super) fn granted(&mut self) -> Option<Result<u64, Refused>> {
        let granted = self.grant.try_recv().ok()?;
        self.served = true;
        Some(granted)
    }

    pub(super) fn permit(&self, number: u64) -> Permit {
        Permit { budget: Arc::clone(self.budget), claim: Arc::clone(&self.claim), number }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.served {
            return;
        }
        self.grant.close();
        {
            let mut inner = self.budget.inner();
            inner.queue.leave(&self.place);
            if let Ok(Ok(number)) = self.grant.try_recv() {
                inner.account.cancel(number);
            }
        }
        self.budget.serve();
    }
}
