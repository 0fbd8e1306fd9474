//! Who wants to send what.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::ids::JobName;

/// How urgent a request is; the smaller goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The increment that keeps a table fresh.
    #[default]
    Scheduled,
    /// Rows of long ago.
    Backfill,
    /// Somebody looks.
    Preview,
}

impl Class {
    pub const ALL: [Class; 3] = [Class::Scheduled, Class::Backfill, Class::Preview];
}

/// A wish for one request.
#[derive(Clone, Debug)]
pub struct Claim {
    pub job: JobName,
    pub class: Class,
    /// Which endpoint, as the definition writes it: answers of one endpoint speak of the same limits and cost alike.
    pub endpoint: String,
    /// The path below the API's base address, for the patterns of groups.
    pub path: String,
    /// Whoever has pages in hand that it would lose waits longer before it is sent away.
    pub holds: bool,
    /// The points that it was counted as when it was last sent.
    pub counted: Arc<AtomicU64>,
}

impl Claim {
    /// Whether the account has the same answer to both.
    pub(super) fn wants_the_same(&self, other: &Claim) -> bool {
        (self.class, self.holds, &self.endpoint, &self.path) == (other.class, other.holds, &other.endpoint, &other.path)
    }
}
