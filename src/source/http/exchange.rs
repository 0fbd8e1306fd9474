//! One attempt: a request through its budget, along its redirects, to the last byte of the body.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::header::{CONTENT_ENCODING, DATE, IF_MODIFIED_SINCE, IF_NONE_MATCH, LOCATION};
use ::http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use reqwest::Response;
use url::Url;

use crate::clock::Clock;
use crate::config::catalog::Then;
use crate::error::ErrorKind;
use crate::event::{Event, Events};
use crate::ids::JobName;
use crate::outbound::http_date;
use crate::outbound::retry_after::patience;
use crate::page::{Aside, PageAt, PagePosition, RawPage};
use crate::quota::told::Told;
use crate::quota::{Budget, Claim, Outcome, Permit};
use crate::stop::Stop;

use super::asked;
use super::auth::{Credentials, Unsigned};
use super::body::{BodyError, read_all, read_start};
use super::failure::Failure;
use super::origin::{OriginRule, Standing, without_query};
use super::request::Request;
use super::retry::WAIT_MAX;
use super::rules::{self, Rules};
use super::status::{Remedy, judge};
use super::told;
use super::transport::{Sending, TakenDown, Transport};

const REDIRECTS_MAX: usize = 5;
/// So much of an error's body is read for its message.
const ERROR_BODY_MAX: usize = 8 * 1024;
/// Shorter waits are the normal pace of a limit and not worth an event each.
const WAIT_TOLD: Duration = Duration::from_secs(1);

/// Sends requests of one source.
pub(super) struct Exchange {
    pub(super) job: JobName,
    pub(super) transport: Transport,
    pub(super) origins: OriginRule,
    pub(super) credentials: Credentials,
    pub(super) budget: Arc<Budget>,
    pub(super) body_max: u64,
    pub(super) rules: Rules,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Events,
    pub(super) stop: Stop,
    pub(super) requests: AtomicU64,
}

/// The answer at the end of the redirects.
struct Arrived {
    response: Response,
    url: Url,
    standing: Standing,
    /// The token that it was asked with.
    shown: Option<u64>,
    /// Of every request on the way, the last one's last; held until the body is read: an API counts a request as under way for as
    /// long as it sends.
    permits: Vec<Permit>,
}

impl Exchange {
    /// One attempt at a page.
    pub(super) async fn attempt(&self, request: &Request, at: &PagePosition, claim: &Arc<Claim>) -> Result<RawPage, Failure> {
        // A token that has to be asked for is waited for here: a permit is meant to be used at once.
        self.credentials.proof().await?;
        let waiting = |why: &str, length| self.tell_waiting(why, length);
        let permit = self.budget.take(Arc::clone(claim), &self.stop, &waiting).await;
        let permit = permit.map_err(|refused| Failure::refused(refused, self.clock.now()))?;
        let arrived = self.follow(request, permit).await?;
        if !arrived.response.status().is_success() {
            return self.explain(request, arrived, at).await;
        }
        self.page(request, arrived, at).await
    }

    /// Waits until the request that a redirect leads to may be sent.
    async fn go_on(&self, permit: &Permit) -> Result<Permit, Failure> {
        let waiting = |why: &str, length| self.tell_waiting(why, length);
        permit.go_on(&self.stop, &waiting).await.map_err(|refused| Failure::refused(refused, self.clock.now()))
    }

    fn tell_waiting(&self, why: &str, length: Duration) {
        if length >= WAIT_TOLD {
            self.events.tell(Event::Waiting { job: self.job.clone(), reason: why.to_owned(), length });
        }
    }

    /// Sends the request and follows where it leads. Once the way has left the origin, credentials and headers stay off, even if it
    /// comes back: whoever sent us around wrote the address that we come back to.
    async fn follow(&self, request: &Request, permit: Permit) -> Result<Arrived, Failure> {
        let mut url = request.url.clone();
        let mut standing = request.standing;
        let mut permits = vec![permit];
        for hop in 0..=REDIRECTS_MAX {
            if hop > 0
                && standing == Standing::Own
                && let Some(last) = permits.last()
            {
                let next = self.go_on(last).await?;
                permits.push(next);
            }
            let permit = permits.last().filter(|_| standing == Standing::Own || hop == 0);
            let (response, shown) = self.send(request, &url, standing, permit).await?;
            let Some(location) = location(&response) else { return Ok(Arrived { response, url, standing, shown, permits }) };
            let status = response.status();
            if request.method != Method::GET && request.method != Method::HEAD && !matches!(status.as_u16(), 307 | 308) {
                let message = format!(
                    "{} answered {status}: a redirect of {} would change the request",
                    without_query(&url),
                    request.method
                );
                return Err(Failure::last(ErrorKind::Config, message));
            }
            if request.payload.is_some() && self.origins.follow(&url, &location).is_ok_and(|(_, to)| to != Standing::Own) {
                let message =
                    format!("{} redirects a request with a body to another host, which is refused", without_query(&url));
                return Err(Failure::last(ErrorKind::Config, message));
            }
            let (next, next_standing) = self.origins.follow(&url, &location).map_err(|why| {
                Failure::last(ErrorKind::Config, format!("{} redirects, which is refused: {why}", without_query(&url)))
            })?;
            url = next;
            if next_standing == Standing::Allowed {
                standing = Standing::Allowed;
            }
            self.heed(&url, patience(response.headers(), self.clock.now()).unwrap_or_default()).await?;
        }
        let message = format!("{} redirects more than `{REDIRECTS_MAX}` times", without_query(&request.url));
        Err(Failure::last(ErrorKind::Data, message))
    }

    /// Waits for as long as a redirect asks before it is followed (RFC 9110 section 10.2.3).
    async fn heed(&self, to: &Url, length: Duration) -> Result<(), Failure> {
        if length > WAIT_MAX {
            let message = format!("a redirect to {} is not to be followed yet", without_query(to));
            let failure = Failure::last(ErrorKind::Throttled { retry_at: None }, message);
            return Err(Failure { remedy: Remedy::Wait(length), ..failure });
        }
        if length.is_zero() {
            return Ok(());
        }
        self.tell_waiting("the source asked for patience before it is asked where it leads to", length);
        tokio::select! {
            biased;
            () = self.stop.wait() => Err(Failure::cancelled()),
            () = self.clock.sleep(length) => Ok(()),
        }
    }

    /// Sends one request; also tells the token that it showed.
    async fn send(
        &self,
        request: &Request,
        url: &Url,
        standing: Standing,
        permit: Option<&Permit>,
    ) -> Result<(Response, Option<u64>), Failure> {
        let mut target = url.clone();
        let mut plain = if standing == Standing::Own { request.headers.clone() } else { HeaderMap::new() };
        // What was answered before was so at one address: where another one is come to, it says nothing.
        if request.is_conditional && *url != request.url {
            plain.remove(IF_NONE_MATCH);
            plain.remove(IF_MODIFIED_SINCE);
        }
        let mut headers = plain.clone();
        let mut shown = None;
        if standing == Standing::Own {
            let proof = self.credentials.proof().await?;
            let body = request.payload.as_ref().map_or(&[][..], |payload| &payload.bytes);
            let unsigned = Unsigned { method: &request.method, url: &mut target, headers: &mut headers, body };
            self.credentials.apply(&proof, unsigned)?;
            shown = proof.serial;
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            let address = asked::address(url, standing, self.credentials.redactor());
            tracing::debug!(job.id = %self.job, "{}: {} {address}", self.job, request.method);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.events.tell(Event::RequestSent { job: self.job.clone() });
        let sending = Sending { request, url, plain: &plain, target, headers, body_max: self.body_max };
        let sent = self.transport.send(sending, self.credentials.redactor(), &*self.clock).await;
        if let Some(permit) = permit {
            // Before the body is read: every request that another job sends meanwhile would be one too many.
            match &sent {
                Ok(response) if standing == Standing::Own => {
                    permit.answered(outcome(response.status()), &self.told(response.status(), response.headers(), &[]));
                }
                // Another host's limits are none of the budget's.
                Ok(_) => permit.answered(Outcome::Unclear, &Told::default()),
                Err(error) if error.is_timeout() => permit.answered(Outcome::TimedOut, &Told::default()),
                Err(_) => permit.answered(Outcome::Failed, &Told::default()),
            }
        }
        sent.map(|response| (response, shown)).map_err(|error| error.explain(url))
    }

    /// What a status that is no success means: a failure, or nothing where a rule says so.
    async fn explain(&self, request: &Request, arrived: Arrived, at: &PagePosition) -> Result<RawPage, Failure> {
        let Arrived { response, url, standing, shown, permits } = arrived;
        let status = response.status();
        let headers = response.headers().clone();
        if status == StatusCode::NOT_MODIFIED && request.is_conditional {
            return Ok(RawPage { status: status.as_u16(), ..self.nothing(&url, &headers, at) });
        }
        let start = read_start(response, ERROR_BODY_MAX).await;
        let told = self.told(status, &headers, &start);
        let (mut kind, remedy) = judge(status, told.refusal.as_ref());
        if let (Some(permit), Standing::Own) = (permits.last(), standing) {
            permit.explained(&told);
        }
        let mut message = format!("{} {} answered {status}", request.method, without_query(&url));
        if matches!(status.as_u16(), 400 | 404 | 410 | 422) && matches!(at.at, PageAt::Token(_) | PageAt::Url(_)) {
            // The first page was fine, so it is not the files that are wrong; the slice begins anew with fresh tokens.
            kind = ErrorKind::Unavailable;
            message.push_str(" in the middle of paging, its place there may have expired");
        }
        if request.by_token && matches!(status.as_u16(), 400 | 404 | 409 | 410 | 422) {
            kind = ErrorKind::Data;
            let job = &self.job;
            message.push_str(&format!(
                " to the token of the last run, which may have expired; `highwater run {job} --full` reads everything anew"
            ));
        }
        if let Some(excerpt) = self.credentials.redactor().excerpt(&start) {
            message = format!("{message}: {excerpt}");
        }
        let rule = self.rules.of_failure(status, &headers, &start);
        if let Some(rule) = rule
            && rule.skips()
        {
            return Ok(self.nothing(&url, &headers, at));
        }
        if let Some(rule) = rule
            && rule.then == Then::DeadLetter
        {
            return Ok(self.aside(request, (status, &headers), &start, at, rule.explain(message)));
        }
        message.push_str(&asked::told(request, &url, self.credentials.redactor()));
        let mut failure = Failure::last(kind, message);
        failure.error.status = Some(status.as_u16());
        failure.remedy = remedy;
        failure.shown = shown;
        failure.paused = standing == Standing::Own && told.refusal.is_some_and(|refusal| refusal.patience.is_some());
        Err(match rule {
            Some(rule) => failure.under(rule),
            None => failure,
        })
    }

    /// The page of an answer that counts as none.
    fn nothing(&self, url: &Url, headers: &HeaderMap, at: &PagePosition) -> RawPage {
        let address = self.credentials.redactor().clean(&without_query(url));
        RawPage { position: at.clone(), received_at: self.clock.now(), source_now: date(headers), address, ..RawPage::nothing() }
    }

    /// The page of an answer that counts as none and is kept among the dead letters.
    fn aside(
        &self,
        request: &Request,
        (status, headers): (StatusCode, &HeaderMap),
        start: &[u8],
        at: &PagePosition,
        why: String,
    ) -> RawPage {
        let redactor = self.credentials.redactor();
        let reason = redactor.clean(&rules::aside(why));
        tracing::warn!(job.id = %self.job, "{reason}");
        // What another host was asked may let in whoever has it.
        let address = if request.standing == Standing::Own { request.url.to_string() } else { without_query(&request.url) };
        let aside = Aside {
            reason,
            request: redactor.clean(&format!("{} {address}", request.method)),
            status: status.as_u16(),
            body: redactor.excerpt(start).unwrap_or_default(),
        };
        RawPage { aside: Some(Arc::new(aside)), ..self.nothing(&request.url, headers, at) }
    }

    fn told(&self, status: StatusCode, headers: &HeaderMap, body_start: &[u8]) -> Told {
        told::read(status, headers, body_start, self.clock.now())
    }

    async fn page(&self, request: &Request, arrived: Arrived, at: &PagePosition) -> Result<RawPage, Failure> {
        let Arrived { response, url, shown, permits: _permits, .. } = arrived;
        let address = self.credentials.redactor().clean(&without_query(&url));
        let (status, headers) = (response.status(), response.headers().clone());
        let taken_down = response.extensions().get::<TakenDown>().copied();
        // What the transport knows how to unpack it has taken off.
        if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
            let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
            let message = format!("{address} answers in a content encoding that is not understood: `{encoding}`");
            return Err(Failure::last(ErrorKind::Data, message));
        }
        let body = read_all(response, self.body_max).await.map_err(|error| match error {
            BodyError::TooLarge => {
                let message = format!(
                    "{address}: the body is larger than body_max, ask for smaller pages or raise it: `{}`",
                    self.body_max
                );
                Failure::last(ErrorKind::Config, message)
            }
            BodyError::Broken(error) => Failure::transport(&url, error),
        })?;
        match self.rules.of_success(status, &headers, &body) {
            Some(rule) if rule.skips() => return Ok(self.nothing(&url, &headers, at)),
            Some(rule) => {
                let mut message = format!("{} {address} answered {status} with an error", request.method);
                if let Some(excerpt) = self.credentials.redactor().excerpt(&body[..body.len().min(ERROR_BODY_MAX)]) {
                    message = format!("{message}: {excerpt}");
                }
                if rule.then == Then::DeadLetter {
                    let start = &body[..body.len().min(ERROR_BODY_MAX)];
                    return Ok(self.aside(request, (status, &headers), start, at, rule.explain(message)));
                }
                message.push_str(&asked::told(request, &url, self.credentials.redactor()));
                // Where the rule has the token renewed, it is this one.
                return Err(Failure { shown, ..Failure::last(ErrorKind::Data, message) }.under(rule));
            }
            None => {}
        }
        let (status, source_now) = (status.as_u16(), date(&headers));
        Ok(RawPage {
            position: at.clone(),
            status,
            headers,
            body,
            received_at: taken_down.map_or_else(|| self.clock.now(), |TakenDown(at)| at),
            source_now,
            address,
            ..RawPage::nothing()
        })
    }
}

/// What a status means to whoever watches whether the source is well.
fn outcome(status: StatusCode) -> Outcome {
    match status.as_u16() {
        408 | 500..=599 => Outcome::Failed,
        // What is gone is gone, and no limit hides in that: parents that are listed but no longer there must not look like trouble.
        404 | 410 => Outcome::Answered,
        400..=499 => Outcome::Unclear,
        _ => Outcome::Answered,
    }
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date::parse(headers.get(DATE)?.to_str().ok()?)
}

/// Where a redirect leads; `None` for every other answer.
fn location(response: &Response) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    Some(String::from_utf8_lossy(response.headers().get(LOCATION)?.as_bytes()).into_owned())
}
