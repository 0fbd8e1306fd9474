//! Reading again by hand: ranges, everything, marks; shown first, confirmed, and written down.

use serde_json::Value;

use super::loads::{api_with, mark, run};
use crate::world::api::{FakeApi, Pages, Record};
use crate::world::feed;
use crate::world::program::{Ended, highwater};
use crate::world::project::Project;

const START: &str = "2026-02-01T00:00:00Z";

fn table(mode: &str) -> (FakeApi, Project) {
    let api = api_with(Pages::Page, 10, feed::plain(1, 30, START));
    let project = Project::of_items(&api, &Pages::Page, 10);
    project.edit("jobs/items.toml", "mode = \"append\"", &format!("mode = \"{mode}\""));
    run(&project);
    (api, project)
}

fn call(project: &Project, args: &[&str], code: i32) -> Ended {
    highwater(project, args).env("USER", "alice").run().expect_code(code)
}

fn state(project: &Project) -> Value {
    call(project, &["state", "show", "items", "--json"], 0).json()[0].take()
}

fn rows(project: &Project) -> String {
    call(project, &["query", "SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM items", "--json"], 0).stdout.trim().to_owned()
}

/// The last record of the table's log.
fn last_record(project: &Project) -> Value {
    let log = project.listing("lake/_highwater/items/log");
    let path = project.at(log.keys().next_back().unwrap());
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_rebuild_does_not_take_a_log_that_lost_its_end_for_all_there_is() {
    let (api, project) = table("append");
    let late = "{\"id\":900,\"updated_at\":\"2026-03-04T00:00:00Z\",\"name\":\"late\"}";
    api.add_records("items", [Record { json: late.to_owned(), cursor: Some("2026-03-04T00:00:00Z".parse().unwrap()) }]);
    api.set_now("2026-03-06T00:00:00Z");
    run(&project);
    let (known, rows_before) = (state(&project), rows(&project));
    let last = project.listing("lake/_highwater/items/log").into_keys().next_back().unwrap();
    let kept = std::fs::read(project.at(&last)).unwrap();
    for gone in [last.as_str(), "lake/_highwater/items/current.json"] {
        std::fs::remove_file(project.at(gone)).unwrap();
    }
    for args in [&["state", "rebuild", "items"][..], &["run", "items"], &["state", "rebuild", "items"]] {
        let refused = call(&project, args, 1);
        assert!(refused.stderr.contains("no record of its log names"), "{refused:?}");
    }
    // With the copy that the message asks for everything is as it was.
    std::fs::write(project.at(&last), kept).unwrap();
    call(&project, &["state", "rebuild", "items"], 0);
    run(&project);
    assert_eq!((rows(&project), &state(&project)["seq"]), (rows_before, &known["seq"]));
    call(&project, &["verify"], 0);
}

#[test]
fn one_table_that_is_broken_keeps_upkeep_from_no_other() {
    let (_api, project) = table("append");
    let job = std::fs::read_to_string(project.at("jobs/items.toml")).unwrap();
    project.write("jobs/other.toml", &job.replace("version = 1\n", "version = 1\ntable = \"other\"\n"));
    call(&project, &["run", "other"], 0);
    let first = project.listing("lake/_highwater/items/log").into_keys().next().unwrap();
    std::fs::write(project.at(&first), "{}").unwrap();
    std::fs::remove_file(project.at("lake/_highwater/items/current.json")).unwrap();
    for args in [&["gc", "--json"][..], &["state", "rebuild", "--json"]] {
        let ended = call(&project, args, 1);
        assert!(ended.stderr.contains("items: "), "{ended:?}");
        assert_eq!(ended.json()[0]["job"], "other", "{ended:?}");
    }
}

#[test]
fn a_file_that_somebody_took_away_is_read_again_with_everything() {
    // D-67
    for (mode, spoilt) in [("merge", None), ("merge", Some("cut off")), ("merge", Some("")), ("append", None)] {
        let (api, project) = table(mode);
        let files = project.listing("lake/items").into_keys().collect::<Vec<_>>();
        let late = "{\"id\":7,\"updated_at\":\"2026-03-04T00:00:00Z\",\"name\":\"late\"}";
        let late = Record { json: late.to_owned(), cursor: Some("2026-03-04T00:00:00Z".parse().unwrap()) };
        match spoilt {
            Some(text) => std::fs::write(project.at(&files[0]), text).unwrap(),
            None => std::fs::remove_file(project.at(&files[0])).unwrap(),
        }
        if mode == "merge" {
            api.add_records("items", [late]);
            api.set_now("2026-03-06T00:00:00Z");
            let told = call(&project, &["run", "items"], 1).stderr;
            assert!(told.contains(&files[0]["lake/".len()..]) && told.contains("highwater run items --full"), "{told}");
        }
        let told = call(&project, &["state", "rollback", "items", "--to", "1", "--yes"], 1).stderr;
        assert!(told.contains("1 are not in the lake any more") && told.contains("highwater run items --full"), "{told}");
        let shown = call(&project, &["run", "items", "--full"], 64).stdout;
        assert!(shown.contains("1 file with 30 rows") && shown.contains("not in the lake any more"), "{shown}");
        call(&project, &["run", "items", "--full", "--yes"], 0);
        assert_eq!(rows(&project), r#"{"n":30,"ids":30}"#, "{mode}");
        call(&project, &["verify"], 0);
        // With all files there everything is compared with what is there, and no file leaves.
        let files = project.listing("lake/items");
        let shown = call(&project, &["run", "items", "--full", "--yes"], 0).stdout;
        assert!(shown.contains("no file now"), "{shown}");
        assert_eq!(project.listing("lake/items"), files, "{mode}");
    }
}

#[test]
fn a_range_is_shown_confirmed_and_read_again() {
    // D-66, D-67
    for mode in ["append", "merge"] {
        let (api, project) = table(mode);
        let range = ["run", "items", "--from", "2026-02-01T00:10:00Z", "--to", "2026-02-01T00:20:00Z"];
        let before = (project.listing("lake"), state(&project));

        // Without a terminal nobody can be asked: it says what it would do, and does nothing.
        let ended = call(&project, &range, 64);
        assert!(ended.stdout.contains("1 because of this") && ended.stderr.contains("add --yes"), "{ended:?}");
        let preview = call(&project, &[&range[..], &["--json"]].concat(), 64).json();
        assert_eq!((&preview["slices_again"], &preview["generation"]), (&1.into(), &2.into()), "{preview}");
        assert_eq!((project.listing("lake"), state(&project)), before, "{mode}");

        // A row has changed in the range, and one there is that had never been seen.
        let late = |id: u64, name: &str, at: &str| Record {
            json: format!("{{\"id\":{id},\"updated_at\":\"{at}\",\"name\":\"{name}\"}}"),
            cursor: Some(at.parse().unwrap()),
        };
        api.add_records("items", [late(500, "late", "2026-02-01T00:15:30Z")]);
        api.forget();
        let ended = call(&project, &[&range[..], &["--yes", "--why", "rows came late", "--json"]].concat(), 0);
        let report = ended.json()[0].take();
        assert_eq!((&report["counts"]["kept"], &report["counts"]["unchanged"]), (&1.into(), &10.into()), "{mode}: {report}");
        assert_eq!(rows(&project), r#"{"n":31,"ids":31}"#, "{mode}");
        assert_eq!(state(&project)["mark"], before.1["mark"], "the hole is filled");

        let note = report["rewound"].as_str().unwrap();
        assert!(
            note.starts_with(
                "run --from 2026-02-01T00:10:00Z --to 2026-02-01T00:20:00Z, asked for by alice, because: rows came late"
            ),
            "{note}"
        );
        let events = state(&project)["events"].to_string();
        assert!(events.contains("\"audit\"") && events.contains("asked for by alice"), "{events}");
        assert_eq!(state(&project)["state"]["generation"], 2);

        // A second run changes nothing.
        let lake = project.listing("lake");
        assert_eq!(run(&project)["commits"], 0);
        assert_eq!(project.listing("lake"), lake);
        call(&project, &["verify"], 0);
    }
}

#[test]
fn what_is_read_because_of_it_is_counted_where_slices_grow_too() {
    // The window has no step: what is read again and what is new anyway are one slice.
    let (api, project) = table("merge");
    api.add_records("items", feed::plain(600, 3, "2026-03-05T00:00:00Z"));
    api.set_now("2026-03-10T00:00:00Z");
    let ended = call(&project, &["run", "items", "--from", "2026-02-01"], 64);
    assert!(ended.stdout.contains("1 slice (1 because of this)"), "{}", ended.stdout);
    let preview = call(&project, &["run", "items", "--from", "2026-02-01", "--json"], 64).json();
    assert_eq!((&preview["slices"], &preview["slices_again"]), (&1.into(), &1.into()), "{preview}");
}

#[test]
fn everything_is_read_again_and_what_is_the_same_stays() {
    let (_api, project) = table("merge");
    let report = call(&project, &["run", "items", "--full", "--yes", "--json"], 0).json()[0].take();
    assert_eq!((&report["counts"]["kept"], &report["counts"]["unchanged"]), (&0.into(), &30.into()), "{report}");
    assert_eq!(rows(&project), r#"{"n":30,"ids":30}"#);
}

#[test]
fn another_definition_is_loaded_anew() {
    let (_api, project) = table("append");
    project.edit("jobs/items.toml", "month(updated_at)", "hour(updated_at)");
    let ended = call(&project, &["run", "items"], 78);
    assert!(ended.stderr.contains("highwater run items --full"), "{}", ended.stderr);
    let ended = call(&project, &["run", "items", "--from", "2026-02-01", "--yes"], 64);
    assert!(ended.stderr.contains("--full"), "{}", ended.stderr);
    let ended = call(&project, &["run", "items", "--full"], 64);
    assert!(ended.stdout.contains("partition_by was") && ended.stdout.contains("1 file with 30 rows"), "{}", ended.stdout);
    call(&project, &["run", "items", "--full", "--yes"], 0);
    assert_eq!(rows(&project), r#"{"n":30,"ids":30}"#);
    assert!(project.listing("lake/items").keys().all(|path| path.contains("updated_at_hour=")));
    call(&project, &["verify"], 0);
    assert_eq!(run(&project)["commits"], 0);
}

#[test]
fn a_table_that_went_back_to_an_older_definition_is_emptied_before_it_is_loaded_by_a_new_one() {
    // D-67
    for (file, before, after) in [
        ("sources/api.toml", "primary_key = [\"id\"]", "primary_key = [\"name\", \"id\"]"),
        ("jobs/items.toml", "[\"month(updated_at)\"]", "[\"year(updated_at)\"]"),
    ] {
        let (_api, project) = table("merge");
        let loaded = rows(&project);
        project.edit(file, before, after);
        call(&project, &["run", "items", "--full", "--yes"], 0);
        let last = project.listing("lake/_highwater/items/log").len();
        call(&project, &["state", "rollback", "items", "--to", "1", "--yes"], 0);
        assert_eq!(rows(&project), loaded);
        // The table is of the older definition, and the job of the new one.
        let refused = call(&project, &["run", "items"], 78);
        assert!(refused.stderr.contains("was loaded differently"), "{}", refused.stderr);
        call(&project, &["run", "items", "--full", "--yes"], 0);
        assert_eq!(rows(&project), loaded, "{after}");
        call(&project, &["verify"], 0);
        call(&project, &["state", "rollback", "items", "--to", &last.to_string(), "--yes"], 0);
        assert_eq!(rows(&project), loaded);
        run(&project);
    }
}

#[test]
fn a_mark_is_set_and_the_next_run_reads_from_there() {
    // D-67
    let (api, project) = table("merge");
    let ended = call(&project, &["state", "set", "items", "--mark", "2026-02-01T00:25:00Z", "--yes"], 0);
    assert!(
        ended.stdout.contains("rewound: items: state set --mark 2026-02-01T00:25:00Z, asked for by alice"),
        "{}",
        ended.stdout
    );
    assert_eq!(mark(&project), "2026-02-01T00:25:00Z");
    let record = last_record(&project);
    assert_eq!((&record["kind"], &record["generation"]), (&"rewind".into(), &2.into()), "{record}");
    assert!(record["note"].as_str().unwrap().contains("alice"));

    // The same once more changes nothing.
    let lake = project.listing("lake");
    let ended = call(&project, &["state", "set", "items", "--mark", "2026-02-01T00:25:00Z", "--yes"], 0);
    assert!(ended.stdout.contains("it was so already"), "{}", ended.stdout);
    assert_eq!(project.listing("lake"), lake);

    api.forget();
    let report = run(&project);
    assert_eq!(report["counts"]["unchanged"], 5, "{report}");
    assert!(api.seen()[0].query["from"].starts_with("2026-02-01T00:24:59"), "{:?}", api.seen());
    assert_eq!(rows(&project), r#"{"n":30,"ids":30}"#);
}

#[test]
fn a_table_begins_where_it_is_told_to() {
    let api = api_with(Pages::Page, 10, feed::plain(1, 30, START));
    let project = Project::of_items(&api, &Pages::Page, 10);
    call(&project, &["state", "set", "items", "--mark", "2026-02-01T00:20:00Z", "--yes"], 0);
    assert_eq!(run(&project)["counts"]["kept"], 10);
    assert_eq!(rows(&project), r#"{"n":10,"ids":10}"#);
    call(&project, &["verify"], 0);
}

#[test]
fn what_makes_no_sense_is_a_wrong_command_line() {
    let (_api, project) = table("append");
    let ended = call(&project, &["state", "set", "items", "--mark", "yesterday"], 64);
    assert!(ended.stderr.contains("neither an instant"), "{}", ended.stderr);
    project.edit("sources/api.toml", "primary_key = [\"id\"]\n", "");
    for (args, said) in [
        (&["run", "--full", "--yes"][..], "name the job"),
        (&["run", "items", "--yes"], "belong to --full"),
        (&["run", "items", "--from", "7", "--yes"], "--full"),
        (&["run", "items", "--full", "--set", "a=1", "--yes"], "has no parameter set `a=1`"),
    ] {
        let ended = call(&project, args, 64);
        assert!(ended.stderr.contains(said), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn a_state_whose_first_run_was_killed_at_once_is_no_end_to_reading_again() {
    for args in [&["run", "items", "--full", "--yes"][..], &["state", "set", "items", "--mark", "2026-02-10T00:00:00Z", "--yes"]]
    {
        let api = api_with(Pages::Page, 10, feed::plain(1, 30, START));
        let project = Project::of_items(&api, &Pages::Page, 10);
        project.write("state/highwater.db", "");
        call(&project, &["status"], 78);
        call(&project, args, 0);
        run(&project);
        call(&project, &["verify"], 0);
    }
}

#[test]
fn what_a_killed_writer_was_writing_is_collected_after_a_day() {
    // D-69
    let (_api, project) = table("append");
    let before = project.listing("lake");
    let ours = [
        "_highwater/items/staging/01900000-0000-7000-8000-000000000000/0000.staged#1",
        "_highwater/items/staging/01900000-0000-7000-8000-000000000000/0001.staged#12",
        "_highwater/items/log/00000000000000000001.json#1",
        "_highwater/items/current.json#2",
        "items/_delta_log/00000000000000000007.json#1",
    ];
    // Not called as a writer calls what it writes, or not where it writes.
    let others = ["_highwater/items/log/notes#a", "_highwater/items/log/notes#01", "items/notes#1"];
    let day = std::time::Duration::from_secs(25 * 60 * 60);
    for (age, collected) in [(std::time::Duration::ZERO, 0), (day, ours.len())] {
        for path in ours.iter().chain(&others) {
            let path = project.at(&format!("lake/{path}"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "half").unwrap();
            let written = std::fs::File::options().append(true).open(&path).unwrap();
            written.set_modified(written.metadata().unwrap().modified().unwrap() - age).unwrap();
        }
        for (dry, told) in [(&["gc", "items", "--json", "--dry-run"][..], collected), (&["gc", "items", "--json"], collected)] {
            let staged = &call(&project, dry, 0).json()[0]["staged"];
            assert_eq!((&staged["objects"], &staged["bytes"]), (&told.into(), &(4 * told).into()), "{dry:?}");
        }
    }
    for path in others {
        std::fs::remove_file(project.at(&format!("lake/{path}"))).unwrap();
    }
    assert_eq!(project.listing("lake"), before);
    assert!(!project.at("lake/_highwater/items/staging/01900000-0000-7000-8000-000000000000").exists());
    call(&project, &["verify"], 0);
}

#[test]
fn a_record_gone_from_the_middle_of_the_log_is_named_and_nothing_is_collected() {
    // D-67
    let (api, project) = table("append");
    let late = "{\"id\":900,\"updated_at\":\"2026-03-04T00:00:00Z\",\"name\":\"late\"}";
    api.add_records("items", [Record { json: late.to_owned(), cursor: Some("2026-03-04T00:00:00Z".parse().unwrap()) }]);
    api.set_now("2026-03-06T00:00:00Z");
    run(&project);
    call(&project, &["gc", "items"], 0);
    let first = project.listing("lake/_highwater/items/log").into_keys().next().unwrap();
    let kept = std::fs::read(project.at(&first)).unwrap();
    std::fs::remove_file(project.at(&first)).unwrap();
    let before = project.listing("lake");
    let told = call(&project, &["gc", "items"], 1).stderr;
    assert!(told.contains("missing from the log of items") && told.contains("highwater run items --full"), "{told}");
    assert_eq!(project.listing("lake"), before);
    std::fs::write(project.at(&first), kept).unwrap();
    call(&project, &["gc", "items"], 0);
}
