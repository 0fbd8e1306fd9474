use super::show::{columns, decode_all, rows};
use crate::config::catalog::{CursorType, DeclaredType};
use crate::cursor::CursorKey;
use crate::decode::fixture::{page, spec_at, spec_with_cursor};
use crate::decode::{DecodeSpec, Decoder};
use crate::page::ResponsePath;

/// Three events of the USGS feed of 2018-02-07 (public domain), shortened.
const FEED: &str = r#"{"type":"FeatureCollection","metadata":{"generated":1517968154000,"status":200,"count":3},"features":[
{"type":"Feature","properties":{"mag":2,"place":"4km W of Castaic, CA","time":1517966773840,"updated":1517966996303,"felt":null,"ids":",ci37868143,","gap":174},"geometry":{"type":"Point","coordinates":[-118.6671667,34.4945,26.49]},"id":"ci37868143"},
{"type":"Feature","properties":{"mag":1.6,"place":"2km E of San Marino, CA","time":1517966037750,"updated":1517966268248,"felt":3,"ids":",ci37868135,","gap":null},"geometry":{"type":"Point","coordinates":[-118,34.1,10]},"id":"ci37868135"},
{"type":"Feature","properties":{"mag":null,"place":"Vanuatu \u2014 Îles","time":1517965000000,"updated":1517965000001,"felt":null,"ids":",us1,us2,","gap":12.5},"geometry":null,"id":"us1"}]}
"#;

#[test]
fn a_feed_of_real_life() {
    let epoch = || DeclaredType::EpochMs;
    let mut spec = spec_with_cursor(CursorType::EpochMs, "UTC");
    spec.cursor.as_mut().unwrap().field = "properties.updated".to_owned();
    let spec = DecodeSpec {
        records: spec_at("features").records,
        declared: [("properties.time".to_owned(), epoch()), ("properties.updated".to_owned(), epoch())].into(),
        key: vec!["id".to_owned()],
        wanted: vec![ResponsePath::parse("metadata.count").unwrap()],
        ..spec
    };
    let mut decoder = Decoder::new(spec, None).unwrap();
    let decoded = decode_all(&mut decoder, &[FEED.to_owned()]).remove(0);
    assert_eq!(
        columns(&decoder),
        [
            "properties struct(time timestamp, updated timestamp, mag float64, place text, felt int64, ids text, gap float64)",
            "type text",
            "geometry struct(type text, coordinates list(float64))",
            "id text",
        ]
    );
    let shown = rows(&decoded.rows);
    assert!(shown[0].contains(r#""coordinates":[-118.6671667f,34.4945f,26.49f]"#), "{}", shown[0]);
    assert!(
        shown[2].contains(r#""place":"Vanuatu — Îles","time":2018-02-07T00:56:40Z,"updated":2018-02-07T00:56:40.001Z"#),
        "{}",
        shown[2]
    );
    assert_eq!(decoded.cursor.unwrap()[2], CursorKey::Number(1_517_965_000_001_000));
    assert_eq!(decoded.envelope.captured.values().next().unwrap().text().as_deref(), Some("3"));
    assert!(decoder.decode(&page(FEED)).unwrap().changes.is_empty());
}
