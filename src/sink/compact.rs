//! Small files of a table become fewer and larger ones: which are joined, and the reading of their rows.
//!
//! What is worth it is said without input and output ([`plan`]). Files are joined with files of about their size, so that a table
//! that grows run by run is written anew a few times over its life, and not with every turn.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::ids::PartitionKey;
use crate::store::Store;

use super::SinkError;
use super::current::{Current, CurrentFile};
use super::merge::{check_rows, read_rows, unreadable};
use super::record::{FileRole, PartitionValues};
use super::stored_file::FileRows;

/// A file joins smaller ones that together have at least this part of its size.
const ALIKE_PART: u64 = 2;
/// Files below this part of the wanted size are alike, however small.
const TINY_PART: u64 = 128;

/// What is wanted of the files.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Files of at least half of this are left alone, bytes.
    pub file_size: u64,
    /// Fewer small files than this are left alone; above one.
    pub least: usize,
    /// Files are joined with files of about their size only.
    pub alike: bool,
    /// Only files beside the table, which no reader of its rows sees.
    pub beside_only: bool,
    /// Files of different parameter sets are not joined.
    pub by_set: bool,
    /// Ceilings on what one record joins.
    pub bytes_max: u64,
    pub files_max: usize,
}

/// Files that become fewer, in the order in which they came.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub role: FileRole,
    pub partition: PartitionValues,
    pub set: PartitionKey,
    pub files: Vec<(String, CurrentFile)>,
}

impl Group {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, file)| file.bytes).sum()
    }

    pub fn rows(&self) -> u64 {
        self.files.iter().map(|(_, file)| file.rows).sum()
    }

    /// Bytes of the old files that go into each new one, so that these are about equal.
    pub fn share(&self, file_size: u64) -> u64 {
        self.bytes().div_ceil(self.bytes().div_ceil(file_size.max(1)).max(1)).max(1)
    }
}

/// The groups that are worth it, those with the most files first, as many as one record takes. Pure.
pub fn plan(index: &Current, wish: &Wish) -> Vec<Group> {
    let mut found = Vec::new();
    let mut by_place: BTreeMap<(PartitionValues, PartitionKey), Vec<(&String, &CurrentFile)>> = BTreeMap::new();
    for (path, file) in &index.files {
        let set = if wish.by_set { file.set.clone() } else { PartitionKey::default() };
        by_place.entry((file.partition.clone(), set)).or_default().push((path, file));
    }
    for ((partition, set), files) in by_place.into_iter().filter(|_| !wish.beside_only) {
        found.extend(worth_it(files, wish).map(|files| Group { role: FileRole::Data, partition, set, files }));
    }
    for (role, files) in [(FileRole::DeadLetters, &index.dead_letters), (FileRole::Tombstones, &index.tombstones)] {
        let (partition, set) = (PartitionValues::default(), PartitionKey::default());
        found.extend(worth_it(files.iter().collect(), wish).map(|files| Group { role, partition, set, files }));
    }
    found.sort_by_key(|group| Reverse(group.files.len()));
    let (mut bytes, mut files) = (0, 0);
    found.retain(|group| {
        let fits = bytes + group.bytes() <= wish.bytes_max && files + group.files.len() <= wish.files_max;
        if fits {
            bytes += group.bytes();
            files += group.files.len();
        }
        fits
    });
    found
}

/// The files of one place that are to be joined; `None` where they are good as they are.
fn worth_it(files: Vec<(&String, &CurrentFile)>, wish: &Wish) -> Option<Vec<(String, CurrentFile)>> {
    let mut small: Vec<_> = files.into_iter().filter(|(_, file)| file.bytes < wish.file_size / 2).collect();
    small.sort_by_key(|(_, file)| file.bytes);
    let mut best: Vec<_> = Vec::new();
    let mut at: Vec<(&String, &CurrentFile)> = Vec::new();
    let mut sum = 0;
    for (path, file) in small {
        let is_alike = file.bytes <= (sum * ALIKE_PART).max(wish.file_size / TINY_PART);
        if wish.alike && !at.is_empty() && !is_alike {
            if at.len() >= wish.least && at.len() > best.len() {
                best = std::mem::take(&mut at);
            }
            at.clear();
            sum = 0;
        }
        sum += file.bytes;
        at.push((path, file));
    }
    if at.len() >= wish.least && at.len() > best.len() {
        best = at;
    }
    // The smallest first: they are the ones that cost readers most.
    let mut bytes = 0;
    best.retain(|(_, file)| {
        bytes += file.bytes;
        bytes <= wish.bytes_max
    });
    best.truncate(wish.files_max);
    let total: u64 = best.iter().map(|(_, file)| file.bytes).sum();
    if best.len() < 2 || total.div_ceil(wish.file_size.max(1)) >= best.len() as u64 {
        return None;
    }
    // A path holds the seq of its record and its place in it.
    best.sort_by_key(|(path, _)| path.rsplit('/').next().unwrap_or(path.as_str()));
    Some(best.into_iter().map(|(path, file)| (path.clone(), file.clone())).collect())
}

/// The rows of a group's files, one file after the other, batch by batch.
pub struct Rows<'g> {
    store: Arc<dyn Store>,
    files: std::slice::Iter<'g, (String, CurrentFile)>,
    open: Option<(&'g str, &'g CurrentFile, FileRows, u64)>,
}

impl<'g> Rows<'g> {
    pub fn of(store: &Arc<dyn Store>, group: &'g Group) -> Self {
        Rows { store: Arc::clone(store), files: group.files.iter(), open: None }
    }

    /// The next rows, and the bytes of their file that they stand for; `None` behind the last. Every file was found to have as many
    /// rows as its record says.
    pub async fn next(&mut self) -> Result<Option<(RecordBatch, u64)>, SinkError> {
        // Bounded by the files of the group and their batches.
        loop {
            let Some((path, file, rows, read)) = &mut self.open else {
                let Some((path, file)) = self.files.next() else { return Ok(None) };
                self.open = Some((path, file, read_rows(&self.store, path, file).await?, 0));
                continue;
            };
            let Some(batch) = rows.next().await.map_err(|error| unreadable(path, error))? else {
                check_rows(path, file, *read)?;
                self.open = None;
                continue;
            };
            let count = batch.num_rows() as u64;
            *read += count;
            let bytes = u128::from(file.bytes) * u128::from(count) / u128::from(file.rows.max(1));
            return Ok(Some((batch, u64::try_from(bytes).unwrap_or(u64::MAX))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn wish() -> Wish {
        Wish {
            file_size: 128 * MIB,
            least: 4,
            alike: true,
            beside_only: false,
            by_set: false,
            bytes_max: 512 * MIB,
            files_max: 100,
        }
    }

    fn index(files: &[(&str, &str, u64)]) -> Current {
        let file = |(seq, (kind, set, bytes)): (usize, &(&str, &str, u64))| {
            let partition = vec![("kind".to_owned(), Some((*kind).to_owned()))];
            let file =
                CurrentFile { bytes: *bytes, rows: 10, partition, ranges: Default::default(), set: PartitionKey::new(*set) };
            (format!("t/kind={kind}/part-{seq:020}-0000-x.parquet"), file)
        };
        Current { files: files.iter().enumerate().map(file).collect(), ..Current::default() }
    }

    fn sizes(index: &Current, wish: &Wish) -> Vec<Vec<u64>> {
        plan(index, wish).iter().map(|group| group.files.iter().map(|(_, file)| file.bytes / MIB).collect()).collect()
    }

    fn of(kind: &'static str, sizes: &[u64]) -> Vec<(&'static str, &'static str, u64)> {
        sizes.iter().map(|size| (kind, "", size * MIB)).collect()
    }

    #[test]
    fn a_partition_whose_files_are_good_is_left_alone() {
        assert!(plan(&index(&of("a", &[64, 70, 128, 130, 1, 2, 3])), &wish()).is_empty(), "three small ones are few");
        assert!(
            plan(&index(&[of("a", &[1, 1]), of("b", &[1, 1])].concat()), &wish()).is_empty(),
            "files stay in their partition"
        );
        // What was joined last time waits for as much again.
        assert!(plan(&index(&of("a", &[60, 1, 1, 1])), &wish()).is_empty());
        assert_eq!(sizes(&index(&of("a", &[60, 1, 1, 1, 1])), &wish()), [[1, 1, 1, 1]]);
        assert_eq!(sizes(&index(&of("a", &[6, 1, 1, 1, 1])), &wish()), [[6, 1, 1, 1, 1]]);
    }

    #[test]
    fn files_are_joined_in_the_order_in_which_they_came_and_become_fewer() {
        let wished = wish();
        assert_eq!(sizes(&index(&of("a", &[9, 5, 128, 7, 8])), &wished), [[9, 5, 7, 8]]);
        let groups = plan(&index(&of("a", &[50, 60, 55, 40])), &wished);
        assert_eq!((groups[0].bytes() / MIB, groups[0].share(wished.file_size) / MIB), (205, 102));
        let two = Wish { file_size: 3 * MIB, least: 2, ..wished };
        assert_eq!(sizes(&index(&of("a", &[1, 1])), &two), [[1, 1]]);
        let asked = Wish { least: 2, alike: false, ..wished };
        assert_eq!(sizes(&index(&of("a", &[60, 1])), &asked), [[60, 1]]);
    }

    #[test]
    fn a_record_joins_no_more_than_it_may() {
        let files = [of("a", &[20; 9]), of("b", &[10; 5]), of("c", &[30; 4])].concat();
        let narrow = Wish { bytes_max: 230 * MIB, ..wish() };
        let groups = plan(&index(&files), &narrow);
        assert_eq!(groups.iter().map(|group| group.files.len()).collect::<Vec<_>>(), [9, 5]);
        let narrower = Wish { bytes_max: 70 * MIB, ..wish() };
        assert_eq!(sizes(&index(&of("a", &[20; 9])), &narrower), [[20, 20, 20]]);
        let few = Wish { files_max: 6, ..wish() };
        assert_eq!(sizes(&index(&of("a", &[1; 9])), &few), [[1; 6]]);
    }

    #[test]
    fn sets_that_replace_their_own_rows_are_not_joined() {
        let files: Vec<_> = (0..8).map(|number| ("a", if number % 2 == 0 { "x" } else { "y" }, MIB)).collect();
        assert_eq!(plan(&index(&files), &wish()).len(), 1);
        let groups = plan(&index(&files), &Wish { by_set: true, ..wish() });
        assert_eq!(groups.iter().map(|group| group.set.to_string()).collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn dead_letters_and_tombstones_are_joined_among_themselves() {
        let files = index(&of("a", &[1; 5])).files;
        let index = Current { dead_letters: files.clone(), tombstones: files, ..Current::default() };
        let roles = |wish: Wish| plan(&index, &wish).iter().map(|group| group.role).collect::<Vec<_>>();
        assert_eq!(roles(wish()), [FileRole::DeadLetters, FileRole::Tombstones]);
        let index = Current { files: index.dead_letters.clone(), ..index.clone() };
        assert_eq!(plan(&index, &Wish { beside_only: true, ..wish() }).len(), 2, "the table itself is left alone");
    }
}
