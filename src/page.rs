//! One answer of an API on its way from the network to columns.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::slice::Span;

/// A path into a response: `header.NAME`, or dotted into the body (`data.items`, `items.0.id`); a key that holds a dot is quoted
/// (`'"@odata.nextLink"'`). In a list a step is an index, `-1` the last. The empty path is the body itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResponsePath {
    /// A response header, in lower case.
    Header(String),
    /// Steps from the body's root; an index is a step of digits.
    Body(Vec<String>),
}

impl ResponsePath {
    /// Reads the textual form. The error says what is wrong with it, lower case, without a full stop.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("header.") {
            return match http::header::HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => Ok(ResponsePath::Header(name.as_str().to_owned())),
                Err(_) => Err(format!("`{name}` is not a header name")),
            };
        }
        Ok(ResponsePath::Body(split_path(text)?))
    }

    /// The body's root.
    pub fn root() -> Self {
        ResponsePath::Body(Vec::new())
    }
}

/// Splits a dotted path with quoted keys into its steps; the empty text has none.
pub fn split_path(text: &str) -> Result<Vec<String>, String> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (step, tail) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find('"').ok_or_else(|| format!("the quote in `{text}` is not closed"))?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if step.is_empty() {
            return Err(format!("`{text}` has an empty step"));
        }
        steps.push(step.to_owned());
        rest = match tail.strip_prefix('.') {
            Some("") => return Err(format!("`{text}` ends with a dot")),
            Some(more) => more,
            None if tail.is_empty() => tail,
            None => return Err(format!("`{text}` lacks a dot after a quoted step")),
        };
    }
    Ok(steps)
}

/// The value at a path's steps; an index steps into a list, `-1` to its last item.
pub fn find_value<'a>(value: &'a serde_json::Value, steps: &[String]) -> Option<&'a serde_json::Value> {
    steps.iter().try_fold(value, |at, step| match at {
        serde_json::Value::Array(items) if step == "-1" => items.last(),
        serde_json::Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}

/// The dotted form of a path's steps; steps that hold a dot are quoted.
pub fn join_path<S: AsRef<str>>(steps: &[S]) -> String {
    let quote = |step: &S| match step.as_ref() {
        step if step.contains('.') => format!("\"{step}\""),
        step => step.to_owned(),
    };
    steps.iter().map(quote).collect::<Vec<_>>().join(".")
}

impl fmt::Display for ResponsePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResponsePath::Header(name) => write!(f, "header.{name}"),
            ResponsePath::Body(steps) => f.write_str(&join_path(steps)),
        }
    }
}

/// Where one paging sequence stands. Plain data: two equal positions ask for the same page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagePosition {
    /// Pages before this one in the sequence; 0 for the first.
    pub index: u64,
    /// Records received on the pages before this one.
    pub records_before: u64,
    /// What the next request carries.
    pub at: PageAt,
    /// Whose records are paged, where a stream is gone over for each record of another.
    pub parent: Option<Arc<ParentAt>>,
}

/// A record of a parent stream: where it stands, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentAt {
    /// The parents' page.
    pub page: PagePosition,
    /// Its place among those of the page that are gone over.
    pub nth: usize,
    /// Its JSON text; `None` until the page is there.
    pub record: Option<String>,
    /// Which record it is, on whatever page it stands; `None` where nothing tells.
    pub identity: Option<ParentId>,
}

/// The first 16 bytes of SHA-256 over the key of a parent's record, and over that of its own parent.
pub type ParentId = [u8; 16];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageAt {
    /// The first request, as the paging kind starts it.
    Start,
    /// A page number, or an offset in records.
    Number(u64),
    /// An opaque page token.
    Token(String),
    /// An absolute address that was checked against the origin rule.
    Url(String),
}

impl PagePosition {
    pub fn start() -> Self {
        PagePosition { index: 0, records_before: 0, at: PageAt::Start, parent: None }
    }

    /// The position after a page of `records` records.
    pub fn after(&self, records: u64, at: PageAt) -> Self {
        PagePosition { index: self.index + 1, records_before: self.records_before + records, at, parent: self.parent.clone() }
    }
}

/// One page as it came: a successful status, the body decompressed and within its cap, not yet looked into.
#[derive(Clone, Debug)]
pub struct RawPage {
    pub position: PagePosition,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// When the answer was complete, by our clock.
    pub received_at: Timestamp,
    /// The source's own clock: the `Date` header of this answer, where it has one.
    pub source_now: Option<Timestamp>,
    /// The address without query and credentials, for messages.
    pub address: String,
    /// Fields that each record gets besides its own.
    pub carried: Option<Carried>,
    /// The page was refused for good, and this is kept of it.
    pub aside: Option<Arc<Aside>>,
    /// Stretches of the cursor's line whose records count here besides those of the slice.
    pub also: Option<Also>,
    /// Of a first page: by what to ask whether it has changed, should it be the only one.
    pub answered: Option<Answered>,
    /// What was made of the body before the page's turn.
    pub prepared: Prepared,
}

/// Work that was done on a page while it waited for its turn, for whoever knows what it is. It is taken once; without it the work is done
/// when the turn comes.
#[derive(Clone, Default)]
pub struct Prepared(Option<Arc<Mutex<Work>>>);

type Work = Option<Box<dyn Any + Send>>;

impl Prepared {
    pub fn of<T: Any + Send>(work: T) -> Self {
        Prepared(Some(Arc::new(Mutex::new(Some(Box::new(work))))))
    }

    /// `None` where there is none of this kind, or no more.
    pub fn take<T: Any>(&self) -> Option<T> {
        let work = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        work.downcast().ok().map(|work| *work)
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "prepared" } else { "not prepared" })
    }
}

/// By what a source can be asked whether an answer is still the same (RFC 9110, section 8.8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Which question it answered, as a digest.
    pub asked: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

/// A page that the source refuses for good, for whoever looks at the dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    /// Lower case, without a full stop.
    pub reason: String,
    /// Method and address, without secrets.
    pub request: String,
    pub status: u16,
    /// The beginning of what the answer said, without secrets.
    pub body: String,
}

/// Stretches of a cursor's line.
pub type Also = Arc<Vec<Span>>;

/// Names and values of fields.
pub type Carried = Arc<Vec<(String, serde_json::Value)>>;

impl RawPage {
    /// The page of an answer that was not kept, and counts as none.
    pub fn nothing() -> Self {
        RawPage {
            position: PagePosition::start(),
            status: 204,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            received_at: Timestamp::UNIX_EPOCH,
            source_now: None,
            address: String::new(),
            carried: None,
            aside: None,
            also: None,
            answered: None,
            prepared: Prepared::default(),
        }
    }

    /// The page of an answer that counts as none: nothing is in it, and nothing follows it.
    pub fn into_nothing(self) -> Self {
        let (headers, body, prepared) = (HeaderMap::new(), Bytes::new(), Prepared::default());
        RawPage { status: 204, headers, body, answered: None, prepared, ..self }
    }
}

/// A scalar found at a path, as the text it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Captured {
    Null,
    Boolean(bool),
    /// The digits as they stood.
    Number(String),
    Text(String),
    /// An object or array; only its kind is kept.
    Nested,
}

impl Captured {
    /// The scalar as text; `None` for null and nested values.
    pub fn text(&self) -> Option<String> {
        match self {
            Captured::Null | Captured::Nested => None,
            Captured::Boolean(value) => Some(value.to_string()),
            Captured::Number(text) | Captured::Text(text) => Some(text.clone()),
        }
    }
}

/// What stood around the records of a page: what paging and error rules look at.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    /// Values at the paths that were asked for; a path that leads nowhere is absent.
    pub captured: BTreeMap<ResponsePath, Captured>,
    /// Records in the page, before any cut.
    pub records: u64,
    /// The answer has no body, or none that counts: nothing follows it.
    pub is_nothing: bool,
}
