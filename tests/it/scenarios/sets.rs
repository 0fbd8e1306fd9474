//! One job over many parameter sets: into one table, each with its own coverage and mark.

use serde_json::Value;

use super::loads::mark;
use crate::world::api::{FakeApi, Fault, Pages, Stream};
use crate::world::feed;
use crate::world::oracle::Oracle;
use crate::world::program::{Ended, highwater};
use crate::world::project::Project;
use crate::world::skip;

const NOW: &str = "2026-03-01T00:00:00Z";
const START: &str = "2026-02-01T00:00:00Z";

fn stream(first_id: u64, count: u64) -> Stream {
    Stream { pages: Pages::Page, page_size: 10, records: feed::plain(first_id, count, START) }
}

/// The accounts `a` and `b` of an API, with 25 and 12 records of their own.
fn api() -> FakeApi {
    let api = FakeApi::start(NOW);
    api.put_stream("a", stream(1, 25));
    api.put_stream("b", stream(101, 12));
    api
}

fn project(api: &FakeApi, mode: &str, sets: &str) -> Project {
    let project = Project::of_items(api, &Pages::Page, 10);
    project.edit(
        "sources/api.toml",
        "[streams.items]",
        "retry = { attempts = 1 }\n[parameters]\naccount = { required = true }\n[streams.items]",
    );
    project.edit("sources/api.toml", "path = \"/items\"", "path = \"/{{ account }}\"");
    project.edit("jobs/items.toml", "mode = \"append\"", &format!("mode = \"{mode}\"\nfor_each = {sets}"));
    project
}

fn run(project: &Project, code: i32) -> Value {
    highwater(project, &["run", "items", "--json"]).run().expect_code(code).json()[0].take()
}

fn query(project: &Project, sql: &str) -> String {
    let Ended { stdout, .. } = highwater(project, &["query", sql, "--json"]).run().expect_code(0);
    stdout.trim().replace('\n', " ")
}

fn by_set(project: &Project) -> String {
    query(project, "SELECT _hw_set, COUNT(*) AS n, MIN(id) AS least FROM items GROUP BY _hw_set ORDER BY _hw_set")
}

const BOTH: &str = "[{ account = \"a\" }, { account = \"b\" }]";

#[test]
fn each_set_brings_its_rows_once_whatever_is_added_or_removed() {
    for mode in ["append", "merge"] {
        let api = api();
        let project = project(&api, mode, BOTH);
        let report = run(&project, 0);
        assert_eq!(report["counts"]["kept"], 37, "{mode}: {report}");
        let rows = r#"{"_hw_set":"account=a","n":25,"least":1} {"_hw_set":"account=b","n":12,"least":101}"#;
        assert_eq!(by_set(&project), rows, "{mode}");
        assert!(mark(&project).is_string(), "the lowest of both");
        let marks = report["marks"].as_object().unwrap();
        assert_eq!(marks.keys().collect::<Vec<_>>(), ["account=a", "account=b"]);

        // A second run changes nothing, and neither does another order of the sets.
        project.edit("jobs/items.toml", BOTH, "[{ account = \"b\" }, { account = \"a\" }]");
        let lake = project.listing("lake");
        let report = run(&project, 0);
        assert_eq!((&report["commits"], &report["counts"]["fetched"]), (&0.into(), &0.into()), "{mode}: {report}");
        assert_eq!(project.listing("lake"), lake);

        // One more set fills its own coverage; the same id in two accounts is two rows.
        api.put_stream("c", stream(1, 3));
        project.edit("jobs/items.toml", "{ account = \"a\" }]", "{ account = \"a\" }, { account = \"c\" }]");
        assert_eq!(run(&project, 0)["counts"]["kept"], 3, "{mode}");
        let rows = format!("{rows} {}", r#"{"_hw_set":"account=c","n":3,"least":1}"#);
        assert_eq!(by_set(&project), rows, "{mode}");

        // What a set that is gone had brought stays, and is not asked for any more.
        project.edit("jobs/items.toml", "{ account = \"b\" }, ", "");
        api.forget();
        run(&project, 0);
        assert!(api.seen().iter().all(|seen| seen.path != "/b"), "{:?}", api.seen());
        assert_eq!(by_set(&project), rows, "{mode}");
        highwater(&project, &["verify"]).run().expect_code(0);
    }
}

#[test]
fn a_set_that_fails_does_not_stop_the_others() {
    let api = api();
    let project = project(&api, "merge", "[{ account = \"nobody\" }, { account = \"a\" }, { account = \"b\" }]");
    let ended = highwater(&project, &["run", "items", "--json"]).run().expect_code(1);
    let report = ended.json()[0].take();
    assert_eq!(report["counts"]["kept"], 37, "{report}");
    assert_eq!(report["failed"].as_array().unwrap().len(), 1, "{report}");
    assert!(report["failed"][0]["slice"].as_str().unwrap().starts_with("account=nobody: "), "{report}");
    assert_eq!(report["marks"]["account=nobody"], Value::Null);
    assert_eq!(report["mark"], Value::Null, "the lowest mark is none");
    let runs = highwater(&project, &["runs", "--json"]).run().expect_code(0).stdout;
    assert!(runs.contains("account=nobody: "), "{runs}");

    // A hole of one set is filled by the next run, and asks nothing of the others twice.
    api.put_stream("nobody", stream(201, 2));
    api.forget();
    assert_eq!(run(&project, 0)["counts"]["kept"], 2);
    assert!(api.seen().iter().any(|seen| seen.path == "/nobody"));
    let text = highwater(&project, &["status"]).run().expect_code(0).stdout;
    assert!(text.contains("(3 sets)"), "{text}");
}

#[test]
fn what_is_closed_to_everybody_is_not_asked_ten_thousand_times() {
    let api = api();
    let sets: Vec<String> = (0..40).map(|number| format!("{{ account = \"x{number}\" }}")).collect();
    let project = project(&api, "merge", &format!("[{}]", sets.join(", ")));
    let report = run(&project, 78);
    assert_eq!((report["failed"].as_array().unwrap().len(), &report["sets_left"]), (10, &30.into()), "{report}");
    assert_eq!(api.seen().len(), 10);
}

#[test]
fn a_source_that_wants_patience_ends_the_run_of_all_sets() {
    let api = api();
    let project = project(&api, "append", BOTH);
    api.fail(0..1_000, Fault::TooMany { retry_after: 86_400 });
    let report = run(&project, 75);
    assert_eq!((&report["sets_left"], api.seen().len()), (&1.into(), 1), "{report}");
    api.heal();
    // R-44: its patience holds for the next process too, unless somebody knows better.
    run(&project, 75);
    assert_eq!(api.seen().len(), 1);
    let forced = highwater(&project, &["run", "items", "--force", "--json"]).run().expect_code(0).json();
    assert_eq!(forced[0]["counts"]["kept"], 37, "{forced}");
    let logs = highwater(&project, &["logs", "items"]).run().expect_code(0).stdout;
    assert!(logs.contains("--force"), "{logs}");
}

#[test]
fn killed_between_sets_nothing_is_lost_or_doubled() {
    let truth: Vec<_> = feed::plain(1, 25, START).into_iter().chain(feed::plain(101, 12, START)).collect();
    let mut oracle = Oracle::new();
    let mut projects = Vec::new();
    for effect in [3, 12, 22, 30] {
        let api = api();
        let project = project(&api, "append", BOTH);
        let killed = highwater(&project, &["run", "items"]).env("HIGHWATER_FAULT", &format!("kill-after:{effect}")).run();
        assert_eq!(killed.signal, Some(9), "{killed:?}");
        run(&project, 0);
        assert_eq!(run(&project, 0)["commits"], 0);
        highwater(&project, &["verify"]).run().expect_code(0);
        if let Some(oracle) = &mut oracle {
            oracle.expect(&format!("killed at {effect}"), &project.at("lake/items"), &truth);
        }
        projects.push(project);
    }
    match oracle {
        Some(oracle) => oracle.check(),
        None => skip("killed_between_sets", "the independent readers are not installed"),
    }
}

#[test]
fn sets_where_there_were_none_need_a_new_reading() {
    // The rows there belong to no set: beside them every set's would come again.
    let api = api();
    let project = project(&api, "append", "[{ account = \"a\" }]");
    project.edit("jobs/items.toml", "for_each = [{ account = \"a\" }]", "parameters = { account = \"a\" }");
    run(&project, 0);
    project.edit("jobs/items.toml", "parameters = { account = \"a\" }", "for_each = [{ account = \"a\" }]");
    let report = run(&project, 78);
    let reason = report["failed"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("for_each was ``") && reason.contains("highwater run items --full"), "{reason}");
}
