//! Columns as text: tables for people, JSON lines for programs.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::json::WriterBuilder;
use arrow::json::writer::{JsonArray, LineDelimited};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use serde_json::value::RawValue;

use crate::schema::ColumnType;

use super::exit::Exit;
use super::failure::Failure;
use super::terminal::{Side, Terminal};
use super::text::{counted, one_line, shortened};

/// Rows shown as a table; more are for a file or a program.
const ROWS_MAX: usize = 1000;
/// Letters of one cell, on a terminal and elsewhere.
const CELL_MAX_TERMINAL: usize = 32;
const CELL_MAX: usize = 200;
/// The space to the left and right of a cell.
const PADDING: usize = 2;

/// Prints rows as a table. On a terminal it is as wide as that: columns that have no room are counted. Nulls are empty.
pub(crate) fn print_table(terminal: &Terminal, rows: &RecordBatch) -> Result<(), Failure> {
    let cell_max = match terminal.width {
        Some(width) => CELL_MAX_TERMINAL.min(usize::from(width).saturating_sub(PADDING)),
        None => CELL_MAX,
    };
    let columns = as_text(rows, cell_max)?;
    let shown = count_that_fit(&columns, terminal.width.map(usize::from));
    let header: Vec<(&str, Side)> = columns.iter().take(shown).map(|column| (column.name.as_str(), column.side)).collect();
    let mut table = terminal.table(&header);
    for row in 0..rows.num_rows().min(ROWS_MAX) {
        let cells: Vec<&str> = columns.iter().take(shown).map(|column| column.cells[row].as_str()).collect();
        table.row(&cells);
    }
    terminal.line(&table.text())?;
    let hidden = [(rows.num_rows().saturating_sub(ROWS_MAX), "row"), (columns.len() - shown, "column")];
    for (count, noun) in hidden.into_iter().filter(|(count, _)| *count > 0) {
        terminal.line(&format!(" ... and {}: --json prints all", counted(count as u64, &format!("more {noun}"))))?;
    }
    Ok(())
}

/// A column's first cells as text.
struct TextColumn {
    name: String,
    side: Side,
    cells: Vec<String>,
    /// Letters of the longest cell or the name.
    width: usize,
}

fn as_text(rows: &RecordBatch, cell_max: usize) -> Result<Vec<TextColumn>, Failure> {
    let options = FormatOptions::default()
        .with_null("")
        .with_display_error(true)
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let schema = rows.schema();
    let mut columns = Vec::with_capacity(rows.num_columns());
    for (field, values) in schema.fields().iter().zip(rows.columns()) {
        let formatter = ArrayFormatter::try_new(values, &options).map_err(cannot_show)?;
        let cell = |row: usize| shortened(&one_line(&formatter.value(row).to_string()), cell_max);
        let cells: Vec<String> = (0..rows.num_rows().min(ROWS_MAX)).map(cell).collect();
        let widest = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let side = if field.data_type().is_numeric() { Side::Right } else { Side::Left };
        columns.push(TextColumn { name: field.name().clone(), side, width: widest.max(field.name().chars().count()), cells });
    }
    Ok(columns)
}

/// How many of the first columns have room beside each other; at least one.
fn count_that_fit(columns: &[TextColumn], width: Option<usize>) -> usize {
    let Some(width) = width else { return columns.len() };
    let mut used = 0;
    let fits = |column: &&TextColumn| {
        used += column.width + PADDING;
        used <= width
    };
    columns.iter().take_while(fits).count().max(1).min(columns.len())
}

/// A column's type in the product's own words.
pub(crate) fn type_name(data_type: &DataType) -> String {
    ColumnType::from_arrow(data_type).map_or_else(|unknown| unknown.to_string(), |known| known.to_string())
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray};

    use super::*;

    fn rows() -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a\nb"), Some("\u{1b}[2J")]));
        let times = TimestampMicrosecondArray::from(vec![Some(1_517_967_904_877_000), Some(0)]).with_timezone("UTC");
        RecordBatch::try_from_iter([("n", numbers), ("text", texts), ("at", Arc::new(times) as ArrayRef)]).expect("rows")
    }

    #[test]
    fn cells_are_lines_of_plain_text_and_nulls_are_empty() {
        let columns = as_text(&rows(), 40).map_err(|failure| failure.message).expect("columns");
        let cells: Vec<Vec<String>> = columns.into_iter().map(|column| column.cells).collect();
        assert_eq!(cells[0], ["1", ""]);
        assert_eq!(cells[1], ["a\\nb", "\u{fffd}[2J"]);
        assert_eq!(cells[2], ["2018-02-07 01:45:04.877", "1970-01-01 00:00:00"]);
    }

    #[test]
    fn a_narrow_terminal_shows_the_first_columns() {
        let columns = as_text(&rows(), 40).map_err(|failure| failure.message).expect("columns");
        let fit = |width| count_that_fit(&columns, width);
        assert_eq!([fit(None), fit(Some(80)), fit(Some(20)), fit(Some(3)), fit(Some(1))], [3, 3, 2, 1, 1]);
        assert_eq!(count_that_fit(&[], Some(80)), 0);
    }

    #[test]
    fn json_keeps_nulls_and_every_digit() {
        let array = as_json_array(&rows()).map_err(|failure| failure.message).expect("JSON");
        let parsed: serde_json::Value = serde_json::from_str(array.get()).expect("JSON");
        assert_eq!(parsed[1], serde_json::json!({"n": null, "text": "\u{1b}[2J", "at": "1970-01-01T00:00:00Z"}));
        let none = as_json_array(&rows().slice(0, 0)).map_err(|failure| failure.message).expect("JSON");
        assert_eq!(none.get(), "[]");
    }

    #[test]
    fn types_are_named_in_our_words() {
        assert_eq!(type_name(&DataType::Utf8View), "text");
        assert_eq!(type_name(rows().column(2).data_type()), "timestamp");
    }
}
