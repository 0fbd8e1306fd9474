//! How others speak to the driver.

use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::ScheduledJob;
use super::timetable::Timetable;
use super::view::View;
use crate::clock::Clock;
use crate::event::RunEnd;
use crate::ids::JobName;

/// The driver is over, or about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the scheduler has stopped")]
pub struct Gone;

/// Runs that were asked for by hand.
#[derive(Debug)]
pub struct HandRuns {
    /// Names that no job has.
    pub unknown: Vec<JobName>,
    /// Jobs whose run had begun already: theirs is a second one, behind it.
    pub behind: Vec<JobName>,
    /// How each of the runs ended, in the order of the ends. It closes after the last; a run that never began, because its job
    /// was removed or the daemon stops, ends as `Stopped`.
    pub ends: mpsc::Receiver<(JobName, RunEnd)>,
}

/// What became of the jobs by a reload; names in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    pub added: Vec<JobName>,
    /// A run of theirs that is under way goes on to its end.
    pub removed: Vec<JobName>,
    /// Jobs with another schedule than before: their due times begin anew.
    pub rescheduled: Vec<JobName>,
}

pub(super) enum Command {
    RunNow { jobs: Vec<JobName>, answer: oneshot::Sender<HandRuns> },
    Reload { jobs: Vec<ScheduledJob>, answer: oneshot::Sender<Reloaded> },
    Ping { answer: oneshot::Sender<()> },
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) timetable: Arc<Mutex<Timetable>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Handle {
    /// Runs jobs as soon as there are places, before all that is due by schedule; a parked job too. A job that runs already
    /// runs once more behind that.
    ///
    /// # Errors
    /// [`Gone`] once the driver was asked to stop.
    pub async fn run_now(&self, jobs: Vec<JobName>) -> Result<HandRuns, Gone> {
        self.ask(|answer| Command::RunNow { jobs, answer }).await
    }

    /// Replaces the list of jobs. Runs under way go on. Jobs that were parked until somebody changes something may run again.
    ///
    /// # Errors
    /// [`Gone`] once the driver was asked to stop.
    pub async fn reload(&self, jobs: Vec<ScheduledJob>) -> Result<Reloaded, Gone> {
        self.ask(|answer| Command::Reload { jobs, answer }).await
    }

    /// Returns when the driver's loop has come round once, which takes an answer of the state if it has to write: proof for a
    /// watchdog that both are alive. Give it a deadline.
    ///
    /// # Errors
    /// [`Gone`] once the driver was asked to stop.
    pub async fn ping(&self) -> Result<(), Gone> {
        self.ask(|answer| Command::Ping { answer }).await
    }

    /// All jobs as they are at this moment. Waits for nobody.
    pub fn view(&self) -> View {
        let now = self.clock.now();
        self.timetable.lock().unwrap_or_else(PoisonError::into_inner).view(now)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Gone> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }
}
