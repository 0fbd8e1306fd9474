//! The clock of the machine jumps, between runs and in the middle of them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::loads::{api_with, mark};
use crate::world::api::{FakeApi, Fault, Pages, Record};
use crate::world::daemon::{Daemon, eventually};
use crate::world::feed;
use crate::world::kind::{Kind, Table, prepared, tried};
use crate::world::program::{Call, Ended, command, highwater};
use crate::world::skip;
use crate::world::wall::{self, Wall};

const PAGE: usize = 4;
/// The clock of the source, which nobody sets, and what it gives in the course of a test.
const DAYS: [&str; 6] = ["2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06", "2026-03-07"];

/// What comes on a day: new rows, and newer versions of the first ones.
fn news(day: usize) -> Vec<Record> {
    let at = format!("{}T01:00:00Z", DAYS[day]);
    [feed::plain(1, 3, &at), feed::plain(100 + 10 * day as u64, 5, &format!("{}T02:00:00Z", DAYS[day]))].concat()
}

/// The newest version of each row that came on one of the first days.
fn newest(days: usize) -> Vec<Record> {
    let first = feed::plain(1, 10, "2026-02-01T00:00:00Z").split_off(3);
    let changed = feed::plain(1, 3, &format!("{}T01:00:00Z", DAYS[days - 1]));
    let new = (0..days).flat_map(|day| feed::plain(100 + 10 * day as u64, 5, &format!("{}T02:00:00Z", DAYS[day])));
    [first, changed].concat().into_iter().chain(new).collect()
}

fn day_comes(api: &FakeApi, day: usize) {
    api.add_records("items", news(day));
    api.set_now(&format!("{}T12:00:00Z", DAYS[day]));
}

/// A run that ends well and brings so many records, whatever clock it sees.
fn brings(call: Call, name: &str, kept: u64) {
    let ended = call.run();
    assert_eq!(ended.code, Some(0), "{name}: {ended:?}");
    assert_eq!(ended.json()[0]["counts"]["kept"].as_u64(), Some(kept), "{name}");
}

/// Settled is by the source's clock.
fn the_mark_is_the_sources(table: &Table, day: usize) {
    let mark = mark(table);
    let mark: jiff::Timestamp = mark.as_str().unwrap().parse().unwrap();
    let now: jiff::Timestamp = format!("{}T12:00:00Z", DAYS[day]).parse().unwrap();
    let behind = now.duration_since(mark);
    assert!(!behind.is_negative() && behind < jiff::SignedDuration::from_hours(1), "the mark {mark} at {now}");
}

/// A run whose clock is set each time it has asked for another page.
fn jumping(wall: &Wall, table: &Table, api: &FakeApi, offsets: &[&str]) -> Ended {
    let asked = api.seen().len();
    api.fail(0..1_000, Fault::Slow(Duration::from_millis(120)));
    let mut command = command(table, &["run", "items", "--json"]);
    command.envs(wall.environment(table)).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    for (number, offset) in offsets.iter().enumerate() {
        eventually("a page is asked for", || {
            (api.seen().len() > asked + number || child.try_wait().unwrap().is_some()).then_some(())
        });
        wall::set(table, offset);
    }
    let output = child.wait_with_output().unwrap();
    api.heal();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), signal: None, stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn a_clock_that_jumps_loses_and_doubles_nothing() {
    // D-37 on every kind
    const NAME: &str = "a_clock_that_jumps_loses_and_doubles_nothing";
    let Some(mut oracle) = prepared(NAME) else { return };
    let Some(wall) = Wall::new() else { return skip(NAME, "libfaketime is not installed") };
    let tried = tried!();
    let mut tables = Vec::new();
    for kind in Kind::ALL {
        let api = api_with(Pages::Token, PAGE, feed::plain(1, 10, "2026-02-01T00:00:00Z"));
        let table = tried.table(kind, &api, PAGE).merging();
        wall::set(&table, "+0");
        brings(wall.under(&table, highwater(&table, &["run", "items", "--json"])), "the first", 10);
        // Between runs: by hours, by a month, and back by more than there is history.
        for (day, offset) in ["+5h", "-7h", "+31d", "-40d"].into_iter().enumerate() {
            day_comes(&api, day);
            wall::set(&table, offset);
            let run = || wall.under(&table, highwater(&table, &["run", "items", "--json"]));
            brings(run(), &format!("{kind} {offset}"), 8);
            brings(run(), &format!("{kind} {offset} again"), 0);
            the_mark_is_the_sources(&table, day);
        }
        // In the middle of them.
        for (day, offsets) in [(4, ["+9h", "-9h"]), (5, ["-3d", "+3d"])] {
            day_comes(&api, day);
            let ended = jumping(&wall, &table, &api, &offsets);
            assert_eq!(ended.code, Some(0), "{kind} {offsets:?}: {ended:?}");
            assert_eq!(ended.json()[0]["counts"]["kept"], 8, "{kind} {offsets:?}");
            the_mark_is_the_sources(&table, day);
        }
        wall::set(&table, "+0");
        // A clock before all that was loaded is named, and nothing is done by it.
        let before = table.objects();
        wall::set(&table, "-400d");
        let ended = wall.under(&table, highwater(&table, &["run", "items"])).run().expect_code(1);
        assert!(ended.stderr.contains("the clock of this machine is behind"), "{kind}: {}", ended.stderr);
        let rows = |names: &BTreeSet<String>| names.iter().filter(|name| name.starts_with("items/")).cloned().collect::<Vec<_>>();
        assert_eq!(rows(&table.objects()), rows(&before), "{kind}");
        wall::set(&table, "+0");
        brings(wall.under(&table, highwater(&table, &["run", "items", "--json"])), "the last", 0);
        highwater(&table, &["verify"]).run().expect_code(0);
        table.expect(&mut oracle, "a clock that jumped", &newest(6));
        tables.push(table);
    }
    oracle.check();
}

/// The due times that runs were begun for.
fn due(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log();
    let starts = log.lines().filter(|line| line.contains("items starts ("));
    starts.filter_map(|line| Some(line.split_once("\"due_at\":\"")?.1.split_once('"')?.0.to_owned())).collect()
}

/// Ticks of the processor that a process has used: a hundredth of a second each.
fn ticks(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_daemon_whose_clock_jumps_runs_no_due_time_twice_and_stays_calm() {
    // D-37 on parquet-local
    const NAME: &str = "a_daemon_whose_clock_jumps_runs_no_due_time_twice_and_stays_calm";
    let Some(mut oracle) = prepared(NAME) else { return };
    let Some(wall) = Wall::new() else { return skip(NAME, "libfaketime is not installed") };
    let tried = tried!();
    let api = api_with(Pages::Token, PAGE, feed::plain(1, 10, "2026-02-01T00:00:00Z"));
    let table = tried.table(Kind::ParquetLocal, &api, PAGE).merging();
    table.edit("jobs/items.toml", "mode = ", "schedule = \"* * * * * *\"\nmode = ");
    wall::set(&table, "+0");
    let environment = wall.environment(&table);
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let daemon = Daemon::ready(&table, &environment);
    let goes_on = |what: &str| {
        let before = due(&daemon).len();
        eventually(what, || (due(&daemon).len() >= before + 2).then_some(()));
    };
    goes_on("it runs");
    for day in 0..2 {
        // Forward it is an outage, and the next due time of that clock is the next.
        wall::set(&table, "+3h");
        day_comes(&api, day);
        goes_on("it runs three hours later");
        // Back: all that is due now was before, and it waits for what was not.
        wall::set(&table, "-3h");
        std::thread::sleep(Duration::from_secs(1));
        let (runs, used) = (due(&daemon).len(), ticks(daemon.pid()));
        std::thread::sleep(Duration::from_secs(3));
        let (later, used) = (due(&daemon).len(), ticks(daemon.pid()) - used);
        assert_eq!(later, runs, "due times that were settled came again: {:?}", due(&daemon));
        assert!(used < 100, "{used} hundredths of a second of work in three seconds of waiting");
    }
    wall::set(&table, "+4h");
    goes_on("it runs four hours later");
    let all = due(&daemon);
    let once: BTreeSet<&String> = all.iter().collect();
    assert_eq!(once.len(), all.len(), "a due time came twice: {all:?}");
    // One a second and no more: the first and the last of a stretch may be cut.
    assert!(all.len() < 60, "{} runs", all.len());
    daemon.stop();
    the_mark_is_the_sources(&table, 1);
    highwater(&table, &["verify"]).run().expect_code(0);
    table.expect(&mut oracle, "a daemon whose clock jumped", &newest(2));
    oracle.check();
}
