//! Whether an answer refuses its request for a limit's sake, and for how long: what all dialects have in common.
//!
//! `Retry-After` wins over everything else that an answer says of time: RFC 9110 section 10.2.3 has it mean just this, and
//! draft-ietf-httpapi-ratelimit-headers-11 demands it. Without it, the longest reset of what is spent counts.

use std::time::Duration;

use crate::outbound::retry_after::{PATIENCE_MAX, patience};
use crate::quota::told::{Refusal, RefusalCause, ToldLimit, ToldShape};

use super::answer::Answer;
use super::short;

/// A quota of so long a window does not come back while anybody waits for it.
const SPENT_FROM: Duration = Duration::from_secs(12 * 3600);

/// A dialect's refusal comes with the least patience that its vendor asks for where it names none.
pub(super) fn find(
    answer: &Answer<'_>,
    limits: &[ToldLimit],
    dialects: &[fn(&Answer<'_>) -> Option<Refusal>],
) -> Option<Refusal> {
    let status = answer.status.as_u16();
    if status < 400 {
        return None;
    }
    let asked = patience(answer.headers, answer.now);
    let spent = longest_spent(limits);
    let known = dialects.iter().find_map(|dialect| dialect(answer));
    let mut refusal = known.or_else(|| plain(status, asked, spent))?;
    let reset = spent.and_then(reset).filter(|_| refusal.cause != RefusalCause::Overload);
    refusal.limit = short(&refusal.limit);
    refusal.patience = asked.or(refusal.patience.max(reset)).map(|length| length.min(PATIENCE_MAX));
    Some(refusal)
}

/// A refusal that no dialect knows for its own.
fn plain(status: u16, asked: Option<Duration>, spent: Option<&ToldLimit>) -> Option<Refusal> {
    let cause = match (status, asked, spent) {
        // An API may refuse by 403 what others refuse by 429, and says then when to come back; a plain 403 is final.
        (429, ..) | (403, Some(_), _) | (403, _, Some(_)) => match spent.and_then(per) {
            Some(per) if per >= SPENT_FROM => RefusalCause::Spent,
            _ => RefusalCause::Rate,
        },
        (503 | 529, ..) => RefusalCause::Overload,
        (408 | 425 | 500 | 502 | 504 | 520..=524, Some(_), _) => RefusalCause::Overload,
        _ => return None,
    };
    let limit = spent.filter(|_| cause != RefusalCause::Overload).map(|spent| spent.name.clone());
    Some(Refusal { cause, patience: None, limit: limit.unwrap_or_default() })
}

/// Of the limits that have nothing left, the one that lasts longest: before it has passed nothing goes out.
fn longest_spent(limits: &[ToldLimit]) -> Option<&ToldLimit> {
    let spent = limits.iter().filter(|limit| limit.left == Some(0) && limit.shape != ToldShape::Concurrency);
    spent.max_by_key(|limit| (reset(limit), per(limit)))
}

/// When something is there again.
fn reset(limit: &ToldLimit) -> Option<Duration> {
    match limit.shape {
        ToldShape::Window { reset, .. } => reset,
        ToldShape::Bucket { per_second } | ToldShape::Points { per_second } => Duration::try_from_secs_f64(1.0 / per_second).ok(),
        ToldShape::Concurrency => None,
    }
}

fn per(limit: &ToldLimit) -> Option<Duration> {
    match limit.shape {
        ToldShape::Window { per, .. } => per,
        _ => None,
    }
}
