//! What holds for every file: syntax, keys, types, bounds.

use proptest::prelude::*;

use crate::config::Severity;
use crate::ids::JobName;

use super::{Files, JOB, SINK, SOURCE, shown, with_config, with_job, with_job_text, with_sink, with_source};

#[test]
fn toml_syntax() {
    insta::assert_snapshot!(with_job("x = = 1\n[window\n"), @"");
    insta::assert_snapshot!(with_job("source = \"again\"\n"), @"");
}

#[test]
fn version() {
    insta::assert_snapshot!(with_config(""), @"");
    insta::assert_snapshot!(with_config("version = 2\n"), @"");
    insta::assert_snapshot!(with_config("version = \"1\"\n"), @"");
}

#[test]
fn unknown_keys() {
    insta::assert_snapshot!(with_job("[widnow]\nstart = 1\n"), @"");
    insta::assert_snapshot!(with_job("[window]\nbeginning = 1\n\"a b\" = 2\n"), @"");
}

#[test]
fn keys_that_are_not_built_yet() {
    insta::assert_snapshot!(with_job("schedule = \"@daily\"\ntimezone = \"UTC\"\nafter = []\ncatch_up = \"one\"\nfor_each = []\n[window]\nlookback = \"1d\"\n"), @"");
    insta::assert_snapshot!(with_config("version = 1\n[web]\nlisten = \"x\"\n[alerts.ops]\ntype = \"webhook\"\n"), @"");
    insta::assert_snapshot!(with_source("path = \"/plain\"", "path = \"/plain\"\nparent = {}\nmethod = \"POST\""), @"");
}

#[test]
fn wrong_types() {
    insta::assert_snapshot!(with_job("enabled = \"yes\"\npartition_by = \"month(a)\"\nwindow = 3\nsteps = {}\ntable = 7\n"), @"");
    insta::assert_snapshot!(with_config("version = 1\n[limits]\nmemory = 512\nruns = \"8\"\n"), @"");
    insta::assert_snapshot!(with_job("[columns]\nproperties.time = \"epoch_ms\"\n"), @"");
}

#[test]
fn missing_keys() {
    insta::assert_snapshot!(with_job_text("version = 1\n"), @"");
    insta::assert_snapshot!(with_sink("version = 1\n"), @"");
    insta::assert_snapshot!(with_source("path = \"/plain\"", ""), @"");
}

#[test]
fn every_problem_of_every_file_at_once_and_in_order() {
    let files = Files {
        config: "version = 1\n[limits]\nruns = 0\n".to_owned(),
        source: SOURCE.replacen("timestamp", "stamp", 1),
        sink: SINK.replacen("parquet", "delta", 1),
        jobs: vec![("orders".to_owned(), format!("{JOB}[window]\nstep = \"0s\"\nstart = \"soon\"\n"))],
    };
    let loaded = files.load();
    insta::assert_snapshot!(shown(&loaded.problems), @"");
    assert!(loaded.catalog.jobs.is_empty());
    assert!(loaded.parked[&JobName::new("orders")].starts_with("config.toml:3:8: "));
}

#[test]
fn a_job_is_parked_with_its_reason_and_the_others_go_on() {
    let mut files = Files::good();
    files.jobs.push(("broken".to_owned(), JOB.replacen("append", "merge", 1)));
    let loaded = files.load();
    assert!(loaded.catalog.jobs.contains_key(&JobName::new("orders")));
    assert_eq!(loaded.parked[&JobName::new("broken")], "jobs/broken.toml:5:8: mode: `merge` is not built yet");
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
    insta::assert_snapshot!(with_job("parameters.owner2 = 1\n"), @"");
    insta::assert_snapshot!(with_job("\"größe\" = { ü = 1 }\n"), @"");
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
