//! Unkind feeds read back by programs that share no code with ours: every value, every type, each row once.

use super::loads::{api_with, run};
use crate::world::api::{Pages, Record};
use crate::world::bucket::{Bucket, Gate, S3Gate};
use crate::world::feed;
use crate::world::kind::{Kind, prepared, tried};
use crate::world::oracle::Oracle;
use crate::world::program::highwater;
use crate::world::project::Project;
use crate::world::{setting, skip};

const RECORDS: u64 = 400;
const PAGE: u64 = 50;

#[test]
fn an_unkind_feed_is_read_back_equal() {
    // C-66
    let Some(mut oracle) = Oracle::new() else {
        return skip("an_unkind_feed_is_read_back_equal", "the independent readers are not installed");
    };
    let mut projects = Vec::new();
    for (seed, pages) in [(1, Pages::Page), (2, Pages::Token), (3, Pages::LinkHeader), (4, Pages::None)] {
        let truth = feed::unkind(seed, 1, RECORDS, "2026-01-31T00:00:00Z", PAGE);
        let api = api_with(pages.clone(), PAGE as usize, truth.clone());
        let project = Project::of_items(&api, &pages, PAGE as usize);
        run(&project);
        oracle.expect(&format!("seed {seed}, {pages:?}"), &project.at("lake/items"), &truth);
        highwater(&project, &["verify"]).run().expect_code(0);
        projects.push(project);
    }
    oracle.check();
}

#[test]
fn an_unkind_feed_in_a_bucket_is_read_back_equal() {
    let (Some(mut oracle), Some(bucket)) = (Oracle::new(), Bucket::new()) else {
        return skip("an_unkind_feed_in_a_bucket_is_read_back_equal", "there is no S3 server");
    };
    let truth = feed::unkind(11, 1, RECORDS, "2026-01-31T00:00:00Z", PAGE);
    let api = api_with(Pages::Token, PAGE as usize, truth.clone());
    let project = Project::of_items_in(&bucket, &bucket.endpoint, &api, &Pages::Token, PAGE as usize);
    run(&project);
    oracle.expect_in("bucket", &bucket, &truth);
    oracle.check();
    highwater(&project, &["verify"]).run().expect_code(0);
    assert_eq!(run(&project)["commits"], 0);
}

#[test]
fn a_decision_whose_answer_is_lost_counts_once() {
    // D-13
    let (Some(mut oracle), Some(bucket)) = (Oracle::new(), Bucket::new()) else {
        return skip("a_decision_whose_answer_is_lost_counts_once", "there is no S3 server");
    };
    let gate = S3Gate::before(&bucket.endpoint);
    let truth = feed::plain(1, 40, "2026-02-01T00:00:00Z");
    let api = api_with(Pages::Token, 10, truth.clone());
    let project = Project::of_items_in(&bucket, &gate.endpoint(), &api, &Pages::Token, 10);
    gate.set(Gate::LosesAnswers);
    let report = run(&project);
    assert!(gate.spoiled() > 0, "the gate saw no decision");
    assert_eq!(report["commits"], 1);
    gate.set(Gate::Open);
    assert_eq!(run(&project)["commits"], 0);
    oracle.expect_in("lost answers", &bucket, &truth);
    oracle.check();
}

#[test]
fn the_oracle_can_say_no() {
    let Some(_) = Oracle::new() else {
        return skip("the_oracle_can_say_no", "the independent readers are not installed");
    };
    let truth = feed::plain(1, 5, "2026-02-01T00:00:00Z");
    let api = api_with(Pages::None, 10, truth.clone());
    let project = Project::of_items(&api, &Pages::None, 10);
    run(&project);
    let verdict = |truth: &[crate::world::api::Record]| {
        let mut oracle = Oracle::new().unwrap();
        oracle.expect("doubt", &project.at("lake/items"), truth);
        oracle.differences()
    };
    assert_eq!(verdict(&truth), "");
    let mut more = truth.clone();
    more.extend(feed::plain(6, 1, "2026-02-02T00:00:00Z"));
    assert!(verdict(&more).contains("row ('6',) is lost"), "{}", verdict(&more));
    assert!(verdict(&truth[1..]).contains("row ('1',) is not in the source"));
    let mut other = truth.clone();
    other[2].json = other[2].json.replace("\"n2\"", "\"n3\"");
    assert!(verdict(&other).contains("name is 'n2', not 'n3'"), "{}", verdict(&other));
    let twice = [truth.clone(), vec![truth[0].clone()]].concat();
    assert!(verdict(&twice).contains("is there 1 times, not 2"));
}

#[test]
fn one_row_of_64_mebibytes_arrives_whole() {
    // D-62 on every kind
    let Some(_) = prepared("one_row_of_64_mebibytes_arrives_whole") else { return };
    let tried = tried!();
    const LENGTH: usize = 64 << 20;
    let text: String = "0123456789abcdef é".chars().cycle().take(LENGTH).collect();
    let at = "2026-02-01T00:00:00Z";
    let json = format!("{{\"id\":1,\"updated_at\":\"{at}\",\"name\":\"{text}\"}}");
    let api = api_with(Pages::Token, 5, vec![Record { json, cursor: Some(at.parse().unwrap()) }]);
    for kind in Kind::ALL {
        let project = tried.table(kind, &api, 5);
        project.edit("sources/api.toml", "timeout = \"20s\"\n", "timeout = \"60s\"\nbody_max = \"256MiB\"\n");
        assert_eq!(run(&project)["counts"]["kept"], 1);
        highwater(&project, &["verify"]).run().expect_code(0);
        if let Some(file) = project.listing("lake/items").into_keys().find(|name| name.ends_with(".parquet")) {
            use arrow::array::AsArray;
            let bytes = bytes::Bytes::from(std::fs::read(project.at(&file)).unwrap());
            let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
            let names: Vec<_> = reader.map(|rows| rows.unwrap().column_by_name("name").unwrap().clone()).collect();
            let names = arrow::compute::cast(&names[0], &arrow::datatypes::DataType::LargeUtf8).unwrap();
            assert!(names.as_string::<i64>().value(0) == text, "the text differs");
        }
    }
}

#[test]
fn a_slice_of_many_partitions_needs_few_handles() {
    // D-63 on every kind: of a thousand in a folder, and fewer elsewhere, more than a process may have open at once here. A folder
    // takes as many as HIGHWATER_TEST_PARTITIONS says.
    let many = setting("HIGHWATER_TEST_PARTITIONS").map_or(1_000, |number| number.parse().unwrap());
    let Some(_) = prepared("a_slice_of_many_partitions_needs_few_handles") else { return };
    let tried = tried!();
    for kind in Kind::ALL {
        let (partitions, handles) = if kind == Kind::ParquetLocal { (many, 512) } else { (80, 64) };
        let at = "2026-02-01T00:00:00Z";
        let record = |id: u64| Record {
            json: format!("{{\"id\":{id},\"updated_at\":\"{at}\",\"name\":\"n{id}\"}}"),
            cursor: Some(at.parse().unwrap()),
        };
        let records: Vec<Record> = (0..partitions).map(record).collect();
        let api = api_with(Pages::Token, 1_000, records);
        let table = tried.table(kind, &api, 1_000);
        table.edit("jobs/items.toml", "[\"month(updated_at)\"]", "[\"id\"]");
        let limit = format!("ulimit -n {handles}; exec \"$0\" \"$@\"");
        highwater(&table, &["run", "items"]).under(&["sh", "-c", &limit]).run().expect_code(0);
        highwater(&table, &["verify"]).run().expect_code(0);
        let sql = "SELECT COUNT(DISTINCT id) AS n FROM items";
        let counted = highwater(&table, &["query", sql, "--json"]).run().expect_code(0).json();
        assert_eq!(counted["n"].as_u64(), Some(partitions), "{kind}");
        assert_eq!(run(&table)["commits"], 0, "{kind}");
    }
}

/// A record of one of these partitions, with a text of half a kilobyte.
fn of_a_partition(id: u64, partitions: u64, day: &str, word: &str) -> Record {
    let at = format!("{day}T12:{:02}:00Z", id % 60);
    // Neighbours are of partitions that lie far apart, and so is their order.
    let part = id * 7919 % 10_007 % partitions;
    let text = format!("{word} {id} ").repeat(512 / (word.len() + 6));
    let json = format!(
        "{{\"id\":{id},\"updated_at\":\"{at}\",\"part\":\"p{part}\",\"tags\":[{{\"t\":\"{word}\"}}],\"text\":\"{text}\"}}"
    );
    Record { json, cursor: Some(at.parse().unwrap()) }
}

#[test]
fn rows_of_more_partitions_than_are_written_at_once_are_read_back_equal() {
    // D-63 on every kind: partitions in any order, of which more come than have row groups open, in so little memory that what waits
    // is written several times, or spilled.
    let Some(mut oracle) = prepared("rows_of_more_partitions_than_are_written_at_once_are_read_back_equal") else { return };
    let tried = tried!();
    let mut tables = Vec::new();
    for kind in Kind::ALL {
        let (partitions, rows) = if kind.is_on_s3() { (40, 1_500) } else { (400, 6_000) };
        for merges in [false, true] {
            let first: Vec<Record> = (0..rows).map(|id| of_a_partition(id, partitions, "2026-02-01", "first")).collect();
            let api = api_with(Pages::Token, 500, first.clone());
            let table = tried.table(kind, &api, 500);
            let table = if merges { table.merging() } else { table };
            table.write("config.toml", "version = 1\n[limits]\nmemory = \"16MiB\"\n");
            table.edit("jobs/items.toml", "[\"month(updated_at)\"]", "[\"part\"]");
            run(&table);
            let files =
                table.objects().iter().filter(|name| name.starts_with("items/") && name.ends_with(".parquet")).count() as u64;
            // So many that they are sorted on the disk have a file each.
            let most = if partitions > 128 { partitions } else { 4 * partitions };
            assert!((partitions..=most).contains(&files), "{kind}: {files} files of {partitions} partitions");

            // Every third row changes where rows are merged, and as many come new.
            let changed = (0..rows).step_by(3).map(|id| of_a_partition(id, partitions, "2026-03-02", "changed"));
            let changed: Vec<Record> = if merges { changed.collect() } else { Vec::new() };
            let news: Vec<Record> =
                (rows..rows + rows / 3).map(|id| of_a_partition(id, partitions, "2026-03-02", "new")).collect();
            api.add_records("items", changed.iter().chain(&news).cloned());
            api.set_now("2026-03-03T00:00:00Z");
            run(&table);
            highwater(&table, &["verify"]).run().expect_code(0);
            let kept = first.into_iter().zip(0..).filter(|(_, id)| !merges || id % 3 != 0).map(|(record, _)| record);
            let truth: Vec<Record> = kept.chain(changed).chain(news).collect();
            table.expect(&mut oracle, &format!("many partitions, merges: {merges}"), &truth);
            tables.push((table, api));
        }
    }
    oracle.check();
}
