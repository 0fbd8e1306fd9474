//! Leaves out log lines that repeat themselves: a disk should not fill with one sentence.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

use crate::clock::Clock;

/// The same line, letter by letter, is written this often in a window.
const SAME_MAX: u32 = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// Different lines that are remembered; beyond it all is forgotten, and written again.
const LINES_MAX: usize = 4_096;

/// Counts what was left out.
pub struct Throttle {
    clock: Arc<dyn Clock>,
    seen: Mutex<HashMap<u64, Seen>>,
    left_out: AtomicU64,
    told: AtomicU64,
}

struct Seen {
    since: Duration,
    times: u32,
}

impl Throttle {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Throttle { clock, seen: Mutex::default(), left_out: AtomicU64::new(0), told: AtomicU64::new(0) }
    }

    pub(super) fn filter(self: Arc<Self>) -> Gate {
        Gate { throttle: self }
    }

    /// Lines left out so far.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Logs how many lines were left out since this was called last; nothing if none were. For a loop of the daemon: a line about
    /// lines cannot be written from within the writing of one.
    pub fn tell(&self) {
        let all = self.left_out();
        let before = self.told.swap(all, Ordering::Relaxed);
        if all > before {
            tracing::warn!(lines = all - before, "log lines that repeated themselves were left out");
        }
    }

    fn passes(&self, line: u64) -> bool {
        let now = self.clock.elapsed();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= LINES_MAX {
            seen.retain(|_, seen| now.saturating_sub(seen.since) < WINDOW);
            if seen.len() >= LINES_MAX {
                seen.clear();
            }
        }
        let entry = seen.entry(line).or_insert(Seen { since: now, times: 0 });
        if now.saturating_sub(entry.since) >= WINDOW {
            *entry = Seen { since: now, times: 0 };
        }
        entry.times = entry.times.saturating_add(1);
        let passes = entry.times <= SAME_MAX;
        if !passes {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        passes
    }
}

/// The throttle as a filter of log lines.
pub(super) struct Gate {
    throttle: Arc<Throttle>,
}

impl<S: Subscriber> Filter<S> for Gate {
    fn enabled(&self, _about: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        let mut line = Line(DefaultHasher::new());
        event.metadata().callsite().hash(&mut line.0);
        event.record(&mut line);
        self.throttle.passes(line.0.finish())
    }
}

/// A line's letters, hashed as they come.
struct Line(DefaultHasher);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        field.name().hash(&mut self.0);
        // Writing into a hash does not fail.
        let _written = write!(self, "{value:?}");
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
