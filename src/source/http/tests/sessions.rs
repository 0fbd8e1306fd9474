//! Logins of an API's own: once for everybody, again when a session ends, and nothing of them is ever shown.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::header::AUTHORIZATION;
use ::http::{HeaderName, Method};
use futures::future::join_all;

use super::fixture::*;
use super::server::{Answer, Server, json};
use crate::config::catalog::{Auth, ErrorRule, Job, PlainRequest, RequestBody, Session, SessionPlace, Then};
use crate::config::secret::SecretRef;
use crate::error::ErrorKind;
use crate::page::{PagePosition, ResponsePath};
use crate::source::Source;
use crate::source::http::HttpSource;
use crate::template::JsonTemplate;

fn session(place: SessionPlace, expires: Option<u64>) -> Auth {
    let text = |text: &str| JsonTemplate::Text(template(text));
    let body = JsonTemplate::Object(vec![
        ("user".to_owned(), text("{{ username }}")),
        ("password".to_owned(), text("{{ password }}")),
        ("tenant".to_owned(), text("{{ tenant }}")),
    ]);
    Auth::Session(Box::new(Session {
        username: SecretRef::Literal("jo".into()),
        password: SecretRef::Env("PASSWORD".to_owned()),
        login: PlainRequest {
            method: Method::POST,
            path: template("/login/{{ tenant }}"),
            query: Vec::new(),
            headers: vec![(HeaderName::from_static("x-app"), template("etl"))],
            body: Some(RequestBody::Json(body)),
        },
        place,
        expires: expires.map(Duration::from_secs),
    }))
}

fn in_header() -> SessionPlace {
    let token = ResponsePath::parse("data.token").unwrap();
    SessionPlace::Header { token, name: AUTHORIZATION, prefix: "Token ".to_owned() }
}

fn job_with(server: &Server, place: SessionPlace, expires: Option<u64>) -> Job {
    let mut job = job(&server.url("/api"));
    job.parameters = [("tenant".to_owned(), "a/b".to_owned())].into();
    job.source.auth = session(place, expires);
    job
}

/// Gives sessions 1, 2 and so on; those before `good_from` are refused.
fn giving(good_from: usize) -> Server {
    let given = AtomicUsize::new(0);
    Server::start(move |_, head| {
        if target(head) == "/api/login/a%2Fb" {
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            let cookie = format!("Set-Cookie: lang=en\r\nSet-Cookie: SID=CANARY-{number}; Path=/; HttpOnly\r\n");
            return Answer::Say(json("200 OK", &cookie, &format!("{{\"data\": {{\"token\": \"CANARY-{number}\"}}}}")));
        }
        let shown = header(head, "authorization").and_then(|shown| shown.strip_prefix("Token CANARY-"));
        let shown = shown.or_else(|| header(head, "cookie").and_then(|shown| shown.strip_prefix("SID=CANARY-")));
        match shown.and_then(|number| number.parse::<usize>().ok()) {
            Some(number) if number >= good_from => Answer::Say(json("200 OK", "", "[1]")),
            _ => Answer::Say(json("401 Unauthorized", "", &format!("{{\"you sent\": {head:?}}}"))),
        }
    })
}

fn logins(server: &Server) -> Vec<String> {
    server.seen().into_iter().filter(|head| target(head).starts_with("/api/login")).collect()
}

async fn fetch(source: &HttpSource) -> Result<(), crate::source::FetchError> {
    source.fetch(&snapshot(), &PagePosition::start(), 1).await.map(drop)
}

#[tokio::test]
async fn one_login_serves_all_and_outlives_the_process() {
    // S-34
    for place in [in_header(), SessionPlace::Cookie("SID".to_owned())] {
        let server = giving(1);
        let job = job_with(&server, place, None);
        let world = World::new();
        // Who waits for its turn is woken by answers alone.
        world.clock.hold();
        let (one, other) = (world.open(&job), world.open(&job));
        for fetched in join_all([fetch(&one), fetch(&other), fetch(&one)]).await {
            fetched.unwrap();
        }
        fetch(&world.next_process().open(&job)).await.unwrap();
        let logins = logins(&server);
        assert_eq!(logins.len(), 1);
        assert_eq!(body(&logins[0]), format!("{{\"password\":\"{SECRET}\",\"tenant\":\"a/b\",\"user\":\"jo\"}}"));
        assert_eq!((header(&logins[0], "x-app"), header(&logins[0], "authorization")), (Some("etl"), None));
        assert!(!format!("{:?}", world.events()).contains("CANARY"));
    }
}

#[tokio::test]
async fn a_session_that_is_refused_is_begun_again_once_for_all() {
    //
    let server = giving(2);
    let job = job_with(&server, in_header(), None);
    let world = World::new();
    world.clock.hold();
    let source = world.open(&job);
    for fetched in join_all([fetch(&source), fetch(&source), fetch(&source)]).await {
        fetched.unwrap();
    }
    assert_eq!(logins(&server).len(), 2);

    let server = giving(usize::MAX);
    let error = fetch(&World::new().open(&job_with(&server, in_header(), None))).await.unwrap_err();
    assert_eq!((error.kind, logins(&server).len()), (ErrorKind::Auth, 2));
    assert!(error.message.contains("`env PASSWORD`") && !error.message.contains("CANARY"), "{}", error.message);
}

#[tokio::test]
async fn a_session_whose_end_is_told_in_a_status_of_success_is_begun_again() {
    // By the text of the page, and by a header.
    let rule = |at: Option<&str>, said: &str| ErrorRule {
        status: vec![200],
        at: at.map(|at| ResponsePath::parse(at).unwrap()),
        is: Vec::new(),
        contains: Some(said.to_owned()),
        then: Then::Refresh,
        message: None,
    };
    for rule in [rule(None, "signed out"), rule(Some("header.x-state"), "expired")] {
        let given = AtomicUsize::new(0);
        let server = Server::start(move |_, head| match (target(head), header(head, "authorization")) {
            ("/api/login/a%2Fb", _) => {
                let number = given.fetch_add(1, Ordering::SeqCst) + 1;
                Answer::Say(json("200 OK", "", &format!("{{\"data\": {{\"token\": \"session-{number}\"}}}}")))
            }
            (_, Some("Token session-1")) => Answer::Say(json("200 OK", "X-State: Expired\r\n", "{\"note\": \"Signed out\"}")),
            _ => Answer::Say(json("200 OK", "", "[1]")),
        });
        let mut job = job_with(&server, in_header(), None);
        job.stream.errors = vec![rule];
        let source = World::new().open(&job);
        let page = source.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap();
        assert_eq!((&page.body[..], logins(&server).len(), source.requests()), (&b"[1]"[..], 2, 2));
    }
    // Where every session is told to be over, it is not begun again and again.
    let server = Server::start(|_, head| match target(head) {
        "/api/login/a%2Fb" => Answer::Say(json("200 OK", "", "{\"data\": {\"token\": \"session\"}}")),
        _ => Answer::Say(json("200 OK", "", "{\"note\": \"Signed out\"}")),
    });
    let mut job = job_with(&server, in_header(), None);
    job.stream.errors = vec![rule(None, "signed out")];
    let error = fetch(&World::new().open(&job)).await.unwrap_err();
    assert_eq!((error.kind, logins(&server).len()), (ErrorKind::Auth, 2));
    assert!(error.message.contains("was renewed, and that one is refused too"), "{}", error.message);
}

#[tokio::test]
async fn a_session_is_begun_again_ahead_of_its_end() {
    let server = giving(1);
    let world = World::new();
    let source = world.open(&job_with(&server, in_header(), Some(600)));
    fetch(&source).await.unwrap();
    world.clock.advance(Duration::from_secs(500));
    fetch(&source).await.unwrap();
    assert_eq!(logins(&server).len(), 1);
    world.clock.advance(Duration::from_secs(60));
    fetch(&source).await.unwrap();
    assert_eq!(logins(&server).len(), 2);
}

#[tokio::test]
async fn a_login_that_fails_says_what_to_change_and_shows_nothing() {
    // S-36
    let cases = [
        ("403 Forbidden", "", ErrorKind::Auth, "answered 403 Forbidden: it refuses `env PASSWORD`"),
        ("200 OK", "{\"error\": \"no\"}", ErrorKind::Auth, "and gave no token at `data.token`: it refuses `env PASSWORD`"),
        ("404 Not Found", "", ErrorKind::Config, "see `auth.login`"),
        ("500 Internal Server Error", "", ErrorKind::Unavailable, "given up after 4 attempts"),
        ("200 OK", "{\"data\": {\"token\": \"a\\nb\"}}", ErrorKind::Data, "what it gives is no token"),
    ];
    for (status, answer, kind, said) in cases {
        let answer = if answer.is_empty() { format!("{{\"you\": \"{SECRET}\"}}") } else { answer.to_owned() };
        let server = Server::start(move |_, _| Answer::Say(json(status, "", &answer)));
        let error = fetch(&World::new().open(&job_with(&server, in_header(), None))).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status}");
        assert!(error.message.contains(said) && !error.message.contains("CANARY"), "{status}: {}", error.message);
    }
}

#[tokio::test]
async fn a_form_that_sends_the_browser_on_lets_in_by_its_cookie() {
    let server = Server::start(|_, head| match target(head) {
        "/api/items" => Answer::Say(json("200 OK", "", "[1]")),
        _ => Answer::Say(json("302 Found", "Location: /home\r\nSet-Cookie: SID=x; Max-Age=60\r\n", "")),
    });
    let source = World::new().open(&job_with(&server, SessionPlace::Cookie("SID".to_owned()), None));
    fetch(&source).await.unwrap();
    assert_eq!(server.seen().len(), 2, "nobody goes where the browser would");
    assert_eq!(header(&server.seen()[1], "cookie"), Some("SID=x"));
}
