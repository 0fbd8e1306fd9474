//! Authentication as a user meets it: a refresh token that is good for one use, over processes.

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use tokio::sync::oneshot;

use crate::scenarios::loads::api_with;
use crate::world::api::{FakeApi, Pages, serve};
use crate::world::feed;
use crate::world::program::{Ended, highwater};
use crate::world::project::Project;

/// An authorization server that accepts each refresh token once.
struct Giver {
    address: String,
    inner: Arc<Mutex<Given>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Given {
    good: String,
    /// Refresh tokens as they were shown.
    shown: Vec<String>,
    /// Seconds that an access token holds.
    lifetime: u64,
}

impl Giver {
    fn start(seed: &str) -> Giver {
        let inner = Arc::new(Mutex::new(Given { good: seed.to_owned(), shown: Vec::new(), lifetime: 1 }));
        let router = axum::Router::new().fallback(give).with_state(inner.clone());
        let (address, stop, thread) = serve(router);
        Giver { address: format!("http://{address}/token"), inner, stop: Some(stop), thread: Some(thread) }
    }

    fn shown(&self) -> Vec<String> {
        self.inner.lock().unwrap().shown.clone()
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ends without a panic");
        }
    }
}

async fn give(State(inner): State<Arc<Mutex<Given>>>, request: Request) -> impl IntoResponse {
    let body = axum::body::to_bytes(request.into_body(), 65_536).await.unwrap();
    let shown = url::form_urlencoded::parse(&body).find(|(name, _)| name == "refresh_token").unwrap().1.into_owned();
    let mut given = inner.lock().unwrap();
    given.shown.push(shown.clone());
    let answer = |status: StatusCode, body: String| (status, [(header::CONTENT_TYPE, "application/json")], body);
    if shown != given.good {
        let body = format!(r#"{{"error":"invalid_grant","error_description":"{shown} is spent"}}"#);
        return answer(StatusCode::BAD_REQUEST, body);
    }
    let number = given.shown.len();
    given.good = format!("CANARY-refresh-{number}");
    let (good, lifetime) = (&given.good, given.lifetime);
    answer(
        StatusCode::OK,
        format!(r#"{{"access_token":"CANARY-access-{number}","refresh_token":"{good}","expires_in":{lifetime}}}"#),
    )
}

const SEED: &str = "CANARY-seed";

fn project(api: &FakeApi, giver: &Giver) -> Project {
    let project = Project::of_items(api, &Pages::Token, 5);
    let auth = format!(
        "auth = {{ type = \"oauth2\", grant = \"refresh_token\", token_url = \"{}\", client_id = \"client-id\", refresh_token = {{ env = \"REFRESH\" }} }}\n",
        giver.address
    );
    project.edit("sources/api.toml", "timeout = \"20s\"\n", &format!("timeout = \"20s\"\n{auth}"));
    project
}

fn call(project: &Project, args: &[&str]) -> Ended {
    highwater(project, args).env("REFRESH", SEED).run()
}

/// Nothing that is said holds a secret.
fn silent(ended: Ended) -> Ended {
    assert!(!ended.stdout.contains("CANARY") && !ended.stderr.contains("CANARY"), "{}\n{}", ended.stdout, ended.stderr);
    ended
}

#[test]
fn a_refresh_token_for_one_use_serves_many_processes() {
    // S-34 S-36
    let api = api_with(Pages::Token, 5, feed::plain(1, 12, "2026-02-01T00:00:00Z"));
    let giver = Giver::start(SEED);
    let project = project(&api, &giver);
    silent(call(&project, &["check"])).expect_code(0);
    let report = silent(call(&project, &["run", "items", "--json"])).expect_code(0).json();
    assert_eq!(report[0]["counts"]["kept"], 12, "{report}");
    assert!(api.seen().iter().all(|seen| seen.headers["authorization"].starts_with("Bearer CANARY-access-")));

    // The access token has ended meanwhile: the next process shows the successor.
    std::thread::sleep(std::time::Duration::from_secs(1));
    giver.inner.lock().unwrap().lifetime = 3600;
    api.add_records("items", feed::plain(13, 3, "2026-03-01T00:10:00Z"));
    api.set_now("2026-03-02T00:00:00Z");
    let report = silent(call(&project, &["run", "items", "--json"])).expect_code(0).json();
    assert_eq!(report[0]["counts"]["kept"], 3, "{report}");
    let shown = giver.shown();
    assert_eq!(
        (shown[0].as_str(), shown.last().map(String::as_str)),
        (SEED, Some(&*format!("CANARY-refresh-{}", shown.len() - 1)))
    );

    // A preview spends nothing that the next run needs, and uses what is there.
    let asked = shown.len();
    silent(call(&project, &["preview", "items"])).expect_code(0);
    silent(call(&project, &["run", "items"])).expect_code(0);
    silent(call(&project, &["plan", "items"])).expect_code(0);
    assert_eq!(giver.shown().len(), asked, "the access token still holds");

    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(project.at("state/highwater.db")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "the state holds tokens");
}

#[test]
fn a_refresh_token_that_is_refused_parks_nothing_else_and_says_what_to_do() {
    let api = api_with(Pages::Token, 5, feed::plain(1, 12, "2026-02-01T00:00:00Z"));
    let giver = Giver::start("CANARY-another");
    let project = project(&api, &giver);
    let ended = silent(call(&project, &["run", "items"])).expect_code(1);
    insta::assert_snapshot!(ended.redacted(&project));
    assert!(api.seen().is_empty(), "nothing is asked for without a token");
    // What was kept of another secret does not stand in the way of a new one.
    giver.inner.lock().unwrap().good = "CANARY-new".to_owned();
    let ended = highwater(&project, &["run", "items"]).env("REFRESH", "CANARY-new").run();
    silent(ended).expect_code(0);
}
