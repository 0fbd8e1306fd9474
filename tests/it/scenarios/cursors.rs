//! What a cursor can be besides an instant, and how a slice is read by it.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::loads::{mark, run};
use crate::world::desk::{Desk, Query};
use crate::world::program::highwater;
use crate::world::project::Project;

/// A project whose source is the desk: `stream` stands in `[streams.items]` and behind it, `job` in the job's file.
pub fn project(desk: &Desk, stream: &str, job: &str) -> Project {
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
pub type Shelf = Arc<Mutex<Vec<Value>>>;

pub fn shelf(records: &[Value]) -> Shelf {
    Arc::new(Mutex::new(records.to_vec()))
}

pub fn query(project: &Project, sql: &str) -> String {
    highwater(project, &["query", sql, "--json"]).run().expect_code(0).stdout.trim().to_owned()
}

pub fn counts(report: &Value) -> (u64, u64, u64) {
    let count = |name: &str| report["counts"][name].as_u64().unwrap();
    (count("kept"), count("duplicate"), count("unchanged"))
}

/// A second run, and whatever it asks, changes nothing.
pub fn changes_nothing(project: &Project) {
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
    std::fs::remove_dir_all(project.at("state")).unwrap();
    run(&project);
    assert_eq!(query(&project, "SELECT COUNT(*) AS n FROM items"), r#"{"n":3}"#);
}

#[test]
fn a_table_that_goes_back_goes_on_with_the_token_that_it_had_then() {
    let row = |id: u64| json!({ "id": id, "name": format!("n{id}") });
    let changes = move |since: Option<&str>| match since {
        None => ((1..=5).map(row).collect::<Vec<_>>(), "t5"),
        Some("t5") => ((6..=8).map(row).collect(), "t8"),
        _ => (Vec::new(), "t8"),
    };
    let desk = Desk::start(move |_, query| {
        let (rows, sync) = changes(query.get("since").map(String::as_str));
        (200, json!({ "data": rows, "sync": sync }))
    });
    // Nothing identifies the rows: what is read twice is there twice.
    let project = project(&desk, &TOKENS.replace("primary_key = [\"id\"]\n", ""), "mode = \"append\"\n");
    run(&project);
    run(&project);
    assert_eq!(mark(&project), "token t8");
    for _ in 0..2 {
        highwater(&project, &["state", "rollback", "items", "--to", "1", "--yes"]).run().expect_code(0);
        assert_eq!(
            (mark(&project), query(&project, "SELECT COUNT(*) AS n FROM items")),
            (json!("token t5"), r#"{"n":5}"#.to_owned())
        );
        assert_eq!(counts(&run(&project)).0, 3);
        assert_eq!(query(&project, "SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM items"), r#"{"n":8,"ids":8}"#);
    }
    // The log alone tells the same.
    std::fs::remove_dir_all(project.at("state")).unwrap();
    highwater(&project, &["state", "rebuild", "items"]).run().expect_code(0);
    assert_eq!(mark(&project), "token t8");
    changes_nothing(&project);
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

/// One record a minute from midnight of 2026-02-20 on.
pub fn minute(number: u64) -> Value {
    let at = jiff::Timestamp::from_second(1_771_545_600 + number as i64 * 60).unwrap();
    json!({ "id": number, "updated_at": at.to_string() })
}

pub fn instant(row: &Value) -> jiff::Timestamp {
    row["updated_at"].as_str().unwrap().parse().unwrap()
}

fn since(query: &Query) -> jiff::Timestamp {
    query.get("since").map_or(jiff::Timestamp::MIN, |since| since.parse().unwrap())
}

/// Two records a page, in the shelf's order, from `since` on; each page says where the next begins.
pub fn paged(shelf: &Shelf) -> impl Fn(&str, &Query) -> (u16, Value) + use<> {
    let shelf = shelf.clone();
    move |_, query| {
        let rows: Vec<Value> = shelf.lock().unwrap().iter().filter(|row| instant(row) >= since(query)).cloned().collect();
        let first: usize = query.get("token").or(query.get("offset")).map_or(0, |token| token.parse().unwrap());
        let page: Vec<Value> = rows.iter().skip(first).take(2).cloned().collect();
        let next = (first + 2 < rows.len()).then(|| (first + 2).to_string());
        (200, json!({ "data": page, "next": next, "total": rows.len() }))
    }
}

pub fn in_order(order: &str, paging: &str) -> String {
    format!(
        "primary_key = [\"id\"]\npaging = {{ {paging} }}\n[streams.items.cursor]\nfield = \"updated_at\"\ntype = \"timestamp\"\norder = \"{order}\"\n\
         query = {{ since = \"{{{{ from }}}}\" }}\n"
    )
}

pub const BY_TOKEN: &str = "type = \"page_token\", token = \"next\", param = \"token\"";
pub const BY_OFFSET: &str = "type = \"offset\", offset_param = \"offset\", page_size = 2, total = \"total\"";
const ONCE_EACH: &str = "SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM items";

pub fn once_each(project: &Project, rows: u64) {
    assert_eq!(query(project, ONCE_EACH), format!("{{\"n\":{rows},\"ids\":{rows}}}"));
}

#[test]
fn a_long_first_load_keeps_what_it_has() {
    // C-30: the place expires, or cannot be had for another reason.
    for (mode, status) in [("append", 503), ("append", 410), ("merge", 410)] {
        let rows = shelf(&(0..500).map(minute).collect::<Vec<_>>());
        let (fine, broken) = (paged(&rows), paged(&rows));
        let desk = Desk::start(move |path, query| match query.get("token").is_some_and(|token| token == "300") {
            true => (status, json!({})),
            false => broken(path, query),
        });
        let project = project(&desk, &in_order("ascending", BY_TOKEN), &format!("mode = \"{mode}\"\n"));
        // After 100 pages it commits; the 151st cannot be had, and what came until then is committed too. From there it is read on,
        // and as this place of the new sequence is not the broken one, to the end.
        let report = run(&project);
        assert!(report["commits"].as_u64() >= Some(3), "{report}");
        once_each(&project, 500);
        let asked = desk.asked();
        let restarts: Vec<&Query> = asked.iter().filter(|query| !query.contains_key("token")).collect();
        assert_eq!(restarts.len(), 2, "{restarts:?}");
        assert!(restarts[1]["since"].starts_with("2026-02-20T04:58"), "{restarts:?}");
        changes_nothing(&project);

        // A page that fails for good ends the run; the next one goes on behind what was committed.
        let project = self::project(&desk, &in_order("ascending", BY_TOKEN), &format!("mode = \"{mode}\"\n"));
        desk.answer(move |path, query| match query.get("token").is_some_and(|token| token == "240") {
            true => (403, json!({})),
            false => fine(path, query),
        });
        highwater(&project, &["run", "items"]).run().expect_code(1);
        let stands = mark(&project);
        assert!(stands.as_str() > Some("2026-02-20T03:57"), "{stands}");
        desk.answer(paged(&rows));
        desk.asked();
        run(&project);
        assert!(desk.asked()[0]["since"].as_str() > "2026-02-20T03:57");
        once_each(&project, 500);
        changes_nothing(&project);
    }
}

#[test]
fn a_place_that_expires_leaves_nothing_half_read_where_the_source_keeps_no_order() {
    // C-30
    for mode in ["append", "merge"] {
        let rows = shelf(&(0..9).map(minute).collect::<Vec<_>>());
        let expired = paged(&rows);
        let desk = Desk::start(move |path, query| match query.get("token").is_some_and(|token| token == "4") {
            true => (410, json!({ "error": "cursor expired" })),
            false => expired(path, query),
        });
        let project = project(&desk, &in_order("none", BY_TOKEN), &format!("mode = \"{mode}\"\n"));
        let ended = highwater(&project, &["run", "items"]).run().expect_code(1);
        assert!(ended.stderr.contains("its place there may have expired"), "{}", ended.stderr);
        assert!(mark(&project).is_null(), "{mode}: nothing counts as read");
        desk.answer(paged(&rows));
        desk.asked();
        run(&project);
        assert!(!desk.asked()[0].contains_key("token"), "{mode}: it begins anew");
        once_each(&project, 9);
        changes_nothing(&project);
    }
}

#[test]
fn a_record_out_of_order_is_read_wherever_it_stands() {
    for mode in ["append", "merge"] {
        // C-16: before the first commit, and long behind it.
        for place in [50, 450] {
            let mut records: Vec<Value> = (0..500).map(minute).collect();
            let early = records.remove(7);
            records.insert(place, early);
            let desk = Desk::start(paged(&shelf(&records)));
            let project = project(&desk, &in_order("ascending", BY_TOKEN), &format!("mode = \"{mode}\"\n"));
            run(&project);
            once_each(&project, 500);
            changes_nothing(&project);
        }
        // C-17: in the order of another field altogether.
        let mut records: Vec<Value> = (0..60).map(minute).collect();
        records.sort_by_key(|row| row["id"].as_u64().unwrap() % 7);
        for order in ["ascending", "descending"] {
            let desk = Desk::start(paged(&shelf(&records)));
            let project = project(&desk, &in_order(order, BY_OFFSET), &format!("mode = \"{mode}\"\n"));
            run(&project);
            once_each(&project, 60);
            changes_nothing(&project);
        }
    }
}

#[test]
fn records_that_move_while_they_are_paged_pull_none_away() {
    // C-22, C-23: places are counted, and after each answer an early record goes, or moves to the end with a new version.
    for mode in ["append", "merge"] {
        let rows = shelf(&(0..40).map(minute).collect::<Vec<_>>());
        let (answer, moving) = (paged(&rows), rows.clone());
        let turn = Mutex::new(0u64);
        let desk = Desk::start(move |path, query| {
            let said = answer(path, query);
            let (mut turn, mut rows) = (turn.lock().unwrap(), moving.lock().unwrap());
            if *turn < 5 && rows.len() > 4 {
                let mut row = rows.remove(0);
                if *turn % 2 == 1 {
                    row["updated_at"] = minute(100 + *turn)["updated_at"].clone();
                    rows.push(row);
                }
            }
            *turn += 1;
            said
        });
        let project = project(&desk, &in_order("ascending", BY_OFFSET), &format!("mode = \"{mode}\"\n"));
        run(&project);
        // Those that are still there, each in its last version.
        let left: Vec<u64> = rows.lock().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect();
        let ids: Vec<String> = left.iter().map(u64::to_string).collect();
        let sql = format!("SELECT COUNT(DISTINCT id) AS ids FROM items WHERE id IN ({})", ids.join(","));
        assert_eq!(query(&project, &sql), format!("{{\"ids\":{}}}", left.len()), "{mode}");
        for row in rows.lock().unwrap().iter() {
            let sql = format!("SELECT CAST(MAX(updated_at) AS VARCHAR) AS newest FROM items WHERE id = {}", row["id"]);
            let newest = query(&project, &sql);
            let at = instant(row).strftime("%Y-%m-%d %H:%M:%S").to_string();
            assert!(newest.replace('T', " ").contains(&at), "{mode}: {row} and {newest}");
        }
        changes_nothing(&project);
    }
}

#[test]
fn more_records_at_the_mark_than_can_be_told_apart_are_refused_where_they_end_it() {
    // C-03: whoever goes on from them would have to know each by its key.
    let number = |id: u64, seq: u64| json!({ "id": id, "seq": seq });
    let rows = shelf(&(0..100_001).map(|id| number(id, 1)).collect::<Vec<_>>());
    let answer = rows.clone();
    let desk = Desk::start(move |_, _| (200, json!({ "data": *answer.lock().unwrap() })));
    let stream = "primary_key = [\"id\"]\n[streams.items.cursor]\nfield = \"seq\"\ntype = \"integer\"\nquery = { after = \"{{ from }}\" }\n";
    let project = self::project(&desk, stream, "mode = \"append\"\n");
    let ended = highwater(&project, &["run", "items"]).run().expect_code(1);
    assert!(ended.stderr.contains("too many to tell known ones from new ones"), "{ended:?}");
    rows.lock().unwrap().push(number(100_001, 2));
    assert_eq!(counts(&run(&project)).0, 100_002);
    assert_eq!(mark(&project), "2");
}

#[test]
fn what_changes_at_the_mark_is_seen_by_a_merge() {
    // C-05: the cursor stays where it was, the content does not.
    let rows = shelf(&[
        json!({ "id": 1, "seq": "a", "name": "old", "gone": false }),
        json!({ "id": 2, "seq": "b", "name": "old", "gone": false }),
    ]);
    let desk = Desk::start(by_text(&rows));
    let project = project(&desk, &format!("deleted = \"gone\"\n{TEXTS}"), "mode = \"merge\"\n");
    run(&project);
    changes_nothing(&project);
    rows.lock().unwrap()[1]["name"] = json!("new");
    run(&project);
    assert_eq!(query(&project, "SELECT name FROM items WHERE id = 2"), r#"{"name":"new"}"#);
    rows.lock().unwrap()[1]["gone"] = json!(true);
    run(&project);
    assert_eq!(query(&project, "SELECT _hw_deleted AS gone FROM items WHERE id = 2"), r#"{"gone":true}"#);
    changes_nothing(&project);
    once_each(&project, 2);
}

#[test]
fn a_feed_is_read_down_to_the_mark() {
    // C-15
    let newest_first = |count: u64| (0..count).rev().map(minute).collect::<Vec<_>>();
    let rows = shelf(&newest_first(400));
    // A feed that cannot be asked for less than everything.
    let all = paged(&rows);
    let desk = Desk::start(move |path, query| {
        let query =
            query.iter().filter(|(name, _)| *name != "since").map(|(name, value)| (name.clone(), value.clone())).collect();
        all(path, &query)
    });
    let project = project(&desk, &in_order("descending", BY_TOKEN), "mode = \"append\"\n");
    run(&project);
    once_each(&project, 400);
    assert_eq!(desk.asked().len(), 200);
    *rows.lock().unwrap() = newest_first(420);
    desk.set_date("Sun, 01 Mar 2026 18:00:00 GMT");
    run(&project);
    assert!(desk.asked().len() < 15, "it stops below the mark");
    once_each(&project, 400);
    // C-07: they were stamped long before the mark, and closed time is closed. With a lookback they are there.
    project.edit("jobs/items.toml", "mode", "window = { lookback = \"10d\" }\nmode");
    run(&project);
    once_each(&project, 420);
}

#[test]
fn pages_behind_closed_time_are_left_alone() {
    let mut records: Vec<Value> = (0..20).map(minute).collect();
    // C-12: stamped in the future, by the thousand.
    records.extend((0..400).map(|number| json!({ "id": 1000 + number, "updated_at": "2999-01-01T00:00:00Z" })));
    let desk = Desk::start(paged(&shelf(&records)));
    let project = project(&desk, &in_order("ascending", BY_TOKEN), "mode = \"append\"\n");
    run(&project);
    once_each(&project, 20);
    assert!(desk.asked().len() < 15);
}

#[test]
fn numbers_and_texts_commit_on_their_way_too() {
    for cursor_type in ["integer", "string"] {
        let row = |id: u64| match cursor_type {
            "integer" => json!({ "id": id, "seq": id / 3 }),
            _ => json!({ "id": id, "seq": format!("{:09}", id / 3) }),
        };
        let rows = shelf(&(0..500).map(row).collect::<Vec<_>>());
        let shelf = rows.clone();
        let (broken, is_broken) =
            (Arc::new(Mutex::new(true)), |query: &Query| query.get("token").is_some_and(|token| token == "450"));
        let flag = broken.clone();
        let desk = Desk::start(move |_, query| {
            let from = query.get("after").map_or(0, |after| after.parse::<u64>().unwrap());
            let seq = |row: &Value| row["seq"].as_u64().unwrap_or_else(|| row["seq"].as_str().unwrap().parse().unwrap());
            let rows: Vec<Value> = shelf.lock().unwrap().iter().filter(|row| seq(row) >= from).cloned().collect();
            let first: usize = query.get("token").map_or(0, |token| token.parse().unwrap());
            let next = (first + 2 < rows.len()).then(|| (first + 2).to_string());
            match *flag.lock().unwrap() && is_broken(query) {
                true => (403, json!({})),
                false => (200, json!({ "data": rows.into_iter().skip(first).take(2).collect::<Vec<_>>(), "next": next })),
            }
        });
        let stream = format!(
            "primary_key = [\"id\"]\npaging = {{ {BY_TOKEN} }}\n[streams.items.cursor]\nfield = \"seq\"\ntype = \"{cursor_type}\"\norder = \"ascending\"\n\
             query = {{ after = \"{{{{ from }}}}\" }}\n"
        );
        let project = project(&desk, &stream, "mode = \"append\"\n");
        highwater(&project, &["run", "items"]).run().expect_code(1);
        assert_eq!(mark(&project).as_str().unwrap().trim_start_matches('0'), "149");
        *broken.lock().unwrap() = false;
        desk.asked();
        run(&project);
        assert_eq!(desk.asked()[0]["after"].trim_start_matches('0'), "149");
        once_each(&project, 500);
        changes_nothing(&project);
    }
}

/// Like `paged`, but never more than 40 records for one query, whatever there is, and no word of it but the total.
fn capped(shelf: &Shelf, tells: bool) -> impl Fn(&str, &Query) -> (u16, Value) + use<> {
    let shelf = shelf.clone();
    move |_, query| {
        let until = query.get("until").map_or(jiff::Timestamp::MAX, |until| until.parse().unwrap());
        let is_asked = |row: &&Value| instant(row) >= since(query) && instant(row) < until;
        let all: Vec<Value> = shelf.lock().unwrap().iter().filter(is_asked).cloned().collect();
        let total = if tells { json!(all.len()) } else { json!(null) };
        let given: Vec<Value> = all.into_iter().take(40).collect();
        let first: usize = query.get("token").or(query.get("offset")).map_or(0, |token| token.parse().unwrap());
        let page: Vec<Value> = given.iter().skip(first).take(8).cloned().collect();
        let next = (first + 8 < given.len()).then(|| (first + 8).to_string());
        (200, json!({ "data": page, "next": next, "total": total, "more": first + 8 < given.len() }))
    }
}

const BOTH_ENDS: &str = "query = { since = \"{{ from }}\" }\n";

#[test]
fn what_is_more_than_the_api_gives_is_read_in_pieces() {
    // C-53
    for (paging, tells) in [
        ("type = \"offset\", offset_param = \"offset\", page_size = 8, total = \"total\", result_cap = 40", true),
        ("type = \"offset\", offset_param = \"offset\", page_size = 8, more = \"more\", result_cap = 40", false),
        ("type = \"page_token\", token = \"next\", param = \"token\", result_cap = 40", false),
    ] {
        for mode in ["append", "merge"] {
            let rows = shelf(&(0..300).rev().map(minute).collect::<Vec<_>>());
            let desk = Desk::start(capped(&rows, tells));
            let stream =
                in_order("none", paging).replace(BOTH_ENDS, "query = { since = \"{{ from }}\", until = \"{{ to }}\" }\n");
            let project = project(&desk, &stream, &format!("mode = \"{mode}\"\nwindow = {{ start = \"2026-02-20\" }}\n"));
            let report = run(&project);
            once_each(&project, 300);
            assert_eq!(counts(&report).0, 300, "nothing is committed twice: {report}");
            changes_nothing(&project);
        }
    }
    // Without an upper bound, an order will do.
    let rows = shelf(&(0..300).map(minute).collect::<Vec<_>>());
    let desk = Desk::start(capped(&rows, false));
    let project =
        project(&desk, &in_order("ascending", "type = \"page_token\", token = \"next\", param = \"token\", result_cap = 40"), "");
    run(&project);
    once_each(&project, 300);
    changes_nothing(&project);
}

#[test]
fn an_instant_of_more_than_the_api_gives_fails_loudly() {
    // C-54
    let mut records: Vec<Value> = (0..100).map(minute).collect();
    records.extend((0..60).map(|id| json!({ "id": 1000 + id, "updated_at": minute(50)["updated_at"] })));
    let rows = shelf(&records);
    let desk = Desk::start(capped(&rows, false));
    let paging = "type = \"page_token\", token = \"next\", param = \"token\", result_cap = 40";
    let stream = in_order("none", paging).replace(BOTH_ENDS, "query = { since = \"{{ from }}\", until = \"{{ to }}\" }\n");
    let project = project(&desk, &stream, "mode = \"append\"\nwindow = { start = \"2026-02-20\" }\n");
    let ended = highwater(&project, &["run", "items"]).run().expect_code(1);
    let said = "at most 40 records for one query (result_cap), and there are as many here or more: they stand within one `precision` (1s)";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    // Everything else is there, and nothing of that instant.
    let here: Value =
        serde_json::from_str(&query(&project, "SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids, MAX(id) AS most FROM items"))
            .unwrap();
    assert!(here["n"].as_u64() >= Some(97) && here["n"] == here["ids"] && here["most"] == 99, "{here}");
    assert!(mark(&project).as_str() < Some("2026-02-20T00:51"), "the mark stays before the hole");

    // What has neither an upper bound nor an order cannot be asked for in pieces.
    let project = self::project(&desk, &in_order("none", paging), "mode = \"append\"\n");
    let checked = highwater(&project, &["check"]).run().expect_code(0);
    assert!(checked.stdout.contains("cannot be asked for in pieces"), "{}", checked.stdout);
    let ended = highwater(&project, &["run", "items"]).run().expect_code(1);
    assert!(ended.stderr.contains("order = \"ascending\""), "{}", ended.stderr);
}

#[test]
fn many_records_of_one_instant_are_each_there_once() {
    // C-02, C-03
    let records: Vec<Value> = (0..250).map(|id| json!({ "id": id, "updated_at": minute(7)["updated_at"] })).collect();
    for order in ["none", "ascending", "descending"] {
        for mode in ["append", "merge"] {
            let desk = Desk::start(paged(&shelf(&records)));
            let project = project(&desk, &in_order(order, BY_TOKEN), &format!("mode = \"{mode}\"\n"));
            run(&project);
            once_each(&project, 250);
            changes_nothing(&project);
        }
    }
}

#[test]
fn a_clock_that_goes_back_leaves_the_mark_where_it_is() {
    let rows = shelf(&(0..20).map(minute).collect::<Vec<_>>());
    let desk = Desk::start(paged(&rows));
    let project = project(&desk, &in_order("none", BY_TOKEN), "mode = \"append\"\n");
    run(&project);
    let stands = mark(&project);
    // C-10, C-11: the next answer comes from a server, or a time, that is two hours behind.
    desk.set_date("Sun, 01 Mar 2026 10:00:00 GMT");
    changes_nothing(&project);
    assert_eq!(mark(&project), stands);
    // C-09: a source that is behind closes less, and what it closes later is read then.
    rows.lock().unwrap().push(json!({ "id": 900, "updated_at": "2026-03-01T12:00:30Z" }));
    changes_nothing(&project);
    desk.set_date("Sun, 01 Mar 2026 13:00:00 GMT");
    run(&project);
    once_each(&project, 21);
}

#[test]
fn what_is_committed_late_with_an_old_time_is_waited_for() {
    // C-45: a transaction took its time at 11:57 and is seen only after the run of 12:00.
    for (settle, ids) in [("1m", 1), ("5m", 2)] {
        let rows = shelf(&[json!({ "id": 1, "updated_at": "2026-03-01T11:30:00Z" })]);
        let desk = Desk::start(paged(&rows));
        let job = format!("mode = \"append\"\nwindow = {{ settle = \"{settle}\" }}\n");
        let project = project(&desk, &in_order("none", BY_TOKEN), &job);
        run(&project);
        rows.lock().unwrap().push(json!({ "id": 2, "updated_at": "2026-03-01T11:57:00Z" }));
        desk.set_date("Sun, 01 Mar 2026 12:10:00 GMT");
        run(&project);
        once_each(&project, ids);
        changes_nothing(&project);
    }
}

#[test]
fn a_mark_far_ahead_brings_nothing_and_a_full_read_brings_all_again() {
    let rows = shelf(&[json!({ "id": 1, "seq": "a" }), json!({ "id": 2, "seq": "b" })]);
    let desk = Desk::start(by_text(&rows));
    let project = project(&desk, TEXTS, "mode = \"merge\"\n");
    run(&project);
    // C-13
    highwater(&project, &["state", "set", "items", "--mark", "zzzz", "--yes"]).run().expect_code(0);
    let said = highwater(&project, &["run", "items"]).run().expect_code(0).stderr;
    assert!(said.contains("which was set by hand") && said.contains("zzzz"), "{said}");
    changes_nothing(&project);
    // C-68, C-51: a key that the source uses again is the same row in its newest version.
    rows.lock().unwrap().push(json!({ "id": 1, "seq": "c", "name": "again" }));
    for _ in 0..2 {
        highwater(&project, &["run", "items", "--full", "--yes"]).run().expect_code(0);
        assert_eq!(
            query(&project, "SELECT id, seq FROM items ORDER BY id"),
            "{\"id\":1,\"seq\":\"c\"}\n{\"id\":2,\"seq\":\"b\"}"
        );
    }
    changes_nothing(&project);
}
