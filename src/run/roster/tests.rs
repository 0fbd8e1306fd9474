use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::slice::Cover;

const PARENTS: u8 = 5;
/// The line in steps of a second.
const STEPS: i64 = 8;

fn id(parent: u8) -> ParentId {
    let mut id = [0; 16];
    // Scattered, as hashes are.
    id[0] = parent.wrapping_mul(151);
    id[15] = parent;
    id
}

fn span(from: i64, to: i64) -> Span {
    let at = |second: i64| Timestamp::from_second(second).expect("in range");
    Span::new(Some(at(from)), at(to))
}

fn cover(from: i64, to: i64) -> Cover {
    let Span { from, to } = span(from, to);
    Cover::Span { partition: PartitionKey::default(), from, to }
}

fn steps_of(spans: &[Span]) -> BTreeSet<i64> {
    let inside = |step: &i64| spans.iter().any(|known| known.contains(span(*step, *step + 1).from.expect("a beginning")));
    (0..STEPS).filter(inside).collect()
}

#[derive(Clone, Debug)]
enum Event {
    /// A slice with the parents that are there, and whether it is committed.
    Slice { from: i64, to: i64, there: u8, commits: bool },
    /// An operator wants it read again.
    Rewind { from: i64, to: i64 },
    /// Another process goes on, which knows of nothing.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let stretch = (0..STEPS, 1..4i64).prop_map(|(from, length)| (from, (from + length).min(STEPS)));
    prop_oneof![
        6 => (stretch.clone(), any::<u8>(), prop::bool::weighted(0.8))
            .prop_map(|((from, to), there, commits)| Event::Slice { from, to, there, commits }),
        1 => stretch.prop_map(|(from, to)| Event::Rewind { from, to }),
        1 => Just(Event::Restart),
    ]
}

/// What a commit leaves in the lake: the rows of each record, newest last.
fn reload(scratch: &Arc<Scratch>, files: &[Vec<ParentRow>]) -> Base {
    let mut base = Sheet::default();
    for rows in files {
        let mut writer = SheetWriter::new(scratch);
        rows.iter().for_each(|row| writer.push(row).expect("written"));
        base = merge(scratch, &base, &writer.finish().expect("finished")).expect("merged");
    }
    Base { sheet: Arc::new(base), paths: Vec::new() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn of_every_parent_all_is_read_once(events in prop::collection::vec(event(), 1..24)) {
        // C-58
        let folder = tempfile::tempdir().expect("a folder");
        let scratch = Arc::new(Scratch::new(folder.path(), BatchId(uuid::Uuid::nil())));
        let roster = Roster::new(Arc::clone(&scratch));
        let set = PartitionKey::default();
        let mut covered = Coverage::default();
        let mut files: Vec<Vec<ParentRow>> = Vec::new();
        let mut read: BTreeMap<u8, BTreeSet<i64>> = BTreeMap::new();
        for event in events {
            match event {
                Event::Restart => *roster.at() = At::default(),
                Event::Rewind { from, to } => {
                    covered.forget(&cover(from, to));
                    read.values_mut().for_each(|read| read.retain(|step| !(from..to).contains(step)));
                }
                Event::Slice { from, to, there, commits } => {
                    // What is planned is what is not covered, in one piece.
                    let gap = crate::plan::gaps(span(from, to).from, span(from, to).to, covered.spans(&set)).into_iter().next();
                    let Some(slice) = gap else { continue };
                    roster.start(&set, reload(&scratch, &files), covered.spans(&set), Guards::standing());
                    let mut after = read.clone();
                    for parent in (0..PARENTS).filter(|parent| there & (1 << parent) != 0) {
                        let also = roster.also(&id(parent)).expect("readable");
                        roster.seen(&id(parent)).expect("noted");
                        let mut wanted = steps_of(&also);
                        wanted.extend(steps_of(&[slice]));
                        let known = after.entry(parent).or_default();
                        prop_assert!(known.is_disjoint(&wanted), "{parent} is read twice: {known:?}, {wanted:?}");
                        known.extend(wanted);
                    }
                    let change = roster.change(&slice, BatchId(uuid::Uuid::nil())).expect("told");
                    if !commits {
                        continue;
                    }
                    read = after;
                    files.extend(change.map(|change| change.sheet.read().expect("open").map(|row| row.expect("a row")).collect()));
                    let Span { from, to } = slice;
                    covered.add(&Cover::Span { partition: set.clone(), from, to });
                    let all = steps_of(covered.spans(&set));
                    for parent in (0..PARENTS).filter(|parent| there & (1 << parent) != 0) {
                        prop_assert_eq!(&read[&parent], &all, "something of {} was never read", parent);
                    }
                }
            }
        }
    }
}

#[test]
fn a_parent_that_stays_away_changes_the_table_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let scratch = Arc::new(Scratch::new(folder.path(), BatchId(uuid::Uuid::nil())));
    let roster = Roster::new(Arc::clone(&scratch));
    let set = PartitionKey::default();
    let mut covered = Coverage::default();
    let mut base = Base::default();
    let mut changes = 0;
    for step in 0..6 {
        roster.start(&set, base, covered.spans(&set), Guards::standing());
        roster.seen(&id(1)).expect("noted");
        if step < 2 {
            roster.seen(&id(2)).expect("noted");
        }
        changes += u32::from(roster.change(&span(step, step + 1), BatchId(uuid::Uuid::nil())).expect("told").is_some());
        covered.add(&cover(step, step + 1));
        let mut at = roster.at();
        base = at.next.take().map_or_else(|| std::mem::take(&mut at.base), |(_, next)| next);
    }
    assert_eq!(changes, 2, "when it was met, and when it was missed first");
    roster.start(&set, base, covered.spans(&set), Guards::standing());
    assert_eq!(roster.also(&id(2)).expect("readable"), [span(2, 6)]);
    assert_eq!(roster.also(&id(3)).expect("readable"), [span(0, 6)]);
    assert_eq!(roster.also(&id(1)).expect("readable"), []);
}
