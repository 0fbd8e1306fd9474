//! A state as a run found it, for whoever makes the same run again elsewhere.

use jiff::Timestamp;

use crate::config::catalog::Job;
use crate::dataset::DatasetState;
use crate::slice::Cover;
use crate::state::State;

use super::RunError;
use super::commit::state_fingerprint;

/// Notes in a state that is new what counts as read of a job's table, by the job as it is now: a definition that was edited must not
/// make the run begin elsewhere, for only what was asked then can be answered.
pub async fn begin_with(job: &Job, state: &dyn State, covers: &[Cover], owner: &str, now: Timestamp) -> Result<(), RunError> {
    let mut known = DatasetState { fingerprint: state_fingerprint(job), ..DatasetState::default() };
    for cover in covers {
        known.add_pending(cover.clone());
    }
    let lease = state.lease(&job.dataset, owner, now).await?;
    state.advance(&lease, &known, None).await?;
    Ok(state.release(&lease).await?)
}
