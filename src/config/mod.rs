//! A project's TOML files to checked types: nothing downstream checks again, invalid states have no type.
//!
//! Reading goes in three steps. `read` brings the files' texts; `walk` follows each spanned tree along its shape (`shapes`) and
//! reports every key and value that does not fit; `check` builds the types of `catalog` from what fits and reports what does not
//! fit together. Only `read` touches the disk. No network, no environment, no secret: references are checked for their form.
//!
//! Everything wrong is reported at once, with file, line, column and what to write instead. A job that a problem touches is
//! parked with its reason; the others go on. Problems in `config.toml` park all jobs.

pub mod catalog;
pub mod secret;
pub mod service;
pub mod storage;
pub mod units;

mod address;
mod check;
mod editor;
mod kinds;
mod limits;
mod locate;
mod node;
mod problem;
mod read;
mod shape;
mod shapes;
mod walk;

use std::collections::BTreeMap;
use std::path::Path;

use crate::ids::JobName;

use catalog::Catalog;

pub use editor::schemas;
pub use locate::{Remark, at_key};
pub use problem::{Problem, Severity};

/// What a project folder holds.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The jobs that nothing is wrong with, disabled ones included.
    pub catalog: Catalog,
    /// Sorted by file and place; at most 200 and a remark on how many more.
    pub problems: Vec<Problem>,
    /// Jobs that a problem touches, and the first problem in one line.
    pub parked: BTreeMap<JobName, String>,
    /// Of all files' names and texts: equal while nobody changes them. Hex of SHA-256.
    pub digest: String,
}

impl Loaded {
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }
}

/// Reads and checks a project. Never fails: what cannot be read is a problem. Relative paths in the files lie under
/// `state_folder` where there is one (systemd's `$STATE_DIRECTORY`), else under `folder`.
pub fn load(folder: &Path, state_folder: Option<&Path>) -> Loaded {
    check::project(&read::project(folder, state_folder))
}

#[cfg(test)]
mod tests;
