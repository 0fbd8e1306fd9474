//! The newest of each key, and what becomes of everything else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::cursor::CursorKey;
use crate::fault::Guards;
use crate::store::Store;

use super::super::SinkError;
use super::super::current::CurrentFile;
use super::candidates::{StoredRow, Wanted, candidates, scan_keys};
use super::ops::{Op, OpKind, Ops};

/// Bytes that one key takes while it is resolved, with the room that a hash map leaves free.
const KEY_BYTES: u64 = 160;

/// What a job's mode means for keys.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Rows are only ever added: one whose key and content are there already is left out.
    pub append: bool,
    /// A deleted record marks its row instead of removing it.
    pub soft: bool,
    /// Older versions of these keys may still come: something before them is not read yet.
    pub holes: bool,
    /// All on, but in a mutant.
    pub guards: Guards,
    /// Bytes that keys may take at a time, and the fates with them.
    pub memory: u64,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fate {
    /// It counts: its row is written, or what it takes away is gone.
    Counts,
    /// A newer version of its key is known.
    Superseded,
    /// Its row is there already, just so.
    Unchanged,
    /// It takes its key away, and versions that come late must know.
    Buried,
}

/// A file of which rows are gone or marked.
#[derive(Clone, Debug)]
pub struct Touched {
    pub path: String,
    pub file: CurrentFile,
    gone: Vec<u64>,
    /// Rows to be marked as deleted, with the cursor of the deletion.
    marked: BTreeMap<u64, CursorKey>,
}

impl Touched {
    fn new(path: &str, file: &CurrentFile) -> Self {
        let words = usize::try_from(file.rows.div_ceil(64)).unwrap_or(usize::MAX);
        Touched { path: path.to_owned(), file: file.clone(), gone: vec![0; words], marked: BTreeMap::new() }
    }

    fn note(&mut self, row: u64, step: Step) {
        match step {
            Step::Stays => {}
            Step::Marked(cursor) => drop(self.marked.insert(row, cursor)),
            Step::Gone => {
                if let Some(word) = self.gone.get_mut((row / 64) as usize) {
                    *word |= 1 << (row % 64);
                }
            }
        }
    }

    pub fn is_gone(&self, row: u64) -> bool {
        self.gone.get((row / 64) as usize).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// The cursor of the deletion that marks a row.
    pub fn mark(&self, row: u64) -> Option<&CursorKey> {
        self.marked.get(&row)
    }

    pub fn has_marks(&self) -> bool {
        !self.marked.is_empty()
    }

    /// Rows that leave the table with the file.
    pub fn rows_gone(&self) -> u64 {
        self.gone.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

#[derive(Debug, Default)]
pub struct Resolution {
    /// One an operation.
    pub fates: Vec<Fate>,
    /// In order of path.
    pub touched: Vec<Touched>,
}

/// What is known of a key while it is resolved.
struct Known {
    cursor: CursorKey,
    content: i64,
    place: u64,
    kind: OpKind,
    /// Something of the key was found in the table, or an older version of it in the slice.
    had_another: bool,
    /// Its deletion, just this one, is known already.
    is_buried: bool,
    /// A row of the table goes for it.
    takes_a_row: bool,
    /// It need not be looked at any more: it is older than what is known, or changes nothing.
    settled: bool,
}

/// Resolves a slice's operations against the live files of a table. Reads the keys of files that may hold one; on an error nothing
/// was changed. `only` names the partitions that rows can be in, where they are known.
pub async fn resolve(
    store: &Arc<dyn Store>,
    files: &BTreeMap<String, CurrentFile>,
    tombstones: &BTreeMap<String, CurrentFile>,
    ops: &mut Ops,
    rules: Rules,
    only: Option<&BTreeSet<Vec<Option<String>>>>,
) -> Result<Resolution, SinkError> {
    let count = ops.len();
    let mut resolution =
        Resolution { fates: vec![Fate::Counts; usize::try_from(count).unwrap_or(usize::MAX)], touched: Vec::new() };
    let ranges = ops.ranges().clone();
    let wanted = Wanted { keys: ops.sorted_keys(), ranges: &ranges, guards: rules.guards };
    let cursors = ranges.cursors;
    let in_cursors = |file: &CurrentFile| match (cursors, file.ranges.cursors) {
        (Some((least, greatest)), Some((file_least, file_greatest))) => file_least <= greatest && least <= file_greatest,
        _ => true,
    };
    // A row with the same content has the same cursor.
    let in_files = files.iter().filter(|(_, file)| !rules.append || in_cursors(file)).filter(|(_, file)| is_in(file, only));
    let stored = candidates(store, in_files, &wanted).await?;
    // A tombstone says something to versions that are older than it, or as old.
    let is_late = |file: &CurrentFile| match (cursors, file.ranges.cursors) {
        (Some((least, _)), Some((_, greatest))) => least <= greatest,
        _ => true,
    };
    let in_tombstones = tombstones.iter().filter(|(_, file)| !rules.append && is_late(file) && rules.guards.tombstones);
    let buried = candidates(store, in_tombstones, &wanted).await?;
    let passes = passes(count, ops.cursor_texts(), stored.iter().map(|(_, file)| file.rows).sum(), rules.memory);
    let mut touched: BTreeMap<String, Touched> = BTreeMap::new();
    for pass in 0..passes {
        let mut keys = newest(ops, passes, pass, rules, &mut resolution.fates)?;
        for (path, file) in &buried {
            let hasher = ops.hasher();
            scan_keys(store, path, file, |row| {
                if let Some(known) = keys.get_mut(&hasher.hash(row.key, 0)) {
                    late(row, known, &mut resolution.fates);
                }
            })
            .await?;
        }
        for (path, file) in &stored {
            let hasher = ops.hasher();
            scan_keys(store, path, file, |row| {
                if let Some(known) = keys.get_mut(&hasher.hash(row.key, row.content)).filter(|known| !known.settled) {
                    let step = meet(row, known, rules, &mut resolution.fates);
                    if step != Step::Stays {
                        touched.entry(path.clone()).or_insert_with(|| Touched::new(path, file)).note(row.row, step);
                    }
                }
            })
            .await?;
        }
        for known in keys.values().filter(|known| !known.settled && known.kind != OpKind::Upsert) {
            let fate = &mut resolution.fates[known.place as usize];
            match (known.is_buried, known.takes_a_row) {
                (true, false) => *fate = Fate::Superseded,
                (true, true) => {}
                (false, _) if known.had_another || rules.holes => *fate = Fate::Buried,
                (false, _) => {}
            }
        }
    }
    resolution.touched = touched.into_values().collect();
    Ok(resolution)
}

/// How often the operations and the files are gone over, so that the keys of one time fit into the memory.
///
/// What is kept over all passes counts against it first: a byte for the fate of each operation, a bit for each row of a file that may
/// be touched. It takes as much as half of the memory away, so that the passes do not become many; it would take more only of a slice
/// that has a record for every other byte, whose spool is hundreds of times as large.
fn passes(count: u64, cursor_texts: u64, stored_rows: u64, memory: u64) -> u128 {
    let kept = count.saturating_add(stored_rows / 8);
    let room = memory.saturating_sub(kept).max(memory / 2).max(1);
    (u128::from(count) * u128::from(KEY_BYTES) + u128::from(cursor_texts)).div_ceil(u128::from(room)).max(1)
}

fn is_in(file: &CurrentFile, only: Option<&BTreeSet<Vec<Option<String>>>>) -> bool {
    only.is_none_or(|only| {
        let values = file.partition.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
        // The value that a row has now may have been one that its column did not take.
        values.contains(&None) || only.contains(&values)
    })
}

/// The newest operation of each key of this pass; the others are superseded.
fn newest(ops: &mut Ops, passes: u128, pass: u128, rules: Rules, fates: &mut [Fate]) -> Result<HashMap<u128, Known>, SinkError> {
    let mut keys: HashMap<u128, Known> = HashMap::new();
    ops.for_each(|place, op| {
        if op.key % passes != pass {
            return;
        }
        match keys.entry(op.key) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Known::of(place, op));
            }
            // An append counts the first of two equal ones, a merge the last.
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                let wins = !rules.append && op.cursor >= known.cursor;
                fates[if wins { known.place } else { place } as usize] = Fate::Superseded;
                if wins {
                    *known = Known::of(place, op);
                }
                known.had_another = true;
            }
        }
    })?;
    Ok(keys)
}

impl Known {
    fn of(place: u64, op: Op) -> Self {
        Known {
            cursor: op.cursor,
            content: op.content,
            place,
            kind: op.kind,
            had_another: false,
            is_buried: false,
            takes_a_row: false,
            settled: false,
        }
    }
}

/// A key that was deleted before: what is older than its deletion stays away.
fn late(tombstone: StoredRow<'_>, known: &mut Known, fates: &mut [Fate]) {
    // Where nothing orders versions, a row may have come back since: whether this deletion is nothing new is seen by the rows.
    known.is_buried |= known.kind != OpKind::Upsert && known.cursor == *tombstone.cursor;
    if known.cursor < *tombstone.cursor {
        fates[known.place as usize] = Fate::Superseded;
        known.settled = true;
    }
}

/// What becomes of a row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Stays,
    Gone,
    /// With the cursor of the deletion.
    Marked(CursorKey),
}

/// A row of the table meets the newest operation of its key.
fn meet(row: StoredRow<'_>, known: &mut Known, rules: Rules, fates: &mut [Fate]) -> Step {
    let fate = &mut fates[known.place as usize];
    if rules.append {
        *fate = Fate::Unchanged;
        known.settled = true;
        return Step::Stays;
    }
    if *row.cursor > known.cursor && rules.guards.newest_wins {
        *fate = Fate::Superseded;
        known.settled = true;
        return Step::Stays;
    }
    match known.kind {
        OpKind::Upsert if row.content == known.content && !row.deleted => {
            *fate = Fate::Unchanged;
            known.settled = true;
            Step::Stays
        }
        OpKind::Deleted if rules.soft => {
            // The marked row itself is what late versions meet.
            known.settled = true;
            if row.deleted && *row.cursor == known.cursor { Step::Stays } else { Step::Marked(known.cursor.clone()) }
        }
        OpKind::Upsert | OpKind::Filtered | OpKind::Deleted => {
            known.had_another = true;
            known.takes_a_row = true;
            Step::Gone
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_and_rows_that_may_go_count_against_the_memory_of_the_passes() {
        // C-59
        let memory = 16_000;
        assert_eq!(passes(0, 0, 0, memory), 1);
        assert_eq!(passes(99, 100, 0, memory), 2, "text cursors take their room");
        assert_eq!(passes(99, 0, 0, memory), 1, "15840 for the keys, 99 for their fates");
        assert_eq!(passes(100, 0, 0, memory), 2, "without their fates they would fit");
        assert_eq!(passes(99, 0, 8 * 100, memory), 2, "so they would without the rows of the table");
        // However much is kept: half of the memory is for the keys, and the least memory is enough.
        assert_eq!(passes(1000, 0, u64::MAX, memory), 20);
        assert_eq!(passes(3, 0, 0, 0), 480);
    }
}
