//! A folder on a local disk. Everything is durable when a verb returns: files are fsynced before they get their name, and the
//! folders that hold the name after.
//!
//! Staging lies under the sink's own root, so publishing is a rename within one file system. Names that end in `#` and digits
//! are unfinished files, object_store's and our own: listings leave them out, and so does every reader's glob for `.parquet`.

mod staged;
mod unfinished;

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;

use self::staged::{StagedFile, Together};
use self::unfinished::{remove_unfinished, unfinished_below, whole_of};
use super::errors::{io_error, is_missing};
use super::objects::Objects;
use super::upload::Upload;
use super::{Listed, Part, Published, PutAbsent, StagedWriter, Store, StoreError};
use crate::error::ErrorKind;
use crate::fault::Guards;

/// A disk takes what comes: bytes of a file that are written in one, and that wait of many.
const PART: Part = Part::Any { one: 1024 * 1024, all: 8 * 1024 * 1024 };

/// Whether a folder can be written to, or be made where it is not there; looked at without leaving a trace.
pub fn look_for_room(folder: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| io_error("write to", folder.display().to_string(), &error);
    for there in folder.ancestors() {
        match fs::metadata(there) {
            Ok(found) if found.is_dir() => {
                let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
                return rustix::fs::access(there, access).map_err(|error| failed(error.into()));
            }
            Ok(_) => return Err(failed(io::ErrorKind::NotADirectory.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

/// A folder; made by the first write, so that looking at a table that was never loaded leaves no trace.
pub struct LocalStore {
    root: PathBuf,
    opened: OnceLock<Opened>,
    guards: Guards,
    /// Lives in every file that is being staged.
    staged: Arc<Together>,
}

struct Opened {
    /// Without links, as the paths of `files` have it.
    root: PathBuf,
    files: LocalFileSystem,
    objects: Objects,
}

impl LocalStore {
    /// `root` is absolute.
    pub fn new(root: &Path) -> Self {
        LocalStore { root: root.to_owned(), opened: OnceLock::new(), guards: Guards::standing(), staged: Arc::default() }
    }

    pub(super) fn with_guards(self, guards: Guards) -> Self {
        LocalStore { guards, ..self }
    }

    /// The folder, if it is there.
    fn there(&self, verb: &'static str) -> Result<Option<&Opened>, StoreError> {
        if let Some(opened) = self.opened.get() {
            return Ok(Some(opened));
        }
        match fs::metadata(&self.root) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(self.own_error(verb, ErrorKind::Config, "this is a file, not a folder".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(verb, self.address(""), &error)),
        }
        let files = match LocalFileSystem::new_with_prefix(&self.root) {
            Ok(files) => files.with_fsync(self.guards.synced),
            Err(error) => return Err(self.own_error(verb, ErrorKind::Config, error.to_string())),
        };
        let root = fs::canonicalize(&self.root).map_err(|error| io_error(verb, self.address(""), &error))?;
        let objects = Objects::new(Arc::new(files.clone()), Default::default(), self.root.display().to_string(), Vec::new());
        Ok(Some(self.opened.get_or_init(|| Opened { root, files, objects })))
    }

    /// The folder, made if it was not there.
    async fn made(&self, verb: &'static str) -> Result<&Opened, StoreError> {
        if let Some(opened) = self.there(verb)? {
            return Ok(opened);
        }
        let root = self.root.clone();
        self.blocking(verb, "", move || make_folder(&root)).await?;
        match self.there(verb)? {
            Some(opened) => Ok(opened),
            None => Err(self.own_error(verb, ErrorKind::Unavailable, "the folder vanished while it was made".to_owned())),
        }
    }

    fn own_error(&self, verb: &'static str, kind: ErrorKind, message: String) -> StoreError {
        StoreError { kind, verb, address: self.address(""), message }
    }

    async fn blocking<T, F>(&self, verb: &'static str, path: &str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(io_error(verb, self.address(path), &error)),
            Err(_) => Err(self.own_error(verb, ErrorKind::Bug, "a blocking task ended early".to_owned())),
        }
    }

    /// Makes sure that a file that is there stays there. Whoever made it may have died between giving it its name and fsyncing
    /// the folders above, and nothing but a second fsync tells.
    async fn keep(&self, verb: &'static str, path: &str, opened: &Opened) -> Result<(), StoreError> {
        if !self.guards.synced {
            return Ok(());
        }
        let file = self.file(verb, path, opened)?;
        let root = opened.root.clone();
        self.blocking(verb, path, move || sync_up(&file, &root)).await
    }

    fn file(&self, verb: &'static str, path: &str, opened: &Opened) -> Result<PathBuf, StoreError> {
        let location = opened.objects.path(verb, path)?;
        opened.files.path_to_filesystem(&location).map_err(|error| opened.objects.error(verb, path, &error))
    }

    /// Removes what unfinished writes of `path` left, and its folder if that is empty now. At best: neither is ever relied on,
    /// and a folder that somebody just put a file in stays.
    async fn tidy(&self, path: &str, opened: &Opened) {
        let Ok(file) = self.file("delete", path, opened) else { return };
        let root = opened.root.clone();
        let tidied = self.blocking("delete", path, move || {
            remove_unfinished(&file)?;
            match file.parent() {
                Some(folder) if folder != root => fs::remove_dir(folder),
                _ => Ok(()),
            }
        });
        // Harmless: a folder that is not empty, or that another task removed first, comes here as an error.
        drop(tidied.await);
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn put_absent(&self, path: &str, bytes: Bytes) -> Result<PutAbsent, StoreError> {
        let opened = self.made("put").await?;
        // A hard link of a finished, fsynced file: it fails where the name is taken.
        let put = opened.objects.put_absent(path, bytes).await?;
        if put == PutAbsent::Exists {
            self.keep("put", path, opened).await?;
        }
        Ok(put)
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.made("put").await?.objects.put(path, bytes).await
    }

    async fn get(&self, path: &str, size_max: u64) -> Result<Option<Bytes>, StoreError> {
        match self.there("get")? {
            Some(opened) => opened.objects.get(path, size_max).await,
            None => Ok(None),
        }
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        match self.there("get")? {
            Some(opened) => opened.objects.get_range(path, range).await,
            None => Err(self.own_error("get", ErrorKind::Data, "there is no such folder".to_owned())),
        }
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        match self.there("head")? {
            Some(opened) => opened.objects.size(path).await,
            None => Ok(None),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        match self.there("list")? {
            Some(opened) => opened.objects.list(prefix).await,
            None => Ok(Vec::new()),
        }
    }

    async fn unfinished(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let Some(opened) = self.there("list")? else { return Ok(Vec::new()) };
        let (folder, root) = (self.file("list", prefix, opened)?, opened.root.clone());
        self.blocking("list", prefix, move || unfinished_below(&folder, &root)).await
    }

    /// Makes the folder: its fsyncs and those of the folders above take several milliseconds.
    async fn prepare(&self, folder: &str) -> Result<(), StoreError> {
        let (made, is_synced) = (self.file("stage", folder, self.made("stage").await?)?, self.guards.synced);
        self.blocking("stage", folder, move || if made.is_dir() { Ok(()) } else { ready_folder(&made, is_synced) }).await
    }

    fn part(&self) -> Part {
        PART
    }

    async fn stage(&self, path: &str) -> Result<Box<dyn StagedWriter>, StoreError> {
        let file = self.file("stage", path, self.made("stage").await?)?;
        let file = StagedFile::new(file, self.address(path), self.guards.synced, Arc::clone(&self.staged));
        Ok(Box::new(Upload::new(file, PART)))
    }

    async fn publish(&self, staged: &str, target: &str, size: u64) -> Result<Published, StoreError> {
        let opened = self.made("publish").await?;
        let objects = &opened.objects;
        let (from, to) = (objects.path("publish", staged)?, objects.path("publish", target)?);
        if objects.stands(target, size).await? {
            self.keep("publish", target, opened).await?;
            return Ok(Published::Done);
        }
        match objects.size(staged).await? {
            Some(found) if found != size => {
                let message = format!("the staged file has {found} bytes, not `{size}`");
                return Err(objects.own_error("publish", staged, ErrorKind::Data, message));
            }
            _ => {}
        }
        match opened.files.rename(&from, &to).await {
            Ok(()) => {}
            // Also what comes when another publication emptied the staging folder and removed it, after our rename was done.
            Err(error) if is_missing(&error) => {
                if !objects.stands(target, size).await? {
                    return Ok(Published::StagedMissing);
                }
                self.keep("publish", target, opened).await?;
            }
            Err(error) => return Err(objects.error("publish", target, &error)),
        }
        self.tidy(staged, opened).await;
        Ok(Published::Done)
    }

    async fn sync(&self, path: &str) -> Result<(), StoreError> {
        match self.there("sync")? {
            Some(opened) => self.keep("sync", path, opened).await,
            None => Err(self.own_error("sync", ErrorKind::Unavailable, "the folder is gone".to_owned())),
        }
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        let Some(opened) = self.there("delete")? else { return Ok(()) };
        if let Some((whole, number)) = whole_of(path) {
            let file = unfinished::named(&self.file("delete", whole, opened)?, number);
            let root = opened.root.clone();
            return self.blocking("delete", path, move || unfinished::remove(&file, &root)).await;
        }
        opened.objects.delete(path).await?;
        self.tidy(path, opened).await;
        Ok(())
    }

    fn address(&self, path: &str) -> String {
        match path {
            "" => self.root.display().to_string(),
            path => self.root.join(path).display().to_string(),
        }
    }
}

/// Makes a folder and its ancestors where they are not there, durable where that is asked for.
fn ready_folder(folder: &Path, is_synced: bool) -> io::Result<()> {
    if is_synced { make_folder(folder) } else { fs::create_dir_all(folder) }
}

/// Makes a folder and its ancestors, durable.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut first_there = folder;
    while !first_there.exists() {
        match first_there.parent() {
            Some(parent) => first_there = parent,
            None => break,
        }
    }
    let first_there = first_there.to_owned();
    fs::create_dir_all(folder)?;
    sync_up(folder, &first_there)
}

/// Fsyncs `path` and every folder above it, up to and with `root`.
fn sync_up(path: &Path, root: &Path) -> io::Result<()> {
    for above in path.ancestors() {
        sync(above)?;
        if above == root {
            break;
        }
    }
    Ok(())
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests;
