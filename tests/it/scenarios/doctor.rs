//! `doctor` and `check --connect`: what is wrong outside of the files, found before a run finds it.

use super::loads::{api_with, run};
use crate::world::api::{FakeApi, Fault, Pages};
use crate::world::disk::{EIO, Failing, FailingDisk, told};
use crate::world::feed;
use crate::world::program::highwater;
use crate::world::project::Project;
use crate::world::skip;

fn world() -> (FakeApi, Project) {
    let api = api_with(Pages::Token, 5, feed::plain(1, 10, "2026-02-01T00:00:00Z"));
    let project = Project::of_items(&api, &Pages::Token, 5);
    (api, project)
}

/// The findings with this verdict, as `area subject what`.
fn with_verdict(found: &serde_json::Value, key: &str, verdict: &str) -> Vec<String> {
    let all = found[key].as_array().unwrap().iter().filter(|one| one["verdict"] == verdict);
    all.map(|one| format!("{} {} {}", one["area"], one["subject"], one["what"]).replace('"', "")).collect()
}

#[test]
fn a_fit_project_is_found_fit_and_left_as_it_was() {
    // O-18
    let (api, project) = world();
    run(&project);
    let (lake, state) = (project.listing("lake"), highwater(&project, &["state", "show", "--json"]).run().json());
    let asked = api.seen().len();
    let ended = highwater(&project, &["doctor"]).run().expect_code(0);
    assert_eq!(api.seen().len(), asked + 1, "one request a source");
    for told in [
        "good     files: 1 job ready",
        "good     state: opens, and every page of it is whole",
        "good     daemon: none is at work in this project",
        "good     sink lake: put-if-absent refuses a second writer",
        "good     sink lake: what is staged is published whole",
        "good     sink lake: what was written is durable, as far as the store tells",
        "good     source api: answers in",
    ] {
        assert!(ended.stdout.contains(told), "{told} is missing in\n{}", ended.stdout);
    }
    // The fake's clock stands in March 2026.
    assert!(ended.stdout.contains("odd      source api: its clock is"), "{}", ended.stdout);
    assert_eq!(project.listing("lake"), lake);
    assert_eq!(highwater(&project, &["state", "show", "--json"]).run().json(), state);
    assert_eq!(run(&project)["commits"], 0);
}

#[test]
fn a_disk_that_cannot_sync_and_one_that_loses_all_with_its_power_are_named() {
    // O-18
    const NAME: &str = "a_disk_that_cannot_sync_and_one_that_loses_all_with_its_power_are_named";
    let Some(disk) = FailingDisk::new() else { return skip(NAME, "there is no C compiler, or this is not Linux") };
    let (_api, project) = world();
    run(&project);
    // The last sync of all, and every sync.
    let (lake, log) = (project.at("lake"), project.at("calls.txt"));
    let doctor = |failing| disk.under(highwater(&project, &["doctor"]), &lake, &log, failing).run();
    doctor(Failing::none()).expect_code(0);
    let syncs = told(&log).iter().filter(|told| told.call == "fsync").count();
    for first in [1, syncs] {
        let ended = doctor(Failing { call: "fsync", first, last: usize::MAX >> 1, error: EIO }).expect_code(1);
        assert!(ended.stdout.contains("broken   sink lake: ") && ended.stdout.contains("(os error 5)"), "{}", ended.stdout);
    }
    let memory = std::path::Path::new("/dev/shm");
    if !std::fs::read_to_string("/proc/mounts").is_ok_and(|mounts| mounts.contains(" /dev/shm tmpfs")) {
        return skip(NAME, "there is no file system in memory");
    }
    let folder = tempfile::tempdir_in(memory).unwrap();
    project.write("sinks/lake.toml", &format!("version = 1\ntype = \"parquet\"\nurl = {:?}\n", folder.path().to_string_lossy()));
    let ended = highwater(&project, &["doctor"]).run().expect_code(0);
    assert!(ended.stdout.contains("odd      sink lake: the folder lies on tmpfs, in memory"), "{}", ended.stdout);
}

#[test]
fn what_is_broken_is_named_with_the_way_out() {
    // O-18
    let (api, project) = world();
    let call = |arguments: &[&str]| highwater(&project, arguments).env("API_TOKEN", "secret").run();
    project.edit("sources/api.toml", "timeout", "auth = { type = \"bearer\", token = { env = \"API_TOKEN\" } }\ntimeout");
    api.fail(0..1000, Fault::Status(401));
    // A file stands where the sink's folder should be.
    project.write("lake", "");
    let found = call(&["check", "--connect", "--json"]).expect_code(1).json();
    assert_eq!(with_verdict(&found, "connections", "broken"), ["source api answers", "sink lake answers"]);
    let helps = found["connections"].as_array().unwrap().iter().filter(|one| one["verdict"] == "broken");
    assert!(helps.into_iter().all(|one| one["help"].is_string()), "{found}");
    let ended = call(&["doctor"]).expect_code(1);
    assert!(ended.stdout.contains("renew the secret"), "{}", ended.stdout);
    assert!(ended.stdout.contains("Bearer ***"), "{}", ended.stdout);
    // Without being asked to, `check` asks nobody.
    let asked = api.seen().len();
    call(&["check"]).expect_code(0);
    assert_eq!(api.seen().len(), asked);
    // Named, a job is asked for alone, and also where it is not enabled.
    let another = std::fs::read_to_string(project.at("jobs/items.toml"))
        .unwrap()
        .replace("sink = \"lake\"", "sink = \"fit\"\nenabled = false\ntable = \"other\"");
    project.write("jobs/another.toml", &another);
    project.write("sinks/fit.toml", "version = 1\ntype = \"parquet\"\nurl = \"fit\"\n");
    let found = call(&["check", "another", "--connect", "--json"]).expect_code(1).json();
    assert_eq!(with_verdict(&found, "connections", "broken"), ["source api answers"]);
    assert_eq!((&found["jobs"], found["promises"].as_array().unwrap().len()), (&serde_json::json!(["another"]), 1));
}

#[test]
fn a_secret_that_is_missing_is_named_by_its_reference() {
    let (api, project) = world();
    project.edit("sources/api.toml", "timeout", "auth = { type = \"bearer\", token = { env = \"NOT_SET\" } }\ntimeout");
    project.write("config.toml", "version = 1\n[alerts.team]\ntype = \"webhook\"\nurl = { env = \"HOOK\" }\n");
    let found = highwater(&project, &["doctor", "--json"]).run().expect_code(1).json();
    assert_eq!(with_verdict(&found, "findings", "broken"), ["secret alerts.team.url ", "source api answers"]);
    assert!(found.to_string().contains("NOT_SET"), "{found}");
    assert!(api.seen().is_empty());
    let said = highwater(&project, &["doctor"]).run().expect_code(1).stdout;
    let line =
        "source api: missing secret `env NOT_SET`: environment variable `NOT_SET` is not set\n         help: set the variable";
    assert!(said.contains(line) && !said.contains("source api: source api"), "{said}");
}
