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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::RunEnd;

    fn ended(job: &JobName) -> Event {
        Event::JobEnded { job: job.clone(), took: Duration::ZERO, end: RunEnd::Done }
    }

    #[test]
    fn those_who_want_the_same_share_a_run_and_its_events() {
        let (hands, job) = (Hands::default(), JobName::new("orders"));
        let (first, mut first_hears) = mpsc::channel(4);
        let (second, mut second_hears) = mpsc::channel(1);
        for events in [first, second] {
            assert!(hands.put(&job, RunOptions::default(), events).is_some());
        }
        hands.hear(&ended(&job));
        assert!(first_hears.try_recv().is_err(), "the run before theirs is none of their business");
        assert_eq!(hands.begin(&job).len(), 2);
        hands.hear(&ended(&job));
        hands.hear(&ended(&JobName::new("other")));
        // The second's queue is full: it misses events, and nobody waits for it.
        hands.hear(&ended(&job));
        assert!(first_hears.try_recv().is_ok() && first_hears.try_recv().is_ok() && first_hears.try_recv().is_err());
        assert!(second_hears.try_recv().is_ok() && second_hears.try_recv().is_err());
        hands.end(&job);
        hands.hear(&ended(&job));
        assert!(first_hears.try_recv().is_err());
        assert!(hands.begin(&job).is_empty());
    }

    #[test]
    fn requests_are_bounded_and_go_with_their_job() {
        let (hands, job) = (Hands::default(), JobName::new("orders"));
        let (events, _hears) = mpsc::channel(1);
        for _ in 0..WAITING_MAX {
            assert!(hands.put(&job, RunOptions::default(), events.clone()).is_some());
        }
        assert!(hands.put(&job, RunOptions::default(), events).is_none());
        hands.keep(|_| false);
        assert!(hands.begin(&job).is_empty());
    }
}
