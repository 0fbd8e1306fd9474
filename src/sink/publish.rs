//! Making a decided record seen: every file published, removed files gone or moved into the history, staged copies dropped. Rolls forward only.

use super::commit::{Effect, Outcome};
use super::layout;
use super::record::{Record, RecordKind};
use crate::config::catalog::TableFormat;

/// How often an effect is tried before the run gives up on it; recovery goes on from there.
pub(super) const TRIES_MAX: u32 = 5;

/// The part of the protocol that commit and settlement share.
pub(super) struct Publication {
    publish: Vec<(String, String, u64)>,
    /// Which of them the Delta log tells of.
    in_log: Vec<bool>,
    /// Readers look into a Delta log for what counts.
    exposes: bool,
    /// Each as the effect that takes it out of the table.
    remove: Vec<Effect>,
    stage: Stage,
    waiting: usize,
    failed: Vec<usize>,
    /// Why the last of them failed.
    reason: String,
    missing: Vec<usize>,
    tries: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Publishing,
    Exposing,
    Removing,
    Dropping,
}

/// Where the publication stands after an outcome.
pub(super) enum Progress {
    /// More to do now; empty while outcomes are still awaited.
    Go(Vec<Effect>),
    Published,
    /// Staged files of this record are gone although nobody published them, or what it replaces is not in its Delta table any more.
    StagedLost,
    GivenUp(String),
}

impl Publication {
    pub(super) fn of(record: &Record) -> Self {
        let publish = record.add.iter().map(|file| (file.staged.clone(), file.path.clone(), file.bytes)).collect();
        let in_log = record.add.iter().map(|file| record.is_in_delta_table(&file.path)).collect();
        // Who reads an older version of a Delta table still needs what left it; what was never seen may go.
        let stays = |path: &&String| record.kind != RecordKind::Void && record.is_in_delta_table(path);
        let remove = record.remove.iter().filter(|path| !stays(path)).map(|path| match record.history {
            true => Effect::Retire { path: path.clone(), kept: layout::history(&record.dataset, record.seq, path) },
            false => Effect::Delete { path: path.clone() },
        });
        let remove = remove.collect();
        Publication {
            publish,
            in_log,
            exposes: record.table_format == TableFormat::Delta,
            remove,
            stage: Stage::Publishing,
            waiting: 0,
            failed: Vec::new(),
            reason: String::new(),
            missing: Vec::new(),
            tries: 1,
        }
    }

    pub(super) fn start(&mut self) -> Progress {
        let all = (0..self.publish.len()).collect();
        self.send_publish(all)
    }

    fn send_publish(&mut self, numbers: Vec<usize>) -> Progress {
        self.stage = Stage::Publishing;
        let effect = |number: usize| {
            let (staged, target, size) = self.publish[number].clone();
            Effect::Publish { number, staged, target, size }
        };
        let effects: Vec<Effect> = numbers.into_iter().map(effect).collect();
        self.waiting = effects.len();
        if effects.is_empty() { self.send_expose() } else { Progress::Go(effects) }
    }

    fn send_expose(&mut self) -> Progress {
        if !self.exposes {
            return self.send_removes();
        }
        self.stage = Stage::Exposing;
        self.waiting = 1;
        Progress::Go(vec![Effect::Expose])
    }

    fn send_removes(&mut self) -> Progress {
        self.stage = Stage::Removing;
        let effects = self.remove.clone();
        self.waiting = effects.len();
        if effects.is_empty() { self.send_drops() } else { Progress::Go(effects) }
    }

    fn send_drops(&mut self) -> Progress {
        self.stage = Stage::Dropping;
        let effects: Vec<Effect> = self.publish.iter().map(|(staged, _, _)| Effect::Delete { path: staged.clone() }).collect();
        self.waiting = effects.len();
        if effects.is_empty() { Progress::Published } else { Progress::Go(effects) }
    }

    pub(super) fn step(&mut self, outcome: Outcome) -> Progress {
        self.waiting = self.waiting.saturating_sub(1);
        match outcome {
            Outcome::Published { number, staged_missing: true } => self.missing.push(number),
            Outcome::PublishFailed { number, reason } => {
                self.failed.push(number);
                self.reason = reason;
            }
            Outcome::Displaced { .. } => self.missing.push(0),
            // A staged copy or an old file that could not be deleted is seen by nobody, or is deleted by who collects garbage;
            // but an old file under a reader's glob must go, so removes are tried again.
            Outcome::Failed { reason, .. } if matches!(self.stage, Stage::Exposing | Stage::Removing) => {
                self.failed.push(0);
                self.reason = reason;
            }
            _ => {}
        }
        if self.waiting > 0 {
            return Progress::Go(Vec::new());
        }
        self.next_stage()
    }

    fn next_stage(&mut self) -> Progress {
        if !self.missing.is_empty() && self.exposes && self.stage == Stage::Publishing {
            // No proof that nobody published it: what the Delta log took up another writer may have rewritten and deleted since. Of
            // dead letters and what else is ours alone there is.
            self.missing.retain(|number| !self.in_log.get(*number).is_some_and(|in_log| *in_log));
            if self.missing.is_empty() {
                self.failed.clear();
                return self.send_expose();
            }
        }
        if !self.missing.is_empty() {
            return Progress::StagedLost;
        }
        if !self.failed.is_empty() {
            if self.tries >= TRIES_MAX {
                let (count, reason) = (self.failed.len(), std::mem::take(&mut self.reason));
                return Progress::GivenUp(format!(
                    "{count} of its files could not be made visible, the last because of: {reason}"
                ));
            }
            self.tries += 1;
            let failed = std::mem::take(&mut self.failed);
            let again = match self.stage {
                Stage::Publishing => self.send_publish(failed),
                Stage::Exposing => self.send_expose(),
                _ => self.send_removes(),
            };
            return match again {
                Progress::Go(mut effects) => {
                    effects.insert(0, Effect::Wait { attempt: self.tries - 1 });
                    Progress::Go(effects)
                }
                other => other,
            };
        }
        match self.stage {
            Stage::Publishing => self.send_expose(),
            Stage::Exposing => self.send_removes(),
            Stage::Removing => self.send_drops(),
            Stage::Dropping => Progress::Published,
        }
    }
}
