//! One row a key: what a slice says of its keys against the rows that the table has.
//!
//! A slice's records become *operations* on keys ([`Ops`]): a new version of a row, or its end. [`resolve`] finds the newest of each
//! key by (cursor, commit, position), looks for the row that it replaces, and says what becomes of every operation and of every row
//! of the files that hold one. [`carry`] takes over the rows of such a file that stay as they are: files are never changed, a touched
//! one is written anew without the rows that are gone.
//!
//! Files that cannot hold a key are not opened: their range of keys tells, or the bloom filter on `_hw_key`. Memory is bounded: the
//! operations wait on local disk where they are many, and are resolved in passes over parts of them by hash. What is kept for every
//! operation and every row of a touched file is a byte and a bit.
//!
//! An append that reads something a second time uses the same: there a row is the same only if its content is, and no row ever goes.
//!
//! Deleted keys leave *tombstones* beside the table: a version that comes late must not bring back what was deleted after it.

mod candidates;
mod carry;
#[cfg(test)]
mod hostile;
mod ops;
mod rejects;
mod resolve;

pub(in crate::sink) use candidates::{check_rows, open, read_rows, unreadable};
pub use carry::{Carried, carry, own_columns};
pub use ops::{Op, OpKind, Ops};
pub use rejects::known_rejects;
pub use resolve::{Fate, Resolution, Rules, Touched, resolve};
