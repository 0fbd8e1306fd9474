//! What happened, kept in the state for `logs`: runs and slices, and what the daemon did.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::batch::Counts;
use crate::clock::Clock;
use crate::event::{Event, Listener, RunEnd};
use crate::ids::JobName;
use crate::state::State;
use crate::stop::Stop;

use super::progress::{describe_counts, describe_slice};
use super::text::{counted, length, size, thousands};

/// Events that wait to be written. Beyond it the newest are left out, and counted: a run never waits for its history.
const WAITING_MAX: usize = 4_096;

/// Takes in events. Never blocks.
pub(crate) struct History {
    clock: Arc<dyn Clock>,
    notes: mpsc::Sender<Note>,
    left_out: AtomicU64,
    /// What runs under way came to, until their end is told.
    read: Mutex<HashMap<JobName, Counts>>,
}

struct Note {
    at: Timestamp,
    job: Option<JobName>,
    kind: &'static str,
    text: String,
}

/// Writes what a [`History`] took in.
pub(crate) struct HistoryWriter {
    state: Arc<dyn State>,
    notes: mpsc::Receiver<Note>,
}

impl History {
    pub fn new(state: Arc<dyn State>, clock: Arc<dyn Clock>) -> (Arc<History>, HistoryWriter) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let history = Arc::new(History { clock, notes: sender, left_out: AtomicU64::new(0), read: Mutex::default() });
        (history, HistoryWriter { state, notes: receiver })
    }

    /// Notes something of a job, or of the process as a whole.
    pub fn note(&self, job: Option<&JobName>, kind: &'static str, text: String) {
        let note = Note { at: self.clock.now(), job: job.cloned(), kind, text };
        if self.notes.try_send(note).is_err() {
            let left_out = self.left_out.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(left_out, "the state takes events too slowly: some are missing from `logs`");
        }
    }
}

impl Listener for History {
    fn hear(&self, event: &Event) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = match event {
            Event::RunFinished { job, counts, .. } => {
                read.insert(job.clone(), *counts);
                None
            }
            Event::JobEnded { job, .. } => read.remove(job),
            _ => None,
        };
        drop(read);
        if let Some((job, kind, text)) = describe(event, counts) {
            self.note(Some(job), kind, text);
        }
    }
}

impl HistoryWriter {
    /// Writes until stop is asked for, and then what was taken in before that.
    pub async fn write(mut self, stop: Stop) {
        loop {
            let note = tokio::select! {
                biased;
                note = self.notes.recv() => note,
                () = stop.wait() => self.notes.try_recv().ok(),
            };
            let Some(note) = note else { return };
            if let Err(error) = self.state.note_event(note.at, note.job.as_ref(), note.kind, &note.text).await {
                // Not worth a run: its own row says how it went, and what ails the state is told by whoever needs it.
                tracing::debug!(%error, kind = note.kind, "an event could not be kept");
            }
        }
    }
}

/// An event's job, its kind and a sentence; `None` for what is progress, and for what the run notes by itself. `read` is what a run
/// that ends came to.
fn describe(event: &Event, read: Option<Counts>) -> Option<(&JobName, &'static str, String)> {
    let (job, kind, text) = match event {
        Event::RunStarted { job, run } => (job, "run_started", format!("run {run}")),
        Event::SliceCommitted { job, seq, counts, files, bytes, .. } => {
            let written = format!("{}, {}", counted(*files, "file"), size(*bytes));
            (job, "committed", format!("commit {seq}: {} ({written})", describe_counts(counts)))
        }
        Event::SliceFailed { job, slice, reason } => (job, "slice_failed", format!("{}: {reason}", describe_slice(slice))),
        Event::Recovered { job, what, .. } => (job, "recovered", what.clone()),
        Event::JobEnded { job, took, end } => {
            let read = read.map(|counts| format!(", {} fetched, {}", thousands(counts.fetched), describe_counts(&counts)));
            let came_to = format!("{}{}", length(*took), read.unwrap_or_default());
            match end {
                RunEnd::Done => (job, "run_done", format!("in {came_to}")),
                RunEnd::Stopped => (job, "run_stopped", format!("after {came_to}; the rest is left to the next run")),
                RunEnd::Failed { reason, .. } => (job, "run_failed", format!("after {came_to}: {reason}")),
                RunEnd::Parked { until: Some(until), reason } => (job, "parked", format!("until {until}: {reason}")),
                RunEnd::Parked { until: None, reason } => (job, "parked", reason.clone()),
            }
        }
        // A change of columns is noted by the run itself, in the state it works with.
        _ => return None,
    };
    Some((job, kind, text))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::SystemClock;
    use crate::state::memory::MemoryState;

    fn ended(end: RunEnd) -> Event {
        Event::JobEnded { job: JobName::new("orders"), took: Duration::from_secs(3), end }
    }

    #[tokio::test]
    async fn what_was_taken_in_before_the_stop_is_written() {
        let state: Arc<dyn State> = Arc::new(MemoryState::default());
        let (history, writer) = History::new(Arc::clone(&state), Arc::new(SystemClock::new()));
        let counts = Counts { fetched: 1200, kept: 1190, duplicate: 10, ..Counts::default() };
        let run = crate::ids::RunId(uuid::Uuid::nil());
        history.hear(&Event::RunFinished { job: JobName::new("orders"), run, counts, failed: false, mark: None });
        history.hear(&ended(RunEnd::Done));
        history.hear(&Event::RequestSent { job: JobName::new("orders") });
        history.note(None, "serve_started", "1 job".to_owned());
        let stop = Stop::new();
        stop.request();
        writer.write(stop).await;
        let events = state.events(None, 10).await.expect("events");
        let told: Vec<(&str, &str)> = events.iter().rev().map(|event| (event.kind.as_str(), event.text.as_str())).collect();
        assert_eq!(told, [("run_done", "in 3.0s, 1,200 fetched, 1,190 kept, 10 duplicate"), ("serve_started", "1 job")]);
    }

    #[tokio::test]
    async fn a_state_that_takes_nothing_costs_the_run_nothing() {
        let state: Arc<dyn State> = Arc::new(MemoryState::default());
        let (history, writer) = History::new(Arc::clone(&state), Arc::new(SystemClock::new()));
        for _ in 0..WAITING_MAX + 7 {
            history.hear(&ended(RunEnd::Stopped));
        }
        assert_eq!(history.left_out.load(Ordering::Relaxed), 7);
        drop(writer);
    }
}
