//! Tokens that come at run time: asked for once, renewed ahead and after a refusal, kept before they are used, never shown.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use url::Url;

use super::fixture::*;
use super::server::{Answer, Server, json, raw};
use crate::config::catalog::{Auth, Client, ClientPlace, ErrorRule, Grant, Job, OAuth2, Then};
use crate::config::secret::SecretRef;
use crate::error::{ErrorKind, chain};
use crate::page::{Captured, Envelope, PagePosition, ResponsePath};
use crate::source::http::HttpSource;
use crate::source::{FetchError, Judgement, Source};

mod two_processes;

fn literal(text: &str) -> SecretRef {
    SecretRef::Literal(text.into())
}

fn client(secret: Option<&str>, place: ClientPlace) -> Client {
    Client { id: literal("client-id"), secret: secret.map(literal), place }
}

fn oauth2(token_url: &str, grant: Grant) -> Auth {
    Auth::OAuth2(Box::new(OAuth2 {
        token_url: Url::parse(token_url).unwrap(),
        grant,
        scopes: vec!["read".to_owned(), "write".to_owned()],
        extra: vec![("audience".to_owned(), "a&b".to_owned())],
    }))
}

fn job_with(server: &Server, grant: Grant) -> Job {
    let mut job = job(&server.url(""));
    job.source.auth = oauth2(&server.url("/token"), grant);
    job
}

fn credentials_job(server: &Server) -> Job {
    let client = client(Some("CANARY/secret"), ClientPlace::Basic);
    job_with(server, Grant::ClientCredentials { client })
}

fn rotating_job(server: &Server, seed: &str) -> Job {
    job_with(server, Grant::RefreshToken { client: client(None, ClientPlace::Basic), refresh_token: literal(seed) })
}

fn token(body: &str) -> Answer {
    Answer::Say(json("200 OK", "", body))
}

/// Gives `access-1`, `access-2` and so on, and answers requests that show one of those from `good_from` on.
fn giving(lifetime: Option<u64>, good_from: usize) -> Server {
    let given = AtomicUsize::new(0);
    Server::start(move |_, head| {
        if target(head) == "/token" {
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            let lifetime = lifetime.map(|seconds| format!(", \"expires_in\": {seconds}")).unwrap_or_default();
            return token(&format!(r#"{{"access_token": "access-{number}", "token_type": "bearer"{lifetime}}}"#));
        }
        let shown = header(head, "authorization").and_then(|shown| shown.strip_prefix("Bearer access-")?.parse::<usize>().ok());
        match shown {
            Some(number) if number >= good_from => Answer::Say(json("200 OK", "", "[1]")),
            _ => Answer::Say(json("401 Unauthorized", "", &format!("{{\"you sent\": {:?}}}", header(head, "authorization")))),
        }
    })
}

/// Accepts each refresh token once: `seed`, then `refresh-1` and so on.
struct Rotating {
    good: Arc<Mutex<String>>,
}

impl Rotating {
    fn start(seed: &str) -> (Server, Rotating) {
        let good = Arc::new(Mutex::new(seed.to_owned()));
        let (accepted, given) = (good.clone(), AtomicUsize::new(0));
        let server = Server::start(move |_, head| {
            if target(head) != "/token" {
                return Answer::Say(json("200 OK", "", "[1]"));
            }
            let mut good = accepted.lock().unwrap();
            if form(head, "refresh_token").as_deref() != Some(good.as_str()) {
                let body =
                    format!(r#"{{"error": "invalid_grant", "error_description": "{:?} was used"}}"#, form(head, "refresh_token"));
                return Answer::Say(json("400 Bad Request", "", &body.replace("Some(\"", "").replace("\")", "")));
            }
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            *good = format!("refresh-{number}");
            token(&format!(r#"{{"access_token": "access-{number}", "refresh_token": "{good}", "expires_in": 3600}}"#))
        });
        (server, Rotating { good })
    }
}

/// An entry of the form behind a request's head.
fn form(request: &str, name: &str) -> Option<String> {
    let body = request.split_once("\r\n\r\n")?.1;
    url::form_urlencoded::parse(body.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn asked(server: &Server) -> Vec<String> {
    server.seen().into_iter().filter(|head| target(head) == "/token").collect()
}

async fn fetch(source: &HttpSource) -> Result<(), FetchError> {
    source.fetch(&snapshot(), &PagePosition::start(), 1).await.map(drop)
}

#[tokio::test]
async fn one_token_serves_many_requests_and_the_next_process() {
    let (world, server) = (World::new(), giving(Some(3600), 1));
    let job = credentials_job(&server);
    let source = world.open(&job);
    for _ in 0..3 {
        fetch(&source).await.unwrap();
    }
    fetch(&world.open(&job)).await.unwrap();
    fetch(&world.next_process().open(&job)).await.unwrap();
    let [request] = asked(&server).try_into().unwrap();
    assert!(request.starts_with("POST /token "));
    // RFC 6749, 2.3.1: both parts are encoded as a form's.
    assert_eq!(header(&request, "authorization"), Some("Basic Y2xpZW50LWlkOkNBTkFSWSUyRnNlY3JldA=="));
    let entries = ["grant_type", "scope", "audience", "client_id"].map(|name| form(&request, name));
    assert_eq!(entries, [Some("client_credentials".into()), Some("read write".into()), Some("a&b".into()), None]);
    assert_eq!(source.requests(), 3, "a token request is none of the source's");
    assert!(!world.drawer.text().contains("CANARY"), "the secret itself is not written down: {}", world.drawer.text());
}

#[tokio::test]
async fn a_client_may_show_itself_in_the_body() {
    let (world, server) = (World::new(), giving(None, 1));
    let job = job_with(&server, Grant::ClientCredentials { client: client(Some("se&cret"), ClientPlace::Body) });
    fetch(&world.open(&job)).await.unwrap();
    let [request] = asked(&server).try_into().unwrap();
    assert_eq!(header(&request, "authorization"), None);
    assert_eq!(
        [form(&request, "client_id"), form(&request, "client_secret")],
        [Some("client-id".into()), Some("se&cret".into())]
    );
}

#[tokio::test]
async fn a_hundred_refusals_renew_once() {
    // R-35
    let (world, server) = (World::new(), giving(Some(3600), 2));
    let job = credentials_job(&server);
    let sources = [world.open(&job), world.open(&job)];
    // Who waits for its turn is woken by answers alone.
    world.clock.hold();
    let all = (0..100).map(|n| fetch(&sources[n % 2]));
    for fetched in join_all(all).await {
        fetched.unwrap();
    }
    assert_eq!(asked(&server).len(), 2, "one token, and its one successor");
    let pages = server.seen().len() - 2;
    assert!((101..=200).contains(&pages), "each is tried once more at most: {pages}");
}

#[tokio::test]
async fn a_second_refusal_blames_the_credential() {
    // S-36
    let (world, server) = (World::new(), giving(Some(3600), 99));
    let mut job = credentials_job(&server);
    let secret = Some(SecretRef::Env("SECRET".to_owned()));
    let client = Client { id: literal("client-id"), secret, place: ClientPlace::Basic };
    job.source.auth = oauth2(&server.url("/token"), Grant::ClientCredentials { client });
    let error = fetch(&world.open(&job)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Auth);
    assert!(error.message.contains("the token of given in the file, `env SECRET` was renewed"), "{}", error.message);
    assert!(error.message.contains("Bearer ***") && !error.message.contains("access-"), "{}", error.message);
    assert_eq!((asked(&server).len(), server.seen().len()), (2, 4));
}

#[tokio::test]
async fn a_rule_can_say_that_the_token_is_to_be_renewed() {
    // By status, and where a refusal comes with a status of success.
    let rule = |status: u16, at: Option<&str>| ErrorRule {
        status: vec![status],
        at: at.map(|at| ResponsePath::parse(at).unwrap()),
        is: at.map(|_| "token_expired".to_owned()).into_iter().collect(),
        contains: None,
        then: Then::Refresh,
        message: None,
    };
    let given = AtomicUsize::new(0);
    let server = Server::start(move |_, head| match (target(head), header(head, "authorization")) {
        ("/token", _) => {
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            token(&format!(r#"{{"access_token": "access-{number}"}}"#))
        }
        (_, Some("Bearer access-1")) => Answer::Say(json("403 Forbidden", "", "{}")),
        _ => Answer::Say(json("200 OK", "", "[1]")),
    });
    let mut job = credentials_job(&server);
    job.stream.errors = vec![rule(403, None), rule(200, Some("error"))];
    let world = World::new();
    let source = world.open(&job);
    fetch(&source).await.unwrap();
    assert_eq!(asked(&server).len(), 2);
    let captured = [(ResponsePath::parse("error").unwrap(), Captured::Text("token_expired".to_owned()))];
    let envelope = Envelope { captured: captured.into(), ..Envelope::default() };
    assert!(matches!(source.judge(&envelope), Judgement::ErrorInDisguise(_)));
    fetch(&source).await.unwrap();
    assert_eq!(asked(&server).len(), 3);
    let mut job = job;
    job.source.auth = bearer();
    let source = world.open(&job);
    fetch(&source).await.unwrap();
    // There is no other token to be had, and so it is named.
    let judged = source.judge(&envelope);
    assert!(matches!(&judged, Judgement::Refused(ErrorKind::Auth, why) if why.contains("; the credential is ")), "{judged:?}");
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end() {
    let (world, server) = (World::new(), giving(Some(100), 1));
    let source = world.open(&credentials_job(&server));
    fetch(&source).await.unwrap();
    world.clock.advance(Duration::from_secs(78));
    fetch(&source).await.unwrap();
    assert_eq!(asked(&server).len(), 1);
    world.clock.advance(Duration::from_secs(4));
    fetch(&source).await.unwrap();
    assert_eq!(asked(&server).len(), 2, "a fifth of its lifetime before the end");
    let shown: Vec<_> = server.seen().iter().filter_map(|head| header(head, "authorization").map(str::to_owned)).collect();
    assert_eq!(shown.last().map(String::as_str), Some("Bearer access-2"));
    assert!(server.seen().iter().all(|head| !head.contains(" 401 ")));
}

#[tokio::test]
async fn a_renewal_ahead_that_fails_is_no_harm_while_the_token_holds() {
    let given = AtomicUsize::new(0);
    let server = Server::start(move |_, head| match (target(head), given.load(Ordering::SeqCst)) {
        ("/token", 0) => {
            given.store(1, Ordering::SeqCst);
            token(r#"{"access_token": "access-1", "expires_in": 1000}"#)
        }
        ("/token", _) => Answer::Say(json("500 Internal Server Error", "", "{}")),
        _ => Answer::Say(json("200 OK", "", "[1]")),
    });
    let world = World::new();
    let mut job = credentials_job(&server);
    job.source.attempts_max = 2;
    let source = world.open(&job);
    fetch(&source).await.unwrap();
    world.clock.advance(Duration::from_secs(950));
    for _ in 0..3 {
        fetch(&source).await.unwrap();
    }
    assert_eq!(asked(&server).len(), 3, "not with every request");
    world.clock.advance(Duration::from_secs(51));
    let error = fetch(&source).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("/token answered 500") && error.message.contains("after 2 attempts"), "{}", error.message);
}

#[tokio::test]
async fn a_refused_grant_says_what_to_renew_and_is_not_asked_for_again_and_again() {
    let (server, _) = Rotating::start("another");
    let world = World::new();
    let mut job = rotating_job(&server, "");
    job.source.auth = oauth2(
        &server.url("/token"),
        Grant::RefreshToken { client: client(None, ClientPlace::Basic), refresh_token: SecretRef::Env("REFRESH".to_owned()) },
    );
    let source = world.open(&job);
    for error in join_all((0..20).map(|_| fetch(&source)))
        .await
        .into_iter()
        .map(Result::unwrap_err)
        .chain([fetch(&source).await.unwrap_err()])
    {
        assert_eq!(error.kind, ErrorKind::Auth);
        assert!(error.message.contains("refuses `env REFRESH` (`invalid_grant`: `*** was used`)"), "{}", error.message);
        assert!(error.message.contains("get a new one") && !chain(&error).contains("CANARY"), "{}", chain(&error));
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_token_request_is_retried_as_pages_are() {
    let answers: [(&str, &str); 4] = [
        ("500 Internal Server Error", ""),
        ("429 Too Many Requests", "Retry-After: 7\r\n"),
        ("408 Request Timeout", ""),
        ("200 OK", ""),
    ];
    let given = AtomicUsize::new(0);
    let server = Server::start(move |_, head| {
        if target(head) != "/token" {
            return Answer::Say(json("200 OK", "", "[1]"));
        }
        let (status, headers) = answers[given.fetch_add(1, Ordering::SeqCst)];
        Answer::Say(json(status, headers, r#"{"access_token": "access-1"}"#))
    });
    let world = World::new();
    fetch(&world.open(&credentials_job(&server))).await.unwrap();
    assert_eq!(asked(&server).len(), 4);
    let slept = world.clock.slept();
    assert!(slept.iter().any(|length| *length >= Duration::from_secs(7)), "{slept:?}");

    let server = Server::start(|_, _| Answer::Say(json("503 Service Unavailable", "Retry-After: 7200\r\n", "{}")));
    let error = fetch(&World::new().open(&credentials_job(&server))).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Throttled { retry_at: Some(_) }), "{error:?}");
    assert_eq!(server.seen().len(), 1, "many may wait for this answer");
}

#[tokio::test]
async fn a_token_request_that_hangs_or_floods_is_given_up() {
    let hanging = Server::start(|_, _| Answer::Hang(Vec::new()));
    let mut job = credentials_job(&hanging);
    (job.source.timeout, job.source.attempts_max) = (Duration::from_millis(200), 2);
    let error = fetch(&World::new().open(&job)).await.unwrap_err();
    assert_eq!((error.kind, hanging.seen().len()), (ErrorKind::Unavailable, 2));
    assert!(error.message.contains("no complete answer in time"), "{}", error.message);

    let large = Server::start(|_, _| Answer::Say(raw("200 OK", "", &vec![b' '; 70_000])));
    let error = fetch(&World::new().open(&credentials_job(&large))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert!(error.message.contains("more than `65536` bytes"), "{}", error.message);
}

#[tokio::test]
async fn a_token_request_goes_where_it_was_told_to_and_nowhere_else() {
    // S-01 S-09
    let other = Server::script(vec![]);
    let link = other.url("/token");
    let server = Server::start(move |_, _| Answer::Say(raw("307 Temporary Redirect", &format!("Location: {link}\r\n"), b"")));
    let error = fetch(&World::new().open(&credentials_job(&server))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("follows no redirect"), "{}", error.message);
    assert!(other.seen().is_empty());

    let mut job = credentials_job(&server);
    job.source.base_url = Url::parse("https://api.example.com").unwrap();
    let error = World::new().try_open(&job).err().unwrap();
    assert!(error.kind == ErrorKind::Config && error.message.contains("encryption"), "{}", error.message);

    // A name of the token address that leads to a private address.
    let mut job = credentials_job(&server);
    let client = client(Some("secret"), ClientPlace::Basic);
    job.source.auth = oauth2("http://id.example.com/token", Grant::ClientCredentials { client });
    let world = World::new().with_lookup(Everywhere("10.0.0.1".parse().unwrap()));
    let error = fetch(&world.open(&job)).await.unwrap_err();
    assert!(chain(&error).contains("private address"), "{}", chain(&error));
}

#[tokio::test]
async fn a_rotated_refresh_token_outlives_the_process() {
    let (server, _) = Rotating::start("seed");
    let job = rotating_job(&server, "seed");
    let mut world = World::new();
    for number in 1..=3 {
        fetch(&world.open(&job)).await.unwrap();
        let text = world.drawer.text();
        assert!(text.contains(&format!("\"refresh-{number}\"")) && !text.contains("seed"), "{text}");
        assert!(text.contains("\"asked_at\":null"), "{text}");
        // The access token has ended by the time of the next process.
        world.clock.advance(Duration::from_secs(3600));
        world = world.next_process();
    }
    let shown: Vec<Option<String>> = asked(&server).iter().map(|request| form(request, "refresh_token")).collect();
    assert_eq!(shown, [Some("seed".to_owned()), Some("refresh-1".to_owned()), Some("refresh-2".to_owned())]);
    let request = &asked(&server)[0];
    assert_eq!(
        (header(request, "authorization"), form(request, "client_id")),
        (None, Some("client-id".to_owned())),
        "a public client"
    );
}

#[tokio::test]
async fn a_changed_seed_wins_over_what_is_kept() {
    let (server, rotating) = Rotating::start("seed");
    let world = World::new();
    fetch(&world.open(&rotating_job(&server, "seed"))).await.unwrap();
    // The user logged in anew.
    *rotating.good.lock().unwrap() = "other".to_owned();
    fetch(&world.next_process().open(&rotating_job(&server, "other"))).await.unwrap();
    assert_eq!(form(&asked(&server)[1], "refresh_token").as_deref(), Some("other"));
}

#[tokio::test]
async fn a_successor_that_cannot_be_kept_is_not_used_and_the_old_one_is_tried_again() {
    let (server, rotating) = Rotating::start("seed");
    let job = rotating_job(&server, "seed");
    let world = World::new();
    // The announcement is the first write, the successor the second.
    *world.drawer.broken_from.lock().unwrap() = Some(1);
    let source = world.open(&job);
    let error = fetch(&source).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(
        error.message.contains("the successor of given in the file cannot be kept, so it is not used yet"),
        "{}",
        error.message
    );
    assert!(error.message.contains("no space left on the disk") && !error.message.contains("refresh-1"), "{}", error.message);
    assert_eq!((asked(&server).len(), server.seen().len()), (1, 1), "no page is asked for with it");

    // A process that ends now has lost it: the next one asks with the old one, and says what happened where that is refused.
    *world.drawer.broken_from.lock().unwrap() = None;
    let error = fetch(&world.next_process().open(&job)).await.unwrap_err();
    assert_eq!(form(&asked(&server)[1], "refresh_token").as_deref(), Some("seed"));
    assert!(error.message.contains("was cut off before its answer was kept"), "{}", error.message);
    // Where the server still takes it, all is well.
    *rotating.good.lock().unwrap() = "seed".to_owned();
    fetch(&world.next_process().open(&job)).await.unwrap();
    assert!(world.drawer.text().contains("\"refresh-2\"") && world.drawer.text().contains("\"asked_at\":null"));
}

#[tokio::test]
async fn a_process_that_lives_keeps_a_successor_as_soon_as_it_can() {
    let (server, _) = Rotating::start("seed");
    let world = World::new();
    *world.drawer.broken_from.lock().unwrap() = Some(1);
    let source = world.open(&rotating_job(&server, "seed"));
    for _ in 0..2 {
        fetch(&source).await.unwrap_err();
    }
    *world.drawer.broken_from.lock().unwrap() = None;
    fetch(&source).await.unwrap();
    assert_eq!(asked(&server).len(), 1, "its answer is at hand");
    assert!(world.drawer.text().contains("\"refresh-1\""));
}

#[tokio::test]
async fn a_refresh_token_is_not_spent_where_its_successor_could_not_be_kept() {
    let (server, _) = Rotating::start("seed");
    let world = World::new();
    *world.drawer.broken_from.lock().unwrap() = Some(0);
    let error = fetch(&world.open(&rotating_job(&server, "seed"))).await.unwrap_err();
    assert!(error.message.contains("is not asked with, for its successor could not be kept"), "{}", error.message);
    assert!(server.seen().is_empty());
    assert_eq!(world.drawer.writes(), 1);
    // What does not rotate is used all the same.
    let server = giving(None, 1);
    fetch(&world.open(&credentials_job(&server))).await.unwrap();
}

#[tokio::test]
async fn a_waiter_that_goes_away_loses_no_token() {
    let begun = Arc::new(AtomicBool::new(false));
    let asked = begun.clone();
    let server = Server::start(move |_, _| {
        asked.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(100));
        token(r#"{"access_token": "access-1", "refresh_token": "successor"}"#)
    });
    let world = World::new();
    let source = world.open(&rotating_job(&server, "seed"));
    {
        let mut fetching = std::pin::pin!(fetch(&source));
        while !begun.load(Ordering::SeqCst) {
            assert!(fetching.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    }
    world.tokens.close().await;
    assert!(world.drawer.text().contains("\"successor\""), "{}", world.drawer.text());
}

#[tokio::test]
async fn nothing_that_is_told_holds_a_token() {
    // S-34 S-36
    let given = AtomicUsize::new(0);
    let server = Server::start(move |_, head| {
        let echo = format!("{{\"you sent\": {:?}}}", header(head, "authorization"));
        match (target(head), given.fetch_add(1, Ordering::SeqCst)) {
            ("/token", 0) => Answer::Say(json("500 Internal Server Error", "", &format!("{head} CANARY/secret"))),
            ("/token", _) => token(r#"{"access_token": "CANARY/token", "refresh_token": "CANARY/refresh"}"#),
            _ => Answer::Say(json("503 Service Unavailable", "", &echo)),
        }
    });
    let world = World::new();
    let error = fetch(&world.open(&credentials_job(&server))).await.unwrap_err();
    let told = format!("{}\n{:?}\n{:?}", chain(&error), error, world.events());
    assert!(!told.contains("CANARY") && !told.contains("Q0FOQVJZ"), "{told}");
    assert!(told.contains("Bearer ***"), "{told}");
}
