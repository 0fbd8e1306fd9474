//! The way to whoever gives tokens out: through the source's own client and its guard of names, with a shorter time and a small body,
//! without redirects, and tried again as pages are.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;
use jiff::SignedDuration;
use url::Url;

use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::event::{Event, Events};
use crate::ids::JobName;
use crate::outbound::retry_after;
use crate::source::FetchError;
use crate::stop::Stop;

use super::super::body::{BodyError, read_all};
use super::super::failure::Failure;
use super::super::gunzip::gunzipped;
use super::super::origin::{OriginRule, without_query};
use super::super::retry::{Attempts, Decision};
use super::super::status::Remedy;
use super::super::transport::Transport;
use super::denial::Denial;

/// Whoever gives tokens out answers within this, or does not.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
const BODY_MAX: u64 = 64 * 1024;
/// Who is asked for more patience comes again later: many may wait for this answer.
const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// What it takes to ask.
#[derive(Clone)]
pub(in super::super) struct Line {
    pub(in super::super) transport: Transport,
    pub(in super::super) origins: OriginRule,
    pub(in super::super) timeout: Duration,
    pub(in super::super) attempts_max: u32,
    pub(in super::super) clock: Arc<dyn Clock>,
    pub(in super::super) job: JobName,
    pub(in super::super) events: Events,
    pub(in super::super) stop: Stop,
}

/// A request for a token. Its headers and body hold secrets.
pub(super) struct Post {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A whole answer, whatever its status.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Line {
    /// Whether tokens may be asked for there.
    pub(super) fn check(&self, url: &Url) -> Result<(), FetchError> {
        self.origins.check_token_url(url).map_err(|why| FetchError::new(ErrorKind::Config, format!("auth: {why}")))
    }

    /// Asks until there is an answer that `read` makes something of. `make` makes each attempt's request anew; `read` says of a
    /// denial whether the same request may work later.
    pub(super) async fn ask<T>(
        &self,
        make: impl Fn() -> Result<Post, Denial>,
        read: impl Fn(&Reply) -> Result<T, (Denial, Remedy)>,
    ) -> Result<T, Denial> {
        let mut attempts = Attempts::new(self.attempts_max, 1);
        loop {
            let (denial, mut remedy, patience) = match self.send(make()?).await {
                Ok(reply) => match read(&reply) {
                    Ok(found) => return Ok(found),
                    Err((denial, remedy)) => (denial, remedy, retry_after::patience(&reply.headers, self.clock.now())),
                },
                Err((denial, remedy)) => (denial, remedy, None),
            };
            if let (Remedy::Retry, Some(patience)) = (remedy, patience.filter(|patience| !patience.is_zero())) {
                if patience > PATIENCE_MAX {
                    let retry_at =
                        SignedDuration::try_from(patience).ok().and_then(|wait| self.clock.now().checked_add(wait).ok());
                    let message = format!("{}; it wants no request for {} s", denial.message, patience.as_secs());
                    return Err(Denial::new(ErrorKind::Throttled { retry_at }, message));
                }
                remedy = Remedy::Wait(patience);
            }
            match attempts.decide(remedy, false, self.clock.fraction()) {
                Decision::GiveUp => return Err(given_up(denial, attempts.made())),
                Decision::Again { after, attempt } => {
                    let (job, reason) = (self.job.clone(), denial.message);
                    self.events.tell(Event::Retrying { job, reason, attempt, length: after });
                    self.wait(after).await?;
                }
            }
        }
    }

    pub(super) async fn wait(&self, length: Duration) -> Result<(), Denial> {
        tokio::select! {
            biased;
            () = self.stop.wait() => Err(Denial::new(ErrorKind::Cancelled, "stop was asked for")),
            () = self.clock.sleep(length) => Ok(()),
        }
    }

    /// One attempt, to the last byte of its body.
    async fn send(&self, post: Post) -> Result<Reply, (Denial, Remedy)> {
        let Post { method, url, headers, body } = post;
        // Templates can make an address, so the rule holds for each.
        self.origins.check_token_url(&url).map_err(|why| (Denial::new(ErrorKind::Config, why), Remedy::None))?;
        let failed = |error: reqwest::Error| {
            let failure = Failure::transport(&url, error);
            (Denial::new(failure.error.kind, crate::error::chain(&failure.error)), failure.remedy)
        };
        let client = self.transport.client().map_err(|error| (Denial::new(error.kind, error.message), Remedy::None))?;
        let request = client.request(method, url.clone()).headers(headers).body(body);
        let response = request.timeout(self.timeout.min(TIMEOUT_MAX)).send().await.map_err(failed)?;
        let response = gunzipped(response);
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_all(response, BODY_MAX).await.map_err(|error| match error {
            BodyError::TooLarge => {
                let message = format!("{} answered {status} with more than `{BODY_MAX}` bytes", without_query(&url));
                (Denial::new(ErrorKind::Data, message), Remedy::None)
            }
            BodyError::Broken(error) => failed(error),
        })?;
        Ok(Reply { status, headers, body })
    }
}

fn given_up(denial: Denial, made: u32) -> Denial {
    match made {
        0 | 1 => denial,
        made => Denial::new(denial.kind, format!("{}; given up after {made} attempts", denial.message)),
    }
}
