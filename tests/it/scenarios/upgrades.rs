//! An older version dies and a newer one goes on with what it left.

use super::kill::effects;
use super::loads::{api_with, run};
use crate::world::api::{Pages, Record};
use crate::world::feed;
use crate::world::kind::{Kind, prepared, tried};
use crate::world::program::highwater;
use crate::world::project::Project;

const PAGE: usize = 8;
const SIGKILL: i32 = 9;

fn versions() -> Vec<Record> {
    [feed::plain(1, 10, "2026-01-31T23:55:00Z"), feed::plain(6, 10, "2026-02-14T23:55:00Z")].concat()
}

fn newest() -> Vec<Record> {
    [feed::plain(1, 5, "2026-01-31T23:55:00Z"), feed::plain(6, 10, "2026-02-14T23:55:00Z")].concat()
}

/// Gives the state the tables of its first version, with the rows that they have. What leases, batches and coverage are kept in is
/// the same in every version since; if that changes, this has to undo it.
fn first_version(project: &Project) {
    let file = project.at("state/highwater.db");
    if !file.exists() {
        return;
    }
    let first = include_str!("../../../src/state/migrations/0001_first.sql");
    let table = |name: &str| {
        let from = first.find(&format!("CREATE TABLE {name} (")).unwrap();
        &first[from..from + first[from..].find(';').unwrap() + 1]
    };
    let undo = format!(
        "DROP TABLE IF EXISTS condition; DROP TABLE due; DROP TABLE ledger; DROP TABLE vault; {} {} {}
         DELETE FROM _sqlx_migrations WHERE version > 1;",
        table("due"),
        table("ledger"),
        table("vault")
    );
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let pool = sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(&file)).await.unwrap();
        let tables: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'batch'").fetch_one(&pool).await.unwrap();
        if tables > 0 {
            sqlx::raw_sql(sqlx::AssertSqlSafe(undo)).execute(&pool).await.unwrap();
        }
        pool.close().await;
    });
}

#[test]
fn a_new_version_goes_on_where_one_with_the_first_state_was_killed() {
    // D-58 on parquet-local, delta-local: no other version was ever given away, so the state alone is of an older one.
    let Some(mut oracle) = prepared("a_new_version_goes_on_where_one_with_the_first_state_was_killed") else { return };
    let tried = tried!();
    let api = api_with(Pages::Token, PAGE, versions());
    let mut tables = Vec::new();
    for (kind, one_of) in [(Kind::ParquetLocal, 6), (Kind::DeltaLocal, 17)] {
        let log = effects(&tried.table(kind, &api, PAGE).merging());
        let (mut killed, mut adopted) = (0, 0);
        for at in (1..=log.len()).step_by(one_of) {
            let name = format!("killed after effect {at}, `{}`", log[at - 1]);
            let table = tried.table(kind, &api, PAGE).merging();
            let died = highwater(&table, &["run", "items"]).env("HIGHWATER_FAULT", &format!("kill-after:{at}")).run();
            killed += usize::from(died.signal == Some(SIGKILL));
            first_version(&table);
            let report = run(&table);
            adopted += usize::from(report["recovered"].as_array().is_some_and(|all| !all.is_empty()));
            assert_eq!(run(&table)["commits"], 0, "{kind}: {name}");
            table.expect(&mut oracle, &name, &newest());
            tables.push(table);
        }
        assert!(killed >= 5 && adopted > 0, "{kind}: {killed} killed, {adopted} left something to finish");
    }
    oracle.check();
}
