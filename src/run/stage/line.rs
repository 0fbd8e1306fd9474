//! Rows on their way into files: they stand in line for the encoder, which works while the next pages come.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::error::ErrorKind;
use crate::heap;
use crate::image;
use crate::schema::TableSchema;
use crate::sink::SinkError;
use crate::sink::encode::{Encoder, Piece};
use crate::sink::stage::Staging;

use super::{Rows, RunError, may_wait, off_thread};

/// What rows weigh at least, KiB: many small pages are no nothing.
const WEIGHT_MIN: u32 = 16;
/// Pages that stand in line, however little they weigh.
const PAGES_MAX: usize = 256;
/// Bytes of rows that are worth being encoded by themselves.
const WORTH_IT: usize = 512 * 1024;
/// Rows of so many pages are taken out of the line at once.
const TAKEN_MAX: usize = 64;

/// The line, and who works at its end.
pub(super) struct Line {
    /// `None` once nothing more comes.
    sender: Option<mpsc::Sender<Waiting>>,
    /// What may stand in line, KiB. Closed where the work ended.
    room: Arc<Semaphore>,
    room_max: u32,
    /// One worker; it goes with the line.
    worker: JoinSet<Ended>,
}

enum Waiting {
    /// Somebody waits for the room of the rows before.
    Hurry,
    /// All that comes behind has these columns.
    Columns(TableSchema),
    Rows(Box<Rows>, OwnedSemaphorePermit),
}

/// How the work came out.
pub(super) struct Ended {
    /// `None` where it was lost to a panic.
    pub encoder: Option<Encoder>,
    pub staging: Staging,
    /// Why not all of the line was encoded and handed to the store.
    pub error: Option<RunError>,
}

impl Line {
    /// `memory` is the ceiling on data in flight, bytes.
    pub fn new(encoder: Encoder, staging: Staging, memory: u64) -> Self {
        let room_max = u32::try_from(may_wait(memory) / 1024).unwrap_or(u32::MAX >> 3).clamp(WEIGHT_MIN, u32::MAX >> 3);
        let room = Arc::new(Semaphore::new(room_max as usize));
        let (sender, waiting) = mpsc::channel(PAGES_MAX);
        let mut worker = JoinSet::new();
        worker.spawn(work(encoder, staging, waiting, Arc::clone(&room)));
        Line { sender: Some(sender), room, room_max, worker }
    }

    /// Rows get in line once there is room for them; rows that are more than the line may hold stand in it alone. False if the work has
    /// ended: [`end`](Self::end) says why.
    pub async fn put(&self, rows: Rows) -> bool {
        let weight = u32::try_from(rows.weight / 1024).unwrap_or(u32::MAX).clamp(WEIGHT_MIN, self.room_max);
        if self.room.available_permits() < weight as usize && !self.send(Waiting::Hurry).await {
            return false;
        }
        match Arc::clone(&self.room).acquire_many_owned(weight).await {
            Ok(permit) => self.send(Waiting::Rows(Box::new(rows), permit)).await,
            Err(_closed) => false,
        }
    }

    /// Gives the rows behind these other columns; only before the first of a table's rows. False as in [`put`](Self::put).
    pub async fn set_columns(&self, schema: TableSchema) -> bool {
        self.send(Waiting::Columns(schema)).await
    }

    async fn send(&self, waiting: Waiting) -> bool {
        match &self.sender {
            Some(sender) => sender.send(waiting).await.is_ok(),
            None => false,
        }
    }

    /// Nothing more comes: waits until what stands in line is done.
    pub async fn end(mut self) -> Result<Ended, RunError> {
        self.sender = None;
        match self.worker.join_next().await {
            Some(Ok(ended)) => Ok(ended),
            Some(Err(error)) => Err(RunError::new(ErrorKind::Bug, format!("the work on files panicked: {error}"))),
            None => Err(RunError::new(ErrorKind::Bug, "nobody worked on the files")),
        }
    }
}

async fn work(encoder: Encoder, mut staging: Staging, mut line: mpsc::Receiver<Waiting>, room: Arc<Semaphore>) -> Ended {
    let mut idle = Some(AtWork { encoder, taken: VecDeque::new(), hurries: false, rooms: Vec::new() });
    let (mut taken, mut ready) = (Vec::new(), Vec::new());
    let mut error = None;
    while error.is_none() {
        if !idle.as_ref().is_some_and(AtWork::is_behind) {
            if line.is_empty() {
                // Nobody else needs the time; a line that ends is empty, too.
                error = staging.take(std::mem::take(&mut ready)).await.err().map(RunError::from);
            }
            if error.is_some() || line.recv_many(&mut taken, TAKEN_MAX).await == 0 {
                break;
            }
        }
        let Some(mut at_work) = idle.take() else { break };
        at_work.taken.extend(taken.drain(..));
        let encoding = move || {
            let pieces = at_work.encode();
            (at_work, pieces)
        };
        // Rows are on their way from end to end.
        image::give_back_start();
        // What came out before is written while the next is encoded.
        let (encoded, staged) = tokio::join!(off_thread(encoding), staging.take(std::mem::take(&mut ready)));
        error = staged.err().map(RunError::from);
        match encoded {
            Ok((at_work, Ok(pieces))) => (idle, ready) = (Some(at_work), pieces),
            Ok((at_work, Err(failed))) => {
                idle = Some(at_work);
                error = error.or(Some(failed.into()));
            }
            Err(panicked) => error = Some(panicked),
        }
    }
    if error.is_none() {
        error = staging.take(ready).await.err().map(RunError::from);
    }
    room.close();
    Ended { encoder: idle.map(|at_work| at_work.encoder), staging, error }
}

/// The encoder, what was taken out of the line for it, and the room that rows take which it has not encoded yet.
struct AtWork {
    encoder: Encoder,
    taken: VecDeque<Waiting>,
    /// Somebody waits for room.
    hurries: bool,
    rooms: Vec<OwnedSemaphorePermit>,
}

impl AtWork {
    /// Whether there is more to do at once than was done.
    fn is_behind(&self) -> bool {
        !self.taken.is_empty() || self.encoder.is_full()
    }

    /// Few rows are kept until others come, for whom the same steps are taken, or until somebody waits for their room. What becomes of
    /// rows that were parked is handed out as it comes: they may make as many files as there are rows.
    fn encode(&mut self) -> Result<Vec<Piece>, SinkError> {
        if self.encoder.is_full() {
            let pieces = self.encoder.unpark()?;
            if !self.encoder.is_full() {
                // What it was in lies between what stays, thousands of files in many places.
                heap::give_back();
            }
            return Ok(pieces);
        }
        let mut pieces = Vec::new();
        while !self.encoder.is_full()
            && let Some(one) = self.taken.pop_front()
        {
            match one {
                Waiting::Hurry => self.hurries = true,
                Waiting::Columns(schema) => self.encoder.set_schema(schema),
                Waiting::Rows(rows, room) => {
                    pieces.extend(rows.encode(&mut self.encoder)?);
                    self.rooms.push(room);
                    if self.encoder.waiting() == 0 {
                        self.rooms.clear();
                    }
                }
            }
        }
        if std::mem::take(&mut self.hurries) || self.encoder.waiting() >= WORTH_IT {
            pieces.extend(self.encoder.encode_waiting()?);
            self.rooms.clear();
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use jiff::Timestamp;

    use super::*;
    use crate::batch::Batch;
    use crate::config::catalog::{Compression, ParquetSettings, PartitionColumn, PartitionUnit};
    use crate::fault::{FaultPlan, Guards};
    use crate::ids::{BatchId, DatasetName, PartitionKey};
    use crate::sink::encode::EncodeSettings;
    use crate::sink::own::OwnColumns;
    use crate::store::Part;
    use crate::store::faulty::FaultyStore;
    use crate::store::memory::MemoryStore;

    const PAGES: u64 = 400;
    const ROWS: u64 = 3;

    fn rows(page: u64, weight: u64) -> Rows {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..ROWS).map(|row| (page * ROWS + row) as i64)));
        let rows = RecordBatch::try_from_iter([("id", ids)]).expect("a batch");
        let batch = Batch { rows, page, extracted_at: Timestamp::UNIX_EPOCH, marks: None };
        Rows { weight, batch: Some(batch), ..Rows::default() }
    }

    /// A line whose files are closed with each page, so that the store is asked on the way.
    fn line(plan: FaultPlan, memory: u64) -> Line {
        line_of(plan, memory, Vec::new())
    }

    fn line_of(plan: FaultPlan, memory: u64, partition_by: Vec<PartitionColumn>) -> Line {
        let batch = BatchId(uuid::Uuid::nil());
        let schema = TableSchema::from_arrow(&rows(0, 0).batch.expect("rows").rows.schema()).expect("columns");
        let settings = EncodeSettings {
            parquet: ParquetSettings { compression: Compression::None, file_size: 1, row_group_size: 1 << 20 },
            partition_by,
            schema,
            own: OwnColumns { metadata: true, set: false, keyed: false, cursor: None, deleted: false },
            batch,
            set: PartitionKey::default(),
            memory: 1 << 20,
            part: Part::Of(1 << 20),
            held: usize::MAX,
            ended: usize::MAX,
            parked: 256 * 1024,
            scratch: None,
            resting: 64,
            keys_max: None,
        };
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), Arc::new(plan)));
        let staging = Staging::new(store, DatasetName::new("items"), batch, 0, Guards::standing());
        Line::new(Encoder::new(settings), staging, memory)
    }

    #[tokio::test]
    async fn all_that_stood_in_line_is_staged_in_its_order() {
        // Pages that are more than the line may hold stand in it alone, one after the other.
        for weight in [0, 1 << 40] {
            let line = line(FaultPlan::none(), 1 << 20);
            for page in 0..PAGES {
                assert!(line.put(rows(page, weight)).await);
            }
            let ended = line.end().await.expect("no panic");
            assert!(ended.error.is_none());
            let files = ended.staging.finish().expect("every file is closed");
            assert_eq!(files.len() as u64, PAGES);
            assert!(files.iter().is_sorted_by_key(|file| &file.path));
            assert!(files.iter().all(|file| file.closed.rows == ROWS));
        }
    }

    #[tokio::test]
    async fn rows_of_more_partitions_than_may_be_open_are_handed_out_as_they_come() {
        let by = PartitionColumn { column: "id".to_owned(), unit: PartitionUnit::Value };
        let line = line_of(FaultPlan::none(), 1 << 20, vec![by]);
        for page in 0..PAGES {
            assert!(line.put(rows(page, 0)).await);
        }
        let Ended { encoder, mut staging, error } = line.end().await.expect("no panic");
        let mut encoder = encoder.expect("no panic");
        // Most were written before the end.
        assert!(error.is_none() && encoder.files() as u64 > PAGES * ROWS / 2, "{} files", encoder.files());
        staging.take(encoder.finish().expect("encoded")).await.expect("staged");
        let files = staging.finish().expect("every file is closed");
        let mut directories: Vec<&str> = files.iter().map(|file| file.closed.directory.as_str()).collect();
        directories.sort_unstable();
        directories.dedup();
        assert_eq!((directories.len() as u64, files.len() as u64), (PAGES * ROWS, PAGES * ROWS));
        assert!(files.iter().all(|file| file.closed.rows == 1));
    }

    #[tokio::test]
    async fn what_the_store_refuses_on_the_way_ends_the_line() {
        let line = line(FaultPlan::none().error_at(10), 1 << 20);
        let mut page = 0;
        while page < PAGES && line.put(rows(page, 1 << 18)).await {
            page += 1;
        }
        assert!(page < PAGES, "nobody noticed");
        let ended = line.end().await.expect("no panic");
        assert_eq!(ended.error.map(|error| error.kind), Some(ErrorKind::Unavailable));
        ended.staging.abort().await;
    }

    #[tokio::test]
    async fn whoever_finds_no_room_waits() {
        let line = line(FaultPlan::none(), 1 << 20);
        assert!(line.put(rows(0, 1 << 40)).await);
        let mut second = std::pin::pin!(line.put(rows(1, 1)));
        let at_once = std::future::poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_ready())).await;
        assert!(!at_once, "it stands beside one that fills the line");
        assert!(second.await);
    }
}
