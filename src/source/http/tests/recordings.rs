//! What was asked and answered, kept and given again.

use std::sync::Arc;

use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use jiff::Timestamp;

use crate::config::catalog::{ApiKeyPlace, Auth, PagingKind};
use crate::config::secret::SecretRef;
use crate::error::ErrorKind;
use crate::page::{PageAt, PagePosition};
use crate::source::Source;
use crate::source::http::recording::{Asked, Ended, Recording, Tape, Wire};
use crate::source::http::redact::Redactor;

use super::fixture::{SECRET, World, bearer, header, job, snapshot, template};
use super::server::{Server, json};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// All that stands in a folder.
fn text(folder: &std::path::Path) -> String {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| format!("{}\n{}\n", path.display(), std::fs::read_to_string(path).unwrap())).collect()
}

fn recording(world: &mut World, folder: &std::path::Path, job: &crate::config::catalog::Job) -> Arc<Tape> {
    let tape = Arc::new(Tape::begin(folder, job, Timestamp::UNIX_EPOCH).unwrap());
    world.wire = Wire::Record(tape.clone());
    tape
}

#[tokio::test]
async fn what_was_recorded_is_answered_again_without_a_server_and_without_a_secret() {
    let server = Server::script(vec![
        json("503 Service Unavailable", "", "{}"),
        json("200 OK", "Date: Sun, 01 Mar 2026 12:00:00 GMT\r\nX-More: 1\r\nSet-Cookie: a=b\r\n", "[{\"id\":1}]"),
    ]);
    let folder = folder();
    let mut job = job(&server.url("/v1"));
    job.source.auth = bearer();
    let mut world = World::new();
    let tape = recording(&mut world, folder.path(), &job);
    let first = world.fetch(&job).await.unwrap();
    assert!(header(&server.seen()[0], "authorization").unwrap().contains(SECRET));
    let summary = tape.finish(Vec::new());
    assert_eq!((summary.exchanges, summary.ended, summary.redacted), (2, Ended::Whole, 0));
    let written = text(folder.path());
    // S-34
    assert!(!written.contains("CANARY") && !written.contains("a=b") && written.contains("000002.body.json"), "{written}");
    drop(server);

    // At an address that leads nowhere.
    job.source.base_url = "http://nowhere.invalid/v1".parse().unwrap();
    job.source.auth = Auth::None;
    let mut world = World::new();
    world.wire = Wire::Replay(Arc::new(Recording::open(folder.path()).unwrap()));
    let again = world.fetch(&job).await.unwrap();
    assert_eq!((again.body, again.source_now, again.received_at), (first.body, first.source_now, first.received_at));
    assert_eq!(again.headers["x-more"], "1");
}

#[tokio::test]
async fn secrets_that_come_back_are_hidden_in_what_is_kept() {
    let body = format!("{{\"you_sent\":\"{SECRET}\",\"next\":\"/items?key={SECRET}&page=2\"}}");
    let server = Server::script(vec![json("200 OK", &format!("X-Echo: {SECRET}\r\n"), &body), json("200 OK", "", "[]")]);
    let folder = folder();
    let mut job = job(&server.url("/"));
    let value = SecretRef::Env("KEY".to_owned());
    job.source.auth = Auth::ApiKey { name: "key".to_owned(), place: ApiKeyPlace::Query, value, prefix: String::new() };
    job.stream.paging.kind = PagingKind::LinkHeader;
    let mut world = World::new();
    let tape = recording(&mut world, folder.path(), &job);
    let source = world.open(&job);
    let page = source.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap();
    assert!(String::from_utf8_lossy(&page.body).contains(SECRET), "the load itself sees what came");
    let next = PageAt::Url(format!("{}?key={}&page=2", server.url("/items"), "CANARY-0123%2F456"));
    source.fetch(&snapshot(), &PagePosition::start().after(1, next), 1).await.unwrap();
    assert_eq!(tape.finish(Vec::new()).redacted, 1);
    let written = text(folder.path());
    // S-34
    assert!(!written.contains("CANARY") && written.contains("/items?page=2"), "{written}");
}

#[tokio::test]
async fn a_secret_is_hidden_in_a_body_of_any_encoding() {
    // S-34
    let body = [b"caf\xe9;".as_slice(), SECRET.as_bytes(), b";\xff"].concat();
    let server = Server::script(vec![super::server::raw("200 OK", "", &body)]);
    let folder = folder();
    let mut job = job(&server.url("/"));
    job.source.auth = bearer();
    let mut world = World::new();
    let tape = recording(&mut world, folder.path(), &job);
    let page = world.open(&job).fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap();
    assert_eq!(page.body, body);
    assert_eq!(tape.finish(Vec::new()).redacted, 1);
    let kept = std::fs::read_dir(folder.path()).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap_or_default());
    assert!(kept.into_iter().any(|bytes| bytes == b"caf\xe9;***;\xff"));
}

#[tokio::test]
async fn a_token_that_had_ended_is_no_refusal_of_a_replay() {
    let folder = folder();
    let job = job("http://api.example.org");
    let tape = Tape::begin(folder.path(), &job, Timestamp::UNIX_EPOCH).unwrap();
    for (status, body) in [(401, "{}"), (200, "[1]"), (200, "[2]")] {
        keep(&tape, "/items", status, body);
    }
    tape.finish(Vec::new());
    let recording = Arc::new(Recording::open(folder.path()).unwrap());
    let mut world = World::new();
    world.wire = Wire::Replay(recording.clone());
    let source = world.open(&job);
    for expected in ["[1]", "[2]", "[2]"] {
        assert_eq!(source.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap().body, expected);
    }
    assert!(recording.unserved().is_empty());
}

fn keep(tape: &Tape, target: &str, status: u16, body: &str) {
    let address = format!("http://api.example.org{target}");
    let asked = Asked { method: "GET".to_owned(), address, headers: Default::default(), body: None };
    let answer = (StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), &Bytes::from(body.to_owned()));
    tape.keep(asked, answer, Timestamp::UNIX_EPOCH, &Redactor::default());
}

#[tokio::test]
async fn a_request_that_was_not_recorded_names_what_is_nearest() {
    let folder = folder();
    let mut job = job("http://api.example.org");
    let tape = Tape::begin(folder.path(), &job, Timestamp::UNIX_EPOCH).unwrap();
    keep(&tape, "/items?page=1&state=open", 200, "[]");
    keep(&tape, "/orders", 200, "[]");
    tape.finish(Vec::new());
    job.stream.query = vec![("state".to_owned(), template("all"))];
    let recording = Arc::new(Recording::open(folder.path()).unwrap());
    let mut world = World::new();
    world.wire = Wire::Replay(recording.clone());
    let error = world.fetch(&job).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    let said = error.message.replace(&folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!(said, @"the recording `FOLDER`: it has no answer to `GET /items?state=all`; the nearest is exchange 1, `GET /items?page=1&state=open`: `page` is gone, it was `1`, `state` was `open` and is `all`");
    assert_eq!((recording.misses().len(), recording.unserved()), (1, vec![1, 2]));
}

#[test]
fn a_recording_is_bounded_and_says_where_it_ends() {
    let folder = folder();
    let job = job("http://api.example.org");
    let tape = Tape::begin(folder.path(), &job, Timestamp::UNIX_EPOCH).unwrap().of_at_most(5);
    for body in ["[1]", "[2]", "[]"] {
        keep(&tape, "/items", 200, body);
    }
    let summary = tape.finish(Vec::new());
    assert_eq!((summary.exchanges, summary.ended), (1, Ended::Full), "what comes behind a gap is of no use");
}

#[test]
fn what_is_no_whole_recording_is_refused() {
    let folder = folder();
    let job = job("http://api.example.org");
    let refused = |why: &str| {
        let error = Recording::open(folder.path()).err().unwrap();
        assert!(error.contains(why), "{error}");
    };
    refused("there is no `recording.json`");
    let tape = Tape::begin(folder.path(), &job, Timestamp::UNIX_EPOCH).unwrap();
    let again = Tape::begin(folder.path(), &job, Timestamp::UNIX_EPOCH).err().unwrap();
    assert!(again.contains("holds a recording already"), "{again}");
    keep(&tape, "/items", 200, "[1]");
    let cut_off = Recording::open(folder.path()).unwrap().require_end().unwrap_err();
    assert!(cut_off.contains("was cut off after `1` exchanges"), "{cut_off}");
    tape.finish(Vec::new());

    let body = folder.path().join("000001.body.bin");
    std::fs::write(&body, "[1, 2]").unwrap();
    let damaged = Recording::open(folder.path()).unwrap().body(1).unwrap_err();
    assert!(damaged.contains("has `6` bytes, and `3` were recorded"), "{damaged}");
    let head = folder.path().join("000001.json");
    let text = std::fs::read_to_string(&head).unwrap();
    std::fs::write(&head, text.replace("000001.body.bin", "000001.body./../../secret")).unwrap();
    let stray = Recording::open(folder.path()).unwrap().body(1).unwrap_err();
    assert!(stray.contains("not its own"), "{stray}");
    std::fs::remove_file(&head).unwrap();
    refused("exchange `1` of `1` is missing");
    let manifest = folder.path().join("recording.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    refused("it has format `2`");
}
