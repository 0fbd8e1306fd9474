//! Who wants to send what.

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
}
