//! An object store behind a bad network: whatever becomes of requests and answers, each row is there once.

use super::loads::{api_with, run};
use super::stores::opened;
use crate::world::api::{FakeApi, Pages, Record};
use crate::world::bucket::Bucket;
use crate::world::feed;
use crate::world::gcs::FakeGcs;
use crate::world::oracle::Oracle;
use crate::world::program::highwater;
use crate::world::project::{Project, job};
use crate::world::skip;
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
    /// What its table is made of.
    kind: &'static str,
    bucket: Bucket,
    weather: Weather,
    api: FakeApi,
    project: Project,
}

impl World {
    /// `None` where there is no S3 server.
    fn new() -> Option<Self> {
        World::of("parquet")
    }

    fn of(kind: &'static str) -> Option<Self> {
        let bucket = Bucket::new()?;
        let weather = Weather::before(&bucket.endpoint);
        let api = api_with(Pages::Token, 8, records());
        let sink = bucket.sink(&weather.endpoint()).replace("\"parquet\"", &format!("\"{kind}\""));
        let sink = format!("{sink}timeout = \"5s\"\n");
        let project = Project::of_items_to(&sink, &api, &Pages::Token, 8);
        project.write("jobs/items.toml", &format!("{}step = \"14d\"\n", job("").replace("2026-01-01", "2026-01-31")));
        Some(World { kind, bucket, weather, api, project })
    }

    /// The weather clears up; a run brings what is missing, one more changes nothing, and the table can be read by others.
    fn mends(&self, name: &str, oracle: &mut Oracle) {
        self.weather.calm();
        run(&self.project);
        assert_eq!(run(&self.project)["commits"], 0, "{name}");
        highwater(&self.project, &["verify"]).run().expect_code(0);
        assert!(self.api.seen().len() > 2);
        if self.kind == "delta" {
            // The table, and a commit for each slice: nothing is in the log twice.
            oracle.expect_delta(name, &self.bucket.place(), &records())["commits"] = 2.into();
        } else {
            oracle.expect_in(name, &self.bucket, &records());
        }
    }
}

/// A skip, noted, where the oracle or the server is missing.
fn prepared(test: &str) -> Option<Oracle> {
    match (Oracle::new(), Bucket::new()) {
        (Some(oracle), Some(_)) => Some(oracle),
        _ => {
            skip(test, "there is no S3 server");
            None
        }
    }
}

#[test]
fn one_bad_answer_anywhere_costs_nothing() {
    // D-13
    // D-14
    // D-15
    // D-16
    // D-19
    let Some(mut oracle) = prepared("one_bad_answer_anywhere_costs_nothing") else { return };
    let cases = [
        ("500 after the Delta commit", Rule(On::Expose, Fault::LostAnswer, 1)),
        ("500 after the Delta commit, five times", Rule(On::Expose, Fault::LostAnswer, 5)),
        ("reset after the Delta commit", Rule(On::Expose, Fault::Reset, 2)),
        ("409 to the Delta commit with nothing there", Rule(On::Expose, Fault::Conflict, 2)),
        ("slow down before the Delta commit", Rule(On::Expose, Fault::SlowDown, 3)),
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
    let mut worlds = Vec::new();
    for (name, rule) in cases {
        let kind = if rule.0 == On::Expose { "delta" } else { "parquet" };
        let world = World::of(kind).expect("asked for before");
        world.weather.set(&[rule]);
        let report = run(&world.project);
        assert_eq!(report["counts"]["kept"], 20, "{name}");
        assert!(world.weather.counts().1 > 0, "{name}: nothing went wrong");
        world.mends(name, &mut oracle);
        worlds.push(world);
    }
    oracle.check();
}

#[test]
fn any_storm_ends_with_each_row_once() {
    // D-29
    let Some(mut oracle) = prepared("any_storm_ends_with_each_row_once") else { return };
    let mut worlds = Vec::new();
    // Two of them over a Delta table.
    for (seed, kind) in SEEDS.map(|seed| (seed, "parquet")).chain([(1, "delta"), (2, "delta")]) {
        let world = World::of(kind).expect("asked for before");
        world.weather.storm(seed, 5);
        let mut runs = 0;
        while highwater(&world.project, &["run", "items"]).run().code != Some(0) {
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
    // D-26
    let Some(mut oracle) = prepared("a_store_that_is_away_is_waited_for_and_what_was_decided_is_finished") else { return };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut worlds = Vec::new();
    for kind in ["parquet", "delta"] {
        let world = World::of(kind).expect("asked for before");
        let log = super::kill::effects(&World::of(kind).expect("asked for before").project);
        let decision = log.iter().position(|name| name.starts_with("store.put_absent _highwater")).unwrap() + 1;
        // Just before it is away: decided, and not seen yet.
        highwater(&world.project, &["run", "items"]).env("HIGHWATER_FAULT", &format!("kill-after:{decision}")).run();
        let there = world.weather.endpoint();
        world.project.edit("sinks/lake.toml", &there, &format!("http://{nobody}"));
        for _ in 0..2 {
            let ended = highwater(&world.project, &["run", "items"]).run().expect_code(1);
            assert!(ended.stderr.contains("raw/_highwater/items/log/"), "{}", ended.stderr);
        }
        world.project.edit("sinks/lake.toml", &format!("http://{nobody}"), &there);
        let report = run(&world.project);
        assert!(report["recovered"][0].as_str().unwrap().contains("record 1 was decided"), "{report}");
        assert_eq!(report["commits"], 1, "{kind}: the other slice alone");
        world.mends(&format!("{kind} was away"), &mut oracle);
        worlds.push(world);
    }
    oracle.check();
}

#[test]
fn a_store_that_is_overrun_is_not_pressed() {
    // D-22
    let Some(mut oracle) = prepared("a_store_that_is_overrun_is_not_pressed") else { return };
    let world = World::new().expect("asked for before");
    world.weather.set(&[Rule(On::All, Fault::SlowDown, u64::MAX)]);
    let ended = highwater(&world.project, &["run", "items"]).run().expect_code(1);
    assert!(ended.stderr.contains("SlowDown"), "{}", ended.stderr);
    // One layer tries again: each request up to four times, and a run gives up after the first that stays refused.
    let (seen, _) = world.weather.counts();
    assert!(seen <= 40, "{seen} requests to a store that asked for patience");
    world.mends("overrun", &mut oracle);
    oracle.check();
}

#[test]
fn credentials_that_expire_in_the_middle_are_named() {
    // D-23
    let Some(mut oracle) = prepared("credentials_that_expire_in_the_middle_are_named") else { return };
    let mut worlds = Vec::new();
    for on in [On::Stage, On::Decide, On::Copy, On::Expose] {
        let world = World::of(if on == On::Expose { "delta" } else { "parquet" }).expect("asked for before");
        world.weather.set(&[Rule(on, Fault::Expired, u64::MAX)]);
        let ended = highwater(&world.project, &["run", "items"]).run();
        assert_eq!(ended.code, Some(1), "{on:?}: {}", ended.stderr);
        // What became of a decision is looked for in the log, and what the log does not have the next run decides.
        let says = if on == On::Decide { "undecided" } else { "ExpiredToken" };
        assert!(ended.stderr.contains(says), "{on:?}: {}", ended.stderr);
        world.mends(&format!("expired at {on:?}"), &mut oracle);
        worlds.push(world);
    }
    oracle.check();
}

#[test]
fn what_is_changed_on_its_way_is_not_taken() {
    // D-21
    let Some(mut oracle) = prepared("what_is_changed_on_its_way_is_not_taken") else { return };
    let mut worlds = Vec::new();
    for (on, kind) in [(On::Stage, "parquet"), (On::Decide, "parquet"), (On::Expose, "delta")] {
        let world = World::of(kind).expect("asked for before");
        world.weather.set(&[Rule(on, Fault::Spoilt, 1)]);
        let ended = highwater(&world.project, &["run", "items"]).run();
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

#[tokio::test]
async fn an_upload_whose_end_is_an_error_in_a_success_is_not_there() {
    // D-18
    let Some(world) = std::thread::spawn(World::new).join().unwrap() else {
        return skip("an_upload_whose_end_is_an_error_in_a_success_is_not_there", "there is no S3 server");
    };
    let store = opened(&world.bucket.sink(&world.weather.endpoint()));
    let bytes = bytes::Bytes::from(vec![7; 9 << 20]);
    for (times, whole) in [(1, true), (u64::MAX, false)] {
        world.weather.set(&[Rule(On::Complete, Fault::ErrorInSuccess, times)]);
        let path = format!("t/{times}.staged");
        let mut writer = store.stage(&path).await.unwrap();
        writer.write(bytes.clone()).await.unwrap();
        assert_eq!(writer.finish().await.is_ok(), whole, "{times} times");
        world.weather.calm();
        assert_eq!(store.size(&path).await.unwrap(), whole.then_some(9 << 20));
    }
    std::thread::spawn(move || drop(world)).join().unwrap();
}

#[test]
fn recovery_needs_no_listing() {
    // D-55
    let Some(mut oracle) = prepared("recovery_needs_no_listing") else { return };
    let mut worlds = Vec::new();
    for at in [20, 24, 28, 32, 36] {
        let world = World::new().expect("asked for before");
        world.weather.set(&[Rule(On::List, Fault::EmptyListing, u64::MAX)]);
        highwater(&world.project, &["run", "items"]).env("HIGHWATER_FAULT", &format!("kill-after:{at}")).run();
        // The state is gone too: what is covered is known from the log alone, record by record.
        std::fs::remove_dir_all(world.project.at("state")).unwrap();
        run(&world.project);
        world.mends(&format!("killed after {at}, with empty listings"), &mut oracle);
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
fn a_bucket_of_another_region_says_where_to_set_it() {
    // D-25
    let Some(world) = World::new() else {
        return skip("a_bucket_of_another_region_says_where_to_set_it", "there is no S3 server");
    };
    for (fault, says) in [(Fault::Moved, "set `region` under `[storage]`"), (Fault::WrongRegion, "`[storage]` to `eu-west-1`")] {
        world.weather.set(&[Rule(On::All, fault, u64::MAX)]);
        let ended = highwater(&world.project, &["run", "items"]).run().expect_code(78);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    assert_eq!(world.api.seen().len(), 0, "nothing is fetched that could not be written");
}

#[test]
fn a_store_that_cuts_copies_is_refused_before_a_row_is_written() {
    // D-54
    let Some(world) = World::new() else {
        return skip("a_store_that_cuts_copies_is_refused_before_a_row_is_written", "there is no S3 server");
    };
    world.weather.set(&[Rule(On::Copy, Fault::HalfCopy, u64::MAX)]);
    let ended = highwater(&world.project, &["run", "items"]).run().expect_code(1);
    assert!(ended.stderr.contains("an empty object stands there"), "{}", ended.stderr);
    assert!(world.bucket.objects().is_empty(), "{:?}", world.bucket.objects());
}
