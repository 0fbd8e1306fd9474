//! Every kind of store keeps the one contract, and carries whole loads.

use std::sync::Arc;

use highwater::config::secret::{SecretRef, SecretSource, SecretString};
use highwater::fault::Guards;
use highwater::store::contract::store_contract;
use highwater::store::{self, Store};
use serde_json::json;

use super::loads::{api_with, run};
use crate::world::api::{FakeApi, Pages};
use crate::world::azure::{self, Container};
use crate::world::bucket::Bucket;
use crate::world::feed;
use crate::world::gcs::FakeGcs;
use crate::world::oracle::Oracle;
use crate::world::program::{command, highwater};
use crate::world::project::Project;
use crate::world::skip;

/// Those of the tests' sinks.
pub struct TestSecrets;

impl SecretSource for TestSecrets {
    fn resolve(&self, secret: &SecretRef) -> Result<SecretString, String> {
        let SecretRef::Env(name) = secret else { return Err("the tests' secrets are in the environment".to_owned()) };
        let value = match name.as_str() {
            "TEST_GCS_TOKEN" => "google-token",
            "TEST_AZURE_KEY" => azure::KEY,
            "TEST_S3_KEY" => "key",
            "TEST_S3_SECRET" => "secret",
            _ => return Err(format!("`{name}` is not set")),
        };
        Ok(SecretString::from(value))
    }
}

/// The store that a sink's file describes.
pub fn opened(sink: &str) -> Arc<dyn Store> {
    let project = Project::of_items_to(sink, &FakeApi::start("2026-03-01T00:00:00Z"), &Pages::None, 10);
    let loaded = highwater::config::load(project.path(), None);
    assert!(!loaded.has_errors(), "{:?}", loaded.problems);
    store::open(&loaded.catalog.jobs.values().next().unwrap().sink, &TestSecrets, Guards::standing()).unwrap()
}

#[tokio::test]
async fn a_bucket_of_s3_keeps_the_contract() {
    let Some(bucket) = std::thread::spawn(Bucket::new).join().unwrap() else {
        return skip("a_bucket_of_s3_keeps_the_contract", "there is no S3 server");
    };
    store_contract(&*opened(&bucket.sink(&bucket.endpoint))).await;
}

#[tokio::test]
async fn a_bucket_of_google_keeps_the_contract() {
    let fake = FakeGcs::start();
    store_contract(&*opened(&fake.sink())).await;
    assert_eq!(fake.objects(), [""; 0]);
}

#[tokio::test]
async fn a_container_of_azure_keeps_the_contract() {
    let Some(container) = Container::new() else {
        return skip("a_container_of_azure_keeps_the_contract", "there is no server of Azure's blobs");
    };
    store_contract(&*opened(&container.sink())).await;
}

/// A first run, a second one that changes nothing, then rows that come again in newer versions; two months, so two folders.
fn load_thrice(project: &Project, api: &FakeApi) -> Vec<crate::world::api::Record> {
    project.edit("jobs/items.toml", "mode = \"append\"", "mode = \"merge\"");
    assert_eq!(run(project)["counts"]["kept"], 20);
    assert_eq!(run(project)["commits"], 0);
    let newer = feed::plain(11, 20, "2026-03-01T00:10:00Z");
    api.add_records("items", newer.clone());
    api.set_now("2026-03-02T00:00:00Z");
    assert_eq!(run(project)["commits"], 1);
    assert_eq!(run(project)["commits"], 0);
    highwater(project, &["verify"]).run().expect_code(0);
    [feed::plain(1, 10, "2026-02-01T00:00:00Z"), newer].concat()
}

#[test]
fn a_table_in_a_bucket_of_google_is_read_back_equal() {
    let Some(mut oracle) = Oracle::new() else {
        return skip("a_table_in_a_bucket_of_google_is_read_back_equal", "the independent readers are not installed");
    };
    let fake = FakeGcs::start();
    let api = api_with(Pages::Token, 5, feed::plain(1, 20, "2026-02-01T00:00:00Z"));
    let project = Project::of_items_to(&fake.sink(), &api, &Pages::Token, 5);
    let truth = load_thrice(&project, &api);
    let folder = tempfile::tempdir().unwrap();
    fake.mirror(folder.path());
    oracle.expect("google", &folder.path().join("items"), &truth);
    oracle.check();
    assert!(fake.objects().iter().all(|name| !name.contains("_highwater/probe/")), "{:?}", fake.objects());
}

#[test]
fn a_table_in_a_container_of_azure_is_read_back_equal() {
    let (Some(mut oracle), Some(container)) = (Oracle::new(), Container::new()) else {
        return skip("a_table_in_a_container_of_azure_is_read_back_equal", "there is no server of Azure's blobs");
    };
    let api = api_with(Pages::Token, 5, feed::plain(1, 20, "2026-02-01T00:00:00Z"));
    let project = Project::of_items_to(&container.sink(), &api, &Pages::Token, 5);
    let truth = load_thrice(&project, &api);
    oracle.expect_at("azure", &container, &truth);
    oracle.check();
}

/// The same sink for Delta tables.
fn delta(sink: &str) -> String {
    sink.replace("\"parquet\"", "\"delta\"")
}

#[test]
fn a_delta_table_in_a_bucket_of_google_is_read_back_equal() {
    let Some(mut oracle) = Oracle::new() else {
        return skip("a_delta_table_in_a_bucket_of_google_is_read_back_equal", "the independent readers are not installed");
    };
    let fake = FakeGcs::start();
    let api = api_with(Pages::Token, 5, feed::plain(1, 20, "2026-02-01T00:00:00Z"));
    let project = Project::of_items_to(&delta(&fake.sink()), &api, &Pages::Token, 5);
    let truth = load_thrice(&project, &api);
    let folder = tempfile::tempdir().unwrap();
    fake.mirror(folder.path());
    // The table, and a commit of each run that had something to commit.
    oracle.expect_delta("google", &json!(folder.path().join("items")), &truth)["commits"] = 2.into();
    oracle.check();
    assert!(fake.objects().iter().all(|name| !name.contains("_highwater/probe/")), "{:?}", fake.objects());
}

#[test]
fn a_delta_table_in_a_container_of_azure_is_read_back_equal() {
    let (Some(mut oracle), Some(container)) = (Oracle::new(), Container::new()) else {
        return skip("a_delta_table_in_a_container_of_azure_is_read_back_equal", "there is no server of Azure's blobs");
    };
    let api = api_with(Pages::Token, 5, feed::plain(1, 20, "2026-02-01T00:00:00Z"));
    let project = Project::of_items_to(&delta(&container.sink()), &api, &Pages::Token, 5);
    let truth = load_thrice(&project, &api);
    let case = oracle.expect_at("azure", &container, &truth);
    case["delta"] = true.into();
    case["commits"] = 2.into();
    oracle.check();
}

#[test]
fn a_delta_commit_on_google_and_azure_gives_way_to_one_that_stands_there() {
    // D-17: the conditional put of the log, tried on the stores' own answers.
    for (name, sink) in [
        ("google", Some(FakeGcs::start()).map(|fake| (delta(&fake.sink()), Some(fake), None))),
        ("azure", Container::new().map(|container| (delta(&container.sink()), None, Some(container)))),
    ] {
        let Some((sink, _fake, _container)) = sink else {
            return skip("a_delta_commit_on_google_and_azure_gives_way", "there is no server of Azure's blobs");
        };
        let api = api_with(Pages::Token, 5, feed::plain(1, 20, "2026-02-01T00:00:00Z"));
        let projects = [(); 2].map(|()| Project::of_items_to(&sink, &api, &Pages::Token, 5));
        // Two projects with states of their own, at the same time on one table.
        let children = projects.each_ref().map(|project| {
            let mut command = command(project, &["run", "items"]);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
        });
        for mut child in children {
            // One of them may have lost every race: the runs below bring what is missing.
            child.wait().unwrap();
        }
        for project in &projects {
            run(project);
            highwater(project, &["verify"]).run().expect_code(0);
            let counted = highwater(project, &["query", "SELECT COUNT(*) AS n FROM items", "--json"]).run().expect_code(0).json();
            assert_eq!(counted["n"], 20, "{name}");
        }
    }
}
