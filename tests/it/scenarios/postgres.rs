//! Several processes on one state in Postgres and one lake: a real server, real processes, real signals.

use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::kill::effects;
use super::loads::api_with;
use crate::world::api::{FakeApi, Pages, Record};
use crate::world::daemon::eventually;
use crate::world::feed;
use crate::world::kind::{Kind, Table, Tried, prepared, tried};
use crate::world::postgres::Database;
use crate::world::program::{command, highwater};
use crate::world::project::{Project, job};
use crate::world::skip;

const PAGE: usize = 5;
/// Milliseconds; no test can wait for a minute.
const LEASE: &str = "3000";

fn environment(database: &Database) -> Vec<(&str, &str)> {
    vec![("STATE_URL", database.url()), ("HIGHWATER_LEASE_MS", LEASE)]
}

fn records() -> Vec<Record> {
    let mut records = feed::plain(1, 10, "2026-01-31T23:55:00Z");
    records.extend(feed::plain(11, 10, "2026-02-14T23:55:00Z"));
    records
}

/// The same table for another process, whose state is the one in Postgres.
fn member(table: &Table, api: &FakeApi, tried: &Tried) -> Project {
    let sink = std::fs::read_to_string(table.at("sinks/lake.toml")).unwrap();
    let sink = sink.replace("url = \"lake\"", &format!("url = {:?}", table.at("lake").to_string_lossy()));
    let project = Project::of_items_to(&sink, api, &Pages::Token, PAGE).witnessed(tried);
    project.write("config.toml", "version = 1\n\n[state]\nurl = { env = \"STATE_URL\" }\n");
    project.write("jobs/items.toml", &two_slices());
    project
}

fn two_slices() -> String {
    format!("{}step = \"14d\"\n", job("").replace("2026-01-01", "2026-01-31"))
}

fn call(project: &Project, database: &Database, args: &[&str]) -> crate::world::program::Ended {
    environment(database).iter().fold(highwater(project, args), |call, (name, value)| call.env(name, value)).run()
}

/// Running again changes nothing, whoever does it.
fn nothing_is_left_to_do(project: &Project, database: &Database) {
    let report = call(project, database, &["run", "items", "--json"]).expect_code(0).json()[0].take();
    assert_eq!((report["counts"]["kept"].as_u64(), report["commits"].as_u64()), (Some(0), Some(0)), "{report}");
}

#[test]
fn who_was_stopped_for_longer_than_its_lease_doubles_nothing() {
    // D-32, D-33 on every kind
    const NAME: &str = "who_was_stopped_for_longer_than_its_lease_doubles_nothing";
    if !Database::is_there() {
        return skip(NAME, "no Postgres server");
    }
    let Some(mut oracle) = prepared(NAME) else { return };
    let tried = tried!();
    let api = api_with(Pages::Token, PAGE, records());
    // Around all that decides something: what is noted before, the decision, the publication, the index, and what is noted after. Of a
    // Delta table the commits to its log, for all else is alike; in a bucket before what decides, for there each life takes longer.
    const DECISION: &str = "put_absent _highwater/items/log/";
    const COMMIT: &str = "put_absent items/_delta_log";
    const SIDES: [&str; 2] = ["before", "after"];
    let parts: [(Kind, &[&str], &[&str]); 4] = [
        (Kind::ParquetLocal, &["note_batch", DECISION, "publish", "advance", "store.put _highwater/items/current.json"], &SIDES),
        (Kind::DeltaLocal, &[COMMIT], &SIDES),
        (Kind::ParquetS3, &[DECISION], &SIDES[..1]),
        (Kind::DeltaS3, &[DECISION, COMMIT], &SIDES[..1]),
    ];
    let mut places: Vec<(Kind, usize, &str, String)> = Vec::new();
    for (kind, parts, sides) in parts {
        let log = effects(&tried.table(kind, &api, PAGE));
        let leased =
            log.iter().position(|name| name.starts_with("state.lease") || name.starts_with("state.take")).unwrap_or_default();
        let before = places.len();
        for at in (leased + 1..=log.len()).filter(|at| parts.iter().any(|part| log[at - 1].contains(part))) {
            places.extend(sides.iter().map(|side| (kind, at, *side, log[at - 1].clone())));
        }
        assert!((2..70).contains(&(places.len() - before)), "{log:#?}");
    }
    let (next, unharmed, lakes) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let live = || {
        while let Some((kind, at, side, effect)) = places.get(next.fetch_add(1, Ordering::SeqCst)) {
            let name = format!("{kind} stopped {side} effect {at}, `{effect}`");
            let database = format!("stopped_{}_{side}_{at}", kind.name().replace('-', "_"));
            let table = tried.table(*kind, &api, PAGE);
            let was_stopped = stopped(&table, &api, &tried, &database, &format!("stop-{side}:{at}"), &name);
            unharmed.fetch_add(usize::from(!was_stopped), Ordering::SeqCst);
            lakes.lock().unwrap().push((name, table));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(live);
        }
    });
    let (lakes, unharmed) = (lakes.into_inner().unwrap(), unharmed.into_inner());
    assert!(unharmed * 8 <= places.len(), "{unharmed} of {} lives were not stopped", places.len());
    for (name, table) in &lakes {
        table.expect(&mut oracle, name, &records());
    }
    oracle.check();
}

/// One process is stopped at an effect, another does its work once the lease is over, and the first goes on. Whether it was stopped: a
/// life with a Delta table may have fewer effects than the one that they were counted in.
fn stopped(table: &Table, api: &FakeApi, tried: &Tried, database: &str, fault: &str, name: &str) -> bool {
    let database = Database::new(database).unwrap();
    let [one, other] = [(); 2].map(|()| member(table, api, tried));
    let mut zombie = command(&one, &["run", "items"]);
    zombie.envs(environment(&database)).env("HIGHWATER_FAULT", fault);
    let said = one.at("said.txt");
    let mut zombie =
        zombie.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&said).unwrap()).spawn().unwrap();
    let status = format!("/proc/{}/stat", zombie.id());
    let was_stopped = eventually(&format!("it is {name}"), || {
        let stopped = std::fs::read_to_string(&status).unwrap().contains(") T ").then_some(true);
        stopped.or_else(|| {
            let ended = zombie.try_wait().unwrap()?;
            let said = std::fs::read_to_string(&said).unwrap();
            assert!(table.kind.is_delta() && ended.success(), "{name}: it was not stopped, but ended, {ended}: {said}");
            Some(false)
        })
    });
    if was_stopped {
        let held = call(&other, &database, &["run", "items"]);
        assert_eq!(held.code, Some(75), "{name}: {}", held.stderr);
        assert!(held.stderr.contains("works on `items`"), "{name}: {}", held.stderr);
        eventually(&format!("the lease of who is {name} ends"), || {
            (call(&other, &database, &["run", "items"]).code == Some(0)).then_some(())
        });
        let done = std::process::Command::new("sh").arg("-c").arg(format!("kill -CONT {}", zombie.id())).status().unwrap();
        assert!(done.success());
        let ended = eventually(&format!("who was {name} ends"), || zombie.try_wait().unwrap());
        assert!(ended.code().is_some(), "{name}: {ended}");
    }
    nothing_is_left_to_do(&other, &database);
    call(&other, &database, &["verify"]).expect_code(0);
    was_stopped
}
