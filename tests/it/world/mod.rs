//! The world that a run lives in, made of fakes: an API with scripted pages and faults, a clock, feeds with their ground truth,
//! projects on disk, the program itself, and readers that share no code with it.

pub mod api;
pub mod azure;
pub mod bucket;
pub mod clock;
pub mod cutter;
pub mod daemon;
pub mod desk;
pub mod dice;
pub mod disk;
pub mod feed;
pub mod gcs;
pub mod kind;
pub mod oracle;
pub mod postgres;
pub mod program;
pub mod project;
mod proofs;
pub mod python;
pub mod receiver;
pub mod source;
pub mod timer;
pub mod vendor;
pub mod wall;
pub mod weather;

use std::time::{Duration, Instant};

/// A setting from the environment: what `tests/run` prepared.
#[expect(clippy::disallowed_methods, reason = "the tests' one look at the environment")]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Notes that a test could not do its work here; `tests/run` counts these lines.
pub fn skip(test: &str, reason: &str) {
    use std::io::Write;
    let line = format!("skipped {test}: {reason}\n");
    // Past the test harness, which would swallow the output of a test that passes.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(path) = setting("HIGHWATER_TEST_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// A moment until which a condition must hold.
pub struct Deadline(Instant);

impl Deadline {
    #[expect(clippy::disallowed_methods, reason = "the tests' one home of the monotonic clock")]
    pub fn after(length: Duration) -> Self {
        Deadline(Instant::now() + length)
    }

    #[expect(clippy::disallowed_methods, reason = "the tests' one home of the monotonic clock")]
    pub fn passed(&self) -> bool {
        Instant::now() >= self.0
    }
}

/// Waits until a condition holds; a test that waits for too long fails with what it waited for.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Deadline::after(Duration::from_secs(20));
    while !holds() {
        assert!(!deadline.passed(), "waited in vain until {what}");
        pause(Duration::from_millis(5)).await;
    }
}

/// Gives others time to do what they must not do.
#[expect(clippy::disallowed_methods, reason = "the tests' one wait for nothing to happen")]
pub async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
}
