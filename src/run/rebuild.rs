//! The state is a cache of the lake for what is covered: this forgets it and learns it from the log again.

use serde::Serialize;

use crate::clock::Asked;
use crate::config::catalog::Job;
use crate::dataset::DatasetState;
use crate::error::ErrorKind;
use crate::state::Lease;

use super::hold::while_held;
use super::{Ports, RunError, RunReport, mark_text, settle};

/// What the log told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    pub seq_before: u64,
    /// Records in the log.
    pub seq: u64,
    pub generation: u32,
    pub mark: Option<String>,
    /// Empty slices that only the state knew of: they are asked for again.
    pub forgotten: u64,
}

/// Forgets what the state knows of a job's dataset and reads it from the log, from its first record. A crash in between leaves a
/// state that knows nothing, which every run mends.
///
/// # Errors
/// Where the log cannot be read or is not what it should be, nothing is forgotten.
pub async fn rebuild(job: &Job, ports: &Ports) -> Result<Rebuilt, RunError> {
    let asked = Asked::now(&*ports.clock);
    let lease = ports.state.lease(&job.dataset, &ports.owner, ports.clock.now()).await?;
    let rebuilt = while_held(ports, &lease, asked, learn(job, ports, &lease)).await;
    let released = ports.state.release(&lease).await;
    let rebuilt = rebuilt?;
    released?;
    Ok(rebuilt)
}

async fn learn(job: &Job, ports: &Ports, lease: &Lease) -> Result<Rebuilt, RunError> {
    let before = ports.state.dataset(&job.dataset).await?.unwrap_or_default();
    ports.state.advance(lease, &DatasetState::default(), None).await?;
    let mut index = None;
    let mut report = RunReport::start(job, ports.clock.run_id());
    let learnt = async {
        let head = settle::settle(job, ports, lease, &mut index, &mut report).await?;
        // The log has less than was known: what its records do not name must not be loaded a second time beside it.
        if head.state.seq < before.seq {
            settle::check_table(job, ports, &head).await?;
        }
        Ok::<_, RunError>(head)
    };
    let mut head = match learnt.await {
        Ok(head) => head,
        // What the log does not tell is better known from before.
        Err(error) if error.kind != ErrorKind::Conflict => {
            ports.state.advance(lease, &before, None).await?;
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    if head.state.seq < before.seq {
        // What the lake has lost is read again, and compared with what is there.
        head.state.generation = head.state.generation.max(before.generation) + 1;
        ports.state.advance(lease, &head.state, None).await?;
    }
    Ok(Rebuilt {
        seq_before: before.seq,
        seq: head.state.seq,
        generation: head.state.generation,
        mark: mark_text(job, &head.state.coverage),
        forgotten: before.pending.len() as u64,
    })
}
