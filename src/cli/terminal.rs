//! Where the commands write: results to stdout, progress and errors to stderr.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, TableComponent, Width, presets};
use serde::Serialize;

use super::environment::Environment;
use super::failure::Failure;
use super::text::one_line;

/// What the process writes to, and how.
#[derive(Clone, Debug)]
pub struct Terminal {
    /// Results as JSON.
    pub json: bool,
    /// Columns of the terminal that stdout is; `None` where it is none.
    pub width: Option<u16>,
    /// Progress is drawn over itself: stderr is a terminal, and nobody asked for plain text.
    pub live: bool,
    /// Emphasis on stdout.
    pub colors: bool,
}

/// On which side a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

impl Terminal {
    pub fn detect(json: bool, environment: &Environment) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| width.0.max(40));
        Terminal {
            json,
            width: is_terminal.then_some(width),
            live: io::stderr().is_terminal() && !json,
            colors: is_terminal && !environment.no_color && !json,
        }
    }

    /// Writes a line, or lines, to stdout.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()?;
        Ok(())
    }

    /// Writes bytes to stdout as they are.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// Writes a result as one indented JSON document.
    pub fn document<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        self.line(&text)
    }

    /// Writes a heading.
    pub fn heading(&self, text: &str) -> Result<(), Failure> {
        match self.colors {
            true => self.line(&format!("\x1b[1m{text}\x1b[0m")),
            false => self.line(text),
        }
    }

    /// Writes a note to stderr, where results are not disturbed by it.
    pub fn note(&self, text: &str) {
        // A note that nobody can read any more is lost harmlessly; the work goes on.
        let _lost = writeln!(io::stderr().lock(), "{text}");
    }

    pub fn table(&self, columns: &[(&str, Side)]) -> TextTable {
        let mut table = Table::new();
        // No frame: a line under the header, two spaces between columns.
        table.load_preset(presets::NOTHING).set_style(TableComponent::HeaderLines, '─');
        if let Some(width) = self.width {
            table.set_width(width);
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        let colors = self.colors;
        table.set_header(columns.iter().map(|(name, side)| {
            let cell = Cell::new(one_line(name)).set_alignment(side.alignment());
            if colors { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
        TextTable { table, sides: columns.iter().map(|(_, side)| *side).collect() }
    }
}

impl Side {
    fn alignment(self) -> CellAlignment {
        match self {
            Side::Left => CellAlignment::Left,
            Side::Right => CellAlignment::Right,
        }
    }
}

/// A table being filled.
pub struct TextTable {
    table: Table,
    sides: Vec<Side>,
}

impl TextTable {
    /// One cell a column; what would drive a terminal is made visible.
    pub fn row<S: AsRef<str>>(&mut self, cells: &[S]) {
        let row = cells.iter().zip(&self.sides);
        self.table.add_row(row.map(|(text, side)| Cell::new(one_line(text.as_ref())).set_alignment(side.alignment())));
    }

    /// Keeps a column from being broken over several lines.
    pub fn keep_whole(&mut self, column: usize) {
        let widest = self.table.column_max_content_widths().get(column).copied().unwrap_or(0);
        let padding = self.table.column(column).map_or(0, comfy_table::Column::padding_width);
        if let Some(column) = self.table.column_mut(column) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(widest.saturating_add(padding))));
        }
    }

    pub fn text(&self) -> String {
        // Padding to the right is of use to nobody and breaks lines in narrow windows.
        self.table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(width: Option<u16>) -> Terminal {
        Terminal { json: false, width, live: false, colors: false }
    }

    #[test]
    fn a_table_is_plain_and_its_cells_stay_on_their_line() {
        let mut table = terminal(None).table(&[("job", Side::Left), ("rows", Side::Right)]);
        table.row(&["earthquakes", "1,707"]);
        table.row(&["a\nb\u{1b}", "0"]);
        let expected = [" job           rows", "────────────────────", " earthquakes  1,707", " a\\nb\u{fffd}            0"];
        assert_eq!(table.text(), expected.join("\n"));
    }

    #[test]
    fn a_terminal_bounds_a_tables_width() {
        let mut table = terminal(Some(40)).table(&[("job", Side::Left), ("error", Side::Left)]);
        table.row(&["earthquakes", &"word ".repeat(40)]);
        table.keep_whole(0);
        let text = table.text();
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.contains(" earthquakes "), "{text}");
    }
}
