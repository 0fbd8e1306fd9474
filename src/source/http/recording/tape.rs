//! Writes a recording beside a load.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use jiff::Timestamp;

use crate::config::catalog::{ApiKeyPlace, Auth, Job};
use crate::slice::Cover;

use super::super::redact::Redactor;
use super::files::{
    Answer, Asked, BYTES_MAX, EXCHANGES_MAX, Ended, FORMAT, Head, MANIFEST, Manifest, body_name, head_name, write_json,
};
use super::{HIDDEN, is_secret};

/// A recording at work. What cannot be kept ends it, never the load.
pub struct Tape {
    folder: PathBuf,
    hidden: Option<String>,
    inner: Mutex<Inner>,
}

struct Inner {
    manifest: Manifest,
    bytes: u64,
    bytes_max: u64,
    trouble: Option<String>,
}

/// What a recording came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub exchanges: u64,
    pub bytes: u64,
    pub redacted: u64,
    pub ended: Ended,
    /// Why it could not be written any more.
    pub trouble: Option<String>,
}

impl Tape {
    /// Begins a recording of a job's run in a folder that is new or empty. `as_of` is what the run plans by. The error says what is
    /// wrong with the folder.
    pub fn begin(folder: &Path, job: &Job, as_of: Timestamp) -> Result<Tape, String> {
        let failed = |error: io::Error| format!("the folder `{}` cannot be made: {error}", folder.display());
        fs::create_dir_all(folder).map_err(failed)?;
        if folder.join(MANIFEST).exists() {
            return Err(format!("`{}` holds a recording already: name another folder, or remove it", folder.display()));
        }
        if fs::read_dir(folder).map_err(failed)?.next().is_some() {
            return Err(format!("`{}` is not empty: a recording begins in a folder of its own", folder.display()));
        }
        let hidden = match &job.source.auth {
            Auth::ApiKey { name, place: ApiKeyPlace::Query, .. } => Some(name.clone()),
            _ => None,
        };
        let manifest = Manifest {
            format: FORMAT,
            job: job.name.to_string(),
            source: job.source.name.clone(),
            stream: job.stream.name.clone(),
            as_of,
            covers: Vec::new(),
            ended: Ended::Not,
            exchanges: 0,
            redacted: 0,
            hidden: hidden.clone(),
        };
        write_json(folder, MANIFEST, &manifest).map_err(failed)?;
        let inner = Inner { manifest, bytes: 0, bytes_max: BYTES_MAX, trouble: None };
        Ok(Tape { folder: folder.to_owned(), hidden, inner: Mutex::new(inner) })
    }

    #[cfg(test)]
    pub(in crate::source::http) fn of_at_most(self, bytes_max: u64) -> Self {
        self.inner().bytes_max = bytes_max;
        self
    }

    /// The query entry that carries the credential.
    pub(in crate::source::http) fn hidden(&self) -> Option<&str> {
        self.hidden.as_deref()
    }

    /// Keeps an exchange.
    pub(in crate::source::http) fn keep(
        &self,
        request: Asked,
        (status, headers, body): (StatusCode, &HeaderMap, &Bytes),
        at: Timestamp,
        redactor: &Redactor,
    ) {
        let mut inner = self.inner();
        if inner.manifest.ended != Ended::Not {
            return;
        }
        let text = match std::str::from_utf8(body) {
            Ok(text) => Some(redactor.scrub(text)).filter(|shown| shown != text).map(String::into_bytes),
            // Each byte a character: what is no UTF-8 may be text all the same.
            Err(_) => {
                let text: String = body.iter().map(|byte| char::from(*byte)).collect();
                Some(redactor.scrub(&text)).filter(|shown| *shown != text).map(|shown| shown.chars().map(latin).collect())
            }
        };
        let (shown, is_redacted) =
            (text.as_ref().map_or_else(|| body.clone(), |text| Bytes::copy_from_slice(text)), text.is_some());
        let bytes = inner.bytes.saturating_add(shown.len() as u64);
        if bytes > inner.bytes_max || inner.manifest.exchanges >= EXCHANGES_MAX {
            inner.manifest.ended = Ended::Full;
            return;
        }
        let number = inner.manifest.exchanges + 1;
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let file = (!shown.is_empty()).then(|| body_name(number, content_type));
        let shown_headers = headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            let value = if is_secret(name.as_str()) { HIDDEN.to_owned() } else { redactor.scrub(&value) };
            (name.as_str().to_owned(), value)
        });
        let answer = Answer {
            at,
            status: status.as_u16(),
            headers: shown_headers.collect(),
            body: file.clone(),
            bytes: shown.len() as u64,
        };
        // The head last: one without its body would be a lie.
        let written = file.map_or(Ok(()), |file| fs::write(self.folder.join(file), &shown));
        let written = written.and_then(|()| write_json(&self.folder, &head_name(number), &Head { request, answer }));
        match written {
            Ok(()) => {
                inner.bytes = bytes;
                inner.manifest.exchanges = number;
                inner.manifest.redacted += u64::from(is_redacted);
            }
            Err(error) => {
                inner.manifest.ended = Ended::Broken;
                inner.trouble = Some(format!("exchange `{number}` cannot be written: {error}"));
            }
        }
    }

    /// Ends the recording of a run that began with these covers.
    pub fn finish(&self, covers: Vec<Cover>) -> Summary {
        let mut inner = self.inner();
        inner.manifest.covers = covers;
        if inner.manifest.ended == Ended::Not {
            inner.manifest.ended = Ended::Whole;
        }
        if let Err(error) = write_json(&self.folder, MANIFEST, &inner.manifest) {
            inner.manifest.ended = Ended::Broken;
            inner.trouble.get_or_insert(format!("`{MANIFEST}` cannot be written: {error}"));
        }
        let Manifest { exchanges, redacted, ended, .. } = inner.manifest;
        Summary { exchanges, bytes: inner.bytes, redacted, ended, trouble: inner.trouble.clone() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The byte that a character stood for.
fn latin(character: char) -> u8 {
    u8::try_from(u32::from(character)).unwrap_or(b'?')
}
