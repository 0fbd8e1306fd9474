//! How long requests would take that are not sent yet: the account's own rules over a time that is only reckoned.

use std::time::Duration;

use super::account::{Account, Outcome};
use super::budget::Budget;
use super::claim::Claim;
use super::told::Told;

/// So many requests are gone through one by one; what comes beyond is reckoned at the pace of their second half.
const REQUESTS_MAX: u64 = 200_000;
/// An end beyond this is no plan: about a century.
const LENGTH_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What a number of requests means for an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Until the last answer is there.
    pub length: Duration,
    /// How much of that is waiting for limits.
    pub waiting: Duration,
}

impl Budget {
    /// How long `requests` requests of a claim take, one after the other, each answered after `latency`, begun now with nothing
    /// else going on.
    pub fn forecast(&self, claim: &Claim, requests: u64, latency: Duration) -> Forecast {
        reckon(self.account(), claim, requests, latency, self.now())
    }
}

/// The same, of an account and a moment.
pub(super) fn reckon(mut account: Account, claim: &Claim, requests: u64, latency: Duration, began: Duration) -> Forecast {
    let stepwise = requests.min(REQUESTS_MAX);
    let (mut now, mut waiting, mut half) = (began, Duration::ZERO, began);
    account.set_going();
    for request in 0..stepwise {
        if request == stepwise / 2 {
            half = now;
        }
        // Ends: every wait leads to a moment that is later.
        while let Err(blocked) = account.ask(claim, false, now) {
            let until = blocked.at.unwrap_or(now).max(now + Duration::from_nanos(1));
            waiting += until - now;
            now = until;
            if now > began + LENGTH_MAX {
                return Forecast { length: LENGTH_MAX, waiting };
            }
        }
        let number = account.send(claim, false, now);
        now += latency;
        account.answered(number, Outcome::Answered, &Told::default(), now, 0.5);
        account.landed(number, now);
    }
    let mut length = now - began;
    if requests > stepwise {
        let pace = (now - half).as_secs_f64() / (stepwise - stepwise / 2) as f64;
        let more = Duration::try_from_secs_f64(pace * (requests - stepwise) as f64).unwrap_or(LENGTH_MAX);
        length = length.saturating_add(more).min(LENGTH_MAX);
        waiting = waiting.saturating_add(more.saturating_sub(latency * u32::try_from(requests - stepwise).unwrap_or(u32::MAX)));
    }
    Forecast { length, waiting }
}
