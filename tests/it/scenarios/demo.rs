//! The demo, as a new user meets it, against the feed itself.

use serde_json::value::RawValue;

use crate::rust_text::read;
use crate::world::api::Record;
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
    let text = read("src/cli/demo/feed.geojson");
    let feed: Feed = serde_json::from_str(&text).unwrap();
    let truth: Vec<Record> =
        feed.features.iter().map(|feature| Record { json: feature.get().replace('\n', " "), cursor: None }).collect();
    assert_eq!(truth.len(), 1707);
    let Some(mut oracle) = Oracle::new() else {
        return skip("the_demo_loads_the_whole_feed_in_two_runs", "the independent readers are not installed");
    };
    let case = oracle.expect("demo", &project.at("demo/lake/earthquakes"), &truth);
    case["flatten"] = serde_json::json!({ "columns": ["properties"], "separator": "_" });
    case["declared"] = serde_json::json!({ "properties.time": "epoch_ms", "properties.updated": "epoch_ms" });
    oracle.check();
}
