//! Why a request has to wait, and until when.

use std::time::Duration;

use super::meter::Full;

/// Why a request has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocked {
    /// When to ask again; `None`: once something that is under way is answered.
    pub(super) at: Option<Duration>,
    pub(super) why: Why,
    pub(super) by: By,
}

/// What is in the way, for whoever decides whether others may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Everything,
    Some,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Patience,
    Limit,
    Pace,
    Concurrency,
    Breaker,
    /// What others hold of a limit, or may hold.
    Others,
    /// What was spent of a limit before, or by others, has to be found out first.
    Unknown,
}

impl Why {
    pub(super) fn text(self) -> &'static str {
        match self {
            Why::Patience => "the source asked for patience",
            Why::Limit => "the request limit of the source",
            Why::Pace => "the pace that the source was found to bear",
            Why::Concurrency => "as many requests as the source bears are under way",
            Why::Others => "the part of the source's limits that other daemons leave",
            Why::Unknown => "what was spent of the source's limits before has to be found out first",
            Why::Breaker => "the source fails: it is asked again after a pause",
        }
    }
}

/// Gathers what is in the way: the last moment counts, and what only an answer ends counts before all.
#[derive(Default)]
pub(super) struct Blocks {
    found: Option<Blocked>,
}

impl Blocks {
    pub(super) fn add(&mut self, at: Option<Duration>, why: Why, everything: bool) {
        let by = if everything { By::Everything } else { By::Some };
        let Some(known) = &mut self.found else {
            self.found = Some(Blocked { at, why, by });
            return;
        };
        if everything {
            known.by = By::Everything;
        }
        match (known.at, at) {
            (Some(known_at), Some(at)) if at > known_at => (known.at, known.why) = (Some(at), why),
            (Some(_), None) => (known.at, known.why) = (None, why),
            _ => {}
        }
    }

    pub(super) fn add_full(&mut self, full: Full, everything: bool) {
        match full {
            Full::Until(at) => self.add(Some(at), Why::Limit, everything),
            Full::Flying => self.add(None, Why::Limit, everything),
            Full::Share => self.add(None, Why::Others, everything),
        }
    }

    pub(super) fn end(self) -> Result<(), Blocked> {
        self.found.map_or(Ok(()), Err)
    }
}
