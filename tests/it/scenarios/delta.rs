//! Delta tables as their readers have them (deltalake in two ways, DuckDB, pyarrow), on a disk and in a bucket, after every kind of
//! run; and other writers at the same table.

use std::path::Path;
use std::sync::Arc;

use highwater::config::catalog::TableFormat;
use highwater::store::Store;
use serde_json::{Value, json};

use super::kill::effects;
use super::loads::{api_with, run};
use super::merges::{Lab, block_on, record};
use crate::rust_text::read;
use crate::world::api::{FakeApi, Pages, Record, Stream};
use crate::world::bucket::{Bucket, Gate, S3Gate};
use crate::world::feed;
use crate::world::kind::{Kind, Tried, prepared, tried};
use crate::world::oracle::{Oracle, foreign};
use crate::world::program::highwater;
use crate::world::project::Project;
use crate::world::skip;

const SIGKILL: i32 = 9;

/// A project whose sink `lake` makes Delta tables, and where another program finds the table `items`.
struct Lake {
    project: Project,
    bucket: Option<Bucket>,
}

/// Tables of both places, whose kinds are noted where the program works on them.
fn witnessed(lake: Lake, tried: &Tried) -> Lake {
    Lake { project: lake.project.witnessed(tried), ..lake }
}

impl Lake {
    fn on_disk(api: &FakeApi) -> Self {
        // The example that ships.
        let project = Project::of_items_to(&read("sinks/delta.toml"), api, &Pages::Token, 5);
        Lake { project, bucket: None }
    }

    /// `None` where there is no server.
    fn in_bucket(api: &FakeApi) -> Option<Self> {
        let bucket = Bucket::new()?;
        let project = Project::of_items_in(&bucket, &bucket.endpoint, api, &Pages::Token, 5);
        project.edit("sinks/lake.toml", "\"parquet\"", "\"delta\"");
        Some(Lake { project, bucket: Some(bucket) })
    }

    fn all(api: &FakeApi) -> Vec<Self> {
        [Some(Lake::on_disk(api)), Lake::in_bucket(api)].into_iter().flatten().collect()
    }

    fn mode(self, mode: &str) -> Self {
        self.project.edit("jobs/items.toml", "mode = \"append\"", &format!("mode = \"{mode}\""));
        self
    }

    fn place(&self) -> Value {
        match &self.bucket {
            None => json!(self.project.at("delta/items")),
            Some(bucket) => json!({ "endpoint": bucket.endpoint, "bucket": bucket.name, "prefix": "raw/items" }),
        }
    }

    /// A run that commits so many records, and a second one that has nothing to do.
    fn load(&self, commits: u64) {
        assert_eq!(run(&self.project)["commits"], commits);
        let before = self.listing();
        assert_eq!(run(&self.project)["commits"], 0);
        assert_eq!(self.listing(), before, "the second run wrote");
        highwater(&self.project, &["verify"]).run().expect_code(0);
    }

    fn listing(&self) -> Vec<String> {
        match &self.bucket {
            None => self.project.listing("delta").into_iter().map(|(name, about)| format!("{name} {about:?}")).collect(),
            Some(bucket) => bucket.objects().into_iter().collect(),
        }
    }

    /// What `query` counts.
    fn count(&self) -> u64 {
        let sql = "SELECT COUNT(*) AS n FROM items";
        highwater(&self.project, &["query", sql, "--json"]).run().expect_code(0).json()["n"].as_u64().unwrap()
    }

    /// The data files in the table's folder.
    fn files(&self) -> usize {
        let is_data = |name: &&String| name.contains("/items/") && name.contains("/part-") && !name.contains("_highwater");
        self.listing().iter().filter(is_data).count()
    }
}

/// A record of the kind that the feeds of this file have.
fn item(id: u64, at: &str, kind: &str, more: &str) -> Record {
    let kind = if kind == "null" { kind.to_owned() } else { serde_json::to_string(kind).unwrap() };
    Record {
        json: format!("{{\"id\":{id},\"updated_at\":\"{at}\",\"gone\":false,\"kind\":{kind}{more}}}"),
        cursor: Some(at.parse().unwrap()),
    }
}

fn oracle(test: &str) -> Option<Oracle> {
    let oracle = Oracle::new();
    if oracle.is_none() || Bucket::new().is_none() {
        skip(test, "the independent readers or the S3 server are not installed");
        return None;
    }
    oracle
}

#[test]
fn a_delta_table_without_a_record_has_nothing_wrong_with_it() {
    let lab = Lab::new("mode = \"merge\"", "", "");
    let problems = block_on(highwater::sink::delta::verify(Arc::new(lab.store.clone()), &lab.job.dataset)).expect("verified");
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn rows_and_columns_come_to_a_delta_table_and_every_reader_finds_them() {
    let Some(mut oracle) = oracle("rows_and_columns_come_to_a_delta_table") else { return };
    let mut truth = feed::plain(1, 20, "2026-01-31T23:50:00Z");
    // Values that a statistic must not lie about, and of every type that is inferred.
    let typed = "\"f\":1.5,\"neg\":-0.0,\"big\":9223372036854775807,\"ok\":true,\"day\":\"1969-12-31\",\"at\":\"2026-01-01T00:00:00.000001Z\",\
                 \"tags\":[\"a\",null],\"who\":{\"name\":\"x\",\"at\":\"1960-01-01T00:00:00.9999Z\"}";
    let long = "\u{10ffff}é".repeat(60);
    let second: Vec<Record> = feed::plain(21, 4, "2026-03-01T00:10:00Z")
        .into_iter()
        .map(|plain| Record { json: plain.json.replace("\"name\":\"n", &format!("{typed},\"name\":\"{long}")), ..plain })
        .collect();
    let third: Vec<Record> = feed::plain(25, 2, "2026-03-02T00:10:00Z")
        .into_iter()
        .map(|plain| Record {
            json: plain.json.replace("\"name\"", "\"who\":{\"age\":7},\"lines\":[{\"sku\":\"s\",\"n\":1}],\"name\""),
            ..plain
        })
        .collect();
    let api = api_with(Pages::Token, 5, truth.clone());
    let lakes = Lake::all(&api);
    for lake in &lakes {
        lake.load(1);
    }
    for (news, now) in [(second, "2026-03-02T00:00:00Z"), (third, "2026-03-03T00:00:00Z")] {
        api.add_records("items", news.clone());
        api.set_now(now);
        truth.extend(news);
        for lake in &lakes {
            lake.load(1);
        }
    }
    for lake in &lakes {
        // The table, and three records of it.
        let case = oracle.expect_delta("appended", &lake.place(), &truth);
        case["commits"] = 3.into();
        case["spark"] = true.into();
        assert_eq!(lake.count(), 26);
        assert_eq!(foreign(&lake.place(), &["rows", "1"]), (1, 20), "an older version is still there");
    }
    oracle.check();
}

#[test]
fn a_merge_changes_moves_and_deletes_rows_of_a_delta_table() {
    let Some(mut oracle) = oracle("a_merge_changes_moves_and_deletes_rows_of_a_delta_table") else { return };
    // Folders whose names are escaped, once for the store and once more for the log.
    let kinds = ["plain", "a/b %25 c", "ü=\"x\"", "null", "2026-01-01", "nan"];
    let at = |minute: usize| format!("2026-02-01T00:{minute:02}:00Z");
    let first: Vec<Record> = (0..18).map(|id| item(id as u64, &at(id), kinds[id % kinds.len()], "")).collect();
    let api = api_with(Pages::Token, 5, first.clone());
    let lakes: Vec<Lake> = Lake::all(&api).into_iter().map(|lake| lake.mode("merge")).collect();
    for lake in &lakes {
        lake.project.edit("jobs/items.toml", "[\"month(updated_at)\"]", "[\"kind\"]\non_delete = \"hard\"");
        lake.project.edit("sources/api.toml", "primary_key = [\"id\"]\n", "primary_key = [\"id\"]\ndeleted = \"gone\"\n");
        lake.load(1);
        oracle.expect_delta("loaded", &lake.place(), &first);
    }
    oracle.check();

    let later = |minute: usize| format!("2026-03-01T00:{minute:02}:00Z");
    let mut news = vec![
        // Changed, moved to another folder and to a new one, new, and two that are gone: one of them the last of its folder.
        item(0, &later(1), "plain", ",\"note\":\"changed\""),
        item(1, &later(2), "plain", ",\"note\":\"moved\""),
        item(2, &later(3), "brand new", ",\"note\":null"),
        item(40, &later(4), "nan", ",\"note\":\"new\""),
    ];
    let mut truth: Vec<Record> = first
        .into_iter()
        .filter(|record| {
            !["\"id\":0,", "\"id\":1,", "\"id\":2,", "\"id\":4,", "\"id\":5,", "\"id\":10,", "\"id\":16,"]
                .iter()
                .any(|id| record.json.contains(id))
        })
        .collect();
    truth.extend(news.clone());
    for (minute, id) in [4, 5, 10, 16].into_iter().enumerate() {
        let json = item(id, &later(10 + minute), "-", "").json.replace("\"gone\":false", "\"gone\":true");
        news.push(Record { json, cursor: Some(later(10 + minute).parse().unwrap()) });
    }
    api.add_records("items", news);
    api.set_now("2026-03-02T00:00:00Z");
    let mut oracle = Oracle::new().unwrap();
    for lake in &lakes {
        let before = lake.files();
        lake.load(1);
        assert!(lake.files() > before, "files that were replaced stay for readers of older versions");
        assert_eq!(lake.count(), truth.len() as u64);
        assert_eq!(foreign(&lake.place(), &["rows", "1"]), (1, 18), "an older version is still there");
        let case = oracle.expect_delta("merged", &lake.place(), &truth);
        case["commits"] = 2.into();
        case["spark"] = true.into();
    }
    oracle.check();
}

#[test]
fn a_delta_table_is_replaced_in_one_commit() {
    let Some(mut oracle) = oracle("a_delta_table_is_replaced_in_one_commit") else { return };
    let api = api_with(Pages::Token, 5, feed::plain(1, 20, "2026-01-31T23:50:00Z"));
    let lakes: Vec<Lake> = Lake::all(&api).into_iter().map(|lake| lake.mode("replace")).collect();
    for lake in &lakes {
        lake.load(1);
    }
    let truth = feed::plain(11, 15, "2026-02-10T00:00:00Z");
    let api_now = Stream { pages: Pages::Token, page_size: 5, records: truth.clone() };
    api.put_stream("items", api_now);
    for lake in &lakes {
        lake.load(1);
        assert_eq!(lake.count(), 15);
        assert_eq!(foreign(&lake.place(), &["rows", "1"]), (1, 20));
        let case = oracle.expect_delta("replaced", &lake.place(), &truth);
        case["commits"] = 2.into();
        case["spark"] = true.into();
    }
    oracle.check();
}

/// Ten rows, of which five come again in the slice after it, in another folder.
fn versions() -> (Vec<Record>, Vec<Record>) {
    let (old, new) = (feed::plain(1, 10, "2026-01-31T23:55:00Z"), feed::plain(6, 10, "2026-02-14T23:55:00Z"));
    ([old[..].to_vec(), new.clone()].concat(), [old[..5].to_vec(), new].concat())
}

#[test]
fn a_process_is_killed_wherever_it_writes_a_delta_log() {
    // D-01 on delta-local, delta-s3
    let Some(_) = oracle("a_process_is_killed_wherever_it_writes_a_delta_log") else { return };
    let tried = tried!();
    let (records, truth) = versions();
    let api = api_with(Pages::Token, 5, records);
    let slices = |lake: Lake| {
        lake.project.edit(
            "jobs/items.toml",
            "[window]\nstart = \"2026-01-01T00:00:00Z\"\n",
            "[window]\nstart = \"2026-01-31T00:00:00Z\"\nstep = \"14d\"\n",
        );
        lake.mode("merge")
    };
    let kinds: [fn(&FakeApi) -> Option<Lake>; 2] = [|api| Some(Lake::on_disk(api)), Lake::in_bucket];
    for make in kinds {
        let make = |api: &FakeApi| make(api).map(|lake| witnessed(lake, &tried));
        let log = effects(&slices(make(&api).unwrap()).project);
        let is_written = |name: &str| name.contains("put_absent items/_delta_log");
        let places: Vec<usize> = (1..=log.len()).filter(|at| is_written(&log[at - 1])).collect();
        assert!(places.len() >= 3, "{log:#?}");
        let mut oracle = Oracle::new().unwrap();
        let mut kept = Vec::new();
        for (at, side) in places.iter().flat_map(|at| [(*at, "before"), (*at, "after")]) {
            let lake = slices(make(&api).unwrap());
            let died = highwater(&lake.project, &["run", "items"]).env("HIGHWATER_FAULT", &format!("kill-{side}:{at}")).run();
            assert_eq!(died.signal, Some(SIGKILL), "{died:?}");
            run(&lake.project);
            highwater(&lake.project, &["verify"]).run().expect_code(0);
            let name = format!("killed {side} effect {at}, `{}`", log[at - 1]);
            // Made once, and a commit for each slice: nothing is in the log twice.
            oracle.expect_delta(&name, &lake.place(), &truth)["commits"] = 2.into();
            kept.push(lake);
        }
        oracle.check();
    }
}

#[test]
fn commits_of_a_delta_log_whose_answers_are_lost_stand_once() {
    // D-13 on delta-s3
    let Some(mut oracle) = oracle("commits_of_a_delta_log_whose_answers_are_lost_stand_once") else { return };
    let (records, truth) = versions();
    let api = api_with(Pages::Token, 5, records);
    let tried = tried!();
    let lake = witnessed(Lake::in_bucket(&api).unwrap().mode("merge"), &tried);
    let bucket = lake.bucket.as_ref().unwrap();
    let gate = S3Gate::before(&bucket.endpoint);
    lake.project.edit("sinks/lake.toml", &bucket.endpoint, &gate.endpoint());
    gate.set(Gate::LosesAnswers);
    assert_eq!(run(&lake.project)["commits"], 1);
    // The decision, the table and its first commit at least were applied and told as failed.
    assert!(gate.spoiled() >= 3, "{} were spoiled", gate.spoiled());
    oracle.expect_delta("lost answers", &lake.place(), &truth)["commits"] = 1.into();
    oracle.check();
}

#[test]
fn what_others_append_to_a_delta_table_stays_and_is_no_affair_of_ours() {
    let Some(_) = oracle("what_others_append_to_a_delta_table_stays") else { return };
    // D-47 on delta-local, delta-s3
    let tried = tried!();
    for mode in ["append", "merge"] {
        let api = api_with(Pages::Token, 5, feed::plain(1, 10, "2026-02-01T00:00:00Z"));
        for lake in Lake::all(&api) {
            let lake = witnessed(lake.mode(mode), &tried);
            api.set_now("2026-03-01T00:00:00Z");
            assert_eq!(run(&lake.project)["commits"], 1);
            assert_eq!(foreign(&lake.place(), &["append", "1000", "1001"]), (2, 12));
            api.add_records("items", feed::plain(100, 3, "2026-03-01T00:10:00Z"));
            api.set_now("2026-03-02T00:00:00Z");
            assert_eq!(run(&lake.project)["commits"], 1);
            assert_eq!(foreign(&lake.place(), &["rows", "3"]), (3, 15));
            assert_eq!(lake.count(), 13, "ours alone");
            let verified = highwater(&lake.project, &["verify"]).run().expect_code(1);
            assert!(verified.stdout.contains("no record names it"), "{verified:?}");
            api.put_stream(
                "items",
                Stream { pages: Pages::Token, page_size: 5, records: feed::plain(1, 10, "2026-02-01T00:00:00Z") },
            );
        }
    }
}

#[test]
fn a_merge_that_writes_all_of_our_files_anew_leaves_what_others_appended() {
    let Some(_) = oracle("a_merge_that_writes_all_of_our_files_anew_leaves_what_others_appended") else { return };
    // D-47 on delta-local, delta-s3
    let tried = tried!();
    for on_disk in [true, false] {
        let api = api_with(Pages::Token, 5, feed::plain(1, 10, "2026-02-01T00:00:00Z"));
        let lake = if on_disk { Lake::on_disk(&api) } else { Lake::in_bucket(&api).unwrap() };
        let lake = witnessed(lake.mode("merge"), &tried);
        api.set_now("2026-03-01T00:00:00Z");
        assert_eq!(run(&lake.project)["commits"], 1);
        assert_eq!(foreign(&lake.place(), &["append", "1000", "1001"]), (2, 12));
        // A newer version of a row in our one file.
        api.add_records("items", feed::plain(3, 1, "2026-03-01T00:10:00Z"));
        api.set_now("2026-03-02T00:00:00Z");
        assert_eq!(run(&lake.project)["commits"], 1);
        assert_eq!(foreign(&lake.place(), &["rows", "3"]), (3, 12), "ten rows of ours and two of others");
        assert_eq!(lake.count(), 10);
    }
}

#[test]
fn a_delta_table_that_others_rewrote_takes_appends_and_refuses_to_be_merged_into() {
    let Some(_) = oracle("a_delta_table_that_others_rewrote") else { return };
    // D-47 on delta-local, delta-s3
    let tried = tried!();
    let api = api_with(Pages::Token, 5, feed::plain(1, 5, "2026-02-01T00:00:00Z"));
    let lakes = [
        ("append", Lake::on_disk(&api)),
        ("merge", Lake::on_disk(&api).mode("merge")),
        ("merge", Lake::in_bucket(&api).unwrap().mode("merge")),
    ]
    .map(|(mode, lake)| (mode, witnessed(lake, &tried)));
    // Without a key an append looks into no file.
    lakes[0].1.project.edit("sources/api.toml", "primary_key = [\"id\"]\n", "");
    let load = |lake: &Lake, first: u64, count: u64, day: u32| {
        api.put_stream(
            "items",
            Stream {
                pages: Pages::Token,
                page_size: 5,
                records: feed::plain(first, count, &format!("2026-02-{day:02}T00:00:00Z")),
            },
        );
        api.set_now(&format!("2026-02-{:02}T00:00:00Z", day + 1));
        highwater(&lake.project, &["run", "items"]).run()
    };
    for (mode, lake) in &lakes {
        // Two small files in the same folder, made one.
        load(lake, 1, 5, 1).expect_code(0);
        load(lake, 6, 5, 3).expect_code(0);
        assert_eq!(foreign(&lake.place(), &["optimize"]), (3, 10));
        let ended = load(lake, 11, 5, 5);
        if *mode == "append" {
            ended.expect_code(0);
            assert_eq!(foreign(&lake.place(), &["rows", "4"]), (4, 15));
            // Our last file goes into another of theirs, and then from the disk: who learns the state anew finds the record in the log.
            foreign(&lake.place(), &["optimize"]);
            for _ in 0..2 {
                highwater(&lake.project, &["state", "rebuild", "items"]).run().expect_code(0);
                load(lake, 11, 5, 5).expect_code(0);
                assert_eq!(foreign(&lake.place(), &["rows", "5"]), (5, 15));
                assert_eq!(foreign(&lake.place(), &["vacuum"]).1, 15);
            }
            continue;
        }
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("another writer has rewritten it"), "{ended:?}");
        // The way out that the refusal names.
        assert_eq!(foreign(&lake.place(), &["restore", "2"]), (4, 10));
        load(lake, 11, 5, 5).expect_code(0);
        assert_eq!(foreign(&lake.place(), &["rows", "5"]), (5, 15));
        // The file that they made counts no more; it stays until they clean up.
        assert_eq!(foreign(&lake.place(), &["vacuum"]).1, 15);
        highwater(&lake.project, &["verify"]).run().expect_code(0);
    }
}

#[test]
fn a_delta_table_is_refused_under_properties_that_forget_or_forbid() {
    let Some(_) = oracle("a_delta_table_is_refused_under_properties") else { return };
    // D-48 on delta-local, delta-s3
    let tried = tried!();
    let api = api_with(Pages::Token, 5, feed::plain(1, 5, "2026-02-01T00:00:00Z"));
    for lake in Lake::all(&api) {
        let lake = witnessed(lake.mode("merge"), &tried);
        assert_eq!(run(&lake.project)["commits"], 1);
        for (name, value, back) in [
            ("delta.setTransactionRetentionDuration", "interval 1 second", "interval 10000 days"),
            ("delta.appendOnly", "true", "false"),
        ] {
            foreign(&lake.place(), &["set", name, value]);
            let refused = highwater(&lake.project, &["run", "items"]).run();
            assert_eq!(refused.code, Some(78), "{refused:?}");
            assert!(refused.stderr.contains(name), "{refused:?}");
            foreign(&lake.place(), &["set", name, back]);
            assert_eq!(run(&lake.project)["commits"], 0);
        }
    }
}

#[test]
fn five_processes_make_one_table_and_commit_each_slice_once() {
    // D-45 on delta-local, delta-s3
    let Some(mut oracle) = prepared("five_processes_make_one_table_and_commit_each_slice_once") else { return };
    let tried = tried!();
    let api = api_with(Pages::Token, 5, feed::plain(1, 10, "2026-02-01T00:00:00Z"));
    let mut kept = Vec::new();
    for kind in Kind::DELTA {
        let table = tried.table(kind, &api, 5);
        let sink = std::fs::read_to_string(table.at("sinks/lake.toml")).unwrap();
        let sink = sink.replace("url = \"lake\"", &format!("url = {:?}", table.at("lake").to_string_lossy()));
        // Each with a state of its own.
        let projects = [(); 5].map(|()| Project::of_items_to(&sink, &api, &Pages::Token, 5).witnessed(&tried));
        std::thread::scope(|scope| {
            for project in &projects {
                scope.spawn(|| highwater(project, &["run", "items"]).run());
            }
        });
        for project in &projects {
            assert_eq!(run(project)["commits"], 0, "{kind}");
        }
        highwater(&projects[0], &["verify"]).run().expect_code(0);
        // The table, and one commit of the one slice.
        table.expect(&mut oracle, "made by five", &feed::plain(1, 10, "2026-02-01T00:00:00Z"))["commits"] = 1.into();
        kept.push(table);
    }
    oracle.check();
}

#[test]
fn a_delta_log_is_cleaned_up_between_decision_and_commit() {
    // D-46 on delta-local, delta-s3
    let Some(mut oracle) = prepared("a_delta_log_is_cleaned_up_between_decision_and_commit") else { return };
    let tried = tried!();
    let (records, truth) = versions();
    let api = api_with(Pages::Token, 5, records);
    let mut kept = Vec::new();
    for kind in Kind::DELTA {
        // After the commit and before it.
        for side in ["after", "before"] {
            let table = tried.table(kind, &api, 5).merging();
            let fault = format!("kill-{side}:3@put_absent items/_delta_log/");
            let died = highwater(&table, &["run", "items"]).env("HIGHWATER_FAULT", &fault).run();
            assert_eq!(died.signal, Some(SIGKILL), "{died:?}");
            let (version, _) = foreign(&table.place(), &["checkpoint"]);
            for at in 0..version {
                table.remove(&format!("items/_delta_log/{at:020}.json"));
            }
            run(&table);
            assert_eq!(run(&table)["commits"], 0, "{kind}");
            highwater(&table, &["verify"]).run().expect_code(0);
            table.expect(&mut oracle, &format!("cleaned up {side} the commit"), &truth)["commits"] = 2.into();
            kept.push(table);
        }
    }
    oracle.check();
}

#[test]
fn a_delta_table_has_its_own_past_and_no_history_of_ours() {
    let api = api_with(Pages::Token, 5, feed::plain(1, 12, "2026-02-01T00:00:00Z"));
    let lake = Lake::on_disk(&api).mode("merge");
    lake.load(1);
    let refused = highwater(&lake.project, &["state", "rollback", "items", "--to", "1", "--yes"]).run().expect_code(64);
    assert!(refused.stderr.contains("its older versions can be read as they are"), "{refused:?}");
    let gone = highwater(&lake.project, &["gc", "items", "--json"]).run().expect_code(0);
    assert!(!gone.stdout.contains("delta/"), "{gone:?}");
    // What a table is made of does not change in its place.
    lake.project.edit("sinks/lake.toml", "type = \"delta\"", "type = \"parquet\"");
    let refused = highwater(&lake.project, &["run", "items", "--full", "--yes"]).run();
    assert!(refused.code != Some(0) && refused.stderr.contains("does not become another kind of table"), "{refused:?}");
    lake.project.edit("sinks/lake.toml", "type = \"parquet\"", "type = \"delta\"");
    lake.project.edit("jobs/items.toml", "mode = ", "history = \"1d\"\nmode = ");
    let refused = highwater(&lake.project, &["check"]).run().expect_code(78);
    assert!(refused.stdout.contains("a Delta table has no history of files"), "{refused:?}");
}

/// The lake of a test as files, for readers that know no memory.
fn mirror(lab: &Lab, folder: &Path) {
    for object in block_on(lab.store.list("items")).unwrap() {
        let target = folder.join(&object.path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, block_on(lab.store.get(&object.path, 1 << 24)).unwrap().unwrap()).unwrap();
    }
}

#[test]
fn checkpoints_take_over_from_the_log_and_old_files_go_after_a_week() {
    // D-46
    let Some(mut oracle) = oracle("checkpoints_take_over_from_the_log") else { return };
    let mut lab = Lab::new("mode = \"merge\"", "", "");
    lab.job.sink.format = TableFormat::Delta;
    // The daily collection takes whatever it thinks is nobody's, however young: old versions and the log are not.
    lab.job.keep.gc_min_age = jiff::SignedDuration::ZERO;
    let files = || block_on(lab.store.list("items")).unwrap();
    let logged =
        |end: &str| files().iter().filter(|object| object.path.contains("_delta_log/") && object.path.ends_with(end)).count();
    let data = || files().iter().filter(|object| !object.path.contains("_delta_log/")).count();
    // The log's parts are of today: by this clock they are long past their retention, so a checkpoint cleans up at once.
    let (mut at, typed) = (String::new(), "\"kind\":\"k\",\"hidden\":false");
    for day in 1..=25 {
        at = format!("2036-01-{day:02}T00:00:00Z");
        lab.load(&[record("1", &at, &format!("\"name\":\"n{day}\",{typed}"))], &format!("2036-01-{day:02}T01:00:00Z"));
    }
    assert_eq!(logged(".checkpoint.parquet"), 1, "older ones went with what they stood for");
    assert!(logged(".json") <= 10, "{:?}", files());
    // One of each of the last seven days and of the one that counts, at most one more for the time of day.
    assert!((8..=9).contains(&data()), "{} files", data());
    let folder = tempfile::tempdir().unwrap();
    mirror(&lab, folder.path());
    let truth = [record("1", &at, &format!("\"name\":\"n25\",{typed}"))];
    let case = oracle.expect_delta("cleaned", &json!(folder.path().join("items")), &truth);
    case["commits"] = 25.into();
    case["spark"] = true.into();
    oracle.check();
    assert_eq!(foreign(&json!(folder.path().join("items")), &["rows", "22"]), (22, 1), "a version of three days ago");
    assert_eq!(lab.load(&truth, "2036-01-25T02:00:00Z").commits, 0);
}
