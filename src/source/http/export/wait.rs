//! From a slice to an export that is there: found or asked for, and waited for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::HeaderValue;
use jiff::{SignedDuration, Timestamp};

use crate::config::catalog::{Export, Job, Mode, RequestBody};
use crate::config::units::duration_text;
use crate::error::ErrorKind;
use crate::event::Event;
use crate::ids::PartitionKey;
use crate::outbound::retry_after;
use crate::page::{PageAt, PagePosition, RawPage, ResponsePath};
use crate::printable::{one_line, shortened};
use crate::quota::Class;
use crate::slice::{Reach, Slice};
use crate::source::{FetchError, Judgement, Source};
use crate::vault::TokenVault;

use super::super::auth::fingerprint;
use super::super::failure::Failure;
use super::super::graphql;
use super::super::http_source::HttpSource;
use super::super::origin::without_query;
use super::super::redact::EXCERPT_MAX;
use super::super::request::Request;
use super::super::retry::backoff;
use super::Ready;
use super::answer::{Heard, Stage};
use super::notes::{Note, Notes};
use super::ways::{Ways, asked, fetch_at};

/// Answers about one export, at most.
const POLLS_MAX: u32 = 1_000_000;
/// Slices whose exports are known by heart.
const READY_MAX: usize = 64;
/// A run that was sent away for an export comes back after half of what that has taken so far, and no later than this.
const AWAY_MAX: Duration = Duration::from_secs(600);

/// The exports of one job's stream.
pub(in super::super) struct Exports {
    export: Export,
    ways: Ways,
    notes: Notes,
    /// A table that is replaced wants what there is now.
    is_replaced: bool,
    /// Those that are there, by what was asked for.
    ready: Mutex<HashMap<String, Ready>>,
}

/// Why there is no export to fetch.
enum Ending {
    /// The API does not know it (any more).
    Gone(FetchError),
    /// It came to no good end: it is not waited for again.
    Over(FetchError),
    /// It may still come.
    Left(FetchError),
}

impl From<FetchError> for Ending {
    fn from(error: FetchError) -> Self {
        Ending::Left(error)
    }
}

impl Exports {
    pub(in super::super) fn new(
        job: &Job,
        vault: Arc<dyn TokenVault>,
        clock: Arc<dyn crate::clock::Clock>,
    ) -> Result<Option<Self>, FetchError> {
        let Some(export) = job.stream.export.clone() else { return Ok(None) };
        let key = fingerprint(["export", job.name.as_str(), job.source.base_url.as_str()]);
        Ok(Some(Exports {
            ways: Ways::new(job, &export)?,
            export,
            notes: Notes::new(key, vault, clock),
            is_replaced: job.mode == Mode::Replace,
            ready: Mutex::default(),
        }))
    }

    /// The first request about a slice.
    pub(in super::super) fn first(&self, source: &HttpSource, slice: &Slice) -> Result<Request, FetchError> {
        self.ways.create(&source.exchange.origins, slice)
    }

    /// The export that a slice's pages come from; `None` where a rule says that there is none. One that was just fetched from is
    /// taken again for every page but the first.
    pub(in super::super) async fn get(
        &self,
        source: &HttpSource,
        slice: &Slice,
        at: &PagePosition,
    ) -> Result<Option<Ready>, FetchError> {
        let asked = asked(&self.first(source, slice)?, slice);
        let known = self.ready().get(&asked).cloned();
        if let Some(ready) = known.filter(|_| at.at != PageAt::Start) {
            return Ok(Some(ready));
        }
        let found = self.find(source, slice, &asked).await?;
        let mut ready = self.ready();
        if ready.len() >= READY_MAX {
            ready.clear();
        }
        if let Some(found) = &found {
            ready.insert(asked, found.clone());
        }
        Ok(found)
    }

    /// The id of the export that pages of a slice were fetched from.
    pub(in super::super) fn id(&self, source: &HttpSource, slice: &Slice) -> Option<String> {
        let asked = asked(&self.first(source, slice).ok()?, slice);
        self.ready().get(&asked).map(|ready| ready.id.clone())
    }

    /// The request for a part of an export, and the part behind it. `None` where there is no such part.
    pub(in super::super) fn part(
        &self,
        source: &HttpSource,
        ready: &Ready,
        at: &PagePosition,
    ) -> Result<Option<Request>, FetchError> {
        let Some(parts) = &ready.parts else { return Ok(None) };
        let Some(link) = usize::try_from(at.index).ok().and_then(|index| parts.get(index)) else { return Ok(None) };
        fetch_at(&source.exchange.origins, &ready.from, link).map(Some)
    }

    /// The part behind one: `Some(None)` behind the last, `None` where an export has no parts.
    pub(in super::super) fn next(
        &self,
        source: &HttpSource,
        slice: &Slice,
        at: &PagePosition,
        records: u64,
    ) -> Option<Option<PagePosition>> {
        self.export.download.as_ref()?;
        let asked = asked(&self.first(source, slice).ok()?, slice);
        let count = self.ready().get(&asked).and_then(|ready| ready.parts.as_ref()).map_or(0, |parts| parts.len() as u64);
        let next = at.index + 1;
        Some((next < count).then(|| at.after(records, PageAt::Number(next))))
    }

    /// Forgets an export that the API does not know any more.
    pub(in super::super) async fn forget(&self, source: &HttpSource, slice: &Slice) -> Result<(), FetchError> {
        let asked = asked(&self.first(source, slice)?, slice);
        self.ready().remove(&asked);
        self.drop_note(&asked).await
    }

    /// The stretches of time of a parameter set for which an export was asked for that would be asked for now, too.
    pub(in super::super) async fn under_way(&self, source: &HttpSource, set: &PartitionKey) -> Result<Vec<Slice>, FetchError> {
        let notes = self.notes.all().await?;
        let is_asked = |note: &Note, slice: &Slice| {
            let request = self.first(source, slice);
            slice.partition == *set && request.is_ok_and(|request| asked(&request, slice) == note.asked)
        };
        let slices = notes.into_iter().filter_map(|note| {
            let slice = note.slice.clone()?;
            (!self.is_stale(&note, source.exchange.clock.now()) && is_asked(&note, &slice)).then_some(slice)
        });
        Ok(slices.collect())
    }

    /// The slice's rows are decided: nobody fetches its export again.
    pub(in super::super) async fn done(&self, source: &HttpSource, slice: &Slice) -> Result<(), FetchError> {
        let asked = asked(&self.first(source, slice)?, slice);
        let ready = self.ready().remove(&asked);
        self.drop_note(&asked).await?;
        match ready {
            Some(ready) => self.clean_up(source, slice, &ready.id).await,
            None => Ok(()),
        }
    }

    async fn clean_up(&self, source: &HttpSource, slice: &Slice, id: &str) -> Result<(), FetchError> {
        let Some(request) = self.ways.cleanup(&source.exchange.origins, slice, id) else { return Ok(()) };
        let request = request?;
        let claim = source.claim(slice, &PagePosition::start(), &request.url);
        match source.ask(&request, &PagePosition::start(), &claim, 1).await {
            Err(error) if !is_gone(&error) => Err(error),
            _ => Ok(()),
        }
    }

    async fn find(&self, source: &HttpSource, slice: &Slice, asked: &str) -> Result<Option<Ready>, FetchError> {
        let mut again = false;
        loop {
            let noted = self.notes.find(asked).await?.filter(|note| !self.is_stale(note, source.exchange.clock.now()));
            let is_new = noted.is_none();
            let note = match noted {
                Some(note) => note,
                None => match self.create(source, slice, asked).await? {
                    Some(note) => note,
                    None => return Ok(None),
                },
            };
            match self.wait(source, slice, &note, is_new).await {
                Ok(ready) => return Ok(Some(ready)),
                Err(Ending::Left(error)) => return Err(error),
                Err(Ending::Gone(error)) if !again => {
                    tracing::warn!(job.id = %source.exchange.job, "the export `{}` is gone, and asked for anew: {error}", shown(source, &note.id));
                    self.drop_note(asked).await?;
                    again = true;
                }
                Err(Ending::Gone(mut error)) => {
                    // Whoever asks for what is gone anew has done so.
                    error.status = None;
                    error.message.push_str("; the export was asked for anew, and that one is not there either");
                    self.drop_note(asked).await?;
                    return Err(error);
                }
                Err(Ending::Over(error)) => {
                    self.drop_note(asked).await?;
                    return Err(error);
                }
            }
        }
    }

    /// Whether what the export holds is too old to be what is wanted now. A stretch of time that is closed does not age.
    fn is_stale(&self, note: &Note, now: Timestamp) -> bool {
        (note.slice.is_none() || self.is_replaced) && age(note, now) >= self.export.poll.deadline
    }

    /// Asks for the export and keeps its name. `None` where a rule says that the answer counts as none.
    async fn create(&self, source: &HttpSource, slice: &Slice, asked: &str) -> Result<Option<Note>, FetchError> {
        let mut request = self.first(source, slice)?;
        if let Some(header) = &self.export.idempotency_header {
            // An answer that was lost on its way comes again, in place of a second export.
            let key = HeaderValue::try_from(source.exchange.clock.batch_id().to_string());
            request.headers.insert(header, key.expect("an id is visible ASCII"));
        }
        let body = self.export.create.body.as_ref();
        let Some(heard) = self.hear(source, slice, &request, body).await? else { return Ok(None) };
        let path = &self.export.id;
        let id = heard.name(path).map_err(|why| {
            let excerpt = source.exchange.credentials.redactor().excerpt(&heard.page.body).map(|body| format!(": {body}"));
            let address = without_query(&request.url);
            let what = format!("{} {address} asked for an export, and the answer does not name it", request.method);
            FetchError::new(ErrorKind::Data, format!("{what} at `{path}` ({why}){}", excerpt.unwrap_or_default()))
        })?;
        let note = Note {
            asked: asked.to_owned(),
            slice: matches!(slice.reach, Reach::Time(_)).then(|| slice.clone()),
            id,
            from: request.url.to_string(),
            at: heard.page.received_at,
            source_now: heard.page.source_now,
        };
        // Who only looks leaves nothing behind for a later run to read in place of what is there then.
        if source.class != Class::Preview {
            self.notes.keep(&note).await?;
        }
        Ok(Some(note))
    }

    async fn drop_note(&self, asked: &str) -> Result<(), FetchError> {
        match self.notes.drop(asked).await {
            // A look beside a process that holds the state: it has written nothing.
            Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
            dropped => dropped,
        }
    }

    async fn wait(&self, source: &HttpSource, slice: &Slice, note: &Note, is_new: bool) -> Result<Ready, Ending> {
        let (poll, clock) = (&self.export.poll, &source.exchange.clock);
        let began = clock.elapsed();
        let mut next = poll.every;
        if is_new {
            source.wait(next).await.map_err(|stopped| stopped.error)?;
        }
        for _ in 0..POLLS_MAX {
            let request = self.ways.poll(&source.exchange.origins, slice, note)?;
            let body = poll.request.as_ref().and_then(|request| request.body.as_ref());
            let heard = self.hear(source, slice, &request, body).await.map_err(|error| match is_gone(&error) {
                true => Ending::Gone(error),
                false => Ending::Left(error),
            })?;
            let name = shown(source, &note.id);
            let Some(heard) = heard else { return Ok(self.ready_from(note, Some(Vec::new()))) };
            let said = match heard.stage(poll) {
                Stage::Done => return self.done_with(note, &heard).map_err(Ending::Over),
                Stage::Failed(why) => {
                    let why = one_line(&shortened(&source.exchange.credentials.redactor().clean(&why), 4 * EXCERPT_MAX));
                    return Err(Ending::Over(FetchError::new(ErrorKind::Data, format!("the export `{name}` failed: {why}"))));
                }
                Stage::UnderWay(said) => source.exchange.credentials.redactor().clean(&one_line(&shortened(&said, EXCERPT_MAX))),
            };
            let waited = clock.elapsed().saturating_sub(began);
            let left = poll.deadline.saturating_sub(age(note, clock.now()).max(waited));
            if left.is_zero() {
                return Err(Ending::Over(self.give_up(source, slice, note, &said).await));
            }
            let asked_for = retry_after::patience(&heard.page.headers, clock.now()).unwrap_or_default();
            let length = next.max(asked_for).min(left);
            let reason = format!("the export `{name}` is under way: {said}");
            if source.exchange.budget.parks_after().is_some_and(|patience| waited + length > patience) {
                let away = (age(note, clock.now()) / 2).clamp(length, AWAY_MAX.max(length));
                let retry_at = SignedDuration::try_from(away).ok().and_then(|away| clock.now().checked_add(away).ok());
                return Err(FetchError::new(ErrorKind::Throttled { retry_at }, reason).into());
            }
            source.exchange.events.tell(Event::Waiting { job: source.exchange.job.clone(), reason, length });
            source.wait(length).await.map_err(|stopped: Failure| stopped.error)?;
            next = (next + next / 2).min(poll.every_max);
        }
        Err(FetchError::new(ErrorKind::Data, "the export was asked about too often").into())
    }

    /// The error of an export that takes too long. It is taken away, for another one is asked for next time.
    async fn give_up(&self, source: &HttpSource, slice: &Slice, note: &Note, said: &str) -> FetchError {
        if let Err(error) = self.clean_up(source, slice, &note.id).await {
            tracing::warn!(job.id = %source.exchange.job, "an export that took too long cannot be taken away: {error}");
        }
        let deadline = SignedDuration::try_from(self.export.poll.deadline).unwrap_or(SignedDuration::MAX);
        let (name, deadline) = (shown(source, &note.id), duration_text(deadline));
        let message = format!(
            "the export `{name}` is not done after {deadline} ({said}): raise `deadline` in `export.poll`, or ask for less at once with `step` in the job's window"
        );
        FetchError::new(ErrorKind::Unavailable, message)
    }

    fn done_with(&self, note: &Note, heard: &Heard) -> Result<Ready, FetchError> {
        let bad = |path: &ResponsePath, why: String| {
            let message = format!("the export is done, and its address is not at `{path}` (export.download): {why}");
            FetchError::new(ErrorKind::Data, message)
        };
        let parts = self.export.download.as_ref().map(|path| heard.parts(path).map_err(|why| bad(path, why))).transpose()?;
        Ok(self.ready_from(note, parts))
    }

    fn ready_from(&self, note: &Note, parts: Option<Vec<String>>) -> Ready {
        let Note { id, from, at, source_now, .. } = note.clone();
        Ready { id, parts: parts.map(Arc::new), from, at, source_now }
    }

    /// Asks until there is an answer that is no error in disguise; `None` where a rule says that it counts as none.
    async fn hear(
        &self,
        source: &HttpSource,
        slice: &Slice,
        request: &Request,
        body: Option<&RequestBody>,
    ) -> Result<Option<Heard>, FetchError> {
        let start = PagePosition::start();
        let claim = source.claim(slice, &start, &request.url);
        let is_graphql = matches!(body, Some(RequestBody::Graphql { .. }));
        let paths: Vec<ResponsePath> =
            source.wanted().into_iter().chain(is_graphql.then(graphql::wanted).into_iter().flatten()).collect();
        let mut last = String::new();
        for attempt in 1..=source.attempts_max {
            if attempt > 1 {
                let pause = backoff(attempt - 2, source.exchange.clock.fraction());
                source.wait(pause).await.map_err(|stopped| stopped.error)?;
            }
            let page = source.ask(request, &start, &claim, attempt).await?;
            if let Some(aside) = &page.aside {
                // What is fetched can be put aside; without an export there is nothing of which it could be said.
                return Err(FetchError::new(ErrorKind::Data, format!("{}: an export is not put aside", aside.reason)));
            }
            if is_nothing(&page) {
                return Ok(None);
            }
            let address = page.address.clone();
            let told = |kind, why: String| FetchError::new(kind, format!("{} {address}: {why}", request.method));
            let heard = Heard::of(page).map_err(|why| told(ErrorKind::Data, why))?;
            let envelope = heard.envelope(&paths);
            let judged = match source.judge(&envelope) {
                Judgement::Records if is_graphql => source.clean(graphql::judge(&envelope).unwrap_or(Judgement::Records)),
                judged => judged,
            };
            match judged {
                Judgement::Records => return Ok(Some(heard)),
                Judgement::Nothing => return Ok(None),
                Judgement::Refused(kind, why) => return Err(told(kind, why)),
                Judgement::Aside(why) => return Err(told(ErrorKind::Data, format!("{why}: an export is not put aside"))),
                Judgement::ErrorInDisguise(why) => last = format!("{} {address}: {why}", request.method),
            }
        }
        Err(FetchError::new(ErrorKind::Unavailable, format!("{last}; asked for {} times", source.attempts_max)))
    }

    fn ready(&self) -> MutexGuard<'_, HashMap<String, Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the API says that it does not know what it was asked about.
pub(in super::super) fn is_gone(error: &FetchError) -> bool {
    matches!(error.status, Some(404 | 410))
}

/// A page that a rule made of an answer: a real one has headers.
fn is_nothing(page: &RawPage) -> bool {
    page.status == 204 && page.headers.is_empty() && page.body.is_empty()
}

fn age(note: &Note, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(note.at)).unwrap_or_default()
}

/// A name for messages: an address without what may let in.
fn shown(source: &HttpSource, id: &str) -> String {
    let id = id.split(['?', '#']).next().unwrap_or_default();
    source.exchange.credentials.redactor().clean(&one_line(&shortened(id, 100)))
}
