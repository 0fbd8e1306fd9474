//! What goes over the wire, and what comes back.

use ::http::HeaderName;

use super::fixture::*;
use super::server::{Server, json};
use crate::config::catalog::{ApiKeyPlace, Auth, CountedEnd, Job, PagingKind, ParameterSet, Placed, TokenPlace};
use crate::config::secret::SecretRef;
use crate::error::ErrorKind;
use crate::ids::PartitionKey;
use crate::page::{Envelope, PageAt, PagePosition, ResponsePath};
use crate::source::Source;

/// The one set of a job.
fn set(pairs: &[(&str, &str)]) -> ParameterSet {
    let parameters = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ParameterSet { partition: PartitionKey::default(), parameters }
}

fn query(pairs: &[(&str, &str)]) -> Vec<(String, crate::template::Template)> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), template(text))).collect()
}

/// The target of the first request that a job sends.
async fn target_of(server: &Server, job: &Job) -> String {
    let before = server.seen().len();
    World::new().fetch(job).await.unwrap();
    target(&server.seen()[before]).to_owned()
}

fn answering() -> Server {
    Server::start(|_, _| super::server::Answer::Say(json("200 OK", "", "[]")))
}

#[tokio::test]
async fn a_page_comes_with_what_stands_around_it() {
    let answer = json("200 OK", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Total: 7\r\n", "[1]");
    let server = Server::script(vec![answer]);
    let mut job = job(&server.url("/v1"));
    job.stream.query = query(&[("key", "hidden")]);
    let world = World::new();
    let source = world.open(&job);
    let page = source.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap();
    assert_eq!((page.status, &page.body[..], source.requests()), (200, &b"[1]"[..], 1));
    assert_eq!(page.source_now, Some("1994-11-06T08:49:37Z".parse().unwrap()));
    assert_eq!(page.headers["x-total"], "7");
    assert_eq!(page.address, server.url("/v1/items"));
    assert_eq!(page.position, PagePosition::start());
}

#[tokio::test]
async fn a_request_says_who_asks_and_nothing_about_where_from() {
    // S-12
    let server = answering();
    let mut job = job(&server.url(""));
    job.source.auth = bearer();
    job.source.headers = vec![(HeaderName::from_static("x-for"), template("{{ owner }}"))];
    job.sets = vec![set(&[("owner", "acme")])];
    World::new().fetch(&job).await.unwrap();
    let head = &server.seen()[0];
    assert_eq!(header(head, "user-agent"), Some(concat!("highwater/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(header(head, "authorization"), Some(format!("Bearer {SECRET}").as_str()));
    assert_eq!((header(head, "x-for"), header(head, "accept")), (Some("acme"), Some("application/json")));
    assert_eq!(header(head, "referer"), None);
    assert_eq!(header(head, "accept-encoding"), Some("gzip, zstd"));
}

#[tokio::test]
async fn paths_are_joined_below_the_base() {
    let server = answering();
    for (base, path, expected) in [
        ("", "/items", "/items"),
        ("", "items", "/items"),
        ("/", "/items", "/items"),
        ("/v1", "/items", "/v1/items"),
        ("/v1/", "items/", "/v1/items/"),
        ("/v1", "", "/v1"),
        ("/v1", "a b/ä", "/v1/a%20b/%C3%A4"),
        ("/v1", "x?y#z\\w", "/v1/x%3Fy%23z%5Cw"),
    ] {
        let mut job = job(&server.url(base));
        job.stream.path = template(path);
        assert_eq!(target_of(&server, &job).await, expected, "{base} {path}");
    }
}

#[tokio::test]
async fn a_value_that_is_nothing_is_no_step_of_a_path() {
    let server = answering();
    let mut job = job(&server.url("/v1"));
    job.sets = vec![set(&[("owner", "")])];
    for (path, leads_to) in [
        ("/repos/{{ owner }}/x", None),
        ("/repos/{{ owner }}", None),
        ("/repos/{% if owner %}{{ owner }}/{% endif %}x", Some("/v1/repos/x")),
        ("{{ owner }}/repos/", Some("/v1/repos/")),
        ("/repos/x//{{ owner }}", None),
        ("/repos//x{{ owner }}", Some("/v1/repos//x")),
    ] {
        job.stream.path = template(path);
        match leads_to {
            Some(expected) => assert_eq!(target_of(&server, &job).await, expected),
            None => {
                let error = World::new().try_open(&job).err().unwrap();
                assert!(error.kind == ErrorKind::Config && error.message.contains("has an empty step"), "{path}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_parameter_cannot_leave_its_place() {
    // S-31
    let server = answering();
    let mut job = job(&server.url("/v1"));
    job.stream.path = template("/repos/{{ owner }}/x");
    job.stream.query = query(&[("q", "{{ owner }}"), ("fixed", "1")]);
    for (value, path, entry) in [
        ("a/b", "a%2Fb", "a/b"),
        ("a?admin=1", "a%3Fadmin%3D1", "a%3Fadmin%3D1"),
        ("a&admin=1#x", "a%26admin%3D1%23x", "a%26admin%3D1%23x"),
        ("..\\..", "..%5C..", "..%5C.."),
        ("../..", "..%2F..", "../.."),
        ("%2e%2e", "%252e%252e", "%252e%252e"),
        ("{{ fixed }}", "%7B%7B%20fixed%20%7D%7D", "%7B%7B%20fixed%20%7D%7D"),
        ("ä +", "%C3%A4%20%2B", "%C3%A4%20%2B"),
    ] {
        job.sets = vec![set(&[("owner", value)])];
        assert_eq!(target_of(&server, &job).await, format!("/v1/repos/{path}/x?q={entry}&fixed=1"), "{value}");
    }
    let before = server.seen().len();
    for value in ["..", "."] {
        job.sets = vec![set(&[("owner", value)])];
        let error = World::new().try_open(&job).err().unwrap();
        assert!(error.message.contains("path"), "{}", error.message);
    }
    assert_eq!(server.seen().len(), before);
}

#[tokio::test]
async fn a_parameter_cannot_add_a_header() {
    // S-18
    let mut job = job("http://127.0.0.1:9");
    job.source.headers = vec![(HeaderName::from_static("x-for"), template("{{ owner }}"))];
    job.sets = vec![set(&[("owner", "acme\r\nX-Evil: 1")])];
    let error = World::new().try_open(&job).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("headers.x-for") && !error.message.contains("Evil"), "{}", error.message);
}

#[tokio::test]
async fn queries_keep_their_order_and_leave_out_what_is_empty() {
    let server = answering();
    let mut job = job(&server.url(""));
    job.stream.query = query(&[("z", "1"), ("none", "{{ empty }}"), ("a", "2"), ("since", "never")]);
    job.stream.cursor = Some(time_cursor(&[("since", "{{ from }}"), ("until", "{{ to }}")]));
    job.sets = vec![set(&[("empty", "")])];
    let source = World::new().open(&job);
    source.fetch(&span(Some("2026-01-01T00:00:00Z"), "2026-01-02T00:00:00Z"), &PagePosition::start(), 1).await.unwrap();
    source.fetch(&span(None, "2026-01-02T00:00:00Z"), &PagePosition::start(), 1).await.unwrap();
    let seen = server.seen();
    assert_eq!(target(&seen[0]), "/items?z=1&a=2&since=2025-12-31T23:59:59.000Z&until=2026-01-02T00:00:01.000Z");
    // Without a bound the stream's own entry of that name stands.
    assert_eq!(target(&seen[1]), "/items?z=1&a=2&since=never&until=2026-01-02T00:00:01.000Z");
}

#[tokio::test]
async fn pages_are_asked_for_by_position() {
    let server = answering();
    let mut job = job(&server.url(""));
    job.stream.query = query(&[("limit", "7"), ("q", "x")]);
    let end = CountedEnd::EmptyPage;
    job.stream.paging.kind = PagingKind::Offset {
        offset_param: "offset".to_owned(),
        limit_param: Some("limit".to_owned()),
        start: 1,
        page_size: 100,
        end,
        placed: Placed::Query,
    };
    let source = World::new().open(&job);
    source.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap();
    let envelope = Envelope { records: 30, ..Envelope::default() };
    let next = source.next(&snapshot(), &PagePosition::start(), &envelope, &::http::HeaderMap::new()).unwrap().unwrap();
    source.fetch(&snapshot(), &next, 1).await.unwrap();
    let seen = server.seen();
    assert_eq!(target(&seen[0]), "/items?q=x&offset=1&limit=100");
    assert_eq!(target(&seen[1]), "/items?q=x&offset=31&limit=100");

    let place = TokenPlace::Header(HeaderName::from_static("x-next"));
    job.stream.paging.kind = PagingKind::PageToken { token: ResponsePath::parse("next").unwrap(), place };
    let source = World::new().open(&job);
    assert_eq!(source.wanted(), [ResponsePath::parse("next").unwrap()]);
    let token = PagePosition { index: 1, records_before: 1, at: PageAt::Token("t 1".to_owned()), parent: None };
    source.fetch(&snapshot(), &token, 1).await.unwrap();
    assert_eq!(header(&server.seen()[2], "x-next"), Some("t 1"));
}

#[tokio::test]
async fn a_next_link_carries_the_key_again() {
    let server = answering();
    let mut job = job(&server.url(""));
    let value = SecretRef::Env("TOKEN".to_owned());
    job.source.auth = Auth::ApiKey { name: "key".to_owned(), place: ApiKeyPlace::Query, value, prefix: String::new() };
    job.stream.paging.kind = PagingKind::LinkHeader;
    let source = World::new().open(&job);
    let mut headers = ::http::HeaderMap::new();
    headers.insert("link", r#"</items?page=2&key=old>; rel="next""#.parse().unwrap());
    let next = source.next(&snapshot(), &PagePosition::start(), &Envelope::default(), &headers).unwrap().unwrap();
    assert_eq!(next.at, PageAt::Url(server.url("/items?page=2&key=old")));
    let page = source.fetch(&snapshot(), &next, 1).await.unwrap();
    assert_eq!(target(&server.seen()[0]), "/items?page=2&key=CANARY-0123/456");
    assert!(!page.address.contains("CANARY"));
}

#[tokio::test]
async fn a_position_that_was_written_down_is_checked_again() {
    let mut job = job("https://api.example.com");
    job.stream.paging.kind = PagingKind::LinkHeader;
    let source = World::new().open(&job);
    for url in ["https://evil.example/", "http://127.0.0.1:9/", "file:///etc/passwd"] {
        let position = PagePosition { index: 1, records_before: 1, at: PageAt::Url(url.to_owned()), parent: None };
        assert_eq!(source.fetch(&snapshot(), &position, 1).await.unwrap_err().kind, ErrorKind::Config);
    }
    assert_eq!(source.requests(), 0);
}

#[tokio::test]
async fn a_proxy_that_the_file_names_is_asked_and_gets_the_whole_address() {
    // S-16
    let proxy = answering();
    let mut job = job("http://api.example.com/v1");
    job.source.proxy = Some(url::Url::parse(&proxy.url("")).unwrap());
    assert_eq!(target_of(&proxy, &job).await, "http://api.example.com/v1/items");
    assert_eq!(header(&proxy.seen()[0], "host"), Some("api.example.com"));
}

#[tokio::test]
async fn a_first_page_is_asked_for_by_its_tag_where_the_question_is_the_same() {
    let server = Server::start(|_, head| {
        let headers = "ETag: \"v1\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Mon, 07 Nov 1994 08:49:37 GMT\r\n";
        let is_known = header(head, "if-none-match") == Some("\"v1\"") || header(head, "if-modified-since").is_some();
        super::server::Answer::Say(if is_known { json("304 Not Modified", headers, "") } else { json("200 OK", headers, "[1]") })
    });
    let job = job(&server.url(""));
    let world = World::new();
    let source = world.open(&job);
    let start = PagePosition::start();
    let answered = source.fetch(&snapshot(), &start, 1).await.unwrap().answered.unwrap();
    assert_eq!((answered.etag.as_deref(), answered.last_modified.as_deref()), (Some("\"v1\""), None));
    assert!(source.fetch_changed(&snapshot(), &answered).await.unwrap().is_none());
    assert_eq!(header(&server.seen()[1], "if-none-match"), Some("\"v1\""));
    assert_eq!(header(&server.seen()[1], "if-modified-since"), None);

    // By another definition, with another credential, or of a stretch of time, it is another question.
    let asks_plainly = async |job: &Job, slice: &crate::slice::Slice| {
        let before = server.seen().len();
        let source = World::new().open(job);
        assert!(source.fetch_changed(slice, &answered).await.unwrap().is_some());
        header(&server.seen()[before], "if-none-match").is_none()
    };
    let mut other = job.clone();
    other.stream.query = query(&[("q", "x")]);
    assert!(asks_plainly(&other, &snapshot()).await);
    let mut other = job.clone();
    other.source.auth = bearer();
    assert!(asks_plainly(&other, &snapshot()).await);
    let page = source.fetch(&span(None, "2026-01-01T00:00:00Z"), &start, 1).await;
    assert!(page.unwrap().answered.is_none(), "time that is not closed");

    // A link in a header is no part of what a tag stands for.
    let mut linked = job.clone();
    linked.stream.paging.kind = PagingKind::LinkHeader;
    assert!(World::new().fetch(&linked).await.unwrap().answered.is_none());
    let mut never = job.clone();
    never.stream.conditional = crate::config::catalog::Conditional::Never;
    assert!(World::new().fetch(&never).await.unwrap().answered.is_none());
}

#[tokio::test]
async fn a_tag_is_not_shown_where_a_redirect_leads() {
    let server = Server::start(|_, head| {
        let moved = "Location: /today\r\n";
        super::server::Answer::Say(match (target(head), header(head, "if-none-match")) {
            ("/items", _) => super::server::raw("302 Found", moved, b""),
            (_, Some(_)) => json("304 Not Modified", "", ""),
            (_, None) => json("200 OK", "ETag: \"1\"\r\n", "[1]"),
        })
    });
    let job = job(&server.url(""));
    let world = World::new();
    let source = world.open(&job);
    let answered = source.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap().answered.unwrap();
    assert!(source.fetch_changed(&snapshot(), &answered).await.unwrap().is_some(), "it may be another one's tag");
}

#[tokio::test]
async fn a_date_of_change_is_used_only_where_it_was_allowed() {
    let headers = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Mon, 07 Nov 1994 08:49:37 GMT\r\n";
    let server = Server::start(move |_, head| {
        let is_known = header(head, "if-modified-since").is_some();
        super::server::Answer::Say(if is_known { json("304 Not Modified", headers, "") } else { json("200 OK", headers, "[1]") })
    });
    let mut job = job(&server.url(""));
    assert!(World::new().fetch(&job).await.unwrap().answered.is_none());
    job.stream.conditional = crate::config::catalog::Conditional::LastModified;
    let answered = World::new().fetch(&job).await.unwrap().answered.unwrap();
    assert_eq!(answered.last_modified.as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert!(World::new().open(&job).fetch_changed(&snapshot(), &answered).await.unwrap().is_none());
    // «Not modified» to whom it was not asked is no answer.
    let server = Server::script(vec![json("304 Not Modified", "", "")]);
    assert!(World::new().fetch(&self::job(&server.url(""))).await.is_err());
}
