//! What the process tells of itself: log lines, and figures for Prometheus.
//!
//! Field names of logs are dotted: `job.id`, `slice.from`. Foreign text in them cannot begin a new line or drive a terminal, and what
//! repeats itself is left out and counted. Deliberately absent: traces, and pushing figures anywhere.

pub mod metrics;

mod destination;
mod lines;
mod run_log;
mod throttle;

use std::sync::Arc;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::clock::Clock;

pub use destination::Destination;
pub use run_log::RunLog;
pub use throttle::Throttle;

/// How much is said without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// A command that ends: only what somebody should act on or know.
    Command,
    /// The daemon: what it does, run by run.
    Service,
}

impl Verbosity {
    /// Delta's kernel logs every error that it also returns, as if it were ours: also that a table is not there yet.
    fn filter(self) -> &'static str {
        match self {
            Verbosity::Command => "warn,delta_kernel=off",
            Verbosity::Service => "warn,highwater=info,delta_kernel=off",
        }
    }
}

/// Starts logging. `filter` is a level or `tracing` directives, in place of what `verbosity` says; the error says what is wrong with
/// it. Lines go to `writer`, unless the destination is the journal itself. Logging starts once; later calls change nothing.
///
/// What comes back counts the lines that were left out because they repeated themselves.
pub fn start<W>(
    filter: Option<&str>,
    verbosity: Verbosity,
    destination: Destination,
    clock: Arc<dyn Clock>,
    writer: W,
) -> Result<Arc<Throttle>, String>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = filter.unwrap_or(verbosity.filter());
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("HIGHWATER_LOG: `{filter}`: {error}"))?;
    let throttle = Arc::new(Throttle::new(clock));
    let output = output(destination, writer).with_filter(Arc::clone(&throttle).filter());
    // A second start in one process (tests) keeps the first one's writer: nothing is lost by it.
    if let Err(error) = Registry::default().with(output).with(filter).try_init() {
        tracing::debug!(%error, "logging had been started before");
    }
    Ok(throttle)
}

fn output<W>(destination: Destination, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    match destination {
        Destination::Terminal => lines::text(writer),
        Destination::Journal => match tracing_journald::layer() {
            Ok(journal) => Box::new(journal.with_field_prefix(None).with_priority_mappings(priorities())),
            // The journal reads stderr as well: lines instead of fields are better than nothing.
            Err(_) => lines::json(writer),
        },
        Destination::Lines => lines::json(writer),
    }
}

/// The journal's words for our levels, as its readers expect them: an INFO is no notice.
fn priorities() -> PriorityMappings {
    PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    }
}

#[cfg(test)]
mod tests;
