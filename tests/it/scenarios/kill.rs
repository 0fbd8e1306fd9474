//! Real processes under `kill -9`: at each numbered effect, before it and after it, on a local disk and on S3; then a restart,
//! then DuckDB and pyarrow.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::loads::api_with;
use crate::world::api::{FakeApi, Pages, Record};
use crate::world::bucket::Bucket;
use crate::world::feed;
use crate::world::oracle::Oracle;
use crate::world::program::highwater;
use crate::world::project::{Project, job};
use crate::world::skip;

const SIGKILL: i32 = 9;
const PAGE: usize = 8;
/// Lakes that one process of the readers looks at.
const LAKES_A_LOOK: usize = 40;

/// Two slices with files in two months.
fn records() -> Vec<Record> {
    let mut records = feed::plain(1, 10, "2026-01-31T23:55:00Z");
    records.extend(feed::plain(11, 10, "2026-02-14T23:55:00Z"));
    records
}

/// Ten rows, of which five have a second version in the later slice.
fn versions() -> Vec<Record> {
    let mut records = feed::plain(1, 10, "2026-01-31T23:55:00Z");
    records.extend(feed::plain(6, 10, "2026-02-14T23:55:00Z"));
    records
}

fn newest() -> Vec<Record> {
    let mut records = feed::plain(1, 5, "2026-01-31T23:55:00Z");
    records.extend(feed::plain(6, 10, "2026-02-14T23:55:00Z"));
    records
}

fn merging(project: Project) -> Project {
    project.edit("jobs/items.toml", "mode = \"append\"", "mode = \"merge\"");
    project
}

/// A project whose job reads two slices; the second is the longer.
fn project(api: &FakeApi, bucket: Option<&Bucket>) -> Project {
    let project = match bucket {
        None => Project::of_items(api, &Pages::Token, PAGE),
        Some(bucket) => Project::of_items_in(bucket, &bucket.endpoint, api, &Pages::Token, PAGE),
    };
    project.write("jobs/items.toml", &format!("{}step = \"14d\"\n", job("").replace("2026-01-01", "2026-01-31")));
    project
}

/// The names of a clean run's effects.
pub fn effects(project: &Project) -> Vec<String> {
    let log = project.at("effects.txt");
    highwater(project, &["run", "items"])
        .env("HIGHWATER_FAULT", "count")
        .env("HIGHWATER_FAULT_LOG", &log.to_string_lossy())
        .run()
        .expect_code(0);
    std::fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

struct Killed {
    kind: &'static str,
    name: String,
    project: Project,
    bucket: Option<Bucket>,
}

/// Kills a process at every effect, restarts it, has the lakes compared. `make` gives every life a place of its own.
fn kill_everywhere(make: impl Fn(&FakeApi) -> (Project, Option<Bucket>) + Sync, records: &[Record], truth: &[Record]) {
    kill_at_some("parquet", 1, make, records, truth);
}

/// The same with a table of some kind, at one effect of so many.
fn kill_at_some(
    kind: &'static str,
    one_of: usize,
    make: impl Fn(&FakeApi) -> (Project, Option<Bucket>) + Sync,
    records: &[Record],
    truth: &[Record],
) {
    let make = |api: &FakeApi| {
        let (project, bucket) = make(api);
        project.edit("sinks/lake.toml", "\"parquet\"", &format!("\"{kind}\""));
        (project, bucket)
    };
    let api = api_with(Pages::Token, PAGE, records.to_vec());
    let log = effects(&make(&api).0);
    assert!(log.len() >= 40, "only {} effects: {log:#?}", log.len());
    let places = (1..=log.len()).step_by(one_of).flat_map(|at| ["before", "after"].map(|side| (at, side)));
    let places: Vec<(usize, &str)> = places.collect();
    let (next, lakes, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let life = || {
        while let Some((at, side)) = places.get(next.fetch_add(1, Ordering::SeqCst)) {
            let (project, bucket) = make(&api);
            let name = format!("killed {side} effect {at}, `{}`", log[at - 1]);
            let died = highwater(&project, &["run", "items"]).env("HIGHWATER_FAULT", &format!("kill-{side}:{at}")).run();
            let again = highwater(&project, &["run", "items", "--json"]).run();
            if died.signal != Some(SIGKILL) || again.code != Some(0) {
                wrong.lock().unwrap().push(format!("{name}: {died:?}\nthen {again:?}"));
            }
            lakes.lock().unwrap().push(Killed { kind, name, project, bucket });
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(life);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} lives went wrong, the first:\n{}", wrong.len(), wrong[0]);
    compare(&lakes.into_inner().unwrap(), truth);
}

fn compare(lakes: &[Killed], truth: &[Record]) {
    for some in lakes.chunks(LAKES_A_LOOK) {
        let mut oracle = Oracle::new().expect("asked for before");
        for killed in some {
            match &killed.bucket {
                bucket if killed.kind == "delta" => {
                    let on_disk = || serde_json::json!(killed.project.at("lake/items"));
                    let place = bucket.as_ref().map_or_else(on_disk, Bucket::place);
                    let case = oracle.expect_delta(&killed.name, &place, truth);
                    case["commits"] = 2.into();
                    case
                }
                None => oracle.expect(&killed.name, &killed.project.at("lake/items"), truth),
                Some(bucket) => oracle.expect_in(&killed.name, bucket, truth),
            };
        }
        oracle.check();
    }
}

#[test]
fn a_process_is_killed_at_every_effect_on_disk() {
    // D-01
    if Oracle::new().is_none() {
        return skip("a_process_is_killed_at_every_effect_on_disk", "the independent readers are not installed");
    }
    kill_everywhere(|api| (project(api, None), None), &records(), &records());
    // A merge that replaces files of the slice before.
    kill_everywhere(|api| (merging(project(api, None)), None), &versions(), &newest());
}

#[test]
fn a_process_is_killed_at_every_effect_on_s3() {
    // D-01
    if Oracle::new().is_none() || Bucket::new().is_none() {
        return skip("a_process_is_killed_at_every_effect_on_s3", "there is no S3 server");
    }
    let make = |api: &FakeApi| {
        let bucket = Bucket::new().unwrap();
        (project(api, Some(&bucket)), Some(bucket))
    };
    kill_everywhere(make, &records(), &records());
    let make = |api: &FakeApi| {
        let bucket = Bucket::new().unwrap();
        (merging(project(api, Some(&bucket))), Some(bucket))
    };
    kill_everywhere(make, &versions(), &newest());
}

#[test]
fn a_process_that_merges_into_a_delta_table_is_killed_at_one_effect_of_some() {
    // D-01
    if Oracle::new().is_none() || Bucket::new().is_none() {
        return skip(
            "a_process_that_merges_into_a_delta_table_is_killed_at_one_effect_of_some",
            "the independent readers or the S3 server are not installed",
        );
    }
    kill_at_some("delta", 9, |api| (merging(project(api, None)), None), &versions(), &newest());
    let make = |api: &FakeApi| {
        let bucket = Bucket::new().unwrap();
        (merging(project(api, Some(&bucket))), Some(bucket))
    };
    kill_at_some("delta", 17, make, &versions(), &newest());
}

#[test]
fn effects_of_every_port_are_numbered() {
    let api = api_with(Pages::Token, PAGE, records());
    let log = effects(&project(&api, None));
    let ports: BTreeSet<&str> = log.iter().filter_map(|name| name.split('.').next()).collect();
    assert_eq!(ports, BTreeSet::from(["source", "state", "store"]), "{log:#?}");
}
