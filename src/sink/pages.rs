//! The pages of column chunks while they wait for their row group's end, packed by whoever happens to bring them.
//!
//! `parquet` keeps a context of its compression for each column of each open file, half a megabyte and more of zstd each, and lets every
//! page begin in memory that it has not touched yet. Here a few contexts serve all columns of all files: the writer is told not to
//! compress, and what it wrote of sizes and places is put right, in each page's header and in what it says of the chunk. The format:
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::basic::Compression;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::page_header::{Header, PageKind};
use super::parts::{ByHand, Past};

/// What a context keeps of the memory that it packs into, bytes. Only dictionaries and single values are larger.
const SCRATCH_MAX: usize = 1024 * 1024;

/// Nobody asks for a page by its key.
const UNUSED: PageKey = PageKey::new(0);

/// Packs pages with zstd, for as many threads at once as there are.
#[derive(Debug)]
pub struct Packer {
    level: i32,
    /// Contexts that nobody uses.
    idle: Mutex<Vec<Context>>,
}

struct Context {
    zstd: zstd::bulk::Compressor<'static>,
    scratch: Vec<u8>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("scratch", &self.scratch.capacity()).finish_non_exhaustive()
    }
}

impl Packer {
    /// `None` for what `parquet` packs by itself, in next to no memory.
    pub fn of(compression: Compression) -> Option<Arc<Packer>> {
        let Compression::ZSTD(level) = compression else { return None };
        Some(Arc::new(Packer { level: level.compression_level(), idle: Mutex::default() }))
    }

    fn pack(&self, page: &[u8]) -> Result<Bytes, ParquetError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut context = match idle {
            Some(context) => context,
            None => Context { zstd: zstd::bulk::Compressor::new(self.level)?, scratch: Vec::new() },
        };
        context.scratch.clear();
        context.scratch.reserve_exact(zstd::zstd_safe::compress_bound(page.len()));
        context.zstd.compress_to_buffer(page, &mut context.scratch)?;
        let packed = Bytes::copy_from_slice(&context.scratch);
        if context.scratch.capacity() > SCRATCH_MAX {
            context.scratch = Vec::new();
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(context);
        Ok(packed)
    }
}

/// Gives each column chunk that is begun a store for its pages, and keeps hold of it.
#[derive(Debug)]
pub struct Chunks {
    packer: Option<Arc<Packer>>,
    begun: Mutex<Vec<Chunk>>,
}

impl Chunks {
    pub fn new(packer: Option<Arc<Packer>>) -> Arc<Self> {
        Arc::new(Chunks { packer, begun: Mutex::default() })
    }

    /// The chunks that were begun since this was asked last, in the order of their columns.
    pub fn take(&self) -> Vec<Chunk> {
        std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PageStoreFactory for Chunks {
    fn create(&self, _: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>, ParquetError> {
        let chunk = Chunk::default();
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push(chunk.clone());
        Ok(Box::new(Writer { chunk, packer: self.packer.clone(), header: None }))
    }
}

/// The pages of one column chunk so far.
#[derive(Clone, Debug, Default)]
pub struct Chunk(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    /// Header and content of each, in the order in which they stand in the file.
    dictionary: Vec<Bytes>,
    data: Vec<Bytes>,
    /// Bytes of headers and contents: as they were brought, as they are, and as readers will have them unpacked.
    brought: usize,
    packed: usize,
    unpacked: usize,
}

impl Pages {
    fn sizes(pages: &[Bytes]) -> impl Iterator<Item = usize> {
        pages.chunks(2).map(|page| page.iter().map(Bytes::len).sum())
    }
}

impl Chunk {
    /// By how much the pages are smaller than whoever wrote them believes, bytes.
    pub fn saved(&self) -> usize {
        let pages = self.pages();
        pages.brought.saturating_sub(pages.packed)
    }

    /// Bytes that it takes in the file.
    pub fn size(&self) -> usize {
        self.pages().packed
    }

    /// It, to be read by the writer of a file that has come to `place`.
    pub fn on_its_way<'a>(&'a self, place: usize, by_hand: &'a ByHand) -> OnItsWay<'a> {
        OnItsWay { chunk: self, place, by_hand }
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the writer says of the chunk, of the pages as they are. An error if it speaks of other pages.
    pub fn describe(&self, closed: ColumnCloseResult, compression: Compression) -> Result<ColumnCloseResult, ParquetError> {
        let pages = self.pages();
        let dictionary: usize = Pages::sizes(&pages.dictionary).sum();
        let place = |at: usize| i64::try_from(at).map_err(|_| ParquetError::General("a column chunk is too large".to_owned()));
        let mut closed = closed;
        closed.metadata = closed
            .metadata
            .into_builder()
            .set_compression_codec(compression.into())
            .set_total_compressed_size(place(pages.packed)?)
            .set_total_uncompressed_size(place(pages.unpacked)?)
            .set_dictionary_page_offset((dictionary > 0).then_some(0))
            .set_data_page_offset(place(dictionary)?)
            .build()?;
        closed.bytes_written = pages.packed as u64;
        if let Some(index) = &mut closed.offset_index {
            if index.page_locations.len() * 2 != pages.data.len() {
                return Err(ParquetError::General("a column chunk has other pages than its index".to_owned()));
            }
            let mut at = dictionary;
            for (location, size) in index.page_locations.iter_mut().zip(Pages::sizes(&pages.data)) {
                location.offset = place(at)?;
                location.compressed_page_size = i32::try_from(size).map_err(|_| too_large())?;
                at += size;
            }
        }
        Ok(closed)
    }
}

fn too_large() -> ParquetError {
    ParquetError::General("a page is larger than 2 GiB".to_owned())
}

/// Takes the pages of one column chunk as they are written: a header, its content, and so on.
struct Writer {
    chunk: Chunk,
    packer: Option<Arc<Packer>>,
    header: Option<Bytes>,
}

impl PageStore for Writer {
    fn put(&mut self, value: Bytes) -> Result<PageKey, ParquetError> {
        let Some(written) = self.header.take() else {
            self.header = Some(value);
            return Ok(UNUSED);
        };
        let header = Header::read(&written)?;
        let content = match &self.packer {
            Some(packer) => packer.pack(&value)?,
            None => value.clone(),
        };
        let size = i32::try_from(content.len()).map_err(|_| too_large())?;
        let rewritten = header.with_packed_size(size);
        let mut pages = self.chunk.pages();
        pages.brought += written.len() + value.len();
        pages.packed += rewritten.len() + content.len();
        pages.unpacked += rewritten.len() + header.unpacked_size;
        match header.kind {
            PageKind::Dictionary => pages.dictionary.extend([rewritten, content]),
            PageKind::Data => pages.data.extend([rewritten, content]),
        }
        Ok(UNUSED)
    }

    /// They leave as a whole, by [`ChunkReader`].
    fn take(&mut self, _: PageKey) -> Result<Bytes, ParquetError> {
        Err(ParquetError::General("pages of a column chunk are not taken one by one".to_owned()))
    }

    fn memory_size(&self) -> usize {
        self.chunk.size()
    }
}

/// A chunk whose place in the file is known.
pub struct OnItsWay<'a> {
    chunk: &'a Chunk,
    place: usize,
    by_hand: &'a ByHand,
}

impl Length for OnItsWay<'_> {
    fn len(&self) -> u64 {
        self.chunk.size() as u64
    }
}

/// Whoever reads a chunk takes its pages: each is let go once it was read.
impl ChunkReader for OnItsWay<'_> {
    type T = Past;

    fn get_read(&self, start: u64) -> Result<Past, ParquetError> {
        if start > 0 {
            return Err(ParquetError::General("a column chunk is read from its beginning".to_owned()));
        }
        let mut pages = self.chunk.pages();
        let mut all = std::mem::take(&mut pages.dictionary);
        all.append(&mut pages.data);
        Ok(self.by_hand.past(self.place, all))
    }

    fn get_bytes(&self, _: u64, _: usize) -> Result<Bytes, ParquetError> {
        Err(ParquetError::General("a column chunk is read from its beginning".to_owned()))
    }
}
