//! An answer as the dialects look at it.

use ::http::header::{AGE, DATE, HeaderName, HeaderValue};
use ::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use crate::outbound::http_date;

use super::number;

/// What is longer says nothing of limits.
const VALUE_MAX: usize = 4 * 1024;

fn text(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?.trim();
    (text.len() <= VALUE_MAX).then_some(text)
}

/// Headers whose names begin alike: the rest of each name, in lower case, and the value.
pub(super) struct Family<'a>(Vec<(&'a str, &'a HeaderValue)>);

impl<'a> Family<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value of the header whose name goes on with these parts.
    pub fn text(&self, parts: &[&str]) -> Option<&'a str> {
        let rest = |name: &'a str| parts.iter().try_fold(name, |name, part| name.strip_prefix(part));
        let (_, value) = self.0.iter().find(|(name, _)| rest(name) == Some(""))?;
        text(value)
    }

    /// One that counts something.
    pub fn count(&self, parts: &[&str]) -> Option<u64> {
        number::count(self.text(parts)?)
    }
}

pub(super) struct Answer<'a> {
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
    /// Our clock.
    pub now: Timestamp,
    /// The server's clock; ours where it does not show its own.
    pub date: Timestamp,
    /// The beginning of an error's body.
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    pub fn new(status: StatusCode, headers: &'a HeaderMap, body: &'a [u8], now: Timestamp) -> Self {
        let date = headers.get(DATE).and_then(|date| http_date::parse(date.to_str().ok()?)).unwrap_or(now);
        Answer { status, headers, now, date, body }
    }

    /// A header's first value.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        text(self.headers.get(name)?)
    }

    /// The headers whose names begin with `prefix`. Each answer is looked at, and most have none of a dialect's many.
    pub fn family(&self, prefix: &str) -> Family<'a> {
        let member = |(name, value): (&'a HeaderName, &'a HeaderValue)| Some((name.as_str().strip_prefix(prefix)?, value));
        Family(self.headers.iter().filter_map(member).collect())
    }

    /// A list header's values as one, as if they stood in one line.
    pub fn list(&self, name: &str) -> Option<String> {
        let mut all = String::new();
        for value in self.headers.get_all(name) {
            let value = value.to_str().ok()?;
            if all.len() + value.len() > VALUE_MAX {
                return None;
            }
            if !all.is_empty() {
                all.push_str(", ");
            }
            all.push_str(value);
        }
        (!all.is_empty()).then_some(all)
    }

    /// A header that counts something.
    pub fn count(&self, name: &str) -> Option<u64> {
        number::count(self.text(name)?)
    }

    /// Whether a cache kept the answer.
    pub fn is_from_cache(&self) -> bool {
        self.text(AGE.as_str()).and_then(number::count).is_some_and(|age| age > 0)
    }

    /// The body, if it is JSON and came whole.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(self.body).ok()
    }

    /// The body as text, in lower case, for phrases.
    pub fn phrases(&self) -> String {
        String::from_utf8_lossy(self.body).to_lowercase()
    }
}
