//! Objects to columns of places: for each field, where on the tape the value of each row stands.

use super::document::{Document, Item, MISSING};
use super::kind::Object;
use super::trail::UNKNOWN;

/// Rows times fields that one object's columns may have on a page: a bound on memory that no honest page comes near.
pub const CELLS_MAX: usize = 1 << 26;

/// For each field a column with one place a row; [`MISSING`] where a row has no such value.
pub type Columns = Vec<Vec<u32>>;

/// Why objects could not be split.
#[derive(Debug)]
pub enum SplitError {
    /// A field that the tree does not know.
    Unknown,
    /// A value that is neither object nor null.
    NoObject,
    TooLarge,
}

/// How many columns an object has, where as many rows of it may be held.
pub fn check_cells(object: &Object, rows: usize) -> Result<usize, SplitError> {
    let width = object.nodes.len() + object.with_misfits().count();
    if width.saturating_mul(rows) > CELLS_MAX { Err(SplitError::TooLarge) } else { Ok(width) }
}

/// Splits objects into the columns of the fields, with empty columns for values that fit no field behind them. A key that is there
/// twice counts with its last value.
pub fn split(doc: &Document<'_>, object: &Object, rows: &[u32]) -> Result<Columns, SplitError> {
    let width = check_cells(object, rows.len())?;
    let mut columns = vec![vec![MISSING; rows.len()]; width];
    if rows.iter().all(|at| doc.is_null(*at)) {
        return Ok(columns);
    }
    // Of keys by their number; an object has fewer fields than this.
    let mut places = vec![usize::MAX; doc.key_numbers()];
    for (row, at) in rows.iter().enumerate() {
        let end = match doc.item(*at) {
            Item::Object(end) => end,
            Item::Null => continue,
            _ => return Err(SplitError::NoObject),
        };
        let mut at = at + 1;
        while at < end {
            let number = doc.key_number(at);
            let mut place = places[usize::from(number)];
            if place == usize::MAX {
                let (key, value) = doc.member(at);
                place = object.place(key).ok_or(SplitError::Unknown)?;
                match number {
                    UNKNOWN => at = value,
                    number => places[usize::from(number)] = place,
                }
            }
            columns[place][row] = at;
            at = doc.after(at);
        }
    }
    Ok(columns)
}
