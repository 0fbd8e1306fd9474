//! Several daemons on one state in Postgres: their work, their quota, and a server that crashes under them.

use std::process::{Child, Stdio};
use std::time::Duration;

use super::loads::api_with;
use crate::world::Deadline;
use crate::world::api::{FakeApi, Fault, Pages, Record, Stream};
use crate::world::bucket::Bucket;
use crate::world::cutter::Cutter;
use crate::world::daemon::{Daemon, eventually};
use crate::world::feed;
use crate::world::kind::{Kind, Tried, prepared, tried};
use crate::world::oracle::Oracle;
use crate::world::postgres::{Database, Server};
use crate::world::program::{Ended, command, highwater};
use crate::world::project::{Project, job};
use crate::world::{setting, skip};

const PAGE: usize = 5;

fn records() -> Vec<Record> {
    let mut records = feed::plain(1, 10, "2026-01-31T23:55:00Z");
    records.extend(feed::plain(11, 10, "2026-02-14T23:55:00Z"));
    records
}

/// Tables of every kind, job by job.
struct Lakes {
    folder: tempfile::TempDir,
    parquet: Bucket,
    delta: Bucket,
}

impl Lakes {
    fn new() -> Self {
        let bucket = || Bucket::new().expect("asked for before");
        Lakes { folder: tempfile::tempdir().unwrap(), parquet: bucket(), delta: bucket() }
    }

    /// The sink's file for a kind.
    fn sink(&self, kind: Kind) -> String {
        let format = if kind.is_delta() { "delta" } else { "parquet" };
        match kind {
            Kind::ParquetS3 => self.parquet.sink(&self.parquet.endpoint),
            Kind::DeltaS3 => self.delta.sink(&self.delta.endpoint).replace("\"parquet\"", "\"delta\""),
            _ => format!("version = 1\ntype = \"{format}\"\nurl = {:?}\n", self.folder.path().join(format).to_string_lossy()),
        }
    }

    fn expect(&self, oracle: &mut Oracle, kind: Kind, table: &str, truth: &[Record]) {
        let in_bucket = |bucket: &Bucket| {
            let mut place = bucket.place();
            place["prefix"] = format!("raw/{table}").into();
            place
        };
        let place = match kind {
            Kind::ParquetS3 => in_bucket(&self.parquet),
            Kind::DeltaS3 => in_bucket(&self.delta),
            Kind::ParquetLocal => serde_json::json!(self.folder.path().join("parquet").join(table)),
            Kind::DeltaLocal => serde_json::json!(self.folder.path().join("delta").join(table)),
        };
        oracle.expect_place(&format!("{table}, {kind}"), &place, kind.is_delta(), truth);
    }
}

/// So many jobs, and the kinds of their tables. Each second a daemon asks what there is of every one: of those in buckets there are
/// few.
fn jobs(count: usize) -> Vec<(String, Kind)> {
    let local = Kind::LOCAL.into_iter().cycle().take(count - 2);
    let kinds = Kind::S3.into_iter().chain(local);
    (1..).zip(kinds).map(|(number, kind)| (format!("job{number}"), kind)).collect()
}

/// A folder of its own for one of those that share `lakes`, with the jobs.
fn member(tried: &Tried, api: &FakeApi, lakes: &Lakes, jobs: &[(String, Kind)], more: &str) -> Project {
    let project = Project::of_items(api, &Pages::Token, PAGE).witnessed(tried);
    project.write("config.toml", "version = 1\n\n[state]\nurl = { env = \"STATE_URL\" }\n");
    for kind in Kind::ALL {
        project.write(&format!("sinks/{kind}.toml"), &lakes.sink(kind));
    }
    for name in ["sinks/lake.toml", "jobs/items.toml"] {
        std::fs::remove_file(project.at(name)).unwrap();
    }
    for (name, kind) in jobs {
        let more = format!("table = \"{name}\"\n{more}");
        let text = format!("{}step = \"14d\"\n", job(&more).replace("2026-01-01", "2026-01-31"));
        project.write(&format!("jobs/{name}.toml"), &text.replace("sink = \"lake\"", &format!("sink = \"{kind}\"")));
    }
    project
}

fn call(project: &Project, environment: &[(&str, &str)], args: &[&str]) -> Ended {
    environment.iter().fold(highwater(project, args), |call, (name, value)| call.env(name, value)).run()
}

/// Waits until each of the tables has so many rows, and nothing is wrong with it.
fn rows(project: &Project, environment: &[(&str, &str)], count: u64) {
    eventually(&format!("tables of {count} rows"), || {
        let told = call(project, environment, &["verify", "--json"]);
        let told = (told.code == Some(0)).then(|| told.json())?;
        told.as_array()?.iter().all(|table| table["rows"].as_u64() == Some(count)).then_some(())
    });
}

/// Running again changes nothing, whoever does it.
fn nothing_is_left_to_do(project: &Project, environment: &[(&str, &str)], jobs: &[(String, Kind)]) {
    let ended = call(project, environment, &["run", "--json"]).expect_code(0).json();
    assert_eq!(ended.as_array().unwrap().len(), jobs.len());
    for report in ended.as_array().unwrap() {
        assert_eq!((report["counts"]["kept"].as_u64(), report["commits"].as_u64()), (Some(0), Some(0)), "{report}");
    }
}

/// Daemons and jobs: as many as HIGHWATER_TEST_DAEMONS says, `8x50`, where it says something.
fn crowd() -> (usize, usize) {
    let crowd = setting("HIGHWATER_TEST_DAEMONS").unwrap_or_else(|| "3x12".to_owned());
    let (daemons, jobs) = crowd.split_once('x').expect("daemons, `x`, jobs");
    (daemons.parse().unwrap(), jobs.parse().unwrap())
}

#[test]
fn daemons_share_jobs_and_go_on_where_one_is_killed() {
    // D-31 on every kind
    const NAME: &str = "daemons_share_jobs_and_go_on_where_one_is_killed";
    let Some(database) = Database::new("daemons") else { return skip(NAME, "no Postgres server") };
    let Some(mut oracle) = prepared(NAME) else { return };
    let tried = tried!();
    let (daemons, count) = crowd();
    let jobs = jobs(count);
    let api = api_with(Pages::Token, PAGE, records());
    let lakes = Lakes::new();
    // Each second, or as often as there is time for all of them.
    let schedule = format!("schedule = \"*/{} * * * * *\"\n", 1 + jobs.len() / 13 * 3);
    let projects: Vec<Project> = (0..daemons).map(|_| member(&tried, &api, &lakes, &jobs, &schedule)).collect();
    let environment = vec![("STATE_URL", database.url()), ("HIGHWATER_LEASE_MS", "3000")];
    // The first is killed in the middle of its runs, and holds their leases.
    let mut dying = environment.clone();
    dying.push(("HIGHWATER_FAULT", "kill-before:200"));
    assert_eq!(Daemon::start(&projects[0], &dying).wait().signal, Some(9));
    assert!(database.count("SELECT count(*) FROM dataset WHERE token IS NOT NULL") > 0, "leases were held");
    let others: Vec<Daemon> = projects[1..].iter().map(|project| Daemon::ready(project, &environment)).collect();
    rows(&projects[1], &environment, 20);
    let mut truth = records();
    truth.extend(feed::plain(100, 10, "2026-03-01T00:10:00Z"));
    api.add_records("items", feed::plain(100, 10, "2026-03-01T00:10:00Z"));
    api.set_now("2026-03-20T00:00:00Z");
    rows(&projects[2], &environment, 30);
    eventually("all of them work", || {
        let at_work = database.count("SELECT count(DISTINCT process) FROM runs WHERE status = 'done'");
        (usize::try_from(at_work).unwrap() >= others.len()).then_some(())
    });
    for daemon in others {
        daemon.stop();
    }
    assert_eq!(database.count("SELECT count(*) FROM dataset WHERE token IS NOT NULL"), 0, "all was given back");
    nothing_is_left_to_do(&projects[0], &environment, &jobs);
    jobs.iter().for_each(|(name, kind)| lakes.expect(&mut oracle, *kind, name, &truth));
    oracle.check();
}

#[test]
fn a_run_outlives_a_state_whose_server_crashes() {
    // D-34, D-27 on every kind
    const NAME: &str = "a_run_outlives_a_state_whose_server_crashes";
    let Some(server) = Server::start() else { return skip(NAME, "no Postgres server") };
    let Some(mut oracle) = prepared(NAME) else { return };
    let tried = tried!();
    let api = api_with(Pages::Token, PAGE, records());
    let lakes = Lakes::new();
    let jobs = jobs(4);
    let project = member(&tried, &api, &lakes, &jobs, "");
    let url = server.url();
    let environment = vec![("STATE_URL", url.as_str())];
    api.fail(0..1_000, Fault::Slow(Duration::from_millis(300)));
    let mut run = begin(&project, &environment);
    let mut crashes = 0;
    let ended = eventually("the run ends", || {
        // Each time in the middle of other requests: between them, what is decided is noted in the state.
        if crashes < 4 && api.seen().len() >= 3 + crashes * 7 {
            server.crash();
            crashes += 1;
        }
        run.try_wait().unwrap()
    });
    assert_eq!((ended.code(), crashes >= 2), (Some(0), true), "{crashes} crashes");
    api.heal();
    nothing_is_left_to_do(&project, &environment, &jobs);
    call(&project, &environment, &["verify"]).expect_code(0);
    jobs.iter().for_each(|(name, kind)| lakes.expect(&mut oracle, *kind, name, &records()));
    oracle.check();
}

#[test]
fn daemons_whose_connections_to_the_state_break_lose_nothing_and_stop() {
    // D-27, D-29, D-35 on every kind
    const NAME: &str = "daemons_whose_connections_to_the_state_break_lose_nothing_and_stop";
    const SEED: u64 = 20_261_127;
    let Some(server) = Server::start() else { return skip(NAME, "no Postgres server") };
    let Some(mut oracle) = prepared(NAME) else { return };
    let tried = tried!();
    println!("seed {SEED}");
    let cutter = Cutter::before(server.folder(), SEED);
    let api = api_with(Pages::Token, PAGE, records());
    let lakes = Lakes::new();
    let jobs = jobs(4);
    let projects = [(); 2].map(|()| member(&tried, &api, &lakes, &jobs, "schedule = \"* * * * * *\"\n"));
    let (broken, whole) = (cutter.url(), server.url());
    let environment = [("STATE_URL", broken.as_str()), ("HIGHWATER_LEASE_MS", "5000")];
    let daemons = [0, 1].map(|number| Daemon::ready(&projects[number], &environment));
    let seen = |at_least: u64| eventually("connections break", || (cutter.broken() >= at_least).then_some(()));
    seen(10);
    let mut truth = records();
    truth.extend(feed::plain(100, 10, "2026-03-01T00:10:00Z"));
    api.add_records("items", feed::plain(100, 10, "2026-03-01T00:10:00Z"));
    api.set_now("2026-03-20T00:00:00Z");
    seen(20);
    // In the middle of it one is asked to stop: it may have to wait for silent connections, and ends.
    let [first, second] = daemons;
    first.stop();
    cutter.heal();
    let direct = [("STATE_URL", whole.as_str())];
    rows(&projects[0], &direct, 30);
    second.stop();
    nothing_is_left_to_do(&projects[0], &direct, &jobs);
    jobs.iter().for_each(|(name, kind)| lakes.expect(&mut oracle, *kind, name, &truth));
    oracle.check();
}

fn begin(project: &Project, environment: &[(&str, &str)]) -> Child {
    let mut run = command(project, &["run"]);
    run.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    run.spawn().unwrap()
}

/// Killed when it is dropped.
struct Working(Child);

impl Working {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.kill();
    }
}

const A_SECOND: usize = 40;

fn most_within_a_second(seen: &[Duration]) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, at) in seen.iter().enumerate() {
        while *at - seen[first] > Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

/// How much of the limit is used from now on, over a stretch of that length.
fn used(api: &FakeApi, length: Duration) -> f64 {
    let before = api.seen().len();
    let over = Deadline::after(length);
    eventually("time has passed", || over.passed().then_some(()));
    (api.seen().len() - before) as f64 / (A_SECOND as f64 * length.as_secs_f64())
}

#[test]
fn eight_processes_use_a_limit_and_never_exceed_it_and_who_dies_leaves_its_part_to_the_others() {
    //
    const NAME: &str = "eight_processes_use_a_limit_and_never_exceed_it_and_who_dies_leaves_its_part_to_the_others";
    let Some(database) = Database::new("quota") else { return skip(NAME, "no Postgres server") };
    let api = FakeApi::start("2026-03-15T00:00:00Z");
    let environment = vec![("STATE_URL", database.url()), ("HIGHWATER_LEASE_MS", "12000")];
    let projects: Vec<Project> = (0..8).map(|number| endless(&api, &format!("items{number}"))).collect();
    let mut working: Vec<Working> = projects.iter().map(|project| Working(begin(project, &environment))).collect();
    let paths = || api.seen().iter().map(|seen| seen.path.clone()).collect::<std::collections::BTreeSet<_>>().len();
    eventually("all of them have a part", || (paths() == 8).then_some(()));
    eventually("the limit is used", || (used(&api, Duration::from_secs(1)) >= 0.9).then_some(()));
    let share = used(&api, Duration::from_secs(8));
    working.drain(1..).for_each(|mut dead| dead.kill());
    eventually("one uses what eight did", || (used(&api, Duration::from_secs(1)) >= 0.9).then_some(()));
    let mut seen = api.seen_at();
    seen.sort_unstable();
    assert!(most_within_a_second(&seen) <= A_SECOND, "{} in a second", most_within_a_second(&seen));
    assert!(share >= 0.95, "{share} of the limit");
}

/// A project whose one job has pages without end.
fn endless(api: &FakeApi, stream: &str) -> Project {
    api.put_stream(stream, Stream { pages: Pages::Endless, page_size: PAGE, records: feed::plain(1, 5, "2026-02-01T00:00:00Z") });
    let project = Project::new();
    let source = format!(
        "version = 1\ntype = \"http\"\nbase_url = \"{}\"\n\n[limits]\nrequests = [\"{A_SECOND}/s\"]\n\n[streams.{stream}]\n\
         path = \"/{stream}\"\nrecords = \"data\"\nprimary_key = [\"id\"]\n\
         paging = {{ type = \"page_token\", token = \"next_token\", param = \"token\", pages_max = 1000000 }}\n",
        api.url()
    );
    project.write("sources/api.toml", &source);
    project.write("config.toml", "version = 1\n\n[state]\nurl = { env = \"STATE_URL\" }\n");
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    let text = format!("version = 1\nsource = \"api\"\nstream = \"{stream}\"\nsink = \"lake\"\nmode = \"replace\"\n");
    project.write(&format!("jobs/{stream}.toml"), &text);
    project
}
