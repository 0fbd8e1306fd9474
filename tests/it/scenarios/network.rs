//! An object store behind a bad network: whatever becomes of requests and answers, each row is there once.

use std::time::Duration;

use super::loads::{api_with, mark, run};
use crate::world::api::{FakeApi, Pages, Record};
use crate::world::daemon::{Daemon, eventually};
use crate::world::feed;
use crate::world::gcs::FakeGcs;
use crate::world::kind::{Kind, Table, Tried, prepared, tried};
use crate::world::oracle::Oracle;
use crate::world::program::highwater;
use crate::world::project::Project;
use crate::world::setting;
use crate::world::weather::{Fault, On, Rule, Weather};

/// Storms, each from a seed of its own.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=6;
/// Runs that a storm may need: most requests are tried four times, and a run that failed goes on where it was.
const RUNS_MAX: usize = 12;

/// Two slices with files in two months.
fn records() -> Vec<Record> {
    let mut records = feed::plain(1, 10, "2026-01-31T23:55:00Z");
    records.extend(feed::plain(11, 10, "2026-02-14T23:55:00Z"));
    records
}

struct World {
    table: Table,
    weather: Weather,
    api: FakeApi,
}

impl World {
    fn new(tried: &Tried, kind: Kind) -> Self {
        World::of(tried, kind, records())
    }

    fn of(tried: &Tried, kind: Kind, records: Vec<Record>) -> Self {
        let api = api_with(Pages::Token, 8, records);
        let mut weather = None;
        let table = tried.table_behind(kind, &api, 8, |server| weather.insert(Weather::before(server)).endpoint());
        let weather = weather.expect("a kind on S3");
        table.edit("sinks/lake.toml", "[storage]\n", "[storage]\ntimeout = \"5s\"\n");
        World { table, weather, api }
    }

    /// The weather clears up; a run brings what is missing, one more changes nothing, and the table can be read by others.
    fn mends(&self, name: &str, oracle: &mut Oracle) {
        self.weather.calm();
        run(&self.table);
        assert_eq!(run(&self.table)["commits"], 0, "{name}");
        highwater(&self.table, &["verify"]).run().expect_code(0);
        assert!(self.api.seen().len() > 2);
        let case = self.table.expect(oracle, name, &records());
        if self.table.kind.is_delta() {
            // The table, and a commit for each slice: nothing is in the log twice.
            case["commits"] = 2.into();
        }
    }
}

#[test]
fn one_bad_answer_anywhere_costs_nothing() {
    // D-13, D-14, D-15, D-16, D-19 on parquet-s3, delta-s3
    let Some(mut oracle) = prepared("one_bad_answer_anywhere_costs_nothing") else { return };
    let tried = tried!();
    let on_parquet = [
        ("500 after the decision", Rule(On::Decide, Fault::LostAnswer, 1)),
        ("500 after the decision, four times", Rule(On::Decide, Fault::LostAnswer, 4)),
        ("reset after the decision", Rule(On::Decide, Fault::Reset, 1)),
        ("no answer to the decision", Rule(On::Decide, Fault::Hang, 1)),
        ("409 with nothing there", Rule(On::Decide, Fault::Conflict, 2)),
        ("500 after the copy", Rule(On::Copy, Fault::LostAnswer, 2)),
        ("reset after the copy", Rule(On::Copy, Fault::Reset, 2)),
        ("bodies that are cut", Rule(On::Get, Fault::CutBody, 2)),
        ("slow down, slow down", Rule(On::Change, Fault::SlowDown, 3)),
    ];
    // What is decided and published alike, and the commit to the log that readers go by.
    let on_delta = [
        ("500 after the decision", Rule(On::Decide, Fault::LostAnswer, 4)),
        ("reset after the copy", Rule(On::Copy, Fault::Reset, 2)),
        ("500 after the commit", Rule(On::Expose, Fault::LostAnswer, 1)),
        ("500 after the commit, five times", Rule(On::Expose, Fault::LostAnswer, 5)),
        ("reset after the commit", Rule(On::Expose, Fault::Reset, 2)),
        ("no answer to the commit", Rule(On::Expose, Fault::Hang, 1)),
        ("409 to the commit with nothing there", Rule(On::Expose, Fault::Conflict, 2)),
        ("slow down before the commit", Rule(On::Expose, Fault::SlowDown, 3)),
    ];
    let cases = on_parquet.map(|case| (Kind::ParquetS3, case)).into_iter().chain(on_delta.map(|case| (Kind::DeltaS3, case)));
    let mut worlds = Vec::new();
    for (kind, (name, rule)) in cases {
        let world = World::new(&tried, kind);
        world.weather.set(&[rule]);
        let report = run(&world.table);
        assert_eq!(report["counts"]["kept"], 20, "{name}");
        assert!(world.weather.counts().1 > 0, "{name}: nothing went wrong");
        world.mends(name, &mut oracle);
        worlds.push(world);
    }
    oracle.check();
}

#[test]
fn any_storm_ends_with_each_row_once() {
    // D-29 on parquet-s3, delta-s3
    let Some(mut oracle) = prepared("any_storm_ends_with_each_row_once") else { return };
    let tried = tried!();
    let mut worlds = Vec::new();
    // Two of them over a Delta table.
    for (seed, kind) in SEEDS.map(|seed| (seed, Kind::ParquetS3)).chain([(1, Kind::DeltaS3), (2, Kind::DeltaS3)]) {
        let world = World::new(&tried, kind);
        world.weather.storm(seed, 5);
        let mut runs = 0;
        while highwater(&world.table, &["run", "items"]).run().code != Some(0) {
            runs += 1;
            assert!(runs < RUNS_MAX, "storm of seed {seed}: not done in {runs} runs");
        }
        let (seen, spoiled) = world.weather.counts();
        println!("storm of seed {seed}: {spoiled} of {seen} requests went wrong, done in {} runs", runs + 1);
        assert!(spoiled > 0);
        world.mends(&format!("storm of seed {seed} over {kind}"), &mut oracle);
        worlds.push(world);
    }
    oracle.check();
}

#[test]
fn a_store_that_is_away_is_waited_for_and_what_was_decided_is_finished() {
    // D-26 on parquet-s3, delta-s3
    let Some(mut oracle) = prepared("a_store_that_is_away_is_waited_for_and_what_was_decided_is_finished") else { return };
    let tried = tried!();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut worlds = Vec::new();
    for kind in Kind::S3 {
        let world = World::new(&tried, kind);
        // Just before it is away: decided, and not seen yet.
        let decision = "kill-after:1@store.put_absent _highwater/items/log";
        highwater(&world.table, &["run", "items"]).env("HIGHWATER_FAULT", decision).run();
        let there = world.weather.endpoint();
        world.table.edit("sinks/lake.toml", &there, &format!("http://{nobody}"));
        for _ in 0..2 {
            let ended = highwater(&world.table, &["run", "items"]).run().expect_code(1);
            assert!(ended.stderr.contains("raw/_highwater/items/log/"), "{}", ended.stderr);
        }
        world.table.edit("sinks/lake.toml", &format!("http://{nobody}"), &there);
        let report = run(&world.table);
        assert!(report["recovered"][0].as_str().unwrap().contains("record 1 was decided"), "{report}");
        assert_eq!(report["commits"], 1, "{kind}: the other slice alone");
        world.mends(&format!("{kind} was away"), &mut oracle);
        worlds.push(world);
    }
    oracle.check();
}

#[test]
fn a_store_that_is_overrun_is_not_pressed() {
    // D-22 on parquet-s3, delta-s3
    let Some(mut oracle) = prepared("a_store_that_is_overrun_is_not_pressed") else { return };
    let tried = tried!();
    let worlds = Kind::S3.map(|kind| World::new(&tried, kind));
    let overrun = |world: &World| {
        world.weather.set(&[Rule(On::All, Fault::SlowDown, u64::MAX)]);
        let ended = highwater(&world.table, &["run", "items"]).run().expect_code(1);
        assert!(ended.stderr.contains("SlowDown"), "{}", ended.stderr);
        // One layer tries again: each request up to four times, and a run gives up after the first that stays refused.
        let (seen, _) = world.weather.counts();
        assert!(seen <= 40, "{seen} requests to a store that asked for patience");
    };
    std::thread::scope(|scope| worlds.iter().for_each(|world| drop(scope.spawn(|| overrun(world)))));
    worlds.iter().for_each(|world| world.mends("overrun", &mut oracle));
    oracle.check();
}

#[test]
fn a_daemon_leaves_a_store_in_peace_that_asks_for_patience() {
    // D-22 on parquet-s3, delta-s3: until a run has failed, or for as many seconds as HIGHWATER_TEST_STORM says.
    let Some(mut oracle) = prepared("a_daemon_leaves_a_store_in_peace_that_asks_for_patience") else { return };
    let tried = tried!();
    let seconds: Option<u64> = setting("HIGHWATER_TEST_STORM").map(|number| number.parse().unwrap());
    let worlds = Kind::S3.map(|kind| World::new(&tried, kind));
    let endure = |world: &World| {
        world.weather.set(&[Rule(On::All, Fault::SlowDown, u64::MAX)]);
        world.table.edit("jobs/items.toml", "mode = ", "schedule = \"* * * * * *\"\nmode = ");
        let daemon = Daemon::ready(&world.table, &[]);
        eventually("a run fails", || (runs(&world.table, "failed") > 0).then_some(()));
        let (first, _) = world.weather.counts();
        // Due each second, and parked for a minute at first, then for longer.
        std::thread::sleep(Duration::from_secs(seconds.unwrap_or(3)));
        let ((seen, _), failed) = (world.weather.counts(), runs(&world.table, "failed"));
        println!("{}: {seen} requests in {failed} runs of {seconds:?} s", world.table.kind);
        let runs_max = 1 + seconds.unwrap_or_default() / 60;
        assert!(
            failed <= runs_max && seen <= 40 * failed && (seconds.is_some() || seen == first),
            "{seen} requests in {failed} runs"
        );
        assert_eq!(mark(&world.table), serde_json::Value::Null);
        world.weather.calm();
        if seconds.is_some() {
            for _ in 0..3_600 {
                if runs(&world.table, "done") > 0 {
                    break;
                }
                std::thread::sleep(Duration::from_secs(1));
            }
            assert!(runs(&world.table, "done") > 0, "the daemon does not go on");
        }
        daemon.stop();
    };
    std::thread::scope(|scope| worlds.iter().for_each(|world| drop(scope.spawn(|| endure(world)))));
    for world in &worlds {
        // Parked until later, unless somebody asks for it.
        world.mends("overrun for long", &mut oracle);
    }
    oracle.check();
}

/// How many runs ended like that.
fn runs(table: &Table, status: &str) -> u64 {
    let told = highwater(table, &["runs", "items", "--json", "--limit", "2000"]).run().expect_code(0).json();
    told.as_array().unwrap().iter().filter(|run| run["status"] == status).count() as u64
}

#[test]
fn credentials_that_expire_in_the_middle_are_named() {
    // D-23 on parquet-s3, delta-s3
    let Some(mut oracle) = prepared("credentials_that_expire_in_the_middle_are_named") else { return };
    let tried = tried!();
    let mut worlds = Vec::new();
    for on in [On::Stage, On::Decide, On::Copy, On::Expose] {
        let world = World::new(&tried, if on == On::Expose { Kind::DeltaS3 } else { Kind::ParquetS3 });
        world.weather.set(&[Rule(on, Fault::Expired, u64::MAX)]);
        let ended = highwater(&world.table, &["run", "items"]).run();
        assert_eq!(ended.code, Some(1), "{on:?}: {}", ended.stderr);
        // What became of a decision is looked for in the log, and what the log does not have the next run decides.
        assert!(ended.stderr.contains("ExpiredToken"), "{on:?}: {}", ended.stderr);
        world.mends(&format!("expired at {on:?}"), &mut oracle);
        worlds.push(world);
    }
    oracle.check();
}

#[test]
fn what_is_changed_on_its_way_is_not_taken() {
    // D-21 on parquet-s3, delta-s3
    let Some(mut oracle) = prepared("what_is_changed_on_its_way_is_not_taken") else { return };
    let tried = tried!();
    let mut worlds = Vec::new();
    for (on, kind) in [(On::Stage, Kind::ParquetS3), (On::Decide, Kind::ParquetS3), (On::Expose, Kind::DeltaS3)] {
        let world = World::new(&tried, kind);
        world.weather.set(&[Rule(on, Fault::Spoilt, 1)]);
        let ended = highwater(&world.table, &["run", "items"]).run();
        // What was to be decided or committed is looked for and sent again; a staged file is not.
        if on == On::Stage {
            assert!(ended.code == Some(1) && ended.stderr.contains("BadDigest"), "{ended:?}");
        } else {
            assert_eq!(ended.code, Some(0), "{on:?}: {ended:?}");
        }
        assert!(world.weather.counts().1 > 0, "{on:?}: nothing was changed");
        world.mends(&format!("{on:?} changed on its way"), &mut oracle);
        worlds.push(world);
    }
    oracle.check();
}

#[test]
fn an_upload_whose_end_is_an_error_in_a_success_is_not_there() {
    // D-18 on parquet-s3, delta-s3
    let Some(_) = prepared("an_upload_whose_end_is_an_error_in_a_success_is_not_there") else { return };
    let tried = tried!();
    // A file that goes up in parts.
    let mut records = records();
    records[0].json = records[0].json.replace("\"name\":\"", &format!("\"name\":\"{}", "x".repeat(9 << 20)));
    for kind in Kind::S3 {
        let world = World::of(&tried, kind, records.clone());
        world.table.edit("sinks/lake.toml", "[storage]\n", "[parquet]\ncompression = \"none\"\n[storage]\n");
        world.table.edit("sources/api.toml", "timeout = \"20s\"\n", "timeout = \"60s\"\nbody_max = \"64MiB\"\n");
        world.weather.set(&[Rule(On::Complete, Fault::ErrorInSuccess, u64::MAX)]);
        let ended = highwater(&world.table, &["run", "items"]).run().expect_code(1);
        assert!(world.weather.counts().1 > 0, "{kind}: no upload in parts: {}", ended.stderr);
        let decided = |name: &String| name.contains("updated_at_month=2026-01");
        assert!(!world.table.objects().iter().any(decided), "{kind}: {:?}", world.table.objects());
        assert_eq!(mark(&world.table), serde_json::Value::Null, "{kind}");
        // Once is tried again.
        world.weather.set(&[Rule(On::Complete, Fault::ErrorInSuccess, 1)]);
        assert_eq!(run(&world.table)["counts"]["kept"], 10, "{kind}");
        assert!(world.weather.counts().1 > 1, "{kind}: {:?}", world.weather.counts());
        highwater(&world.table, &["verify"]).run().expect_code(0);
    }
}

#[test]
fn recovery_needs_no_listing() {
    // D-55 on parquet-s3, delta-s3
    let Some(mut oracle) = prepared("recovery_needs_no_listing") else { return };
    let tried = tried!();
    let mut worlds = Vec::new();
    let effects = [20, 24, 28, 32, 36].map(|at| (Kind::ParquetS3, format!("kill-after:{at}")));
    let parts =
        ["_highwater/items/log", "items/_delta_log"].map(|part| (Kind::DeltaS3, format!("kill-after:2@store.put_absent {part}")));
    for (kind, fault) in effects.into_iter().chain(parts) {
        let world = World::new(&tried, kind);
        // Whoever reads a Delta table lists its log.
        let on = if kind.is_delta() { On::ListOwn } else { On::List };
        world.weather.set(&[Rule(on, Fault::EmptyListing, u64::MAX)]);
        highwater(&world.table, &["run", "items"]).env("HIGHWATER_FAULT", &fault).run();
        // The state is gone too: what is covered is known from the log alone, record by record.
        std::fs::remove_dir_all(world.table.at("state")).unwrap();
        run(&world.table);
        world.mends(&format!("{fault}, with empty listings"), &mut oracle);
        worlds.push(world);
    }
    oracle.check();
}

#[test]
fn a_store_that_ignores_conditions_is_refused_and_doctor_says_why() {
    // D-53
    // O-18
    let careless = FakeGcs::careless();
    let api = api_with(Pages::Token, 8, records());
    let project = Project::of_items_to(&careless.sink(), &api, &Pages::Token, 8);
    let ended = highwater(&project, &["run", "items"]).run().expect_code(78);
    assert!(ended.stderr.contains("ignores put-if-absent"), "{}", ended.stderr);
    assert_eq!(careless.objects(), [""; 0]);
    let found = highwater(&project, &["doctor", "--json"]).run().expect_code(1).json();
    let broken: Vec<_> = found["findings"].as_array().unwrap().iter().filter(|one| one["verdict"] == "broken").collect();
    assert_eq!(broken.len(), 1, "{found}");
    assert_eq!((&broken[0]["area"], &broken[0]["what"]), (&"sink".into(), &"put_if_absent".into()));
    assert!(broken[0]["help"].as_str().unwrap().starts_with("write to S3"), "{found}");
}

#[test]
fn a_bucket_that_ignores_conditions_is_refused_before_a_row_is_written() {
    // D-53 on parquet-s3, delta-s3
    let Some(_) = prepared("a_bucket_that_ignores_conditions_is_refused_before_a_row_is_written") else { return };
    let tried = tried!();
    for kind in Kind::S3 {
        let world = World::new(&tried, kind);
        world.weather.set(&[Rule(On::Change, Fault::Careless, u64::MAX)]);
        let ended = highwater(&world.table, &["run", "items"]).run().expect_code(78);
        assert!(ended.stderr.contains("ignores put-if-absent"), "{}", ended.stderr);
        assert!(world.table.objects().is_empty(), "{:?}", world.table.objects());
    }
}

#[test]
fn a_bucket_of_another_region_says_where_to_set_it() {
    // D-25 on parquet-s3, delta-s3
    let Some(_) = prepared("a_bucket_of_another_region_says_where_to_set_it") else { return };
    let tried = tried!();
    for kind in Kind::S3 {
        let world = World::new(&tried, kind);
        let says = [(Fault::Moved, "set `region` under `[storage]`"), (Fault::WrongRegion, "`[storage]` to `eu-west-1`")];
        for (fault, says) in says {
            world.weather.set(&[Rule(On::All, fault, u64::MAX)]);
            let ended = highwater(&world.table, &["run", "items"]).run().expect_code(78);
            assert!(ended.stderr.contains(says), "{}", ended.stderr);
        }
        assert_eq!(world.api.seen().len(), 0, "nothing is fetched that could not be written");
    }
}

#[test]
fn a_bucket_that_is_full_or_may_only_be_read_decides_nothing() {
    // D-06, D-24 on parquet-s3, delta-s3: at each kind of write.
    let Some(mut oracle) = prepared("a_bucket_that_is_full_or_may_only_be_read_decides_nothing") else { return };
    let tried = tried!();
    let mut worlds = Vec::new();
    let full = |on| Rule(on, Fault::Full, u64::MAX);
    let read_only = || Rule(On::Change, Fault::Denied, u64::MAX);
    let cases = [
        (Kind::ParquetS3, full(On::Stage), 0),
        (Kind::ParquetS3, full(On::Decide), 0),
        (Kind::ParquetS3, full(On::Publish), 1),
        (Kind::ParquetS3, read_only(), 0),
        (Kind::DeltaS3, full(On::Stage), 0),
        (Kind::DeltaS3, full(On::Expose), 1),
        (Kind::DeltaS3, read_only(), 0),
    ];
    for (kind, rule, decided) in cases {
        let world = World::new(&tried, kind);
        // The store was found fit before.
        highwater(&world.table, &["run", "items"]).env("HIGHWATER_FAULT", "kill-before:1@store.stage").run();
        world.weather.set(&[rule]);
        let ended = highwater(&world.table, &["run", "items"]).run().expect_code(1);
        let says = if rule.1 == Fault::Full { "XMinioStorageFull" } else { "AccessDenied" };
        assert!(ended.stderr.contains(says) || ended.stderr.contains("undecided"), "{rule:?}: {}", ended.stderr);
        let records = world.table.objects().iter().filter(|name| name.contains("/log/")).count();
        assert_eq!(records, decided, "{kind} {rule:?}");
        assert_eq!(mark(&world.table), serde_json::Value::Null, "{kind} {rule:?}");
        world.mends(&format!("{rule:?}"), &mut oracle);
        worlds.push(world);
    }
    oracle.check();
}

#[test]
fn a_store_that_cuts_copies_is_refused_before_a_row_is_written() {
    // D-54 on parquet-s3, delta-s3
    let Some(_) = prepared("a_store_that_cuts_copies_is_refused_before_a_row_is_written") else { return };
    let tried = tried!();
    for kind in Kind::S3 {
        let world = World::new(&tried, kind);
        world.weather.set(&[Rule(On::Copy, Fault::HalfCopy, u64::MAX)]);
        let ended = highwater(&world.table, &["run", "items"]).run().expect_code(1);
        assert!(ended.stderr.contains("an empty object stands there"), "{}", ended.stderr);
        assert!(world.table.objects().is_empty(), "{:?}", world.table.objects());
    }
}
