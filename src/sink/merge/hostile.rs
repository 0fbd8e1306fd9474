//! Files of the table that somebody has tampered with: footers and pages that claim what is not so.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::ids::PartitionKey;
use crate::sink::SinkError;
use crate::sink::current::CurrentFile;
use crate::sink::own::{self, Ranges};
use crate::sink::stage::footer_rows;
use crate::store::Store;
use crate::store::memory::MemoryStore;

use super::candidates::{check_rows, read_rows, scan_keys, unreadable};

const ROWS: u64 = 300;

/// A small table's file, with the columns that a merge looks at.
fn whole() -> Vec<u8> {
    let text = |what: &str| Arc::new((0..ROWS).map(|row| Some(format!("{what}{row}"))).collect::<StringArray>()) as ArrayRef;
    let number = || Arc::new((0..ROWS as i64).collect::<Int64Array>()) as ArrayRef;
    let columns =
        [("id", number()), ("name", text("n")), (own::KEY, text("\"k")), (own::CURSOR, number()), (own::HASH, number())];
    let rows = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(100)).set_bloom_filter_enabled(true).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).expect("a writer");
    writer.write(&rows).expect("written");
    writer.into_inner().expect("closed")
}

/// Everything that a run reads of a file: its footer, its keys, and its rows.
async fn read(bytes: Vec<u8>) -> Result<u64, SinkError> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (path, size) = ("items/part-0.parquet", bytes.len() as u64);
    store.put(path, Bytes::from(bytes)).await?;
    let file =
        CurrentFile { bytes: size, rows: ROWS, partition: Vec::new(), ranges: Ranges::default(), set: PartitionKey::default() };
    let told = footer_rows(store.as_ref(), path, size).await;
    scan_keys(&store, path, &file, |_| {}).await?;
    let mut stream = read_rows(&store, path, &file).await?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await.map_err(|error| unreadable(path, error))? {
        rows += batch.num_rows() as u64;
    }
    check_rows(path, &file, rows)?;
    told
}

#[tokio::test]
async fn a_footer_that_lies_is_an_error_and_costs_no_memory() {
    // S-24
    let whole = whole();
    assert_eq!(read(whole.clone()).await.expect("as it was written"), ROWS);
    let end = whole.len();
    for length in [0u32, 1, 7, 0x7fff_ffff, 0xffff_ffff, end as u32] {
        let mut bytes = whole.clone();
        bytes[end - 8..end - 4].copy_from_slice(&length.to_le_bytes());
        assert!(read(bytes).await.is_err(), "a footer of {length} bytes");
    }
    // Cut off anywhere, and with nothing but a footer.
    for left in [0, 3, 4, 8, 11, 12, end / 2, end - 9, end - 1] {
        assert!(read(whole[..left].to_vec()).await.is_err(), "{left} bytes");
        assert!(read(whole[end - left..].to_vec()).await.is_err(), "the last {left} bytes");
    }
    // Figures of a footer that are as large as can be written: counts, lengths of lists, offsets.
    let footer = end - 8 - u32::from_le_bytes(whole[end - 8..end - 4].try_into().expect("four bytes")) as usize;
    for at in footer..end - 8 {
        let mut bytes = whole.clone();
        let room = (end - 8 - at).min(9);
        bytes[at..at + room].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..room]);
        drop(read(bytes).await);
    }
}

#[tokio::test]
async fn no_byte_of_a_file_can_bring_a_run_down() {
    // S-24
    let whole = whole();
    let mut chance: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = |below: usize| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        (chance % below as u64) as usize
    };
    let mut refused = 0;
    for round in 0..1500 {
        let mut bytes = whole.clone();
        for _ in 0..1 + round % 4 {
            // Every other time in the footer, which is a few hundred bytes among thousands.
            let at = if round % 2 == 0 { whole.len() - 1 - next(whole.len() / 4) } else { next(whole.len()) };
            bytes[at] = next(256) as u8;
        }
        refused += u32::from(read(bytes).await.is_err());
    }
    assert!(refused > 300, "{refused} of 1500 were noticed");
}
