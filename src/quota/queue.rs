//! In which order those that wait are served: by urgency, and within one by start-time fair queueing over the jobs, so that a job
//! with a hundred requests waiting gets no more than one with two.

use std::collections::{BTreeMap, HashMap};

use crate::ids::JobName;

use super::claim::Class;

/// Jobs that are remembered beyond those that wait.
const ENDS_MAX: usize = 64;

/// Whoever waits, by the order of service: rank, start in the rank's own time, arrival.
pub(super) type Place = (Rank, u64, u64);

/// What goes on from a redirect holds a place that others wait for, so it goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Rank {
    GoesOn,
    Class(Class),
}

#[derive(Default)]
pub(super) struct Queue<T> {
    waiting: BTreeMap<Place, T>,
    /// By urgency and job, when its last request ends in the queue's own time, which counts requests.
    ends: HashMap<(Rank, JobName), u64>,
    /// By urgency, the time of the request that was served last.
    served: HashMap<Rank, u64>,
    arrivals: u64,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Queue { waiting: BTreeMap::new(), ends: HashMap::new(), served: HashMap::new(), arrivals: 0 }
    }

    pub(super) fn enter(&mut self, rank: Rank, job: &JobName, waiter: T) -> Place {
        let served = self.served.get(&rank).copied().unwrap_or_default();
        // Whoever waited for nothing of late has no claim on what it did not use.
        if self.ends.len() > self.waiting.len() * 2 + ENDS_MAX {
            self.ends.retain(|(of, _), end| *of != rank || *end > served);
        }
        let start = self.ends.get(&(rank, job.clone())).copied().unwrap_or_default().max(served);
        self.ends.insert((rank, job.clone()), start + 1);
        self.arrivals += 1;
        let place = (rank, start, self.arrivals);
        self.waiting.insert(place, waiter);
        place
    }

    /// Takes a waiter out that is served.
    pub(super) fn serve(&mut self, place: &Place) -> Option<T> {
        let served = self.served.entry(place.0).or_default();
        *served = (*served).max(place.1);
        self.waiting.remove(place)
    }

    /// Takes a waiter out that does not want any more.
    pub(super) fn leave(&mut self, place: &Place) -> Option<T> {
        self.waiting.remove(place)
    }

    pub(super) fn first(&self) -> Option<(&Place, &T)> {
        self.waiting.first_key_value()
    }

    /// The next after a place, in the order of service.
    pub(super) fn after(&self, place: Option<Place>) -> Option<(Place, &T)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = place.map_or(Unbounded, Excluded);
        self.waiting.range((from, Unbounded)).next().map(|(place, waiter)| (*place, waiter))
    }

    pub(super) fn contains(&self, place: &Place) -> bool {
        self.waiting.contains_key(place)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> JobName {
        JobName::new(name)
    }

    fn drain(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        let mut served = Vec::new();
        while let Some(place) = queue.first().map(|(place, _)| *place) {
            served.push(queue.serve(&place).expect("the first is there"));
        }
        served
    }

    #[test]
    fn urgency_first_then_jobs_in_turn() {
        //
        let mut queue = Queue::new();
        for _ in 0..3 {
            queue.enter(Rank::Class(Class::Backfill), &job("a"), "backfill");
        }
        for _ in 0..3 {
            queue.enter(Rank::Class(Class::Scheduled), &job("greedy"), "greedy");
        }
        queue.enter(Rank::Class(Class::Scheduled), &job("modest"), "modest");
        queue.enter(Rank::Class(Class::Preview), &job("a"), "preview");
        assert_eq!(drain(&mut queue), ["greedy", "modest", "greedy", "greedy", "backfill", "backfill", "backfill", "preview"]);
    }

    #[test]
    fn whoever_comes_late_is_owed_nothing() {
        let mut queue = Queue::new();
        for _ in 0..5 {
            queue.enter(Rank::Class(Class::Scheduled), &job("a"), "a");
        }
        drain(&mut queue);
        for _ in 0..3 {
            queue.enter(Rank::Class(Class::Scheduled), &job("b"), "b");
            queue.enter(Rank::Class(Class::Scheduled), &job("a"), "a");
        }
        let served = drain(&mut queue);
        assert_eq!(served.iter().filter(|who| **who == "b").count(), 3);
        assert_ne!(served[..3], ["b", "b", "b"]);
    }
}
