//! The folder that a demo writes: replaced if it is an earlier demo's, and never if it is anything else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

/// Says that a folder was made by a demo and may be replaced by the next.
const MARKER: &str = ".highwater-demo";
const MARKER_TEXT: &str = "This folder was written by `highwater demo`; the next one replaces it with everything in it.\n";

/// Makes an empty, marked folder.
pub(super) fn prepare(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at", path, &error)),
        // A link may lead anywhere: what stands there is not ours to remove.
        Ok(metadata) if !metadata.is_dir() => return Err(refuse(path, "is there and is no folder")),
        Ok(_) if path.join(MARKER).is_file() => {
            fs::remove_dir_all(path).map_err(|error| failed("replace", path, &error))?;
        }
        Ok(_) => {
            let mut entries = fs::read_dir(path).map_err(|error| failed("look into", path, &error))?;
            if entries.next().is_some() {
                return Err(refuse(path, "is there and was not made by a demo"));
            }
        }
    }
    fs::create_dir_all(path).map_err(|error| failed("make", path, &error))?;
    write(&path.join(MARKER), MARKER_TEXT)
}

/// Writes a file and the folders it lies in.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| failed("make", folder, &error))?;
    }
    fs::write(path, text).map_err(|error| failed("write", path, &error))
}

/// A folder's files, by the folder they lie in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Relative to the folder that was listed, with `/`; empty for itself.
    pub folder: String,
    pub files: u64,
    pub bytes: u64,
}

/// Lists what lies below a folder, in order of path. Looks at no more than some ten thousand entries.
pub(super) fn list(root: &Path) -> Result<Vec<Listed>, Failure> {
    const ENTRIES_MAX: usize = 10_000;
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![PathBuf::new()];
    let mut seen = 0;
    while let Some(folder) = open.pop() {
        let path = root.join(&folder);
        let mut listed = Listed { folder: with_slashes(&folder), files: 0, bytes: 0 };
        for entry in fs::read_dir(&path).map_err(|error| failed("look into", &path, &error))? {
            seen += 1;
            if seen > ENTRIES_MAX {
                break;
            }
            let entry = entry.map_err(|error| failed("look into", &path, &error))?;
            let metadata = entry.metadata().map_err(|error| failed("look at", &entry.path(), &error))?;
            if metadata.is_dir() {
                open.push(folder.join(entry.file_name()));
            } else {
                listed.files += 1;
                listed.bytes += metadata.len();
            }
        }
        if listed.files > 0 {
            found.push(listed);
        }
    }
    found.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(found)
}

fn with_slashes(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn refuse(path: &Path, what: &str) -> Failure {
    Failure::new(Exit::Usage, format!("`{}` {what}: it stays as it is", path.display()))
        .help("name another folder with --dir, or move this one away")
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{verb} `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_demo_is_replaced_whole() {
        let parent = tempfile::tempdir().expect("folder");
        let demo = parent.path().join("new/demo");
        prepare(&demo).expect("first");
        write(&demo.join("lake/old.parquet"), "old").expect("file");
        prepare(&demo).expect("second");
        assert!(!demo.join("lake").exists());
        assert!(demo.join(MARKER).is_file());
    }

    #[test]
    fn an_empty_folder_is_taken() {
        let folder = tempfile::tempdir().expect("folder");
        prepare(folder.path()).expect("taken");
        assert!(folder.path().join(MARKER).is_file());
    }

    #[test]
    fn a_folder_of_somebody_else_stays_untouched() {
        let folder = tempfile::tempdir().expect("folder");
        fs::write(folder.path().join("thesis.txt"), "years of work").expect("file");
        let refused = prepare(folder.path()).expect_err("refused");
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.help.expect("help").contains("--dir"));
        assert_eq!(fs::read_to_string(folder.path().join("thesis.txt")).expect("file"), "years of work");
        assert!(!folder.path().join(MARKER).exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_demo_is_not_followed() {
        let parent = tempfile::tempdir().expect("folder");
        let demo = parent.path().join("demo");
        prepare(&demo).expect("demo");
        std::os::unix::fs::symlink(&demo, parent.path().join("link")).expect("link");
        assert_eq!(prepare(&parent.path().join("link")).expect_err("refused").exit, Exit::Usage);
        assert!(demo.join(MARKER).is_file());
    }

    #[test]
    fn files_are_counted_by_their_folder() {
        let folder = tempfile::tempdir().expect("folder");
        write(&folder.path().join("lake/day=1/a.parquet"), "12").expect("file");
        write(&folder.path().join("lake/day=1/b.parquet"), "345").expect("file");
        write(&folder.path().join("config.toml"), "").expect("file");
        let listed = list(folder.path()).expect("list");
        let expected = [("", 1, 0), ("lake/day=1", 2, 5)];
        let expected = expected.map(|(folder, files, bytes)| Listed { folder: folder.into(), files, bytes });
        assert_eq!(listed, expected);
    }
}
