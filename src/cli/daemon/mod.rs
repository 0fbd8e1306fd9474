//! The daemon: what `serve` is made of, and how other commands speak to it.
//!
//! `serve` opens the state, which makes this process the only one that works with it, and drives `schedule` with [`runs`] as the
//! runner: the very path of `run`. [`socket`] takes questions of other commands in the words of [`protocol`]; [`client`] asks
//! them. [`supervisor`] tells systemd how it goes. [`files`] holds the project as they were last read. [`idle`] tends tables between runs,
//! [`spare`] gives memory back.
//!
//! Deliberately absent: any way of loading that `run` does not have, and anything that decides when a job is due.

pub(crate) mod client;
pub(crate) mod protocol;

mod files;
mod hand;
mod idle;
mod outlook;
mod runs;
mod serve;
mod service;
mod socket;
mod spare;
mod supervisor;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Clock;

pub(crate) use serve::serve;

/// Where the daemon that holds a state listens.
pub(crate) fn socket_path(state_path: &Path) -> PathBuf {
    state_path.parent().unwrap_or(Path::new(".")).join("highwater.sock")
}

/// What the future gives, or `None` when it took longer. Drops it then.
async fn within<T>(clock: &dyn Clock, length: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = clock.sleep(length) => None,
    }
}
