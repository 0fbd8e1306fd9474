//! What is gone at the source, what the source has forgotten, and records that nothing identifies.

use serde_json::{Value, json};

use super::cursors::{BY_TOKEN, changes_nothing, counts, in_order, minute, once_each, paged, project, query, shelf};
use super::loads::{mark, run};
use crate::world::desk::Desk;
use crate::world::program::highwater;

const ALL: &str = "primary_key = [\"id\"]\n";

#[test]
fn what_is_deleted_for_good_leaves_a_replacement_and_stays_in_a_merge() {
    // C-47
    for (mode, left) in [("replace", 8), ("merge", 10)] {
        let rows = shelf(&(0..10).map(minute).collect::<Vec<_>>());
        let desk = Desk::start(paged(&rows));
        let stream = if mode == "replace" { format!("{ALL}paging = {{ {BY_TOKEN} }}\n") } else { in_order("none", BY_TOKEN) };
        let project = project(&desk, &stream, &format!("mode = \"{mode}\"\n"));
        run(&project);
        once_each(&project, 10);
        rows.lock().unwrap().retain(|row| ![3, 7].contains(&row["id"].as_u64().unwrap()));
        run(&project);
        once_each(&project, left);
        // Not even reading everything again tells a merge of what is not there.
        highwater(&project, &["run", "items", "--full", "--yes"]).run().expect_code(0);
        once_each(&project, left);
        changes_nothing(&project);
    }
}

#[test]
fn a_replacement_by_much_less_is_refused_and_deletions_that_are_told_take_no_row_unasked() {
    // C-49
    let rows = shelf(&(0..10).map(minute).collect::<Vec<_>>());
    let desk = Desk::start(paged(&rows));
    let stream = format!("{ALL}paging = {{ {BY_TOKEN} }}\n");
    let project = project(&desk, &stream, "mode = \"replace\"\n");
    run(&project);
    let lake = project.listing("lake");
    for left in [4, 0] {
        rows.lock().unwrap().truncate(left);
        let ended = highwater(&project, &["run", "items"]).run().expect_code(1);
        assert!(ended.stderr.contains(&format!("gave {left} rows")) && ended.stderr.contains("--force"), "{}", ended.stderr);
        assert_eq!(project.listing("lake"), lake);
    }
    highwater(&project, &["run", "items", "--force"]).run().expect_code(0);
    assert_eq!(query(&project, "SELECT COUNT(*) AS n FROM items"), r#"{"n":0}"#);

    // All of a merge's records say that they are gone: by default the rows stay, marked.
    let gone = |id: u64, status: &str| {
        let mut row = minute(id + if status == "open" { 0 } else { 100 });
        (row["id"], row["status"]) = (json!(id), json!(status));
        row
    };
    let rows = shelf(&(0..10).map(|id| gone(id, "open")).collect::<Vec<_>>());
    let desk = Desk::start(paged(&rows));
    let stream = format!("deleted = \"status\"\ndeleted_is = [\"deleted\", \"purged\"]\n{}", in_order("none", BY_TOKEN));
    let project = self::project(&desk, &stream, "mode = \"merge\"\n");
    assert_eq!(counts(&run(&project)).0, 10, "`open` is no deletion");
    *rows.lock().unwrap() = (0..10).map(|id| gone(id, if id % 2 == 0 { "deleted" } else { "purged" })).collect();
    desk.set_date("Sun, 01 Mar 2026 13:00:00 GMT");
    highwater(&project, &["run", "items", "--full", "--yes"]).run().expect_code(0);
    let sql = "SELECT COUNT(*) AS n, SUM(CASE WHEN _hw_deleted THEN 1 ELSE 0 END) AS gone, MIN(status) AS status FROM items";
    assert_eq!(query(&project, sql), r#"{"n":10,"gone":10,"status":"open"}"#);
    changes_nothing(&project);
}

#[test]
fn a_key_with_a_null_in_it_is_put_aside_and_is_nobodys_row() {
    // C-52
    let row = |shop: Value, id: Value, at: u64| json!({ "shop": shop, "id": id, "updated_at": minute(at)["updated_at"] });
    for mode in ["append", "merge"] {
        let rows = shelf(&[
            row(json!("a"), json!(1), 0),
            row(json!(null), json!(1), 1),
            row(json!("a"), json!(null), 2),
            row(json!(null), json!(null), 3),
            row(json!("null"), json!(1), 4),
        ]);
        rows.lock().unwrap().push(json!({ "id": 1, "updated_at": minute(5)["updated_at"] }));
        let desk = Desk::start(paged(&rows));
        let stream = in_order("none", BY_TOKEN).replace("primary_key = [\"id\"]", "primary_key = [\"shop\", \"id\"]");
        let project = project(&desk, &stream, &format!("mode = \"{mode}\"\n"));
        let report = run(&project);
        assert_eq!((counts(&report).0, report["counts"]["rejected"].as_u64()), (2, Some(4)), "{report}");
        assert_eq!(
            query(&project, "SELECT shop, id FROM items ORDER BY shop"),
            "{\"shop\":\"a\",\"id\":1}\n{\"shop\":\"null\",\"id\":1}"
        );
        changes_nothing(&project);
        // Read again, they are put aside once.
        let report = highwater(&project, &["run", "items", "--full", "--yes", "--json"]).run().expect_code(0).json();
        assert_eq!(report[0]["counts"]["rejected"].as_u64(), Some(0), "{report}");
    }
}

#[test]
fn a_mark_older_than_the_api_looks_back_is_told_with_both_ways_out() {
    // C-55
    let rows = shelf(&(0..10).map(minute).collect::<Vec<_>>());
    let desk = Desk::start(paged(&rows));
    let project = project(&desk, &format!("{}history_max = \"30d\"\n", in_order("none", BY_TOKEN)), "mode = \"merge\"\n");
    // The first load takes what there is, however far back it begins.
    run(&project);
    once_each(&project, 10);
    let (stands, lake) = (mark(&project), project.listing("lake"));
    assert_eq!(stands, "2026-03-01T11:59:00Z");

    // By this machine's clock that was long ago.
    #[expect(clippy::disallowed_methods, reason = "the program that is tested goes by this machine's clock")]
    let now = jiff::Timestamp::now();
    desk.set_date(&now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    desk.asked();
    let ended = highwater(&project, &["run", "items"]).run().expect_code(1);
    for word in ["ends at 2026-03-01T11:59:00Z", "looks back 30d", "run items --full", "state set items --mark"] {
        assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
    }
    assert!(desk.asked().is_empty(), "the API is not asked");
    assert_eq!((mark(&project), project.listing("lake")), (stands, lake));
    // What it does not give any more cannot be asked for again.
    let ended = highwater(&project, &["run", "items", "--from", "2026-02-20", "--yes"]).run();
    assert!(ended.code != Some(0) && ended.stderr.contains("history_max"), "{}", ended.stderr);

    // The one way out: without what lies between.
    let text = highwater(&project, &["run", "items"]).run().stderr;
    let to = text.split("--mark ").nth(1).unwrap().split('`').next().unwrap();
    highwater(&project, &["state", "set", "items", "--mark", to, "--yes"]).run().expect_code(0);
    run(&project);
    once_each(&project, 10);

    // The other: everything again.
    desk.set_date("Sun, 01 Mar 2026 12:00:00 GMT");
    highwater(&project, &["run", "items", "--full", "--yes"]).run().expect_code(0);
    once_each(&project, 10);
}

/// What a row says of itself stays with it where its file is written anew, whatever the job says by then.
#[test]
fn a_row_that_was_marked_as_deleted_does_not_come_to_life_with_the_mark_taken_out_of_the_job() {
    // C-48
    for (before, after) in [
        ("mode = \"merge\"\n", "mode = \"merge\"\non_delete = \"hard\"\n"),
        ("deleted = \"gone\"\n", ""),
        ("metadata = true\n", "metadata = false\n"),
    ] {
        let row = |id: u64, name: &str, gone: bool| {
            let mut row = minute(id);
            (row["name"], row["gone"]) = (json!(name), json!(gone));
            row
        };
        let rows = shelf(&[row(1, "a", false), row(2, "b", false), row(3, "c", false)]);
        let desk = Desk::start(paged(&rows));
        let stream = format!("deleted = \"gone\"\n{ALL}paging = {{ {BY_TOKEN} }}\n");
        let project = self::project(&desk, &stream, "mode = \"merge\"\nmetadata = true\n");
        run(&project);
        *rows.lock().unwrap() = vec![row(2, "b", true)];
        run(&project);
        let dead = |project: &_| query(project, "SELECT id FROM items WHERE _hw_deleted");
        assert_eq!(dead(&project), r#"{"id":2}"#);
        let commits = "SELECT COUNT(_hw_commit) AS n FROM items WHERE id <> 1";
        assert_eq!(query(&project, commits), r#"{"n":2}"#);
        for file in ["jobs/items.toml", "sources/api.toml"] {
            if std::fs::read_to_string(project.at(file)).unwrap().contains(before) {
                project.edit(file, before, after);
            }
        }
        *rows.lock().unwrap() = vec![row(1, "new", false)];
        run(&project);
        assert_eq!(query(&project, "SELECT name FROM items WHERE id = 1"), r#"{"name":"new"}"#);
        assert_eq!((dead(&project).as_str(), query(&project, commits).as_str()), (r#"{"id":2}"#, r#"{"n":2}"#), "{after}");
        once_each(&project, 3);
    }
}
