//! `highwater check --against DIR`: where a definition and a recording disagree. Nothing is sent.
//!
//! The job is run from the recording into a folder that is gone afterwards, which shows what it would ask for; and each recorded page is
//! looked at by itself, so that one thing that is wrong does not hide the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::cli::Context;
use crate::cli::engine::JobEnd;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::text::counted;
use crate::config::catalog::{CountedEnd, Job, OnTypeChange, Paging, PagingKind, QueryText, RequestBody, Stream};
use crate::config::{Problem, Remark, Severity, at_key};
use crate::decode::{DecodeSpec, Decoder};
use crate::page::{PagePosition, RawPage, ResponsePath, find_value, join_path};
use crate::reject::RejectedAt;
use crate::run::Purpose;
use crate::source::http::recording::{Answer, Asked, Difference, Miss, Recording};

use super::preview::ScratchFolder;
use super::replay;

/// Levels of a body that are looked through for lists.
const DEPTH_MAX: usize = 4;
/// Lists that a message names.
const LISTS_MAX: usize = 5;

/// What a recording and its job's definition have different.
pub(super) async fn problems(context: &Context, project: &Project, folder: &Path) -> Result<Vec<Problem>, Failure> {
    let recording = Recording::open(folder).map_err(|why| Failure::new(crate::cli::exit::Exit::Usage, why))?;
    // Its problems were found already.
    if project.parked.keys().any(|job| job.as_str() == recording.manifest.job) {
        return Ok(Vec::new());
    }
    let job = project.job(&recording.manifest.job)?;
    let recording = Arc::new(replay::open(folder, job)?);
    let scratch = ScratchFolder::make(&format!("highwater-against-{}", context.clock.run_id()))?;
    let offline = replay::offline(job, &scratch.path.join("lake"));
    let end = replay::run_into(project, &offline, &recording, &scratch.path, Purpose::Load).await?;
    let mut found = Found { root: &project.catalog.root, job, problems: Vec::new() };
    found.requests(&recording, &end);
    found.pages(&recording);
    Ok(found.problems)
}

struct Found<'a> {
    root: &'a Path,
    job: &'a Job,
    problems: Vec<Problem>,
}

impl Found<'_> {
    /// Adds what is wrong at a key of a stream.
    fn in_stream(&mut self, severity: Severity, stream: &str, key: &[&str], message: String, help: impl Into<String>) {
        let steps: Vec<&str> = ["streams", stream].into_iter().chain(key.iter().copied()).collect();
        let remark = Remark { severity, file: &self.job.source.file, key: &steps, message, help: help.into() };
        self.problems.push(at_key(self.root, remark));
    }

    fn requests(&mut self, recording: &Recording, end: &JobEnd) {
        let misses = recording.misses();
        for miss in &misses {
            self.miss(miss);
        }
        let name = self.job.stream.name.clone();
        if misses.is_empty() {
            let reason = match &end.outcome {
                Ok(finished) => finished.report.failed.first().map(|failure| failure.reason.clone()),
                Err(trouble) => Some(trouble.reason.clone()),
            };
            if let Some(reason) = reason {
                let message = format!("a run from the recording fails: {reason}");
                self.in_stream(Severity::Error, &name, &[], message, "");
                return;
            }
        }
        let unserved = recording.unserved();
        let Some(first) = unserved.first().and_then(|number| Some((number, recording.heads().get(number - 1)?))) else { return };
        // A run that found no answer ended there: what comes behind says nothing.
        if misses.is_empty() {
            let (number, head) = first;
            let address = head.request.address.split('?').next().unwrap_or_default();
            let message = format!(
                "{} of the recording nobody asks for, the first is {number}, `{} {address}`",
                counted(unserved.len() as u64, "exchange"),
                head.request.method
            );
            let help = "see `paging`, and what slices are cut by: the run that was recorded asked for more";
            self.in_stream(Severity::Warning, &name, &[], message, help);
        }
    }

    fn miss(&mut self, miss: &Miss) {
        let stream = self.job.stream.name.clone();
        let message = format!("the recording disagrees: {miss}");
        let key: Vec<&str> = match miss.differences.first() {
            Some(Difference::Method { .. }) => vec!["method"],
            Some(Difference::Path { .. }) | None => vec!["path"],
            Some(Difference::Query { name, .. }) => query_key(&self.job.stream, name),
            Some(Difference::Body) => vec!["body"],
        };
        let help = "take the change back, or record the run anew if it is meant";
        self.in_stream(Severity::Error, &stream, &key, message, help);
    }

    /// What recorded pages hold, and the definition speaks of.
    fn pages(&mut self, recording: &Recording) {
        let Some(parents) = self.job.of_parent() else { return self.stream(self.job.clone(), recording, |_| true) };
        let whose: Vec<Option<bool>> =
            recording.heads().iter().map(|head| is_of_child(&self.job.stream, &parents.stream, &head.request)).collect();
        self.stream(self.job.clone(), recording, |place| whose[place] == Some(true));
        self.stream(parents, recording, |place| whose[place] == Some(false));
    }

    fn stream(&mut self, job: Job, recording: &Recording, is_its: impl Fn(usize) -> bool) {
        let mut seen = Seen::default();
        for (place, head) in recording.heads().iter().enumerate() {
            if !is_its(place) || !(200..300).contains(&head.answer.status) {
                continue;
            }
            match recording.body(place + 1) {
                Ok(body) if body.is_empty() => {}
                Ok(body) => seen.look(&job, page(&head.answer, body, place), &head.answer, place + 1),
                Err(why) => seen.damaged.push(why),
            }
        }
        self.tell(&job, seen);
    }

    fn tell(&mut self, job: &Job, seen: Seen) {
        let stream = &job.stream;
        let name = stream.name.as_str();
        for why in &seen.damaged {
            self.in_stream(Severity::Error, name, &[], format!("the recording is damaged: {why}"), "record it again");
        }
        if let Some((number, why, lists)) = &seen.unread {
            let help = match lists.is_empty() {
                true => "no list of objects stands in that answer: see `format` and `records`".to_owned(),
                false => format!("lists of objects stand at {}", lists.join(", ")),
            };
            self.in_stream(Severity::Error, name, &["records"], format!("exchange {number}: {why}"), help);
        }
        for ((field, reason), count) in &seen.rejects {
            let message = format!("{count} of {} do not fit: {reason}", counted(seen.records, "record"));
            let is_key = stream.primary_key.contains(field);
            let is_cursor = stream.cursor.as_ref().is_some_and(|cursor| cursor.field == *field);
            match (is_key, is_cursor) {
                (true, _) => self.in_stream(Severity::Error, name, &["primary_key"], message, fields_help(&seen)),
                (_, true) => self.in_stream(Severity::Error, name, &["cursor", "field"], message, fields_help(&seen)),
                _ if self.job.columns.contains_key(field) => self.column(field, message, "declare the type that the values have"),
                _ => self.in_stream(Severity::Warning, name, &[], format!("`{field}`: {message}"), ""),
            }
        }
        // The last page may lack what leads on, and one page is the last.
        let leads_on = matches!(stream.paging.kind, PagingKind::PageToken { .. } | PagingKind::NextUrl { .. });
        if seen.pages > u64::from(leads_on) {
            for path in paging_paths(&stream.paging).iter().filter(|path| !seen.paths.contains(*path)) {
                let message = format!("no answer of the recording has anything at `{path}`");
                let help = format!("the answers have {}", listed(&seen.envelope));
                self.in_stream(Severity::Error, name, &["paging"], message, help);
            }
        }
        if seen.records == 0 {
            return;
        }
        // Only the job's own stream has its columns.
        if name == self.job.stream.name {
            for column in self.job.columns.keys().filter(|column| !seen.fields.contains(*column)).cloned().collect::<Vec<_>>() {
                let carried = stream.parent.iter().flat_map(|parent| &parent.carry).any(|(name, _)| *name == column);
                if !carried {
                    self.column(&column, format!("no record of the recording has `{column}`"), fields_help(&seen));
                }
            }
            return;
        }
        let carry: Vec<(String, String)> = self
            .job
            .stream
            .parent
            .iter()
            .flat_map(|parent| &parent.carry)
            .map(|(column, steps)| (column.clone(), join_path(steps)))
            .filter(|(_, field)| !seen.fields.contains(field))
            .collect();
        let child = self.job.stream.name.clone();
        for (column, field) in carry {
            let message = format!("no record of `{name}` in the recording has `{field}`");
            self.in_stream(Severity::Error, &child, &["parent", "carry", &column], message, fields_help(&seen));
        }
    }

    fn column(&mut self, column: &str, message: String, help: impl Into<String>) {
        let key = ["columns", column];
        let remark = Remark { severity: Severity::Warning, file: &self.job.file, key: &key, message, help: help.into() };
        self.problems.push(at_key(self.root, remark));
    }
}

/// What the answers of one stream hold.
#[derive(Default)]
struct Seen {
    pages: u64,
    records: u64,
    damaged: Vec<String>,
    /// The first page without a list of records, why, and the lists that it has.
    unread: Option<(usize, String, Vec<String>)>,
    /// How often, by field and reason.
    rejects: BTreeMap<(String, String), u64>,
    /// Dotted paths of the records' fields.
    fields: BTreeSet<String>,
    /// Of the paths that paging goes by, those that lead somewhere.
    paths: BTreeSet<ResponsePath>,
    /// What stands in the answers beside the records.
    envelope: BTreeSet<String>,
}

impl Seen {
    fn look(&mut self, job: &Job, page: RawPage, answer: &Answer, number: usize) {
        let wanted = paging_paths(&job.stream.paging);
        for path in &wanted {
            if matches!(path, ResponsePath::Header(name) if answer.headers.iter().any(|(known, _)| known == name)) {
                self.paths.insert(path.clone());
            }
        }
        let decoded = Decoder::new(DecodeSpec { on_type_change: OnTypeChange::NewColumn, ..DecodeSpec::of(job, wanted) }, None)
            .and_then(|mut decoder| decoder.decode(&page));
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(error) => {
                let body: Option<Value> = serde_json::from_slice(&page.body).ok();
                let mut lists = Vec::new();
                if let Some(body) = &body {
                    find_lists(body, &mut Vec::new(), &mut lists);
                }
                self.unread.get_or_insert_with(|| (number, error.to_string(), lists));
                return;
            }
        };
        self.pages += 1;
        self.records += decoded.envelope.records;
        self.paths.extend(decoded.envelope.captured.into_keys());
        for reject in decoded.rejects.into_iter().filter(|reject| reject.at != RejectedAt::Transform) {
            // Values differ from record to record.
            let reason = reject.reason.split(": `").next().unwrap_or_default().to_owned();
            *self.rejects.entry((reject.field, reason)).or_default() += 1;
        }
        let Ok(body) = serde_json::from_slice::<Value>(decoded.raw.json()) else { return };
        if let Value::Object(fields) = &body {
            self.envelope.extend(fields.keys().take(20).map(|name| format!("`{name}`")));
        }
        let ResponsePath::Body(steps) = &job.stream.records else { return };
        let records = match find_value(&body, steps) {
            Some(Value::Array(list)) => list.as_slice(),
            Some(one) if job.stream.one_record => std::slice::from_ref(one),
            _ => &[],
        };
        for record in records {
            note_fields(record, "", DEPTH_MAX, &mut self.fields);
        }
    }
}

fn page(answer: &Answer, body: bytes::Bytes, place: usize) -> RawPage {
    let received_at: Timestamp = answer.at;
    let position = PagePosition { index: place as u64, ..PagePosition::start() };
    RawPage { position, status: answer.status, body, received_at, ..RawPage::nothing() }
}

/// The paths that paging goes by on every page. What is there on some alone, as a next address is, may be missing.
fn paging_paths(paging: &Paging) -> Vec<ResponsePath> {
    let of_end = |end: &CountedEnd| match end {
        CountedEnd::More(path) | CountedEnd::Total(path) | CountedEnd::TotalPages(path) => Some(path.clone()),
        CountedEnd::EmptyPage | CountedEnd::ShortPage => None,
    };
    match &paging.kind {
        PagingKind::Page { end, .. } | PagingKind::Offset { end, .. } | PagingKind::Keyset { end, .. } => {
            of_end(end).into_iter().collect()
        }
        PagingKind::Graphql { has_next, .. } => vec![has_next.clone()],
        PagingKind::PageToken { token: path, .. } | PagingKind::NextUrl { url: path } => vec![path.clone()],
        PagingKind::None | PagingKind::LinkHeader | PagingKind::Odata => Vec::new(),
    }
}

/// Where a query's entry is written.
fn query_key<'a>(stream: &'a Stream, name: &str) -> Vec<&'a str> {
    let known = |entries: &'a [(String, crate::template::Template)]| entries.iter().find(|(known, _)| known == name);
    if let Some((name, _)) = stream.cursor.as_ref().and_then(|cursor| known(&cursor.query)) {
        return vec!["cursor", "query", name.as_str()];
    }
    match known(&stream.query) {
        Some((name, _)) => vec!["query", name.as_str()],
        None => vec!["query"],
    }
}

/// Whether a request is for a stream or for its parents; `None` where it is by a query that neither of them has any more.
fn is_of_child(child: &Stream, parents: &Stream, asked: &Asked) -> Option<bool> {
    match (is_by_query(child, asked), is_by_query(parents, asked)) {
        (Some(true), _) => Some(true),
        (_, Some(true)) => Some(false),
        (Some(false), Some(false)) => None,
        // Children's paths hold what their parents' do more often than the other way round.
        _ => Some(fits(child.path.text(), asked.address.split('?').next().unwrap_or_default())),
    }
}

/// Whether a request asks by a stream's GraphQL query, by which streams of one path are told apart; `None` where it has none.
fn is_by_query(stream: &Stream, asked: &Asked) -> Option<bool> {
    let Some(RequestBody::Graphql { query, .. }) = &stream.body else { return None };
    let query = match query {
        QueryText::Written(query) => query.clone(),
        QueryText::File(path) => std::fs::read_to_string(path).ok()?,
    };
    let body: Option<Value> = asked.body.as_deref().and_then(|body| serde_json::from_str(body).ok());
    Some(body.as_ref().and_then(|body| body.get("query")).and_then(Value::as_str) == Some(&query))
}

/// Whether an address may have come of a path's template: its literal parts stand in it, in order, and it ends with the last of them.
fn fits(template: &str, address: &str) -> bool {
    let mut rest = address;
    let mut parts = template.split("{{").map(|part| part.split_once("}}").map_or(part, |(_, literal)| literal)).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() && !part.is_empty() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

fn find_lists(value: &Value, at: &mut Vec<String>, lists: &mut Vec<String>) {
    if at.len() > DEPTH_MAX || lists.len() >= LISTS_MAX {
        return;
    }
    match value {
        Value::Array(items) if items.first().is_some_and(Value::is_object) => {
            let path = join_path(at);
            lists.push(if path.is_empty() { "the body itself (records = \"\")".to_owned() } else { format!("`{path}`") });
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                at.push(name.clone());
                find_lists(value, at, lists);
                at.pop();
            }
        }
        _ => {}
    }
}

fn note_fields(record: &Value, at: &str, depth: usize, fields: &mut BTreeSet<String>) {
    let Value::Object(entries) = record else { return };
    for (name, value) in entries {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        // A bound on what an answer can make us remember.
        if fields.len() < 10_000 && depth > 0 {
            note_fields(value, &path, depth - 1, fields);
            fields.insert(path);
        }
    }
}

fn fields_help(seen: &Seen) -> String {
    let names: BTreeSet<String> = seen.fields.iter().filter(|name| !name.contains('.')).map(|name| format!("`{name}`")).collect();
    format!("the records have {}", listed(&names))
}

fn listed(names: &BTreeSet<String>) -> String {
    const NAMED_MAX: usize = 12;
    let named: Vec<&str> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
    match named.is_empty() {
        true => "nothing".to_owned(),
        false => format!("{}{}", named.join(", "), if names.len() > NAMED_MAX { ", .." } else { "" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_by_the_literal_parts_of_a_path() {
        let comments = "/repos/{{ owner }}/issues/{{ parent.number }}/comments";
        assert!(fits(comments, "https://a.example/v1/repos/o/issues/7/comments"));
        assert!(!fits(comments, "https://a.example/v1/repos/o/issues"));
        assert!(fits("/items/{{ parent.id }}", "https://a.example/items/7") && fits("/items", "https://a.example/items"));
    }
}
