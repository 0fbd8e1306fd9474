//! One request as text: address and headers, from templates, bounds and position. Pure.

use std::collections::BTreeMap;

use ::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use ::http::{HeaderName, Method};
use minijinja::Value as Field;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;
use url::Url;

use crate::config::catalog::{Cursor, CursorFormat, CursorType, Format, Job};
use crate::error::ErrorKind;
use crate::ids::PartitionKey;
use crate::page::{PagePosition, ResponsePath, exact_value};
use crate::slice::{Reach, Slice};
use crate::source::FetchError;
use crate::template::{Scope, Template};

use super::bounds::{Bounds, bounds};
use super::origin::{OriginRule, Standing, describe};
use super::paging::Pager;
use super::payload::{Draft, Payload};

/// What RFC 3986 section 2.3 leaves as it is; everything else of a value is encoded.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// In a query these are plain data too (section 3.4); leaving them keeps timestamps and lists readable in the API's own logs.
const QUERY: &AsciiSet = &VALUE.remove(b':').remove(b',').remove(b'/').remove(b'$').remove(b'@');
/// What may not stand in the literal part of a path: it would end the path, or be another spelling of a slash.
const LITERAL: &AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'?').add(b'#').add(b'\\').add(b'"').add(b'<').add(b'>');

pub(super) fn encode_query(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

/// What templates know besides parameters and bounds.
struct Around {
    page: [(&'static str, Field); 4],
    /// The record that the stream is gone over for.
    parent: Option<Json>,
    /// The name of the export that is fetched.
    export: Option<String>,
}

/// The record that a position stands below.
fn parent(at: &PagePosition) -> Result<Option<Json>, FetchError> {
    let Some(record) = at.parent.as_ref().and_then(|parent| parent.record.as_ref()) else { return Ok(None) };
    exact_value(record).map(Some).map_err(|error| bug(&format!("a parent's record is not JSON: {error}")))
}

/// A value for templates, with every text in it written as its place wants it.
fn field(value: &Json, write: &impl Fn(&str) -> String) -> Field {
    match value {
        Json::Null => Field::from(()),
        Json::Bool(value) => Field::from(*value),
        // Others are texts already, with the digits that they had.
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Field::from(number),
            (None, Some(number)) => Field::from(number),
            (None, None) => Field::from(number.to_string()),
        },
        Json::String(text) => Field::from(write(text)),
        Json::Array(items) => items.iter().map(|item| field(item, write)).collect(),
        Json::Object(fields) => Field::from_pairs(fields.iter().map(|(name, value)| (name.as_str(), field(value, write)))),
    }
}

/// A request ready to be sent, credentials not yet on it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) standing: Standing,
    /// The source's and the stream's own headers; only for its own origin.
    pub(super) headers: HeaderMap,
    pub(super) payload: Option<Payload>,
    /// It begins where the last run's token says.
    pub(super) by_token: bool,
    /// It names an answer that is there already: «not modified» is one too.
    pub(super) is_conditional: bool,
}

/// What all requests of a stream have in common.
pub(super) struct RequestPlan {
    method: Method,
    pub(super) base_url: Url,
    path: Template,
    query: Vec<(String, Template)>,
    headers: Vec<(HeaderName, Template)>,
    draft: Option<Draft>,
    cursor: Option<Cursor>,
    below_parent: bool,
    token_is_address: bool,
    sets: BTreeMap<PartitionKey, SetPlan>,
}

/// What all requests of one parameter set have in common.
struct SetPlan {
    parameters: BTreeMap<String, String>,
    headers: HeaderMap,
}

impl RequestPlan {
    pub(super) fn new(job: &Job) -> Result<Self, FetchError> {
        let mut sets = BTreeMap::new();
        for set in &job.sets {
            let plan = SetPlan { parameters: set.parameters.clone(), headers: headers(job, &set.parameters)? };
            sets.insert(set.partition.clone(), plan);
        }
        Ok(RequestPlan {
            method: job.stream.method.clone(),
            base_url: job.source.base_url.clone(),
            path: job.stream.path.clone(),
            query: job.stream.query.clone(),
            headers: job.stream.headers.clone(),
            draft: job.stream.body.as_ref().map(Draft::new).transpose()?,
            cursor: cursor(job),
            below_parent: job.stream.parent.is_some(),
            token_is_address: job.stream.cursor.as_ref().is_some_and(|cursor| cursor.is_address(&job.stream)),
            sets,
        })
    }

    /// The request for a page of a slice.
    pub(super) fn request(
        &self,
        pager: &Pager,
        origins: &OriginRule,
        slice: &Slice,
        at: &PagePosition,
        export: Option<&str>,
    ) -> Result<Request, FetchError> {
        let ask = pager.ask(&at.at).map_err(|why| FetchError::new(ErrorKind::Bug, why))?;
        let set = self.set(slice)?;
        let bounds = bounds(self.cursor.as_ref(), &slice.reach).map_err(|why| config(&why))?;
        let around = Around { page: pager.fields(at), parent: parent(at)?, export: export.map(str::to_owned) };
        let scope = set.scope(&bounds, &around, str::to_owned);
        let mut headers = set.headers.clone();
        for (name, template) in &self.headers {
            let value = template.render_header(&scope).map_err(|why| config(&format!("headers.{name}: {why}")))?;
            if !value.is_empty() {
                headers.insert(name.clone(), value);
            }
        }
        headers.extend(ask.headers);
        let url = match (ask.url, &slice.reach) {
            (Some(link), _) => {
                Url::parse(&link).map_err(|error| bug(&format!("a position's address does not parse: {error}")))?
            }
            (None, Reach::Token(Some(link))) if self.token_is_address => token_address(link, &ask.query)?,
            (None, _) => self.address(set, &bounds, &around, &scope, ask.query)?,
        };
        let scope = if self.cursor.as_ref().is_some_and(counts) { scope.with_bounds_as_numbers() } else { scope };
        let payload = self.draft.as_ref().map(|draft| draft.render(&scope, &ask.body)).transpose();
        let payload = payload.map_err(|why| config(&format!("body: {why}")))?;
        if let Some(payload) = &payload {
            headers.entry(CONTENT_TYPE).or_insert_with(|| payload.content_type.clone());
        }
        // A position may come from a place where it was written down: the rule holds for it again.
        let standing = origins.check(&url).map_err(|why| FetchError::new(ErrorKind::Config, why))?;
        if payload.is_some() && standing == Standing::Allowed {
            let to = describe(&url);
            return Err(config(&format!(
                "the next page is at another host, `{to}`, and a request with a body is not sent there"
            )));
        }
        let by_token = at.index == 0 && matches!(slice.reach, Reach::Token(Some(_)));
        Ok(Request { method: self.method.clone(), url, standing, headers, payload, by_token, is_conditional: false })
    }

    /// Where a response holds the token that the next run begins with.
    pub(super) fn token_path(&self) -> Option<&ResponsePath> {
        self.cursor.as_ref()?.token.as_ref()
    }

    /// The token is itself the address that the next run begins at.
    pub(super) fn token_is_address(&self) -> bool {
        self.token_is_address
    }

    /// The stream's address for relative links where only the parameters are known.
    pub(super) fn stream_address(
        &self,
        pager: &Pager,
        slice: &Slice,
        at: &PagePosition,
        export: Option<String>,
    ) -> Result<Url, FetchError> {
        let first = PagePosition { parent: at.parent.clone(), ..PagePosition::start() };
        let around = Around { page: pager.fields(&first), parent: parent(at)?, export };
        self.path_below_base(self.set(slice)?, &Bounds::default(), &around)
    }

    /// Renders the address of every set once, so that none fails later for what its values are. What hangs on a parent's record is
    /// known only with it.
    pub(super) fn check(&self, pager: &Pager) -> Result<(), FetchError> {
        if self.path.uses("parent") || self.path.uses("export") {
            return Ok(());
        }
        let around = Around { page: pager.fields(&PagePosition::start()), parent: None, export: None };
        self.sets.values().try_for_each(|set| self.path_below_base(set, &Bounds::default(), &around).map(drop))
    }

    /// Whether what is asked for hangs on a parent's record.
    pub(super) fn needs_parent(&self) -> bool {
        self.below_parent
    }

    /// As much of the stream's address as is known before its parents are.
    pub(super) fn address_without_parent(&self, pager: &Pager, slice: &Slice) -> Result<Url, FetchError> {
        match self.path.uses("parent") {
            true => Ok(self.base_url.clone()),
            false => self.stream_address(pager, slice, &PagePosition::start(), None),
        }
    }

    fn set(&self, slice: &Slice) -> Result<&SetPlan, FetchError> {
        self.sets.get(&slice.partition).ok_or_else(|| bug(&format!("there is no parameter set `{}`", slice.partition)))
    }

    /// The query entries of a slice's first request but those of its paging; none where that begins at an address of the source's own.
    pub(super) fn asked(
        &self,
        pager: &Pager,
        slice: &Slice,
        at: &PagePosition,
        export: Option<String>,
    ) -> Result<Vec<(String, String)>, FetchError> {
        if self.token_is_address && matches!(slice.reach, Reach::Token(Some(_))) {
            return Ok(Vec::new());
        }
        let bounds = bounds(self.cursor.as_ref(), &slice.reach).map_err(|why| config(&why))?;
        let first = PagePosition { parent: at.parent.clone(), ..PagePosition::start() };
        let around = Around { page: pager.fields(&first), parent: parent(at)?, export };
        self.entries(&self.set(slice)?.scope(&bounds, &around, str::to_owned), Vec::new())
    }

    fn entries(&self, scope: &Scope, paging: Vec<(String, String)>) -> Result<Vec<(String, String)>, FetchError> {
        let cursor = render(scope, self.cursor.as_ref().map_or(&[], |cursor| &cursor.query))?;
        let mut entries = render(scope, &self.query)?;
        for later in [cursor, paging] {
            // What the cursor or the paging says of a name wins: an entry twice is read differently by every server.
            entries.retain(|(name, _)| !later.iter().any(|(other, _)| other == name));
            entries.extend(later);
        }
        Ok(entries)
    }

    fn address(
        &self,
        set: &SetPlan,
        bounds: &Bounds,
        around: &Around,
        scope: &Scope,
        paging: Vec<(String, String)>,
    ) -> Result<Url, FetchError> {
        let mut url = self.path_below_base(set, bounds, around)?;
        let entries = self.entries(scope, paging)?;
        let pairs: Vec<String> =
            entries.iter().map(|(name, value)| format!("{}={}", encode_query(name), encode_query(value))).collect();
        url.set_query((!pairs.is_empty()).then(|| pairs.join("&")).as_deref());
        Ok(url)
    }

    fn path_below_base(&self, set: &SetPlan, bounds: &Bounds, around: &Around) -> Result<Url, FetchError> {
        below(&self.base_url, &self.path, |write| set.scope(bounds, around, write))
    }
}

/// A path below a source's own. `scope` makes what the template may speak of, every text written as it is told: values are encoded
/// before they enter the template, for afterwards nobody could tell their slashes from the template's own.
pub(super) fn below(
    base_url: &Url,
    template: &Template,
    scope: impl FnOnce(&dyn Fn(&str) -> String) -> Scope,
) -> Result<Url, FetchError> {
    let scope = scope(&|text| utf8_percent_encode(text, VALUE).to_string());
    let rendered = template.render(&scope).map_err(|why| config(&format!("path: {why}")))?;
    let path = utf8_percent_encode(rendered.trim_start_matches('/'), LITERAL).to_string();
    if path.split('/').any(is_dots) {
        return Err(config(&format!("path: `{path}` has a step `.` or `..`")));
    }
    // It would lead to another address, of all records in place of one.
    let is_hollow = |path: &str| (path.contains("//"), path.ends_with('/'));
    let (meant, found) = (is_hollow(template.text().trim().trim_start_matches('/')), is_hollow(&path));
    if (found.0 && !meant.0) || (found.1 && !meant.1) {
        return Err(config(&format!("path: `{path}` has an empty step: a value in it is null or an empty text")));
    }
    let mut url = base_url.clone();
    if !path.is_empty() {
        url.set_path(&format!("{}/{path}", base_url.path().trim_end_matches('/')));
    }
    Ok(url)
}

impl SetPlan {
    /// What the templates of a request may speak of; `write` is how its place writes a text.
    fn scope(&self, bounds: &Bounds, around: &Around, write: impl Fn(&str) -> String) -> Scope {
        let parameters: BTreeMap<String, String> =
            self.parameters.iter().map(|(name, value)| (name.clone(), write(value))).collect();
        let (from, to) = (bounds.from.as_deref().map(&write), bounds.to.as_deref().map(&write));
        let fields = around.page.iter().map(|(name, value)| match value.as_str() {
            Some(text) => (*name, Field::from(write(text))),
            None => (*name, value.clone()),
        });
        let scope = Scope::new().parameters(&parameters).bounds(from.as_deref(), to.as_deref()).set_fields("page", fields);
        let scope = match &around.export {
            Some(id) => scope.set_fields("export", [("id", Field::from(write(id)))]),
            None => scope,
        };
        match &around.parent {
            Some(parent) => scope.set_value("parent", field(parent, &write)),
            None => scope,
        }
    }
}

fn token_address(link: &str, paging: &[(String, String)]) -> Result<Url, FetchError> {
    let mut url = Url::parse(link)
        .map_err(|_| config("the token of the last run is no address; add an entry with `{{ from }}` to the cursor's `query`"))?;
    for (name, value) in paging {
        url.query_pairs_mut().append_pair(name, value);
    }
    Ok(url)
}

/// Query entries; one that renders to nothing is left out.
fn render(scope: &Scope, entries: &[(String, Template)]) -> Result<Vec<(String, String)>, FetchError> {
    let mut rendered = Vec::with_capacity(entries.len());
    for (name, template) in entries {
        let value = template.render(scope).map_err(|why| config(&format!("query.{name}: {why}")))?;
        if !value.is_empty() {
            rendered.push((name.clone(), value));
        }
    }
    Ok(rendered)
}

/// The cursor; where an export is asked for by it, what fetches that is not.
fn cursor(job: &Job) -> Option<Cursor> {
    let mut cursor = job.stream.cursor.clone()?;
    if job.stream.export.is_some() {
        cursor.query.clear();
    }
    Some(cursor)
}

/// Whether a cursor's bounds are numbers.
fn counts(cursor: &Cursor) -> bool {
    let is_epoch = cursor.cursor_type.is_time() && cursor.format == CursorFormat::Number;
    is_epoch || cursor.cursor_type == CursorType::Integer
}

/// Whether a segment means «here» or «up» to anybody who resolves it (WHATWG URL, section 4.4).
fn is_dots(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

fn headers(job: &Job, parameters: &BTreeMap<String, String>) -> Result<HeaderMap, FetchError> {
    let scope = Scope::new().parameters(parameters);
    let mut headers = HeaderMap::new();
    for (name, template) in &job.source.headers {
        // Refuses line ends: a parameter cannot add a header of its own.
        let value = template.render_header(&scope).map_err(|why| config(&format!("headers.{name}: {why}")))?;
        headers.append(name.clone(), value);
    }
    if !headers.contains_key(ACCEPT) {
        headers.insert(ACCEPT, HeaderValue::from_static(accepted(&job.stream.format)));
    }
    Ok(headers)
}

/// Few APIs that send something else than JSON know its name: whatever they have is taken too.
fn accepted(format: &Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson, */*;q=0.1",
        Format::Csv(_) => "text/csv, */*;q=0.1",
        Format::Xml(_) => "application/xml, text/xml;q=0.9, */*;q=0.1",
    }
}

fn config(message: &str) -> FetchError {
    FetchError::new(ErrorKind::Config, message)
}

fn bug(message: &str) -> FetchError {
    FetchError::new(ErrorKind::Bug, message)
}
