//! Records that an API writes out on request: one export a slice, whatever happens while it is waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::{HeaderName, Method};
use futures::FutureExt;

use super::fixture::*;
use super::server::{Answer, Server, json, raw};
use crate::config::catalog::{Export, Job, PagingKind, PlainRequest, Poll, QueryText, RequestBody, TokenPlace};
use crate::error::ErrorKind;
use crate::event::Event;
use crate::page::{Envelope, PageAt, PagePosition, RawPage, ResponsePath};
use crate::quota::{Budgets, Class};
use crate::slice::Slice;
use crate::source::http::HttpSource;
use crate::source::{FetchError, Source};
use crate::template::JsonTemplate;

fn path(text: &str) -> ResponsePath {
    ResponsePath::parse(text).unwrap()
}

fn request(method: Method, path: &str) -> PlainRequest {
    PlainRequest { method, path: template(path), query: Vec::new(), headers: Vec::new(), body: None }
}

/// Asks with the slice's bounds, looks every 5 s and up to an hour, fetches by the stream's own request.
fn exporting(server: &Server) -> Job {
    let mut job = job(&server.url(""));
    job.source.auth = bearer();
    job.stream.cursor = Some(time_cursor(&[]));
    job.stream.path = template("/jobs/{{ export.id }}/rows");
    let text = |text: &str| JsonTemplate::Text(template(text));
    let body = JsonTemplate::Object(vec![("from".to_owned(), text("{{ from }}")), ("to".to_owned(), text("{{ to }}"))]);
    job.stream.export = Some(Export {
        create: PlainRequest { body: Some(RequestBody::Json(body)), ..request(Method::POST, "/jobs") },
        idempotency_header: None,
        id: path("id"),
        poll: Poll {
            request: Some(request(Method::GET, "/jobs/{{ export.id }}")),
            every: Duration::from_secs(5),
            every_max: Duration::from_secs(10),
            deadline: Duration::from_secs(3600),
            status: Some(path("state")),
            done: vec!["Done".to_owned()],
            failed: vec!["Failed".to_owned()],
            message: Some(path("why")),
        },
        download: None,
        cleanup: None,
    });
    job
}

fn export(job: &mut Job) -> &mut Export {
    job.stream.export.as_mut().unwrap()
}

/// An API whose exports are done once they were looked at so often. Each export has an id of its own: 1, 2 and so on.
fn api(looks: usize) -> (Server, Arc<AtomicUsize>) {
    let (made, looked) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let count = made.clone();
    let server = Server::start(move |_, head| {
        let last = count.load(Ordering::SeqCst);
        match (head.split(' ').next().unwrap_or_default(), target(head)) {
            ("POST", "/jobs") => {
                looked.store(0, Ordering::SeqCst);
                let id = count.fetch_add(1, Ordering::SeqCst) + 1;
                Answer::Say(json("200 OK", "Date: Thu, 01 Jan 2026 00:00:11 GMT\r\n", &format!("{{\"id\": \"{id}\"}}")))
            }
            (_, address) if address == format!("/jobs/{last}") => {
                let state = if looked.fetch_add(1, Ordering::SeqCst) + 1 >= looks { "Done" } else { "Running" };
                Answer::Say(json("200 OK", "", &format!("{{\"state\": \"{state}\"}}")))
            }
            (_, address) if address == format!("/jobs/{last}/rows") => Answer::Say(json("200 OK", "", "[1]")),
            _ => Answer::Say(json("404 Not Found", "", "{}")),
        }
    });
    (server, made)
}

fn day() -> Slice {
    span(Some("2026-01-01T00:00:00Z"), "2026-01-02T00:00:00Z")
}

async fn first(source: &HttpSource) -> Result<RawPage, FetchError> {
    source.fetch(&day(), &PagePosition::start(), 1).await
}

fn targets(server: &Server) -> Vec<String> {
    let line = |head: &String| head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    server.seen().iter().map(line).collect()
}

#[tokio::test]
async fn an_export_is_asked_for_waited_for_and_fetched() {
    let (server, _) = api(4);
    let world = World::new();
    let source = world.open(&exporting(&server));
    let page = first(&source).await.unwrap();
    assert_eq!(&page.body[..], b"[1]");
    let looks = ["GET /jobs/1"; 4];
    assert_eq!(targets(&server), [&["POST /jobs"][..], &looks, &["GET /jobs/1/rows"]].concat());
    assert_eq!(body(&server.seen()[0]), r#"{"from":"2025-12-31T23:59:59.000Z","to":"2026-01-02T00:00:01.000Z"}"#);
    assert!(server.seen().iter().all(|head| header(head, "authorization").is_some()));
    // Each wait is half as long again, up to the longest.
    assert_eq!(world.clock.slept().iter().map(Duration::as_millis).collect::<Vec<_>>(), [5000, 5000, 7500, 10_000]);
    let waits = world.events().into_iter().filter(
        |event| matches!(event, Event::Waiting { reason, .. } if reason == "the export `1` is under way: `state` is `Running`"),
    );
    assert_eq!(waits.count(), 3);
    // Time is closed by what was known when the export was asked for.
    assert_eq!(page.source_now, Some("2026-01-01T00:00:11Z".parse().unwrap()));
    assert_eq!(page.received_at, "2026-01-01T00:00:10Z".parse().unwrap());
}

#[tokio::test]
async fn the_next_process_waits_for_the_same_export() {
    let (server, made) = api(3);
    let job = exporting(&server);
    let world = World::new();
    world.clock.hold();
    let source = world.open(&job);
    // Killed while it waits: nothing but what was kept is left.
    let waiting = first(&source);
    tokio::select! {
        _ = waiting => panic!("the export cannot be there"),
        () = async { while world.drawer.writes() == 0 { tokio::task::yield_now().await } } => {}
    }
    drop(source);
    let next = World::new();
    let next = World {
        drawer: world.drawer.clone(),
        tokens: crate::source::http::Tokens::new(next.clock.clone(), world.drawer.clone()),
        ..next
    };
    let source = next.open(&job);
    // It would choose the same stretch again, and not one that ends now.
    assert_eq!(source.under_way(&day().partition).await.unwrap(), [day()]);
    assert_eq!(&first(&source).await.unwrap().body[..], b"[1]");
    assert_eq!(made.load(Ordering::SeqCst), 1);
    source.done(&day()).await;
    assert!(source.under_way(&day().partition).await.unwrap().is_empty());
    assert!(next.drawer.text().ends_with("\"under_way\":[]}\n"), "{}", next.drawer.text());
    // What is read again afterwards is asked for again.
    first(&source).await.unwrap();
    assert_eq!(made.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_export_that_is_gone_is_asked_for_anew_once() {
    let (server, made) = api(1);
    let job = exporting(&server);
    let world = World::new();
    first(&world.open(&job)).await.unwrap();
    // Another export took its place at the API, which knows nothing of the first one.
    made.fetch_add(6, Ordering::SeqCst);
    let source = world.next_process().open(&job);
    assert_eq!(&first(&source).await.unwrap().body[..], b"[1]");
    assert_eq!(made.load(Ordering::SeqCst), 8);

    let lost = Server::start(|_, head| match target(head) {
        "/jobs" => Answer::Say(json("200 OK", "", "{\"id\": 7}")),
        _ => Answer::Say(json("410 Gone", "", "{}")),
    });
    let error = first(&World::new().open(&exporting(&lost))).await.unwrap_err();
    assert!(error.message.ends_with("; the export was asked for anew, and that one is not there either"), "{}", error.message);
    assert_eq!(targets(&lost).iter().filter(|line| *line == "POST /jobs").count(), 2);
}

#[tokio::test]
async fn a_failed_export_fails_with_the_apis_own_words_and_is_asked_for_anew_next_time() {
    let server = Server::start(|_, head| match target(head) {
        "/jobs" => Answer::Say(json("200 OK", "", "{\"id\": \"7\"}")),
        _ => Answer::Say(json(
            "200 OK",
            "",
            &format!("{{\"state\": \"Failed\", \"why\": \"No such column\\u001b[31m {SECRET}\"}}"),
        )),
    });
    let world = World::new();
    let source = world.open(&exporting(&server));
    let error = first(&source).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert_eq!(error.message, "the export `7` failed: `state` is `Failed`: No such column\u{fffd}[31m ***");
    first(&source).await.unwrap_err();
    assert_eq!(targets(&server).iter().filter(|line| *line == "POST /jobs").count(), 2);
}

#[tokio::test]
async fn a_creation_that_is_asked_for_again_has_the_same_key() {
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |_, head| match (head.split(' ').next().unwrap_or_default(), target(head)) {
        ("POST", _) if asked.fetch_add(1, Ordering::SeqCst) == 0 => Answer::Say(json("503 Service Unavailable", "", "{}")),
        ("POST", _) => Answer::Say(json("200 OK", "", "{\"id\": \"1\"}")),
        _ => Answer::Say(json("200 OK", "", "{\"state\": \"Failed\"}")),
    });
    let mut job = exporting(&server);
    export(&mut job).idempotency_header = Some(HeaderName::from_static("idempotency-key"));
    let source = World::new().open(&job);
    for _ in 0..2 {
        first(&source).await.unwrap_err();
    }
    let seen = server.seen();
    let created = seen.iter().filter(|head| head.starts_with("POST "));
    let keys: Vec<_> = created.map(|head| header(head, "idempotency-key").unwrap()).collect();
    let [lost, again, another] = keys.as_slice() else { panic!("{keys:?}") };
    assert_eq!(lost, again);
    assert_ne!(again, another, "an export that failed is not to be given back");
    assert!(!seen.iter().any(|head| head.starts_with("GET ") && header(head, "idempotency-key").is_some()));
}

#[tokio::test]
async fn waiting_has_an_end_and_then_the_export_is_taken_away() {
    let (server, _) = api(usize::MAX);
    let mut job = exporting(&server);
    export(&mut job).poll.deadline = Duration::from_secs(60);
    export(&mut job).cleanup = Some(request(Method::DELETE, "/jobs/{{ export.id }}"));
    let world = World::new();
    let source = world.open(&job);
    let error = first(&source).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(
        error.message.starts_with("the export `1` is not done after 1m (`state` is `Running`): raise `deadline`"),
        "{}",
        error.message
    );
    let slept: Duration = world.clock.slept().iter().sum();
    assert_eq!(slept, Duration::from_secs(60), "not a moment longer");
    assert_eq!(targets(&server).last().unwrap(), "DELETE /jobs/1");
    assert!(source.under_way(&day().partition).await.unwrap().is_empty());
}

#[tokio::test]
async fn stop_is_seen_while_an_export_is_waited_for() {
    let (server, _) = api(2);
    let world = World::new();
    world.clock.hold();
    let source = world.open(&exporting(&server));
    let waiting = async { first(&source).await.unwrap_err() };
    let stopping = async {
        while world.drawer.writes() == 0 {
            tokio::task::yield_now().await;
        }
        world.stop.request();
    };
    let (error, ()) = tokio::join!(waiting, stopping);
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert_eq!(source.under_way(&day().partition).await.unwrap(), [day()], "it is waited for again");
}

#[tokio::test]
async fn a_run_that_somebody_begins_again_is_sent_away_meanwhile() {
    let (server, made) = api(15);
    let job = exporting(&server);
    let mut world = World::new();
    world.budgets = Budgets::new(world.clock.clone()).patient_for(Duration::from_secs(30));
    for _ in 0..20 {
        let began = crate::clock::Clock::elapsed(&*world.clock);
        match first(&world.open(&job)).await {
            Ok(_) => break,
            Err(error) => {
                let ErrorKind::Throttled { retry_at: Some(at) } = error.kind else { panic!("{error}") };
                assert!(crate::clock::Clock::elapsed(&*world.clock) - began <= Duration::from_secs(30), "{error}");
                let away = Duration::try_from(at.duration_since(crate::clock::Clock::now(&*world.clock))).unwrap();
                assert!(away >= Duration::from_secs(10) && away <= Duration::from_secs(600));
                world.clock.advance(away);
            }
        }
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
    assert!(targets(&server).contains(&"GET /jobs/1/rows".to_owned()));
}

#[tokio::test]
async fn nothing_is_waited_for_whose_name_cannot_be_kept() {
    let (server, _) = api(1);
    let world = World::new();
    *world.drawer.broken_from.lock().unwrap() = Some(0);
    let error = first(&world.open(&exporting(&server))).await.unwrap_err();
    assert!(error.message.contains("the name of an export cannot be kept"), "{}", error.message);
    assert_eq!(targets(&server), ["POST /jobs"]);
}

#[tokio::test]
async fn who_only_looks_leaves_no_note() {
    let (server, _) = api(1);
    let world = World::new();
    let source = world.open(&exporting(&server)).at_most(Class::Preview);
    first(&source).await.unwrap();
    assert_eq!(world.drawer.writes(), 0);
}

#[tokio::test]
async fn the_pages_of_an_export_lead_on_by_its_name() {
    let server = Server::start(|_, head| match target(head) {
        "/jobs" => Answer::Say(json("200 OK", "", "{\"id\": \"a/b\"}")),
        "/jobs/a%2Fb" => Answer::Say(json("200 OK", "", "{\"state\": \"Done\"}")),
        "/jobs/a%2Fb/rows" => Answer::Say(json("200 OK", "Sforce-Locator: MT\r\n", "[1]")),
        "/jobs/a%2Fb/rows?locator=MT" => Answer::Say(json("200 OK", "", "[2]")),
        other => panic!("{other}"),
    });
    let mut job = exporting(&server);
    job.stream.paging.kind =
        PagingKind::PageToken { token: path("header.sforce-locator"), place: TokenPlace::Param("locator".to_owned()) };
    let source = World::new().open(&job);
    let page = first(&source).await.unwrap();
    let records = Envelope { records: 1, ..Envelope::default() };
    let next = source.next(&day(), &page.position, &records, &page.headers).unwrap().unwrap();
    let page = source.fetch(&day(), &next, 1).await.unwrap();
    assert_eq!(&page.body[..], b"[2]");
    assert!(source.next(&day(), &page.position, &records, &page.headers).unwrap().is_none());
    // Only the first page looks at the export again.
    assert_eq!(targets(&server).iter().filter(|line| *line == "GET /jobs/a%2Fb").count(), 1);
}

/// The export names the addresses of its parts, which stand on another host.
fn in_parts(server: &Server, files: &Server, mut job: Job) -> Job {
    job.source.base_url = server.url("").replace("127.0.0.1", "localhost").parse().unwrap();
    job.source.allow_hosts = vec![files.authority()];
    job.source.allow_private = true;
    export(&mut job).download = Some(path("files.*.url"));
    job
}

#[tokio::test]
async fn parts_on_another_host_get_no_credentials() {
    // S-10
    let files = Server::start(|_, head| Answer::Say(raw("200 OK", "", format!("[\"{}\"]", target(head)).as_bytes())));
    let links: Vec<String> =
        ["/a?signature=CANARY", "/b"].iter().map(|path| format!("{{\"url\": \"{}\"}}", files.url(path))).collect();
    let answer = format!("{{\"state\": \"Done\", \"files\": [{}]}}", links.join(","));
    let server = Server::start(move |_, head| match target(head) {
        "/jobs" => Answer::Say(json("200 OK", "", "{\"id\": \"7\"}")),
        _ => Answer::Say(json("200 OK", "", &answer)),
    });
    let world = World::new();
    let source = world.open(&in_parts(&server, &files, exporting(&server)));
    let page = first(&source).await.unwrap();
    assert_eq!(&page.body[..], b"[\"/a?signature=CANARY\"]");
    assert!(!page.address.contains("CANARY"));
    let records = Envelope { records: 1, ..Envelope::default() };
    let next = source.next(&day(), &page.position, &records, &page.headers).unwrap().unwrap();
    assert_eq!(next.at, PageAt::Number(1));
    let page = source.fetch(&day(), &next, 1).await.unwrap();
    assert_eq!(&page.body[..], b"[\"/b\"]");
    assert!(source.next(&day(), &page.position, &records, &page.headers).unwrap().is_none());
    assert!(files.seen().iter().all(|head| header(head, "authorization").is_none() && !head.contains(SECRET)));

    let mut closed = in_parts(&server, &files, exporting(&server));
    closed.source.allow_hosts.clear();
    let error = first(&World::new().open(&closed)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("nor in allow_hosts") && !error.message.contains("CANARY"), "{}", error.message);
}

#[tokio::test]
async fn an_export_without_parts_is_one_without_records_and_a_wrong_path_is_an_error() {
    let server = Server::start(|_, head| match target(head) {
        "/jobs" => Answer::Say(json("200 OK", "", "{\"id\": \"7\"}")),
        _ => Answer::Say(json("200 OK", "", "{\"state\": \"Done\", \"url\": null}")),
    });
    let mut job = exporting(&server);
    export(&mut job).download = Some(path("url"));
    let source = World::new().open(&job);
    let page = first(&source).await.unwrap();
    assert_eq!((page.status, page.body.len()), (204, 0));
    assert!(source.next(&day(), &page.position, &Envelope::default(), &page.headers).unwrap().is_none());
    export(&mut job).download = Some(path("link"));
    let error = first(&World::new().open(&job)).await.unwrap_err();
    assert!(error.message.contains("its address is not at `link`"), "{}", error.message);
}

#[tokio::test]
async fn an_address_may_be_the_name() {
    let server = Server::start(|n, head| match (n, target(head)) {
        (_, "/jobs") => Answer::Say(json("202 Accepted", "Location: /status/7?key=CANARY\r\n", "")),
        (1, "/status/7?key=CANARY") => Answer::Say(json("202 Accepted", "Retry-After: 30\r\n", "")),
        (_, "/status/7?key=CANARY") => Answer::Say(json("200 OK", "", "{\"url\": \"/files/7\"}")),
        (_, "/files/7") => Answer::Say(json("200 OK", "", "[7]")),
        (_, other) => panic!("{other}"),
    });
    let mut job = exporting(&server);
    let changed = export(&mut job);
    (changed.id, changed.download) = (path("header.location"), Some(path("url")));
    (changed.poll.request, changed.poll.status) = (None, None);
    let world = World::new();
    assert_eq!(&first(&world.open(&job)).await.unwrap().body[..], b"[7]");
    // The API's own word on when to look again counts.
    assert_eq!(world.clock.slept(), [5, 30].map(Duration::from_secs));
    assert!(world.events().iter().all(|event| !format!("{event:?}").contains("CANARY")));
    export(&mut job).id = path("header.etag");
    let error = first(&World::new().open(&job)).await.unwrap_err();
    assert!(error.message.contains("does not name it at `header.etag` (there is nothing)"), "{}", error.message);
}

#[tokio::test]
async fn an_error_in_a_graphql_answer_is_no_export() {
    // C-61
    let server = Server::start(|n, _| match n {
        0 => Answer::Say(json("200 OK", "", "{\"errors\": [{\"message\": \"again\"}]}")),
        1 => Answer::Say(json("200 OK", "", "{\"data\": {\"id\": \"7\"}}")),
        2 => Answer::Say(json("200 OK", "", "{\"data\": {\"state\": \"Done\"}}")),
        _ => Answer::Say(json("200 OK", "", "[7]")),
    });
    let mut job = exporting(&server);
    let graphql = |text: &str| RequestBody::Graphql {
        query: QueryText::Written(text.to_owned()),
        variables: JsonTemplate::Object(vec![("id".to_owned(), JsonTemplate::Text(template("{{ export.id }}")))]),
    };
    let plain =
        RequestBody::Graphql { query: QueryText::Written("mutation".to_owned()), variables: JsonTemplate::Object(Vec::new()) };
    let changed = export(&mut job);
    changed.create.body = Some(plain);
    changed.id = path("data.id");
    changed.poll.request = Some(PlainRequest { body: Some(graphql("query")), ..request(Method::POST, "/graphql") });
    changed.poll.status = Some(path("data.state"));
    let source = World::new().open(&job);
    assert_eq!(&first(&source).await.unwrap().body[..], b"[7]");
    assert_eq!(body(&server.seen()[2]), r#"{"query":"query","variables":{"id":"7"}}"#);
    assert!(source.token(&day(), &Envelope::default(), &Default::default()).unwrap().is_none());
    assert!(source.under_way(&span(None, "2027-01-01T00:00:00Z").partition).now_or_never().is_some());
}
