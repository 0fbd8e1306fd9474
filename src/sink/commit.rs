//! The commit protocol without input and output: note, decide, publish, index, advance.
//!
//! The machine answers each outcome with the effects to perform next; production, crash sweep and simulation perform them with
//! the same code (`run::commit`). The order is the promise:
//! a batch is noted before it can count, counts before it is seen, and is seen before the state says so.

use bytes::Bytes;

use crate::fault::Guards;
use crate::ids::BatchId;

use super::publish::{Progress, Publication, TRIES_MAX};
use super::record::Record;

/// Something to be done outside. Each is one call of a port.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Note the batch as prepared, in the state.
    Note,
    /// Write the record's bytes where nobody decided before (or, in a mutant, over whoever did).
    Decide {
        bytes: Bytes,
        only_if_absent: bool,
    },
    /// Read the record at this seq.
    Read {
        seq: u64,
    },
    Publish {
        number: usize,
        staged: String,
        target: String,
        size: u64,
    },
    Delete {
        path: String,
    },
    /// Move a file out of the table to where it is `kept`; one that is not there any more was moved before.
    Retire {
        path: String,
        kept: String,
    },
    /// Commit the record to the log of its Delta table, where readers look for what counts.
    Expose,
    /// See whether `current.json` is that of the last record.
    LookAtIndex,
    /// Write `current.json` as it is after this record.
    Index,
    /// Tell the state that the record is done.
    Advance,
    /// Wait a little before what follows: the attempt before failed.
    Wait {
        attempt: u32,
    },
}

/// What became of an effect. Every effect has exactly one.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing was done yet: the first step.
    Begin,
    Done,
    /// The store says that something stands at the record's path.
    Exists,
    Found(Option<Bytes>),
    Published {
        number: usize,
        staged_missing: bool,
    },
    PublishFailed {
        number: usize,
        reason: String,
    },
    /// `current.json` is missing, or that of another record.
    Stale,
    /// What the record replaces is not in its Delta table any more.
    Displaced {
        path: String,
    },
    /// An error; whether the effect happened is open.
    Failed {
        reason: String,
        fenced: bool,
        /// A file has to be changed before anything else would come of it.
        hopeless: bool,
    },
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Decided, seen, and known to the state.
    Committed,
    /// Another batch stands at this seq: its record's bytes. Nothing of ours counts.
    Lost { rival: Bytes },
    /// It could not be learnt, or not be done; nothing of ours counts as far as is known, and recovery asks the log.
    Undecided { reason: String },
    /// It counts, but not everything is seen or known yet: recovery goes on.
    Unfinished { reason: String },
    /// It counts, but its staged files are gone, or what it replaces is: it must be voided.
    StagedLost,
    /// Another owner has the lease.
    Fenced { reason: String },
}

enum Phase {
    Begin,
    Noting,
    Deciding,
    ReadingBack,
    Publishing(Publication),
    Indexing,
    Advancing { then_publish: bool },
    Ended,
}

/// One batch on its way from staged to committed.
pub struct CommitMachine {
    batch: BatchId,
    seq: u64,
    bytes: Bytes,
    record: Record,
    guards: Guards,
    phase: Phase,
    tries: u32,
    /// Why the last attempt to decide did not go through, as far as the store said.
    refusal: Option<String>,
    verdict: Option<Verdict>,
}

impl CommitMachine {
    /// `bytes` is what the record says on the store, so that every attempt sends the same.
    pub fn new(record: Record, bytes: Bytes, guards: Guards) -> Self {
        CommitMachine {
            batch: record.batch,
            seq: record.seq,
            bytes,
            record,
            guards,
            phase: Phase::Begin,
            tries: 1,
            refusal: None,
            verdict: None,
        }
    }

    /// How it ended, once no effects are left.
    pub fn verdict(self) -> Option<Verdict> {
        self.verdict
    }

    /// Takes an outcome and says what to do next. No effects and no verdict: other outcomes are still awaited.
    pub fn step(&mut self, outcome: Outcome) -> Vec<Effect> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Begin if !self.guards.noted_first => self.decide(),
            Phase::Begin => self.enter(Phase::Noting, Effect::Note),
            Phase::Noting => self.noted(outcome),
            Phase::Deciding => self.decided(outcome),
            Phase::ReadingBack => self.read_back(outcome),
            Phase::Publishing(mut publication) => {
                let progress = publication.step(outcome);
                self.published(publication, progress)
            }
            Phase::Indexing => self.indexed(outcome),
            Phase::Advancing { then_publish } => self.advanced(outcome, then_publish),
            Phase::Ended => Vec::new(),
        }
    }

    fn enter(&mut self, phase: Phase, effect: Effect) -> Vec<Effect> {
        self.phase = phase;
        vec![effect]
    }

    fn end(&mut self, verdict: Verdict) -> Vec<Effect> {
        self.verdict = Some(verdict);
        self.phase = Phase::Ended;
        Vec::new()
    }

    /// The same effect again after a pause, or the verdict once it was tried often enough.
    fn again(&mut self, phase: Phase, effect: Effect, verdict: Verdict) -> Vec<Effect> {
        if self.tries >= TRIES_MAX {
            return self.end(verdict);
        }
        self.tries += 1;
        self.phase = phase;
        vec![Effect::Wait { attempt: self.tries - 1 }, effect]
    }

    fn noted(&mut self, outcome: Outcome) -> Vec<Effect> {
        match outcome {
            Outcome::Failed { reason, fenced: true, .. } => self.end(Verdict::Fenced { reason }),
            Outcome::Failed { reason, .. } => self.again(Phase::Noting, Effect::Note, Verdict::Undecided { reason }),
            _ => {
                self.tries = 1;
                self.decide()
            }
        }
    }

    fn decide(&mut self) -> Vec<Effect> {
        let effect = Effect::Decide { bytes: self.bytes.clone(), only_if_absent: self.guards.put_if_absent };
        self.enter(Phase::Deciding, effect)
    }

    fn decided(&mut self, outcome: Outcome) -> Vec<Effect> {
        self.refusal = match &outcome {
            Outcome::Failed { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        match outcome {
            Outcome::Done => self.publish(),
            Outcome::Exists if !self.guards.read_back => self.publish(),
            // An error and "exists" say the same: somebody has to look (a lost answer, a retry inside the client, or a rival).
            _ => self.enter(Phase::ReadingBack, Effect::Read { seq: self.seq }),
        }
    }

    fn read_back(&mut self, outcome: Outcome) -> Vec<Effect> {
        match outcome {
            Outcome::Found(Some(bytes)) if self.is_mine(&bytes) => self.publish(),
            Outcome::Found(Some(rival)) => self.end(Verdict::Lost { rival }),
            Outcome::Found(None) => {
                let effect = Effect::Decide { bytes: self.bytes.clone(), only_if_absent: self.guards.put_if_absent };
                let reason = self.refusal.take().unwrap_or_else(|| "the store does not keep the decision".to_owned());
                self.again(Phase::Deciding, effect, Verdict::Undecided { reason })
            }
            Outcome::Failed { reason, .. } => {
                let read = Effect::Read { seq: self.seq };
                self.again(Phase::ReadingBack, read, Verdict::Undecided { reason })
            }
            _ => self.again(
                Phase::ReadingBack,
                Effect::Read { seq: self.seq },
                Verdict::Undecided { reason: "the record could not be read back".to_owned() },
            ),
        }
    }

    fn is_mine(&self, bytes: &Bytes) -> bool {
        #[derive(serde::Deserialize)]
        struct Who {
            batch: BatchId,
        }
        !self.guards.own_batch
            || *bytes == self.bytes
            || serde_json::from_slice::<Who>(bytes).is_ok_and(|who| who.batch == self.batch)
    }

    fn publish(&mut self) -> Vec<Effect> {
        self.tries = 1;
        if !self.guards.publish_before_state {
            return self.enter(Phase::Advancing { then_publish: true }, Effect::Advance);
        }
        self.start_publication()
    }

    fn start_publication(&mut self) -> Vec<Effect> {
        let mut publication = Publication::of(&self.record);
        let progress = publication.start();
        self.published(publication, progress)
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
            Progress::StagedLost => self.end(Verdict::StagedLost),
            Progress::GivenUp(reason) => self.end(Verdict::Unfinished { reason }),
        }
    }

    fn indexed(&mut self, outcome: Outcome) -> Vec<Effect> {
        match outcome {
            Outcome::Failed { reason, .. } => self.again(Phase::Indexing, Effect::Index, Verdict::Unfinished { reason }),
            _ if self.guards.publish_before_state => {
                self.tries = 1;
                self.enter(Phase::Advancing { then_publish: false }, Effect::Advance)
            }
            _ => self.end(Verdict::Committed),
        }
    }

    fn advanced(&mut self, outcome: Outcome, then_publish: bool) -> Vec<Effect> {
        match outcome {
            Outcome::Failed { reason, fenced: true, .. } => self.end(Verdict::Fenced { reason }),
            Outcome::Failed { reason, .. } => {
                self.again(Phase::Advancing { then_publish }, Effect::Advance, Verdict::Unfinished { reason })
            }
            _ if then_publish => self.start_publication(),
            _ => self.end(Verdict::Committed),
        }
    }
}

#[cfg(test)]
mod tests;
