//! One answer of an API on its way from the network to columns.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::slice::Span;

/// How deep a value may be nested that is taken apart.
const DEPTH_MAX: usize = 128;

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

/// Whether two dotted paths lead to the same place, however they are quoted.
pub fn is_same_path(one: &str, other: &str) -> bool {
    one == other || split_path(one).is_ok_and(|steps| split_path(other).is_ok_and(|others| steps == others))
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

/// The text of the value at a path's steps in a JSON text, as it stands there; steps are those of [`find_value`].
pub fn find_text<'a>(text: &'a str, steps: &[String]) -> Option<&'a str> {
    steps.iter().try_fold(text.trim(), |at, step| {
        let found = match at.as_bytes().first()? {
            b'{' => serde_json::from_str::<HashMap<String, &'a RawValue>>(at).ok()?.remove(step)?,
            b'[' => {
                let mut items = serde_json::from_str::<Vec<&'a RawValue>>(at).ok()?;
                if step == "-1" { items.pop()? } else { items.get(step.parse::<usize>().ok()?)? }
            }
            _ => return None,
        };
        Some(found.get())
    })
}

/// The value of a JSON text, with every number that is no whole one of 64 bits as the text that it is: none is rounded.
///
/// # Errors
/// What is wrong with the text; nested deeper than [`DEPTH_MAX`] is.
pub fn exact_value(text: &str) -> Result<serde_json::Value, String> {
    exact_to(text, DEPTH_MAX)
}

fn exact_to(text: &str, depth: usize) -> Result<serde_json::Value, String> {
    let wrong = |error: serde_json::Error| error.to_string();
    let text = text.trim();
    let deeper = depth.checked_sub(1).ok_or_else(|| format!("it is nested more than {DEPTH_MAX} levels deep"));
    match text.as_bytes().first() {
        Some(b'{') => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(wrong)?;
            let deeper = deeper?;
            let fields = fields.into_iter().map(|(name, value)| Ok((name, exact_to(value.get(), deeper)?)));
            fields.collect::<Result<_, String>>().map(serde_json::Value::Object)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(wrong)?;
            let deeper = deeper?;
            items.into_iter().map(|item| exact_to(item.get(), deeper)).collect::<Result<_, _>>().map(serde_json::Value::Array)
        }
        Some(b'-' | b'0'..=b'9') => {
            let is_whole = text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
            let number: &RawValue = serde_json::from_str(text).map_err(wrong)?;
            match is_whole && text != "-0" {
                true => serde_json::from_str(text).map_err(wrong),
                false => Ok(number.get().into()),
            }
        }
        _ => serde_json::from_str(text).map_err(wrong),
    }
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
    /// For the source, of the request that was answered.
    pub receipt: Receipt,
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

/// What a source keeps of the request behind a page, to know it again when it is told what the page says. Nobody else looks into it.
#[derive(Clone, Default)]
pub struct Receipt(Option<Arc<dyn Any + Send + Sync>>);

impl Receipt {
    pub fn of<T: Any + Send + Sync>(kept: Arc<T>) -> Self {
        Receipt(Some(kept))
    }

    /// `None` where there is none of this kind.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.as_ref()?).downcast().ok()
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "a receipt" } else { "no receipt" })
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

/// Names of fields, and their values as JSON texts.
pub type Carried = Arc<Vec<(String, String)>>;

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
            receipt: Receipt::default(),
        }
    }

    /// The page of an answer that counts as none: nothing is in it, and nothing follows it.
    pub fn into_nothing(self) -> Self {
        let (headers, body, prepared, receipt) = (HeaderMap::new(), Bytes::new(), Prepared::default(), Receipt::default());
        RawPage { status: 204, headers, body, answered: None, prepared, receipt, ..self }
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
    /// That of the page.
    pub receipt: Receipt,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#" {"id": 100000000000000000000001, "p": 1.10, "n": -0, "big": 1e400, "list": [1, {"x": "a\u0062"}], "whole": -7, "none": null} "#;

    #[test]
    fn what_stands_at_a_path_is_found_as_it_stands_there() {
        let found = |path: &str| find_text(RECORD, &split_path(path).unwrap());
        for (path, text) in [
            ("id", "100000000000000000000001"),
            ("p", "1.10"),
            ("list.0", "1"),
            ("list.-1.x", r#""a\u0062""#),
            ("list.1", r#"{"x": "a\u0062"}"#),
            ("none", "null"),
            ("", RECORD.trim()),
        ] {
            assert_eq!(found(path), Some(text), "{path}");
        }
        for path in ["other", "list.2", "list.x", "id.x"] {
            assert_eq!(found(path), None, "{path}");
        }
        assert_eq!(find_text("no json", &["a".to_owned()]), None);
    }

    #[test]
    fn no_number_is_rounded() {
        let expected = serde_json::json!({
            "id": "100000000000000000000001", "p": "1.10", "n": "-0", "big": "1e400", "list": [1, { "x": "ab" }], "whole": -7, "none": null
        });
        assert_eq!(exact_value(RECORD).unwrap(), expected);
        for wrong in ["", "{", "[1,]", "01", "-", "1e", "nul", "{\"a\":1}x"] {
            assert!(exact_value(wrong).is_err(), "{wrong}");
        }
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(exact_value(&deep(DEPTH_MAX)).is_ok());
        assert!(exact_value(&deep(100_000)).unwrap_err().contains("levels deep"));
    }
}
