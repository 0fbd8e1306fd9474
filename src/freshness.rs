//! How old a job's table is: what `late` measures and the metrics show.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::catalog::Job;
use crate::dataset::DatasetState;
use crate::event::{Event, RunEnd};
use crate::ids::JobName;

/// What the age of a table follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// The high-water mark, where it is a point in time: everything before it is in the table.
    pub mark: Option<Timestamp>,
    /// When the newest run that ended well began: the table shows the source as it was then.
    pub done_at: Option<Timestamp>,
    /// Since when the job is watched; counts before it has run.
    pub since: Timestamp,
}

impl Freshness {
    /// The table is as of its mark; without one, as of its last good run.
    pub fn age(&self, now: Timestamp) -> Duration {
        since(self.mark.or(self.done_at).unwrap_or(self.since), now)
    }

    /// How far the mark is behind.
    pub fn lag(&self, now: Timestamp) -> Option<Duration> {
        self.mark.map(|mark| since(mark, now))
    }

    /// Takes in what a run of the job did.
    pub fn hear(&mut self, event: &Event, now: Timestamp) {
        match event {
            // A run that did not come to a mark leaves it.
            Event::RunFinished { mark, .. } => self.mark = mark.or(self.mark),
            Event::JobEnded { took, end: RunEnd::Done, .. } => self.done_at = now.checked_sub(*took).ok(),
            _ => {}
        }
    }
}

/// A moment of the future is no time ago: clocks differ.
fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or(Duration::ZERO)
}

/// A job that metrics and alerts look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub job: JobName,
    /// The age that its table should never have.
    pub limit: Option<Duration>,
    pub freshness: Freshness,
}

impl Watched {
    /// `known` and `done_at` as the state has them.
    pub fn new(job: &Job, known: Option<&DatasetState>, done_at: Option<Timestamp>, now: Timestamp) -> Self {
        let mark = known.and_then(|known| time_mark(job, known));
        Watched { job: job.name.clone(), limit: job.freshness, freshness: Freshness { mark, done_at, since: now } }
    }

    /// After a reload: the job was watched before, which nothing that is read anew can know.
    pub fn go_on(&mut self, before: &Watched) {
        self.freshness.since = before.freshness.since.min(self.freshness.since);
    }
}

/// Where a job loads many parameter sets, the one that is furthest behind says how old the table is.
fn time_mark(job: &Job, known: &DatasetState) -> Option<Timestamp> {
    if job.stream.window_cursor().is_none_or(|cursor| !cursor.cursor_type.is_time()) {
        return None;
    }
    let marks = known.coverage.partitions.keys().map(|partition| known.coverage.mark(partition, job.window.start));
    marks.collect::<Option<Vec<_>>>()?.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Counts;
    use crate::ids::RunId;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn a_table_is_as_old_as_its_mark_and_without_one_as_its_last_good_run() {
        let ended = |took: u64| Event::JobEnded { job: JobName::new("j"), took: Duration::from_secs(took), end: RunEnd::Done };
        let finished = |mark: Option<Timestamp>| Event::RunFinished {
            job: JobName::new("j"),
            run: RunId(uuid::Uuid::nil()),
            counts: Counts::default(),
            failed: false,
            mark,
        };
        let mut fresh = Freshness { mark: None, done_at: None, since: at(100) };
        assert_eq!((fresh.age(at(160)).as_secs(), fresh.lag(at(160))), (60, None));
        fresh.hear(&ended(5), at(155));
        assert_eq!(fresh.age(at(160)).as_secs(), 10);
        fresh.hear(&finished(Some(at(90))), at(155));
        // Runs that end well and bring nothing forward leave the table old.
        assert_eq!((fresh.age(at(160)).as_secs(), fresh.lag(at(160))), (70, Some(Duration::from_secs(70))));
        fresh.hear(&finished(None), at(155));
        assert_eq!(fresh.mark, Some(at(90)));
        assert_eq!(fresh.age(at(50)), Duration::ZERO, "a clock that was set back makes nothing late");
    }
}
