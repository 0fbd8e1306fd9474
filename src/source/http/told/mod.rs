//! What an answer says of its API's limits, in whichever dialect; pure.
//!
//! One file for each dialect, a standard's or a vendor's: where its headers are found, and which bodies it refuses with. None of
//! them needs to be configured: each knows its own by their names. `refusal` says what is common to all refusals, `number` reads
//! counts and moments. A new dialect is one file and one line in `LIMITS` or `REFUSALS`.
//!
//! What cannot be read counts as not said. Whatever comes out is bounded, so that no answer can make us count, remember or wait
//! for more than `bounded` allows.
//!
//! Absent on purpose: Slack, which says no more than `Retry-After` (its limits are per method: a matter of `limits.groups`), and
//! refusals inside a status of success, which only the body's reader sees.

mod answer;
mod github;
mod google;
mod hubspot;
mod ietf;
mod number;
mod refusal;
mod salesforce;
mod shopify;
mod stripe;
mod x_ratelimit;

#[cfg(test)]
mod tests;

use std::time::Duration;

use ::http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use crate::quota::told::{Refusal, Told, ToldLimit, ToldShape};

use answer::Answer;

pub(super) use shopify::{points, points_paths, refill, requested_path};

/// No API counts further; what says it does means no limit.
const SIZE_MAX: u64 = 1_000_000_000_000;
/// The longest month, and a day for zones.
const LENGTH_MAX: Duration = Duration::from_secs(32 * 24 * 3600);
const LIMITS_MAX: usize = 16;
/// Longest name of a limit, characters.
const NAME_MAX: usize = 100;

/// The dialects of headers. An earlier one wins where two tell of a limit of one name.
const LIMITS: [fn(&Answer<'_>) -> Vec<ToldLimit>; 5] =
    [shopify::limits, hubspot::limits, salesforce::limits, ietf::limits, x_ratelimit::limits];

/// The dialects of refusals. The first that knows its own wins.
const REFUSALS: [fn(&Answer<'_>) -> Option<Refusal>; 5] =
    [github::refusal, google::refusal, hubspot::refusal, salesforce::refusal, stripe::refusal];

/// What an answer says. `body_start` is the beginning of an error's body, empty for others; `now` stands in where the answer has
/// no `Date`.
pub(super) fn read(status: StatusCode, headers: &HeaderMap, body_start: &[u8], now: Timestamp) -> Told {
    let answer = Answer::new(status, headers, body_start, now);
    let mut limits: Vec<ToldLimit> = Vec::new();
    // What a cache kept is what was left when somebody else asked.
    if !answer.is_from_cache() {
        for dialect in LIMITS {
            for limit in dialect(&answer).into_iter().filter_map(bounded) {
                add(&mut limits, limit);
            }
        }
    }
    let refusal = refusal::find(&answer, &limits, &REFUSALS);
    Told { limits, refusal }
}

/// Two dialects often tell of the same limit, and each may lack what the other says.
fn add(limits: &mut Vec<ToldLimit>, limit: ToldLimit) {
    match limits.iter().position(|known| known.name == limit.name) {
        Some(place) => complete(&mut limits[place], &limit),
        None if limits.len() < LIMITS_MAX => limits.push(limit),
        None => {}
    }
}

fn complete(known: &mut ToldLimit, other: &ToldLimit) {
    let same = known.size.is_none() || other.size.is_none() || known.size == other.size;
    if let (true, ToldShape::Window { per, reset }, ToldShape::Window { per: other_per, reset: other_reset }) =
        (same, &mut known.shape, other.shape)
    {
        *per = per.or(other_per);
        *reset = reset.or(other_reset);
        known.size = known.size.or(other.size);
        known.left = known.left.or(other.left).map(|left| left.min(known.size.unwrap_or(SIZE_MAX)));
    }
}

/// The limit within its bounds; `None` where it says nothing that could be kept.
fn bounded(limit: ToldLimit) -> Option<ToldLimit> {
    let length = |length: Duration| length.min(LENGTH_MAX);
    let shape = match limit.shape {
        ToldShape::Window { per, reset } => {
            ToldShape::Window { per: per.filter(|per| !per.is_zero()).map(length), reset: reset.map(length) }
        }
        ToldShape::Bucket { per_second } => ToldShape::Bucket { per_second: rate(per_second)? },
        ToldShape::Points { per_second } => ToldShape::Points { per_second: rate(per_second)? },
        ToldShape::Concurrency => ToldShape::Concurrency,
    };
    // A limit that says neither is none.
    limit.size.or(limit.left)?;
    let size = limit.size.map(|size| size.min(SIZE_MAX));
    let left = limit.left.map(|left| left.min(size.unwrap_or(SIZE_MAX)));
    Some(ToldLimit { name: short(&limit.name.to_lowercase()), size, left, shape })
}

fn short(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect()
}

fn rate(per_second: f64) -> Option<f64> {
    (per_second.is_finite() && per_second > 0.0).then(|| per_second.min(SIZE_MAX as f64))
}
