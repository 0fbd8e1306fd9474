//! What one of several processes may spend of limits that all of them share.

use std::borrow::Cow;
use std::sync::Arc;

use super::{BudgetKey, Budgets};
use crate::config::catalog::{Limits, Rate};
use crate::ledger::Ledger;

/// Where budgets are kept, and the name of this process there.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) writer: String,
    /// What a source asked an earlier process for holds for this one.
    pub(crate) patient: bool,
    /// Where each daemon has accounts of its own, where it stands.
    pub(crate) place: Option<String>,
}

impl Keeper {
    /// The name of a budget in the ledger.
    pub(super) fn account(&self, key: &BudgetKey) -> String {
        match &self.place {
            Some(place) => format!("{}@{place}", key.account()),
            None => key.account(),
        }
    }
}

impl Budgets {
    /// So many processes ask with the same credentials: each may spend an equal part of every limit, whatever the others do, and so
    /// also while nobody can be asked. In the ledger each has accounts of its own then: those of `place`, which stays the
    /// same when it is started again, and is nobody else's.
    pub fn shared_by(mut self, sharers: u32, place: &str) -> Self {
        self.sharers = sharers.max(1);
        if let Some(keeper) = self.keeper.as_mut().filter(|_| sharers > 1) {
            keeper.place = Some(place.to_owned());
        }
        self
    }
}

/// An equal part, rounded down, of each limit; at least one of each.
pub(super) fn part_of(limits: &Limits, sharers: u32) -> Cow<'_, Limits> {
    if sharers <= 1 {
        return Cow::Borrowed(limits);
    }
    let mut part = limits.clone();
    let rates = |rates: &mut Vec<Rate>| rates.iter_mut().for_each(|rate| rate.requests = (rate.requests / sharers).max(1));
    rates(&mut part.requests);
    rates(&mut part.points);
    part.concurrency = part.concurrency.map(|most| (most / sharers as usize).max(1));
    for group in &mut part.groups {
        rates(&mut group.requests);
        rates(&mut group.points);
        group.concurrency = group.concurrency.map(|most| (most / sharers as usize).max(1));
    }
    Cow::Owned(part)
}
