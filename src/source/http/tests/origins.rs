//! Redirects and addresses: credentials never leave the origin, nothing is sent to where it must not go.

use std::net::IpAddr;
use std::time::Duration;

use ::http::{HeaderName, Method};

use super::fixture::*;
use super::server::{Answer, Server, json, raw};
use crate::clock::Clock;
use crate::config::catalog::{ApiKeyPlace, Auth, Job, PagingKind, RequestBody};
use crate::config::secret::SecretRef;
use crate::error::{ErrorKind, chain};
use crate::page::{Envelope, PageAt, PagePosition};
use crate::source::Source;

fn redirect(status: &str, to: &str) -> Vec<u8> {
    raw(status, &format!("Location: {to}\r\n"), b"")
}

/// A job with a header of its own and a key that generic clients do not know to be secret.
fn secretive(base_url: &str) -> Job {
    let mut job = job(base_url);
    let value = SecretRef::Env("TOKEN".to_owned());
    job.source.auth = Auth::ApiKey { name: "X-API-Key".to_owned(), place: ApiKeyPlace::Header, value, prefix: String::new() };
    job.source.headers = vec![(HeaderName::from_static("x-account"), template("acme"))];
    job
}

/// The same, allowed to go to another server of this machine.
fn allowed(base_url: &str, other: &Server) -> Job {
    let mut job = secretive(base_url);
    job.source.allow_hosts = vec![other.authority()];
    job.source.allow_private = true;
    job
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_followed_with_credentials() {
    let server = Server::script(vec![
        redirect("301 Moved Permanently", "/v2/items?x=1#top"),
        redirect("307 Temporary Redirect", "items2"),
        json("200 OK", "", "[]"),
    ]);
    let world = World::new();
    let source = world.open(&secretive(&server.url("")));
    let page = source.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap();
    let seen = server.seen();
    let targets: Vec<&str> = seen.iter().map(|head| target(head)).collect();
    assert_eq!(targets, ["/items", "/v2/items?x=1", "/v2/items2"]);
    assert!(seen.iter().all(|head| header(head, "x-api-key") == Some(SECRET)));
    assert!(seen.iter().all(|head| header(head, "referer").is_none()));
    assert_eq!((source.requests(), page.address), (3, server.url("/v2/items2")));
}

#[tokio::test]
async fn what_a_redirect_tells_of_limits_holds_for_the_request_that_it_leads_to() {
    //
    let waited = async |headers: &str| {
        let moved = raw("302 Found", &format!("Location: /b\r\n{headers}"), b"");
        let server = Server::script(vec![moved, json("200 OK", "", "[1]")]);
        let world = World::new();
        let before = world.clock.elapsed();
        let fetched = world.fetch(&job(&server.url(""))).await;
        (fetched.map(|page| page.status), server.seen().len(), world.clock.elapsed() - before)
    };
    for headers in ["RateLimit: \"a\";r=0;t=30\r\n", "Retry-After: 30\r\n", "Retry-After: 30\r\nRateLimit: \"a\";r=0;t=20\r\n"] {
        let (status, seen, waited) = waited(headers).await;
        assert_eq!((status.unwrap(), seen), (200, 2), "{headers}");
        assert!(waited >= Duration::from_secs(30) && waited < Duration::from_secs(33), "{headers}: {waited:?}");
    }
    let (status, _, at_once) = waited("").await;
    assert_eq!((status.unwrap(), at_once), (200, Duration::ZERO));
    // Nobody waits for hours with a request under way.
    let (refused, seen, _) = waited("Retry-After: 7200\r\n").await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused.kind, ErrorKind::Throttled { retry_at: Some(_) }), "{refused:?}");
    assert_eq!(seen, 1);
    assert!(refused.message.contains("it wants no request for 7200 s"), "{}", refused.message);
}

#[tokio::test]
async fn whoever_waits_to_follow_a_redirect_can_be_stopped() {
    //
    let server = Server::script(vec![raw("302 Found", "Location: /b\r\nRetry-After: 1800\r\n", b"")]);
    let world = World::new();
    world.clock.hold();
    world.stop.request();
    assert_eq!(world.fetch(&job(&server.url(""))).await.unwrap_err().kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_redirect_elsewhere_is_refused_before_a_packet_is_sent() {
    // S-01 S-06
    let other = Server::script(vec![]);
    let evil = other.url("/steal?x=1");
    for link in [evil.as_str(), "https://169.254.169.254/", "http://[::1]/", "http://someone@127.0.0.1/", "file:///etc/passwd"] {
        let server = Server::script(vec![redirect("302 Found", link)]);
        let error = World::new().fetch(&secretive(&server.url(""))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{link}");
        assert!(error.message.contains("refused") && !error.message.contains("steal"), "{}", error.message);
        assert_eq!(server.seen().len(), 1);
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn an_allowed_host_gets_neither_credentials_nor_headers() {
    // S-10 S-11
    let other = Server::script(vec![json("200 OK", "", "[]"), json("200 OK", "", "[]")]);
    let server = Server::script(vec![redirect("302 Found", &other.url("/file"))]);
    let mut job = allowed(&server.url(""), &other);
    World::new().fetch(&job).await.unwrap();
    assert_eq!(header(&server.seen()[0], "x-api-key"), Some(SECRET));

    job.stream.paging.kind = PagingKind::LinkHeader;
    let source = World::new().open(&job);
    let mut headers = ::http::HeaderMap::new();
    headers.insert("link", format!("<{}>; rel=next", other.url("/items?page=2")).parse().unwrap());
    let next = source.next(&snapshot(), &PagePosition::start(), &Envelope::default(), &headers).unwrap().unwrap();
    source.fetch(&snapshot(), &next, 1).await.unwrap();

    let seen = other.seen();
    assert_eq!((seen.len(), target(&seen[1])), (2, "/items?page=2"));
    for head in seen {
        assert_eq!((header(&head, "x-api-key"), header(&head, "x-account"), header(&head, "referer")), (None, None, None));
        assert!(!head.contains("CANARY"));
    }
}

#[tokio::test]
async fn another_host_does_not_choose_what_is_asked_of_the_source() {
    // S-13
    let (home, other) = (Server::script(vec![]), Server::script(vec![]));
    let mut job = allowed(&home.url(""), &other);
    job.stream.paging.kind = PagingKind::LinkHeader;
    let source = World::new().open(&job);
    let linked = |to: &str| {
        let mut headers = ::http::HeaderMap::new();
        headers.insert("link", format!("<{to}>; rel=next").parse().unwrap());
        headers
    };
    let there = PagePosition::start().after(1, PageAt::Url(other.url("/page")));
    let refused = source.next(&snapshot(), &there, &Envelope::default(), &linked(&home.url("/admin?all=1"))).unwrap_err();
    assert!(refused.message.contains("leads back to the source"), "{}", refused.message);
    assert!(source.next(&snapshot(), &there, &Envelope::default(), &linked(&other.url("/page2"))).unwrap().is_some());
    assert!(home.seen().is_empty());
}

#[tokio::test]
async fn a_next_link_takes_no_body_to_another_host() {
    // S-10 S-15
    let (home, other) = (Server::script(vec![]), Server::script(vec![]));
    let mut job = allowed(&home.url(""), &other);
    job.stream.method = Method::POST;
    job.stream.body =
        Some(RequestBody::Text { text: template("private"), content_type: ::http::HeaderValue::from_static("text/plain") });
    job.stream.paging.kind = PagingKind::LinkHeader;
    let there = PagePosition::start().after(1, PageAt::Url(other.url("/page")));
    let refused = World::new().open(&job).fetch(&snapshot(), &there, 1).await.unwrap_err();
    assert!(refused.message.contains("a request with a body is not sent there"), "{}", refused.message);
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn credentials_that_were_taken_off_stay_off() {
    // S-13: away and back again, to an address that the other host chose.
    let (home, away) =
        (std::sync::Arc::new(std::sync::Mutex::new(String::new())), std::sync::Arc::new(std::sync::Mutex::new(String::new())));
    let (to_home, to_away) = (home.clone(), away.clone());
    let other = Server::start(move |_, _| Answer::Say(redirect("302 Found", &to_home.lock().unwrap())));
    let server = Server::start(move |n, _| match n {
        0 => Answer::Say(redirect("302 Found", &to_away.lock().unwrap())),
        _ => Answer::Say(json("200 OK", "", "[]")),
    });
    *home.lock().unwrap() = server.url("/back");
    *away.lock().unwrap() = other.url("/away");
    World::new().fetch(&allowed(&server.url(""), &other)).await.unwrap();
    let seen = server.seen();
    assert_eq!(target(&seen[1]), "/back");
    assert_eq!((header(&seen[1], "x-api-key"), header(&seen[1], "x-account")), (None, None));
}

#[tokio::test]
async fn redirects_without_end_are_given_up() {
    let server = Server::start(|n, _| Answer::Say(redirect("302 Found", &format!("/items?hop={n}"))));
    let error = World::new().fetch(&job(&server.url(""))).await.unwrap_err();
    assert!(error.message.contains("`5` times"), "{}", error.message);
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn a_post_is_not_turned_into_a_get() {
    // S-15
    for status in ["301 Moved Permanently", "302 Found", "303 See Other"] {
        let server = Server::script(vec![redirect(status, "/other")]);
        let mut job = job(&server.url(""));
        job.stream.method = Method::POST;
        let error = World::new().fetch(&job).await.unwrap_err();
        assert!(error.message.contains("POST"), "{}", error.message);
        assert_eq!(server.seen().len(), 1);
    }
    let server = Server::script(vec![redirect("308 Permanent Redirect", "/other"), json("200 OK", "", "[]")]);
    let mut job = job(&server.url(""));
    job.stream.method = Method::POST;
    World::new().fetch(&job).await.unwrap();
    assert!(server.seen()[1].starts_with("POST /other "));
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_connected_to() {
    // S-09
    let server = Server::start(|_, _| Answer::Say(json("200 OK", "", "[]")));
    let base = format!("http://api.example.com:{}", server.port());
    let here: IpAddr = "127.0.0.1".parse().unwrap();
    let world = World::new().with_lookup(Everywhere(here));
    let error = world.fetch(&job(&base)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(chain(&error).contains("`api.example.com` leads to the private address `127.0.0.1`"), "{}", chain(&error));
    assert!(server.seen().is_empty() && world.clock.slept().is_empty());

    let mut job = job(&base);
    job.source.allow_private = true;
    World::new().with_lookup(Everywhere(here)).fetch(&job).await.unwrap();
    assert_eq!(server.seen().len(), 1);
}
