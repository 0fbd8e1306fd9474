//! Who waits for runs by hand: what they asked for, what they hear of it, and how it ended.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::cli::report::RunJson;
use crate::event::{Event, Listener};
use crate::ids::JobName;
use crate::run::RunOptions;


/// Requests that may wait for one job.
const WAITING_MAX: usize = 32;

/// A request for a run of one job.
pub(super) struct Hand {
    pub options: RunOptions,
    /// A listener that is too slow misses events, and nothing else.
    pub events: mpsc::Sender<Event>,
    pub report: oneshot::Sender<RunJson>,
}

#[derive(Default)]
pub(super) struct Hands {
    waiting: Mutex<HashMap<JobName, VecDeque<Hand>>>,
    /// Who hears of the run under way, by job.
    listening: Mutex<HashMap<JobName, Vec<mpsc::Sender<Event>>>>,
}

impl Hands {
    /// Notes a request, before the schedule is asked for the run. `None` if too many wait already.
    pub fn put(&self, job: &JobName, options: RunOptions, events: mpsc::Sender<Event>) -> Option<oneshot::Receiver<RunJson>> {
        let mut waiting = lock(&self.waiting);
        let of_job = waiting.entry(job.clone()).or_default();
        // Nobody waits for what its asker gave up before it began; its run comes all the same.
        if of_job.len() >= WAITING_MAX {
            return None;
        }
        let (report, reported) = oneshot::channel();
        of_job.push_back(Hand { options, events, report });
        Some(reported)
    }

    /// A run by hand begins: it serves the first request, and those behind that want the same.
    pub fn begin(&self, job: &JobName) -> Vec<Hand> {
        let mut waiting = lock(&self.waiting);
        let mut served: Vec<Hand> = Vec::new();
        let mut others = VecDeque::new();
        for hand in waiting.remove(job).unwrap_or_default() {
            match served.first() {
                Some(first) if first.options != hand.options => others.push_back(hand),
                _ => served.push(hand),
            }
        }
        if !others.is_empty() {
            waiting.insert(job.clone(), others);
        }
        drop(waiting);
        if !served.is_empty() {
            let senders = served.iter().map(|hand| hand.events.clone()).collect();
            lock(&self.listening).insert(job.clone(), senders);
        }
        served
    }

    /// The run under way is over.
    pub fn end(&self, job: &JobName) {
        lock(&self.listening).remove(job);
    }

    /// Forgets requests for jobs that are no more.
    pub fn keep(&self, is_job: impl Fn(&JobName) -> bool) {
        lock(&self.waiting).retain(|job, _| is_job(job));
    }
}

impl Listener for Hands {
    fn hear(&self, event: &Event) {
        let listening = lock(&self.listening);
        for sender in listening.get(event.job()).into_iter().flatten() {
            // Full: the asker is slow. Closed: it left. The run goes on in both cases.
            drop(sender.try_send(event.clone()));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Entries are put and taken whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
