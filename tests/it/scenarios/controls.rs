//! The control tables, asked in SQL by DuckDB: `runs`, `schema_changes` and the dead letters, each by one glob.

use std::path::Path;

use serde_json::{Value, json};

use super::loads::{api_with, run};
use crate::world::api::{FakeApi, Pages, Record};
use crate::world::bucket::Bucket;
use crate::world::feed;
use crate::world::program::highwater;
use crate::world::project::Project;
use crate::world::python::Python;
use crate::world::skip;

/// DuckDB's answer, row by row; `$LAKE` stands for the sink's folder.
fn ask(lake: &Path, sql: &str) -> Value {
    const SCRIPT: &str = "import duckdb, json, sys\nprint(json.dumps(duckdb.sql(sys.argv[1]).fetchall(), default=str))";
    let sql = sql.replace("$LAKE", &lake.to_string_lossy());
    Python::new().expect("asked for before").ask(&["-c", SCRIPT, &sql])
}

/// The same of a folder in a bucket, as the table `t`.
fn ask_bucket(bucket: &Bucket, folder: &str, sql: &str) -> Value {
    const SCRIPT: &str = "import duckdb, json, sys\nimport pyarrow.dataset as ds, pyarrow.fs as fs\n\
        s3 = fs.S3FileSystem(endpoint_override=sys.argv[2], scheme='http', access_key='test', secret_key='test', region='us-east-1')\n\
        t = ds.dataset(sys.argv[3], filesystem=s3, format='parquet').to_table()\n\
        print(json.dumps(duckdb.sql(sys.argv[1]).fetchall(), default=str))";
    let endpoint = bucket.endpoint.trim_start_matches("http://");
    Python::new().expect("asked for before").ask(&["-c", SCRIPT, sql, endpoint, folder])
}

fn late(id: u64, at: &str, more: &str) -> Record {
    Record { json: format!("{{\"id\":{id},\"updated_at\":\"{at}\",\"name\":\"late\"{more}}}"), cursor: Some(at.parse().unwrap()) }
}

/// A record that the API delivers without a value of its cursor.
fn misfit(id: u64) -> Record {
    Record { json: format!("{{\"id\":{id},\"updated_at\":null,\"name\":\"x\"}}"), cursor: None }
}

fn life(api: &FakeApi, project: &Project) {
    run(project);
    // Nothing new: the run is told of with the next one that brings something.
    run(project);
    api.add_records("items", [late(90, "2026-03-01T01:00:00Z", ",\"size\":7")]);
    api.set_now("2026-03-02T00:00:00Z");
    run(project);
}

fn api() -> FakeApi {
    let mut records = feed::plain(1, 12, "2026-02-01T00:00:00Z");
    records.push(misfit(70));
    api_with(Pages::Token, 5, records)
}

const RUNS: &str = "SELECT status, kept, rejected, commits, error FROM '$LAKE/_highwater/*/runs/*.parquet' ORDER BY started_at";

#[test]
fn what_happened_is_asked_in_sql() {
    if Python::new().is_none() {
        return skip("what_happened_is_asked_in_sql", "the independent readers are not installed");
    }
    let api = api();
    let project = Project::of_items(&api, &Pages::Token, 5);
    let lake = project.at("lake");
    life(&api, &project);
    let told = ask(&lake, RUNS);
    assert_eq!(told.as_array().unwrap().len(), 3, "{told}");
    assert_eq!(told[0], json!(["done", 12, 1, 1, null]));
    assert_eq!((&told[1][0], &told[1][3]), (&json!("done"), &json!(0)), "{told}");
    assert_eq!((&told[2][1], &told[2][3]), (&json!(1), &json!(1)), "{told}");
    let sql = "SELECT r.run, r.job, r.\"table\", r.finished_at >= r.started_at FROM '$LAKE/_highwater/items/runs/*.parquet' r";
    let known: Vec<Value> = highwater(&project, &["runs", "--json"]).run().expect_code(0).json().as_array().unwrap().clone();
    for row in ask(&lake, sql).as_array().unwrap() {
        assert!(known.iter().any(|run| run["run"] == row[0]), "{row} is not among {known:?}");
        assert_eq!((&row[1], &row[2], &row[3]), (&json!("items"), &json!("items"), &json!(true)));
    }
    let sql = "SELECT seq, \"column\", change, type_before, type_after FROM '$LAKE/_highwater/*/schema_changes/*.parquet' ORDER BY seq, \"column\"";
    let told = ask(&lake, sql);
    assert_eq!(told[0], json!([1, "id", "added", null, "int64"]), "{told}");
    assert_eq!(told.as_array().unwrap().last().unwrap(), &json!([2, "size", "added", null, "int64"]), "{told}");
    let letters = ask(&lake, "SELECT COUNT(*), MIN(rejected_at) FROM '$LAKE/_highwater/*/dead_letters/*.parquet'");
    assert!(letters[0][0].as_u64().unwrap() >= 1, "{letters}");

    // A state that is lost doubles nothing.
    std::fs::remove_file(project.at("state/highwater.db")).unwrap();
    std::fs::remove_file(project.at("lake/_highwater/items/schema_changes.json")).unwrap();
    run(&project);
    api.add_records("items", [late(91, "2026-03-02T01:00:00Z", "")]);
    api.set_now("2026-03-03T00:00:00Z");
    run(&project);
    let counted = "SELECT COUNT(*), COUNT(DISTINCT run) FROM '$LAKE/_highwater/*/runs/*.parquet'";
    assert_eq!(ask(&lake, counted), json!([[5, 5]]));
    let columns = "SELECT COUNT(*), COUNT(DISTINCT \"column\") FROM '$LAKE/_highwater/*/schema_changes/*.parquet'";
    let told = ask(&lake, columns);
    assert_eq!(told[0][0], told[0][1]);
}

#[test]
fn a_run_is_as_good_where_its_control_tables_cannot_be_written() {
    if Python::new().is_none() {
        return skip("a_run_is_as_good_where_its_control_tables", "the independent readers are not installed");
    }
    let api = api();
    let project = Project::of_items(&api, &Pages::Token, 5);
    let (lake, runs) = (project.at("lake"), project.at("lake/_highwater/items/runs"));
    // A file where the folder is to be.
    std::fs::create_dir_all(runs.parent().unwrap()).unwrap();
    std::fs::write(&runs, "in the way").unwrap();
    let told = highwater(&project, &["run", "items"]).run().expect_code(0);
    assert!(told.stderr.contains("written later"), "{told:?}");
    std::fs::remove_file(&runs).unwrap();
    api.add_records("items", [late(90, "2026-03-01T01:00:00Z", "")]);
    api.set_now("2026-03-02T00:00:00Z");
    run(&project);
    let counted = "SELECT SUM(kept), COUNT(*) FROM '$LAKE/_highwater/*/runs/*.parquet'";
    assert_eq!(ask(&lake, counted), json!([[13, 2]]));

    // A record that nobody needs any more is gone: changes of columns cannot be told, and runs are.
    std::fs::remove_file(project.at("lake/_highwater/items/schema_changes.json")).unwrap();
    std::fs::remove_file(project.at("lake/_highwater/items/log/00000000000000000001.json")).unwrap();
    api.add_records("items", [late(91, "2026-03-02T01:00:00Z", "")]);
    api.set_now("2026-03-03T00:00:00Z");
    let told = highwater(&project, &["run", "items"]).run().expect_code(0);
    assert!(told.stderr.contains("written later"), "{told:?}");
    assert_eq!(ask(&lake, counted), json!([[14, 3]]));
}

#[test]
fn control_tables_stand_in_a_bucket_too() {
    if Python::new().is_none() || Bucket::new().is_none() {
        return skip("control_tables_stand_in_a_bucket_too", "the independent readers or the S3 server are not installed");
    }
    let (api, bucket) = (api(), Bucket::new().unwrap());
    let project = Project::of_items_in(&bucket, &bucket.endpoint, &api, &Pages::Token, 5);
    life(&api, &project);
    let place = |table: &str| format!("{}/raw/_highwater/items/{table}", bucket.name);
    let told = ask_bucket(&bucket, &place("runs"), "SELECT status, SUM(commits) FROM t GROUP BY status");
    assert_eq!(told, json!([["done", 2]]));
    let told = ask_bucket(&bucket, &place("schema_changes"), "SELECT COUNT(*), COUNT(DISTINCT \"column\") FROM t");
    assert!(told[0][0].as_u64().unwrap() >= 4 && told[0][0] == told[0][1], "{told}");
}
