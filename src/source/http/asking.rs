//! One request, attempt after attempt, until there is an answer or it is given up.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::error::ErrorKind;
use crate::event::Event;
use crate::page::{PagePosition, RawPage, Receipt};
use crate::quota::Claim;

use super::super::FetchError;
use super::failure::Failure;
use super::http_source::HttpSource;
use super::request::Request;
use super::retry::{Attempts, Decision};
use super::status::Remedy;

impl HttpSource {
    pub(super) async fn wait(&self, length: Duration) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = self.exchange.stop.wait() => Err(Failure::cancelled()),
            () = self.exchange.clock.sleep(length) => Ok(()),
        }
    }

    /// Asks until there is an answer, or it is given up. `attempt` counts from 1 how often the caller asks for this.
    pub(super) async fn ask(
        &self,
        request: &Request,
        at: &PagePosition,
        claim: &Arc<Claim>,
        attempt: u32,
    ) -> Result<RawPage, FetchError> {
        if attempt == 1 {
            self.exchange.budget.note_first_attempt();
        }
        let mut attempts = Attempts::new(self.attempts_max, attempt);
        let mut refused: Option<String> = None;
        let mut renewed = false;
        loop {
            let answer = self.exchange.attempt(request, at, claim).await;
            self.exchange.budget.settle().await;
            let mut failure = match answer {
                Ok(page) => {
                    self.charge_header(claim, &page);
                    return Ok(RawPage { receipt: Receipt::of(Arc::clone(claim)), ..page });
                }
                Err(failure) => failure,
            };
            // A redirect's path can echo a secret as well as a body can.
            failure.error.message = self.exchange.credentials.redactor().clean(&failure.error.message);
            if let (Some(before), ErrorKind::Throttled { retry_at: Some(_) }) = (&refused, failure.error.kind) {
                // The budget sends the job away; why it has to, the source has said.
                failure.error.message = format!("{before}; {}", failure.error.message);
            }
            refused = Some(failure.error.message.clone());
            if let (Remedy::Renew, Some(shown)) = (failure.remedy, failure.shown) {
                if renewed {
                    let name = self.exchange.credentials.name();
                    failure.error.message.push_str(&format!("; the token of {name} was renewed, and that one is refused too"));
                    return Err(self.give_up(failure, &attempts));
                }
                self.exchange.credentials.renew(shown).await.map_err(|error| after_refusal(error, &failure))?;
                renewed = true;
                continue;
            }
            match attempts.decide(failure.remedy, failure.paused, self.exchange.clock.fraction()) {
                Decision::GiveUp => return Err(self.give_up(failure, &attempts)),
                Decision::Again { .. } if failure.remedy == Remedy::Retry && !self.exchange.budget.may_retry() => {
                    failure.error.message.push_str("; the retries that all jobs of this credential share are used up");
                    return Err(self.give_up(failure, &attempts));
                }
                Decision::Again { after, attempt } => {
                    self.tell(&failure, after, attempt);
                    if !after.is_zero() {
                        self.wait(after).await.map_err(|stopped| stopped.error)?;
                    }
                }
            }
        }
    }

    fn tell(&self, failure: &Failure, after: Duration, attempt: u32) {
        let (job, reason) = (self.exchange.job.clone(), failure.error.message.clone());
        self.exchange.events.tell(match failure.remedy {
            Remedy::Wait(length) => Event::Waiting { job, reason, length: length.max(after) },
            Remedy::Retry | Remedy::Renew | Remedy::None => Event::Retrying { job, reason, attempt, length: after },
        });
    }

    /// Says which of many secrets it is that somebody has to renew.
    pub(super) fn name_secret(&self, message: &mut String) {
        match self.exchange.credentials.name() {
            "" => message.push_str("; the source has no `auth`"),
            name if name.split(", ").any(|reference| message.contains(reference)) => {}
            name => message.push_str(&format!("; the credential is {name}")),
        }
    }

    /// The error of a page that is given up.
    fn give_up(&self, failure: Failure, attempts: &Attempts) -> FetchError {
        let mut error = failure.error;
        if let Remedy::Wait(length) = failure.remedy {
            error.kind = ErrorKind::Throttled { retry_at: later(self.exchange.clock.now(), length) };
            error.message = format!("{}; it wants no request for {} s", error.message, length.as_secs());
        }
        if error.kind == ErrorKind::Auth {
            self.name_secret(&mut error.message);
        }
        if attempts.made() > 1 {
            error.message = format!("{}; given up after {} attempts", error.message, attempts.made());
        }
        error
    }
}

/// The error of a token that could not be renewed after a page was refused.
fn after_refusal(mut error: FetchError, refused: &Failure) -> FetchError {
    error.message = format!("{}; renewing the token: {}", refused.error.message, error.message);
    error
}

fn later(now: Timestamp, length: Duration) -> Option<Timestamp> {
    now.checked_add(SignedDuration::try_from(length).ok()?).ok()
}
