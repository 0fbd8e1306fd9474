//! What a request is known by, and what it is nearest to where nothing is the same. Pure.

use std::fmt;

use url::Url;

use super::files::{Asked, Head};

/// Of that many differences a message tells.
const TOLD_MAX: usize = 4;
/// Longest value that a message shows, in characters.
const VALUE_MAX: usize = 80;

/// What tells requests apart, besides their headers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    method: String,
    path: String,
    /// Sorted.
    query: Vec<(String, String)>,
    body: Option<String>,
}

impl Key {
    pub(super) fn of(asked: &Asked) -> Result<Key, String> {
        let wrong = |error: url::ParseError| format!("an exchange has no address: {error}");
        let url = Url::parse(&asked.address).map_err(wrong)?;
        let mut query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        query.sort();
        // The order of an object's entries says nothing.
        let body = asked.body.as_ref().map(|body| match serde_json::from_str::<serde_json::Value>(body) {
            Ok(value) => value.to_string(),
            Err(_) => body.clone(),
        });
        Ok(Key { method: asked.method.clone(), path: url.path().to_owned(), query, body })
    }

    fn values(&self, name: &str) -> Vec<&str> {
        self.query.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Path and query, for messages.
    fn target(&self) -> String {
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        match query.is_empty() {
            true => shown(&self.path),
            false => shown(&format!("{}?{}", self.path, query.join("&"))),
        }
    }
}

/// A request that a recording has no answer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// Method, path and query.
    pub asked: String,
    /// The number of the exchange that is nearest, and what it asked for; none in a recording without exchanges.
    pub nearest: Option<(usize, String)>,
    pub differences: Vec<Difference>,
}

/// What a request and the recorded one have different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    Method {
        asked: String,
        recorded: String,
    },
    Path {
        asked: String,
        recorded: String,
    },
    /// `None` where the entry is not there.
    Query {
        name: String,
        asked: Option<String>,
        recorded: Option<String>,
    },
    Body,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Method { asked, recorded } => write!(f, "the method was `{recorded}` and is `{asked}`"),
            Difference::Path { asked, recorded } => write!(f, "the path was `{recorded}` and is `{asked}`"),
            Difference::Query { name, asked: Some(asked), recorded: Some(recorded) } => {
                write!(f, "`{name}` was `{recorded}` and is `{asked}`")
            }
            Difference::Query { name, asked: Some(asked), .. } => write!(f, "`{name}` is new, with `{asked}`"),
            Difference::Query { name, recorded, .. } => {
                write!(f, "`{name}` is gone, it was `{}`", recorded.as_deref().unwrap_or_default())
            }
            Difference::Body => f.write_str("the body is another one"),
        }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it has no answer to `{}`", self.asked)?;
        let Some((number, recorded)) = &self.nearest else { return f.write_str("; it has none at all") };
        let told: Vec<String> = self.differences.iter().take(TOLD_MAX).map(ToString::to_string).collect();
        let more = self.differences.len().saturating_sub(TOLD_MAX);
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        write!(f, "; the nearest is exchange {number}, `{recorded}`: {}{more}", told.join(", "))
    }
}

/// What a request without an answer comes closest to.
pub(super) fn nearest(asked: &Asked, heads: &[Head], keys: &[Key]) -> Result<Miss, String> {
    let key = Key::of(asked)?;
    let best = keys.iter().enumerate().min_by_key(|(place, known)| (distance(&key, known), *place));
    let asked = format!("{} {}", key.method, key.target());
    let Some((place, known)) = best else { return Ok(Miss { asked, nearest: None, differences: Vec::new() }) };
    let recorded = format!("{} {}", heads[place].request.method, known.target());
    Ok(Miss { asked, nearest: Some((place + 1, recorded)), differences: differences(&key, known) })
}

fn distance(key: &Key, known: &Key) -> usize {
    let path = match key.path == known.path {
        true => 0,
        // Long paths cost a quadratic comparison.
        false if key.path.len().max(known.path.len()) > 256 => 2000,
        false => 1000 + strsim::damerau_levenshtein(&key.path, &known.path),
    };
    path + 100 * usize::from(key.method != known.method) + differences(key, known).len()
}

fn differences(key: &Key, known: &Key) -> Vec<Difference> {
    let mut found = Vec::new();
    if key.method != known.method {
        found.push(Difference::Method { asked: key.method.clone(), recorded: known.method.clone() });
    }
    if key.path != known.path {
        found.push(Difference::Path { asked: shown(&key.path), recorded: shown(&known.path) });
    }
    let mut names: Vec<&str> = key.query.iter().chain(&known.query).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (asked, recorded) = (key.values(name), known.values(name));
        if asked != recorded {
            let text = |values: Vec<&str>| (!values.is_empty()).then(|| shown(&values.join(", ")));
            found.push(Difference::Query { name: shown(name), asked: text(asked), recorded: text(recorded) });
        }
    }
    if key.body != known.body {
        found.push(Difference::Body);
    }
    found
}

fn shown(text: &str) -> String {
    let line = crate::printable::one_line(text);
    match line.char_indices().nth(VALUE_MAX) {
        Some((cut, _)) => format!("{}...", &line[..cut]),
        None => line,
    }
}
