//! What holds for every file: syntax, keys, types, bounds.

use proptest::prelude::*;

use crate::config::Severity;
use crate::ids::JobName;

use super::{Files, JOB, SINK, SOURCE, shown, with_config, with_job, with_job_text, with_sink, with_source};

#[test]
fn toml_syntax() {
    insta::assert_snapshot!(with_job("x = = 1\n[window\n"), @r#"
    error: jobs/orders.toml:7:5: not TOML: extra `=`
    error: jobs/orders.toml:7:7: not TOML: unexpected key or value, expected newline, `#`
    error: jobs/orders.toml:8:8: not TOML: unclosed table, expected `]`
    "#);
    insta::assert_snapshot!(with_job("source = \"again\"\n"), @r#"
    error: jobs/orders.toml:7:1: not TOML: duplicate key
      help: a key stands once in a table, and a heading once in a file: keep one of them
    "#);
}

#[test]
fn version() {
    insta::assert_snapshot!(with_config(""), @r#"
    error: config.toml:1:1: version: `version` is missing
      help: write `version = 1` at the top of the file
    "#);
    insta::assert_snapshot!(with_config("version = 2\n"), @r#"
    error: config.toml:1:11: version: this is not a version that this program knows
      help: write `version = 1`
    "#);
    insta::assert_snapshot!(with_config("version = \"1\"\n"), @r#"
    error: config.toml:1:11: version: this is not a version that this program knows
      help: write `version = 1`
    "#);
}

#[test]
fn unknown_keys() {
    insta::assert_snapshot!(with_job("[widnow]\nstart = 1\n"), @r#"
    error: jobs/orders.toml:7:2: widnow: unknown key
      help: did you mean `window`?
    "#);
    insta::assert_snapshot!(with_job("[window]\nbeginning = 1\n\"a b\" = 2\n"), @r#"
    error: jobs/orders.toml:8:1: window.beginning: unknown key
      help: the keys here are `start`, `step`, `settle`, `lookback`
    error: jobs/orders.toml:9:1: window."a b": unknown key
      help: the keys here are `start`, `step`, `settle`, `lookback`
    "#);
}

#[test]
fn words_that_are_not_built_yet() {
    insta::assert_snapshot!(with_source("[parameters]", "auth = { type = \"oauth1\" }\n[parameters]"), @r#"
    error: sources/shop.toml:4:17: auth.type: `oauth1` is not built yet
      help: write one of "none", "bearer", "basic", "api_key", "oauth2", "session", "hmac"
    "#);
}

#[test]
fn wrong_types() {
    insta::assert_snapshot!(with_job("enabled = \"yes\"\npartition_by = \"month(a)\"\nwindow = 3\nsteps = {}\ntable = 7\n"), @r#"
    error: jobs/orders.toml:7:11: enabled: expected true or false, found text
      help: write it without quotes
    error: jobs/orders.toml:8:16: partition_by: expected a list, found text
      help: write it in brackets: [...]
    error: jobs/orders.toml:9:10: window: expected a table, found a whole number
      help: write a table, such as { start = .. }
    error: jobs/orders.toml:10:9: steps: expected a list, found a table
      help: write it in brackets: [...]
    error: jobs/orders.toml:11:9: table: expected text, found a whole number
      help: write it in quotes
    "#);
    insta::assert_snapshot!(with_config("version = 1\n[limits]\nmemory = 512\nruns = \"8\"\n"), @r#"
    error: config.toml:3:10: limits.memory: expected a size in quotes, found a whole number
      help: write it with a unit, such as "64MiB"
    error: config.toml:4:8: limits.runs: expected a whole number, found text
      help: write it without quotes
    "#);
    insta::assert_snapshot!(with_job("[columns]\nproperties.time = \"epoch_ms\"\n"), @r#"
    error: jobs/orders.toml:8:1: columns.properties: expected text, found a table
      help: a name with a dot is quoted: "outer.inner" = ...
    "#);
}

#[test]
fn missing_keys() {
    insta::assert_snapshot!(with_job_text("version = 1\n"), @r#"
    error: jobs/orders.toml:1:1: sink: `sink` is missing
      help: add `sink`
    error: jobs/orders.toml:1:1: source: `source` is missing
      help: add `source`
    error: jobs/orders.toml:1:1: stream: `stream` is missing
      help: add `stream`
    "#);
    insta::assert_snapshot!(with_sink("version = 1\n"), @r#"
    error: sinks/lake.toml:1:1: type: `type` is missing
      help: write one of "parquet", "delta"
    error: sinks/lake.toml:1:1: url: `url` is missing
      help: add `url`
    "#);
    insta::assert_snapshot!(with_source("path = \"/plain\"", ""), @r#"
    error: sources/shop.toml:14:1: streams.plain.path: `path` is missing
      help: add `path`
    "#);
}

#[test]
fn every_problem_of_every_file_at_once_and_in_order() {
    let files = Files {
        config: "version = 1\n[limits]\nruns = 0\n".to_owned(),
        source: SOURCE.replacen("timestamp", "stamp", 1),
        sink: SINK.replacen("parquet", "parket", 1),
        jobs: vec![("orders".to_owned(), format!("{JOB}[window]\nstep = \"0s\"\nstart = \"soon\"\n"))],
    };
    let loaded = files.load();
    insta::assert_snapshot!(shown(&loaded.problems), @r#"
    error: config.toml:3:8: limits.runs: `0` is out of range
      help: write a whole number from 1 to 1000
    error: jobs/orders.toml:8:8: window.step: `0s` is not a step
      help: give a duration above zero, such as "1d"
    error: jobs/orders.toml:9:9: window.start: `soon` is not a timestamp
      help: write an instant with its zone, such as "2019-01-01T00:00:00Z", or a day, such as "2019-01-01"
    error: sinks/lake.toml:2:8: type: `parket` is not known here
      help: did you mean `parquet`?
    error: sources/shop.toml:12:8: streams.orders.cursor.type: `stamp` is not known here
      help: the words are `timestamp`, `date`, `epoch_s`, `epoch_ms`, `epoch_us`, `integer`, `string`, `token`
    "#);
    assert!(loaded.catalog.jobs.is_empty());
    assert!(loaded.parked[&JobName::new("orders")].starts_with("config.toml:3:8: "));
}

#[test]
fn a_job_is_parked_with_its_reason_and_the_others_go_on() {
    let mut files = Files::good();
    files.jobs.push(("broken".to_owned(), JOB.replacen("append", "upsert", 1)));
    let loaded = files.load();
    assert!(loaded.catalog.jobs.contains_key(&JobName::new("orders")));
    assert_eq!(loaded.parked[&JobName::new("broken")], "jobs/broken.toml:5:8: mode: `upsert` is not known here");
}

#[test]
fn many_problems_are_bounded() {
    let lines: String = (0..450).map(|number| format!("wrong_{number} = 1\n")).collect();
    let problems = Files { config: format!("version = 1\n{lines}"), ..Files::good() }.load().problems;
    assert_eq!(problems.len(), 201);
    assert_eq!(problems[200].to_string(), "error: and 250 more");
    assert_eq!(problems[200].severity, Severity::Error);
}

#[test]
fn columns_count_characters() {
    insta::assert_snapshot!(with_job("parameters.owner2 = 1\n"), @r#"error: jobs/orders.toml:7:1: not TOML: cannot extend value of type inline table with a dotted key"#);
    insta::assert_snapshot!(with_job("\"größe\" = { ü = 1 }\n"), @r#"error: jobs/orders.toml:7:13: not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`"#);
}

#[test]
fn control_characters_and_length_stay_out_of_messages() {
    let text = with_job(&format!("table = \"a\\u0007{}\"\n", "x".repeat(5000)));
    assert!(text.len() < 400 && !text.contains('\u{7}'), "{text}");
}

/// Lines of real files, mixed up and cut.
fn pieces() -> impl Strategy<Value = String> {
    let lines: Vec<String> = format!("{SOURCE}{SINK}{JOB}").lines().map(str::to_owned).collect();
    let line = prop_oneof![
        4 => proptest::sample::select(lines),
        1 => "[a-z\\[\\]{}=\".,#0-9 ]{0,30}",
        1 => "\\PC{0,20}",
    ];
    proptest::collection::vec(line, 0..25).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_panics_the_loader(config in pieces(), source in pieces(), sink in pieces(), job in pieces()) {
        let loaded = Files { config, source, sink, jobs: vec![("orders".to_owned(), job)] }.load();
        prop_assert!(loaded.problems.len() <= 201);
        for problem in &loaded.problems {
            prop_assert!(problem.to_string().starts_with(problem.severity.name()));
        }
        // A job is either fine or parked.
        prop_assert_eq!(loaded.catalog.jobs.len() + loaded.parked.len(), 1);
    }

    #[test]
    fn one_changed_byte_never_panics(place in 0..SOURCE.len(), character: char) {
        let mut source = SOURCE.to_owned();
        source.replace_range(place..place + 1, &character.to_string());
        drop(Files { source, ..Files::good() }.load());
    }
}
