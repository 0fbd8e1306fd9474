//! The loop.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use super::handle::{Command, Handle};
use super::timetable::Timetable;
use super::{Runner, ScheduleError, ScheduledJob};
use crate::clock::Clock;
use crate::state::State;
use crate::stop::Stop;

pub struct Driver {
    commands: mpsc::Receiver<Command>,
}

impl Driver {
    pub fn new(
        _state: Arc<dyn State>,
        clock: Arc<dyn Clock>,
        _runner: Arc<dyn Runner>,
        _jobs: Vec<ScheduledJob>,
        _runs_at_once: usize,
    ) -> (Driver, Handle) {
        let (sender, commands) = mpsc::channel(64);
        let handle = Handle { commands: sender, timetable: Arc::new(Mutex::new(Timetable {})), clock };
        (Driver { commands }, handle)
    }

    /// Works until `stop` is asked for and all runs have ended.
    pub async fn drive(mut self, stop: Stop) -> Result<(), ScheduleError> {
        stop.wait().await;
        self.commands.close();
        Ok(())
    }
}
