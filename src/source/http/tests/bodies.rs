//! Requests with bodies, the paging that writes into them, and what an API's own rules make of answers.

use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::fixture::*;
use super::server::{Answer, Server, json, raw};
use crate::clock::Clock;
use crate::config::catalog::{
    CountedEnd, Cursor, CursorFormat, CursorType, ErrorRule, Job, Mode, PagingKind, Placed, QueryText, RequestBody, Then,
    TokenPlace,
};
use crate::error::ErrorKind;
use crate::event::Event;
use crate::page::{Captured, Envelope, PageAt, PagePosition, ResponsePath};
use crate::source::{Judgement, Source};
use crate::template::JsonTemplate;

fn text(text: &str) -> JsonTemplate {
    JsonTemplate::Text(template(text))
}

fn object(entries: &[(&str, JsonTemplate)]) -> JsonTemplate {
    JsonTemplate::Object(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn path(text: &str) -> ResponsePath {
    ResponsePath::parse(text).unwrap()
}

fn posting(base_url: &str, body: RequestBody) -> Job {
    let mut job = job(base_url);
    job.stream.method = Method::POST;
    job.stream.body = Some(body);
    job
}

fn answering() -> Server {
    Server::start(|_, _| Answer::Say(json("200 OK", "", "[]")))
}

fn answer(records: u64, captured: &[(&str, Captured)]) -> Envelope {
    let captured = captured.iter().map(|(name, value)| (path(name), value.clone())).collect();
    Envelope { captured, records, ..Envelope::default() }
}

fn word(text: &str) -> Captured {
    Captured::Text(text.to_owned())
}

/// Fetches the first page and the one after `envelope`; the bodies of both requests.
async fn two_pages(job: &Job, server: &Server, envelope: &Envelope) -> Vec<String> {
    let source = World::new().open(job);
    let slice = span(None, "2026-01-02T00:00:00Z");
    source.fetch(&slice, &PagePosition::start(), 1).await.unwrap();
    let next = source.next(&slice, &PagePosition::start(), envelope, &HeaderMap::new()).unwrap().unwrap();
    source.fetch(&slice, &next, 1).await.unwrap();
    server.seen().iter().map(|request| body(request).to_owned()).collect()
}

#[tokio::test]
async fn a_search_carries_its_bounds_and_the_pages_token_in_its_body() {
    let server = answering();
    let value = object(&[("range", object(&[("gte", text("{{ from }}")), ("lt", text("{{ to }}"))]))]);
    let mut job = posting(&server.url(""), RequestBody::Json(value));
    job.stream.cursor = Some(time_cursor(&[]));
    let place = TokenPlace::Body(vec!["page".to_owned(), "after".to_owned()]);
    job.stream.paging.kind = PagingKind::PageToken { token: path("meta.next"), place };
    let bodies = two_pages(&job, &server, &answer(7, &[("meta.next", word("t1"))])).await;
    assert_eq!(bodies[0], r#"{"range":{"lt":"2026-01-02T00:00:01.000Z"}}"#);
    assert_eq!(bodies[1], r#"{"page":{"after":"t1"},"range":{"lt":"2026-01-02T00:00:01.000Z"}}"#);
    let head = &server.seen()[0];
    assert!(head.starts_with("POST /items ") && header(head, "content-type") == Some("application/json"), "{head}");
}

#[tokio::test]
async fn a_bound_that_counts_is_a_number_in_json() {
    let server = answering();
    let texts = object(&[("gte", text("{{ from }}")), ("lt", text("{{ to }}")), ("text", text("{{ to | string }}"))]);
    let mut job = posting(&server.url(""), RequestBody::Json(texts));
    let epoch = Cursor { cursor_type: CursorType::EpochS, format: CursorFormat::Number, ..time_cursor(&[]) };
    job.stream.cursor = Some(epoch.clone());
    let slice = |from| span(from, "2026-01-02T00:00:00Z");
    for from in [None, Some("2026-01-01T00:00:00Z")] {
        World::new().open(&job).fetch(&slice(from), &PagePosition::start(), 1).await.unwrap();
    }
    job.stream.cursor = Some(Cursor { format: CursorFormat::Strftime("%s".to_owned()), ..epoch });
    World::new().open(&job).fetch(&slice(None), &PagePosition::start(), 1).await.unwrap();
    let bodies: Vec<String> = server.seen().iter().map(|request| body(request).to_owned()).collect();
    assert_eq!(bodies[0], r#"{"lt":1767312001,"text":"1767312001"}"#);
    assert_eq!(bodies[1], r#"{"gte":1767225599,"lt":1767312001,"text":"1767312001"}"#);
    assert_eq!(bodies[2], r#"{"lt":"1767312001","text":"1767312001"}"#);
}

#[tokio::test]
async fn whatever_the_method_a_read_is_sent_as_it_is_written_and_tried_again() {
    for (method, has_body) in
        [("SEARCH", true), ("QUERY", true), ("REPORT", true), ("PATCH", true), ("REPORT", false), ("DELETE", false)]
    {
        let server = Server::script(vec![raw("503 Service Unavailable", "", b""), json("200 OK", "", "[]")]);
        let mut job = job(&server.url(""));
        job.stream.method = method.parse().unwrap();
        job.stream.body = has_body.then(|| RequestBody::Json(object(&[("size", text("5"))])));
        World::new().fetch(&job).await.unwrap();
        let seen = server.seen();
        assert_eq!(seen.len(), 2, "{method}");
        for request in &seen {
            assert!(request.starts_with(&format!("{method} /items ")), "{request}");
            assert_eq!(body(request), if has_body { r#"{"size":"5"}"# } else { "" }, "{method}");
        }
    }
}

#[tokio::test]
async fn templates_know_the_page() {
    let server = answering();
    let value = object(&[("skip", text("{{ page.offset }}")), ("cursor", text("{{ page.token }}"))]);
    let mut job = posting(&server.url(""), RequestBody::Json(value));
    job.stream.headers = vec![(HeaderName::from_static("x-page"), template("{{ page.number }}"))];
    job.stream.paging.kind = PagingKind::PageToken { token: path("next"), place: TokenPlace::Template };
    let bodies = two_pages(&job, &server, &answer(7, &[("next", word("a/b"))])).await;
    assert_eq!(bodies, [r#"{"skip":0}"#, r#"{"cursor":"a/b","skip":7}"#]);
    let pages: Vec<String> = server.seen().iter().map(|head| header(head, "x-page").unwrap_or_default().to_owned()).collect();
    assert_eq!(pages, ["1", "2"]);
}

#[tokio::test]
async fn counted_paging_writes_numbers_into_a_body() {
    let server = answering();
    let mut job = posting(&server.url(""), RequestBody::Json(object(&[])));
    job.stream.paging.kind = PagingKind::Offset {
        offset_param: "page.skip".to_owned(),
        limit_param: Some("page.take".to_owned()),
        start: 0,
        page_size: 50,
        end: CountedEnd::EmptyPage,
        placed: Placed::Body,
    };
    let bodies = two_pages(&job, &server, &answer(50, &[])).await;
    assert_eq!(bodies, [r#"{"page":{"skip":0,"take":50}}"#, r#"{"page":{"skip":50,"take":50}}"#]);
}

#[tokio::test]
async fn a_connection_is_paged_by_its_end_cursor() {
    let server = answering();
    let body = RequestBody::Graphql {
        query: QueryText::Written("query($after: String) { x }".to_owned()),
        variables: object(&[("first", JsonTemplate::Number(10.into()))]),
    };
    let mut job = posting(&server.url(""), body);
    job.stream.paging.kind = PagingKind::Graphql {
        has_next: path("data.x.pageInfo.hasNextPage"),
        end_cursor: path("data.x.pageInfo.endCursor"),
        variable: "after".to_owned(),
    };
    let next = |more: bool| {
        let more = ("data.x.pageInfo.hasNextPage", Captured::Boolean(more));
        answer(10, &[more, ("data.x.pageInfo.endCursor", word("c9"))])
    };
    let bodies = two_pages(&job, &server, &next(true)).await;
    assert!(bodies[0].ends_with(r#""variables":{"first":10}}"#), "{}", bodies[0]);
    assert!(bodies[1].ends_with(r#""variables":{"after":"c9","first":10}}"#), "{}", bodies[1]);
    let source = World::new().open(&job);
    let after = |envelope: &Envelope| source.next(&snapshot(), &PagePosition::start(), envelope, &HeaderMap::new());
    assert_eq!(after(&next(false)).unwrap(), None);
    assert!(after(&answer(10, &[])).unwrap_err().message.contains("pageInfo { hasNextPage endCursor }"));
}

#[tokio::test]
async fn a_keyset_goes_on_from_the_last_record() {
    let server = answering();
    let mut job = job(&server.url(""));
    job.stream.records = path("data");
    job.stream.paging.kind = PagingKind::Keyset {
        from: vec!["id".to_owned()],
        place: TokenPlace::Param("starting_after".to_owned()),
        page_size: Some(100),
        size_param: Some("limit".to_owned()),
        end: CountedEnd::More(path("has_more")),
    };
    let source = World::new().open(&job);
    assert!(source.wanted().contains(&path("data.-1.id")));
    let envelope = answer(100, &[("has_more", Captured::Boolean(true)), ("data.-1.id", word("ch_9"))]);
    two_pages(&job, &server, &envelope).await;
    let targets: Vec<String> = server.seen().iter().map(|head| target(head).to_owned()).collect();
    assert_eq!(targets, ["/items?limit=100", "/items?starting_after=ch_9&limit=100"]);
    let start = PagePosition::start();
    let after = |envelope: &Envelope| source.next(&snapshot(), &start, envelope, &HeaderMap::new());
    assert_eq!(after(&answer(3, &[("has_more", Captured::Boolean(false))])).unwrap(), None);
    let lost = after(&answer(3, &[("has_more", Captured::Boolean(true))])).unwrap_err();
    assert!(lost.message.contains("the last record does not have"), "{}", lost.message);
}

#[tokio::test]
async fn odata_is_followed_under_every_name_of_its_link() {
    let mut job = job("http://127.0.0.1:9");
    job.stream.paging.kind = PagingKind::Odata;
    let source = World::new().open(&job);
    let after = |name: &str, link: &str| {
        source.next(&snapshot(), &PagePosition::start(), &answer(1, &[(name, word(link))]), &HeaderMap::new())
    };
    for name in ["\"@odata.nextLink\"", "\"odata.nextLink\"", "d.__next"] {
        let next = after(name, "/items?$skiptoken=2").unwrap().unwrap();
        assert_eq!(next.at, PageAt::Url("http://127.0.0.1:9/items?$skiptoken=2".to_owned()));
    }
    // S-10
    assert!(after("\"@odata.nextLink\"", "https://elsewhere.example/x").unwrap_err().message.contains("refused"));
    assert_eq!(after("other", "x").unwrap(), None);
}

#[tokio::test]
async fn a_body_is_sent_again_to_the_own_origin_alone() {
    // S-15
    let other = Server::script(vec![]);
    let body = RequestBody::Text { text: template("SELECT 1"), content_type: HeaderValue::from_static("text/sql") };
    let home = Server::script(vec![
        raw("307 Temporary Redirect", "Location: /v2/items\r\n", b""),
        json("200 OK", "", "[]"),
        raw("308 Permanent Redirect", &format!("Location: {}\r\n", other.url("/x")), b""),
    ]);
    let mut job = posting(&home.url(""), body);
    job.source.allow_hosts = vec![other.authority()];
    job.source.allow_private = true;
    let world = World::new();
    world.fetch(&job).await.unwrap();
    let error = world.fetch(&job).await.unwrap_err();
    assert!(error.message.contains("redirects a request with a body to another host"), "{}", error.message);
    assert_eq!((home.seen().iter().filter(|seen| super::fixture::body(seen) == "SELECT 1").count(), other.seen().len()), (3, 0));
    assert_eq!(header(&home.seen()[0], "content-type"), Some("text/sql"));
}

fn rule(status: &[u16], then: Then) -> ErrorRule {
    ErrorRule { status: status.to_vec(), at: None, is: Vec::new(), contains: None, then, message: Some("ask Bo".to_owned()) }
}

#[tokio::test]
async fn rules_decide_what_answers_mean() {
    let fetch = async |rule: ErrorRule, answers: Vec<Vec<u8>>| {
        let server = Server::script(answers);
        let mut job = job(&server.url(""));
        job.stream.errors = vec![rule];
        let world = World::new();
        let page = world.fetch(&job).await;
        (page, server.seen().len(), world)
    };
    let fine = || json("200 OK", "", "[1]");
    let (page, requests, _) =
        fetch(rule(&[404], Then::Skip), vec![json("404 Not Found", "Link: </x>; rel=next\r\n", "{}")]).await;
    let page = page.unwrap();
    assert_eq!((page.status, page.body.len(), page.headers.len(), requests), (204, 0, 0, 1));
    let (page, requests, _) = fetch(rule(&[409], Then::Retry), vec![json("409 Conflict", "", "{}"), fine()]).await;
    assert!(page.is_ok() && requests == 2);
    let minute = Duration::from_secs(60);
    let (page, requests, world) = fetch(rule(&[409], Then::Wait(minute)), vec![json("409 Conflict", "", "{}"), fine()]).await;
    assert!(page.is_ok() && requests == 2 && world.clock.slept().iter().sum::<Duration>() >= minute);
    assert!(world.events().iter().any(|event| matches!(event, Event::Waiting { reason, .. } if reason.contains("ask Bo"))));
    let (page, requests, _) = fetch(rule(&[503], Then::Fail), vec![json("503 Unavailable", "", "{}"), fine()]).await;
    let error = page.unwrap_err();
    assert_eq!((error.kind, requests), (ErrorKind::Data, 1));
    assert!(error.message.ends_with("; ask Bo"), "{}", error.message);
    let texts = ErrorRule { contains: Some("maintenance".to_owned()), ..rule(&[200], Then::Retry) };
    let (page, requests, _) = fetch(texts, vec![json("200 OK", "", "{\"note\":\"Maintenance\"}"), fine()]).await;
    assert!(page.is_ok() && requests == 2);
}

#[tokio::test]
async fn what_is_refused_for_good_is_put_aside_with_what_was_said() {
    let said = format!("{{\"error\": \"closed for {SECRET}\"}}");
    let server = Server::script(vec![json("403 Forbidden", "", &said), json("403 Forbidden", "", &said)]);
    let mut job = job(&server.url(""));
    job.source.auth = bearer();
    job.stream.query = vec![("q".to_owned(), template("a b"))];
    job.stream.errors = vec![rule(&[403], Then::DeadLetter)];
    let page = World::new().fetch(&job).await.unwrap();
    let aside = page.aside.clone().unwrap();
    assert_eq!((aside.status, page.status, page.body.len()), (403, 204, 0));
    assert_eq!(aside.request, format!("GET {}", server.url("/items?q=a%20b")));
    assert_eq!(aside.body, "`{\"error\": \"closed for ***\"}`");
    assert!(
        aside.reason.ends_with("; ask Bo; the page was put aside, and what comes behind it was not asked for"),
        "{}",
        aside.reason
    );
    // What is not there would be gone from a table that is replaced.
    job.mode = Mode::Replace;
    assert_eq!(World::new().fetch(&job).await.unwrap_err().kind, ErrorKind::Auth);
}

#[tokio::test]
async fn an_error_in_a_success_is_judged_by_the_apis_own_rule() {
    // C-61
    let server = Server::start(|_, _| Answer::Say(json("200 OK", "", "{\"ok\":false}")));
    let mut job = job(&server.url(""));
    let is = |text: &str, then: Then| ErrorRule { at: Some(path("error")), is: vec![text.to_owned()], ..rule(&[], then) };
    job.stream.errors = vec![
        is("ratelimited", Then::Wait(Duration::from_secs(30))),
        is("channel_not_found", Then::Skip),
        is("invalid_auth", Then::Fail),
    ];
    let world = World::new();
    let source = world.open(&job);
    source.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap();
    let judged = |text: &str| source.judge(&answer(0, &[("error", word(text))]));
    assert_eq!(judged("channel_not_found"), Judgement::Nothing);
    assert!(
        matches!(judged("invalid_auth"), Judgement::Refused(ErrorKind::Data, said) if said.contains("`error`: `invalid_auth`; ask Bo"))
    );
    assert!(matches!(judged("ratelimited"), Judgement::ErrorInDisguise(_)));
    let before = world.clock.elapsed();
    source.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap();
    assert!(world.clock.elapsed() - before >= Duration::from_secs(30), "the budget waits before it asks again");
    assert_eq!(source.judge(&answer(3, &[])), Judgement::Records);
}
