//! Reads that are committed in parts, killed between them, or led back to pages that were read before.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::cursors::{
    BY_OFFSET, BY_TOKEN, Shelf, changes_nothing, counts, in_order, instant, minute, once_each, paged, project, query, shelf,
};
use super::kill::effects;
use super::loads::{mark, run};
use crate::world::desk::{Desk, Query};
use crate::world::program::highwater;
use crate::world::project::Project;

/// Requests after which a run that should be over long ago is refused, so that it fails instead of hanging.
const REQUESTS_MAX: usize = 400;

/// A cursor of whole numbers, asked for from `after` on.
fn numbered(paging: &str) -> String {
    format!(
        "primary_key = [\"id\"]\npaging = {{ {paging} }}\n[streams.items.cursor]\nfield = \"seq\"\ntype = \"integer\"\norder = \"ascending\"\n\
         query = {{ after = \"{{{{ from }}}}\" }}\n"
    )
}

fn number(id: u64) -> Value {
    json!({ "id": id, "seq": id })
}

/// `size` records a page, of at most `cap` that one query gives, in the shelf's order.
fn by_number(shelf: &Shelf, size: usize, cap: usize) -> impl Fn(&str, &Query) -> (u16, Value) + use<> {
    let (shelf, answers) = (shelf.clone(), Mutex::new(0));
    move |_, query| {
        *answers.lock().unwrap() += 1;
        if *answers.lock().unwrap() > REQUESTS_MAX {
            return (403, json!({ "message": "this goes on for ever" }));
        }
        let after: i128 = query.get("after").map_or(i128::MIN, |after| after.parse().unwrap());
        let is_asked = |row: &&Value| i128::from(row["seq"].as_u64().unwrap()) >= after;
        let rows: Vec<Value> = shelf.lock().unwrap().iter().filter(is_asked).take(cap).cloned().collect();
        let first: usize = query.get("token").or(query.get("offset")).map_or(0, |token| token.parse().unwrap());
        let next = (first + size < rows.len()).then(|| (first + size).to_string());
        let page: Vec<Value> = rows.iter().skip(first).take(size).cloned().collect();
        (200, json!({ "data": page, "next": next, "total": rows.len() }))
    }
}

#[test]
fn a_lookback_that_is_longer_than_the_cap_comes_to_its_end() {
    for mode in ["append", "merge"] {
        let rows = shelf(&(0..300).map(number).collect::<Vec<_>>());
        let desk = Desk::start(by_number(&rows, 8, 40));
        let paging = format!("{BY_TOKEN}, result_cap = 40");
        let job = format!("mode = \"{mode}\"\nwindow = {{ lookback = 100 }}\n");
        let project = project(&desk, &numbered(&paging), &job);
        run(&project);
        once_each(&project, 300);
        assert_eq!(mark(&project), "299");
        assert!(desk.asked().len() < 100, "each part is read once");

        // What came late within the lookback is found, pieces of 40 records on.
        rows.lock().unwrap().extend((300..310).map(number));
        rows.lock().unwrap().insert(0, json!({ "id": 1000, "seq": 210 }));
        rows.lock().unwrap().sort_by_key(|row| row["seq"].as_u64());
        run(&project);
        once_each(&project, 311);
        assert_eq!(mark(&project), "309");
        changes_nothing(&project);
    }
}

#[test]
fn the_page_behind_a_commit_doubles_nothing_that_was_committed() {
    for mode in ["append", "merge"] {
        // Offsets: the page behind the commit begins with the record before it. Numbers, and instants.
        let rows = shelf(&(0..260).map(number).collect::<Vec<_>>());
        let desk = Desk::start(by_number(&rows, 2, usize::MAX));
        let numbers = project(&desk, &numbered(BY_OFFSET), &format!("mode = \"{mode}\"\n"));
        let report = run(&numbers);
        assert!(report["commits"].as_u64() >= Some(3), "{report}");
        once_each(&numbers, 260);
        changes_nothing(&numbers);

        let rows = shelf(&(0..260).map(minute).collect::<Vec<_>>());
        let desk = Desk::start(paged(&rows));
        let instants = project(&desk, &in_order("ascending", BY_OFFSET), &format!("mode = \"{mode}\"\n"));
        let report = run(&instants);
        assert!(report["commits"].as_u64() >= Some(3), "{report}");
        once_each(&instants, 260);
        changes_nothing(&instants);
    }
}

#[test]
fn a_number_that_is_committed_behind_a_greater_one_is_found_by_a_lookback() {
    // C-46: 101 is seen only after 102 was.
    for (window, ids) in [("", 101), ("window = { lookback = 10 }\n", 102)] {
        let rows = shelf(&(0..=100).chain([102]).map(number).collect::<Vec<_>>()[1..]);
        let desk = Desk::start(by_number(&rows, 8, usize::MAX));
        let project = project(&desk, &numbered(BY_TOKEN), &format!("mode = \"append\"\n{window}"));
        run(&project);
        rows.lock().unwrap().insert(100, number(101));
        run(&project);
        once_each(&project, ids);
        assert_eq!(mark(&project), "102");
        changes_nothing(&project);
    }
}

/// Right behind the commit after 100 pages, records of before go: the next page has nothing in common with the one before it, and
/// pages are gone back over that were committed.
fn steps_back(answer: impl Fn(&str, &Query) -> (u16, Value) + Send + 'static, rows: &Shelf, stream: &str, job: &str) {
    let (moving, turn) = (rows.clone(), Mutex::new(0u64));
    let desk = Desk::start(move |path, query| {
        let said = answer(path, query);
        let mut turn = turn.lock().unwrap();
        *turn += 1;
        if *turn == 100 {
            moving.lock().unwrap().drain(..7);
        }
        said
    });
    let project = project(&desk, stream, job);
    let report = run(&project);
    assert!(report["commits"].as_u64() >= Some(2), "{report}");
    let offsets: Vec<usize> = desk.asked().iter().map(|asked| asked.get("offset").map_or(0, |at| at.parse().unwrap())).collect();
    assert!(offsets[99..110].windows(2).any(|two| two[1] < two[0]), "it steps back behind the commit: {offsets:?}");
    // Those that went had been read by then.
    once_each(&project, 260);
    changes_nothing(&project);
}

#[test]
fn a_step_back_right_behind_a_commit_doubles_nothing() {
    // C-22
    for mode in ["append", "merge"] {
        let job = format!("mode = \"{mode}\"\n");
        let rows = shelf(&(0..260).map(minute).collect::<Vec<_>>());
        steps_back(paged(&rows), &rows, &in_order("ascending", BY_OFFSET), &job);
        let rows = shelf(&(0..260).map(number).collect::<Vec<_>>());
        steps_back(by_number(&rows, 2, usize::MAX), &rows, &numbered(BY_OFFSET), &job);
        // A column that changes its type behind the commit has the part read anew from the spool.
        let rows = shelf(&(0..260).map(minute).collect::<Vec<_>>());
        for (place, row) in rows.lock().unwrap().iter_mut().enumerate() {
            row["size"] = if place < 104 { json!(place) } else { json!(format!("{place} kB")) };
        }
        steps_back(paged(&rows), &rows, &in_order("ascending", BY_OFFSET), &job);
    }
}

const BUSY: &str = "[[errors]]\nat = \"error\"\nthen = \"retry\"\n[streams.items]";

#[test]
fn a_page_of_an_error_among_pages_leaves_nothing_behind() {
    // Page 2 comes as an error at first, beside records that are none; then whole, with a record of page 1 that has moved to it.
    let jobs = ["mode = \"append\"\n", "mode = \"append\"\nwindow = { lookback = 2 }\n", "mode = \"merge\"\n"];
    for job in jobs {
        let asked = Mutex::new(0);
        let desk = Desk::start(move |_, query| {
            if query.get("after").is_some_and(|after| after.parse::<u64>().unwrap() > 8) {
                return (200, json!({ "data": [] }));
            }
            let page = query.get("token").map_or("", String::as_str);
            let is_first = page == "2" && std::mem::replace(&mut *asked.lock().unwrap(), 1) == 0;
            let ids: &[u64] = match (page, is_first) {
                ("", _) => &[1, 2, 3],
                ("2", true) => &[4, 5, 900],
                ("2", false) => &[3, 4, 5],
                _ => &[5, 6, 7],
            };
            let next = match page {
                "" => json!("2"),
                "2" => json!("3"),
                _ => json!(null),
            };
            let error = if is_first { json!("busy") } else { json!(null) };
            (200, json!({ "error": error, "next": next, "data": ids.iter().map(|id| number(*id)).collect::<Vec<_>>() }))
        });
        let project = project(&desk, &numbered(BY_TOKEN).replace("order = \"ascending\"\n", ""), job);
        project.edit("sources/api.toml", "retry = { attempts = 1 }", "retry = { attempts = 3 }");
        project.edit("sources/api.toml", "[streams.items]", BUSY);
        let report = run(&project);
        assert_eq!(report["counts"]["fetched"].as_u64(), Some(9), "the error's records were none: {report}");
        assert_eq!(query(&project, "SELECT id FROM items ORDER BY id").replace("{\"id\":", ""), "1}\n2}\n3}\n4}\n5}\n6}\n7}");
        assert_eq!(mark(&project), "7", "{job}");
        changes_nothing(&project);
    }
}

/// Runs and is killed after page `page` has come; the queries of this life.
fn killed_after(project: &Project, desk: &Desk, page: u64) -> Vec<Query> {
    let probe = effects(project);
    let wanted = format!("source.fetch page {page} ");
    let at = probe.iter().position(|name| name.starts_with(&wanted)).unwrap_or_else(|| panic!("no {wanted} in {probe:#?}"));
    for folder in ["lake", "state"] {
        std::fs::remove_dir_all(project.at(folder)).unwrap();
    }
    desk.asked();
    let died = highwater(project, &["run", "items"]).env("HIGHWATER_FAULT", &format!("kill-after:{}", at + 1)).run();
    assert_eq!(died.signal, Some(9), "{died:?}");
    desk.asked()
}

#[test]
fn a_process_that_is_killed_among_pages_without_order_reads_them_again() {
    // C-18: seven pages of two; killed once the third has come.
    for mode in ["append", "merge"] {
        let mut records: Vec<Value> = (0..14).map(minute).collect();
        records.sort_by_key(|row| row["id"].as_u64().unwrap() * 5 % 14);
        let desk = Desk::start(paged(&shelf(&records)));
        let project = project(&desk, &in_order("none", BY_TOKEN), &format!("mode = \"{mode}\"\n"));
        let asked = killed_after(&project, &desk, 2);
        assert_eq!(asked.len(), 3, "{asked:?}");
        assert!(project.listing("lake").into_keys().all(|path| !path.ends_with(".parquet")), "nothing of it counts yet");
        run(&project);
        let again = desk.asked();
        assert_eq!((again.len(), &again[0]), (7, &asked[0]), "from the slice's start");
        once_each(&project, 14);
        changes_nothing(&project);
    }
}

#[test]
fn a_process_that_is_killed_behind_a_commit_goes_on_from_there() {
    // C-19: 250 pages in order; killed three pages behind the second commit on the way.
    for mode in ["append", "merge"] {
        for (paging, page) in [(BY_TOKEN, 202), (BY_OFFSET, 203)] {
            let desk = Desk::start(paged(&shelf(&(0..500).map(minute).collect::<Vec<_>>())));
            let project = project(&desk, &in_order("ascending", paging), &format!("mode = \"{mode}\"\n"));
            killed_after(&project, &desk, page);
            let committed: Value =
                serde_json::from_str(&query(&project, "SELECT COUNT(*) AS n, MAX(id) AS most FROM items")).unwrap();
            assert!(committed["n"].as_u64() > Some(195) && committed["n"].as_u64() < Some(405), "{committed}");
            run(&project);
            let again = desk.asked();
            let since = again[0].get("since").map(|since| since.parse::<jiff::Timestamp>().unwrap());
            assert!(since >= Some(instant(&minute(committed["most"].as_u64().unwrap() - 1))), "{:?}", again[0]);
            once_each(&project, 500);
            changes_nothing(&project);
        }
    }
}

#[test]
fn a_record_that_changes_twice_while_it_is_read_is_there_as_it_was_last() {
    // C-24: once before its page is read and once after it, both later than the time that the run closes.
    for mode in ["append", "merge"] {
        for order in ["none", "ascending"] {
            let rows = shelf(&(0..30).map(minute).collect::<Vec<_>>());
            let (answer, moving) = (paged(&rows), rows.clone());
            let turn = Arc::new(Mutex::new(0u64));
            let changes = |row: &mut Value, version: u64, at: &str| {
                (row["version"], row["updated_at"]) = (json!(version), json!(at));
            };
            let desk = Desk::start(move |path, query| {
                let said = answer(path, query);
                let mut turn = turn.lock().unwrap();
                let mut rows = moving.lock().unwrap();
                let place = rows.iter().position(|row| row["id"] == 20).unwrap();
                match *turn {
                    2 => changes(&mut rows[place], 2, "2026-03-01T12:00:20Z"),
                    12 => changes(&mut rows[place], 3, "2026-03-01T12:00:40Z"),
                    _ => {}
                }
                if order != "none" {
                    rows.sort_by_key(instant);
                }
                *turn += 1;
                said
            });
            let project = project(&desk, &in_order(order, BY_OFFSET), &format!("mode = \"{mode}\"\n"));
            run(&project);
            desk.set_date("Sun, 01 Mar 2026 13:00:00 GMT");
            run(&project);
            let last = query(&project, "SELECT id, MAX(version) AS version FROM items WHERE id = 20 GROUP BY id");
            assert_eq!(last, r#"{"id":20,"version":3}"#, "{mode}, {order}");
            let sql = "SELECT COUNT(DISTINCT id) AS ids FROM items";
            assert_eq!(query(&project, sql), r#"{"ids":30}"#, "{mode}, {order}: nothing else is pulled away");
            assert!(mode == "append" || counts(&run(&project)) == (0, 0, 0));
            changes_nothing(&project);
        }
    }
}
