//! Rows about parents in local files, in order: there may be millions, and none of them stays in memory.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use crate::page::ParentId;
use crate::scratch::{self, Kept, Scratch};
use crate::sink::parents::{Lack, ParentRow};

/// Bytes of a row: the parent, what is there, and two numbers.
const ROW: usize = 33;
/// Rows of a block: one is read to find a parent, and of each the first stays in memory.
const BLOCK: u64 = 256;
/// Parents that are held before they are written.
const HELD_MAX: usize = 1 << 16;
/// Files of parents that are looked into, at most; then they become one.
const RUNS_MAX: usize = 8;

/// Rows in order, in a file that is gone with it.
#[derive(Debug, Default)]
pub(in crate::run) struct Sheet {
    kept: Option<Kept>,
    rows: u64,
    parents: u64,
    /// The first parent of each block.
    fence: Vec<ParentId>,
}

/// What a sheet says of a parent.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::run) struct Found {
    /// The place of its first row.
    pub place: u64,
    pub lacks: Vec<Lack>,
}

impl Sheet {
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many parents it has.
    pub fn parents(&self) -> u64 {
        self.parents
    }

    pub fn find(&self, parent: &ParentId) -> io::Result<Option<Found>> {
        // A parent's rows may begin in the block before the first one that begins with it.
        let first = self.fence.partition_point(|first| first < parent).saturating_sub(1) as u64;
        let mut found: Option<Found> = None;
        for block in first..self.fence.len() as u64 {
            if self.fence[block as usize] > *parent {
                break;
            }
            let bytes = self.block(block)?;
            let row = |index: usize| bytes.get(index * ROW..(index + 1) * ROW);
            let rows = bytes.len() / ROW;
            let (mut low, mut high) = (0, rows);
            while low < high {
                let middle = low + (high - low) / 2;
                match row(middle).is_some_and(|row| row[..16] < parent[..]) {
                    true => low = middle + 1,
                    false => high = middle,
                }
            }
            for index in low..rows {
                let row = decode(row(index).unwrap_or_default())?;
                if row.parent != *parent {
                    break;
                }
                let place = block * BLOCK + index as u64;
                found.get_or_insert_with(|| Found { place, lacks: Vec::new() }).lacks.extend(row.lacks);
            }
        }
        Ok(found)
    }

    fn block(&self, block: u64) -> io::Result<Vec<u8>> {
        let Some(kept) = &self.kept else { return Ok(Vec::new()) };
        let rows = BLOCK.min(self.rows - block * BLOCK);
        let mut bytes = vec![0; rows as usize * ROW];
        let mut file = &kept.file;
        file.seek(SeekFrom::Start(block * BLOCK * ROW as u64))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// All rows from the first on. Nothing else may be read meanwhile.
    pub fn read(&self) -> io::Result<Rows<'_>> {
        let reader = self.kept.as_ref().map(|kept| -> io::Result<_> {
            let mut file = &kept.file;
            file.seek(SeekFrom::Start(0))?;
            Ok(BufReader::with_capacity(64 * 1024, file))
        });
        Ok(Rows { reader: reader.transpose()?, left: self.rows })
    }
}

/// The rows of a sheet.
pub(in crate::run) struct Rows<'a> {
    reader: Option<BufReader<&'a File>>,
    left: u64,
}

impl Iterator for Rows<'_> {
    type Item = io::Result<ParentRow>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut().filter(|_| self.left > 0)?;
        self.left -= 1;
        let mut bytes = [0; ROW];
        Some(reader.read_exact(&mut bytes).and_then(|()| decode(&bytes)))
    }
}

/// Writes a sheet, row by row in order.
pub(in crate::run) struct SheetWriter<'s> {
    scratch: &'s Scratch,
    writer: Option<(Kept, BufWriter<File>)>,
    sheet: Sheet,
    last: Option<ParentId>,
}

impl<'s> SheetWriter<'s> {
    pub fn new(scratch: &'s Scratch) -> Self {
        SheetWriter { scratch, writer: None, sheet: Sheet::default(), last: None }
    }

    pub fn push(&mut self, row: &ParentRow) -> io::Result<()> {
        if self.writer.is_none() {
            let kept = Kept::new(self.scratch, scratch::PARENTS)?;
            let file = kept.file.try_clone()?;
            self.writer = Some((kept, BufWriter::with_capacity(64 * 1024, file)));
        }
        let Some((_, writer)) = &mut self.writer else { return Err(io::ErrorKind::NotFound.into()) };
        writer.write_all(&encode(row))?;
        if self.sheet.rows.is_multiple_of(BLOCK) {
            self.sheet.fence.push(row.parent);
        }
        self.sheet.rows += 1;
        self.sheet.parents += u64::from(self.last != Some(row.parent));
        self.last = Some(row.parent);
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<Sheet> {
        if let Some((kept, mut writer)) = self.writer.take() {
            writer.flush()?;
            self.sheet.kept = Some(kept);
        }
        Ok(self.sheet)
    }
}

fn encode(row: &ParentRow) -> [u8; ROW] {
    let mut bytes = [0; ROW];
    bytes[..16].copy_from_slice(&row.parent);
    if let Some(lack) = &row.lacks {
        bytes[16] = 1 | u8::from(lack.from.is_some()) << 1 | u8::from(lack.to.is_some()) << 2;
        bytes[17..25].copy_from_slice(&lack.from.unwrap_or_default().to_le_bytes());
        bytes[25..].copy_from_slice(&lack.to.unwrap_or_default().to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> io::Result<ParentRow> {
    let part = |from: usize| -> io::Result<i64> {
        let part = bytes.get(from..from + 8).and_then(|part| part.try_into().ok());
        part.map(i64::from_le_bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    };
    let parent = bytes.get(..16).and_then(|part| part.try_into().ok()).ok_or(io::ErrorKind::UnexpectedEof)?;
    let flags = bytes.get(16).copied().unwrap_or_default();
    let (from, to) = (part(17)?, part(25)?);
    let lack = Lack { from: (flags & 2 != 0).then_some(from), to: (flags & 4 != 0).then_some(to) };
    Ok(ParentRow { parent, lacks: (flags & 1 != 0).then_some(lack) })
}

/// All that one sheet says of a parent.
pub(in crate::run) type Group = (ParentId, Vec<Lack>);

/// Rows, parent by parent.
pub(in crate::run) struct Groups<I> {
    rows: I,
    ahead: Option<ParentRow>,
}

impl<I: Iterator<Item = io::Result<ParentRow>>> Groups<I> {
    pub fn new(rows: I) -> Self {
        Groups { rows, ahead: None }
    }

    /// The next parent, with the number of its rows.
    pub fn next(&mut self) -> io::Result<Option<(Group, u64)>> {
        let Some(first) = self.ahead.take().map(Ok).or_else(|| self.rows.next()).transpose()? else { return Ok(None) };
        let (mut lacks, mut count) = (Vec::from_iter(first.lacks), 1);
        while let Some(row) = self.rows.next().transpose()? {
            if row.parent != first.parent {
                self.ahead = Some(row);
                break;
            }
            lacks.extend(row.lacks);
            count += 1;
        }
        Ok(Some(((first.parent, lacks), count)))
    }
}

pub(in crate::run) fn push_group(writer: &mut SheetWriter<'_>, (parent, lacks): &Group) -> io::Result<()> {
    if lacks.is_empty() {
        return writer.push(&ParentRow { parent: *parent, lacks: None });
    }
    lacks.iter().try_for_each(|lack| writer.push(&ParentRow { parent: *parent, lacks: Some(*lack) }))
}

/// What two sheets say together: of a parent that stands in both, what the later one says.
pub(in crate::run) fn merge(scratch: &Scratch, earlier: &Sheet, later: &Sheet) -> io::Result<Sheet> {
    let mut writer = SheetWriter::new(scratch);
    let (mut earlier, mut later) = (Groups::new(earlier.read()?), Groups::new(later.read()?));
    let (mut old, mut new) = (earlier.next()?, later.next()?);
    loop {
        match (&old, &new) {
            (None, None) => return writer.finish(),
            (Some((group, _)), other) if other.as_ref().is_none_or(|(other, _)| group.0 < other.0) => {
                push_group(&mut writer, group)?;
                old = earlier.next()?;
            }
            (other, Some((group, _))) => {
                push_group(&mut writer, group)?;
                if other.as_ref().is_some_and(|(other, _)| other.0 == group.0) {
                    old = earlier.next()?;
                }
                new = later.next()?;
            }
            (Some(_), None) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Parents as they come, in any order; each once.
#[derive(Debug)]
pub(in crate::run) struct Collector {
    held: BTreeSet<ParentId>,
    held_max: usize,
    runs: Vec<Sheet>,
}

impl Default for Collector {
    fn default() -> Self {
        Collector { held: BTreeSet::new(), held_max: HELD_MAX, runs: Vec::new() }
    }
}

impl Collector {
    /// Takes a parent in; false where it came before.
    pub fn insert(&mut self, scratch: &Scratch, parent: ParentId) -> io::Result<bool> {
        if self.held.contains(&parent) {
            return Ok(false);
        }
        for run in &self.runs {
            if run.find(&parent)?.is_some() {
                return Ok(false);
            }
        }
        self.held.insert(parent);
        if self.held.len() >= self.held_max {
            self.write(scratch)?;
        }
        Ok(true)
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.runs.is_empty()
    }

    fn write(&mut self, scratch: &Scratch) -> io::Result<()> {
        let mut writer = SheetWriter::new(scratch);
        for parent in std::mem::take(&mut self.held) {
            writer.push(&ParentRow { parent, lacks: None })?;
        }
        self.runs.push(writer.finish()?);
        if self.runs.len() >= RUNS_MAX { self.join(scratch) } else { Ok(()) }
    }

    fn join(&mut self, scratch: &Scratch) -> io::Result<()> {
        let mut whole = Sheet::default();
        for run in std::mem::take(&mut self.runs) {
            whole = merge(scratch, &whole, &run)?;
        }
        self.runs.push(whole);
        Ok(())
    }

    /// All of them, in order.
    pub fn into_sheet(mut self, scratch: &Scratch) -> io::Result<Sheet> {
        self.write(scratch)?;
        self.join(scratch)?;
        Ok(self.runs.pop().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::BatchId;

    fn scratch() -> (tempfile::TempDir, Scratch) {
        let folder = tempfile::tempdir().expect("a folder");
        let scratch = Scratch::new(folder.path(), BatchId(uuid::Uuid::nil()));
        (folder, scratch)
    }

    fn id(number: u16) -> ParentId {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        id
    }

    fn sheet(scratch: &Scratch, groups: &BTreeMap<u16, Vec<Lack>>) -> Sheet {
        let mut writer = SheetWriter::new(scratch);
        for (number, lacks) in groups {
            push_group(&mut writer, &(id(*number), lacks.clone())).expect("written");
        }
        writer.finish().expect("finished")
    }

    fn lacks() -> impl Strategy<Value = Vec<Lack>> {
        prop::collection::btree_set((prop::option::of(any::<i64>()), prop::option::of(any::<i64>())), 0..3)
            .prop_map(|lacks| lacks.into_iter().map(|(from, to)| Lack { from, to }).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn of_two_sheets_the_later_one_counts(
            earlier in prop::collection::btree_map(0u16..900, lacks(), 0..900),
            later in prop::collection::btree_map(0u16..900, lacks(), 0..60),
        ) {
            let (_folder, scratch) = scratch();
            let joined = merge(&scratch, &sheet(&scratch, &earlier), &sheet(&scratch, &later)).expect("merged");
            let mut truth = earlier;
            truth.extend(later);
            prop_assert_eq!(joined.parents(), truth.len() as u64);
            for number in 0..900 {
                let found = joined.find(&id(number)).expect("readable").map(|found| found.lacks);
                prop_assert_eq!(found.as_ref(), truth.get(&number));
            }
        }
    }

    #[test]
    fn many_parents_are_known_again_and_leave_no_file() {
        let (folder, scratch) = scratch();
        let mut collector = Collector { held_max: 500, ..Collector::default() };
        let number = |at: u32| {
            let mut id = [7; 16];
            // Scattered, as hashes are.
            id[..4].copy_from_slice(&at.wrapping_mul(2_654_435_761).to_be_bytes());
            id
        };
        let many = (3 * RUNS_MAX * 500 + 3) as u32;
        for at in 0..many {
            assert!(collector.insert(&scratch, number(at)).expect("kept"));
        }
        for at in (0..many).step_by(503) {
            assert!(!collector.insert(&scratch, number(at)).expect("looked for"));
        }
        let sheet = collector.into_sheet(&scratch).expect("written");
        assert_eq!(sheet.rows(), u64::from(many));
        let rows: Vec<ParentId> = sheet.read().expect("open").map(|row| row.expect("a row").parent).collect();
        assert!(rows.is_sorted());
        drop(sheet);
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
    }
}
