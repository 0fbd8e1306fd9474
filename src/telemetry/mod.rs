//! Where log lines go. Field names are dotted: `job.id`, `slice.from`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// What one-shot commands say without being asked: only what somebody should act on or know.
const DEFAULT_FILTER: &str = "warn";

/// Starts logging to `writer`: text on a terminal, one JSON object a line elsewhere. `filter` is a level or `tracing`
/// directives. The error says what is wrong with the filter. Logging starts once; later calls change nothing.
pub fn start<W>(filter: Option<&str>, writer: W) -> Result<(), String>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = filter.unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("HIGHWATER_LOG: `{filter}`: {error}"))?;
    let is_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(is_terminal);
    let started = match is_terminal {
        true => builder.compact().try_init(),
        false => builder.json().flatten_event(true).try_init(),
    };
    // A second start in one process (tests) keeps the first one's writer: nothing is lost by it.
    if let Err(error) = started {
        tracing::debug!(%error, "logging had been started before");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_bad_filter_is_named() {
        let error = super::start(Some("highwater=loud"), std::io::stderr).expect_err("no such level");
        assert!(error.starts_with("HIGHWATER_LOG: `highwater=loud`: "), "{error}");
    }
}
