//! A recording that answers in place of a network.
//!
//! A request is known by its method, path, query, body and headers, whatever the order in which it comes; the address's host counts only
//! where several would fit, so that a definition may point elsewhere meanwhile. What was asked several times is answered as it was
//! then, one after the other, and the last answer stays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use url::Url;

use crate::error::ErrorKind;
use crate::source::FetchError;

use super::HIDDEN;
use super::files::{Asked, BYTES_MAX, EXCHANGES_MAX, Ended, FORMAT, Head, MANIFEST, Manifest, head_name, read_capped, read_json};
use super::nearest::{Key, Miss, nearest};

/// Misses that are remembered.
const MISSES_MAX: usize = 100;

/// An opened recording.
pub struct Recording {
    folder: PathBuf,
    pub manifest: Manifest,
    heads: Vec<Head>,
    keys: Vec<Key>,
    /// Exchanges by what was asked, in order.
    by_key: BTreeMap<Key, Vec<usize>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    served: Vec<bool>,
    misses: Vec<Miss>,
}

/// An answer from a recording.
pub(in crate::source::http) struct Found<'a> {
    pub(in crate::source::http) head: &'a Head,
    pub(in crate::source::http) body: Bytes,
}

impl Recording {
    /// Reads a recording's heads; bodies are read when they are asked for. The error says what is wrong, and what to do.
    pub fn open(folder: &Path) -> Result<Recording, String> {
        let in_folder = |why: String| format!("the recording `{}`: {why}", folder.display());
        if !folder.join(MANIFEST).exists() {
            let why = format!("there is no `{MANIFEST}` in it; `highwater run JOB --record DIR` makes one");
            return Err(in_folder(why));
        }
        let manifest: Manifest = read_json(folder, MANIFEST).map_err(in_folder)?;
        if manifest.format > FORMAT {
            let why = format!("it has format `{}`, and this highwater reads up to `{FORMAT}`: use a newer one", manifest.format);
            return Err(in_folder(why));
        }
        let mut heads: Vec<Head> = Vec::new();
        // One that was cut off does not know how many it has.
        for number in 1..=EXCHANGES_MAX {
            let name = head_name(number);
            if !folder.join(&name).exists() {
                break;
            }
            heads.push(read_json(folder, &name).map_err(in_folder)?);
        }
        if (heads.len() as u64) < manifest.exchanges {
            let why = format!("exchange `{}` of `{}` is missing", heads.len() + 1, manifest.exchanges);
            return Err(in_folder(why));
        }
        let keys = heads.iter().map(|head| Key::of(&head.request)).collect::<Result<Vec<_>, _>>().map_err(in_folder)?;
        let mut by_key: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
        for (place, key) in keys.iter().enumerate() {
            by_key.entry(key.clone()).or_default().push(place);
        }
        let inner = Inner { served: vec![false; heads.len()], misses: Vec::new() };
        Ok(Recording { folder: folder.to_owned(), manifest, heads, keys, by_key, inner: Mutex::new(inner) })
    }

    /// Fails for a recording that has no end: what it covers is not known.
    pub fn require_end(&self) -> Result<(), String> {
        match self.manifest.ended {
            Ended::Whole | Ended::Full => Ok(()),
            Ended::Not | Ended::Broken => Err(format!(
                "the recording `{}` was cut off after `{}` exchanges and has no end: record it again",
                self.folder.display(),
                self.heads.len()
            )),
        }
    }

    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// An exchange's body; `number` counts from 1.
    pub fn body(&self, number: usize) -> Result<Bytes, String> {
        let head = number.checked_sub(1).and_then(|place| self.heads.get(place));
        let head = head.ok_or_else(|| format!("there is no exchange `{number}`"))?;
        let Some(name) = &head.answer.body else { return Ok(Bytes::new()) };
        // The folder may have come from anywhere.
        if name.contains(['/', '\\']) || !name.starts_with(&format!("{number:06}.body.")) {
            return Err(format!("exchange `{number}` names a body that is not its own: `{name}`"));
        }
        let body =
            read_capped(&self.folder.join(name), BYTES_MAX).map_err(|error| format!("`{name}` cannot be read: {error}"))?;
        match body.len() as u64 == head.answer.bytes {
            true => Ok(Bytes::from(body)),
            false => Err(format!("`{name}` has `{}` bytes, and `{}` were recorded", body.len(), head.answer.bytes)),
        }
    }

    /// Numbers of the exchanges that nobody has asked for, from 1.
    pub fn unserved(&self) -> Vec<usize> {
        let inner = self.inner();
        let unserved = inner.served.iter().enumerate().filter(|(_, served)| !**served);
        unserved.map(|(place, _)| place + 1).collect()
    }

    /// What was asked for and is not there.
    pub fn misses(&self) -> Vec<Miss> {
        self.inner().misses.clone()
    }

    /// The query entry that carried the credential.
    pub(in crate::source::http) fn hidden(&self) -> Option<&str> {
        self.manifest.hidden.as_deref()
    }

    /// The answer to a request.
    pub(in crate::source::http) fn answer(&self, asked: &Asked) -> Result<Found<'_>, FetchError> {
        let config =
            |why: String| FetchError::new(ErrorKind::Config, format!("the recording `{}`: {why}", self.folder.display()));
        let place = match self.find(asked).map_err(config)? {
            Some(place) => place,
            None => {
                let miss = nearest(asked, &self.heads, &self.keys).map_err(config)?;
                let full = match self.manifest.ended {
                    Ended::Full => "; the recording is full and ends before its run did",
                    _ => "",
                };
                let error = config(format!("{miss}{full}"));
                let mut inner = self.inner();
                if inner.misses.len() < MISSES_MAX {
                    inner.misses.push(miss);
                }
                return Err(error);
            }
        };
        let body = self.body(place + 1).map_err(|why| {
            FetchError::new(ErrorKind::Data, format!("the recording `{}` is damaged: {why}", self.folder.display()))
        })?;
        Ok(Found { head: &self.heads[place], body })
    }

    fn find(&self, asked: &Asked) -> Result<Option<usize>, String> {
        let Some(places) = self.by_key.get(&Key::of(asked)?) else { return Ok(None) };
        let same_origin = |place: &usize| origin(&self.heads[*place].request.address) == origin(&asked.address);
        let near: Vec<usize> = places.iter().copied().filter(same_origin).collect();
        let places = if near.is_empty() { places } else { &near };
        let apart = |place: usize| different_headers(&self.heads[place].request.headers, &asked.headers);
        let least = places.iter().map(|place| apart(*place)).min().unwrap_or_default();
        let mut places: Vec<usize> = places.iter().copied().filter(|place| apart(*place) == least).collect();
        // A token that had ended was renewed then, and a replay has none.
        let is_refusal = |place: &usize| self.heads[*place].answer.status == 401;
        if let Some(last) = places.iter().rposition(|place| !is_refusal(place)) {
            let mut at = 0;
            places.retain(|place| {
                at += 1;
                at > last || !is_refusal(place)
            });
        }
        let mut inner = self.inner();
        let place = places.iter().copied().find(|place| !inner.served[*place]).or(places.last().copied());
        if let Some(place) = place {
            // Those that were passed over count as asked for: the credential is no business of a definition's streams.
            let passed = self.by_key.get(&self.keys[place]).into_iter().flatten().copied();
            passed.filter(|other| *other < place && is_refusal(other)).for_each(|other| inner.served[other] = true);
            inner.served[place] = true;
        }
        Ok(place)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn origin(address: &str) -> Option<url::Origin> {
    Url::parse(address).ok().map(|url| url.origin())
}

fn different_headers(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> usize {
    let differs = |(name, value): &(&String, &String), there: &BTreeMap<String, String>| match there.get(*name) {
        Some(found) => found != *value && found != HIDDEN && *value != HIDDEN,
        None => true,
    };
    one.iter().filter(|entry| differs(entry, other)).count() + other.keys().filter(|name| !one.contains_key(*name)).count()
}
