use jiff::Timestamp;

use super::*;

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

fn encoder(part: usize, held: usize, ended: usize) -> Encoder {
    Encoder::new(EncodeSettings {
        parquet: ParquetSettings { compression: Compression::None, file_size: 64 << 20, row_group_size: 64 << 20 },
        partition_by: vec![PartitionColumn { column: "p".to_owned(), unit: PartitionUnit::Value }],
        schema: TableSchema::from_arrow(&batch(0).rows.schema()).unwrap(),
        own: OwnColumns { metadata: true, set: false, keyed: false, cursor: None, deleted: false },
        batch: BatchId(uuid::Uuid::nil()),
        set: PartitionKey::default(),
        memory: 64 * 1024,
        part,
        held,
        ended,
        keys_max: None,
    })
}

/// Files, the most bytes that waited to be parts, and rows.
fn written(mut encoder: Encoder) -> (usize, usize, u64) {
    let (mut bytes, mut rows, mut most, part) = (HashMap::new(), 0, 0, encoder.settings.part);
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
    let (files, most, rows) = written(encoder(1 << 20, 200 * 1024, usize::MAX));
    assert!(files > PARTITIONS && most <= 200 * 1024, "{files} files, {most} bytes");
    assert_eq!(rows, all);
    // With room enough each partition has its file.
    let (files, most, rows) = written(encoder(1 << 20, usize::MAX, usize::MAX));
    assert!(files == PARTITIONS && most > 200 * 1024, "{files} files, {most} bytes");
    assert_eq!(rows, all);
}

#[test]
fn what_is_kept_of_row_groups_keeps_within_its_ceiling() {
    let mut encoder = encoder(1 << 20, usize::MAX, 8 * 1024);
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
