//! What happened to due times that an operator may want to know.

use jiff::Timestamp;

use super::CATCH_UP_MAX;
use crate::ids::JobName;

/// One remark on one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub job: JobName,
    /// The word under which the state keeps it.
    pub kind: &'static str,
    pub text: String,
    /// Something is not as it should be.
    pub warn: bool,
}

impl Notice {
    fn new(job: &JobName, kind: &'static str, warn: bool, text: String) -> Self {
        Notice { job: job.clone(), kind, text, warn }
    }

    /// `count` due times, the last of them `last`, start no run.
    pub(super) fn dropped(job: &JobName, count: usize, last: Timestamp) -> Self {
        let times = match count {
            1 => format!("the due time {last} was"),
            CATCH_UP_MAX => format!("{count} due times or more up to {last} were"),
            _ => format!("{count} due times up to {last} were"),
        };
        Notice::new(job, "due_dropped", false, format!("{times} missed and dropped, as `catch_up = \"none\"` says"))
    }

    /// More was missed than is caught up on.
    pub(super) fn capped(job: &JobName, cut: Timestamp) -> Self {
        let text = format!(
            "more than {CATCH_UP_MAX} due times were missed: only the newest {CATCH_UP_MAX} are caught up on, those up to {cut} are dropped"
        );
        Notice::new(job, "due_capped", true, text)
    }

    pub(super) fn claimed_before(job: &JobName, due_at: Timestamp) -> Self {
        let text = format!("the due time {due_at} was claimed before, it does not start a second run");
        Notice::new(job, "due_claimed", true, text)
    }

    pub(super) fn distrusted(job: &JobName, last_due: Timestamp) -> Self {
        let text = format!(
            "the state holds a due time far ahead, {last_due}: the clock must have been wrong then; due times begin anew from now"
        );
        Notice::new(job, "due_distrusted", true, text)
    }
}
