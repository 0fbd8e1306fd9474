//! Effects of a run, numbered, so that a test can kill the run before or after each of them. In a release build nothing of it
//! is there.
//!
//! A [`FaultPlan`] goes into the decorators `FaultyStore`, `FaultyState` and `FaultySource`; every verb that passes through them
//! is an effect and takes the next number, beginning with 1.
//!
//! A *mutant* is the program with one guard of the data switched off: a test that stays green with it guards nothing.

#[cfg(any(test, debug_assertions))]
mod plan;

#[cfg(any(test, debug_assertions))]
pub use plan::{Ending, FaultPlan, Outcome, Side};

/// The guards of the data. All on, always, but in tests that prove the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guards {
    /// The decision is written only if nobody decided that seq before.
    pub put_if_absent: bool,
    /// The state advances only after everything is published.
    pub publish_before_state: bool,
    /// A commit records what it covers.
    pub record_coverage: bool,
    /// A version of a row that is older than the table's does not take its place.
    pub newest_wins: bool,
    /// A file that holds an older version of a row leaves the table with the commit of the newer one.
    pub rewrite_touched: bool,
    /// A version that comes late and is older than the deletion of its key does not bring it back.
    pub tombstones: bool,
    /// A file is looked into where a key lies in the range of its keys, the ends included.
    pub keys_in_range: bool,
    /// A file is looked into where its bloom filter knows a key.
    pub keys_in_filter: bool,
    /// A replacement by the rows that are there already is none.
    pub same_content: bool,
    /// A parent that was never met is read from the window's start on, one that was missing from where it was missed.
    pub known_parents: bool,
    /// What a record names, decided or prepared, is no garbage.
    pub named_is_live: bool,
    /// What is young may still come to be named.
    pub young_is_live: bool,
    /// A record that the Delta log has already is not committed to it again.
    pub delta_once: bool,
}

impl Guards {
    pub const ALL: Guards = Guards {
        put_if_absent: true,
        publish_before_state: true,
        record_coverage: true,
        newest_wins: true,
        rewrite_touched: true,
        tombstones: true,
        keys_in_range: true,
        keys_in_filter: true,
        same_content: true,
        known_parents: true,
        named_is_live: true,
        young_is_live: true,
        delta_once: true,
    };
}

impl Default for Guards {
    fn default() -> Self {
        Guards::ALL
    }
}
