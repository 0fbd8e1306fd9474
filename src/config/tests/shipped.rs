//! The project that ships.

use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;

use crate::config::catalog::{
    Compression, CountedEnd, CursorFormat, CursorType, DeclaredType, PagingKind, PartitionUnit, SinkPlace, StepKind,
};
use crate::config::{load, schemas};
use crate::ids::JobName;

use super::shown;

#[test]
fn the_shipped_project_checks_and_says_what_it_should() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = load(root, None);
    assert_eq!(shown(&loaded.problems), "");
    assert_eq!(loaded.catalog.settings.state_path, root.join("state/highwater.db"));
    let job = &loaded.catalog.jobs[&JobName::new("earthquakes")];
    assert_eq!((job.file.as_str(), job.table.as_str(), job.enabled), ("jobs/earthquakes.toml", "earthquakes", true));
    assert_eq!(job.sink.place, SinkPlace::Local(root.join("lake")));
    assert_eq!(job.sink.parquet.compression, Compression::Zstd(3));
    let enabled: Vec<_> = loaded.catalog.jobs.values().filter(|job| job.enabled).map(|job| job.file.as_str()).collect();
    assert_eq!(enabled, ["jobs/earthquakes.toml"], "the vendors' examples wait for who wants them");
    assert!(job.schedule.is_none());
    assert_eq!(job.partition_by[0].unit, PartitionUnit::Month);
    assert_eq!(job.parameters["starttime"], "");
    assert_eq!(job.columns["properties.time"], DeclaredType::EpochMs);
    assert_eq!(job.columns["properties.updated"], DeclaredType::EpochMs, "the cursor declares its field");
    assert!(matches!(&job.steps[0].kind, StepKind::Flatten { columns, .. } if columns == &["properties"]));
    let rate = job.source.limits.requests[0];
    assert_eq!((rate.requests, rate.per), (60, Duration::from_secs(60)));
    let cursor = job.stream.cursor.as_ref().unwrap();
    assert_eq!((cursor.cursor_type, cursor.precision), (CursorType::EpochMs, SignedDuration::from_secs(1)));
    assert_eq!(cursor.format, CursorFormat::Strftime("%Y-%m-%dT%H:%M:%S".to_owned()));
    assert!(!cursor.has_upper_bound(&job.stream));
    match &job.stream.paging.kind {
        PagingKind::Offset { start, page_size, end, .. } => {
            assert_eq!((*start, *page_size, end), (1, 1000, &CountedEnd::EmptyPage));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn relative_places_lie_under_the_state_folder_where_there_is_one() {
    let loaded = load(Path::new(env!("CARGO_MANIFEST_DIR")), Some(Path::new("/var/lib/highwater")));
    assert_eq!(loaded.catalog.settings.state_path, Path::new("/var/lib/highwater/state/highwater.db"));
    let job = &loaded.catalog.jobs[&JobName::new("earthquakes")];
    assert_eq!(job.sink.place, SinkPlace::Local("/var/lib/highwater/lake".into()));
}

#[test]
fn schemas_come_from_the_shapes() {
    let schemas = schemas();
    assert_eq!(schemas.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["config", "source", "sink", "job"]);
    for (_, schema) in &schemas {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["version"]["const"], 1);
    }
    let job = &schemas[3].1;
    assert_eq!(job["required"], serde_json::json!(["version", "source", "stream", "sink"]));
    assert_eq!(job["properties"]["mode"]["enum"], serde_json::json!(["append", "merge", "replace"]));
    assert_eq!(job["properties"]["steps"]["items"]["maxProperties"], 1);
    let paging = &schemas[1].1["properties"]["streams"]["additionalProperties"]["properties"]["paging"];
    let names: Vec<_> = paging["oneOf"].as_array().unwrap().iter().map(|one| &one["properties"]["type"]["const"]).collect();
    assert_eq!(names, ["none", "page", "offset", "page_token", "next_url", "keyset", "odata", "graphql", "link_header"]);
    assert!(schemas.iter().all(|(_, schema)| described(&schema["properties"])));
}

/// Every key says what it is.
fn described(properties: &serde_json::Value) -> bool {
    let told = |property: &serde_json::Value| property["description"].as_str().is_some_and(|text| text.ends_with('.'));
    properties.as_object().unwrap().values().all(told)
}
