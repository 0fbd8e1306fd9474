//! The daemon as its operators meet it: real processes, signals, the socket, and a service manager that listens.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use super::loads::{api_with, mark, run};
use crate::world::api::{FakeApi, Fault, Pages, Record, Stream};
use crate::world::daemon::{Daemon, eventually};
use crate::world::feed;
use crate::world::kind::{Kind, prepared, tried};
use crate::world::oracle::Oracle;
use crate::world::program::highwater;
use crate::world::project::{Project, job, source};
use crate::world::receiver::Receiver;
use crate::world::skip;

const PAGE: usize = 5;
const RUN: [&str; 3] = ["run", "items", "--json"];
const EVERY_SECOND: &str = "schedule = \"* * * * * *\"\n";

fn records() -> Vec<Record> {
    feed::plain(1, 20, "2026-01-30T00:00:00Z")
}

fn world() -> (FakeApi, Project) {
    let api = api_with(Pages::Token, PAGE, records());
    let project = Project::of_items(&api, &Pages::Token, PAGE);
    (api, project)
}

fn status(project: &Project) -> Value {
    highwater(project, &["status", "--json"]).run().expect_code(0).json()
}

fn job_status(project: &Project, name: &str) -> Value {
    let told = status(project);
    told["jobs"].as_array().unwrap().iter().find(|job| job["job"] == name).unwrap_or_else(|| panic!("{told}")).clone()
}

fn compare(name: &str, project: &Project, truth: &[Record]) {
    match Oracle::new() {
        Some(mut oracle) => {
            oracle.expect(name, &project.at("lake/items"), truth);
            oracle.check();
        }
        None => skip(name, "the independent readers are not installed"),
    }
    highwater(project, &["verify"]).run().expect_code(0);
}

/// Nothing is left to do, and doing it changes nothing.
fn second_run_changes_nothing(project: &Project) {
    let before = project.listing("lake");
    let report = run(project);
    assert_eq!((report["counts"]["kept"].as_u64(), report["commits"].as_u64()), (Some(0), Some(0)), "{report}");
    assert_eq!(project.listing("lake"), before);
}

#[test]
fn the_daemon_is_ready_when_it_can_work_and_other_commands_work_beside_it() {
    // O-01, O-16
    let (_api, project) = world();
    let mut daemon = Daemon::start(&project, &[]);
    daemon.wait_for("READY=1");
    // Whoever believes that word can have a run at once.
    let ended = highwater(&project, &RUN).run().expect_code(0);
    let report = ended.json()[0].take();
    assert_eq!((report["status"].as_str(), report["counts"]["kept"].as_u64()), (Some("done"), Some(20)), "{report}");
    assert!(daemon.told().iter().any(|line| line.starts_with("STATUS=")), "{:?}", daemon.told());

    // O-16: nobody else gets the state.
    let refused = highwater(&project, &["serve"]).run().expect_code(75);
    assert!(refused.stderr.contains("another highwater"), "{}", refused.stderr);

    for args in [&["status"][..], &["runs"], &["state", "show"], &["verify"], &["plan"], &["check"], &["logs"]] {
        let beside = highwater(&project, args).run().expect_code(0);
        assert!(!beside.stdout.is_empty(), "{args:?}");
    }
    let rows = highwater(&project, &["query", "SELECT COUNT(*) AS n FROM items"]).run().expect_code(0);
    assert!(rows.stdout.contains("20"), "{}", rows.stdout);
    let told = status(&project);
    assert_eq!(told["daemon"]["pid"].as_u64(), Some(u64::from(daemon.pid())), "{told}");
    assert_eq!(told["daemon"]["problem"], Value::Null, "{told}");
    assert_eq!(told["jobs"][0]["last_run"]["status"], "done", "{told}");

    daemon.signal("TERM");
    daemon.wait_for("STOPPING=1");
    daemon.wait().expect_code(0);
    assert_eq!(status(&project)["daemon"], Value::Null);
    assert!(!project.at("state/highwater.sock").exists(), "the socket goes with the daemon");
    second_run_changes_nothing(&project);
}

#[test]
fn a_run_that_is_handed_over_looks_like_a_run_here() {
    let (api, project) = world();
    let (_other_api, other) = world();
    let here = highwater(&other, &["run", "items"]).run().expect_code(0);
    let daemon = Daemon::ready(&project, &[]);
    let there = highwater(&project, &["run", "items"]).run().expect_code(0);
    assert!(there.stderr.contains(&format!("handed over to the daemon (pid {})", daemon.pid())), "{}", there.stderr);
    assert_eq!(there.redacted_stdout(&project), here.redacted_stdout(&other));
    let progress = |ended: &str| -> Vec<String> {
        ended.lines().filter(|line| line.contains("commit ") || line.contains("reading ")).map(str::to_owned).collect()
    };
    assert_eq!(progress(&there.redacted(&project)), progress(&here.redacted(&other)));

    // A failure, too: the same code, the same sentence.
    for (api, project) in [(&api, &project), (&_other_api, &other)] {
        project.edit("sources/api.toml", "timeout = \"20s\"\n", "timeout = \"20s\"\nretry = { attempts = 1 }\n");
        api.add_records("items", feed::plain(100, 3, "2026-03-01T00:10:00Z"));
        api.fail(0..1_000, Fault::Status(500));
        api.set_now("2026-03-02T00:00:00Z");
    }
    daemon.signal("HUP");
    daemon.wait_for_log("reloaded:");
    let here = highwater(&other, &["run", "items"]).run().expect_code(1);
    let there = highwater(&project, &["run", "items"]).run().expect_code(1);
    let errors =
        |text: &str| -> Vec<String> { text.lines().filter(|line| line.starts_with("error:")).map(str::to_owned).collect() };
    assert_eq!(errors(&there.redacted(&project)), errors(&here.redacted(&other)));
    // A job that is none is told as ever, by the files.
    highwater(&project, &["run", "orders"]).run().expect_code(64);
    daemon.stop();
}

#[test]
fn what_is_due_runs_by_itself() {
    let (api, project) = world();
    project.write("jobs/items.toml", &job(EVERY_SECOND));
    let daemon = Daemon::ready(&project, &[]);
    let rows = |count: u64| {
        eventually(&format!("{count} rows"), || {
            let told = highwater(&project, &["verify", "--json"]).run().expect_code(0).json();
            (told[0]["rows"].as_u64() == Some(count)).then_some(())
        });
    };
    rows(20);
    assert!(job_status(&project, "items")["next_due"].is_string());
    let mut truth = records();
    let news = feed::plain(21, 7, "2026-03-01T00:10:00Z");
    api.add_records("items", news.clone());
    truth.extend(news);
    api.set_now("2026-03-02T00:00:00Z");
    rows(27);
    let logs = highwater(&project, &["logs", "items", "--json"]).run().expect_code(0).stdout;
    let kinds: Vec<String> =
        logs.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].as_str().unwrap().to_owned()).collect();
    for kind in ["run_started", "committed", "run_done"] {
        assert!(kinds.iter().any(|other| other == kind), "{kind}: {kinds:?}");
    }
    daemon.stop();
    compare("what_is_due_runs_by_itself", &project, &truth);
    second_run_changes_nothing(&project);
}

#[test]
fn a_reload_takes_up_good_files_and_leaves_broken_ones() {
    // O-04
    let (api, project) = world();
    let mut daemon = Daemon::ready(&project, &[]);
    let reload = |daemon: &mut Daemon| {
        daemon.forget();
        daemon.signal("HUP");
        let reloading = daemon.wait_for("RELOADING=1");
        daemon.wait_for("READY=1");
        // systemd compares this with the moment at which it sent the signal.
        let monotonic = daemon.told().iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC=").map(str::to_owned));
        assert!(monotonic.is_some_and(|at| at.parse::<u64>().is_ok()), "{reloading}");
    };

    // A file that came after the start is told, and known after a reload.
    project.write("jobs/more.toml", &job("table = \"more\"\n"));
    let unknown = highwater(&project, &["run", "more"]).run().expect_code(78);
    assert!(unknown.stderr.contains("after the last reload"), "{}", unknown.stderr);
    reload(&mut daemon);
    highwater(&project, &["run", "more"]).run().expect_code(0);

    // Broken settings change nothing, and `status` says so.
    project.write("config.toml", "version = 1\n[limits]\nruns = 0\n");
    reload(&mut daemon);
    daemon.wait_for_log("not reloaded");
    project.write("config.toml", "version = 1\n");
    let problem = status(&project)["daemon"]["problem"].as_str().unwrap_or_default().to_owned();
    assert!(problem.contains("not taken up") && problem.contains("config.toml:3"), "{problem}");
    highwater(&project, &["run", "more"]).run().expect_code(0);

    // One broken job is parked; the other goes on, and the problem is over.
    project.write("jobs/more.toml", "version = 1\nsauce = \"api\"\n");
    reload(&mut daemon);
    let told = status(&project);
    assert_eq!(told["daemon"]["problem"], Value::Null, "{told}");
    let more = job_status(&project, "more");
    assert!(more["parked"].as_str().unwrap().contains("jobs/more.toml"), "{more}");
    assert_eq!(job_status(&project, "items")["parked"], Value::Null);
    highwater(&project, &["run", "items"]).run().expect_code(0);

    // A run under way keeps what it began with; its job's file may go meanwhile.
    api.add_records("items", feed::plain(100, 12, "2026-03-01T00:10:00Z"));
    api.set_now("2026-03-02T00:00:00Z");
    let asked = api.seen().len();
    api.fail(1..2, Fault::Slow(Duration::from_secs(2)));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| highwater(&project, &RUN).run());
        eventually("the run under way", || (api.seen().len() > asked).then_some(()));
        std::fs::rename(project.at("jobs/items.toml"), project.at("items.away")).unwrap();
        reload(&mut daemon);
        let ended = running.join().unwrap().expect_code(0).json();
        assert_eq!(ended[0]["counts"]["kept"], 12, "{ended}");
    });
    let gone = status(&project);
    assert!(gone["jobs"].as_array().unwrap().iter().all(|job| job["job"] != "items"), "{gone}");
    daemon.stop();
}

/// A daemon in the middle of a slice: the run began, a page is slow.
fn in_the_middle(api: &FakeApi, project: &Project, slow: Duration) -> Daemon {
    project.write("jobs/items.toml", &job("schedule = \"* * * * * *\"\ncatch_up = \"none\"\n"));
    api.fail(1..2, Fault::Slow(slow));
    let daemon = Daemon::ready(project, &[]);
    eventually("a slow page under way", || (api.seen().len() >= 2).then_some(()));
    daemon
}

#[test]
fn a_termination_finishes_the_slice_and_loses_nothing() {
    // O-03: at each page of the slice
    // D-03 on every kind
    let Some(mut oracle) = prepared("a_termination_finishes_the_slice_and_loses_nothing") else { return };
    let tried = tried!();
    let local = [0, 1, 2, 3].map(|page| (page, Kind::ParquetLocal));
    let mut lives = Vec::new();
    for (page, kind) in local.into_iter().chain([(1, Kind::ParquetS3), (2, Kind::DeltaLocal), (3, Kind::DeltaS3)]) {
        let api = api_with(Pages::Token, PAGE, records());
        let table = tried.table(kind, &api, PAGE);
        table.write("jobs/items.toml", &job(EVERY_SECOND));
        api.fail(page..page + 1, Fault::Slow(Duration::from_secs(1)));
        let mut daemon = Daemon::ready(&table, &[]);
        eventually("the slow page under way", || (api.seen().len() as u64 > page).then_some(()));
        daemon.signal("TERM");
        daemon.wait_for("STOPPING=1");
        daemon.wait_for("EXTEND_TIMEOUT_USEC=");
        daemon.wait().expect_code(0);
        assert_eq!(table.listing("state/spool").len(), 0, "no pages are left behind");
        api.heal();
        run(&table);
        table.expect(&mut oracle, &format!("page {page}"), &records());
        let before = table.objects();
        assert_eq!(run(&table)["commits"], 0, "{kind}");
        assert_eq!(table.objects(), before, "{kind}");
        lives.push(table);
    }
    oracle.check();
}

#[test]
fn a_second_termination_does_not_wait() {
    // O-03
    let (api, project) = world();
    // Longer than anybody waits in this test.
    let mut daemon = in_the_middle(&api, &project, Duration::from_secs(600));
    daemon.signal("INT");
    daemon.wait_for("STOPPING=1");
    daemon.signal("TERM");
    let ended = daemon.wait().expect_code(75);
    assert!(ended.stderr.contains("aborted"), "{}", ended.stderr);
    api.heal();
    run(&project);
    compare("a_second_termination", &project, &records());
    second_run_changes_nothing(&project);
}

#[test]
fn a_daemon_that_is_killed_is_settled_by_the_next() {
    // D-01, O-03
    let (api, project) = world();
    let daemon = in_the_middle(&api, &project, Duration::from_secs(600));
    daemon.signal("KILL");
    assert_eq!(daemon.wait().signal, Some(9));
    assert!(project.at("state/highwater.sock").exists(), "a killed daemon leaves its socket behind");
    api.heal();
    let daemon = Daemon::ready(&project, &[]);
    eventually("all rows", || mark(&project).is_string().then_some(()));
    let cut = highwater(&project, &["runs", "--json"]).run().expect_code(0).json();
    assert!(cut.as_array().unwrap().iter().any(|run| run["status"] == "failed"), "{cut}");
    daemon.stop();
    compare("a_daemon_that_is_killed", &project, &records());
    second_run_changes_nothing(&project);
}

/// Waits until the job has begun that many runs more.
fn wait_for_runs(project: &Project, name: &str, runs: usize) {
    let begun = || job_status(project, name)["last_run"]["started_at"].as_str().map(str::to_owned);
    for _ in 0..runs {
        let last = begun();
        eventually(&format!("another run of {name}"), || (begun() != last).then_some(()));
    }
}

#[test]
fn hours_of_patience_outlast_the_process() {
    //
    let (api, project) = world();
    project.write("jobs/items.toml", &job(EVERY_SECOND));
    // The job of another API shows that the schedule goes on.
    let other = api_with(Pages::Token, PAGE, records());
    project.write("sources/other.toml", &source(&other.url(), &Pages::Token, PAGE));
    let more = format!("table = \"other\"\n{EVERY_SECOND}");
    project.write("jobs/other.toml", &job(&more).replace("source = \"api\"", "source = \"other\""));
    api.fail(0..1_000, Fault::TooMany { retry_after: 7_200 });
    let daemon = Daemon::ready(&project, &[]);
    let until = eventually("a parked job", || job_status(&project, "items")["parked_until"].as_str().map(str::to_owned));
    // The loop has come round since: the state knows.
    wait_for_runs(&project, "other", 2);
    let asked = api.seen().len();
    daemon.signal("KILL");
    assert_eq!(daemon.wait().signal, Some(9));

    let is_parked = || {
        let told = job_status(&project, "items");
        assert_eq!(told["parked_until"], until.as_str(), "{told}");
        assert!(told["parked"].as_str().is_some_and(|reason| reason.contains("429")), "{told}");
        let line = format!("items: parked until {}: ", until[..19].replace('T', " "));
        let shown = highwater(&project, &["status"]).run().expect_code(0).stdout;
        assert!(shown.lines().any(|shown| shown.starts_with(&line) && shown.contains("429")), "{line}\n{shown}");
    };
    is_parked();
    assert_eq!(status(&project)["daemon"], Value::Null, "the state alone says so");
    let daemon = Daemon::ready(&project, &[]);
    is_parked();
    wait_for_runs(&project, "other", 3);
    is_parked();
    assert_eq!(api.seen().len(), asked, "nobody asked the source meanwhile");
    daemon.stop();
    is_parked();
}

#[test]
fn a_panic_in_one_job_leaves_the_others_alone() {
    // S-75
    let (_api, project) = world();
    project.write("jobs/bad.toml", &job("table = \"bad\"\n"));
    let mut daemon = Daemon::ready(&project, &[("HIGHWATER_FAULT", "panic-in:lease bad")]);
    let ended = highwater(&project, &["run", "bad", "items", "--json"]).run().expect_code(1).json();
    assert_eq!(ended[0]["status"], "failed", "{ended}");
    assert!(ended[0]["failed"][0]["reason"].as_str().unwrap().contains("panicked as planned"), "{ended}");
    assert_eq!((ended[1]["status"].as_str(), ended[1]["counts"]["kept"].as_u64()), (Some("done"), Some(20)), "{ended}");
    assert!(daemon.is_alive());
    highwater(&project, &["run", "items"]).run().expect_code(0);
    daemon.stop();
}

#[test]
fn a_loop_that_hangs_gives_no_sign_of_life() {
    // O-02
    let (_api, project) = world();
    project.write("jobs/items.toml", &job(EVERY_SECOND));
    let wedge = project.at("wedge");
    let fault = format!("hang-when:{}", wedge.display());
    let mut daemon = Daemon::ready(&project, &[("WATCHDOG_USEC", "1000000"), ("HIGHWATER_FAULT", &fault)]);
    for _ in 0..3 {
        daemon.forget();
        daemon.wait_for("WATCHDOG=1");
    }
    std::fs::write(&wedge, "").unwrap();
    daemon.wait_for_log("the watchdog is not told");
    daemon.forget();
    // Three times as long as the longest silence of a daemon that lives.
    let log = daemon.log().matches("the watchdog is not told").count();
    eventually("three more silences", || (daemon.log().matches("the watchdog is not told").count() >= log + 3).then_some(()));
    assert!(!daemon.told().iter().any(|line| line == "WATCHDOG=1"), "{:?}", daemon.told());

    // What systemd does then; the next one recovers.
    daemon.signal("ABRT");
    drop(daemon.wait());
    std::fs::remove_file(&wedge).unwrap();
    let daemon = Daemon::ready(&project, &[]);
    eventually("all rows", || mark(&project).is_string().then_some(()));
    daemon.stop();
    compare("a_loop_that_hangs", &project, &records());
}

#[test]
fn a_client_that_hangs_or_shouts_blocks_nobody() {
    let (_api, project) = world();
    let daemon = Daemon::ready(&project, &[]);
    let silent: Vec<UnixStream> = (0..20).map(|_| UnixStream::connect(daemon.socket()).unwrap()).collect();
    assert_eq!(status(&project)["daemon"]["stopping"], false);

    // A line beyond all bounds is refused, and read no further.
    let mut loud = UnixStream::connect(daemon.socket()).unwrap();
    let junk = vec![b'x'; 64 << 10];
    let mut said = String::new();
    while said.is_empty() && loud.write_all(&junk).is_ok() {
        loud.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        drop(BufReader::new(&loud).read_line(&mut said));
    }
    let mut rest = String::new();
    loud.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    drop(loud.read_to_string(&mut rest));
    said.push_str(&rest);
    assert!(said.is_empty() || said.contains("refused"), "{said}");

    // What is not known is refused, not ignored.
    let mut odd = UnixStream::connect(daemon.socket()).unwrap();
    odd.write_all(b"{\"version\":1,\"ask\":{\"run\":{\"jobs\":[\"items\"],\"files\":\"\",\"dry\":true}}}\n").unwrap();
    let mut answer = String::new();
    BufReader::new(&odd).read_line(&mut answer).unwrap();
    assert!(answer.contains("refused") && answer.contains("dry"), "{answer}");
    assert!(!project.at("lake/items").exists(), "nothing ran");

    // Who left in the middle of a run costs the run nothing, and the silent ones do not hold up the end.
    let mut gone = UnixStream::connect(daemon.socket()).unwrap();
    gone.write_all(b"{\"version\":1,\"ask\":{\"run\":{\"jobs\":[\"items\"],\"files\":\"\"}}}\n").unwrap();
    drop(gone);
    eventually("all rows", || mark_if_any(&project).is_string().then_some(()));
    daemon.stop();
    drop(silent);
    compare("a_client_that_hangs", &project, &records());
}

/// As `mark`, before there is a table too.
fn mark_if_any(project: &Project) -> Value {
    highwater(project, &["state", "show", "items", "--json"]).run().json()[0]["mark"].take()
}

#[test]
fn an_interrupt_leaves_the_daemon_to_the_run() {
    let (api, project) = world();
    let daemon = Daemon::ready(&project, &[]);
    api.fail(1..2, Fault::Slow(Duration::from_secs(3)));
    let mut client = crate::world::program::command(&project, &["run", "items"]);
    let client = client.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    eventually("a slow page under way", || (api.seen().len() >= 2).then_some(()));
    let sent = std::process::Command::new("sh").arg("-c").arg(format!("kill -INT {}", client.id())).status().unwrap();
    assert!(sent.success());
    let left = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&left.stderr).into_owned();
    assert_eq!(left.status.code(), Some(75), "{said}");
    assert!(said.contains("the daemon goes on"), "{said}");
    eventually("all rows", || mark_if_any(&project).is_string().then_some(()));
    daemon.stop();
    compare("an_interrupt", &project, &records());
}

#[test]
fn a_disk_that_is_nearly_full_parks_the_run() {
    // O-13
    let (api, project) = world();
    project.write("config.toml", "version = 1\n[limits]\ndisk_free = \"1000000GiB\"\n");
    let daemon = Daemon::ready(&project, &[]);
    let ended = highwater(&project, &RUN).run().expect_code(75).json();
    let reason = ended[0]["failed"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("limits.disk_free"), "{reason}");
    assert_eq!(api.seen().len(), 0, "nothing is fetched that could not be kept");
    assert!(job_status(&project, "items")["parked"].as_str().unwrap().contains("limits.disk_free"));
    daemon.stop();
}

#[test]
fn a_socket_with_too_long_a_path_is_told() {
    let (_api, project) = world();
    let deep = format!("state/{}", "d".repeat(100));
    project.write("config.toml", &format!("version = 1\n[state]\nurl = \"sqlite://{deep}/highwater.db\"\n"));
    let refused = highwater(&project, &["serve"]).run().expect_code(78);
    assert!(refused.stderr.contains("too long") && refused.stderr.contains("state.url"), "{}", refused.stderr);
    // A run needs no socket.
    run(&project);
}

#[test]
fn a_service_manager_that_does_not_listen_holds_nobody_up() {
    // O-03
    let (_api, project) = world();
    let daemon = Daemon::unheard(&project);
    daemon.wait_for_log("serving 1 job");
    highwater(&project, &RUN).run().expect_code(0);
    daemon.stop();
}

#[test]
fn a_daemon_without_anything_to_do_is_still_one() {
    let project = Project::new();
    let daemon = Daemon::ready(&project, &[]);
    assert_eq!(status(&project)["jobs"].as_array().map(Vec::len), Some(0));
    daemon.stop();
    // Broken settings are not served at all.
    project.write("config.toml", "version = 2\n");
    highwater(&project, &["serve"]).run().expect_code(78);
}

/// Asks the daemon's listener; the whole answer, head and body.
fn ask(port: u16, path: &str, token: Option<&str>) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{token}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_daemon_shows_how_it_is_and_tells_what_is_wrong() {
    // O-17, O-19
    const TOKEN: &str = "CANARY-0123456789abcdef";
    let (api, project) = world();
    let receiver = Receiver::start();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    project.edit("sources/api.toml", "timeout = \"20s\"\n", "timeout = \"20s\"\nretry = { attempts = 1 }\n");
    project.write(
        "config.toml",
        &format!(
            "version = 1\n[web]\nlisten = \"127.0.0.1:{port}\"\ntoken = {{ env = \"WEB_TOKEN\" }}\n\
             [alerts.ops]\ntype = \"webhook\"\nurl = {{ env = \"OPS\" }}\n"
        ),
    );
    let hook = receiver.url("/hook?key=CANARY-hook");
    let daemon = Daemon::ready(&project, &[("WEB_TOKEN", TOKEN), ("OPS", &hook)]);
    assert!(ask(port, "/healthz", None).starts_with("HTTP/1.1 200"));
    assert!(ask(port, "/readyz", None).starts_with("HTTP/1.1 200"));
    assert!(ask(port, "/metrics", None).starts_with("HTTP/1.1 401"));

    api.fail(0..1_000, Fault::Status(500));
    highwater(&project, &["run", "items"]).run().expect_code(1);
    eventually("the alert", || receiver.texts().iter().any(|text| text.contains("items")).then_some(()));
    let told = receiver.texts().len();
    highwater(&project, &["run", "items"]).run().expect_code(1);
    api.heal();
    highwater(&project, &["run", "items"]).run().expect_code(0);
    eventually("the all-clear", || (receiver.texts().len() > told).then_some(()));
    assert_eq!(receiver.texts().len(), told + 1, "told once, and that it has passed: {:?}", receiver.texts());

    let figures = ask(port, "/metrics", Some(TOKEN));
    for line in [
        "highwater_runs_total{job=\"items\",outcome=\"done\"} 1",
        "highwater_runs_total{job=\"items\",outcome=\"failed\"} 2",
        "highwater_rows_total{job=\"items\",fate=\"kept\"} 20",
        "highwater_config_current 1",
    ] {
        assert!(figures.lines().any(|other| other == line), "{line} is not in\n{figures}");
    }
    let answer = ask(port, "/api/status", Some(TOKEN));
    let told: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(told["daemon"]["pid"].as_u64(), Some(u64::from(daemon.pid())), "{told}");
    assert_eq!(told["jobs"][0]["last_run"]["status"], "done", "{told}");

    // Somebody who is in the middle of a request does not hold up the end.
    let _idle = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let ended = daemon.stop();
    assert!(!ended.stderr.contains("CANARY"), "{}", ended.stderr);
    let logs = highwater(&project, &["logs"]).run().expect_code(0);
    assert!(!logs.stdout.contains("CANARY"), "{}", logs.stdout);
    // The address is taken: told, and tried again later by whoever supervises.
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let refused = highwater(&project, &["serve"]).env("WEB_TOKEN", TOKEN).env("OPS", &hook).run().expect_code(75);
    assert!(refused.stderr.contains("web.listen"), "{}", refused.stderr);
    drop(taken);
}

#[test]
fn what_is_asked_of_a_run_reaches_the_daemon() {
    let (api, project) = world();
    project.write("jobs/items.toml", &job("").replace("mode = \"append\"", "mode = \"replace\""));
    let daemon = Daemon::ready(&project, &[]);
    run(&project);
    // A source that suddenly has next to nothing does not replace the table, unless somebody insists.
    api.put_stream("items", Stream { pages: Pages::Token, page_size: PAGE, records: feed::plain(1, 2, "2026-01-30T00:00:00Z") });
    let refused = highwater(&project, &["run", "items"]).run().expect_code(1);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    highwater(&project, &["run", "items", "--force"]).run().expect_code(0);
    daemon.stop();
    let told = highwater(&project, &["verify", "--json"]).run().expect_code(0).json();
    assert_eq!(told[0]["rows"], 2, "{told}");
}
