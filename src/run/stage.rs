//! Where a slice's rows go: encoded, and written to files that no reader sees.

mod line;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::batch::Batch;
use crate::config::catalog::{Job, Mode};
use crate::cursor::CursorKey;
use crate::descriptors;
use crate::error::ErrorKind;
use crate::ids::BatchId;
use crate::page::RawPage;
use crate::reject::Reject;
use crate::schema::TableSchema;
use crate::scratch::Scratch;
use crate::sink::encode::{EncodeSettings, Encoder, Piece};
use crate::sink::merge::{Touched, own_columns};
use crate::sink::own::OwnColumns;
use crate::sink::record::PartitionValues;
use crate::sink::stage::{StagedFile, Staging};
use crate::sink::{SinkError, layout};
use crate::slice::Slice;

use super::{Ports, RunError};

use self::line::{Ended, Line};

/// What open row groups may take, bytes. Above it readers gain little, below it those of many partitions become too small for them.
const ENCODER: u64 = 12 * 1024 * 1024;
/// What was encoded of open files may wait to be a part that a store takes, bytes.
const HELD: u64 = 48 * 1024 * 1024;
/// What is kept of row groups that open files have ended, bytes: of 5,000 row groups of twenty columns.
const ENDED: u64 = 12 * 1024 * 1024;
/// What rows may take that are parked, for no more row groups may be open, bytes.
const PARKED: u64 = 32 * 1024 * 1024;
/// Files of a slice that wait for another row group of their partition, at most: of those that are begun on a disk each is open.
const RESTING: usize = 1536;
/// What of the files that the process may have open those of one slice may take: a 16th.
const SLICES: usize = 16;
/// Bytes of a page that is worked on by the thread that it came to. A thousand records take a millisecond; where every core has work,
/// handing them to another thread and back takes nearly as long ([ADR 38](../../docs/adr/0038-few-hops-and-no-copies.md)).
const LIGHT: usize = 1024 * 1024;

/// The files of one slice, from the first row on.
pub(super) struct Stage<'a> {
    job: &'a Job,
    ports: &'a Ports,
    slice: &'a Slice,
    batch: BatchId,
    open: Option<Open>,
    /// Numbers of staged files used up by encodings that were given up.
    files_before: usize,
    /// How many distinct keys there are at most, where that is known before the first row.
    pub keys_max: Option<u64>,
    /// The columns of our own that the files get.
    own: OwnColumns,
}

struct Open {
    line: Line,
    schema: TableSchema,
    /// A row of the table got in line: the columns are what they are.
    has_data: bool,
}

/// What goes into a slice's files at once.
#[derive(Default)]
pub(super) struct Rows {
    /// About what they take in memory, bytes; for those of a page, what the page takes that they lie in.
    pub weight: u64,
    pub batch: Option<Batch>,
    pub rejects: Vec<Reject>,
    pub buried_keys: Vec<String>,
    pub buried_cursors: Vec<CursorKey>,
    /// Rows of a file that is replaced, and the partition they stood in.
    pub carried: Option<(PartitionValues, RecordBatch)>,
    /// What is known of parents.
    pub parents: Option<RecordBatch>,
}

impl Rows {
    fn is_empty(&self) -> bool {
        let no_rows = self.batch.as_ref().is_none_or(|batch| batch.rows.num_rows() == 0);
        let no_others = self.carried.is_none() && self.parents.is_none();
        no_rows && self.rejects.is_empty() && self.buried_keys.is_empty() && no_others
    }

    fn has_data(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.rows.num_rows() > 0)
            || self.carried.as_ref().is_some_and(|(_, rows)| rows.num_rows() > 0)
    }

    fn encode(self, encoder: &mut Encoder) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        if let Some(batch) = &self.batch {
            pieces.extend(encoder.add(batch)?);
        }
        pieces.extend(encoder.add_rejects(&self.rejects)?);
        pieces.extend(encoder.add_tombstones(&self.buried_keys, &self.buried_cursors)?);
        if let Some((partition, rows)) = &self.carried {
            pieces.extend(encoder.add_carried(partition, rows)?);
        }
        if let Some(parents) = &self.parents {
            pieces.extend(encoder.add_parents(parents)?);
        }
        Ok(pieces)
    }
}

impl<'a> Stage<'a> {
    pub fn new(job: &'a Job, ports: &'a Ports, slice: &'a Slice, batch: BatchId) -> Self {
        Stage { job, ports, slice, batch, open: None, files_before: 0, keys_max: None, own: OwnColumns::of(job) }
    }

    /// The columns of the rows so far; `None` before there is one.
    pub fn schema(&self) -> Option<&TableSchema> {
        self.open.as_ref().filter(|open| open.has_data).map(|open| &open.schema)
    }

    /// The columns of what was written so far, whatever it was.
    pub fn open_schema(&self) -> Option<&TableSchema> {
        self.open.as_ref().map(|open| &open.schema)
    }

    /// Puts rows in line to be encoded, and their bytes to be handed to the store. An error may be of rows that were put there before.
    pub async fn write(&mut self, rows: Rows, schema: TableSchema) -> Result<(), RunError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut open = match self.open.take() {
            Some(open) if open.schema != schema && open.has_data => {
                let message = "pages of one slice came to different columns".to_owned();
                self.open = Some(open);
                return Err(RunError::new(ErrorKind::Bug, message));
            }
            Some(open) => open,
            None => self.begin(schema.clone()),
        };
        let has_columns = open.schema == schema || open.line.set_columns(schema.clone()).await;
        open.schema = schema;
        open.has_data |= rows.has_data();
        if has_columns && open.line.put(rows).await {
            self.open = Some(open);
            return Ok(());
        }
        let Ended { staging, error, .. } = open.line.end().await?;
        staging.abort().await;
        Err(error.unwrap_or_else(|| RunError::new(ErrorKind::Bug, "the work on files ended early")))
    }

    /// Before the first row: rows of these files are to be carried over, with the columns of our own that they have.
    pub async fn carries(&mut self, touched: &[Touched]) -> Result<(), RunError> {
        let files = touched.iter().map(|touched| (touched.path.as_str(), &touched.file));
        self.own = own_columns(&self.ports.store, OwnColumns::of(self.job), files).await?;
        Ok(())
    }

    fn begin(&self, schema: TableSchema) -> Open {
        let settings = EncodeSettings {
            parquet: self.job.sink.parquet,
            partition_by: self.job.partition_by.clone(),
            schema: schema.clone(),
            own: self.own.clone(),
            batch: self.batch,
            set: self.slice.partition.clone(),
            memory: encoder_memory(self.ports.memory),
            part: self.ports.store.part(),
            held: part_of(self.ports.memory, HELD),
            ended: part_of(self.ports.memory, ENDED),
            parked: part_of(self.ports.memory / 8, PARKED),
            scratch: Some(Arc::new(Scratch::new(&self.ports.spool, self.batch))),
            resting: resting(),
            keys_max: self.keys_max,
        };
        let staging = Staging::new(
            Arc::clone(&self.ports.store),
            self.job.dataset.clone(),
            self.batch,
            self.files_before,
            self.ports.guards,
        );
        // A replacement may turn out to be what the table holds, and leaves no trace then.
        let staging = if self.job.mode == Mode::Replace { staging } else { staging.prepared_ahead(self.folders_to_come()) };
        Open { line: Line::new(Encoder::new(settings), staging, self.ports.memory), schema, has_data: false }
    }

    /// What a first commit puts something into, as far as it is known before the rows are.
    fn folders_to_come(&self) -> Vec<String> {
        let table = Some(self.job.table.clone()).filter(|_| self.job.partition_by.is_empty());
        std::iter::once(layout::log_folder(&self.job.dataset)).chain(table).collect()
    }

    /// Gives up what was encoded so far, for rows with other columns.
    pub async fn begin_anew(&mut self) -> Result<(), RunError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let Ended { encoder, staging, .. } = open.line.end().await?;
        self.files_before += encoder.map_or(0, |encoder| encoder.files());
        staging.abort().await;
        Ok(())
    }

    /// Leaves nothing behind but orphans that no reader sees.
    pub async fn abort(&mut self) {
        let Some(open) = self.open.take() else { return };
        match open.line.end().await {
            Ok(ended) => ended.staging.abort().await,
            Err(error) => tracing::debug!(%error, "what was staged stays behind"),
        }
    }

    /// The files as they are staged, and their columns; `None` where there was nothing to write. What is `done_with` goes while the disk
    /// takes the last bytes: a core is free for it then.
    pub async fn finish<T: Send + 'static>(&mut self, done_with: T) -> Result<Option<(TableSchema, Vec<StagedFile>)>, RunError> {
        let Some(Open { line, schema, .. }) = self.open.take() else { return Ok(None) };
        let Ended { mut encoder, mut staging, mut error } = line.end().await?;
        let (mut ready, mut done_with) = (Vec::new(), Some(done_with));
        while error.is_none()
            && let Some(mut at_work) = encoder.take()
        {
            let done_with = if at_work.is_finished() { done_with.take() } else { None };
            let working = move || {
                let pieces = at_work.finish_some();
                (at_work, pieces)
            };
            // What came out before is written while the next is encoded.
            let (worked, staged) =
                tokio::join!(off_thread(working), staging.take_and_drop(std::mem::take(&mut ready), done_with));
            error = staged.err().map(RunError::from);
            match worked {
                Ok((_, Ok(None))) => {}
                Ok((left, Ok(Some(pieces)))) => (encoder, ready) = (Some(left), pieces),
                Ok((_, Err(failed))) => error = error.or(Some(failed.into())),
                Err(panicked) => error = Some(panicked),
            }
        }
        if let Some(done_with) = done_with {
            off_thread(move || drop(done_with)).await?;
        }
        match error {
            None => Ok(Some((schema, staging.finish()?))),
            Some(error) => {
                staging.abort().await;
                Err(error)
            }
        }
    }
}

/// What of the ceiling on data in flight open row groups may take. Many partitions share it: their row groups are the smaller, and still
/// good for readers; few need no more than a row group each.
pub(super) fn encoder_memory(memory: u64) -> usize {
    part_of(memory, ENCODER)
}

/// What of the ceiling on data in flight pages may take that wait for the encoder, and, mostly the same ones, for a spool's disk that is
/// behind, bytes: enough that pages still come while a row group is ended.
pub(super) fn may_wait(memory: u64) -> u64 {
    memory / 112
}

fn resting() -> usize {
    RESTING.min(descriptors::allowed() / SLICES)
}

fn part_of(memory: u64, wanted: u64) -> usize {
    usize::try_from(wanted.min(memory / 2)).unwrap_or(usize::MAX)
}

/// Work on a page: off the async threads, unless it is light. A panic in it is an error either way. Where pages are waited for, whoever
/// may look after them goes first.
pub(super) async fn work_on_page<T: Send + 'static>(
    is_light: bool,
    is_waited_for: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RunError> {
    if !is_light {
        return off_thread(work).await;
    }
    // Answers that are there, and requests that may go out, are quickly looked after, and the source works meanwhile.
    tokio::task::yield_now().await;
    if is_waited_for {
        // Another async thread may have been woken for the next answer, and put behind this one.
        std::thread::yield_now();
    }
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        RunError::new(ErrorKind::Bug, format!("work on a page panicked: {}", said.unwrap_or_default()))
    })
}

/// Whether a body is small as it is, and quickly read: one that is packed, or written in another way, may be much larger than it looks.
pub(super) fn is_light(page: &RawPage) -> bool {
    let begins_json = || page.body.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| matches!(byte, b'{' | b'['));
    page.body.len() <= LIGHT && begins_json()
}

/// Work on columns, off the async threads. A panic in it is an error of the slice, not the end of the process.
pub(super) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RunError> {
    #[cfg(any(test, debug_assertions))]
    if crate::fault::waits_for_work() {
        // Nothing else goes on meanwhile; a panic drops the sender.
        let (sender, done) = std::sync::mpsc::sync_channel(1);
        drop(tokio::task::spawn_blocking(move || sender.send(work())));
        return done.recv().map_err(|error| RunError::new(ErrorKind::Bug, format!("work on a page panicked: {error}")));
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| RunError::new(ErrorKind::Bug, format!("work on a page panicked: {error}")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn page(body: &[u8]) -> RawPage {
        RawPage { body: Bytes::copy_from_slice(body), ..RawPage::nothing() }
    }

    #[test]
    fn only_what_is_small_as_it_stands_is_light() {
        let list = |length: usize| [b" [".as_slice(), &vec![b' '; length], b"]"].concat();
        assert!(is_light(&page(b"{}")) && is_light(&page(b"")) && is_light(&page(&list(LIGHT - 3))));
        assert!(!is_light(&page(&list(LIGHT))));
        for other in [&b"\x1f\x8b\x08"[..], b"PK\x03\x04", b"id,name\n", b"<a/>", b"\xef\xbb\xbf{}"] {
            assert!(!is_light(&page(other)), "{other:?}");
        }
    }

    #[tokio::test]
    async fn a_panic_on_a_page_is_an_error_wherever_it_was() {
        for light in [true, false] {
            let error = work_on_page(light, true, || panic!("as planned {}", 1)).await.map(|(): ()| ()).unwrap_err();
            assert!(error.message.contains("work on a page panicked") && error.message.contains("as planned 1"), "{error:?}");
        }
    }
}
