//! `jobs/*.toml`.

use crate::config::catalog::{DeclaredType, Mode, StepKind};
use crate::schema::ColumnType;

use super::{Files, JOB, SOURCE, shown, with_job, with_job_text, with_source};

#[test]
fn names_of_other_files() {
    insta::assert_snapshot!(with_job_text(&JOB.replacen("shop", "shopp", 1).replacen("\"lake\"", "\"warehouse\"", 1)), @r#"
    error: jobs/orders.toml:2:10: source: there is no source `shopp`
      help: did you mean `shop`?
    error: jobs/orders.toml:4:8: sink: there is no sink `warehouse`
      help: there is only `lake`
    "#);
    insta::assert_snapshot!(with_job_text(&JOB.replacen("orders", "order", 1)), @r#"
    error: jobs/orders.toml:3:10: stream: sources/shop.toml has no stream `order`
      help: did you mean `orders`?
    "#);
}

#[test]
fn parameters() {
    insta::assert_snapshot!(with_job_text(&JOB.replacen("owner", "ownre", 1)), @r#"
    error: jobs/orders.toml:6:14: parameters: sources/shop.toml needs the parameter `owner`
      help: add parameters = { owner = "..." }
    error: jobs/orders.toml:6:24: parameters.ownre: sources/shop.toml has no parameter `ownre`
      help: did you mean `owner`?
    "#);
    insta::assert_snapshot!(with_job_text(&JOB.replacen("acme", "", 1)), @r#"
    error: jobs/orders.toml:6:24: parameters.owner: sources/shop.toml needs the parameter `owner`
      help: give it a value
    "#);
    insta::assert_snapshot!(with_job_text(&JOB.replacen("\"acme\"", "[1]", 1)), @r#"
    error: jobs/orders.toml:6:24: parameters.owner: expected text, a number or a boolean, found a list
      help: write one value, without brackets
    "#);
}

/// A job over these sets, with these parameters in common.
fn with_sets(sets: &str, common: &str) -> super::Loaded {
    let job = JOB.replacen("parameters = { owner = \"acme\" }\n", &format!("{common}for_each = {sets}\n"), 1);
    Files { jobs: vec![("orders".to_owned(), job)], ..Files::good() }.load()
}

#[test]
fn sets_are_known_by_what_they_say() {
    // D-64
    let keys = |sets: &str| {
        let loaded = with_sets(sets, "parameters = { lang = \"de\" }\n");
        assert_eq!(shown(&loaded.problems), "");
        let sets = loaded.catalog.jobs.into_values().next().expect("the job").sets;
        sets.into_iter().map(|set| (set.partition.to_string(), set.parameters)).collect::<Vec<_>>()
    };
    let found = keys("[{ owner = \"b\" }, { lang = \"fr\", owner = \"a/1\" }, { owner = 7 }]");
    let names: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(names, ["owner=b", "lang=fr,owner=a/1", "owner=7"]);
    let lang: Vec<&str> = found.iter().map(|(_, parameters)| parameters["lang"].as_str()).collect();
    assert_eq!(lang, ["de", "fr", "de"], "a set's value wins over the common one");
}

#[test]
fn sets_that_make_no_sense_are_refused() {
    // D-64
    let sets = "[\n  { owner = \"a\" },\n  { ownre = \"b\" },\n  {},\n  { owner = \"a\" },\n  { owner = \"\" },\n  3,\n]";
    insta::assert_snapshot!(shown(&with_sets(sets, "").problems), @r#"
    error: jobs/orders.toml:8:3: for_each[2]: sources/shop.toml needs the parameter `owner`, and neither this set nor `parameters` gives it
      help: add owner = "..." to the set
    error: jobs/orders.toml:8:13: for_each[2].ownre: sources/shop.toml has no parameter `ownre`
      help: did you mean `owner`?
    error: jobs/orders.toml:9:3: for_each[3]: the set is empty
      help: give what it differs in, or take it out
    error: jobs/orders.toml:10:3: for_each[4]: the set `owner=a` is given twice, first in line 7
      help: keep one of them: its rows would be loaded twice
    error: jobs/orders.toml:11:13: for_each[5].owner: sources/shop.toml needs the parameter `owner`
      help: give it a value
    error: jobs/orders.toml:12:3: for_each[6]: expected a table, found a whole number
      help: write a table, such as { name = "value" }
    "#);
    insta::assert_snapshot!(shown(&with_sets("[]", "").problems), @r#"
    error: jobs/orders.toml:6:12: for_each: there is no set
      help: give at least one, such as [{ name = "value" }], or take it out
    "#);
    let long = "x".repeat(400);
    insta::assert_snapshot!(shown(&with_sets(&format!("[{{ owner = \"{long}\" }}]"), "").problems), @r#"
    error: jobs/orders.toml:6:13: for_each[1]: the values of the set are longer than 300 characters together
      help: a set is known by its values: move long ones that are common to `parameters`
    "#);
    let many: Vec<String> = (0..10_001).map(|number| format!("{{ owner = {number} }}")).collect();
    insta::assert_snapshot!(shown(&with_sets(&format!("[{}]", many.join(", ")), "").problems), @r#"
    error: jobs/orders.toml:6:12: for_each: there are more than 10000 entries
      help: split it
    "#);
}

#[test]
fn a_parameter_cannot_add_a_header() {
    // S-18
    let source = SOURCE.replacen("[parameters]", "headers = { X-Owner = \"{{ owner }}\" }\n[parameters]", 1);
    let job = JOB.replacen("acme", "hunter2\\r\\nX-Admin: 1", 1);
    let problems = Files { source, jobs: vec![("orders".to_owned(), job)], ..Files::good() }.load().problems;
    insta::assert_snapshot!(shown(&problems), @r#"
    error: jobs/orders.toml:6:14: parameters: the header `x-owner` cannot be written: a header's value is visible ASCII without line breaks
      help: correct the parameters that it uses
    "#);
}

#[test]
fn modes() {
    // With key and cursor a merge, with a cursor alone an append, else a replacement.
    let without_key = SOURCE.replacen("primary_key = [\"id\"]\n", "", 1);
    let by_default = JOB.replacen("mode = \"append\"\n", "", 1);
    let cases = [
        (SOURCE.to_owned(), by_default.clone(), Mode::Merge),
        (without_key.clone(), by_default.clone(), Mode::Append),
        (SOURCE.to_owned(), by_default.replacen("orders", "plain", 1), Mode::Replace),
        (SOURCE.to_owned(), JOB.replacen("append", "replace", 1), Mode::Replace),
    ];
    for (source, job, mode) in cases {
        let loaded = Files { source, jobs: vec![("orders".to_owned(), job)], ..Files::good() }.load();
        let found = loaded.catalog.jobs.values().next().map(|job| job.mode);
        assert_eq!((shown(&loaded.problems).as_str(), found), ("", Some(mode)));
    }
    insta::assert_snapshot!(with_job_text(&JOB.replacen("append", "upsert", 1)), @r#"
    error: jobs/orders.toml:5:8: mode: `upsert` is not known here
      help: it is called `merge` here
    "#);
    let merge = JOB.replacen("append", "merge", 1);
    let loaded = Files { source: without_key, jobs: vec![("orders".to_owned(), merge.clone())], ..Files::good() }.load();
    insta::assert_snapshot!(shown(&loaded.problems), @r#"
    error: jobs/orders.toml:5:8: mode: a merge needs a key: it keeps one row for each
      help: add primary_key = ["id"] to the stream, or write mode = "append"
    "#);
    insta::assert_snapshot!(with_job_text(&format!("{merge}on_delete = \"hard\"\npartition_immutable = true\n")), @r#"
    error: jobs/orders.toml:7:13: on_delete: the stream does not say how deleted records are told
      help: add deleted = "path" to the stream: the field that says that a record was deleted
    error: jobs/orders.toml:8:23: partition_immutable: the table has no partitions
      help: take it out, or add partition_by
    "#);
    insta::assert_snapshot!(with_job("on_delete = \"hard\"\n"), @r#"
    error: jobs/orders.toml:7:13: on_delete: `on_delete` has no meaning in mode "append"
      help: take it out, or write mode = "merge"
    "#);
}

#[test]
fn lookback() {
    let replace = JOB.replacen("append", "replace", 1);
    insta::assert_snapshot!(with_job_text(&format!("{replace}[window]\nlookback = \"1d\"\n")), @r#"
    error: jobs/orders.toml:8:12: window.lookback: `lookback` has no meaning in mode "replace"
      help: take it out
    "#);
    insta::assert_snapshot!(with_job("[window]\nlookback = 5\n"), @r#"
    error: jobs/orders.toml:8:12: window.lookback: the cursor is a point in time
      help: write a length of time, such as "1h"
    "#);
    insta::assert_snapshot!(with_job("[window]\nlookback = \"soon\"\n"), @r#"
    error: jobs/orders.toml:8:12: window.lookback: `soon` is not a duration
      help: write whole numbers with units, such as "30s", "1h30m" or "7d"
    "#);
    let source = SOURCE.replacen("primary_key = [\"id\"]\n", "", 1);
    let job = format!("{JOB}[window]\nlookback = \"1d\"\n");
    let loaded = Files { source, jobs: vec![("orders".to_owned(), job)], ..Files::good() }.load();
    insta::assert_snapshot!(shown(&loaded.problems), @r#"
    error: jobs/orders.toml:8:12: window.lookback: `lookback` needs a key: rows that are read again are told apart by it
      help: add primary_key = ["id"] to the stream, or take `lookback` out
    "#);
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
    insta::assert_snapshot!(with_job("table = \"a/b\"\n"), @r#"
    error: jobs/orders.toml:7:9: table: `a/b` is not a name that is safe in a path
      help: use letters, digits, `_`, `-` and `.`, beginning with a letter or a digit, such as "github_issues"
    "#);
}

#[test]
fn one_job_owns_a_table() {
    let mut files = Files::good();
    files.jobs.push(("other".to_owned(), format!("{JOB}table = \"Orders\"\n")));
    let loaded = files.load();
    insta::assert_snapshot!(shown(&loaded.problems), @r#"
    error: jobs/orders.toml:1:1: table: jobs/other.toml writes the same table `orders`
      help: one job owns a table: give each a `table` of its own
    error: jobs/other.toml:7:9: table: jobs/orders.toml writes the same table `Orders`
      help: one job owns a table: give each a `table` of its own
    "#);
    assert!(loaded.catalog.jobs.is_empty(), "neither of them runs");
}

#[test]
fn windows() {
    insta::assert_snapshot!(with_job("[window]\nstep = \"0s\"\nstart = \"yesterday\"\nsettle = \"1 minute\"\n"), @r#"
    error: jobs/orders.toml:8:8: window.step: `0s` is not a step
      help: give a duration above zero, such as "1d"
    error: jobs/orders.toml:9:9: window.start: `yesterday` is not a timestamp
      help: write an instant with its zone, such as "2019-01-01T00:00:00Z", or a day, such as "2019-01-01"
    error: jobs/orders.toml:10:10: window.settle: `1 minute` is not a duration
      help: write whole numbers with units, such as "30s", "1h30m" or "7d"
    "#);
    insta::assert_snapshot!(with_job("[window]\nstart = 2020\n"), @r#"
    error: jobs/orders.toml:8:9: window.start: the cursor is a point in time
      help: write an instant, such as "2019-01-01T00:00:00Z"
    "#);
    insta::assert_snapshot!(with_job("[window]\nstart = 12:00:00\n"), @r#"
    error: jobs/orders.toml:8:9: window.start: `12:00:00` is not a timestamp
      help: write an instant with its zone, such as "2019-01-01T00:00:00Z", or a day, such as "2019-01-01"
    "#);
    insta::assert_snapshot!(with_job_text(&format!("{}[window]\nstep = \"1d\"\nstart = \"2020-01-01\"\n", JOB.replacen("orders", "plain", 1))), @r#"
    error: jobs/orders.toml:8:8: window.step: `step` has no meaning for a stream without a cursor
      help: take it out
    error: jobs/orders.toml:9:9: window.start: `start` has no meaning for a stream without a cursor
      help: take it out
    "#);
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
    insta::assert_snapshot!(shown(&loaded.problems), @r#"
    warning: jobs/orders.toml:8:8: window.step: `step` is ignored: the API is never asked for an upper bound
      help: add a query entry with `{{ to }}` to the stream if the API takes an upper bound, else take `step` out
    "#);
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
    insta::assert_snapshot!(shown(&load("[window]\nstart = \"2020-01-01\"\nstep = \"1d\"\nsettle = \"1m\"\n").problems), @r#"
    error: jobs/orders.toml:8:9: window.start: the cursor is a whole number
      help: write the first number that is read, without quotes
    error: jobs/orders.toml:9:8: window.step: `step` has no meaning for an integer cursor
      help: take it out
    error: jobs/orders.toml:10:10: window.settle: `settle` has no meaning for an integer cursor
      help: take it out
    "#);
    insta::assert_snapshot!(with_source("type = \"timestamp\"", "type = \"integer\""), @r#"
    error: sources/shop.toml:13:41: streams.orders.cursor.query.until: such a cursor has no `to`: it is read from the mark on
      help: take the entry out
    "#);
}

#[test]
fn partitions() {
    insta::assert_snapshot!(with_job("partition_by = [\"week(a)\", \"month(a\", \"a/b\", \"\", \"day(a)\", \"day(a)\"]\n"), @r#"
    error: jobs/orders.toml:7:17: partition_by[1]: `week` is not a unit of time
      help: the units are `year`, `month`, `day`, `hour`
    error: jobs/orders.toml:7:28: partition_by[2]: `month(a` lacks its closing bracket
      help: write a column, or year, month, day or hour of one, such as "month(created_at)"
    error: jobs/orders.toml:7:39: partition_by[3]: `a/b` does not name a column that can stand in a path
      help: write a column, or year, month, day or hour of one, such as "month(created_at)"
    error: jobs/orders.toml:7:46: partition_by[4]: the empty text does not name a column that can stand in a path
      help: write a column, or year, month, day or hour of one, such as "month(created_at)"
    error: jobs/orders.toml:7:60: partition_by[6]: the partition `a_day` is given twice
      help: name it once
    "#);
}

#[test]
fn steps() {
    insta::assert_snapshot!(with_job("[[steps]]\n[[steps]]\ndrop = [\"a\"]\nselect = [\"b\"]\n[[steps]]\nfliter = \"x\"\n"), @r#"
    error: jobs/orders.toml:7:1: steps[1]: the entry is empty
      help: write exactly one of `select`, `drop`, `rename`, `cast`, `derive`, `filter`, `flatten`, `sql`
    error: jobs/orders.toml:8:1: steps[2]: the entry has more than one key
      help: write exactly one of `select`, `drop`, `rename`, `cast`, `derive`, `filter`, `flatten`, `sql`
    error: jobs/orders.toml:12:1: steps[3].fliter: unknown key
      help: did you mean `filter`?
    "#);
    insta::assert_snapshot!(with_job("[[steps]]\nselect = []\n[[steps]]\ndrop = [\"a\", \"a\"]\n[[steps]]\nrename = { a = \"c\", b = \"c\" }\n[[steps]]\nderive = { _hw_x = \"1\" }\n"), @r#"
    error: jobs/orders.toml:8:10: steps[1].select: the list is empty
      help: name at least one column
    error: jobs/orders.toml:10:14: steps[2].drop[2]: the column `a` stands twice
      help: name it once
    error: jobs/orders.toml:12:25: steps[3].rename.b: two columns become `c`
      help: give each a name of its own
    error: jobs/orders.toml:14:20: steps[4].derive._hw_x: names that begin with `_hw_` are highwater's own
      help: choose another name
    "#);
    insta::assert_snapshot!(with_job("[[steps]]\ncast = { a = \"int46\", b = \"decimal(40,2)\" }\n[[steps]]\nflatten = { separator = \"\" }\n[[steps]]\nfilter = \"\"\n"), @r#"
    error: jobs/orders.toml:8:14: steps[1].cast.a: `int46` is not a type
      help: did you mean `int64`?
    error: jobs/orders.toml:8:27: steps[1].cast.b: `decimal(40,2)` is not a decimal type
      help: write decimal(precision,scale): precision 1 to 38, scale 0 to precision
    error: jobs/orders.toml:10:11: steps[2].flatten.columns: `columns` is missing
      help: add `columns`
    error: jobs/orders.toml:10:25: steps[2].flatten.separator: the text is empty
      help: write a text, or leave the key out
    error: jobs/orders.toml:12:10: steps[3].filter: the text is empty
      help: write a text, or leave the key out
    "#);
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
    insta::assert_snapshot!(with_job("on_type_change = \"ignore\"\n[columns]\na = \"strnig\"\nb = \"decimal(2,3)\"\n\"c.d\" = \"text\"\nc = \"json\"\n\"e.\" = \"text\"\n"), @r#"
    error: jobs/orders.toml:7:18: on_type_change: `ignore` is not known here
      help: the words are `new_column`, `dead_letter`, `fail`
    error: jobs/orders.toml:9:5: columns.a: `strnig` is not a type
      help: the types are `boolean`, `int64`, `float64`, `text`, `timestamp`, `date`, `json`, `decimal(18,2)`, `epoch_s`, `epoch_ms`, `epoch_us`
    error: jobs/orders.toml:10:5: columns.b: `decimal(2,3)` is not a decimal type
      help: write decimal(precision,scale): precision 1 to 38, scale 0 to precision
    error: jobs/orders.toml:11:9: columns."c.d": its outer field `c` has a type already
      help: keep one of them
    error: jobs/orders.toml:13:1: columns."e.": `e.` ends with a dot
      help: write the field's path, such as "updated_at" or "properties.time"
    "#);
    insta::assert_snapshot!(with_job("[columns]\nupdated_at = \"text\"\n"), @r#"
    error: jobs/orders.toml:8:14: columns.updated_at: the stream's cursor says otherwise of this field
      help: take it out, or correct the cursor's `type`
    "#);
    let source = SOURCE.replacen("timestamp", "epoch_s", 1);
    let loaded = Files { source, ..Files::good() }.load();
    assert_eq!(loaded.catalog.jobs.values().next().unwrap().columns["updated_at"], DeclaredType::EpochS);
}

#[test]
fn a_broken_source_parks_its_jobs() {
    let source = SOURCE.replacen("[streams.plain]", "[streams.plain]\nrecrods = \"\"", 1);
    let loaded = Files { source, ..Files::good() }.load();
    insta::assert_snapshot!(loaded.parked.values().next().unwrap(), @r#"sources/shop.toml:15:1: streams.plain.recrods: unknown key"#);
}

#[test]
fn numbers_are_sent_as_they_are_written() {
    let source = SOURCE.replacen("primary_key = [\"id\"]", "primary_key = [\"id\"]\nquery = { min = 2.50 }", 1);
    let job = JOB.replacen("\"acme\"", "\"acme\", lang = 7", 1);
    let loaded = Files { source, jobs: vec![("orders".to_owned(), job)], ..Files::good() }.load();
    let job = loaded.catalog.jobs.values().next().unwrap();
    assert_eq!((job.stream.query[0].1.text(), job.parameters["lang"].as_str()), ("2.50", "7"));
    assert!(with_job_text(&JOB.replacen("\"acme\"", "nan", 1)).contains("found a number with a fraction"));
}

#[test]
fn freshness() {
    insta::assert_snapshot!(with_job("freshness = \"0s\"\n"), @r#"
    error: jobs/orders.toml:7:13: freshness: `0s` is an age that no table has
      help: give the oldest age that is fine, such as "2h"
    "#);
    insta::assert_snapshot!(with_job("freshness = \"5m\"\n[window]\nsettle = \"10m\"\n"), @r#"
    error: jobs/orders.toml:7:13: freshness: `5m` is never reached: the window settles for 10m
      help: give more than `window.settle` and the time between two runs
    "#);
    insta::assert_snapshot!(with_job("freshness = \"2h\"\n"), @"");
}
