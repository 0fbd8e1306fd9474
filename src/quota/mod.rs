//! What a credential may still ask for.
//!
//! One budget per credential and host, shared by all jobs of the process: two jobs with one token share what the API grants that
//! token. A budget grants a request when every window of `limits.requests` has room, `limits.concurrency` has a free place, and no
//! answer asked for patience (`Retry-After`).
//!
//! *Never above the limit* means: no interval of a window's length holds more requests than the window allows, as the server sees
//! it. So the token bucket gets a small burst only, and a rate that leaves room for it (`window::pace`).
//!
//! Absent on purpose: a ledger shared by several daemons, feedback from `RateLimit` headers, adaptive concurrency.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::config::catalog::Limits;

mod budget;
pub mod told;
mod window;

#[cfg(test)]
pub(crate) mod test_clock;
#[cfg(test)]
mod tests;

pub use budget::{Budget, PAUSE_MAX, Permit, Refused};

/// Who shares a budget.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BudgetKey {
    /// A fingerprint of the credential, never the credential.
    pub credential: String,
    pub host: String,
}

/// All budgets of the process. They are kept for as long as the process lives: a job that opens its source again must not find
/// its budget full again.
pub struct Budgets {
    clock: Arc<dyn Clock>,
    by_key: Mutex<HashMap<BudgetKey, Arc<Budget>>>,
}

impl Budgets {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Budgets { clock, by_key: Mutex::new(HashMap::new()) }
    }

    /// The budget of a credential at a host. Where two sources describe the same one with different limits, both sets hold.
    pub fn get(&self, key: BudgetKey, limits: &Limits) -> Arc<Budget> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = by_key.entry(key).or_insert_with(|| Arc::new(Budget::new(Arc::clone(&self.clock))));
        budget.add_limits(limits);
        Arc::clone(budget)
    }
}
