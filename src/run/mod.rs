//! One run of one job, from lease to commit. Read this first.
//!
//! `lease -> settle what a crash left -> plan what is not covered -> per slice: fetch, decode, cut, transform, stage, commit`
//!
//! The room introduces source, sink and state to each other; none of them knows the others. It holds no knowledge of a format, a
//! protocol of an API or a clock. Deliberately absent: when to run (schedule), what may still be asked (quota).

mod ahead;
mod begun;
mod blank;
mod children;
mod collect;
mod commit;
mod compact;
mod control;
mod doubles;
mod effects;
mod expire;
mod history_row;
mod hold;
mod keyed;
mod load;
mod lost;
mod mark;
mod misfits;
mod options;
mod order;
mod overlap;
mod preview;
mod probe;
mod read;
mod rebuild;
mod recent;
mod refine;
mod repeated;
mod report;
mod rewind;
mod rollback;
mod roster;
mod settle;
mod spool;
mod stage;
mod whole;

pub use ahead::{Ahead, at_once};
pub use begun::begin_with;
pub use children::Children;
pub use collect::{Collected, Heap, collect};
pub use compact::{Compacted, Effort, compact, tend};
pub use expire::Expired;
pub use mark::{Mark, mark, mark_text, marks};
pub use options::{Bound, Rewind, RewindKind, RunOptions};
pub use probe::{Probed, probe};
pub use rebuild::{Rebuilt, rebuild};
pub use report::{Preview, RunError, RunReport, SliceFailure};
pub use rewind::{RewindPreview, preview as preview_rewind};
pub use roster::Roster;
pub use spool::clean as clean_spools;

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::catalog::Job;
use crate::event::Events;
use crate::fault::Guards;
use crate::source::Source;
use crate::state::State;
use crate::stop::Stop;
use crate::store::Store;

/// What a run is for: one path, different ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Load,
    /// Reads pages until `rows` rows are there, writes nothing anywhere.
    Preview {
        rows: usize,
    },
}

/// The injected parts of a run.
#[derive(Clone)]
pub struct Ports {
    pub state: Arc<dyn State>,
    pub store: Arc<dyn Store>,
    pub source: Arc<dyn Source>,
    /// What is known of parents, where they are told apart; the source's, too.
    pub roster: Option<Arc<Roster>>,
    pub clock: Arc<dyn Clock>,
    pub events: Events,
    pub stop: Stop,
    /// Who takes the lease: unique to this process.
    pub owner: String,
    /// Where pages of an undecided slice are spooled; local, disposable.
    pub spool: PathBuf,
    /// Ceiling on data in flight, bytes.
    pub memory: u64,
    pub guards: Guards,
    pub options: RunOptions,
}

impl Ports {
    /// Keeps a line for `logs`. A record or the log says the same, so where it cannot be kept nothing else is lost.
    async fn keep_event(&self, job: &Job, kind: &str, text: &str) {
        if let Err(error) = self.state.note_event(self.clock.now(), Some(&job.name), kind, text).await {
            tracing::warn!(%error, "an event could not be kept");
        }
    }
}

/// Runs a job once.
///
/// An error means that the run came to an end before its slices did; slices that failed while others went on are in the report.
/// Safe to repeat after any end, a kill included: what was committed is covered, what was not is read again.
pub async fn run_job(job: &Job, purpose: Purpose, ports: &Ports) -> Result<RunReport, RunError> {
    match purpose {
        Purpose::Load => load::load(job, ports).await,
        Purpose::Preview { rows } => preview::preview(job, rows, ports).await,
    }
}
