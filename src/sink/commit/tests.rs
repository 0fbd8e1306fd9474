//! The machines over a model of store and state: every fault at every effect, without input or output.

use std::collections::{BTreeMap, BTreeSet};

use crate::batch::Counts;
use crate::dataset::DatasetState;
use crate::ids::{DatasetName, PartitionKey};
use crate::schema::TableSchema;
use crate::slice::Cover;

use super::super::layout;
use super::super::record::{FORMAT, FileEntry, FileRole, RecordKind, hash};
use super::super::settle::{Head, SettleMachine, Settled};
use super::*;

/// What a fault does to one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The process dies before the effect.
    DieBefore,
    /// The effect happens, then the process dies.
    DieAfter,
    /// The effect does not happen and answers an error.
    Error,
    /// The effect happens and answers an error: a lost answer.
    Lost,
    /// The store says "exists" although nothing is there (S3's 409).
    FalseExists,
}

/// Store and state as they outlive a process.
#[derive(Clone, Default)]
struct World {
    log: BTreeMap<u64, Bytes>,
    staged: BTreeSet<String>,
    visible: BTreeSet<String>,
    kept: BTreeSet<String>,
    index: u64,
    state: DatasetState,
    noted: Vec<BatchId>,
    effects: u64,
    /// Performed in place of the next effect of a kind.
    fault_at: Option<(u64, Fault)>,
    dead: bool,
    decisions: Vec<(u64, BatchId)>,
    /// Of settlements.
    guards: Guards,
}

fn batch(number: u128) -> BatchId {
    BatchId(uuid::Uuid::from_u128(number))
}

fn dataset() -> DatasetName {
    DatasetName::new("orders")
}

fn file(batch: BatchId, seq: u64, number: usize) -> FileEntry {
    FileEntry {
        role: FileRole::Data,
        path: format!("orders/part-{seq}-{number}-{batch}.parquet"),
        staged: format!("staging/{batch}/{number}"),
        bytes: 10,
        rows: 1,
        sha256: String::new(),
        partition: Vec::new(),
        ranges: Default::default(),
        set: Default::default(),
    }
}

fn record(head: &DatasetState, batch: BatchId) -> Record {
    let seq = head.seq + 1;
    let at = |second: i64| jiff::Timestamp::from_second(second).expect("in range");
    let cover = Cover::Span { partition: PartitionKey::new(""), from: Some(at(seq as i64 * 10)), to: at(seq as i64 * 10 + 10) };
    Record {
        format: FORMAT,
        seq,
        generation: 1,
        batch,
        kind: RecordKind::Load,
        dataset: dataset(),
        job: "orders".into(),
        table: "orders".into(),
        table_format: Default::default(),
        fingerprint: BTreeMap::new(),
        covers: vec![cover],
        uncovers: Vec::new(),
        voids: None,
        read_schema: TableSchema::default(),
        schema: TableSchema::default(),
        partition_by: Vec::new(),
        counts: Counts::default(),
        add: (0..3).map(|number| file(batch, seq, number)).collect(),
        // The second record removes two of the first one's files.
        remove: (0..2).filter(|_| seq == 2).map(|number| file(self::batch(1), 1, number).path).collect(),
        history: true,
        carried: 0,
        superseded: 0,
        content: None,
        answered: None,
        restore: Default::default(),
        note: None,
        created_at: jiff::Timestamp::UNIX_EPOCH,
        previous: head.record_hash.clone(),
    }
}

impl World {
    /// Performs one effect under its fault; `None` if the process died or the effect has no outcome.
    fn perform(&mut self, effect: &Effect, about: Option<&Record>, advance: &DatasetState) -> Option<Outcome> {
        if matches!(effect, Effect::Wait { .. }) || self.dead {
            return None;
        }
        self.effects += 1;
        let fault = self.fault_at.filter(|(at, _)| *at == self.effects).map_or(Fault::None, |(_, fault)| fault);
        let error = match effect {
            Effect::Publish { number, .. } => Outcome::PublishFailed { number: *number, reason: "injected".into() },
            _ => Outcome::Failed { reason: "injected".into(), fenced: false, hopeless: false },
        };
        match fault {
            Fault::DieBefore => {
                self.dead = true;
                return None;
            }
            Fault::Error => return Some(error),
            Fault::FalseExists if matches!(effect, Effect::Decide { .. }) => return Some(Outcome::Exists),
            _ => {}
        }
        let outcome = self.really(effect, about, advance);
        match fault {
            Fault::DieAfter => {
                self.dead = true;
                None
            }
            Fault::Lost => Some(error),
            _ => Some(outcome),
        }
    }

    fn really(&mut self, effect: &Effect, about: Option<&Record>, advance: &DatasetState) -> Outcome {
        match effect {
            Effect::Note => self.noted.extend(about.map(|record| record.batch)),
            Effect::Decide { bytes, only_if_absent } => {
                let record = about.expect("a decision is about a record");
                if *only_if_absent && self.log.contains_key(&record.seq) {
                    return Outcome::Exists;
                }
                self.log.insert(record.seq, bytes.clone());
                self.decisions.push((record.seq, record.batch));
            }
            Effect::Read { seq } => return Outcome::Found(self.log.get(seq).cloned()),
            Effect::Publish { number, staged, target, .. } => {
                let staged_missing = !self.visible.contains(target) && !self.staged.contains(staged);
                if !staged_missing {
                    self.visible.insert(target.clone());
                }
                return Outcome::Published { number: *number, staged_missing };
            }
            Effect::Delete { path } => {
                self.staged.remove(path);
                self.visible.remove(path);
            }
            Effect::Retire { path, kept } => {
                if self.visible.remove(path) {
                    self.kept.insert(kept.clone());
                }
            }
            Effect::LookAtIndex if about.is_none_or(|record| record.seq != self.index) => return Outcome::Stale,
            Effect::LookAtIndex => {}
            Effect::Index => self.index = about.map_or(self.index, |record| record.seq),
            Effect::Advance => self.state = advance.clone(),
            Effect::Expose | Effect::Wait { .. } => {}
        }
        Outcome::Done
    }

    /// What recovery does first; `None` if the process died in it.
    fn settle(&mut self) -> Option<Settled> {
        let mut machine = SettleMachine::new(dataset(), self.state.clone(), self.guards);
        let mut effects = machine.step(Outcome::Begin);
        while !effects.is_empty() {
            let (record, state) = (machine.head().record.clone(), machine.head().state.clone());
            let mut next = Vec::new();
            for effect in &effects {
                if let Some(outcome) = self.perform(effect, record.as_ref(), &state) {
                    next.extend(machine.step(outcome));
                }
            }
            effects = next;
        }
        machine.settled()
    }

    fn commit(&mut self, head: &DatasetState, batch: BatchId, guards: Guards) -> Option<Verdict> {
        let record = record(head, batch);
        self.staged.extend(record.add.iter().map(|file| file.staged.clone()));
        let bytes = record.to_bytes().expect("a record");
        let mut state = DatasetState { seq: record.seq, record_hash: hash(&bytes), generation: 1, ..head.clone() };
        record.apply_to(&mut state.coverage);
        let mut machine = CommitMachine::new(record.clone(), bytes, guards);
        let mut effects = machine.step(Outcome::Begin);
        while !effects.is_empty() {
            let mut next = Vec::new();
            for effect in &effects {
                if let Some(outcome) = self.perform(effect, Some(&record), &state) {
                    next.extend(machine.step(outcome));
                }
            }
            effects = next;
        }
        machine.verdict()
    }

    fn settle_clean(&mut self) -> Head {
        self.dead = false;
        self.fault_at = None;
        match self.settle() {
            Some(Settled::Clean(head)) => head,
            other => panic!("not settled: {other:?}"),
        }
    }

    /// Every decided record is wholly visible and nothing else is; state and index stand at the log's end.
    fn assert_right(&self, what: &str) {
        let (mut visible, mut kept) = (BTreeSet::new(), BTreeSet::new());
        for (seq, bytes) in &self.log {
            let record = Record::from_bytes(bytes, &dataset(), *seq).expect("a record");
            visible.extend(record.add.iter().map(|file| file.path.clone()));
            visible.retain(|path| !record.remove.contains(path));
            kept.extend(record.remove.iter().map(|path| layout::history(&dataset(), *seq, path)));
        }
        assert_eq!(self.kept, kept, "{what}: files in the history");
        assert_eq!(self.visible, visible, "{what}: visible files");
        assert_eq!(self.state.seq, self.log.len() as u64, "{what}: state");
        assert_eq!(self.index, self.log.len() as u64, "{what}: index");
        let seqs: BTreeSet<u64> = self.decisions.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs.len(), self.decisions.len(), "{what}: a seq was decided twice: {:?}", self.decisions);
    }
}

#[test]
fn a_clean_commit_leaves_everything_in_place() {
    let mut world = World::default();
    let head = world.settle_clean();
    assert_eq!(world.commit(&head.state, batch(1), Guards::standing()), Some(Verdict::Committed));
    world.assert_right("clean");
    assert!(world.staged.is_empty());
}

/// Runs two commits with one fault at effect `at`, then recovers with a second fault at `second`, then recovers clean.
fn with_faults(at: u64, fault: Fault, second: Option<(u64, Fault)>) -> (World, bool) {
    let mut world = World { fault_at: Some((at, fault)), ..World::default() };
    if let Some(Settled::Clean(head)) = world.settle()
        && let Some(Verdict::Committed) = world.commit(&head.state, batch(1), Guards::standing())
    {
        let state = world.state.clone();
        let _verdict = world.commit(&state, batch(2), Guards::standing());
    }
    let hit = world.effects >= at;
    if let Some((at, fault)) = second {
        world.dead = false;
        world.fault_at = Some((world.effects + at, fault));
        let _settled = world.settle();
    }
    world.settle_clean();
    (world, hit)
}

#[test]
fn every_fault_at_every_effect_is_settled() {
    // D-01 D-13 D-14 D-16
    for fault in [Fault::DieBefore, Fault::DieAfter, Fault::Error, Fault::Lost, Fault::FalseExists] {
        let mut at = 1;
        loop {
            let (world, hit) = with_faults(at, fault, None);
            world.assert_right(&format!("{fault:?} at {at}"));
            if !hit {
                break;
            }
            at += 1;
        }
        assert!(at > 20, "only {at} effects");
    }
}

#[test]
fn a_second_fault_in_recovery_is_settled() {
    // D-02
    for fault in [Fault::DieBefore, Fault::DieAfter, Fault::Lost] {
        for at in 1..30 {
            for second in 1..12 {
                for second_fault in [Fault::DieBefore, Fault::DieAfter, Fault::Error, Fault::Lost] {
                    let (world, _) = with_faults(at, fault, Some((second, second_fault)));
                    world.assert_right(&format!("{fault:?} at {at}, then {second_fault:?} at {second}"));
                }
            }
        }
    }
}

#[test]
fn a_rival_at_the_same_seq_wins_once() {
    // D-17
    let mut world = World::default();
    let head = world.settle_clean();
    assert_eq!(world.commit(&head.state, batch(1), Guards::standing()), Some(Verdict::Committed));
    let Some(Verdict::Lost { rival }) = world.commit(&head.state, batch(2), Guards::standing()) else { panic!("both won") };
    assert_eq!(Record::from_bytes(&rival, &dataset(), 1).expect("a record").batch, batch(1));
    world.assert_right("rival");
    // The mutant without put-if-absent decides the seq twice.
    let guards = Guards { put_if_absent: false, ..Guards::standing() };
    assert_eq!(world.commit(&head.state, batch(3), guards), Some(Verdict::Committed));
    assert_eq!(world.decisions.len(), 2, "the mutant overwrites");
}

#[test]
fn a_mutant_that_advances_before_it_publishes_loses_rows() {
    let guards = Guards { publish_before_state: false, ..Guards::standing() };
    let lost = (1..12).any(|at| {
        let mut world = World { fault_at: Some((at, Fault::DieAfter)), ..World::default() };
        let Some(Settled::Clean(head)) = world.settle() else { return false };
        let _verdict = world.commit(&head.state, batch(1), guards);
        world.settle_clean();
        world.log.len() == 1 && world.visible.len() < 3
    });
    assert!(lost, "the guard guards nothing");
}

#[test]
fn staged_files_that_vanish_after_the_decision_are_told() {
    // D-20
    let mut world = World::default();
    let head = world.settle_clean();
    // Effects: note, decide, publish.
    world.fault_at = Some((world.effects + 2, Fault::DieAfter));
    assert_eq!(world.commit(&head.state, batch(1), Guards::standing()), None);
    world.staged.pop_first();
    world.dead = false;
    world.fault_at = None;
    assert!(matches!(world.settle(), Some(Settled::StagedLost(_))));
}

#[test]
fn a_lost_answer_to_a_publication_is_success() {
    // D-19
    let mut world = World::default();
    let head = world.settle_clean();
    world.fault_at = Some((world.effects + 3, Fault::Lost));
    assert_eq!(world.commit(&head.state, batch(1), Guards::standing()), Some(Verdict::Committed));
    world.assert_right("lost answer");
}

#[test]
fn an_old_state_and_an_old_lake_are_settled() {
    let mut world = World::default();
    let head = world.settle_clean();
    assert_eq!(world.commit(&head.state, batch(1), Guards::standing()), Some(Verdict::Committed));
    let (old_state, old_lake) = (world.state.clone(), (world.log.clone(), world.visible.clone()));
    let state = world.state.clone();
    assert_eq!(world.commit(&state, batch(2), Guards::standing()), Some(Verdict::Committed));
    // D-39
    world.state = old_state;
    assert_eq!(world.settle_clean().adopted, [2]);
    world.assert_right("old state");
    // D-40
    world.state = DatasetState::default();
    assert_eq!(world.settle_clean().adopted, [1, 2]);
    world.assert_right("no state");
    // D-41
    (world.log, world.visible) = old_lake;
    let head = world.settle_clean();
    assert_eq!((head.lost, head.state.seq, head.state.generation), (Some(2), 1, 2));
}

#[test]
fn an_index_that_a_slow_writer_put_back_is_mended() {
    // D-30, D-33
    for fault in [Fault::None, Fault::Error, Fault::Lost] {
        for at in 1..=4 {
            let mut world = World::default();
            let head = world.settle_clean();
            assert_eq!(world.commit(&head.state, batch(1), Guards::standing()), Some(Verdict::Committed));
            let state = world.state.clone();
            assert_eq!(world.commit(&state, batch(2), Guards::standing()), Some(Verdict::Committed));
            // The last act of somebody who was paused since the first record.
            world.index = 1;
            world.fault_at = Some((world.effects + at, fault));
            assert!(matches!(world.settle(), Some(Settled::Clean(_))), "{fault:?} at {at}");
            world.assert_right(&format!("{fault:?} at {at}"));
        }
    }
}

#[test]
fn a_log_that_was_edited_is_refused() {
    // D-43
    let mut world = World::default();
    let head = world.settle_clean();
    assert_eq!(world.commit(&head.state, batch(1), Guards::standing()), Some(Verdict::Committed));
    let state = world.state.clone();
    assert_eq!(world.commit(&state, batch(2), Guards::standing()), Some(Verdict::Committed));
    let edited = String::from_utf8(world.log[&1].to_vec()).expect("text").replace("\"rows\": 1", "\"rows\": 2");
    world.log.insert(1, Bytes::from(edited));
    world.state = DatasetState::default();
    assert!(matches!(world.settle(), Some(Settled::Refused(_))), "a broken chain");
    let cut = world.log[&2].slice(..100);
    world.log.insert(2, cut);
    world.state = state;
    world.state.seq = 2;
    assert!(matches!(world.settle(), Some(Settled::Refused(_))), "a cut record");
}

/// Two rivals at the same seq, of which the second has lost a guard: whether it takes the first one's record for its own.
fn wins_a_place_that_is_taken(guards: Guards) -> bool {
    let mut world = World::default();
    let head = world.settle_clean();
    assert_eq!(world.commit(&head.state, batch(1), Guards::standing()), Some(Verdict::Committed));
    world.commit(&head.state, batch(2), guards) == Some(Verdict::Committed)
}

#[test]
fn a_mutant_that_does_not_look_whose_record_stands_there_takes_it_for_its_own() {
    // D-44, D-17
    assert!(!wins_a_place_that_is_taken(Guards::standing()));
    assert!(wins_a_place_that_is_taken(Guards { read_back: false, ..Guards::standing() }));
    assert!(wins_a_place_that_is_taken(Guards { own_batch: false, ..Guards::standing() }));
}

/// A process that dies right after its decision: whether its batch was noted.
fn is_noted_when_it_is_decided(guards: Guards) -> bool {
    let mut world = World::default();
    let head = world.settle_clean();
    world.fault_at = Some((world.effects + if guards.noted_first { 2 } else { 1 }, Fault::DieAfter));
    assert_eq!(world.commit(&head.state, batch(1), guards), None);
    assert_eq!(world.decisions.len(), 1);
    world.noted.contains(&batch(1))
}

#[test]
fn a_mutant_that_decides_before_it_notes_leaves_a_batch_that_nobody_knows() {
    // D-44
    assert!(is_noted_when_it_is_decided(Guards::standing()));
    assert!(!is_noted_when_it_is_decided(Guards { noted_first: false, ..Guards::standing() }));
}

/// What is settled, with these guards, after a process that died right after its decision.
fn settled_after_a_decision(guards: Guards) -> World {
    let mut world = World { guards, ..World::default() };
    let head = world.settle_clean();
    world.fault_at = Some((world.effects + 2, Fault::DieAfter));
    assert_eq!(world.commit(&head.state, batch(1), Guards::standing()), None);
    world.settle_clean();
    world
}

#[test]
fn a_mutant_that_adopts_without_finishing_loses_rows() {
    // D-44
    settled_after_a_decision(Guards::standing()).assert_right("finished");
    let world = settled_after_a_decision(Guards { finish_last: false, ..Guards::standing() });
    assert_eq!((world.state.seq, world.visible.len()), (1, 0), "the guard guards nothing");
}

/// Two records, of which the first was edited, before a state that knows both, or none: whether that is refused.
fn refuses_an_edited_log(knows: bool, guards: Guards) -> bool {
    let mut world = World { guards, ..World::default() };
    let head = world.settle_clean();
    assert_eq!(world.commit(&head.state, batch(1), Guards::standing()), Some(Verdict::Committed));
    let edited = String::from_utf8(world.log[&1].to_vec()).expect("text").replace("\"rows\": 1", "\"rows\": 2");
    if !knows {
        let state = world.state.clone();
        assert_eq!(world.commit(&state, batch(2), Guards::standing()), Some(Verdict::Committed));
        world.state = DatasetState::default();
    }
    world.log.insert(1, Bytes::from(edited));
    matches!(world.settle(), Some(Settled::Refused(_)))
}

#[test]
fn a_mutant_that_does_not_follow_the_chain_takes_an_edited_log() {
    // D-44, D-43
    for knows in [true, false] {
        assert!(refuses_an_edited_log(knows, Guards::standing()));
        assert!(!refuses_an_edited_log(knows, Guards { hash_chain: false, ..Guards::standing() }));
    }
}

#[test]
fn a_mutant_that_keeps_the_coverage_of_a_lost_lake_never_reads_it_again() {
    // D-44, D-41
    let covered = |guards| {
        let mut world = World { guards, ..World::default() };
        let head = world.settle_clean();
        assert_eq!(world.commit(&head.state, batch(1), Guards::standing()), Some(Verdict::Committed));
        (world.log, world.visible) = Default::default();
        !world.settle_clean().state.coverage.to_covers().is_empty()
    };
    assert!(!covered(Guards::standing()));
    assert!(covered(Guards { lost_is_read_again: false, ..Guards::standing() }));
}

#[test]
fn a_mutant_that_does_not_look_at_the_index_leaves_an_old_one() {
    // D-44
    let left = |guards| {
        let mut world = World { guards, ..World::default() };
        let head = world.settle_clean();
        assert_eq!(world.commit(&head.state, batch(1), Guards::standing()), Some(Verdict::Committed));
        world.index = 0;
        world.settle_clean();
        world.index
    };
    assert_eq!(left(Guards::standing()), 1);
    assert_eq!(left(Guards { index_forward: false, ..Guards::standing() }), 0);
}

#[test]
fn a_decision_that_the_store_refuses_says_why() {
    let record = record(&DatasetState::default(), batch(1));
    let bytes = record.to_bytes().expect("a record");
    let mut machine = CommitMachine::new(record, bytes, Guards::standing());
    let mut effects = machine.step(Outcome::Begin);
    while let Some(effect) = effects.into_iter().find(|effect| !matches!(effect, Effect::Wait { .. })) {
        effects = machine.step(match effect {
            Effect::Decide { .. } => {
                Outcome::Failed { reason: "put `a`: permission denied".to_owned(), fenced: false, hopeless: false }
            }
            Effect::Read { .. } => Outcome::Found(None),
            _ => Outcome::Done,
        });
    }
    let Some(Verdict::Undecided { reason }) = machine.verdict() else { panic!("decided") };
    assert_eq!(reason, "put `a`: permission denied");
}
