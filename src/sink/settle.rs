//! Settlement without input and output: what a crash, a lost state or a lost lake left, before anything new is read.
//!
//! The log is asked by name, never by listing: a listing may lag.

use bytes::Bytes;

use crate::dataset::DatasetState;
use crate::error::ErrorKind;
use crate::fault::Guards;
use crate::ids::{DatasetName, Seq};

use super::SinkError;
use super::commit::{Effect, Outcome};
use super::publish::{Progress, Publication, TRIES_MAX};
use super::record::{Record, hash};

/// How a settlement ended.
#[derive(Debug)]
pub enum Settled {
    /// State and lake agree.
    Clean(Head),
    /// The last record counts, but its staged files are gone: void it, then settle again.
    StagedLost(Head),
    /// Try later: the store or the state did not answer.
    Unavailable(String),
    Fenced(String),
    /// The log is not what it should be.
    Refused(SinkError),
}

/// The end of a dataset's log, and what is known there.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub state: DatasetState,
    /// The record at `state.seq`; `None` before the first.
    pub record: Option<Record>,
    /// Records that the state did not know of.
    pub adopted: Vec<Seq>,
    /// The lake had lost records that the state knew of.
    pub lost: Option<Seq>,
}

enum Phase {
    Begin,
    ReadingKnown,
    ReadingNext,
    Publishing(Publication),
    Indexing,
    Advancing,
    LookingAtIndex,
    MendingIndex,
    Ended,
}

pub struct SettleMachine {
    dataset: DatasetName,
    head: Head,
    guards: Guards,
    phase: Phase,
    tries: u32,
    settled: Option<Settled>,
}

impl SettleMachine {
    /// `known` is what the state says; its default, where it says nothing.
    pub fn new(dataset: DatasetName, known: DatasetState, guards: Guards) -> Self {
        let head = Head { state: known, ..Head::default() };
        SettleMachine { dataset, head, guards, phase: Phase::Begin, tries: 1, settled: None }
    }

    pub fn settled(self) -> Option<Settled> {
        self.settled
    }

    /// The state to write at `Effect::Advance`, and the last record for `Effect::Index`.
    pub fn head(&self) -> &Head {
        &self.head
    }

    pub fn step(&mut self, outcome: Outcome) -> Vec<Effect> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Begin if self.head.state.seq == 0 => self.read_next(),
            Phase::Begin => self.enter(Phase::ReadingKnown, Effect::Read { seq: self.head.state.seq }),
            Phase::ReadingKnown => self.known(outcome),
            Phase::ReadingNext => self.next(outcome),
            Phase::Publishing(mut publication) => {
                let progress = publication.step(outcome);
                self.published(publication, progress)
            }
            Phase::Indexing => self.after_index(outcome),
            Phase::Advancing => self.advanced(outcome),
            Phase::LookingAtIndex => self.looked_at_index(outcome),
            Phase::MendingIndex => self.mended(outcome),
            Phase::Ended => Vec::new(),
        }
    }

    fn enter(&mut self, phase: Phase, effect: Effect) -> Vec<Effect> {
        self.phase = phase;
        vec![effect]
    }

    fn end(&mut self, settled: Settled) -> Vec<Effect> {
        self.settled = Some(settled);
        self.phase = Phase::Ended;
        Vec::new()
    }

    fn refused(&mut self, message: String) -> Vec<Effect> {
        self.end(Settled::Refused(SinkError::new(ErrorKind::Config, message)))
    }

    fn again(&mut self, phase: Phase, effect: Effect, reason: String) -> Vec<Effect> {
        if self.tries >= TRIES_MAX {
            return self.end(Settled::Unavailable(reason));
        }
        self.tries += 1;
        self.phase = phase;
        vec![Effect::Wait { attempt: self.tries - 1 }, effect]
    }

    fn read_next(&mut self) -> Vec<Effect> {
        self.enter(Phase::ReadingNext, Effect::Read { seq: self.head.state.seq + 1 })
    }

    /// The last record that the state knows of: it must stand in the lake as it was.
    fn known(&mut self, outcome: Outcome) -> Vec<Effect> {
        let seq = self.head.state.seq;
        match outcome {
            Outcome::Found(Some(bytes)) if self.guards.hash_chain && hash(&bytes) != self.head.state.record_hash => {
                let message = format!(
                    "record {seq} of the log of {} is not the one that was committed: the log was edited, or the table was replaced by another one; if the table is right as it is, `highwater state rebuild` takes it so",
                    self.dataset
                );
                self.end(Settled::Refused(SinkError::data(message)))
            }
            Outcome::Found(Some(bytes)) => match Record::from_bytes(&bytes, &self.dataset, seq) {
                Ok(record) => {
                    self.head.record = Some(record);
                    self.tries = 1;
                    self.read_next()
                }
                Err(error) => self.end(Settled::Refused(error)),
            },
            // The lake is behind the state: what it lost has to be read again. A new generation, for the mark goes back.
            Outcome::Found(None) => {
                self.head.lost = Some(seq);
                let generation = self.head.state.generation + 1;
                let known = std::mem::take(&mut self.head.state);
                self.head.state.generation = generation;
                if !self.guards.lost_is_read_again {
                    self.head.state.coverage = known.coverage;
                }
                self.read_next()
            }
            Outcome::Failed { reason, hopeless: true, .. } => self.refused(reason),
            Outcome::Failed { reason, .. } => self.again(Phase::ReadingKnown, Effect::Read { seq }, reason),
            _ => self.again(Phase::ReadingKnown, Effect::Read { seq }, "no answer".to_owned()),
        }
    }

    fn next(&mut self, outcome: Outcome) -> Vec<Effect> {
        match outcome {
            Outcome::Found(Some(bytes)) => match self.adopt(&bytes) {
                Ok(()) => {
                    self.tries = 1;
                    self.read_next()
                }
                Err(error) => self.end(Settled::Refused(error)),
            },
            Outcome::Found(None) => self.finish_last(),
            Outcome::Failed { reason, hopeless: true, .. } => self.refused(reason),
            Outcome::Failed { reason, .. } => {
                let read = Effect::Read { seq: self.head.state.seq + 1 };
                self.again(Phase::ReadingNext, read, reason)
            }
            _ => self.again(Phase::ReadingNext, Effect::Read { seq: self.head.state.seq + 1 }, "no answer".to_owned()),
        }
    }

    fn adopt(&mut self, bytes: &Bytes) -> Result<(), SinkError> {
        let seq = self.head.state.seq + 1;
        let record = Record::from_bytes(bytes, &self.dataset, seq)?;
        if self.guards.hash_chain && record.previous != self.head.state.record_hash {
            return Err(SinkError::data(format!(
                "record {seq} of the log of {} does not follow record {}: one of them was edited or replaced",
                self.dataset, self.head.state.seq
            )));
        }
        let state = &mut self.head.state;
        state.seq = seq;
        state.record_hash = hash(bytes);
        state.generation = state.generation.max(record.generation);
        record.apply_to(&mut state.coverage);
        state.forget_pending(&record.covers);
        state.forget_pending(&record.uncovers);
        state.fingerprint = record.fingerprint.clone();
        self.head.adopted.push(seq);
        self.head.record = Some(record);
        Ok(())
    }

    /// Only the last record can be unpublished: the next is decided after the one before is seen.
    fn finish_last(&mut self) -> Vec<Effect> {
        self.tries = 1;
        match (&self.head.record, self.head.adopted.is_empty(), self.head.lost) {
            (Some(_), false, _) if !self.guards.finish_last => self.enter(Phase::Indexing, Effect::Index),
            (Some(record), false, _) => {
                let mut publication = Publication::of(record);
                let progress = publication.start();
                self.published(publication, progress)
            }
            (_, _, Some(_)) => self.enter(Phase::Indexing, Effect::Index),
            // Another writer, slower than those after it, may have put back an index of its own record.
            (Some(_), _, _) if self.guards.index_forward => self.enter(Phase::LookingAtIndex, Effect::LookAtIndex),
            _ => self.clean(),
        }
    }

    fn clean(&mut self) -> Vec<Effect> {
        let head = self.head.clone();
        self.end(Settled::Clean(head))
    }

    fn looked_at_index(&mut self, outcome: Outcome) -> Vec<Effect> {
        match outcome {
            Outcome::Stale => {
                self.tries = 1;
                self.enter(Phase::MendingIndex, Effect::Index)
            }
            Outcome::Failed { reason, .. } => self.again(Phase::LookingAtIndex, Effect::LookAtIndex, reason),
            _ => self.clean(),
        }
    }

    fn mended(&mut self, outcome: Outcome) -> Vec<Effect> {
        match outcome {
            Outcome::Failed { reason, .. } => self.again(Phase::MendingIndex, Effect::Index, reason),
            _ => self.clean(),
        }
    }

    fn published(&mut self, publication: Publication, progress: Progress) -> Vec<Effect> {
        match progress {
            Progress::Go(effects) => {
                self.phase = Phase::Publishing(publication);
                effects
            }
            Progress::Published => {
                self.tries = 1;
                self.enter(Phase::Indexing, Effect::Index)
            }
            Progress::StagedLost => {
                let head = self.head.clone();
                self.end(Settled::StagedLost(head))
            }
            Progress::GivenUp(reason) => self.end(Settled::Unavailable(reason)),
        }
    }

    fn after_index(&mut self, outcome: Outcome) -> Vec<Effect> {
        match outcome {
            Outcome::Failed { reason, .. } => self.again(Phase::Indexing, Effect::Index, reason),
            _ => {
                self.tries = 1;
                self.enter(Phase::Advancing, Effect::Advance)
            }
        }
    }

    fn advanced(&mut self, outcome: Outcome) -> Vec<Effect> {
        match outcome {
            Outcome::Failed { reason, fenced: true, .. } => self.end(Settled::Fenced(reason)),
            Outcome::Failed { reason, .. } => self.again(Phase::Advancing, Effect::Advance, reason),
            _ => self.clean(),
        }
    }
}
