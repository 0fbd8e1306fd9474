//! Local files for what memory does not hold while a slice is worked on. They are disposable: each goes with whoever made it, and what a
//! crash leaves is removed with the [spools](crate::run::clean_spools) by the next process.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ids::BatchId;

/// What a file holds, by the end of its name.
pub const PARENTS: &str = "parents";
pub const ROWS: &str = "rows";

/// Where files are made.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    owner: BatchId,
    made: AtomicU64,
}

impl Scratch {
    /// `owner` is an id that nobody else has, for files of the same kind.
    pub fn new(folder: &Path, owner: BatchId) -> Self {
        Scratch { folder: folder.to_path_buf(), owner, made: AtomicU64::new(0) }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// A local file, open for writing and reading, that goes with its value.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    pub file: File,
}

impl Kept {
    /// A new one, of what is called `kind`: [`PARENTS`] or [`ROWS`].
    pub fn new(scratch: &Scratch, kind: &str) -> io::Result<Self> {
        std::fs::create_dir_all(&scratch.folder)?;
        let number = scratch.made.fetch_add(1, Ordering::Relaxed);
        let path = scratch.folder.join(format!("{}-{number}.{kind}", scratch.owner));
        let file = File::options().create_new(true).read(true).write(true).open(&path)?;
        Ok(Kept { path, file })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "a local file stays behind until the next run");
        }
    }
}
