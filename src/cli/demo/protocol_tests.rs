use serde_json::Value;

use super::*;

/// Four events: `a` to `d`, an hour apart, the last changed first.
fn feed() -> Feed {
    let feature = |id: &str, hour: i64, updated_hour: i64, rest: &str| {
        format!(
            r#"{{"type":"Feature","properties":{{"time":{},"updated":{}{rest}}},"geometry":{{"type":"Point","coordinates":[{hour},{hour}.5,{hour}]}},"id":"{id}"}}"#,
            hour * 3_600_000 + 250,
            updated_hour * 3_600_000 + 500
        )
    };
    let features = [
        feature("d", 4, 5, r#","mag":1.5"#),
        feature("c", 3, 6, ""),
        feature("b", 2, 7, r#","mag":3"#),
        feature("a", 1, 8, r#","mag":2.50"#),
    ];
    Feed::parse(format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(","))).expect("feed")
}

fn hour(hour: i64) -> Timestamp {
    Timestamp::from_second(hour * 3600).expect("hour")
}

fn ask_at(query: &str, now: Timestamp) -> Result<Value, String> {
    let body = EventQuery::parse(query, now)?.answer(&feed(), now, "http://x/query")?;
    Ok(serde_json::from_str(&body).expect("JSON"))
}

fn ids(query: &str) -> String {
    let answer = ask_at(query, hour(10)).expect("answer");
    let features = answer["features"].as_array().expect("features");
    features.iter().map(|feature| feature["id"].as_str().expect("id")).collect()
}

fn refusal(query: &str) -> String {
    ask_at(query, hour(10)).expect_err("refused")
}

#[test]
fn an_answer_is_a_feature_collection_with_the_events_own_text() {
    let query = EventQuery::parse("format=geojson&limit=2&offset=3", hour(10)).expect("query");
    let body = query.answer(&feed(), hour(10), "http://x/query").expect("answer");
    assert!(body.contains(r#""mag":2.50}"#), "the number's own digits: {body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(answer["type"], "FeatureCollection");
    assert_eq!(
        answer["metadata"],
        serde_json::json!({"generated": 36_000_000, "url": "http://x/query", "title": "USGS Earthquakes", "status": 200,
            "api": "1.5.8", "limit": 2, "offset": 3, "count": 2})
    );
    assert_eq!(answer["bbox"], serde_json::json!([1.0, 1.5, 1.0, 2.0, 2.5, 2.0]));
}

#[test]
fn nothing_found_is_an_empty_collection() {
    let answer = ask_at("format=geojson&starttime=2000-01-01", hour(10)).expect("answer");
    assert_eq!((&answer["features"], &answer["metadata"]["count"]), (&serde_json::json!([]), &serde_json::json!(0)));
    assert!(answer.get("bbox").is_none());
}

#[test]
fn newest_first_unless_asked_otherwise() {
    assert_eq!(ids("format=geojson"), "dcba");
    assert_eq!(ids("format=geojson&orderby=time"), "dcba");
    assert_eq!(ids("format=geojson&orderby=time-asc"), "abcd");
    assert_eq!(ids("format=geojson&orderby=magnitude"), "badc");
    assert_eq!(ids("format=geojson&orderby=magnitude-asc"), "cdab");
}

#[test]
fn pages_follow_each_other_without_gap_or_overlap() {
    let pages: String = (0..3).map(|page| ids(&format!("format=geojson&limit=2&offset={}", page * 2 + 1))).collect();
    assert_eq!(pages, "dcba");
}

#[test]
fn ranges_include_both_ends_and_are_cut_to_the_second() {
    // The event stands a quarter of a second past the hour, so the hour itself is the last start that finds it by seconds.
    assert_eq!(ids("format=geojson&starttime=1970-01-01T03:00:00.900Z"), "dc");
    assert_eq!(ids("format=geojson&starttime=1970-01-01T03:00:01"), "d");
    assert_eq!(ids("format=geojson&endtime=1970-01-01T02:00:01"), "ba");
    assert_eq!(ids("format=geojson&endtime=1970-01-01T02:00:00.999"), "a");
    assert_eq!(ids("format=geojson&updatedafter=1970-01-01T07:00:00.900%2B00:00"), "ba");
    assert_eq!(ids("format=geojson&updatedafter=1970-01-01T09:00:01%2B02:00"), "a");
}

#[test]
fn without_a_start_the_service_looks_back_thirty_days() {
    let answer = ask_at("format=geojson", hour(10 + 30 * 24)).expect("answer");
    assert_eq!(answer["metadata"]["count"], 0);
    let answer = ask_at("format=geojson&starttime=1970-01-01", hour(10 + 30 * 24)).expect("answer");
    assert_eq!(answer["metadata"]["count"], 4);
}

#[test]
fn an_event_shows_itself_once_it_was_updated() {
    let answer = ask_at("format=geojson", hour(7)).expect("answer");
    let shown: Vec<&str> = answer["features"].as_array().expect("list").iter().filter_map(|one| one["id"].as_str()).collect();
    assert_eq!(shown, ["d", "c"]);
}

#[test]
fn bad_values_are_refused_in_the_services_words() {
    assert_eq!(refusal("format=csv"), r#"Bad format value "csv". Valid values are: "geojson"."#);
    assert_eq!(refusal(""), r#"Bad format value "quakeml". Valid values are: "geojson"."#);
    for name in ["starttime", "endtime", "updatedafter"] {
        assert_eq!(
            refusal(&format!("format=geojson&{name}=soon")),
            format!(r#"Bad {name} value "soon". Valid values are ISO-8601 timestamps."#)
        );
    }
    assert!(refusal("format=geojson&orderby=depth").starts_with(r#"Bad orderby value "depth". Valid values are: "time","#));
    for value in ["0", "20001", "-1", "1.5", "+5", "ten"] {
        let expected = format!(r#"Bad limit value "{value}". Valid values are 1 <= limit <= 20000"#);
        assert_eq!(refusal(&format!("format=geojson&limit={}", value.replace('+', "%2B"))), expected);
    }
    assert_eq!(refusal("format=geojson&offset=0"), r#"Bad offset value "0". Valid values are 1 <= offset"#);
    assert_eq!(refusal("format=geojson&page=2"), r#"Unknown parameter "page"."#);
}

#[test]
fn more_than_one_answer_holds_is_refused_unless_it_is_paged() {
    let feature = r#"{"properties":{"time":1,"updated":1}}"#;
    let many = vec![feature; LIMIT_MAX as usize + 1].join(",");
    let feed = Feed::parse(format!(r#"{{"features":[{many}]}}"#)).expect("feed");
    let query = |text: &str| EventQuery::parse(text, hour(10)).expect("query").answer(&feed, hour(10), "http://x/query");
    assert_eq!(
        query("format=geojson").expect_err("too many"),
        "20001 matching events exceeds search limit of 20000. Modify the search to match fewer events."
    );
    assert!(query("format=geojson&limit=20000&offset=20001").expect("page").contains(r#""count":1}"#));
}

#[test]
fn an_error_is_plain_text_with_the_request_and_the_time() {
    let text = error_text(
        "400: Bad Request",
        "Unknown parameter \"x\".",
        "/fdsnws/event/1/query?x=1",
        hour(10),
        "http://h/fdsnws/event/1",
    );
    assert_eq!(
        text,
        "Error 400: Bad Request\n\nUnknown parameter \"x\".\n\nUsage details are available from http://h/fdsnws/event/1\n\n\
         Request:\n/fdsnws/event/1/query?x=1\n\nRequest Submitted:\n1970-01-01T10:00:00+00:00\n\nService version:\n1.5.8\n"
    );
}
