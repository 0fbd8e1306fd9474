//! `sources/*.toml`.

use crate::config::catalog::{ApiKeyPlace, Auth, CountedEnd, CursorFormat, PagingKind, TokenPlace};

use super::{Files, SOURCE, with_source};

const BASE: &str = "base_url = \"https://api.example.org/v1\"";

fn with_base(url: &str) -> String {
    with_source(BASE, &format!("base_url = \"{url}\""))
}

/// With lines added below `base_url`.
fn with_top(lines: &str) -> String {
    with_source(BASE, &format!("{BASE}\n{lines}"))
}

/// With lines added to the stream `plain`.
fn with_stream(lines: &str) -> String {
    with_source("path = \"/plain\"", &format!("path = \"/plain\"\n{lines}"))
}

/// With lines added to the cursor of `orders`.
fn with_cursor(lines: &str) -> String {
    with_source("type = \"timestamp\"", lines)
}

#[test]
fn base_url() {
    insta::assert_snapshot!(with_base("ftp://api.example.org"), @"");
    insta::assert_snapshot!(with_base("api.example.org/v1"), @"");
    insta::assert_snapshot!(with_base("https://user:hunter2@api.example.org"), @"");
    insta::assert_snapshot!(with_base("https://api.example.org/?key=hunter2"), @"");
    insta::assert_snapshot!(with_base("https://{{ owner }}.example.org"), @"");
}

#[test]
fn headers() {
    // S-18
    insta::assert_snapshot!(with_top("headers = { \"X\\r\\nY\" = \"a\", Host = \"b\" }"), @"");
    insta::assert_snapshot!(with_top("headers = { Accept = \"a\\r\\nX-Admin: 1\" }"), @"");
    insta::assert_snapshot!(with_top("headers = { Accept = \"{{ from }}\", accept = \"{{ ownr }}\" }"), @"");
    insta::assert_snapshot!(with_top("headers = { Authorization = \"Bearer hunter2\" }\nauth = { type = \"bearer\", token = { env = \"T\" } }"), @"");
}

#[test]
fn auth() {
    insta::assert_snapshot!(with_top("auth = { token = { env = \"T\" } }"), @"");
    insta::assert_snapshot!(with_top("auth = { type = \"oauth2\" }"), @"");
    insta::assert_snapshot!(with_top("auth = { type = \"baerer\", token = { env = \"T\" } }"), @"");
    insta::assert_snapshot!(with_top("auth = { type = \"bearer\", token = \"hunter2\" }"), @"");
    insta::assert_snapshot!(with_top("auth = { type = \"bearer\", token = 12 }"), @"");
    insta::assert_snapshot!(with_top("auth = { type = \"bearer\", token = { env = \"A\", file = \"b\" } }"), @"");
    insta::assert_snapshot!(with_top("auth = { type = \"bearer\", token = { env = \"hunter2 \" } }"), @"");
    insta::assert_snapshot!(with_top("auth = { type = \"basic\", username = \"me\" }"), @"");
    insta::assert_snapshot!(with_top("auth = { type = \"api_key\", name = \"k\", in = \"cookie\", value = { credential = \"../x\" } }"), @"");
    insta::assert_snapshot!(with_top("auth = { type = \"api_key\", name = \"a b\", value = { env = \"K\" }, prefix = \"a\\nb\" }"), @"");
}

#[test]
fn values() {
    insta::assert_snapshot!(
        with_top("timeout = \"0s\"\nbody_max = \"1TiB\"\nallow_hosts = [\"https://x/\", \"a@b\"]\nretry = { attempts = 0 }\nlimits = { requests = [\"100\", \"5/fortnight\"], concurrency = 0 }"),
        @""
    );
    insta::assert_snapshot!(with_top("proxy = \"http://u:hunter2@proxy\"\nca_file = \"\"\ntls = {}"), @"");
}

#[test]
fn parameters() {
    insta::assert_snapshot!(with_source("lang = { default = \"en\" }", "from = {}\n\"a-b\" = {}\nx = { required = true, default = 1 }"), @"");
}

#[test]
fn template_names() {
    insta::assert_snapshot!(with_source("/{{ owner }}/orders", "/{{ ownr }}/{{ parent.id }}"), @"");
    insta::assert_snapshot!(with_stream("query = { since = \"{{ from }}\" }"), @"");
    insta::assert_snapshot!(with_stream("query = { a = \"{{ lang\", b = \"{{ lang|uper }}\" }"), @"");
}

#[test]
fn paths() {
    for path in ["https://evil.example/x", "//evil.example", "/a?b=c", "/a/../b"] {
        let text = with_source("path = \"/plain\"", &format!("path = \"{path}\""));
        assert!(text.starts_with("error: sources/shop.toml:15:8: streams.plain.path: the path "), "{path}: {text}");
    }
    insta::assert_snapshot!(with_stream("records = \"header.X\"\nprimary_key = [\"a..b\", \"\"]"), @"");
    insta::assert_snapshot!(with_stream("primary_key = [\"id\", \"\\\"id\\\"\"]"), @"");
}

#[test]
fn paging() {
    insta::assert_snapshot!(with_stream("paging = { type = \"keyset\" }"), @"");
    insta::assert_snapshot!(with_stream("paging = { type = \"offset\", offset_param = \"o\" }"), @"");
    insta::assert_snapshot!(with_stream("paging = { type = \"page\", param = \"p\", until = \"short_page\" }"), @"");
    insta::assert_snapshot!(with_stream("paging = { type = \"page\", param = \"p\", size_param = \"s\", more = \"a\", total = \"b\" }"), @"");
    insta::assert_snapshot!(with_stream("paging = { type = \"page_token\", token = \"next\", body = \"x\" }"), @"");
    insta::assert_snapshot!(with_stream("paging = { type = \"page_token\", token = \"next\", param = \"a\", header = \"b\" }"), @"");
    insta::assert_snapshot!(with_stream("paging = { type = \"next_url\", url = \"a..b\", pages_max = 0 }"), @"");
    insta::assert_snapshot!(with_stream("query = { p = 1 }\npaging = { type = \"page\", param = \"p\" }"), @"");
}

#[test]
fn cursors() {
    insta::assert_snapshot!(with_cursor("type = \"token\""), @"");
    insta::assert_snapshot!(with_cursor("type = \"timestamp\"\ntimezone = \"Mars/Base\"\norder = \"up\""), @"");
    insta::assert_snapshot!(with_cursor("type = \"timestamp\"\nformat = \"%Y-%m-%dT%J\""), @"");
    insta::assert_snapshot!(with_cursor("type = \"timestamp\"\nformat = \"%Y-%m-%d\""), @"");
    insta::assert_snapshot!(with_cursor("type = \"epoch_s\"\nprecision = \"1ms\""), @"");
    insta::assert_snapshot!(with_cursor("type = \"timestamp\"\nprecision = \"0s\""), @"");
    insta::assert_snapshot!(with_cursor("type = \"timestamp\"\nformat = \"%Y-%m-%d %H:%M:%S\"\ntimezone = \"Europe/Berlin\""), @"");
    insta::assert_snapshot!(with_cursor("type = \"integer\"\nformat = \"%s\""), @"");
    insta::assert_snapshot!(with_source("query = { since = \"{{ from }}\", until = \"{{ to }}\" }", ""), @"");
}

#[test]
fn what_is_written_is_what_is_built() {
    let source = SOURCE
        .replacen(BASE, &format!("{BASE}\nauth = {{ type = \"api_key\", name = \"key\", in = \"query\", value = {{ env = \"K\" }} }}"), 1)
        .replacen("type = \"timestamp\"", "type = \"date\"\ntimezone = \"Europe/Berlin\"", 1)
        .replacen(
            "primary_key = [\"id\"]",
            "primary_key = [\"id\"]\nrecords = \"data.items\"\nquery = { zebra = 1, apple = true }\npaging = { type = \"page_token\", token = \"header.X-Next\", param = \"t\", pages_max = 7 }",
            1,
        );
    let loaded = Files { source, ..Files::good() }.load();
    assert_eq!(super::shown(&loaded.problems), "");
    let job = loaded.catalog.jobs.values().next().unwrap();
    assert!(matches!(&job.source.auth, Auth::ApiKey { place: ApiKeyPlace::Query, .. }));
    assert_eq!(job.stream.records.to_string(), "data.items");
    let query: Vec<_> = job.stream.query.iter().map(|(name, template)| (name.as_str(), template.text())).collect();
    assert_eq!(query, [("zebra", "1"), ("apple", "true")], "entries keep the file's order");
    assert_eq!(job.stream.paging.pages_max, 7);
    match &job.stream.paging.kind {
        PagingKind::PageToken { token, place } => {
            assert_eq!((token.to_string().as_str(), place), ("header.x-next", &TokenPlace::Param("t".to_owned())));
        }
        other => panic!("{other:?}"),
    }
    let cursor = job.stream.cursor.as_ref().unwrap();
    assert_eq!(cursor.format, CursorFormat::Strftime("%Y-%m-%d".to_owned()));
    assert_eq!(cursor.precision, jiff::SignedDuration::from_hours(24));
    assert_eq!(job.source.attempts_max, 5);
}

#[test]
fn counted_paging_is_built() {
    for (end, expected) in
        [("", "EmptyPage"), (", more = \"more\"", "More"), (", total = \"n\"", "Total("), (", total_pages = \"n\"", "TotalPages")]
    {
        let paging = format!("primary_key = [\"id\"]\npaging = {{ type = \"page\", param = \"p\", start = 0{end} }}");
        let source = SOURCE.replacen("primary_key = [\"id\"]", &paging, 1);
        let loaded = Files { source, ..Files::good() }.load();
        let job = loaded.catalog.jobs.values().next().unwrap();
        match &job.stream.paging.kind {
            PagingKind::Page { start: 0, page_size: None, end, .. } => assert!(format!("{end:?}").starts_with(expected)),
            other => panic!("{other:?}"),
        }
        assert!(!matches!(&job.stream.paging.kind, PagingKind::Page { end: CountedEnd::ShortPage, .. }));
    }
}
