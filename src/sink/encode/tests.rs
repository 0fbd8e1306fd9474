use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, LargeListArray, StringViewArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int64Type};
use jiff::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::*;
use crate::config::catalog::{Compression, PartitionUnit};

const PARTITIONS: usize = 8;
const TURNS: usize = 24;
const ROWS: usize = 64;

/// Texts that do not compress, each row of one of the partitions.
fn batch(turn: usize) -> Batch {
    let mut state = turn as u64 + 1;
    let mut text = || {
        let letters = (0..1024).map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            char::from(b'a' + (state >> 59) as u8 % 26)
        });
        letters.collect::<String>()
    };
    let texts: ArrayRef = Arc::new((0..ROWS).map(|_| Some(text())).collect::<StringViewArray>());
    let partitions: ArrayRef = Arc::new((0..ROWS).map(|row| Some(format!("p{}", row % PARTITIONS))).collect::<StringViewArray>());
    let rows = RecordBatch::try_from_iter([("text", texts), ("p", partitions)]).unwrap();
    Batch { rows, page: turn as u64, extracted_at: Timestamp::UNIX_EPOCH, marks: None }
}

fn settings(first: &Batch) -> EncodeSettings {
    EncodeSettings {
        parquet: ParquetSettings { compression: Compression::None, file_size: 64 << 20, row_group_size: 64 << 20 },
        partition_by: vec![PartitionColumn { column: "p".to_owned(), unit: PartitionUnit::Value }],
        schema: TableSchema::from_arrow(&first.rows.schema()).unwrap(),
        own: OwnColumns { metadata: true, set: false, keyed: false, cursor: None, deleted: false },
        batch: BatchId(uuid::Uuid::nil()),
        set: PartitionKey::default(),
        memory: 64 * 1024,
        part: Part::Of(1 << 20),
        held: usize::MAX,
        ended: usize::MAX,
        parked: 256 * 1024,
        scratch: None,
        resting: 1200,
        keys_max: None,
    }
}

/// Files, the most bytes that waited to be parts, and rows.
fn written(mut encoder: Encoder) -> (usize, usize, u64) {
    let (mut bytes, mut rows, mut most, part) = (HashMap::new(), 0, 0, encoder.settings.part.length(1));
    let mut take = |pieces: Vec<Piece>| {
        for piece in pieces {
            *bytes.entry(piece.file).or_insert(0) += piece.bytes.len();
            if let Some(closed) = piece.closed {
                rows += closed.rows;
                assert_eq!(bytes.remove(&piece.file), Some(closed.bytes as usize));
            }
        }
        bytes.values().map(|bytes| bytes % part).sum::<usize>()
    };
    for turn in 0..TURNS {
        let mut pieces = encoder.add(&batch(turn)).unwrap();
        pieces.extend(encoder.encode_waiting().unwrap());
        most = most.max(take(pieces));
    }
    let files = encoder.files();
    take(encoder.finish().unwrap());
    (files, most, rows)
}

#[test]
fn what_waits_to_be_parts_keeps_within_its_ceiling() {
    let all = (TURNS * ROWS) as u64;
    let (files, most, rows) = written(Encoder::new(EncodeSettings { held: 200 * 1024, ..settings(&batch(0)) }));
    assert!(files > PARTITIONS && most <= 200 * 1024, "{files} files, {most} bytes");
    assert_eq!(rows, all);
    // With room enough each partition has its file.
    let (files, most, rows) = written(Encoder::new(settings(&batch(0))));
    assert!(files == PARTITIONS && most > 200 * 1024, "{files} files, {most} bytes");
    assert_eq!(rows, all);
}

#[test]
fn what_is_kept_of_row_groups_keeps_within_its_ceiling() {
    let mut encoder = Encoder::new(EncodeSettings { ended: 8 * 1024, ..settings(&batch(0)) });
    let (mut rows, mut most) = (0, 0);
    let mut take =
        |pieces: Vec<Piece>| rows += pieces.iter().flat_map(|piece| &piece.closed).map(|closed| closed.rows).sum::<u64>();
    for turn in 0..TURNS {
        take(encoder.add(&batch(turn)).unwrap());
        take(encoder.encode_waiting().unwrap());
        most = most.max(encoder.open.values().map(|file| file.parquet.ended_memory()).sum());
    }
    take(encoder.finish().unwrap());
    assert!((4 * 1024..=8 * 1024).contains(&most) && encoder.files() > PARTITIONS, "{most} bytes, {} files", encoder.files());
    assert_eq!(rows, (TURNS * ROWS) as u64);
}

/// Row numbers, texts, and lists of as many structs as the number has left over after 3, of the partitions that they are said to be of.
fn numbered(first: i64, partitions: &[usize]) -> Batch {
    let numbers = || first..first + partitions.len() as i64;
    let text = |number: i64| Some(format!("the text of the row with the number {number}"));
    let texts: ArrayRef = Arc::new(numbers().map(text).collect::<StringViewArray>());
    let lengths = || numbers().map(|number| number as usize % 3);
    let items = numbers().zip(lengths()).flat_map(|(number, length)| std::iter::repeat_n(text(number), length));
    let items: ArrayRef = Arc::new(items.collect::<StringViewArray>());
    let item = StructArray::from(vec![(Arc::new(Field::new("t", DataType::Utf8View, true)), items)]);
    let field = Arc::new(Field::new("item", item.data_type().clone(), true));
    let lists = LargeListArray::new(field, OffsetBuffer::from_lengths(lengths()), Arc::new(item), None);
    let names: ArrayRef = Arc::new(partitions.iter().map(|partition| Some(format!("{partition}"))).collect::<StringViewArray>());
    let columns: [(&str, ArrayRef); 4] =
        [("n", Arc::new(Int64Array::from_iter_values(numbers()))), ("text", texts), ("list", Arc::new(lists)), ("p", names)];
    let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
    Batch { rows, page: 0, extracted_at: Timestamp::UNIX_EPOCH, marks: None }
}

/// What came of an encoder.
#[derive(Default)]
struct Lake {
    open: HashMap<usize, Vec<u8>>,
    /// Of each partition, the row numbers of its files, in the order in which they were closed.
    partitions: HashMap<String, Vec<Vec<i64>>>,
    /// The most that a file has.
    row_groups: usize,
}

impl Lake {
    fn take(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            self.open.entry(piece.file).or_default().extend_from_slice(&piece.bytes);
            let Some(closed) = piece.closed else { continue };
            let bytes = Bytes::from(self.open.remove(&piece.file).unwrap());
            let mut found = Vec::new();
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
            self.row_groups = self.row_groups.max(reader.metadata().num_row_groups());
            for rows in reader.build().unwrap() {
                let rows = rows.unwrap();
                let column = |name: &str| rows.column_by_name(name).unwrap().clone();
                let (texts, lists) = (column("text"), column("list"));
                for (row, number) in column("n").as_primitive::<Int64Type>().values().iter().enumerate() {
                    let text = format!("the text of the row with the number {number}");
                    assert_eq!(texts.as_string::<i32>().value(row), text);
                    let items = lists.as_list::<i32>().value(row);
                    let items = items.as_struct().column(0).as_string::<i32>().iter().collect::<Vec<_>>();
                    assert_eq!(items, vec![Some(text.as_str()); *number as usize % 3]);
                    found.push(*number);
                }
            }
            assert_eq!(found.len() as u64, closed.rows);
            self.partitions.entry(closed.directory).or_default().push(found);
        }
    }
}

/// What of these rows was made with so much memory for what is parked, as the line has them written; and the most partitions that were
/// parked, and pieces that came at once.
fn lake(partitions: &[usize], rows_a_batch: usize, settings: EncodeSettings) -> (Lake, usize, usize) {
    let (mut encoder, mut lake) = (Encoder::new(settings), Lake::default());
    let (mut parked, mut pieces, mut first) = (0, 0, 0);
    for batch in partitions.chunks(rows_a_batch) {
        lake.take(encoder.add(&numbered(first, batch)).unwrap());
        first += batch.len() as i64;
        parked = parked.max(encoder.parked.len());
        while encoder.is_full() {
            let some = encoder.unpark().unwrap();
            pieces = pieces.max(some.len());
            lake.take(some);
        }
        assert!(encoder.open.len() <= OPEN_MAX && encoder.resting.len() <= encoder.settings.resting);
    }
    lake.take(encoder.finish().unwrap());
    assert!(lake.open.is_empty() && encoder.parked.is_empty());
    (lake, parked, pieces)
}

/// Each row is in its partition, once, and those of a file are in their order.
fn check(lake: &Lake, partitions: &[usize]) {
    let mut expected: HashMap<String, Vec<i64>> = HashMap::new();
    for (partition, row) in partitions.iter().zip(0..) {
        expected.entry(format!("p={partition}")).or_default().push(row);
    }
    assert_eq!(lake.partitions.len(), expected.len());
    for (directory, files) in &lake.partitions {
        assert!(files.iter().all(|rows| rows.is_sorted()), "{directory}: {files:?}");
        let mut rows: Vec<i64> = files.iter().flatten().copied().collect();
        rows.sort_unstable();
        assert_eq!(Some(&rows), expected.get(directory), "{directory}");
    }
}

#[test]
fn partitions_in_any_order_have_a_file_each() {
    let rows: Vec<usize> = (0..20_000).map(|row| row * 7919 % 1000).collect();
    let (lake, parked, _) = lake(&rows, 100, settings(&numbered(0, &[0])));
    check(&lake, &rows);
    assert!(parked > 300, "{parked} were parked at once");
    assert_eq!(lake.partitions.values().map(Vec::len).max(), Some(1));
}

fn scratch() -> (tempfile::TempDir, Arc<Scratch>) {
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::new(folder.path(), BatchId(uuid::Uuid::nil()));
    (folder, Arc::new(scratch))
}

#[test]
fn very_many_partitions_are_sorted_on_the_disk_and_few_files_are_open() {
    let rows: Vec<usize> = (0..20_000).map(|row| row * 7919 % 1000).collect();
    let (folder, scratch) = scratch();
    let mut encoder = Encoder::new(EncodeSettings { scratch: Some(scratch), ..settings(&numbered(0, &[0])) });
    let (mut lake, mut first, mut on_disk) = (Lake::default(), 0, 0);
    for batch in rows.chunks(100) {
        lake.take(encoder.add(&numbered(first, batch)).unwrap());
        first += batch.len() as i64;
        while encoder.is_full() {
            lake.take(encoder.unpark().unwrap());
        }
    }
    assert!(encoder.files() <= OPEN_MAX && lake.partitions.is_empty());
    for file in std::fs::read_dir(folder.path()).unwrap() {
        on_disk += file.unwrap().metadata().unwrap().len();
    }
    let (mut most, mut most_pieces) = (0, 0);
    while let Some(pieces) = encoder.finish_some().unwrap() {
        most = most.max(encoder.resting.len());
        most_pieces = most_pieces.max(pieces.len());
        lake.take(pieces);
    }
    check(&lake, &rows);
    assert!(lake.open.is_empty() && on_disk > 1 << 20, "{on_disk} bytes");
    // Those of one bucket of 64, and those that were open before.
    assert!(most < 80 && most_pieces < 200, "{most} files, {most_pieces} pieces");
    assert_eq!(lake.partitions.values().map(Vec::len).max(), Some(1));
    // Of a bucket's rows, which were spilled some twenty times, and not of each time.
    assert!(lake.row_groups <= 6, "{} row groups", lake.row_groups);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "what was read is gone before the encoder is");
}

#[test]
fn columns_that_are_nested_too_deep_to_be_read_back_are_not_spilled() {
    let (folder, scratch) = scratch();
    let names: Vec<Option<String>> = (0..300).map(|partition| Some(format!("{partition}"))).collect();
    let mut deep: ArrayRef = Arc::new(Int64Array::from_iter_values(0..300));
    for _ in 0..60 {
        deep = Arc::new(StructArray::from(vec![(Arc::new(Field::new("x", deep.data_type().clone(), true)), deep)]));
    }
    let names: ArrayRef = Arc::new(names.into_iter().collect::<StringViewArray>());
    let rows = RecordBatch::try_from_iter_with_nullable([("deep", deep, true), ("p", names, true)]).unwrap();
    let batch = Batch { rows, page: 0, extracted_at: Timestamp::UNIX_EPOCH, marks: None };
    let mut encoder = Encoder::new(EncodeSettings { scratch: Some(scratch), parked: 1024, ..settings(&batch) });
    let mut pieces = encoder.add(&batch).unwrap();
    while encoder.is_full() {
        pieces.extend(encoder.unpark().unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    pieces.extend(encoder.finish().unwrap());
    assert_eq!(pieces.iter().filter_map(|piece| piece.closed.as_ref()).map(|closed| closed.rows).sum::<u64>(), 300);
}

#[test]
fn what_the_disk_spoils_is_told_and_becomes_no_file() {
    let rows: Vec<usize> = (0..2000).map(|row| row * 7919 % 1000).collect();
    let (folder, scratch) = scratch();
    let mut encoder = Encoder::new(EncodeSettings { scratch: Some(scratch), parked: 1024, ..settings(&numbered(0, &[0])) });
    for (batch, first) in rows.chunks(500).zip((0..).step_by(500)) {
        encoder.add(&numbered(first, batch)).unwrap();
        while encoder.is_full() {
            encoder.unpark().unwrap();
        }
    }
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let half = std::fs::metadata(&path).unwrap().len() / 2;
        std::fs::File::options().write(true).open(&path).unwrap().set_len(half).unwrap();
    }
    let error = std::iter::from_fn(|| encoder.finish_some().transpose()).find_map(Result::err).unwrap();
    assert_eq!(error.kind, crate::error::ErrorKind::Unavailable);
    assert!(error.message.contains(&format!("rows cannot be sorted under `{}`", folder.path().display())), "{error}");
}

#[test]
fn partitions_that_come_one_after_the_other_have_a_file_each() {
    let rows: Vec<usize> = (0..40_000).map(|row| row / 100).collect();
    let (lake, ..) = lake(&rows, 1000, settings(&numbered(0, &[0])));
    check(&lake, &rows);
    assert_eq!(lake.partitions.values().map(Vec::len).max(), Some(1));
}

#[test]
fn where_fewer_files_may_rest_than_partitions_come_again_most_rest_nevertheless() {
    let rows: Vec<usize> = (0..20_000).map(|row| row * 7919 % 1000).collect();
    let (lake, ..) = lake(&rows, 1000, EncodeSettings { resting: 900, ..settings(&numbered(0, &[0])) });
    check(&lake, &rows);
    let of_one_file = lake.partitions.values().filter(|files| files.len() == 1).count();
    assert!((850..=900).contains(&of_one_file), "{of_one_file} partitions have one file");
}

#[test]
fn more_partitions_than_files_may_rest_are_handed_out_as_they_come() {
    let rows: Vec<usize> = (0..3 * 1200).collect();
    let (lake, parked, pieces) = lake(&rows, rows.len(), settings(&numbered(0, &[0])));
    check(&lake, &rows);
    assert!(parked > 2 * 1200 && pieces <= 1024, "{parked} parked, {pieces} pieces");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_row_is_lost_doubled_or_out_of_order_whatever_is_parked(
        rows in prop_oneof![prop::collection::vec(0..120_usize, 1..2000), prop::collection::vec(0..700_usize, 1..4000)],
        rows_a_batch in 1..300_usize,
        parked in 0..200_000_usize,
        file_size in prop_oneof![Just(1_u64), Just(20_000), Just(64 << 20)],
        ended in prop_oneof![Just(20_000_usize), Just(usize::MAX)],
        resting in prop_oneof![0..20_usize, Just(usize::MAX)],
        sorts in any::<bool>(),
    ) {
        let (folder, scratch) = scratch();
        let mut settings = settings(&numbered(0, &[0]));
        settings.scratch = sorts.then_some(scratch);
        (settings.parked, settings.parquet.file_size, settings.ended, settings.resting) = (parked, file_size, ended, resting);
        let (lake, ..) = lake(&rows, rows_a_batch, settings);
        check(&lake, &rows);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
