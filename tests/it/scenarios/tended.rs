//! Tables that are tended between runs, as independent readers have them: small files joined, old partitions dropped.

use highwater::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::loads::{api_with, run};
use crate::world::api::{FakeApi, Pages, Record};
use crate::world::bucket::Bucket;
use crate::world::daemon::Daemon;
use crate::world::feed;
use crate::world::oracle::{Oracle, foreign};
use crate::world::program::highwater;
use crate::world::project::Project;
use crate::world::skip;

/// A project whose job brings a few records a run.
struct Lake {
    name: String,
    project: Project,
    bucket: Option<Bucket>,
    delta: bool,
}

impl Lake {
    fn new(api: &FakeApi, mode: &str, delta: bool, bucket: Option<Bucket>) -> Self {
        let project = match &bucket {
            None => Project::of_items(api, &Pages::Token, 5),
            Some(bucket) => Project::of_items_in(bucket, &bucket.endpoint, api, &Pages::Token, 5),
        };
        if delta {
            project.edit("sinks/lake.toml", "\"parquet\"", "\"delta\"");
        }
        project.edit("jobs/items.toml", "mode = \"append\"", &format!("mode = \"{mode}\""));
        let name = format!("{mode}, delta {delta}, bucket {}", bucket.is_some());
        Lake { name, project, bucket, delta }
    }

    fn place(&self) -> Value {
        match &self.bucket {
            None => json!(self.project.at("lake/items")),
            Some(bucket) => json!({ "endpoint": bucket.endpoint, "bucket": bucket.name, "prefix": "raw/items" }),
        }
    }

    fn expect(&self, oracle: &mut Oracle, what: &str, truth: &[Record]) {
        let name = format!("{what}: {}", self.name);
        let case = match (&self.bucket, self.delta) {
            (_, true) => oracle.expect_delta(&name, &self.place(), truth),
            (Some(bucket), _) => oracle.expect_in(&name, bucket, truth),
            (None, _) => oracle.expect(&name, &self.project.at("lake/items"), truth),
        };
        // Of an append every version is a row.
        case["key"] = json!(["id", "name"]);
    }

    fn call(&self, args: &[&str]) -> Value {
        highwater(&self.project, args).run().expect_code(0).json()
    }

    fn compact(&self) -> Value {
        self.call(&["compact", "items", "--json"])[0].take()
    }

    fn seq(&self) -> u64 {
        self.call(&["state", "show", "items", "--json"])[0]["state"]["seq"].as_u64().unwrap()
    }
}

#[test]
fn small_files_become_few_and_every_reader_finds_the_same_rows() {
    // D-01, D-40, D-67, D-70
    if Oracle::new().is_none() || Bucket::new().is_none() {
        return skip("small_files_become_few", "the independent readers or the S3 server are not installed");
    }
    let api = api_with(Pages::Token, 5, feed::plain(1, 6, "2026-02-01T00:00:00Z"));
    let lakes = [
        Lake::new(&api, "append", false, None),
        Lake::new(&api, "merge", false, Bucket::new()),
        Lake::new(&api, "append", true, None),
        Lake::new(&api, "merge", true, Bucket::new()),
    ];
    let (mut all, mut newest) = (feed::plain(1, 6, "2026-02-01T00:00:00Z"), feed::plain(1, 6, "2026-02-01T00:00:00Z"));
    for lake in &lakes {
        run(&lake.project);
    }
    // Runs that bring a few rows each, a column more on the way, and once a version of a row of another month.
    for day in 1..=4 {
        let mut news = feed::plain(day * 10, 5, &format!("2026-03-{day:02}T00:10:00Z"));
        if day > 1 {
            news.iter_mut().for_each(|record| record.json = record.json.replace("\"name\"", "\"more\":7,\"name\""));
        }
        if day == 1 {
            news[0].json = news[0].json.replace("\"id\":10,", "\"id\":1,").replace("\"n0\"", "\"again\"");
            newest.retain(|record| !record.json.contains("\"id\":1,"));
        }
        newest.extend(news.clone());
        all.extend(news.clone());
        api.add_records("items", news);
        api.set_now(&format!("2026-03-{:02}T00:00:00Z", day + 1));
        for lake in &lakes {
            assert_eq!(run(&lake.project)["commits"], 1, "{}", lake.name);
        }
    }
    let truth = |lake: &Lake| if lake.name.starts_with("merge") { newest.clone() } else { all.clone() };
    let mut oracle = Oracle::new().unwrap();
    let mut before = Vec::new();
    for lake in &lakes {
        lake.expect(&mut oracle, "before", &truth(lake));
    }
    oracle.check();
    for lake in &lakes {
        before.push(lake.seq());
        let told = lake.call(&["compact", "items", "--dry-run", "--json"])[0].take();
        let compacted = lake.compact();
        assert_eq!(compacted["records"], 1, "{}: {compacted}", lake.name);
        assert_eq!((&compacted["files_before"], &compacted["rows"]), (&told["files_before"], &told["rows"]), "{}", lake.name);
        assert_eq!((&compacted["files_before"], &compacted["files_after"]), (&json!(4), &json!(1)), "{}", lake.name);
        assert_eq!(lake.compact()["records"], 0, "{}: what is good is left alone", lake.name);
        assert_eq!(run(&lake.project)["commits"], 0, "{}", lake.name);
        highwater(&lake.project, &["verify"]).run().expect_code(0);
        let rebuilt = lake.call(&["state", "rebuild", "items", "--json"]);
        assert_eq!(rebuilt[0]["seq"], lake.seq(), "{}", lake.name);
        assert_eq!(run(&lake.project)["commits"], 0, "{}", lake.name);
        lake.expect(&mut oracle, "joined", &truth(lake));
        if lake.delta {
            let (version, rows) = foreign(&lake.place(), &["rows", "1"]);
            assert_eq!((version, rows), (1, 6), "an older version is still read");
        }
    }
    oracle.check();
    for (lake, seq) in lakes.iter().zip(&before).filter(|(lake, _)| !lake.delta) {
        highwater(&lake.project, &["state", "rollback", "items", "--to", &seq.to_string(), "--yes"]).run().expect_code(0);
        highwater(&lake.project, &["verify"]).run().expect_code(0);
        assert_eq!(run(&lake.project)["commits"], 0, "{}", lake.name);
        let mut oracle = Oracle::new().unwrap();
        lake.expect(&mut oracle, "back", &truth(lake));
        oracle.check();
    }
}

#[test]
fn who_follows_a_delta_tables_changes_sees_none_in_rows_that_only_move() {
    let api = api_with(Pages::Token, 5, feed::plain(1, 4, "2026-02-28T23:50:00Z"));
    let lake = Lake::new(&api, "append", true, None);
    lake.project.edit("jobs/items.toml", "[\"month(updated_at)\"]", "[]");
    run(&lake.project);
    api.add_records("items", feed::plain(5, 4, "2026-03-01T01:00:00Z"));
    api.set_now("2026-03-02T00:00:00Z");
    assert_eq!(run(&lake.project)["commits"], 1);
    assert_eq!(lake.compact()["files_before"], 2);
    let log = lake.project.listing("lake/items/_delta_log");
    let last = log.keys().rfind(|name| name.ends_with(".json")).unwrap();
    let actions: Vec<Value> =
        std::fs::read_to_string(lake.project.at(last)).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let changes = |verb: &str| -> Vec<&Value> {
        actions.iter().filter_map(|action| action.get(verb)).map(|action| &action["dataChange"]).collect()
    };
    assert_eq!((changes("add"), changes("remove")), (vec![&json!(false)], vec![&json!(false), &json!(false)]), "{actions:?}");
    assert!(actions.iter().any(|action| action["txn"]["version"] == 3), "{actions:?}");
}

#[test]
fn the_daemon_joins_files_once_nothing_runs() {
    let Some(mut oracle) = Oracle::new() else {
        return skip("the_daemon_joins_files_once_nothing_runs", "the independent readers are not installed");
    };
    let mut truth = feed::plain(1, 5, "2026-02-01T00:00:00Z");
    let api = api_with(Pages::Token, 5, truth.clone());
    let project = Project::of_items(&api, &Pages::Token, 5);
    project.edit("jobs/items.toml", "mode = ", "compact_min_files = 3\nmode = ");
    let mut daemon = Daemon::ready(&project, &[]);
    for day in 1..=4 {
        let news = feed::plain(day * 10, 5, &format!("2026-03-{day:02}T00:10:00Z"));
        truth.extend(news.clone());
        highwater(&project, &["run", "items"]).run().expect_code(0);
        api.add_records("items", news);
        api.set_now(&format!("2026-03-{:02}T00:00:00Z", day + 1));
    }
    highwater(&project, &["run", "items"]).run().expect_code(0);
    daemon.wait_for_log("files became 1,");
    assert!(daemon.is_alive());
    daemon.stop();
    highwater(&project, &["verify"]).run().expect_code(0);
    assert!(highwater(&project, &["logs", "items"]).run().expect_code(0).stdout.contains("compacted"));
    oracle.expect("joined by the daemon", &project.at("lake/items"), &truth);
    oracle.check();
}

#[test]
fn old_partitions_leave_at_a_runs_end_and_stay_away() {
    if Oracle::new().is_none() {
        return skip("old_partitions_leave_at_a_runs_end", "the independent readers are not installed");
    }
    // By the machine's own clock, for that is what decides.
    let now = SystemClock::new().now().to_zoned(jiff::tz::TimeZone::UTC);
    let at =
        |days: i64| now.checked_sub(jiff::Span::new().days(days)).unwrap().timestamp().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (old, kept) = (feed::plain(1, 8, &at(100)), feed::plain(20, 8, &at(2)));
    let api = api_with(Pages::Token, 5, [old.clone(), kept.clone()].concat());
    api.set_now(&at(0));
    for (delta, mode) in [(false, "append"), (true, "merge")] {
        let lake = Lake::new(&api, mode, delta, None);
        lake.project.edit("jobs/items.toml", "mode = ", "retain = \"40d\"\nmode = ");
        highwater(&lake.project, &["check"]).run().expect_code(0);
        lake.project.edit("jobs/items.toml", "month(", "day(");
        lake.project.edit("jobs/items.toml", "2026-01-01", &at(200)[..10]);
        run(&lake.project);
        let what_is_old_left = |what: &str| {
            let mut oracle = Oracle::new().unwrap();
            lake.expect(&mut oracle, what, &kept);
            oracle.check();
        };
        what_is_old_left("what is old left");
        let seq = lake.seq();
        assert_eq!(seq, 2, "one record loads, one drops");
        assert_eq!(run(&lake.project)["commits"], 0, "what left is covered");
        assert_eq!(lake.seq(), seq);
        highwater(&lake.project, &["verify"]).run().expect_code(0);
        assert!(highwater(&lake.project, &["logs", "items"]).run().expect_code(0).stdout.contains("left the table"));
        assert_eq!(lake.call(&["state", "rebuild", "items", "--json"])[0]["seq"], seq);
        if !delta {
            highwater(&lake.project, &["state", "rollback", "items", "--to", "1", "--yes"]).run().expect_code(0);
            let mut oracle = Oracle::new().unwrap();
            lake.expect(&mut oracle, "what had left is back", &[old.clone(), kept.clone()].concat());
            oracle.check();
            run(&lake.project);
            what_is_old_left("it left once more");
        }
    }
}
