//! What is refused for a limit's sake, by whichever dialect, and how long nobody asks again.

use std::time::Duration;

use super::fixture::*;
use super::server::{Answer, Server, json};
use crate::clock::Clock;
use crate::config::catalog::{ApiKeyPlace, Auth, ErrorRule, Limits, QueryText, Rate, RequestBody, Then};
use crate::config::secret::SecretRef;
use crate::decode::{DecodeSpec, Decoder};
use crate::error::ErrorKind;
use crate::page::{Captured, Envelope, PagePosition, ResponsePath};
use crate::source::{Judgement, Source};
use crate::template::JsonTemplate;

fn fine() -> Vec<u8> {
    json("200 OK", "", "[1]")
}

const REQUEST_ID: &str = "X-GitHub-Request-Id: CAFE:1\r\n";

/// How long the second request came after the first, where the first is answered like this and the second well.
async fn waited(status: &str, headers: &str, body: &str) -> Duration {
    let world = World::new();
    let server = Server::script(vec![json(status, headers, body), fine()]);
    let mut job = job(&server.url(""));
    // A wait that the source asked for spends no attempt.
    job.source.attempts_max = 1;
    let before = world.clock.elapsed();
    world.fetch(&job).await.unwrap();
    assert_eq!(server.seen().len(), 2);
    world.clock.elapsed() - before
}

#[tokio::test]
async fn a_403_that_means_a_limit_is_waited_out() {
    let headers = "Date: Mon, 04 May 2026 12:00:00 GMT\r\nX-RateLimit-Limit: 60\r\nX-RateLimit-Reset: 1777896040\r\n";
    // R-13
    let primary = waited("403 Forbidden", &format!("{headers}X-RateLimit-Remaining: 0\r\n{REQUEST_ID}"), "{}").await;
    assert!(primary >= Duration::from_secs(40) && primary < Duration::from_secs(45), "{primary:?}");
    // R-15
    let body = r#"{"message":"You have exceeded a secondary rate limit."}"#;
    let secondary = waited("403 Forbidden", &format!("{headers}X-RateLimit-Remaining: 9\r\n{REQUEST_ID}"), body).await;
    assert!(secondary >= Duration::from_secs(60) && secondary < Duration::from_secs(65), "{secondary:?}");
}

#[tokio::test]
async fn what_a_body_asks_for_holds_for_everybody_with_the_credential() {
    // R-15
    let world = World::new();
    let body = r#"{"message":"You have exceeded a secondary rate limit."}"#;
    let server = Server::script(vec![json("403 Forbidden", "", body), fine(), fine()]);
    let job = job(&server.url(""));
    let (one, other) = (world.open(&job), world.open(&job));
    let start = PagePosition::start();
    world.stop.request();
    assert_eq!(one.fetch(&snapshot(), &start, 1).await.unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(other.fetch(&snapshot(), &start, 1).await.unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(server.seen().len(), 1, "the other asked although the first was told to wait");
}

#[tokio::test]
async fn retry_after_wins_over_a_reset() {
    // R-06
    let waited = waited("429 Too Many Requests", "Retry-After: 7\r\nRateLimit: \"a\";r=0;t=90\r\n", "{}").await;
    assert!(waited >= Duration::from_secs(7) && waited < Duration::from_secs(12), "{waited:?}");
}

#[tokio::test]
async fn a_403_means_what_its_reason_says() {
    // R-23
    let reason = |reason: &str| format!(r#"{{"error":{{"errors":[{{"reason":"{reason}"}}],"code":403}}}}"#);
    let forbidden = |reason: String| json("403 Forbidden", "", &reason);
    let world = World::new();
    let server = Server::script(vec![forbidden(reason("rateLimitExceeded")), fine()]);
    world.fetch(&job(&server.url(""))).await.unwrap();
    assert_eq!(server.seen().len(), 2);
    let server = Server::script(vec![forbidden(reason("insufficientPermissions")), fine()]);
    assert_eq!(World::new().fetch(&job(&server.url(""))).await.unwrap_err().kind, ErrorKind::Auth);
    assert_eq!(server.seen().len(), 1);
    // The day's quota is not waited for: the job is told when to come back.
    let (world, answer) = (World::new(), forbidden(reason("dailyLimitExceeded")));
    let server = Server::start(move |_, _| Answer::Say(answer.clone()));
    let before = world.clock.now();
    let error = world.fetch(&job(&server.url(""))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled { retry_at: Some(before + Duration::from_secs(3660)) });
    assert_eq!((server.seen().len(), world.clock.slept().len()), (1, 0));
}

#[tokio::test]
async fn a_days_requests_that_are_spent_send_the_job_away_until_they_may_be_back() {
    // R-20
    let spent = r#"[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#;
    let spent = json("403 Forbidden", "Sforce-Limit-Info: api-usage=5000/5000\r\n", spent);
    let (world, server) = (World::new(), Server::start(move |_, _| Answer::Say(spent.clone())));
    let before = world.clock.now();
    let job = job(&server.url(""));
    let error = world.fetch(&job).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled { retry_at: Some(before + Duration::from_secs(3660)) });
    assert!(error.message.contains("it wants no request for 3660 s"), "{}", error.message);
    // Another job with the credential does not even ask, and comes back no sooner.
    let other = world.fetch(&job).await.unwrap_err();
    let ErrorKind::Throttled { retry_at: Some(at) } = other.kind else { panic!("{other:?}") };
    assert!(at >= before + Duration::from_secs(3660), "{at}");
    assert_eq!((server.seen().len(), world.clock.slept().len()), (1, 0));
}

#[tokio::test]
async fn a_throttled_query_is_asked_again_once_its_points_are_there() {
    // R-18
    let throttled = r#"{"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}],"extensions":{"cost":{
        "requestedQueryCost":302,"actualQueryCost":null,
        "throttleStatus":{"maximumAvailable":2000.0,"currentlyAvailable":200,"restoreRate":10.0}}}}"#;
    let world = World::new();
    let server = Server::script(vec![json("200 OK", "", throttled), json("200 OK", "", r#"{"data":{"items":[1]}}"#)]);
    let mut job = job(&server.url(""));
    job.stream.body = Some(RequestBody::Graphql {
        query: QueryText::Written("{ items }".to_owned()),
        variables: JsonTemplate::Object(Vec::new()),
    });
    let (source, start) = (world.open(&job), PagePosition::start());
    let page = source.fetch(&snapshot(), &start, 1).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
    // What the body's reader finds at the places that the source names.
    let captured = source.wanted().into_iter().filter_map(|path| {
        let ResponsePath::Body(steps) = &path else { return None };
        let found = body.pointer(&format!("/{}", steps.join("/")))?.clone();
        let found = match found {
            serde_json::Value::String(text) => Captured::Text(text),
            serde_json::Value::Number(number) => Captured::Number(number.to_string()),
            serde_json::Value::Null => Captured::Null,
            _ => Captured::Nested,
        };
        Some((path, found))
    });
    let envelope = Envelope { captured: captured.collect(), ..Envelope::default() };
    assert!(matches!(source.judge(&envelope), Judgement::ErrorInDisguise(_)));
    let before = world.clock.elapsed();
    source.fetch(&snapshot(), &start, 2).await.unwrap();
    let waited = world.clock.elapsed() - before;
    assert!(waited >= Duration::from_millis(10_200) && waited < Duration::from_secs(13), "{waited:?}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn what_pages_cost_is_charged_to_each_whenever_it_is_told() {
    let costs = [40, 60, 20];
    let server = Server::start(move |n, _| {
        Answer::Say(json("200 OK", "", &format!("{{\"items\":[{{\"id\":{n}}}],\"cost\":{}}}", costs[n])))
    });
    let mut job = job(&server.url(""));
    job.stream.records = ResponsePath::parse("items").unwrap();
    let points = vec![Rate { requests: 1_000, per: Duration::from_secs(60) }];
    let cost = Some(ResponsePath::parse("cost").unwrap());
    job.source.limits = Limits { points, cost, burst: 1.0, ..Limits::default() };
    let source = World::new().open(&job);
    let left = || source.quota().windows.iter().find(|window| window.points).and_then(|window| window.left);
    // All are asked for before the first is looked at, and that is not the one that was asked for last.
    let mut pages = Vec::new();
    for index in 0..3 {
        let at = PagePosition { index, ..PagePosition::start() };
        pages.push(source.fetch(&snapshot(), &at, 1).await.unwrap());
    }
    assert_eq!(left(), Some(1_000 - 3));
    let mut decoder = Decoder::new(DecodeSpec::of(&job, source.wanted()), None).unwrap();
    for page in [&pages[0], &pages[2], &pages[1], &pages[0]] {
        assert_eq!(source.judge(&decoder.decode(page).unwrap().envelope), Judgement::Records);
    }
    assert_eq!(left(), Some(1_000 - 120), "each once, and none in place of another");
}

#[tokio::test]
async fn a_query_that_costs_too_much_is_told_in_a_status_of_success() {
    // R-18 R-19
    let code = ResponsePath::Body(["errors", "0", "extensions", "code"].map(str::to_owned).to_vec());
    let world = World::new();
    let server = Server::script(vec![fine()]);
    let mut job = job(&server.url(""));
    job.stream.body = Some(RequestBody::Graphql {
        query: QueryText::Written("{ items }".to_owned()),
        variables: JsonTemplate::Object(Vec::new()),
    });
    let source = world.open(&job);
    assert!(source.wanted().contains(&code));
    source.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap();
    let first = ResponsePath::Body(["errors", "0"].map(str::to_owned).to_vec());
    let judged = |text: &str| {
        let captured = [(code.clone(), Captured::Text(text.to_owned())), (first.clone(), Captured::Nested)];
        source.judge(&Envelope { captured: captured.into(), ..Envelope::default() })
    };
    let Judgement::ErrorInDisguise(message) = judged("THROTTLED") else { panic!("it is taken for records") };
    assert!(message.contains("refused the query for its cost"), "{message}");
    let Judgement::Refused(ErrorKind::Config, message) = judged("MAX_COST_EXCEEDED") else { panic!("it is asked for again") };
    assert!(message.contains("ask for smaller pages"), "{message}");
    assert!(matches!(judged("OTHER"), Judgement::ErrorInDisguise(_)));
    assert_eq!(source.judge(&Envelope::default()), Judgement::Records);
}

#[tokio::test]
async fn a_refusal_shows_what_was_asked_and_no_secret() {
    // S-36
    let world = World::new();
    let no = || json("400 Bad Request", "", r#"{"message":"no"}"#);
    let server = Server::script(vec![no(), json("200 OK", "", r#"{"error":"no"}"#)]);
    let mut job = job(&server.url(""));
    job.source.auth = Auth::ApiKey {
        name: "key".to_owned(),
        place: ApiKeyPlace::Query,
        value: SecretRef::Env("KEY".to_owned()),
        prefix: String::new(),
    };
    // Whoever writes a secret out, or is sent it back in a link, finds it here as well.
    let long = |letter: &str| letter.repeat(500);
    let entries = [("status", "open"), ("again", SECRET), ("long", &long("x"))];
    job.stream.query = entries.map(|(name, text)| (name.to_owned(), template(text))).into();
    let entries = [("size", "5"), ("token", SECRET), ("z", &long("y"))];
    let entries = entries.map(|(name, text)| (name.to_owned(), JsonTemplate::Text(template(text))));
    job.stream.method = ::http::Method::POST;
    job.stream.body = Some(RequestBody::Json(JsonTemplate::Object(entries.into())));
    let error = world.fetch(&job).await.unwrap_err();
    let sent = server.seen()[0].clone();
    assert!(target(&sent).contains("key=CANARY-0123"), "the key is sent: {sent}");
    let shown = &error.message;
    let query = r#"answered 400 Bad Request: `{"message":"no"}`; asked with `status=open&again=***&long=xxx"#;
    assert!(
        shown.contains(query) && shown.contains(r#"xx…`; its body began with `{"size":"5","token":"***","z":"yyy"#),
        "{shown}"
    );
    assert!(!shown.contains("CANARY") && shown.len() < 800, "{shown}");
    // A refusal in a status of success.
    let rule = ErrorRule { status: vec![200], at: None, is: Vec::new(), contains: None, then: Then::Fail, message: None };
    job.stream.errors = vec![rule];
    let shown = world.fetch(&job).await.unwrap_err().message;
    assert!(shown.contains("; asked with `status=open&again=***") && !shown.contains("CANARY"), "{shown}");
}
