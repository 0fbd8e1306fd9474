//! Real processes under `kill -9`: at each numbered effect, before it and after it, on a local disk and on S3; then a restart,
//! then DuckDB and pyarrow.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::loads::api_with;
use crate::world::api::{FakeApi, Pages, Record};
use crate::world::feed;
use crate::world::kind::{Kind, Table, prepared, tried};
use crate::world::oracle::Oracle;
use crate::world::program::highwater;
use crate::world::project::Project;

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

/// Kills a process at one effect of so many, on either side of it, restarts it, has the tables compared. `make` gives every life a
/// place of its own.
fn kill_at(one_of: usize, make: impl Fn(&FakeApi) -> Table + Sync, records: &[Record], truth: &[Record]) {
    let api = api_with(Pages::Token, PAGE, records.to_vec());
    let log = effects(&make(&api));
    assert!(log.len() >= 40, "only {} effects: {log:#?}", log.len());
    let places = (1..=log.len()).step_by(one_of).flat_map(|at| ["before", "after"].map(|side| (at, side)));
    let places: Vec<(usize, &str)> = places.collect();
    let (next, tables, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let unharmed = AtomicUsize::new(0);
    let life = || {
        while let Some((at, side)) = places.get(next.fetch_add(1, Ordering::SeqCst)) {
            let table = make(&api);
            let name = format!("killed {side} effect {at}, `{}`", log[at - 1]);
            let died = highwater(&table, &["run", "items"]).env("HIGHWATER_FAULT", &format!("kill-{side}:{at}")).run();
            let again = highwater(&table, &["run", "items", "--json"]).run();
            // Delta's kernel does not read as often each time: the last places may not be come to.
            let is_unharmed = table.kind.is_delta() && died.code == Some(0);
            unharmed.fetch_add(usize::from(is_unharmed), Ordering::SeqCst);
            if (died.signal != Some(SIGKILL) && !is_unharmed) || again.code != Some(0) {
                wrong.lock().unwrap().push(format!("{name}: {died:?}\nthen {again:?}"));
            }
            tables.lock().unwrap().push((name, table));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(life);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} lives went wrong, the first:\n{}", wrong.len(), wrong[0]);
    let unharmed = unharmed.into_inner();
    assert!(unharmed * 8 <= places.len(), "{unharmed} of {} lives were not killed", places.len());
    for some in tables.into_inner().unwrap().chunks(LAKES_A_LOOK) {
        let mut oracle = Oracle::new().expect("asked for before");
        for (name, table) in some {
            let case = table.expect(&mut oracle, name, truth);
            if table.kind.is_delta() {
                case["commits"] = 2.into();
            }
        }
        oracle.check();
    }
}

#[test]
fn a_process_is_killed_at_every_effect_on_disk() {
    // D-01 on parquet-local
    let Some(_) = prepared("a_process_is_killed_at_every_effect_on_disk") else { return };
    let tried = tried!();
    kill_at(1, |api| tried.table(Kind::ParquetLocal, api, PAGE), &records(), &records());
    // A merge that replaces files of the slice before.
    kill_at(1, |api| tried.table(Kind::ParquetLocal, api, PAGE).merging(), &versions(), &newest());
}

#[test]
fn a_process_is_killed_at_every_effect_on_s3() {
    // D-01 on parquet-s3
    let Some(_) = prepared("a_process_is_killed_at_every_effect_on_s3") else { return };
    let tried = tried!();
    kill_at(1, |api| tried.table(Kind::ParquetS3, api, PAGE), &records(), &records());
    kill_at(1, |api| tried.table(Kind::ParquetS3, api, PAGE).merging(), &versions(), &newest());
}

#[test]
fn a_process_that_merges_into_a_delta_table_is_killed_at_one_effect_of_some() {
    // D-01 on delta-local, delta-s3
    let Some(_) = prepared("a_process_that_merges_into_a_delta_table_is_killed_at_one_effect_of_some") else { return };
    let tried = tried!();
    kill_at(9, |api| tried.table(Kind::DeltaLocal, api, PAGE).merging(), &versions(), &newest());
    kill_at(17, |api| tried.table(Kind::DeltaS3, api, PAGE).merging(), &versions(), &newest());
}

#[test]
fn effects_of_every_port_are_numbered() {
    let api = api_with(Pages::Token, PAGE, records());
    let log = effects(&Project::of_items(&api, &Pages::Token, PAGE));
    let ports: BTreeSet<&str> = log.iter().filter_map(|name| name.split('.').next()).collect();
    assert_eq!(ports, BTreeSet::from(["source", "state", "store"]), "{log:#?}");
}
