//! The room as a whole, through its front door.

mod committed;
mod cursors;
mod documents;
mod feed;
mod oracle;
pub mod show;
mod types;
