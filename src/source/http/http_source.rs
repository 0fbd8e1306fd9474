//! The source itself: a page is asked for until it is there or given up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::{HeaderMap, StatusCode};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::clock::Clock;
use crate::config::catalog::{ErrorRule, Job, RequestBody, Stream, Then};
use crate::config::secret::SecretSource;
use crate::error::ErrorKind;
use crate::event::Events;
use crate::ids::PartitionKey;
use crate::page::{Answered, Captured, Envelope, PageAt, PagePosition, RawPage, ResponsePath};
use crate::printable::one_line;
use crate::quota::told::Told;
use crate::quota::{AccountView, BudgetKey, Budgets, Claim, Class, Forecast};
use crate::slice::{Reach, Slice};
use crate::stop::Stop;

use super::super::{Cap, Ending, FetchError, Judgement, Source};
use super::auth::{Credentials, Line, Site, Tokens};
use super::client;
use super::conditional::Conditions;
use super::exchange::Exchange;
use super::export::{Exports, Ready, is_gone};
use super::graphql;
use super::origin::{OriginRule, Standing, describe};
use super::paging::{Pager, numbered};
use super::recording::Wire;
use super::redact::EXCERPT_MAX;
use super::request::{Request, RequestPlan};
use super::resolver::{Lookup, SystemLookup};
use super::retry::backoff;
use super::rules::{self, Rules};
use super::token;
use super::told;
use super::transport::Transport;

/// One job's stream of an HTTP API.
pub struct HttpSource {
    plan: RequestPlan,
    pager: Pager,
    pub(super) exchange: Exchange,
    pub(super) attempts_max: u32,
    exports: Option<Exports>,
    /// As the definition writes it.
    endpoint: String,
    base_path: String,
    pub(super) class: Class,
    /// Where a response says what its request cost.
    cost: Option<ResponsePath>,
    speaks_graphql: bool,
    /// Of the latest request, for answers that come without their own.
    claim: Mutex<Option<Arc<Claim>>>,
    conditions: Option<Conditions>,
    is_told_of_links: AtomicBool,
    is_told_of_total: AtomicBool,
}

/// Rows of a slice that ended longer ago than this are in no hurry.
const BACKFILL_AGE: SignedDuration = SignedDuration::from_hours(24);

impl HttpSource {
    /// Resolves secrets and builds the client; sends nothing. Errors are of kind config, or auth for a secret that is missing.
    pub fn open(
        job: &Job,
        secrets: &dyn SecretSource,
        shared: Shared<'_>,
        clock: Arc<dyn Clock>,
        events: Events,
        stop: Stop,
    ) -> Result<HttpSource, FetchError> {
        HttpSource::open_with(job, secrets, shared, Surroundings { clock, events, stop, lookup: Arc::new(SystemLookup) })
    }

    /// Its requests are no more urgent than this.
    pub fn at_most(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    pub(super) fn open_with(
        job: &Job,
        secrets: &dyn SecretSource,
        shared: Shared<'_>,
        around: Surroundings,
    ) -> Result<HttpSource, FetchError> {
        let source = &job.source;
        let in_source = |mut error: FetchError| {
            error.message = format!("source {}: {}", source.name, error.message);
            error
        };
        let origins = OriginRule::new(&source.base_url, &source.allow_hosts, source.allow_private)
            .map_err(|why| in_source(FetchError::new(ErrorKind::Config, why)))?;
        let transport = match shared.wire {
            // Nothing is to be sent, so there is nothing that could.
            Wire::Replay(_) => Transport::offline(shared.wire.clone()),
            wire => Transport::new(client::client(source, secrets, around.lookup).map_err(in_source)?, wire.clone()),
        };
        let line = Line {
            transport: transport.clone(),
            origins: origins.clone(),
            timeout: source.timeout,
            attempts_max: source.attempts_max,
            clock: Arc::clone(&around.clock),
            job: job.name.clone(),
            events: around.events.clone(),
            stop: around.stop.clone(),
        };
        let site = Site { base_url: &source.base_url, parameters: &job.parameters };
        let credentials = Credentials::open(&source.auth, secrets, shared.tokens, site, line).map_err(in_source)?;
        let host = source.base_url.host_str().unwrap_or_default();
        // Another port is another service.
        let host = source.base_url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let budget = shared.budgets.get(BudgetKey { credential: credentials.fingerprint().to_owned(), host }, &source.limits);
        let plan = RequestPlan::new(job).map_err(in_source)?;
        let exports = Exports::new(job, shared.tokens.vault(), Arc::clone(&around.clock)).map_err(in_source)?;
        let pager = Pager::new(job.stream.paging.clone(), &job.stream.records);
        let exchange = Exchange {
            job: job.name.clone(),
            transport,
            origins,
            credentials,
            budget,
            body_max: source.body_max,
            rules: Rules::new(&job.stream.errors, job.mode),
            clock: around.clock,
            events: around.events,
            stop: around.stop,
            requests: AtomicU64::new(0),
        };
        // One set's address that cannot be written is no reason to leave the others unread.
        if !job.is_for_each() {
            plan.check(&pager).map_err(in_source)?;
        }
        let conditions = Conditions::of(job, &pager, shared.wire);
        Ok(HttpSource {
            plan,
            pager,
            exchange,
            exports,
            conditions,
            is_told_of_links: AtomicBool::new(false),
            is_told_of_total: AtomicBool::new(false),
            attempts_max: source.attempts_max,
            endpoint: endpoint(&job.stream),
            base_path: source.base_url.path().trim_end_matches('/').to_owned(),
            class: Class::Scheduled,
            cost: source.limits.cost.clone(),
            speaks_graphql: matches!(job.stream.body, Some(RequestBody::Graphql { .. })),
            claim: Mutex::default(),
        })
    }

    /// How long so many requests for a slice's pages take, one after the other, each answered after `latency`, begun now. Nothing
    /// is sent. What was spent before is known only once something was, or after [`know_quota`](Self::know_quota).
    pub fn forecast(&self, slice: &Slice, requests: u64, latency: Duration) -> Result<Forecast, FetchError> {
        let start = PagePosition::start();
        let claim = match (&self.exports, self.plan.needs_parent()) {
            (Some(exports), _) => self.claim(slice, &start, &exports.first(self, slice)?.url),
            // The whole request is known with a parent's record only.
            (None, true) => self.claim(slice, &start, &self.plan.address_without_parent(&self.pager, slice)?),
            (None, false) => {
                let first = self.plan.request(&self.pager, &self.exchange.origins, slice, &start, None)?;
                self.claim(slice, &start, &first.url)
            }
        };
        Ok(self.exchange.budget.forecast(&claim, requests, latency))
    }

    /// Reads what the ledger knows of the budget.
    pub async fn know_quota(&self) {
        self.exchange.budget.know().await;
    }

    /// What is left of the budget.
    pub fn quota(&self) -> AccountView {
        self.exchange.budget.view()
    }

    pub(super) fn claim(&self, slice: &Slice, at: &PagePosition, url: &Url) -> Arc<Claim> {
        let old = |to: Timestamp| self.exchange.clock.now().duration_since(to) > BACKFILL_AGE;
        let class = match &slice.reach {
            Reach::Time(span) if old(span.to) => self.class.max(Class::Backfill),
            _ => self.class,
        };
        let claim = Arc::new(Claim {
            job: self.exchange.job.clone(),
            class,
            endpoint: self.endpoint.clone(),
            path: url.path().strip_prefix(&self.base_path).unwrap_or(url.path()).to_owned(),
            // Below a second parent there are pages of the first in hand.
            holds: at.index > 0 || at.parent.is_some(),
            counted: Arc::default(),
        });
        *self.claim.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&claim));
        claim
    }

    /// What the API's own rule makes of an answer that claimed success.
    fn judge_by(&self, rule: &ErrorRule, envelope: &Envelope, claim: &Claim) -> Judgement {
        let place = rule.at.as_ref().map_or_else(|| "the body".to_owned(), |at| format!("`{at}`"));
        let found = rule.at.as_ref().and_then(|at| envelope.captured.get(at)).and_then(Captured::text).unwrap_or_default();
        let message = rule.explain(format!("the answer has an error at {place}: `{}`", short(&found)));
        self.clean(match rule.then {
            Then::Retry => Judgement::ErrorInDisguise(message),
            Then::Wait(length) => {
                self.exchange.budget.pause(&claim.path, length);
                Judgement::ErrorInDisguise(message)
            }
            Then::Refresh if self.exchange.credentials.distrust() => Judgement::ErrorInDisguise(message),
            Then::Refresh => Judgement::Refused(ErrorKind::Auth, message),
            Then::Fail => Judgement::Refused(ErrorKind::Data, message),
            Then::Skip => Judgement::Nothing,
            Then::DeadLetter => Judgement::Aside(rules::aside(message)),
        })
    }

    /// Another host must not choose what is asked of the source with its credentials.
    fn check_way_back(&self, from: &Url, next: Option<&PagePosition>) -> Result<(), FetchError> {
        let Some(PageAt::Url(next)) = next.map(|next| &next.at) else { return Ok(()) };
        let standing = |url: &Url| self.exchange.origins.check(url).ok();
        let next = Url::parse(next).ok();
        if standing(from) == Some(Standing::Allowed) && next.as_ref().and_then(standing) == Some(Standing::Own) {
            let why = format!("the next page is refused: `{}` leads back to the source", describe(from));
            return Err(FetchError::new(ErrorKind::Config, why));
        }
        Ok(())
    }

    /// A link that, where it counts pages, asks for what the first request asked for.
    fn completed(&self, slice: &Slice, at: &PagePosition, next: PageAt) -> Result<PageAt, FetchError> {
        let PageAt::Url(address) = &next else { return Ok(next) };
        let Ok(mut link) = Url::parse(address) else { return Ok(next) };
        let export = self.exports.as_ref().and_then(|exports| exports.id(self, slice));
        let first = self.plan.stream_address(&self.pager, slice, at, export.clone())?;
        // Another path, or another host, may know in its own way what was asked.
        if link.origin() != first.origin() || link.path() != first.path() {
            return Ok(next);
        }
        let lost = numbered::complete(&mut link, &self.plan.asked(&self.pager, slice, at, export)?);
        if lost.is_empty() {
            return Ok(next);
        }
        if !self.is_told_of_links.swap(true, Ordering::Relaxed) {
            let (job, lost) = (&self.exchange.job, lost.join("`, `"));
            tracing::info!(job.id = %job, "the API's address of the next page counts pages and lacks `{lost}` of the request: asked for again");
        }
        Ok(PageAt::Url(link.into()))
    }

    /// A judgement whose message shows no secret.
    pub(super) fn clean(&self, judgement: Judgement) -> Judgement {
        let clean = |message: String| self.exchange.credentials.redactor().clean(&message);
        match judgement {
            Judgement::ErrorInDisguise(message) => Judgement::ErrorInDisguise(clean(message)),
            Judgement::Refused(kind, message) => {
                let mut message = clean(message);
                if kind == ErrorKind::Auth {
                    self.name_secret(&mut message);
                }
                Judgement::Refused(kind, message)
            }
            Judgement::Aside(message) => Judgement::Aside(clean(message)),
            other => other,
        }
    }

    /// What a page cost, where a header tells.
    pub(super) fn charge_header(&self, claim: &Claim, page: &RawPage) {
        let Some(ResponsePath::Header(name)) = &self.cost else { return };
        let text = page.headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(points) = text.and_then(|text| points(&Captured::Text(text.trim().to_owned()))) {
            self.exchange.budget.charge(claim, points);
        }
    }

    async fn fetch_exported(
        &self,
        exports: &Exports,
        slice: &Slice,
        at: &PagePosition,
        attempt: u32,
    ) -> Result<RawPage, FetchError> {
        let nothing = || RawPage { position: at.clone(), received_at: self.exchange.clock.now(), ..RawPage::nothing() };
        let Some(ready) = exports.get(self, slice, at).await? else { return Ok(nothing()) };
        let request = match &ready.parts {
            Some(_) => exports.part(self, &ready, at)?,
            None => Some(self.plan.request(&self.pager, &self.exchange.origins, slice, at, Some(&ready.id))?),
        };
        let page = match request {
            Some(request) => self.fetch_by(&request, slice, at, attempt).await?,
            None => nothing(),
        };
        // What is in it was there when it was asked for: by then time is closed.
        let Ready { at, source_now, .. } = ready;
        Ok(RawPage { received_at: at, source_now, ..page })
    }

    /// A page with what to ask by whether it has changed.
    fn with_validator(&self, request: &Request, slice: &Slice, page: RawPage) -> RawPage {
        let credentials = &self.exchange.credentials;
        let answered = self.conditions.as_ref().and_then(|known| known.answered(request, slice, &page, credentials));
        RawPage { answered, ..page }
    }

    /// A page by its request.
    async fn fetch_by(&self, request: &Request, slice: &Slice, at: &PagePosition, attempt: u32) -> Result<RawPage, FetchError> {
        if attempt > 1 {
            // The page was cut off or damaged: the caller asks again, which is a retry like any other.
            self.wait(backoff(attempt - 2, self.exchange.clock.fraction())).await.map_err(|failure| failure.error)?;
        }
        let claim = self.claim(slice, at, &request.url);
        self.ask(request, at, &claim, attempt).await
    }
}

/// What the sources of one process share.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    pub budgets: &'a Budgets,
    pub tokens: &'a Tokens,
    pub wire: &'a Wire,
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
        let Some(exports) = &self.exports else {
            let request = self.plan.request(&self.pager, &self.exchange.origins, slice, at, None)?;
            let page = match self.fetch_by(&request, slice, at, attempt).await {
                Err(error) if self.pager.is_behind_a_short_page(at) && is_no_page(error.status, at) => {
                    tracing::debug!(job.id = %self.exchange.job, "there is no page behind a short one: {error}");
                    RawPage { position: at.clone(), received_at: self.exchange.clock.now(), ..RawPage::nothing() }
                }
                page => page?,
            };
            return Ok(self.with_validator(&request, slice, page));
        };
        match self.fetch_exported(exports, slice, at, attempt).await {
            // What was written is kept for a while, and not for ever.
            Err(error) if is_gone(&error) && at.at == PageAt::Start && attempt == 1 => {
                tracing::warn!(job.id = %self.exchange.job, "what was exported is gone, and asked for anew: {error}");
                exports.forget(self, slice).await?;
                self.fetch_exported(exports, slice, at, attempt).await
            }
            page => page,
        }
    }

    async fn fetch_changed(&self, slice: &Slice, before: &Answered) -> Result<Option<RawPage>, FetchError> {
        let start = PagePosition::start();
        let Some(conditions) = &self.conditions else { return self.fetch(slice, &start, 1).await.map(Some) };
        let plain = self.plan.request(&self.pager, &self.exchange.origins, slice, &start, None)?;
        let mut request = plain.clone();
        if !conditions.ask(&mut request, slice, &self.exchange.credentials, before) {
            return self.fetch(slice, &start, 1).await.map(Some);
        }
        let page = self.fetch_by(&request, slice, &start, 1).await?;
        let is_changed = page.status != StatusCode::NOT_MODIFIED.as_u16();
        Ok(is_changed.then(|| self.with_validator(&plain, slice, page)))
    }

    async fn under_way(&self, set: &PartitionKey) -> Result<Vec<Slice>, FetchError> {
        match &self.exports {
            Some(exports) => exports.under_way(self, set).await,
            None => Ok(Vec::new()),
        }
    }

    async fn done(&self, slice: &Slice) {
        let Some(exports) = &self.exports else { return };
        if let Err(error) = exports.done(self, slice).await {
            // The rows are committed: at worst the export stays with the API until that tidies up.
            tracing::warn!(job.id = %self.exchange.job, "an export that was read cannot be tidied away: {error}");
        }
    }

    fn requests(&self) -> u64 {
        self.exchange.requests.load(Ordering::Relaxed)
    }

    fn wanted(&self) -> Vec<ResponsePath> {
        let mut wanted = self.pager.wanted();
        wanted.extend(self.plan.token_path().filter(|path| matches!(path, ResponsePath::Body(_))).cloned());
        wanted.extend(self.cost.clone().filter(|path| matches!(path, ResponsePath::Body(_))));
        wanted.extend(self.exchange.rules.wanted());
        if self.speaks_graphql {
            wanted.extend(told::points_paths());
            wanted.push(told::requested_path());
            wanted.extend(graphql::wanted());
        }
        wanted
    }

    /// Takes in what the body tells of the budget, and looks for an error in disguise.
    fn judge(&self, envelope: &Envelope) -> Judgement {
        // Pages may have been asked for since this one was: what it cost is no word about them.
        let latest = || self.claim.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(claim) = envelope.receipt.get::<Claim>().or_else(latest) else { return Judgement::Records };
        if let Some(points) = self.cost.as_ref().and_then(|path| envelope.captured.get(path)).and_then(points) {
            self.exchange.budget.charge(&claim, points);
        }
        if let Some(rule) = self.exchange.rules.of_envelope(envelope) {
            return self.judge_by(rule, envelope, &claim);
        }
        if !self.speaks_graphql {
            return Judgement::Records;
        }
        let limits = told::points(&envelope.captured).into_iter().collect();
        self.exchange.budget.learn(&claim, &Told { limits, refusal: None });
        if graphql::is_throttled(envelope)
            && let Some(length) = told::refill(&envelope.captured)
        {
            self.exchange.budget.pause(&claim.path, length);
        }
        self.clean(graphql::judge(envelope).unwrap_or(Judgement::Records))
    }

    fn clean(&self, message: String, body: &[u8]) -> String {
        self.exchange.credentials.redactor().clean_of(&message, body)
    }

    fn pages(&self, slice: &Slice, envelope: &Envelope, headers: &HeaderMap) -> Option<u64> {
        let start = PagePosition::start();
        let more = self.next(slice, &start, envelope, headers).ok()?.is_some();
        self.pager.pages(&start, envelope, headers, more)
    }

    fn records(&self, slice: &Slice, envelope: &Envelope, headers: &HeaderMap) -> Option<u64> {
        let start = PagePosition::start();
        let more = self.next(slice, &start, envelope, headers).ok()?.is_some();
        if more { self.pager.total(&start, envelope, headers) } else { Some(envelope.records) }
    }

    fn told(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Option<u64> {
        self.pager.told(at, envelope, headers)
    }

    fn cap(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Cap {
        self.pager.cap(at, envelope, headers)
    }

    fn ending(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Option<Ending> {
        self.exports.is_none().then(|| self.pager.ending(at, envelope, headers))
    }

    fn token(&self, slice: &Slice, envelope: &Envelope, headers: &HeaderMap) -> Result<Option<String>, FetchError> {
        let Some(path) = self.plan.token_path() else { return Ok(None) };
        let refused = |why: String| FetchError::new(ErrorKind::Data, format!("cursor.field `{path}`: {why}"));
        let Some(token) = token::read(path, envelope, headers).map_err(refused)? else { return Ok(None) };
        let token = match self.plan.token_is_address() {
            false => token,
            true => {
                let export = self.exports.as_ref().and_then(|exports| exports.id(self, slice));
                let from = self.plan.stream_address(&self.pager, slice, &PagePosition::start(), export)?;
                let (url, _) = self.exchange.origins.follow(&from, &token).map_err(refused)?;
                url.into()
            }
        };
        // It is written down, in the state and in the lake.
        if self.exchange.credentials.redactor().clean(&token) != token {
            return Err(refused("the token holds the source's own credentials, which are not written down".to_owned()));
        }
        Ok(Some(token))
    }

    fn next(
        &self,
        slice: &Slice,
        at: &PagePosition,
        envelope: &Envelope,
        headers: &HeaderMap,
    ) -> Result<Option<PagePosition>, FetchError> {
        if let Some(next) = self.exports.as_ref().and_then(|exports| exports.next(self, slice, at, envelope.records)) {
            return Ok(next);
        }
        let address = match &at.at {
            PageAt::Url(address) => Url::parse(address).ok(),
            PageAt::Start | PageAt::Number(_) | PageAt::Token(_) => None,
        };
        // What relative links of a first page are relative to.
        let address = match address {
            Some(address) => address,
            None => {
                let export = self.exports.as_ref().and_then(|exports| exports.id(self, slice));
                self.plan.stream_address(&self.pager, slice, at, export)?
            }
        };
        let complete = |next| self.completed(slice, at, next);
        let next = self.pager.next(at, envelope, headers, &address, &self.exchange.origins, &complete)?;
        if next.is_none()
            && let Some(doubt) = self.pager.doubt_of_total(at, envelope, headers)
            && !self.is_told_of_total.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(job.id = %self.exchange.job, "{}: {doubt}", self.exchange.job);
        }
        self.check_way_back(&address, next.as_ref())?;
        Ok(next)
    }
}

/// Whether an API that is asked for a page behind its last one answers like this. Behind more than one page, each shorter than asked
/// for, a request that is not taken (400, 422) may as well be one for more than the API pages through.
fn is_no_page(status: Option<u16>, at: &PagePosition) -> bool {
    match status {
        Some(404 | 410 | 416) => true,
        Some(400 | 422) => at.index == 1,
        _ => false,
    }
}

/// Which endpoint a stream asks. Where bodies say what is asked for, as in GraphQL, one path is as many endpoints as there are streams.
fn endpoint(stream: &Stream) -> String {
    match &stream.body {
        Some(_) => format!("{} {} {}", stream.method, stream.path.text(), stream.name),
        None => format!("{} {}", stream.method, stream.path.text()),
    }
}

/// A cost as a response writes it, in whole points; nonsense is none.
fn points(cost: &Captured) -> Option<u64> {
    let cost: f64 = cost.text()?.parse().ok()?;
    (0.0..=1e9).contains(&cost).then(|| cost.ceil() as u64)
}

/// The beginning of what a body says.
fn short(text: &str) -> String {
    one_line(&text.chars().take(EXCERPT_MAX).collect::<String>())
}
