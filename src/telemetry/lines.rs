//! Log lines as text and as JSON. Every value is one line of harmless letters, whoever wrote it.

use std::fmt;

use tracing::field::Field;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::{Layer, Registry};

use crate::printable::one_line;

/// Longest value of a field, in characters: a chain of errors fits, a body does not.
const VALUE_MAX: usize = 4_000;

pub(super) fn text<W>(writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    use tracing_subscriber::field::MakeExt;
    let fields = debug_fn(write_field).delimited(" ");
    Box::new(tracing_subscriber::fmt::layer().compact().with_ansi(true).fmt_fields(fields).with_writer(writer))
}

/// JSON escapes line breaks and control characters by itself.
pub(super) fn json<W>(writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    Box::new(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer))
}

/// A text that was logged with `%` comes here as it is: a server's error message could look like another line of ours.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = crate::printable::shortened(&one_line(&format!("{value:?}")), VALUE_MAX);
    match field.name() {
        "message" => write!(writer, "{value}"),
        name => write!(writer, "{name}={value}"),
    }
}
