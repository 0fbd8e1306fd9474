//! Columns as text: tables for people, JSON lines for programs.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::json::WriterBuilder;
use arrow::json::writer::{JsonArray, LineDelimited};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use serde_json::value::RawValue;

use super::exit::Exit;
use super::failure::Failure;
use super::terminal::{Side, Terminal};
use super::text::{counted, shortened, thousands};

/// Rows shown as a table; more are for a file or a program.
const ROWS_MAX: usize = 1000;
/// Letters of one cell.
const CELL_MAX: usize = 200;
/// No column of a table gets narrower than this many letters.
const COLUMN_WIDTH_MIN: usize = 9;

/// Prints rows as a table, bounded by the terminal. Nulls are empty.
pub(crate) fn print_table(terminal: &Terminal, rows: &RecordBatch) -> Result<(), Failure> {
    let schema = rows.schema();
    // Squeezed to a letter each, thirty columns say less than eight.
    let fit = terminal.width.map_or(usize::MAX, |width| (usize::from(width) / (COLUMN_WIDTH_MIN + 2)).max(1));
    let shown = schema.fields().len().min(fit);
    let columns: Vec<(&str, Side)> = schema
        .fields()
        .iter()
        .take(shown)
        .map(|field| (field.name().as_str(), if is_number(field.data_type()) { Side::Right } else { Side::Left }))
        .collect();
    let mut table = terminal.table(&columns);
    let options = FormatOptions::default().with_null("").with_display_error(true);
    let formatters = rows.columns().iter().take(shown).map(|column| ArrayFormatter::try_new(column, &options));
    let formatters: Vec<ArrayFormatter> = formatters.collect::<Result<_, _>>().map_err(cannot_show)?;
    for row in 0..rows.num_rows().min(ROWS_MAX) {
        let cells: Vec<String> = formatters.iter().map(|column| shortened(&column.value(row).to_string(), CELL_MAX)).collect();
        table.row(&cells);
    }
    terminal.line(&table.text())?;
    if rows.num_rows() > ROWS_MAX {
        terminal.line(&format!("... and {} more rows: --json prints all", thousands((rows.num_rows() - ROWS_MAX) as u64)))?;
    }
    if shown < schema.fields().len() {
        let hidden = schema.fields().len() - shown;
        terminal.line(&format!("... and {}: --json prints all", counted(hidden as u64, "column")))?;
    }
    Ok(())
}

/// Prints rows as JSON, one object a line, nulls as null.
pub(crate) fn print_json_lines(terminal: &Terminal, rows: &RecordBatch) -> Result<(), Failure> {
    const ROWS_AT_ONCE: usize = 8192;
    let mut offset = 0;
    while offset < rows.num_rows() {
        let part = rows.slice(offset, ROWS_AT_ONCE.min(rows.num_rows() - offset));
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
        writer.write(&part).map_err(cannot_show)?;
        writer.finish().map_err(cannot_show)?;
        terminal.raw(&writer.into_inner())?;
        offset += ROWS_AT_ONCE;
    }
    Ok(())
}

/// Rows as one JSON array of objects, nulls as null.
pub(crate) fn as_json_array(rows: &RecordBatch) -> Result<Box<RawValue>, Failure> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    writer.write(rows).map_err(cannot_show)?;
    writer.finish().map_err(cannot_show)?;
    let text = String::from_utf8_lossy(&writer.into_inner()).into_owned();
    // Without a row the writer may not even open the list.
    let text = if text.trim().is_empty() { "[]".to_owned() } else { text };
    RawValue::from_string(text).map_err(|error| Failure::new(Exit::Failed, format!("show the rows: {error}")))
}

fn cannot_show(error: ArrowError) -> Failure {
    Failure::new(Exit::Failed, format!("show the rows: {error}"))
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}
