//! The demo, as a new user meets it, against the feed itself.

use serde_json::value::RawValue;

use crate::rust_text::read;
use crate::world::api::Record;
use crate::world::feed;
use crate::world::oracle::Oracle;
use crate::world::program::highwater;
use crate::world::project::Project;
use crate::world::skip;

#[derive(serde::Deserialize)]
struct Feed<'a> {
    #[serde(borrow)]
    features: Vec<&'a RawValue>,
}

#[test]
fn the_demo_loads_the_whole_feed_in_two_runs() {
    let project = Project::new();
    let ended = highwater(&project, &["demo", "--dir", "demo"]).run().expect_code(0);
    for said in ["First load", "highwater", "SELECT"] {
        assert!(ended.stdout.contains(said), "{said} is missing in\n{}", ended.stdout);
    }
    let truth = features(&read("src/cli/demo/feed.geojson"));
    assert_eq!(truth.len(), 1707);
    compare("the_demo_loads_the_whole_feed_in_two_runs", &project, &truth);
}

#[test]
fn the_demo_takes_another_feed_however_unkind() {
    let project = Project::new();
    let text = unkind_feed(23, 300);
    project.write("feed.geojson", &text);
    highwater(&project, &["demo", "--dir", "demo", "--feed", "feed.geojson"]).run().expect_code(0);
    compare("the_demo_takes_another_feed_however_unkind", &project, &features(&text));
}

/// A feed of the USGS form whose events carry unkind records among their properties.
fn unkind_feed(seed: u64, count: u64) -> String {
    let records = feed::unkind(seed, 1, count, "2026-01-31T00:00:00Z", 50);
    let feature = |(index, record): (usize, &Record)| {
        let updated = record.cursor.unwrap().as_millisecond();
        let time = updated - 3_600_000;
        let inner = &record.json;
        format!(
            "{{\"type\":\"Feature\",\"properties\":{{\"mag\":{index}.5,\"time\":{time},\"updated\":{updated},\"title\":\"event {index}\",\"more\":{inner}}},\
             \"geometry\":{{\"type\":\"Point\",\"coordinates\":[{index},-0.5,{index}.25]}},\"id\":\"ev{index}\"}}"
        )
    };
    let features: Vec<String> = records.iter().enumerate().map(feature).collect();
    format!("{{\"type\":\"FeatureCollection\",\"metadata\":{{\"count\":{count}}},\"features\":[\n{}\n]}}\n", features.join(",\n"))
}

fn features(feed: &str) -> Vec<Record> {
    let feed: Feed = serde_json::from_str(feed).unwrap();
    feed.features.iter().map(|feature| Record { json: feature.get().replace('\n', " "), cursor: None }).collect()
}

fn compare(test: &str, project: &Project, truth: &[Record]) {
    let Some(mut oracle) = Oracle::new() else {
        return skip(test, "the independent readers are not installed");
    };
    let case = oracle.expect("demo", &project.at("demo/lake/earthquakes"), truth);
    case["flatten"] = serde_json::json!({ "columns": ["properties"], "separator": "_" });
    case["declared"] = serde_json::json!({ "properties.time": "epoch_ms", "properties.updated": "epoch_ms" });
    oracle.check();
}
