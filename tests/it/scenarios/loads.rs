//! First loads, delta loads, and runs that have nothing to do.

use std::time::Duration;

use serde_json::Value;

use crate::world::api::{FakeApi, Fault, Pages, Record, Stream};
use crate::world::feed;
use crate::world::kind::{Kind, prepared, tried};
use crate::world::oracle::Oracle;
use crate::world::program::highwater;
use crate::world::project::{Project, job};
use crate::world::skip;

/// The API's clock at the first load.
const NOW: &str = "2026-03-01T00:00:00Z";

pub fn api_with(pages: Pages, page_size: usize, records: Vec<Record>) -> FakeApi {
    let api = FakeApi::start(NOW);
    api.put_stream("items", Stream { pages, page_size, records });
    api
}

/// Runs the job `items` to its good end and returns its report.
pub fn run(project: &Project) -> Value {
    let ended = highwater(project, &["run", "items", "--json"]).run().expect_code(0);
    let report = ended.json()[0].take();
    assert_eq!(report["status"], "done", "{report}");
    report
}

pub fn mark(project: &Project) -> Value {
    highwater(project, &["state", "show", "items", "--json"]).run().expect_code(0).json()[0]["mark"].take()
}

fn kept(report: &Value) -> u64 {
    report["counts"]["kept"].as_u64().unwrap()
}

#[test]
fn every_kind_of_paging_brings_each_record_once_and_a_second_run_writes_nothing() {
    let mut oracle = Oracle::new();
    let mut projects = Vec::new();
    for pages in [Pages::None, Pages::Page, Pages::Offset, Pages::Token, Pages::NextUrl, Pages::LinkHeader] {
        // 30 records: C-27's last page is exactly full.
        let records = feed::plain(1, 30, "2026-01-30T00:00:00Z");
        let api = api_with(pages.clone(), 10, records.clone());
        let project = Project::of_items(&api, &pages, 10);
        assert_eq!(kept(&run(&project)), 30, "{pages:?}");

        // C-67, C-27
        let (lake, mark_before, asked) = (project.listing("lake"), mark(&project), api.seen().len());
        let report = run(&project);
        assert_eq!((report["counts"]["fetched"].as_u64(), report["commits"].as_u64()), (Some(0), Some(0)), "{pages:?}: {report}");
        assert_eq!(project.listing("lake"), lake, "{pages:?}: the second run wrote");
        assert_eq!(mark(&project), mark_before);
        assert!(api.seen().len() - asked <= 1, "{pages:?}: nothing new takes one request");
        if let Some(oracle) = &mut oracle {
            oracle.expect(&format!("{pages:?}"), &project.at("lake/items"), &records);
        }
        projects.push(project);
    }
    match oracle {
        Some(oracle) => oracle.check(),
        None => skip("every_kind_of_paging", "the independent readers are not installed"),
    }
}

#[test]
fn a_delta_load_brings_what_came_since_and_the_border_once() {
    let mut truth = feed::plain(1, 50, "2026-02-01T00:00:00Z");
    let api = api_with(Pages::Token, 7, truth.clone());
    let project = Project::of_items(&api, &Pages::Token, 7);
    assert_eq!(kept(&run(&project)), 50);

    // C-01: a row that arrives late with the very instant at which the mark stands.
    let border = mark(&project).as_str().unwrap().to_owned();
    let late = Record {
        json: format!("{{\"id\":1000,\"updated_at\":\"{border}\",\"name\":\"at the mark\"}}"),
        cursor: Some(border.parse().unwrap()),
    };
    let mut news = feed::plain(51, 20, "2026-03-01T00:10:00Z");
    news.push(late);
    api.add_records("items", news.clone());
    truth.extend(news);
    api.set_now("2026-03-02T00:00:00Z");
    assert_eq!(kept(&run(&project)), 21);
    assert!(mark(&project).as_str().unwrap() > border.as_str());
    assert_eq!(kept(&run(&project)), 0);
    match Oracle::new() {
        Some(mut oracle) => {
            oracle.expect("delta", &project.at("lake/items"), &truth);
            oracle.check();
        }
        None => skip("a_delta_load", "the independent readers are not installed"),
    }
    highwater(&project, &["verify"]).run().expect_code(0);
}

#[test]
fn a_row_from_the_far_future_waits_and_poisons_nothing() {
    // C-12
    let mut records = feed::plain(1, 5, "2026-02-01T00:00:00Z");
    let at = "2999-12-31T00:00:00Z";
    records.push(Record {
        json: format!("{{\"id\":99,\"updated_at\":\"{at}\",\"name\":\"later\"}}"),
        cursor: Some(at.parse().unwrap()),
    });
    // The API does not cut: it sends the row whatever is asked.
    let api = api_with(Pages::None, 10, records.iter().cloned().map(|record| Record { cursor: None, ..record }).collect());
    let project = Project::of_items(&api, &Pages::None, 10);
    let report = run(&project);
    assert_eq!((kept(&report), report["counts"]["out_of_window"].as_u64()), (5, Some(1)), "{report}");
    assert!(mark(&project).as_str().unwrap() < NOW, "the mark stands at the source's now, less what settles");
}

#[test]
fn a_page_that_fails_after_good_ones_leaves_lake_and_mark_as_they_were() {
    // C-20
    let api = api_with(Pages::Token, 5, feed::plain(1, 35, "2026-02-01T00:00:00Z"));
    let project = Project::of_items(&api, &Pages::Token, 5);
    api.fail(6..100, Fault::WrongType);
    let ended = highwater(&project, &["run", "items", "--json"]).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(mark(&project), Value::Null);
    let visible: Vec<String> = project.listing("lake").into_keys().filter(|path| path.ends_with(".parquet")).collect();
    assert!(visible.is_empty(), "{visible:?}");

    api.heal();
    assert_eq!(kept(&run(&project)), 35);
}

#[test]
fn what_passes_is_tried_again_and_costs_no_row() {
    // C-63
    let records = feed::plain(1, 20, "2026-02-01T00:00:00Z");
    let api = api_with(Pages::Token, 5, records.clone());
    let project = Project::of_items(&api, &Pages::Token, 5);
    api.fail(0..1, Fault::Status(503));
    api.fail(2..3, Fault::CutBody);
    api.fail(4..5, Fault::CutJson);
    api.fail(6..7, Fault::Slow(Duration::from_millis(200)));
    assert_eq!(kept(&run(&project)), 20);
    assert_eq!(api.seen().len(), 7, "four pages, three of them twice");
}

#[test]
fn retry_after_is_waited_for() {
    // One job alone asks here.
    let api = api_with(Pages::None, 5, feed::plain(1, 3, "2026-02-01T00:00:00Z"));
    let project = Project::of_items(&api, &Pages::None, 5);
    api.fail(0..1, Fault::TooMany { retry_after: 2 });
    assert_eq!(kept(&run(&project)), 3);
    let seen = api.seen_at();
    assert!(seen[1] - seen[0] >= Duration::from_secs(2), "asked again after {:?}", seen[1] - seen[0]);
}

#[test]
fn records_that_do_not_fit_go_to_the_dead_letters_in_the_same_commit() {
    // C-42, C-43
    let mut records = feed::plain(1, 10, "2026-02-01T00:00:00Z");
    for json in [
        "{\"id\":90,\"updated_at\":null,\"name\":\"null\"}",
        "{\"id\":91,\"name\":\"none\"}",
        "{\"id\":92,\"updated_at\":\"soon\"}",
    ] {
        records.push(Record { json: json.to_owned(), cursor: None });
    }
    let api = api_with(Pages::None, 100, records);
    let project = Project::of_items(&api, &Pages::None, 100);
    let report = run(&project);
    assert_eq!(
        (kept(&report), report["counts"]["rejected"].as_u64(), report["commits"].as_u64()),
        (10, Some(3), Some(1)),
        "{report}"
    );
    let letters: Vec<String> =
        project.listing("lake/_highwater/items/dead_letters").into_keys().filter(|path| path.ends_with(".parquet")).collect();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let bytes = std::fs::read(project.at(&letters[0])).unwrap();
    for kept_whole in ["\"name\":\"none\"", "\"updated_at\":\"soon\""] {
        assert!(read_texts(&bytes).iter().any(|text| text.contains(kept_whole)), "{kept_whole} is not in the dead letters");
    }
}

#[test]
fn a_record_that_no_partition_can_hold_goes_to_the_dead_letters_and_the_others_are_loaded() {
    // S-26
    let mut records = feed::plain(1, 10, "2026-02-01T00:00:00Z");
    let at = "2026-02-01T00:00:00Z";
    for (id, name) in [(90, String::new()), (91, "é".repeat(31)), (92, "é".repeat(30))] {
        let json = format!("{{\"id\":{id},\"updated_at\":\"{at}\",\"name\":\"{name}\"}}");
        records.push(Record { json, cursor: Some(at.parse().unwrap()) });
    }
    for (mode, steps) in [("append", ""), ("merge", ""), ("append", "[[steps]]\nfilter = \"id <> 1\"\n")] {
        let api = api_with(Pages::None, 100, records.clone());
        let project = Project::of_items(&api, &Pages::None, 100);
        project.edit("jobs/items.toml", "mode = \"append\"", &format!("mode = \"{mode}\""));
        project.edit("jobs/items.toml", "[\"month(updated_at)\"]", "[\"name\"]");
        let job = std::fs::read_to_string(project.at("jobs/items.toml")).unwrap();
        project.write("jobs/items.toml", &(job + steps));
        let report = run(&project);
        let (stay, goes) = if steps.is_empty() { (11, 0) } else { (10, 1) };
        let counts = &report["counts"];
        assert_eq!(
            (kept(&report), counts["rejected"].as_u64(), counts["filtered"].as_u64()),
            (stay, Some(2), Some(goes)),
            "{report}"
        );
        let letters: Vec<String> =
            project.listing("lake/_highwater/items/dead_letters").into_keys().filter(|path| path.ends_with(".parquet")).collect();
        let texts = read_texts(&std::fs::read(project.at(&letters[0])).unwrap());
        for expected in ["an empty text names no partition", "which takes 180 bytes, encoded: `186`", "\"id\":90", "\"id\":91"] {
            assert!(texts.iter().any(|text| text.contains(expected)), "{expected} is not in {texts:?}");
        }
        let held = format!("name={}", "%C3%A9".repeat(30));
        assert!(project.listing("lake/items").keys().any(|path| path.contains(&held)), "{mode}");
        assert_eq!(kept(&run(&project)), 0, "{mode}");
        highwater(&project, &["verify", "items"]).run().expect_code(0);
    }
}

#[test]
fn a_page_that_is_refused_for_good_is_put_aside_and_the_slice_counts_as_read() {
    let api = api_with(Pages::None, 100, feed::plain(1, 10, "2026-02-01T00:00:00Z"));
    let project = Project::of_items(&api, &Pages::None, 100);
    project.write(
        "sources/api.toml",
        &(std::fs::read_to_string(project.at("sources/api.toml")).unwrap()
            + "[[streams.items.errors]]\nstatus = [403]\nthen = \"dead_letter\"\n"),
    );
    project.edit("jobs/items.toml", "[window]", "[window]\nstep = \"14d\"");
    // The first of the window's slices is closed to us.
    api.fail(0..1, Fault::Status(403));
    let report = run(&project);
    assert_eq!((kept(&report), report["counts"]["rejected"].as_u64()), (10, Some(1)), "{report}");
    assert_eq!(report["counts"]["fetched"], 11, "{report}");
    let letters: Vec<String> =
        project.listing("lake/_highwater/items/dead_letters").into_keys().filter(|path| path.ends_with(".parquet")).collect();
    let texts = read_texts(&std::fs::read(project.at(&letters[0])).unwrap());
    assert!(texts.iter().any(|text| text.starts_with("{\"body\":") && text.contains("/items?from=")), "{texts:?}");
    let lake = project.listing("lake");
    assert_eq!(kept(&run(&project)), 0);
    assert_eq!(project.listing("lake"), lake, "it is not put aside again");
    highwater(&project, &["verify", "items"]).run().expect_code(0);
}

/// Every text value of a Parquet file.
fn read_texts(bytes: &[u8]) -> Vec<String> {
    use arrow::array::AsArray;
    use arrow::datatypes::DataType;
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    let mut texts = Vec::new();
    for batch in reader {
        for column in batch.unwrap().columns() {
            if matches!(column.data_type(), DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Binary) {
                let column = arrow::compute::cast(column, &DataType::Utf8).unwrap();
                texts.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
            }
        }
    }
    texts
}

#[test]
fn a_field_that_changes_its_type_later_gets_a_column_of_its_own() {
    let record = |id: u64, at: &str, amount: &str| Record {
        json: format!("{{\"id\":{id},\"updated_at\":\"{at}\",\"amount\":{amount}}}"),
        cursor: Some(at.parse().unwrap()),
    };
    let api = api_with(Pages::None, 100, vec![record(1, "2026-02-01T00:00:00Z", "7")]);
    let project = Project::of_items(&api, &Pages::None, 100);
    run(&project);
    api.add_records("items", [record(2, "2026-03-01T12:00:00Z", "7.5"), record(3, "2026-03-01T12:00:01Z", "8")]);
    api.set_now("2026-03-02T00:00:00Z");
    assert_eq!(kept(&run(&project)), 2);
    let sql = "SELECT id, amount, amount__float64 FROM items ORDER BY id";
    let answer = highwater(&project, &["query", sql, "--json"]).run().expect_code(0);
    for row in ["7.5", "8"] {
        assert!(answer.stdout.contains(row), "{}", answer.stdout);
    }
    highwater(&project, &["verify"]).run().expect_code(0);
}

#[test]
fn looking_changes_nothing() {
    // D-65 on every kind
    let Some(_) = prepared("looking_changes_nothing") else { return };
    let tried = tried!();
    let api = api_with(Pages::Token, 5, feed::plain(1, 20, "2026-02-01T00:00:00Z"));
    for kind in Kind::ALL {
        let table = tried.table(kind, &api, 5);
        for args in [&["check"][..], &["plan", "items"], &["preview", "items"], &["status"], &["runs"], &["state", "show"]] {
            highwater(&table, args).run().expect_code(0);
            assert!(table.objects().is_empty(), "{kind}: {args:?} wrote into the lake");
        }
        assert_eq!(mark(&table), Value::Null);
        assert_eq!(kept(&run(&table)), 20, "{kind}: a preview covers nothing");
    }
}

#[test]
fn a_secret_shows_up_nowhere() {
    // S-34, S-36: of what this program has: output, logs, lake and state.
    const CANARY: &str = "CANARY-3f9a1c77d2";
    let api = api_with(Pages::Token, 5, feed::plain(1, 20, "2026-02-01T00:00:00Z"));
    let project = Project::of_items(&api, &Pages::Token, 5);
    project.edit(
        "sources/api.toml",
        "timeout = \"20s\"\n",
        "timeout = \"20s\"\nauth = { type = \"bearer\", token = { env = \"API_TOKEN\" } }\n",
    );
    let call = |args: &[&str]| highwater(&project, args).env("API_TOKEN", CANARY).env("HIGHWATER_LOG", "trace").run();
    let mut said = Vec::new();
    said.push(call(&["run", "items"]).expect_code(0));
    api.forget();
    api.fail(0..9, Fault::Status(401));
    api.set_now("2026-03-02T00:00:00Z");
    said.push(call(&["run", "items"]).expect_code(1));
    said.push(call(&["runs", "--json"]).expect_code(0));
    said.push(call(&["preview", "items"]));
    assert!(api.seen()[0].headers["authorization"].ends_with(CANARY), "the API was asked with it");
    assert!(
        said[0].stderr.contains(&format!("items: GET {}/items?", api.url())),
        "the log says what was asked: {}",
        said[0].stderr
    );
    for ended in &said {
        assert!(!ended.stdout.contains(CANARY) && !ended.stderr.contains(CANARY), "{ended:?}");
    }
    for path in project.listing("").into_keys() {
        let bytes = std::fs::read(project.at(&path)).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{path} holds the secret");
    }
}

#[test]
fn slices_meet_exactly_and_a_hole_is_filled_by_the_next_run() {
    // C-56
    let truth = feed::plain(1, 200, "2026-02-27T00:00:00Z");
    let api = api_with(Pages::Token, 100, truth.clone());
    let project = Project::of_items(&api, &Pages::Token, 100);
    project.write("jobs/items.toml", &format!("{}step = \"1h\"\n", job("").replace("2026-01-01", "2026-02-27")));
    // The second slice's only page fails for good; the others go on.
    api.fail(1..6, Fault::WrongType);
    let ended = highwater(&project, &["run", "items", "--json"]).run().expect_code(1);
    assert_eq!(ended.json()[0]["failed"].as_array().map(Vec::len), Some(1), "{}", ended.stdout);
    assert_eq!(mark(&project), "2026-02-27T01:00:00Z", "the mark stops at the hole");
    let report = run(&project);
    assert_eq!(kept(&report), 60, "{report}");
    match Oracle::new() {
        Some(mut oracle) => {
            oracle.expect("slices", &project.at("lake/items"), &truth);
            oracle.check();
        }
        None => skip("slices_meet_exactly", "the independent readers are not installed"),
    }
}
