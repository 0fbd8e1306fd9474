//! Answers that have not changed, and links that forget what was asked.

use serde_json::{Value, json};

use super::cursors::{Shelf, counts, minute, once_each, project, query, shelf};
use super::loads::run;
use crate::world::desk::{Desk, Query};
use crate::world::program::highwater;
use crate::world::project::Project;

const ALL: &str = "primary_key = [\"id\"]\n";

/// Everything there is, in one answer.
fn whole(rows: &Shelf) -> impl Fn(&str, &Query) -> (u16, Value) + use<> {
    let rows = rows.clone();
    move |_, _| (200, json!({ "data": *rows.lock().unwrap() }))
}

/// Runs the job and tells how many requests were answered with «not modified», and how many there were.
fn asked(project: &Project, desk: &Desk) -> (usize, usize) {
    run(project);
    (desk.unchanged(), desk.asked().len())
}

#[test]
fn what_has_not_changed_is_not_read_again_and_whatever_changed_is() {
    for mode in ["replace", "merge"] {
        let rows = shelf(&(0..20).map(minute).collect::<Vec<_>>());
        let desk = Desk::start(whole(&rows));
        desk.give_tags();
        let job = format!("mode = \"{mode}\"\n");
        let project = project(&desk, ALL, &job);
        assert_eq!(asked(&project, &desk), (0, 1), "the first answer");
        let lake = project.listing("lake");
        for _ in 0..3 {
            assert_eq!(asked(&project, &desk), (1, 1), "{mode}");
            assert_eq!(project.listing("lake"), lake, "no record says that nothing happened");
        }
        // A state that is lost knows it from the lake.
        std::fs::remove_dir_all(project.at("state")).unwrap();
        assert_eq!(asked(&project, &desk), (1, 1), "{mode}");
        once_each(&project, 20);

        // One record is another, one is new.
        rows.lock().unwrap()[3]["name"] = json!("changed");
        rows.lock().unwrap().push(minute(20));
        assert_eq!(asked(&project, &desk), (0, 1), "{mode}");
        once_each(&project, 21);
        assert_eq!(query(&project, "SELECT COUNT(*) AS n FROM items WHERE name = 'changed'"), r#"{"n":1}"#);
        assert_eq!(asked(&project, &desk), (1, 1), "{mode}");

        // Whoever asks for everything gets it, and so does a definition that is another one.
        highwater(&project, &["run", "items", "--force"]).run().expect_code(0);
        assert_eq!(desk.unchanged(), 0);
        highwater(&project, &["run", "items", "--full", "--yes"]).run().expect_code(0);
        assert_eq!(desk.unchanged(), 0);
        project.edit("jobs/items.toml", &job, &format!("{job}[[steps]]\nderive = {{ twice = \"id * 2\" }}\n"));
        assert_eq!(asked(&project, &desk).0, 0, "an edit");
        assert_eq!(query(&project, "SELECT COUNT(twice) AS n FROM items"), r#"{"n":21}"#);
        once_each(&project, 21);
    }
}

#[test]
fn a_table_that_was_put_back_is_read_again_and_not_called_unchanged() {
    // D-41: what was answered last is known of the rows that there are, not of those that there were.
    let rows = shelf(&(0..20).map(minute).collect::<Vec<_>>());
    let desk = Desk::start(whole(&rows));
    desk.give_tags();
    let project = project(&desk, ALL, "mode = \"replace\"\n");
    run(&project);
    let copied = |from: &str, to: &str| {
        let (from, to) = (project.at(from), project.at(to));
        let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(copied.success());
    };
    copied("lake", "backup");
    rows.lock().unwrap().push(minute(20));
    run(&project);
    once_each(&project, 21);
    assert_eq!(asked(&project, &desk).0, 1, "nothing is new");
    std::fs::remove_dir_all(project.at("lake")).unwrap();
    copied("backup", "lake");
    assert_eq!(asked(&project, &desk).0, 0);
    once_each(&project, 21);
    assert_eq!(asked(&project, &desk).0, 1);
}

#[test]
fn several_pages_time_windows_and_appends_are_read_each_time() {
    let rows = shelf(&(0..20).map(minute).collect::<Vec<_>>());
    let by_page = |rows: &Shelf| {
        let rows = rows.clone();
        move |_: &str, query: &Query| {
            let page: usize = query.get("page").map_or(0, |page| page.parse().unwrap());
            let rows = rows.lock().unwrap();
            let part: Vec<Value> = rows.iter().skip(page * 10).take(10).cloned().collect();
            (200, json!({ "data": part, "more": (page + 1) * 10 < rows.len() }))
        }
    };
    let paging = "paging = { type = \"page\", param = \"page\", start = 0, page_size = 10, more = \"more\" }\n";
    let windowed = "[streams.items.cursor]\nfield = \"updated_at\"\ntype = \"timestamp\"\n";
    for (stream, job, times) in [
        (format!("{ALL}{paging}"), "mode = \"replace\"\n", 1),
        (format!("{ALL}{windowed}"), "mode = \"merge\"\n", 1),
        (format!("{ALL}conditional = \"never\"\n"), "mode = \"replace\"\n", 1),
        (ALL.to_owned(), "mode = \"append\"\n", 2),
    ] {
        let desk = if stream.contains("page") { Desk::start(by_page(&rows)) } else { Desk::start(whole(&rows)) };
        desk.give_tags();
        let project = project(&desk, &stream, job);
        run(&project);
        run(&project);
        assert_eq!(desk.unchanged(), 0, "{stream}");
        let sql = "SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM items";
        assert_eq!(query(&project, sql), format!("{{\"n\":{},\"ids\":20}}", 20 * times), "{stream}{job}");
    }
}

#[test]
fn a_link_that_counts_pages_and_forgets_the_rest_loses_nothing() {
    // The list of a request without `sort` is another one: its second page doubles half of the first, and hides the rest.
    let rows = shelf(&(0..37).map(minute).collect::<Vec<_>>());
    let answer = {
        let rows = rows.clone();
        move |_: &str, query: &Query| {
            let mut rows = rows.lock().unwrap().clone();
            if query.get("sort").is_none() {
                rows.reverse();
            }
            let size: usize = query.get("size").map_or(20, |size| size.parse().unwrap());
            let page: usize = query.get("page").map_or(1, |page| page.parse().unwrap());
            let part: Vec<Value> = rows.iter().skip((page - 1) * size).take(size).cloned().collect();
            let next = (page * size < rows.len()).then(|| format!("?page={}", page + 1));
            (200, json!({ "data": part, "next": next }))
        }
    };
    let desk = Desk::start(answer);
    let stream = format!("{ALL}query = {{ sort = \"id\", size = \"10\" }}\npaging = {{ type = \"next_url\", url = \"next\" }}\n");
    let project = project(&desk, &stream, "mode = \"merge\"\n");
    let report = run(&project);
    assert_eq!(counts(&report).0, 37, "{report}");
    once_each(&project, 37);
    let asked = desk.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|query| query["sort"] == "id" && query["size"] == "10"), "{asked:?}");
}

#[test]
fn a_counting_link_that_leads_to_its_own_page_is_noticed_at_once() {
    let desk = Desk::start(|_, query| {
        let page: u64 = query.get("page").map_or(1, |page| page.parse().unwrap());
        (200, json!({ "data": [minute(page)], "next": "?page=2" }))
    });
    let stream = format!("{ALL}query = {{ sort = \"id\" }}\npaging = {{ type = \"next_url\", url = \"next\" }}\n");
    let project = project(&desk, &stream, "mode = \"merge\"\n");
    let ended = highwater(&project, &["run", "items"]).run().expect_code(1);
    assert!(ended.stderr.contains("leads to the very page it came with"), "{ended:?}");
    assert_eq!(desk.asked().len(), 2);
}

#[test]
fn records_of_which_no_column_has_a_type_yet_are_rows() {
    for mode in ["append", "replace"] {
        let rows = shelf(&[json!({}), json!({ "id": null })]);
        let desk = Desk::start(whole(&rows));
        let project = project(&desk, "", &format!("mode = \"{mode}\"\n"));
        assert_eq!(counts(&run(&project)), (2, 0, 0), "{mode}");
        assert_eq!(query(&project, "SELECT COUNT(*) AS n FROM items"), r#"{"n":2}"#, "{mode}");
        // The column comes with its first value.
        rows.lock().unwrap().push(json!({ "id": 7 }));
        run(&project);
        let expected = if mode == "append" { r#"{"n":5,"ids":1}"# } else { r#"{"n":3,"ids":1}"# };
        assert_eq!(query(&project, "SELECT COUNT(*) AS n, COUNT(id) AS ids FROM items"), expected, "{mode}");
        highwater(&project, &["verify"]).run().expect_code(0);
    }
}
