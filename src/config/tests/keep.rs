//! What is kept of a table and how its files are tended.

use jiff::SignedDuration;

use crate::config::catalog::Keep;

use super::{Files, JOB, shown, with_job, with_job_text, with_sink};

fn keep(sink: &str, job: &str) -> (Keep, Option<(u32, bool)>) {
    let sink = format!("version = 1\nurl = \"lake\"\n{sink}");
    let job = JOB.replacen("mode = \"append\"\n", job, 1);
    let loaded = Files { sink, jobs: vec![("orders".to_owned(), job)], ..Files::good() }.load();
    assert_eq!(shown(&loaded.problems), "");
    let job = loaded.catalog.jobs.into_values().next().expect("the job");
    (job.keep, job.compacts_from())
}

#[test]
fn what_a_job_says_of_its_files_wins_over_its_sink() {
    let (parquet, delta) = ("type = \"parquet\"\n", "type = \"delta\"\n");
    assert_eq!(keep(parquet, "mode = \"append\"\n").1, Some((8, false)), "who globs what only grows never meets a row twice");
    assert_eq!(keep(parquet, "mode = \"merge\"\n").1, Some((8, true)));
    assert_eq!(keep(delta, "mode = \"append\"\n").1, Some((8, true)));
    let said = format!("{parquet}compact_min_files = 20\n");
    assert_eq!(keep(&said, "mode = \"append\"\n").1, Some((20, true)));
    assert_eq!(keep(&said, "mode = \"append\"\ncompact_min_files = 0\n").1, None);
    let months = "mode = \"append\"\npartition_by = [\"state\", \"month(updated_at)\"]\nretain = \"31d\"\n";
    assert_eq!(keep(parquet, months).0.retain, Some(SignedDuration::from_hours(31 * 24)));
}

#[test]
fn what_cannot_be_kept_or_joined_is_refused() {
    insta::assert_snapshot!(with_job("retain = \"400d\"\n"), @r#"
    error: jobs/orders.toml:7:10: retain: nothing of the table has an age
      help: whole partitions leave the table: give a partition by time, such as partition_by = ["month(created_at)"]
    "#);
    insta::assert_snapshot!(with_job_text(&JOB.replacen("mode = \"append\"", "mode = \"replace\"\nretain = \"40h\"\npartition_by = [\"month(updated_at)\"]", 1)), @r#"
    error: jobs/orders.toml:6:10: retain: a table that is replaced as a whole keeps nothing
      help: take it out: what the table holds is what the last run read; read less, by the stream's query or a filter
    error: jobs/orders.toml:6:10: retain: `1d16h` is less than a month, as `updated_at_month` is cut
      help: keep at least one whole partition, or cut them finer
    "#);
    let back = with_job("retain = \"2d\"\npartition_by = [\"day(updated_at)\"]\n[window]\nlookback = \"3d\"\n");
    insta::assert_snapshot!(back, @r#"
    error: jobs/orders.toml:7:10: retain: the rows of `window.lookback` = `3d` would be read again and dropped again
      help: keep more than what each run reads again
    "#);
    insta::assert_snapshot!(with_sink("version = 1\ntype = \"parquet\"\nurl = \"lake\"\ncompact_min_files = 1\n"), @r#"
    error: sinks/lake.toml:4:21: compact_min_files: one file is not joined with anything
      help: give 2 or more, or 0 for never
    "#);
}
