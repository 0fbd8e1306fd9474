//! Records that an API writes out on request: asked for, waited for, fetched.
//!
//! `ways` says what is asked, `answer` what comes back, `notes` what must outlive the process: the name of an export is durable before
//! it is waited for, so that whoever comes after a crash waits for the same one. The stream's own request, or the addresses that
//! the last answer has, fetch what was written; they go the same way as any page.
//!
//! Absent on purpose: exports side by side. Slices are read one after the other, and most APIs run exports one after the other too.

mod answer;
mod notes;
mod wait;
mod ways;

use std::sync::Arc;

use jiff::Timestamp;

pub(super) use wait::{Exports, is_gone};

/// An export that is there to be fetched.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    /// As the API names it.
    pub(super) id: String,
    /// The addresses of its parts; `None` where the stream's own request fetches it.
    pub(super) parts: Option<Arc<Vec<String>>>,
    /// What links in its answers are relative to.
    pub(super) from: String,
    /// When it was asked for, by our clock: what it holds is no newer.
    pub(super) at: Timestamp,
    /// The same by the source's clock.
    pub(super) source_now: Option<Timestamp>,
}
