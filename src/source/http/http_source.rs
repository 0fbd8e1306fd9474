//! The source itself: a page is asked for until it is there or given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::HeaderMap;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::clock::Clock;
use crate::config::catalog::Job;
use crate::config::secret::SecretSource;
use crate::error::ErrorKind;
use crate::event::{Event, Events};
use crate::page::{Envelope, PageAt, PagePosition, RawPage, ResponsePath};
use crate::quota::{BudgetKey, Budgets};
use crate::slice::Slice;
use crate::stop::Stop;

use super::super::{FetchError, Judgement, Source};
use super::auth::Credentials;
use super::client;
use super::exchange::Exchange;
use super::failure::Failure;
use super::origin::OriginRule;
use super::paging::Pager;
use super::request::RequestPlan;
use super::resolver::{Lookup, SystemLookup};
use super::retry::{Attempts, Decision, backoff};
use super::status::Remedy;

/// One job's stream of an HTTP API.
pub struct HttpSource {
    plan: RequestPlan,
    pager: Pager,
    exchange: Exchange,
    attempts_max: u32,
}

impl HttpSource {
    /// Resolves secrets and builds the client; sends nothing. Errors are of kind config, or auth for a secret that is missing.
    pub fn open(
        job: &Job,
        secrets: &dyn SecretSource,
        budgets: &Budgets,
        clock: Arc<dyn Clock>,
        events: Events,
        stop: Stop,
    ) -> Result<HttpSource, FetchError> {
        HttpSource::open_with(job, secrets, budgets, Surroundings { clock, events, stop, lookup: Arc::new(SystemLookup) })
    }

    pub(super) fn open_with(
        job: &Job,
        secrets: &dyn SecretSource,
        budgets: &Budgets,
        around: Surroundings,
    ) -> Result<HttpSource, FetchError> {
        let source = &job.source;
        let in_source = |mut error: FetchError| {
            error.message = format!("source {}: {}", source.name, error.message);
            error
        };
        let origins = OriginRule::new(&source.base_url, &source.allow_hosts, source.allow_private)
            .map_err(|why| in_source(FetchError::new(ErrorKind::Config, why)))?;
        let credentials = Credentials::open(&source.auth, secrets).map_err(in_source)?;
        let host = source.base_url.host_str().unwrap_or_default().to_owned();
        let budget = budgets.get(BudgetKey { credential: credentials.fingerprint().to_owned(), host }, &source.limits);
        let plan = RequestPlan::new(job).map_err(in_source)?;
        let exchange = Exchange {
            job: job.name.clone(),
            client: client::client(source, around.lookup).map_err(in_source)?,
            origins,
            credentials,
            budget,
            body_max: source.body_max,
            clock: around.clock,
            events: around.events,
            stop: around.stop,
            requests: AtomicU64::new(0),
        };
        // One set's address that cannot be written is no reason to leave the others unread.
        if !job.is_for_each() {
            plan.check().map_err(in_source)?;
        }
        let pager = Pager::new(job.stream.paging.clone());
        Ok(HttpSource { plan, pager, exchange, attempts_max: source.attempts_max })
    }

    async fn wait(&self, length: Duration) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = self.exchange.stop.wait() => Err(Failure::cancelled()),
            () = self.exchange.clock.sleep(length) => Ok(()),
        }
    }

    fn tell(&self, failure: &Failure, after: Duration, attempt: u32) {
        let (job, reason) = (self.exchange.job.clone(), failure.error.message.clone());
        self.exchange.events.tell(match failure.remedy {
            Remedy::Wait(_) => Event::Waiting { job, reason, length: after },
            Remedy::Retry | Remedy::None => Event::Retrying { job, reason, attempt, length: after },
        });
    }

    /// The error of a page that is given up.
    fn give_up(&self, failure: Failure, attempts: &Attempts) -> FetchError {
        let mut error = failure.error;
        if let Remedy::Wait(length) = failure.remedy {
            error.kind = ErrorKind::Throttled { retry_at: later(self.exchange.clock.now(), length) };
            error.message = format!("{}; it wants no request for {} s", error.message, length.as_secs());
        }
        if attempts.made() > 1 {
            error.message = format!("{}; given up after {} attempts", error.message, attempts.made());
        }
        error
    }
}

/// What a source is given of the world around it.
pub(super) struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub events: Events,
    pub stop: Stop,
    pub lookup: Arc<dyn Lookup>,
}

#[async_trait]
impl Source for HttpSource {
    async fn fetch(&self, slice: &Slice, at: &PagePosition, attempt: u32) -> Result<RawPage, FetchError> {
        let request = self.plan.request(&self.pager, &self.exchange.origins, slice, at)?;
        if attempt > 1 {
            // The page was cut off or damaged: the caller asks again, which is a retry like any other.
            self.wait(backoff(attempt - 2, self.exchange.clock.fraction())).await.map_err(|failure| failure.error)?;
        }
        let mut attempts = Attempts::new(self.attempts_max, attempt);
        loop {
            let mut failure = match self.exchange.attempt(&request, at).await {
                Ok(page) => return Ok(page),
                Err(failure) => failure,
            };
            // A redirect's path can echo a secret as well as a body can.
            failure.error.message = self.exchange.credentials.redactor().clean(&failure.error.message);
            match attempts.decide(failure.remedy, self.exchange.clock.fraction()) {
                Decision::GiveUp => return Err(self.give_up(failure, &attempts)),
                Decision::Again { after, attempt } => {
                    self.tell(&failure, after, attempt);
                    self.wait(after).await.map_err(|stopped| stopped.error)?;
                }
            }
        }
    }

    fn requests(&self) -> u64 {
        self.exchange.requests.load(Ordering::Relaxed)
    }

    fn wanted(&self) -> Vec<ResponsePath> {
        self.pager.wanted()
    }

    /// Nothing is declared yet by which an error with a status of success could be told; what is no list of records at all, the
    /// decoder refuses.
    fn judge(&self, _envelope: &Envelope) -> Judgement {
        Judgement::Records
    }

    fn next(
        &self,
        slice: &Slice,
        at: &PagePosition,
        envelope: &Envelope,
        headers: &HeaderMap,
    ) -> Result<Option<PagePosition>, FetchError> {
        let address = match &at.at {
            PageAt::Url(address) => Url::parse(address).ok(),
            PageAt::Start | PageAt::Number(_) | PageAt::Token(_) => None,
        };
        // What relative links of a first page are relative to.
        let address = match address {
            Some(address) => address,
            None => self.plan.stream_address(slice)?,
        };
        self.pager.next(at, envelope, headers, &address, &self.exchange.origins)
    }
}

fn later(now: Timestamp, length: Duration) -> Option<Timestamp> {
    now.checked_add(SignedDuration::try_from(length).ok()?).ok()
}
