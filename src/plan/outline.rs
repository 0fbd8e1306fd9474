//! What lies before a run, as far as it can be told in advance.

use jiff::Timestamp;

use crate::config::catalog::Job;
use crate::ids::PartitionKey;
use crate::slice::{Coverage, Reach, Slice, Span};

use super::window::{align_start, closed_end, gaps};
use super::{first_piece, known_spans, next};

/// What lies before a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The first slices, in the order in which they would be read.
    pub slices: Vec<Slice>,
    /// How many slices there are beyond those.
    pub more: u64,
}

/// Slices that an outline names; the others are counted.
pub(super) const OUTLINE_MAX: usize = 1000;
/// Where counting stops: a window of years cut into seconds is not counted to its end.
const COUNT_MAX: u64 = 1_000_000;

/// All slices that lie before a run, as far as they can be told in advance: set after set.
pub fn outline(job: &Job, coverage: &Coverage, source_now: Timestamp) -> Outline {
    let mut outline = Outline::default();
    for set in &job.sets {
        if outline.more >= COUNT_MAX {
            break;
        }
        outline_set(job, &set.partition, coverage, source_now, &mut outline);
    }
    outline
}

fn outline_set(job: &Job, partition: &PartitionKey, coverage: &Coverage, source_now: Timestamp, outline: &mut Outline) {
    let Some(first) = next(job, partition, coverage, &[], source_now) else { return };
    let (Some(_), Some(cursor)) = (first.span(), job.stream.window_cursor()) else { return outline.add(first) };
    let Some(end) = closed_end(cursor, job.window.settle, source_now) else { return };
    let start = align_start(cursor, job.window.start);
    for mut gap in gaps(start, end, &known_spans(job, cursor, coverage, partition)) {
        loop {
            let piece = first_piece(job, gap);
            outline.add(Slice { partition: partition.clone(), reach: Reach::Time(piece) });
            if piece.to >= gap.to || outline.more >= COUNT_MAX {
                break;
            }
            gap = Span::new(Some(piece.to), gap.to);
        }
    }
}

impl Outline {
    fn add(&mut self, slice: Slice) {
        match self.slices.len() < OUTLINE_MAX {
            true => self.slices.push(slice),
            false => self.more += 1,
        }
    }

    /// How many of the slices another outline does not have as they are: one that begins earlier is another slice.
    pub fn beyond(&self, other: &Outline) -> u64 {
        let new = self.slices.iter().filter(|slice| !other.slices.contains(slice)).count() as u64;
        new + self.more.saturating_sub(other.more)
    }

    /// How many slices there are in all.
    pub fn total(&self) -> u64 {
        self.slices.len() as u64 + self.more
    }
}
