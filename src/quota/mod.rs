//! What a credential may still ask for: a budget that is planned, shared, kept and used to the edge.
//!
//! One [`Budget`] per credential and host, shared by all jobs of the process: two jobs with one token share what the API grants
//! that token. Who wants to send makes a [`Claim`] and takes a [`Permit`]; what the answer says of limits goes back as [`told::Told`].
//!
//! Behind it stands an *account*, pure, with time and chance as arguments: declared windows and groups counted exactly (`meter`),
//! limits that answers tell of (`learnt`), what neither tells and has to be found (`adaptive`), a circuit breaker and a budget of
//! retries (`breaker`). Before it stands a queue by urgency and, within one, fair between jobs. What must not be forgotten in a
//! crash goes to the ledger (`keep`) before it is spent.
//!
//! *Never above the limit* means: no interval of a window's length holds more requests than the window allows, as the server sees
//! it, also over restarts and steps of the clock.
//!
//! Absent on purpose: HTTP. What a header means is read in `source::http::told`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::catalog::Limits;
use crate::ledger::{Ledger, LedgerEntry};

mod account;
mod adaptive;
mod blocked;
mod breaker;
mod budget;
mod claim;
mod forecast;
mod keep;
mod learnt;
mod meter;
mod queue;
mod share;
mod smooth;
pub mod told;
mod users;
mod view;

#[cfg(test)]
pub(crate) mod test_clock;
#[cfg(test)]
mod tests;

pub use account::Outcome;
pub use budget::{Budget, PAUSE_MAX, Permit, Refused};
pub use claim::{Claim, Class};
pub use forecast::Forecast;
use share::Keeper;
pub use view::{AccountView, UsedBy, WindowView};

/// Who shares a budget.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BudgetKey {
    /// A fingerprint of the credential, never the credential.
    pub credential: String,
    pub host: String,
}

impl BudgetKey {
    /// The name in the ledger.
    fn account(&self) -> String {
        format!("{} {}", self.host, self.credential)
    }

    fn of_account(account: &str) -> BudgetKey {
        let (host, credential) = account.split_once(' ').unwrap_or((account, ""));
        BudgetKey { credential: credential.to_owned(), host: host.to_owned() }
    }
}

/// All budgets of the process. They are kept for as long as the process lives: a job that opens its source again must not find
/// its budget full again.
pub struct Budgets {
    clock: Arc<dyn Clock>,
    keeper: Option<Keeper>,
    patience: Duration,
    by_key: Mutex<HashMap<BudgetKey, Arc<Budget>>>,
}

impl Budgets {
    /// Budgets that a restart forgets, and whose waiters wait up to [`PAUSE_MAX`].
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Budgets { clock, keeper: None, patience: PAUSE_MAX, by_key: Mutex::new(HashMap::new()) }
    }

    /// Keeps them in a ledger. `writer` is the name of this process there, unlike any other's.
    pub fn kept_in(mut self, ledger: Arc<dyn Ledger>, writer: &str) -> Self {
        self.keeper = Some(Keeper { ledger, writer: writer.to_owned(), patient: true, place: String::new() });
        self
    }

    /// Asks sources although they wanted patience of an earlier process; what was spent still counts.
    pub fn impatient(mut self) -> Self {
        if let Some(keeper) = &mut self.keeper {
            keeper.patient = false;
        }
        self
    }

    /// Whoever has to wait longer than this is sent away, to come again; for those that somebody wakes then.
    pub fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The budget of a credential at a host. Where two sources describe the same one with different limits, both sets hold.
    pub fn get(&self, key: BudgetKey, limits: &Limits) -> Arc<Budget> {
        let mut by_key = self.by_key();
        let budget = by_key
            .entry(key.clone())
            .or_insert_with(|| Arc::new(Budget::new(key, Arc::clone(&self.clock), self.keeper.clone(), self.patience)));
        budget.declare(limits);
        Arc::clone(budget)
    }

    /// Every account, by host and credential.
    pub fn views(&self) -> Vec<AccountView> {
        let mut views: Vec<AccountView> = self.by_key().values().map(|budget| budget.view()).collect();
        views.sort_by(|one, other| (&one.host, &one.credential).cmp(&(&other.host, &other.credential)));
        views
    }

    /// The last word to the ledger, once nothing is sent any more: what was granted ahead and not spent is given back.
    pub async fn close(&self) {
        let budgets: Vec<Arc<Budget>> = self.by_key().values().map(Arc::clone).collect();
        for budget in budgets {
            budget.close().await;
        }
    }

    fn by_key(&self) -> MutexGuard<'_, HashMap<BudgetKey, Arc<Budget>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a ledger says of its accounts, for whoever looks while nobody works with it. What cannot be read is left out.
pub fn kept_views(entries: &[LedgerEntry], clock: &dyn Clock) -> Vec<AccountView> {
    let moment = keep::Moment { now: clock.elapsed(), wall: clock.now(), uptime: clock.uptime() };
    entries.iter().filter_map(|entry| AccountView::of_entry(&entry.account, &entry.text, &moment)).collect()
}
