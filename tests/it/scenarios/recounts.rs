//! `verify --source`: a table beside what its source says that it has.

use super::loads::api_with;
use crate::world::api::{Fault, Pages};
use crate::world::feed;
use crate::world::program::{Ended, highwater};
use crate::world::project::Project;

const PAGE: usize = 5;

fn verify(project: &Project, code: i32) -> serde_json::Value {
    let ended: Ended = highwater(project, &["verify", "items", "--source", "--json"]).run();
    ended.expect_code(code).json()[0].clone()
}

#[test]
fn a_source_that_tells_totals_says_what_a_table_lacks() {
    // C-07, D-70
    let api = api_with(Pages::Offset, PAGE, feed::plain(1, 20, "2026-02-01T00:00:00Z"));
    let project = Project::of_items(&api, &Pages::Offset, PAGE);
    assert!(verify(&project, 0)["source"].is_null(), "there is nothing to compare yet");
    highwater(&project, &["run"]).run().expect_code(0);
    let before = api.seen().len();
    let told = verify(&project, 0);
    assert_eq!((told["rows"].as_u64(), told["source"]["records"].as_u64()), (Some(20), Some(20)), "{told}");
    assert_eq!(api.seen().len() - before, 1, "one request for all that is covered");
    // Two records that come later than anybody looks back.
    api.add_records("items", feed::plain(100, 2, "2026-02-01T00:00:00Z"));
    highwater(&project, &["run"]).run().expect_code(0);
    let told = verify(&project, 1);
    assert_eq!(told["source"]["records"].as_u64(), Some(22), "{told}");
    let problem = told["problems"][0].as_str().unwrap();
    assert!(problem.contains("22 records") && problem.contains("the table 2 less"), "{problem}");
    highwater(&project, &["verify"]).run().expect_code(0);
    // What was read again is there.
    highwater(&project, &["run", "items", "--full", "--yes"]).run().expect_code(0);
    let shown = highwater(&project, &["verify", "--source"]).run().expect_code(0);
    assert!(shown.stdout.contains("items: the source has 22 records in what is covered"), "{}", shown.stdout);
}

#[test]
fn a_source_that_cannot_be_asked_and_a_state_that_knows_nothing_are_told() {
    let api = api_with(Pages::Offset, PAGE, feed::plain(1, 20, "2026-02-01T00:00:00Z"));
    let project = Project::of_items(&api, &Pages::Offset, PAGE);
    highwater(&project, &["run"]).run().expect_code(0);
    api.fail(0..1_000, Fault::Status(404));
    let told = verify(&project, 1);
    assert_eq!(told["rows"].as_u64(), Some(20), "the lake is recounted all the same: {told}");
    assert!(told["problems"][0].as_str().unwrap().contains("was not counted"), "{told}");
    api.heal();
    std::fs::remove_dir_all(project.at("state")).unwrap();
    let told = verify(&project, 0);
    assert!(told["source"]["says"].as_str().unwrap().contains("knows nothing to be covered"), "{told}");
}

#[test]
fn a_source_that_tells_no_totals_is_not_counted() {
    let api = api_with(Pages::Token, PAGE, feed::plain(1, 20, "2026-02-01T00:00:00Z"));
    let project = Project::of_items(&api, &Pages::Token, PAGE);
    highwater(&project, &["run"]).run().expect_code(0);
    let told = verify(&project, 0);
    assert!(told["source"]["records"].is_null(), "{told}");
    let says = told["source"]["says"].as_str().unwrap();
    assert!(says.contains("`paging` with `total`"), "{says}");
}
