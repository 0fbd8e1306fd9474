//! Files that are being written, and what a killed process left of such: `name#1`, `name#2` ..., the first number that was free.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::super::Listed;

/// Numbers of unfinished files that are free, one after the other, before a higher one is not looked for.
const FREE_MAX: usize = 4;

/// The name of a file while it is written.
pub(super) fn named(file: &Path, number: u32) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!("#{number}"));
    name.into()
}

/// What the unfinished file at a path was to be, and its number; `None` for any other path.
pub(super) fn whole_of(path: &str) -> Option<(&str, u32)> {
    let (whole, digits) = path.rsplit_once('#')?;
    let number: u32 = digits.parse().ok()?;
    let name = whole.rsplit('/').next().unwrap_or_default();
    (number.to_string() == digits && !name.is_empty() && !name.contains('#')).then_some((whole, number))
}

/// Removes `file#1`, `file#2` ...: what was being written when the process was killed. A writer takes the first number that is free, so
/// that behind some that are free there is none. The folder is not gone through: it may hold a hundred thousand files.
pub(super) fn remove_unfinished(file: &Path) -> io::Result<()> {
    let mut free = 0;
    for number in 1.. {
        match fs::remove_file(named(file, number)) {
            Ok(()) => free = 0,
            Err(error) if error.kind() == io::ErrorKind::NotFound => free += 1,
            Err(error) => return Err(error),
        }
        if free == FREE_MAX {
            break;
        }
    }
    Ok(())
}

/// Removes one of them, and its folder below `root` if that is empty now. One that is gone is no error.
pub(super) fn remove(file: &Path, root: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(folder) = file.parent().filter(|folder| *folder != root) {
        // A folder that is not empty, or that another removed first, comes here as an error.
        drop(fs::remove_dir(folder));
    }
    Ok(())
}

/// All unfinished files below a folder, with paths relative to `root`, in order of path. Links are not followed; what goes meanwhile
/// is not there, and a folder that is not there holds none.
pub(super) fn unfinished_below(folder: &Path, root: &Path) -> io::Result<Vec<Listed>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let Some(entries) = unless_gone(fs::read_dir(&folder))? else { continue };
        for entry in entries {
            let Some(entry) = unless_gone(entry)? else { continue };
            let Some(kind) = unless_gone(entry.file_type())? else { continue };
            let path = entry.path();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                // Names that are no text are not ours.
                && let Some(path) = path.strip_prefix(root).ok().and_then(Path::to_str)
                && whole_of(path).is_some()
                && let Some(about) = unless_gone(entry.metadata())?
                && let Ok(modified) = Timestamp::try_from(about.modified()?)
            {
                found.push(Listed { path: path.to_owned(), size: about.len(), modified });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn unless_gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}
