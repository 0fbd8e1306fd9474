//! `jobs/*.toml`.

use crate::config::catalog::{DeclaredType, StepKind};
use crate::schema::ColumnType;

use super::{Files, JOB, SOURCE, shown, with_job, with_job_text, with_source};

#[test]
fn names_of_other_files() {
    insta::assert_snapshot!(with_job_text(&JOB.replacen("shop", "shopp", 1).replacen("\"lake\"", "\"warehouse\"", 1)), @"");
    insta::assert_snapshot!(with_job_text(&JOB.replacen("orders", "order", 1)), @"");
}

#[test]
fn parameters() {
    insta::assert_snapshot!(with_job_text(&JOB.replacen("owner", "ownre", 1)), @"");
    insta::assert_snapshot!(with_job_text(&JOB.replacen("acme", "", 1)), @"");
    insta::assert_snapshot!(with_job_text(&JOB.replacen("\"acme\"", "1.5", 1)), @"");
}

#[test]
fn a_parameter_cannot_add_a_header() {
    // S-18
    let source = SOURCE.replacen("[parameters]", "headers = { X-Owner = \"{{ owner }}\" }\n[parameters]", 1);
    let job = JOB.replacen("acme", "hunter2\\r\\nX-Admin: 1", 1);
    let problems = Files { source, jobs: vec![("orders".to_owned(), job)], ..Files::good() }.load().problems;
    insta::assert_snapshot!(shown(&problems), @"");
}

#[test]
fn modes() {
    insta::assert_snapshot!(with_job_text(&JOB.replacen("mode = \"append\"\n", "", 1)), @"");
    insta::assert_snapshot!(with_job_text(&JOB.replacen("append", "replace", 1)), @"");
    insta::assert_snapshot!(with_job_text(&JOB.replacen("append", "upsert", 1)), @"");
    insta::assert_snapshot!(with_job_text(&JOB.replacen("mode = \"append\"\n", "", 1).replacen("orders", "plain", 1)), @"");
    // With a cursor and no key, append is the default.
    let source = SOURCE.replacen("primary_key = [\"id\"]\n", "", 1);
    let job = JOB.replacen("mode = \"append\"\n", "", 1);
    let loaded = Files { source, jobs: vec![("orders".to_owned(), job)], ..Files::good() }.load();
    assert_eq!((shown(&loaded.problems).as_str(), loaded.catalog.jobs.len()), ("", 1));
}

#[test]
fn tables() {
    // S-27
    let names =
        ["../../etc/x", "a/b", "%2e%2e%2f", "a\\u0000b", "\\u202etxt", ".", "", "CON", "nul.x", "_hidden", ".dot", "a..b", "é"];
    for name in names {
        let text = with_job(&format!("table = \"{name}\"\n"));
        assert!(text.starts_with("error: jobs/orders.toml:7:9: table: "), "{name}: {text}");
        let stream = SOURCE.replacen("[streams.plain]", &format!("[streams.\"{name}\"]"), 1);
        let job = JOB.replacen("orders", name, 1);
        let loaded = Files { source: stream, jobs: vec![("orders".to_owned(), job)], ..Files::good() }.load();
        assert!(loaded.catalog.jobs.is_empty(), "{name}: {}", shown(&loaded.problems));
    }
    let long = with_job(&format!("table = \"{}\"\n", "x".repeat(4096)));
    assert!(long.contains("4096 characters is too long"), "{long}");
    insta::assert_snapshot!(with_job("table = \"a/b\"\n"), @"");
}

#[test]
fn one_job_owns_a_table() {
    // S-30
    let mut files = Files::good();
    files.jobs.push(("other".to_owned(), format!("{JOB}table = \"Orders\"\n")));
    let loaded = files.load();
    insta::assert_snapshot!(shown(&loaded.problems), @"");
    assert!(loaded.catalog.jobs.is_empty(), "neither of them runs");
}

#[test]
fn windows() {
    insta::assert_snapshot!(with_job("[window]\nstep = \"0s\"\nstart = \"yesterday\"\nsettle = \"1 minute\"\n"), @"");
    insta::assert_snapshot!(with_job("[window]\nstart = 2020\n"), @"");
    insta::assert_snapshot!(with_job("[window]\nstart = 12:00:00\n"), @"");
    insta::assert_snapshot!(with_job_text(&format!("{}[window]\nstep = \"1d\"\nstart = \"2020-01-01\"\n", JOB.replacen("orders", "plain", 1))), @"");
    for start in ["\"2019-01-01T00:00:00Z\"", "2019-01-01T00:00:00Z", "\"2019-01-01\"", "2019-01-01"] {
        let loaded =
            Files { jobs: vec![("orders".to_owned(), format!("{JOB}[window]\nstart = {start}\n"))], ..Files::good() }.load();
        assert_eq!(shown(&loaded.problems), "");
        let window = &loaded.catalog.jobs.values().next().unwrap().window;
        assert_eq!(window.start.unwrap().to_string(), "2019-01-01T00:00:00Z");
        assert_eq!((window.step, window.settle.as_secs()), (None, 60));
    }
}

#[test]
fn a_step_without_an_upper_bound_is_ignored_with_a_warning() {
    let source = SOURCE.replacen(", until = \"{{ to }}\"", "", 1);
    let job = format!("{JOB}[window]\nstep = \"30d\"\n");
    let loaded = Files { source, jobs: vec![("orders".to_owned(), job)], ..Files::good() }.load();
    insta::assert_snapshot!(shown(&loaded.problems), @"");
    assert!(!loaded.has_errors());
    assert_eq!(loaded.catalog.jobs.values().next().unwrap().window.step, None);
}

#[test]
fn integer_cursors() {
    let text = SOURCE.replacen("type = \"timestamp\"", "type = \"integer\"", 1).replacen(", until = \"{{ to }}\"", "", 1);
    let load = |window: &str| {
        Files { source: text.clone(), jobs: vec![("orders".to_owned(), format!("{JOB}{window}"))], ..Files::good() }.load()
    };
    assert_eq!(load("[window]\nstart = 100\n").catalog.jobs.values().next().unwrap().window.start_integer, Some(100));
    insta::assert_snapshot!(shown(&load("[window]\nstart = \"2020-01-01\"\nstep = \"1d\"\nsettle = \"1m\"\n").problems), @"");
    insta::assert_snapshot!(with_source("type = \"timestamp\"", "type = \"integer\""), @"");
}

#[test]
fn partitions() {
    insta::assert_snapshot!(with_job("partition_by = [\"week(a)\", \"month(a\", \"a/b\", \"\", \"day(a)\", \"day(a)\"]\n"), @"");
}

#[test]
fn steps() {
    insta::assert_snapshot!(with_job("[[steps]]\n[[steps]]\ndrop = [\"a\"]\nselect = [\"b\"]\n[[steps]]\nfliter = \"x\"\n"), @"");
    insta::assert_snapshot!(with_job("[[steps]]\nselect = []\n[[steps]]\ndrop = [\"a\", \"a\"]\n[[steps]]\nrename = { a = \"c\", b = \"c\" }\n[[steps]]\nderive = { _hw_x = \"1\" }\n"), @"");
    insta::assert_snapshot!(with_job("[[steps]]\ncast = { a = \"int46\", b = \"decimal(40,2)\" }\n[[steps]]\nflatten = { separator = \"\" }\n[[steps]]\nfilter = \"\"\n"), @"");
}

#[test]
fn steps_are_built_in_file_order() {
    let job = format!(
        "{JOB}[[steps]]\nrename = {{ zebra = \"z\", apple = \"a\" }}\n[[steps]]\nderive = {{ later = \"1\", earlier = \"2\" }}\n[[steps]]\ncast = {{ x = \"decimal(18,2)\" }}\n[[steps]]\nsql = \"SELECT * FROM batch\"\n"
    );
    let loaded = Files { jobs: vec![("orders".to_owned(), job)], ..Files::good() }.load();
    let steps = &loaded.catalog.jobs.values().next().unwrap().steps;
    assert_eq!(steps.iter().map(|step| (step.number, step.line)).collect::<Vec<_>>(), [(1, 7), (2, 9), (3, 11), (4, 13)]);
    assert!(matches!(&steps[0].kind, StepKind::Rename(pairs) if pairs[0].0 == "zebra" && pairs[1].1 == "a"));
    assert!(matches!(&steps[1].kind, StepKind::Derive(pairs) if pairs[0].0 == "later"));
    assert!(matches!(&steps[2].kind, StepKind::Cast(casts) if casts[0].1 == ColumnType::Decimal { precision: 18, scale: 2 }));
}

#[test]
fn columns() {
    insta::assert_snapshot!(with_job("on_type_change = \"ignore\"\n[columns]\na = \"strnig\"\nb = \"decimal(2,3)\"\n\"c.d\" = \"text\"\nc = \"json\"\n\"e.\" = \"text\"\n"), @"");
    insta::assert_snapshot!(with_job("[columns]\nupdated_at = \"text\"\n"), @"");
    let source = SOURCE.replacen("timestamp", "epoch_s", 1);
    let loaded = Files { source, ..Files::good() }.load();
    assert_eq!(loaded.catalog.jobs.values().next().unwrap().columns["updated_at"], DeclaredType::EpochS);
}

#[test]
fn a_broken_source_parks_its_jobs() {
    let source = SOURCE.replacen("[streams.plain]", "[streams.plain]\nrecrods = \"\"", 1);
    let loaded = Files { source, ..Files::good() }.load();
    insta::assert_snapshot!(loaded.parked.values().next().unwrap(), @"");
}
