//! Disks on which a call fails under a real process: once, or from then on. Whatever it was, the run says so or does without it,
//! nothing counts that is not durable, and the next run on a whole disk puts it right.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::loads::{api_with, run};
use crate::world::api::{FakeApi, Pages, Record};
use crate::world::dice::Dice;
use crate::world::disk::{EIO, ENOSPC, Failing, FailingDisk, Told, believed, told};
use crate::world::feed;
use crate::world::kind::{Kind, Table, Tried, prepared, tried};
use crate::world::program::{Ended, highwater};
use crate::world::skip;

const PAGE: usize = 8;
const LAKE: &str = "lake";
/// Of the state the folder of its own.
const STATE: &str = "state";

/// Ten rows, of which five have a second version in the later slice, in another month.
fn versions() -> Vec<Record> {
    [feed::plain(1, 10, "2026-01-31T23:55:00Z"), feed::plain(6, 10, "2026-02-14T23:55:00Z")].concat()
}

fn newest() -> Vec<Record> {
    [feed::plain(1, 5, "2026-01-31T23:55:00Z"), feed::plain(6, 10, "2026-02-14T23:55:00Z")].concat()
}

/// A kind of failure, spread over a run at so many places.
struct Series {
    kind: Kind,
    folder: &'static str,
    call: &'static str,
    error: i32,
    lasts: bool,
    places: usize,
}

fn series() -> Vec<Series> {
    let mut all = Vec::new();
    for kind in Kind::LOCAL {
        let few = if kind.is_delta() { 2 } else { 1 };
        let mut add = |folder, call, error, lasts, places: usize| {
            all.push(Series { kind, folder, call, error, lasts, places: places.div_ceil(few) });
        };
        add(LAKE, "write", EIO, false, 7);
        add(LAKE, "write", EIO, true, 3);
        add(LAKE, "write", ENOSPC, false, 3);
        add(LAKE, "fsync", EIO, false, 10);
        add(LAKE, "fsync", EIO, true, 4);
        add(LAKE, "rename", EIO, false, 6);
        add(LAKE, "rename", EIO, true, 3);
        add(LAKE, "link", EIO, false, 4);
        add(LAKE, "link", EIO, true, 3);
        if !kind.is_delta() {
            add(STATE, "write", EIO, false, 3);
            add(STATE, "fsync", EIO, false, 3);
        }
    }
    all
}

/// A run on a disk that fails, and what it called.
fn on(disk: &FailingDisk, table: &Table, folder: &str, failing: Failing, mutant: Option<&str>) -> (Ended, Vec<Told>) {
    let log = table.at("calls.txt");
    let call = disk.under(highwater(table, &["run", "items"]), &table.at(folder), &log, failing);
    let call = match mutant {
        Some(name) => call.env("HIGHWATER_MUTANT", name),
        None => call,
    };
    let ended = call.run();
    let calls = told(&log);
    (ended, calls)
}

/// The places in a run's calls, from the first to the last.
fn spread(calls: usize, places: usize) -> Vec<usize> {
    let places = places.min(calls).max(1);
    (0..places).map(|n| 1 + n * (calls - 1) / (places - 1).max(1)).collect()
}

/// The number in the name of a record, and in the name of a file that it names.
fn seq_in(name: &str) -> Option<u64> {
    name.strip_prefix("part-").unwrap_or(name).get(..20)?.parse().ok()
}

/// Records that were durable, and what was wrong on the way: files of a table that were seen before the record that names them was.
fn decided(table: &Table, calls: &[Told]) -> (BTreeSet<u64>, Vec<String>) {
    let (log, rows) = (table.at("lake/_highwater/items/log"), table.at("lake/items"));
    let (mut named, mut durable, mut wrong) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for told in calls {
        let seq = told.to.file_name().and_then(|name| seq_in(name.to_str()?));
        match seq {
            Some(seq) if told.is_done("link") && told.to.parent() == Some(&*log) => drop(named.insert(seq)),
            Some(seq) if told.is_done("rename") && told.to.starts_with(&rows) && !durable.contains(&seq) => {
                wrong.push(format!("{} was seen before record {seq} was durable", told.to.display()));
            }
            _ if told.is_done("fsync") && told.path == log => durable.append(&mut named),
            _ => {}
        }
    }
    (durable, wrong)
}

/// One life: what was wrong with it, the table to be compared, and what its fault met.
fn live(disk: &FailingDisk, tried: &Tried, api: &FakeApi, series: &Series, at: usize) -> (Vec<String>, String, Table) {
    let table = tried.table(series.kind, api, PAGE).merging();
    let last = if series.lasts { usize::MAX >> 1 } else { at };
    let failing = Failing { call: series.call, first: at, last, error: series.error };
    let (ended, calls) = on(disk, &table, series.folder, failing, None);
    let mut wrong = Vec::new();
    let met = calls.iter().find(|told| told.error == series.error);
    let name = format!("{} {} {at}: {:?}", series.folder, series.call, met);
    let says = |text: &str| ended.stderr.contains(text);
    let said = match series.folder {
        LAKE => says(&table.at(LAKE).to_string_lossy()) && (says("os error 5") || says("no space left on the disk")),
        _ => says("state") && says("disk I/O error"),
    };
    match ended.code {
        // What tells of runs and schemas alone is written by the next run.
        Some(0) if series.lasts && met.is_some() && !(said && says("written later")) => {
            wrong.push("the disk went on failing and the run did not".to_owned());
        }
        Some(0) => {}
        Some(1) if said => {}
        _ => wrong.push(format!("it did not say what failed: {ended:?}")),
    }
    if ended.stderr.contains("panicked") {
        wrong.push(format!("it panicked: {ended:?}"));
    }
    wrong.extend(if series.folder == LAKE { believed(&calls) } else { Vec::new() });
    if series.folder == LAKE {
        let (durable, early) = decided(&table, &calls);
        wrong.extend(early);
        let state = highwater(&table, &["state", "show", "items", "--json"]).run().expect_code(0).json();
        let done = state[0]["state"]["seq"].as_u64().unwrap_or_default();
        if done > durable.last().copied().unwrap_or_default() {
            wrong.push(format!("the state is at record {done}, durable were {durable:?}"));
        }
    }
    let kept = run(&table)["counts"]["kept"].as_u64();
    if ended.code == Some(0) && kept != Some(0) {
        wrong.push(format!("a run that ended well left {kept:?} records to the next"));
    }
    if highwater(&table, &["verify"]).run().code != Some(0) {
        wrong.push("`verify` finds something".to_owned());
    }
    let wrong = wrong.into_iter().map(|text| format!("{} {name}: {text}", series.kind)).collect();
    (wrong, name, table)
}

#[test]
fn a_call_on_the_disk_fails_at_any_place_of_a_run() {
    // D-05 on parquet-local, delta-local
    // D-06 on parquet-local, delta-local
    let Some(mut oracle) = prepared("a_call_on_the_disk_fails_at_any_place_of_a_run") else { return };
    let Some(disk) = FailingDisk::new() else {
        return skip("a_call_on_the_disk_fails_at_any_place_of_a_run", "there is no C compiler, or this is not Linux");
    };
    let tried = tried!();
    let api = api_with(Pages::Token, PAGE, versions());
    let all = series();
    let mut places = Vec::new();
    for series in &all {
        let table = tried.table(series.kind, &api, PAGE).merging();
        let (ended, calls) = on(&disk, &table, series.folder, Failing::none(), None);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(believed(&calls), [""; 0], "{}", series.kind);
        let number = calls.iter().filter(|told| told.call == series.call).count();
        assert!(number >= 6, "only {number} calls of {}", series.call);
        places.extend(spread(number - 1, series.places).into_iter().map(|at| (series, at)));
    }
    let (next, lives) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((series, at)) = places.get(next.fetch_add(1, Ordering::SeqCst)) {
            let life = live(&disk, &tried, &api, series, *at);
            lives.lock().unwrap().push(life);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
    let lives = lives.into_inner().unwrap();
    // A run differs by a few calls: the last places may not be come to.
    let unharmed = lives.iter().filter(|(_, name, _)| name.ends_with(": None")).count();
    assert!(unharmed * 8 <= lives.len(), "{unharmed} of {} lives met no failure", lives.len());
    let wrong: Vec<&String> = lives.iter().flat_map(|(wrong, ..)| wrong).collect();
    assert!(wrong.is_empty(), "{} of {} lives: {wrong:#?}", wrong.len(), lives.len());
    for some in lives.chunks(40) {
        for (_, name, table) in some {
            table.expect(&mut oracle, name, &newest());
        }
    }
    oracle.check();
    // D-44
    let table = tried.table(Kind::ParquetLocal, &api, PAGE).merging();
    let (_, calls) = on(&disk, &table, LAKE, Failing::none(), Some("synced"));
    assert!(!believed(&calls).is_empty(), "the guard guards nothing");
}

/// What is told of a file's bytes once is not told again: whoever flushes them ahead of the file's end must not keep it to himself.
#[test]
fn a_flush_ahead_of_a_files_end_that_fails_is_told_by_the_run() {
    // D-05 on parquet-local
    let test = "a_flush_ahead_of_a_files_end_that_fails_is_told_by_the_run";
    let (Some(mut oracle), Some(disk)) = (prepared(test), FailingDisk::new()) else {
        return skip(test, "the readers are not installed, there is no C compiler, or this is not Linux");
    };
    let tried = tried!();
    let (mut dice, at) = (Dice::new(59), "2026-02-01T00:00:00Z");
    // Texts that no packing makes smaller than half of them.
    let mut text = || (0..16 * 1024).map(|_| format!("{:016x}", dice.next())).collect::<String>();
    let mut record = |id: u64| Record {
        json: format!("{{\"id\":{id},\"updated_at\":\"{at}\",\"name\":\"{}\"}}", text()),
        cursor: Some(at.parse().unwrap()),
    };
    let records: Vec<Record> = (0..64).map(&mut record).collect();
    let api = api_with(Pages::Token, PAGE, records.clone());
    let table = tried.table(Kind::ParquetLocal, &api, PAGE);
    let (ended, calls) = on(&disk, &table, LAKE, Failing::none(), None);
    assert_eq!((ended.code, believed(&calls)), (Some(0), Vec::new()), "{ended:?}");
    let syncs: Vec<&Told> = calls.iter().filter(|told| told.call == "fsync").collect();
    let of_the_file = |told: &&Told| told.path.to_string_lossy().ends_with(".staged#1");
    let ahead = 1 + syncs.iter().position(of_the_file).expect("a file that was flushed");
    assert!(syncs.iter().filter(|told| of_the_file(told)).count() > 1, "it was flushed at its end alone");

    let table = tried.table(Kind::ParquetLocal, &api, PAGE);
    let (ended, calls) = on(&disk, &table, LAKE, Failing { call: "fsync", first: ahead, last: ahead, error: EIO }, None);
    let failed = calls.iter().find(|told| told.error == EIO);
    assert!(failed.as_ref().is_some_and(of_the_file), "{failed:?}");
    assert_eq!((ended.code, ended.stderr.contains("os error 5")), (Some(1), true), "{ended:?}");
    assert_eq!(run(&table)["counts"]["kept"], 64);
    table.expect(&mut oracle, "after a flush that failed", &records);
    oracle.check();
}
