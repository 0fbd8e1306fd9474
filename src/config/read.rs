//! Brings the texts of a project's files. What cannot be read is told, never skipped in silence.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::kinds::safe_name;
use super::problem::quote;

/// A file above this is no configuration.
const FILE_MAX: u64 = 1024 * 1024;
/// Files per folder.
const FILES_MAX: usize = 10_000;

/// Which of the four kinds a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Settings,
    Source,
    Sink,
    Job,
}

/// A project's files as texts.
#[derive(Clone, Debug)]
pub(super) struct Project {
    /// Absolute.
    pub root: PathBuf,
    /// Where relative paths of state and sinks lie; absolute.
    pub base: PathBuf,
    pub files: Vec<ProjectFile>,
}

#[derive(Clone, Debug)]
pub(super) struct ProjectFile {
    pub room: Room,
    /// The file's stem; empty for what has no usable one.
    pub name: String,
    /// Relative to the project folder.
    pub file: String,
    pub text: Result<String, Unreadable>,
}

#[derive(Clone, Debug)]
pub(super) struct Unreadable {
    pub message: String,
    pub help: String,
}

impl Project {
    /// Of names and texts; a file that cannot be read counts by what is said of it.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for file in &self.files {
            let text = file.text.as_ref().map_or_else(|unreadable| unreadable.message.as_bytes(), |text| text.as_bytes());
            // With lengths, so that no two projects read as the same bytes.
            for part in [file.file.as_bytes(), text] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn unreadable<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Unreadable> {
    Err(Unreadable { message: message.into(), help: help.into() })
}

pub(super) fn project(folder: &Path, state_folder: Option<&Path>) -> Project {
    let root = absolute(folder);
    let base = state_folder.map_or_else(|| root.clone(), absolute);
    let mut files = vec![ProjectFile {
        room: Room::Settings,
        name: "config".to_owned(),
        file: "config.toml".to_owned(),
        text: read_settings(&root.join("config.toml")),
    }];
    for (room, folder) in [(Room::Source, "sources"), (Room::Sink, "sinks"), (Room::Job, "jobs")] {
        read_folder(room, &root, folder, &mut files);
    }
    Project { root, base, files }
}

/// Without a current directory there is nothing better than the path as it is.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn read_settings(path: &Path) -> Result<String, Unreadable> {
    let gone = matches!(fs::symlink_metadata(path), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
    match gone {
        true => unreadable("the file is missing", "a project has a `config.toml` with `version = 1`; `-C DIR` names its folder"),
        false => read_text(path),
    }
}

fn read_folder(room: Room, root: &Path, folder: &str, files: &mut Vec<ProjectFile>) {
    let failed = |error: std::io::Error| ProjectFile {
        room,
        name: String::new(),
        file: folder.to_owned(),
        text: unreadable(format!("the folder cannot be read: {error}"), ""),
    };
    let entries = match fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        // A project without sinks is a project without jobs, not a broken one; what names a sink says so.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => return files.push(failed(error)),
    };
    for (count, entry) in entries.enumerate() {
        if count == FILES_MAX {
            let text = unreadable(format!("the folder holds more than {FILES_MAX} entries"), "split the project");
            return files.push(ProjectFile { room, name: String::new(), file: folder.to_owned(), text });
        }
        match entry {
            Ok(entry) => files.extend(read_entry(room, folder, &entry.path())),
            Err(error) => files.push(failed(error)),
        }
    }
}

/// `None` for what is no business of ours: hidden files of editors, notes.
fn read_entry(room: Room, folder: &str, path: &Path) -> Option<ProjectFile> {
    let file_name = path.file_name()?;
    let shown = file_name.to_string_lossy();
    if shown.starts_with('.') {
        return None;
    }
    let file = format!("{folder}/{}", quote(&shown).trim_matches('`'));
    let told = |text| Some(ProjectFile { room, name: String::new(), file: file.clone(), text });
    if path.is_dir() {
        return told(unreadable("folders are not read here", format!("put the files directly into `{folder}`")));
    }
    if !shown.to_ascii_lowercase().ends_with(".toml") {
        return None;
    }
    let help = "name it like \"orders.toml\": letters, digits, `_`, `-` and `.`, beginning with a letter or a digit";
    let Some(name) = file_name.to_str() else {
        return told(unreadable("the file's name is not UTF-8", help));
    };
    let Some(stem) = name.strip_suffix(".toml") else {
        return told(unreadable("the file's name does not end in `.toml`, in lower case", help));
    };
    if safe_name(stem).is_err() {
        return told(unreadable("the file's name is not one that is safe in a path", help));
    }
    Some(ProjectFile { room, name: stem.to_owned(), file, text: read_text(path) })
}

pub(super) fn read_text(path: &Path) -> Result<String, Unreadable> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return unreadable(format!("the file cannot be read: {error}"), ""),
    };
    // A pipe or a device would never end, or never begin.
    if !metadata.is_file() {
        return unreadable("this is not a regular file", "");
    }
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return unreadable(format!("the file cannot be read: {error}"), "");
    }
    if bytes.len() as u64 > FILE_MAX {
        return unreadable("the file has more than 1MiB", "split it");
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            unreadable(format!("the file is not UTF-8 (at byte {})", error.utf8_error().valid_up_to()), "save it as UTF-8")
        }
    }
}
