//! A disk on which calls fail, under a real process: `failing_disk.c`, put in front of the C library. strace cannot tell a write to
//! a file from one that wakes a thread, of which there are thirty times as many.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::Call;

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;

pub struct FailingDisk {
    library: tempfile::TempPath,
}

/// Which calls fail.
#[derive(Clone, Copy, Debug)]
pub struct Failing {
    /// `write`, `fsync`, `rename` or `link`.
    pub call: &'static str,
    /// Counted from one.
    pub first: usize,
    pub last: usize,
    pub error: i32,
}

impl Failing {
    /// None: the calls are told alone.
    pub fn none() -> Self {
        Failing { call: "write", first: 0, last: 0, error: 0 }
    }
}

impl FailingDisk {
    /// `None` where there is no C compiler, or nothing can be put in front of the C library.
    pub fn new() -> Option<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/world/failing_disk.c");
        let library = tempfile::Builder::new().suffix(".so").tempfile().unwrap().into_temp_path();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
        let is_built = cfg!(target_os = "linux") && compiler.output().is_ok_and(|output| output.status.success());
        is_built.then_some(FailingDisk { library })
    }

    /// Puts it under a process, for what lies below `folder`; the calls are told in the file `log`.
    pub fn under(&self, call: Call, folder: &Path, log: &Path, failing: Failing) -> Call {
        call.env("LD_PRELOAD", &self.library.to_string_lossy())
            .env("DISK_BELOW", &folder.to_string_lossy())
            .env("DISK_LOG", &log.to_string_lossy())
            .env("DISK_CALL", failing.call)
            .env("DISK_FIRST", &failing.first.to_string())
            .env("DISK_LAST", &failing.last.to_string())
            .env("DISK_ERROR", &failing.error.to_string())
    }
}

/// A call as it was told.
#[derive(Clone, Debug)]
pub struct Told {
    pub call: String,
    pub path: PathBuf,
    /// The new name, of a call that gives one.
    pub to: PathBuf,
    /// 0 where the call was done.
    pub error: i32,
}

impl Told {
    pub fn is_done(&self, call: &str) -> bool {
        self.call == call && self.error == 0
    }
}

pub fn told(log: &Path) -> Vec<Told> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let read = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        Told { call: fields[0].to_owned(), path: fields[1].into(), to: fields[2].into(), error: fields[3].parse().unwrap() }
    };
    text.lines().map(read).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Pages {
    Written,
    Durable,
    /// A call on them failed: what the disk has of them nobody knows, and no later call tells.
    Lost,
}

/// Files that were believed to be durable and were not: named before they were, or synced again after a sync of theirs had failed.
pub fn believed(calls: &[Told]) -> Vec<String> {
    let (mut files, mut wrong): (BTreeMap<&Path, Pages>, _) = (BTreeMap::new(), Vec::new());
    for told in calls {
        let path = &*told.path;
        let before = files.get(path).copied();
        match (&*told.call, told.error) {
            ("write", 0) if before != Some(Pages::Lost) => drop(files.insert(path, Pages::Written)),
            ("fsync", 0) if before == Some(Pages::Written) => drop(files.insert(path, Pages::Durable)),
            ("write" | "fsync", 0) if before == Some(Pages::Lost) => {
                wrong.push(format!("{} of {} after a call on it had failed", told.call, path.display()));
            }
            // A folder has no pages of its own that were written.
            ("write", _) => drop(files.insert(path, Pages::Lost)),
            ("fsync", error) if error != 0 && before.is_some() => drop(files.insert(path, Pages::Lost)),
            ("unlink", 0) => drop(files.remove(path)),
            ("rename" | "link", 0) => {
                if before.is_some_and(|pages| pages != Pages::Durable) {
                    wrong.push(format!("{} got its name before {} was durable", told.to.display(), path.display()));
                }
                files.extend(before.map(|pages| (&*told.to, pages)));
                if told.call == "rename" {
                    files.remove(path);
                }
            }
            _ => {}
        }
    }
    wrong
}

#[test]
fn a_sync_that_is_tried_again_is_told() {
    let told = |call: &str, path: &str, to: &str, error| Told { call: call.to_owned(), path: path.into(), to: to.into(), error };
    let (write, failed, again) = (told("write", "a#1", "", 0), told("fsync", "a#1", "", EIO), told("fsync", "a#1", "", 0));
    let named = told("link", "a#1", "a", 0);
    assert_eq!(believed(&[write.clone(), again.clone(), named.clone()]), [""; 0]);
    assert_eq!(believed(&[write.clone(), named.clone()]), ["a got its name before a#1 was durable"]);
    let wrong = believed(&[write.clone(), failed.clone(), again.clone(), named.clone()]);
    assert_eq!(wrong, ["fsync of a#1 after a call on it had failed", "a got its name before a#1 was durable"]);
    // Given up and written anew under the same name.
    assert_eq!(believed(&[write.clone(), failed, told("unlink", "a#1", "", 0), write, again, named]), [""; 0]);
}
