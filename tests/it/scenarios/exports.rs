//! Exports as a user meets them: a first load, news, a process that is killed while it waits; and logins that end.

use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use crate::rust_text::read;
use crate::world::Deadline;
use crate::world::api::serve;
use crate::world::program::{Call, command, highwater};
use crate::world::project::Project;
use crate::world::vendor::{Fault, Vendor};

const STREAM: &str = "opportunities_bulk";

fn project(vendor: &Vendor) -> Project {
    let project = Project::new();
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    let source = read("sources/salesforce.toml").replace("https://{{ domain }}.my.salesforce.com", &vendor.url());
    project.write("sources/salesforce.toml", &source.replace("every = \"10s\"", "every = \"20ms\", every_max = \"50ms\""));
    let job = read("jobs/salesforce_opportunities_bulk.toml").replace("enabled = false", "");
    project.write("jobs/bulk.toml", &job.replace("step = \"365d\"", ""));
    project
}

fn call(vendor: &Vendor, project: &Project, args: &[&str]) -> Call {
    vendor.env().iter().fold(highwater(project, args), |call, (name, value)| call.env(name, value))
}

fn kept(vendor: &Vendor, project: &Project) -> u64 {
    call(vendor, project, &["run", "bulk", "--json"]).run().expect_code(0).json()[0]["counts"]["kept"].as_u64().unwrap()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Deadline::after(Duration::from_secs(60));
    while !is_so() {
        assert!(!deadline.passed(), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn start(vendor: &Vendor, project: &Project) -> Child {
    let mut command = command(project, &["run", "bulk"]);
    command.envs(vendor.env()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn a_process_that_is_killed_while_it_waits_leaves_one_export_for_the_next() {
    let vendor = Vendor::start("salesforce", 100, 40);
    let project = project(&vendor);
    vendor.hold_exports(true);
    let mut waiting = start(&vendor, &project);
    let seen = std::cell::Cell::new(0);
    let looks = || {
        seen.set(seen.get() + vendor.asked().iter().filter(|(stream, status)| stream == STREAM && *status == 200).count());
        seen.get()
    };
    wait_until("the export is waited for", || looks() > 3);
    waiting.kill().unwrap();
    waiting.wait().unwrap();

    // Stop is seen while it waits, and leaves it there as well.
    let mut stopped = start(&vendor, &project);
    seen.set(0);
    wait_until("the export is waited for again", || looks() > 3);
    interrupt(&stopped);
    let status = stopped.wait().unwrap();
    assert_eq!(status.code(), Some(75), "the same command works later");
    assert_eq!(vendor.exports(STREAM), 1);

    vendor.hold_exports(false);
    vendor.fail(STREAM, &[Fault::Failed, Fault::Cut]);
    // Of a hundred, five were deleted before they were ever seen.
    assert_eq!(kept(&vendor, &project), 95);
    assert_eq!(vendor.exports(STREAM), 1, "it was the same one all the time");
    assert!(
        vendor.asked().iter().any(|(stream, status)| stream == STREAM && *status == 204),
        "it is taken away when it was read"
    );

    let lake = project.listing("lake");
    assert_eq!(kept(&vendor, &project), 0);
    assert_eq!(project.listing("lake"), lake, "a run without news wrote");
    vendor.go_on(10);
    assert!(kept(&vendor, &project) >= 10);
}

/// Asks a process to stop, as Ctrl-C does.
fn interrupt(child: &Child) {
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// An API with a login of its own, whose sessions end after so many requests.
struct Door {
    url: String,
    inner: Arc<Mutex<Inside>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Inside {
    logins: usize,
    left: usize,
}

impl Door {
    fn start() -> Door {
        let inner = Arc::new(Mutex::new(Inside::default()));
        let (address, stop, thread) = serve(axum::Router::new().fallback(answer).with_state(inner.clone()));
        Door { url: format!("http://{address}"), inner, stop: Some(stop), thread: Some(thread) }
    }

    fn logins(&self) -> usize {
        self.inner.lock().unwrap().logins
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ends without a panic");
        }
    }
}

async fn answer(State(inner): State<Arc<Mutex<Inside>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 65_536).await.unwrap();
    let mut inner = inner.lock().unwrap();
    if parts.uri.path() == "/login" {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        if form != [pair("user", "jo"), pair("pass", "CANARY & co")] {
            return (StatusCode::FORBIDDEN, String::from_utf8_lossy(&body).into_owned()).into_response();
        }
        (inner.logins, inner.left) = (inner.logins + 1, 2);
        let cookie = format!("SID=CANARY-{}; Path=/; HttpOnly", inner.logins);
        return (StatusCode::OK, [(header::SET_COOKIE, cookie)], "welcome").into_response();
    }
    let shown = parts.headers.get(header::COOKIE).and_then(|shown| shown.to_str().ok()).unwrap_or_default();
    if shown != format!("SID=CANARY-{}", inner.logins) || inner.left == 0 {
        return (StatusCode::UNAUTHORIZED, format!("{{\"you sent\": \"{shown}\"}}")).into_response();
    }
    inner.left -= 1;
    let page: usize = parts.uri.query().and_then(|query| query.strip_prefix("page=")?.parse().ok()).unwrap_or(1);
    let records = if page > 5 { "[]".to_owned() } else { format!("[{{\"id\": {page}}}]") };
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], records).into_response()
}

#[test]
fn a_session_that_ends_while_pages_are_read_is_begun_again() {
    // S-34 S-36
    let door = Door::start();
    let project = Project::new();
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    project.write(
        "sources/door.toml",
        &format!(
            "version = 1\ntype = \"http\"\nbase_url = \"{}\"\n[auth]\ntype = \"session\"\nusername = \"jo\"\npassword = {{ env = \"PASSWORD\" }}\ncookie = \"SID\"\n\
             login = {{ path = \"/login\", body = {{ type = \"form\", fields = {{ user = \"{{{{ username }}}}\", pass = \"{{{{ password }}}}\" }} }} }}\n\
             [streams.items]\npath = \"/items\"\nprimary_key = [\"id\"]\npaging = {{ type = \"page\", param = \"page\" }}\n",
            door.url
        ),
    );
    project.write("jobs/items.toml", "version = 1\nsource = \"door\"\nstream = \"items\"\nsink = \"lake\"\nmode = \"replace\"\n");
    let run = |password: &str, args: &[&str]| {
        let ended = highwater(&project, args).env("PASSWORD", password).run();
        assert!(!ended.stdout.contains("CANARY") && !ended.stderr.contains("CANARY"), "{}\n{}", ended.stdout, ended.stderr);
        ended
    };
    let ended = run("CANARY-wrong", &["run", "items"]);
    assert!(ended.code != Some(0) && ended.stderr.contains("it refuses `env PASSWORD`"), "{}", ended.stderr);
    run("CANARY & co", &["check"]).expect_code(0);
    let report = run("CANARY & co", &["run", "items", "--json"]).expect_code(0).json();
    assert_eq!((report[0]["counts"]["kept"].as_u64(), door.logins()), (Some(5), 3), "{report}");
    // The session outlives the process, as far as it goes.
    let logins = door.logins();
    door.inner.lock().unwrap().left = 6;
    run("CANARY & co", &["run", "items"]).expect_code(0);
    assert_eq!(door.logins(), logins);
}
