//! What a cursor can be besides an instant, and how a slice is read by it.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::loads::{mark, run};
use crate::world::desk::{Desk, Query};
use crate::world::program::highwater;
use crate::world::project::Project;

/// A project whose source is the desk: `stream` stands in `[streams.items]` and behind it, `job` in the job's file.
fn project(desk: &Desk, stream: &str, job: &str) -> Project {
    let project = Project::new();
    let source = format!(
        "version = 1\ntype = \"http\"\nbase_url = \"{}\"\nretry = {{ attempts = 1 }}\n[streams.items]\npath = \"/items\"\nrecords = \"data\"\n{stream}",
        desk.url()
    );
    project.write("sources/api.toml", &source);
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    project.write("jobs/items.toml", &format!("version = 1\nsource = \"api\"\nstream = \"items\"\nsink = \"lake\"\n{job}"));
    project
}

/// Records that a test changes and a desk answers from.
type Shelf = Arc<Mutex<Vec<Value>>>;

fn shelf(records: &[Value]) -> Shelf {
    Arc::new(Mutex::new(records.to_vec()))
}

fn query(project: &Project, sql: &str) -> String {
    highwater(project, &["query", sql, "--json"]).run().expect_code(0).stdout.trim().to_owned()
}

fn counts(report: &Value) -> (u64, u64, u64) {
    let count = |name: &str| report["counts"][name].as_u64().unwrap();
    (count("kept"), count("duplicate"), count("unchanged"))
}

/// A second run, and whatever it asks, changes nothing.
fn changes_nothing(project: &Project) {
    let (lake, before) = (project.listing("lake"), mark(project));
    let report = run(project);
    assert_eq!((report["commits"].as_u64(), mark(project)), (Some(0), before), "{report}");
    assert_eq!(project.listing("lake"), lake, "the second run wrote");
    highwater(project, &["verify"]).run().expect_code(0);
}

const TEXTS: &str =
    "primary_key = [\"id\"]\n[streams.items.cursor]\nfield = \"seq\"\ntype = \"string\"\nquery = { after = \"{{ from }}\" }\n";

/// Everything at or behind `after`, in no order.
fn by_text(shelf: &Shelf) -> impl Fn(&str, &Query) -> (u16, Value) + use<> {
    let shelf = shelf.clone();
    move |_, query| {
        let after = query.get("after").cloned().unwrap_or_default();
        let rows: Vec<Value> =
            shelf.lock().unwrap().iter().filter(|row| row["seq"].as_str() >= Some(after.as_str())).cloned().collect();
        (200, json!({ "data": rows }))
    }
}

#[test]
fn texts_are_read_on_from_the_largest_seen_and_its_neighbours_once() {
    // C-01, C-04, C-14, C-41
    let row = |id: u64, seq: &str| json!({ "id": id, "seq": seq });
    let rows = shelf(&[row(3, "2024-01-02#1"), row(1, "2024-01-01#17"), row(2, "2024-01-02#1"), row(9, "2024-01-01#2")]);
    let desk = Desk::start(by_text(&rows));
    let project = project(&desk, TEXTS, "mode = \"append\"\n");
    assert_eq!(counts(&run(&project)), (4, 0, 0));
    assert_eq!(mark(&project), "2024-01-02#1");
    assert_eq!(desk.asked()[0].get("after"), None, "the first run has nothing to begin at");
    changes_nothing(&project);
    assert_eq!(desk.asked()[0]["after"], "2024-01-02#1");

    // One more at the mark itself, one behind it, and one that byte by byte lies before: it is never asked for.
    rows.lock().unwrap().extend([row(4, "2024-01-02#1"), row(5, "a"), row(6, "2024-01-02 z")]);
    assert_eq!(counts(&run(&project)), (2, 2, 0));
    assert_eq!(mark(&project), "a");
    rows.lock().unwrap().push(row(7, "Z"));
    changes_nothing(&project);
    assert_eq!(query(&project, "SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM items"), r#"{"n":6,"ids":6}"#);

    // By hand the mark goes back, and what is read again is not there twice.
    highwater(&project, &["state", "set", "items", "--mark", "2024-01-02#1", "--yes"]).run().expect_code(0);
    assert_eq!(mark(&project), "2024-01-02#1");
    assert_eq!(counts(&run(&project)), (1, 0, 4), "`Z` lies behind it");
    highwater(&project, &["run", "items", "--full", "--yes"]).run().expect_code(0);
    assert_eq!(query(&project, "SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM items"), r#"{"n":8,"ids":8}"#);
    changes_nothing(&project);
}

#[test]
fn in_a_merge_the_greater_text_is_the_newer_version() {
    // C-05
    let row = |id: u64, seq: &str, name: &str| json!({ "id": id, "seq": seq, "name": name, "gone": name == "gone" });
    let rows = shelf(&[row(1, "01J2", "new"), row(1, "01J1", "old"), row(2, "01J1", "two")]);
    let desk = Desk::start(by_text(&rows));
    let stream = TEXTS.replacen("primary_key", "deleted = \"gone\"\nprimary_key", 1);
    let project = project(&desk, &stream, "mode = \"merge\"\non_delete = \"hard\"\n");
    assert_eq!(counts(&run(&project)), (2, 1, 0));
    rows.lock().unwrap().extend([row(2, "01J3", "gone"), row(3, "01J3", "three"), row(2, "01J21", "late")]);
    run(&project);
    assert_eq!(
        query(&project, "SELECT id, name FROM items ORDER BY id"),
        "{\"id\":1,\"name\":\"new\"}\n{\"id\":3,\"name\":\"three\"}"
    );
    changes_nothing(&project);
}

const TOKENS: &str = "primary_key = [\"id\"]\npaging = { type = \"page_token\", token = \"next\", param = \"page\" }\n\
    [streams.items.cursor]\nfield = \"sync\"\ntype = \"token\"\nquery = { since = \"{{ from }}\" }\n";

#[test]
fn a_token_is_sent_back_and_replaced_and_never_compared() {
    let all = |page: &str| match page {
        "" => json!({ "data": [{ "id": 1, "name": "a" }, { "id": 2, "name": "b" }], "next": "2" }),
        _ => json!({ "data": [{ "id": 3, "name": "c" }], "sync": "zz" }),
    };
    let desk = Desk::start(move |_, query| match query.get("since").map(String::as_str) {
        None => (200, all(query.get("page").map_or("", String::as_str))),
        Some("zz") => (200, json!({ "data": [{ "id": 2, "name": "B" }], "sync": "aa" })),
        Some("aa") => (200, json!({ "data": [], "sync": "ab" })),
        Some("ab") => (200, json!({ "data": [] })),
        Some(other) => (400, json!({ "message": format!("what is {other}?") })),
    });
    let project = project(&desk, TOKENS, "");
    assert_eq!(counts(&run(&project)), (3, 0, 0));
    assert_eq!(mark(&project), "token zz");
    let asked = desk.asked();
    assert!(asked.iter().all(|query| !query.contains_key("since")) && asked.len() == 2, "{asked:?}");
    assert_eq!(counts(&run(&project)), (1, 0, 0));
    assert_eq!(mark(&project), "token aa", "lower, but newer");
    assert_eq!(desk.asked()[0]["since"], "zz");
    assert_eq!(query(&project, "SELECT id, name FROM items WHERE id = 2"), r#"{"id":2,"name":"B"}"#);
    // Nothing changed, but the token did; then not even that.
    assert_eq!(run(&project)["commits"], 0);
    assert_eq!(mark(&project), "token ab");
    changes_nothing(&project);
    changes_nothing(&project);
    assert_eq!(desk.asked().last().unwrap()["since"], "ab");
    // The lake knows of the last token that came with rows; asked by that one, nothing is lost and nothing doubled.
    std::fs::remove_dir_all(project.at("state")).or_else(|_| std::fs::remove_file(project.at("state.db"))).ok();
    run(&project);
    assert_eq!(query(&project, "SELECT COUNT(*) AS n FROM items"), r#"{"n":3}"#);
}

#[test]
fn a_token_that_the_source_has_forgotten_is_told_with_the_way_out() {
    let forgets = Arc::new(Mutex::new(false));
    let (flag, gone) = (forgets.clone(), |query: &Query| query.contains_key("since"));
    let desk = Desk::start(move |_, query| match *flag.lock().unwrap() && gone(query) {
        true => (410, json!({ "error": "sync token expired" })),
        false => (200, json!({ "data": [{ "id": 1 }, { "id": 2 }], "sync": "t" })),
    });
    let project = project(&desk, TOKENS, "");
    run(&project);
    *forgets.lock().unwrap() = true;
    let lake = project.listing("lake");
    // C-55
    let ended = highwater(&project, &["run", "items"]).run().expect_code(1);
    assert!(ended.stderr.contains("410") && ended.stderr.contains("run items --full"), "{}", ended.stderr);
    assert_eq!((project.listing("lake"), mark(&project)), (lake, json!("token t")));
    highwater(&project, &["run", "items", "--from", "2026-01-01", "--yes"]).run().expect_code(64);
    highwater(&project, &["run", "items", "--full", "--yes"]).run().expect_code(0);
    assert_eq!(query(&project, "SELECT COUNT(*) AS n FROM items"), r#"{"n":2}"#);
    *forgets.lock().unwrap() = false;
    changes_nothing(&project);
}

#[test]
fn a_stream_that_never_gives_a_token_is_an_error_and_not_a_first_load_for_ever() {
    let desk = Desk::start(|_, _| (200, json!({ "data": [{ "id": 1 }] })));
    let project = project(&desk, TOKENS, "");
    let ended = highwater(&project, &["run", "items"]).run();
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("no page held a token at `sync`"), "{}", ended.stderr);
    assert!(project.listing("lake").into_keys().all(|path| !path.ends_with(".parquet")));
}

#[test]
fn the_next_run_begins_at_the_link_of_the_last_page() {
    // A delta link: a whole address, on the page that has no next one. C-50: what was removed can come back.
    let desk = Desk::start(|_, _| (500, json!({})));
    let base = desk.url();
    let link = move |query: &str| format!("{base}/changes?{query}");
    desk.answer(move |path, query| {
        let part = query.get("part").map_or("", String::as_str);
        match (path, part) {
            ("/items", "") => (200, json!({ "data": [{ "id": 1 }, { "id": 2 }], "@odata.nextLink": link("part=2") })),
            ("/changes", "2") => (200, json!({ "data": [{ "id": 3 }], "@odata.deltaLink": link("part=d1") })),
            ("/changes", "d1") => (200, json!({ "data": [{ "id": 2, "gone": true }], "@odata.deltaLink": link("part=d2") })),
            ("/changes", "d2") => (200, json!({ "data": [{ "id": 2 }], "@odata.deltaLink": link("part=d3") })),
            ("/changes", "d3") => (200, json!({ "data": [{ "id": 2, "gone": true }], "@odata.deltaLink": link("part=d4") })),
            ("/changes", _) => (200, json!({ "data": [], "@odata.deltaLink": link("part=d4") })),
            _ => (404, json!({})),
        }
    });
    let stream = "primary_key = [\"id\"]\ndeleted = \"gone\"\npaging = { type = \"next_url\", url = '\"@odata.nextLink\"' }\n\
        [streams.items.cursor]\nfield = '\"@odata.deltaLink\"'\ntype = \"token\"\n";
    let project = project(&desk, stream, "on_delete = \"hard\"\n");
    let rows = |project: &Project| query(project, "SELECT COUNT(*) AS n FROM items");
    for expected in ["3", "2", "3", "2", "2"] {
        run(&project);
        assert_eq!(rows(&project), format!("{{\"n\":{expected}}}"));
    }
    changes_nothing(&project);
}
