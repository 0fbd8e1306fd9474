//! What belongs together of cursors, paging and windows.

use super::{Files, JOB, SOURCE, shown, with_source};
use crate::config::catalog::{PagingKind, TokenPlace};

const QUERY: &str = "query = { since = \"{{ from }}\", until = \"{{ to }}\" }";

#[test]
fn one_parameter_may_be_cursor_and_next_page() {
    let source = SOURCE
        .replacen("primary_key", "paging = { type = \"page_token\", token = \"last_seq\" }\nprimary_key", 1)
        .replacen("type = \"timestamp\"", "type = \"token\"", 1)
        .replacen("\"updated_at\"", "\"last_seq\"", 1);
    let feed = source.replacen(QUERY, "query = { since = \"{{ page.token or from }}\" }", 1);
    let loaded = Files { source: feed, ..Files::good() }.load();
    assert_eq!(shown(&loaded.problems), "");
    let (_, job) = loaded.catalog.jobs.first_key_value().unwrap();
    let PagingKind::PageToken { place, .. } = &job.stream.paging.kind else { panic!("{:?}", job.stream.paging) };
    assert_eq!(*place, TokenPlace::Template);
    let nowhere = source.replacen(QUERY, "query = { since = \"{{ from }}\" }", 1);
    let shown = shown(&Files { source: nowhere, ..Files::good() }.load().problems);
    assert!(shown.contains("nothing says where the token goes back"), "{shown}");
}

#[test]
fn to_read_on_behind_what_records_share_is_warned_of() {
    let by = |from: &str, key: &str| {
        let paging = format!("path = \"/plain\"\n{key}paging = {{ type = \"keyset\", from = \"{from}\", param = \"after\" }}");
        with_source("path = \"/plain\"", &paging)
    };
    insta::assert_snapshot!(by("at", "primary_key = [\"id\"]\n"), @r#"
    warning: sources/shop.toml:17:36: streams.plain.paging.from: records that share a value of `at` may be lost where a page ends between them
      help: go on from what no two records share, such as `id`, if the API takes that
    "#);
    assert_eq!(by("id", "primary_key = [\"id\"]\n"), "");
    assert_eq!(by("id", ""), "");
}

/// The problems of local times in a zone, where the job begins there.
fn in_zone(zone: &str, start: Option<&str>) -> String {
    let cursor = format!("type = \"timestamp\"\nformat = \"%Y-%m-%d %H:%M:%S\"\ntimezone = \"{zone}\"");
    let source = SOURCE.replacen("type = \"timestamp\"", &cursor, 1);
    let window = start.map(|start| format!("[window]\nstart = \"{start}\"\n")).unwrap_or_default();
    let jobs = vec![("orders".to_owned(), format!("{JOB}{window}"))];
    shown(&Files { source, jobs, ..Files::good() }.load().problems)
}

#[test]
fn a_zone_whose_clocks_stay_needs_no_offset() {
    for zone in ["Asia/Kolkata", "Asia/Tokyo", "UTC"] {
        assert_eq!(in_zone(zone, None), "", "{zone}");
    }
    for zone in ["Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo"] {
        assert!(in_zone(zone, Some("2024-01-01")).contains("sources/shop.toml:13:10: streams.orders.cursor.format"), "{zone}");
    }
    // Clocks were put back from 1986 to 1991.
    assert_eq!(in_zone("Asia/Shanghai", Some("1995-01-01")), "");
    insta::assert_snapshot!(in_zone("Asia/Shanghai", Some("1990-01-01")), @r#"
    error: jobs/orders.toml:8:9: window.start: the format does not tell apart the hour that comes twice when summer time ends
      help: begin later, or add `%:z` to the cursor's `format`, or give it precision = "1h"
    "#);
    assert!(in_zone("Asia/Shanghai", None).contains("jobs/orders.toml: window.start: the format does not tell apart"));
}
