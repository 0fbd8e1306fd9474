//! The clock on the wall of one process, set by a test while it runs: libfaketime in front of the C library. Clocks that cannot be
//! set, by which a process waits, go on as they are; so do the times of files, which a disk of another machine might have given.

use std::path::PathBuf;

use super::program::Call;
use super::project::Project;

pub struct Wall {
    library: PathBuf,
}

impl Wall {
    /// `None` where libfaketime is not installed.
    pub fn new() -> Option<Self> {
        let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
        let library = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())?;
        Some(Wall { library })
    }

    /// What a process of this project is told; `set` says how far off it is.
    pub fn environment(&self, project: &Project) -> Vec<(&'static str, String)> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        vec![
            ("LD_PRELOAD", text(self.library.clone())),
            ("FAKETIME_TIMESTAMP_FILE", text(project.at("clock.txt"))),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }

    pub fn under(&self, project: &Project, call: Call) -> Call {
        self.environment(project).into_iter().fold(call, |call, (name, value)| call.env(name, &value))
    }
}

/// Sets the clock, of a process that runs as well: `+3h`, `-90m`, `+0`.
pub fn set(project: &Project, offset: &str) {
    let (file, next) = (project.at("clock.txt"), project.at("clock.next"));
    std::fs::write(&next, offset).unwrap();
    std::fs::rename(next, file).unwrap();
}
