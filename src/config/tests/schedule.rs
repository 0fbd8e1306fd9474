//! `schedule`, `timezone`, `after`, `catch_up` and `jitter` of a job.

use crate::config::catalog::CatchUp;
use crate::ids::JobName;

use super::{Files, JOB, shown, with_job};

#[test]
fn a_schedule_is_read_in_its_zone() {
    // O-06
    let more = "schedule = \"30 6 * * MON-FRI\"\ntimezone = \"Europe/Berlin\"\ncatch_up = \"all\"\njitter = \"5m\"\n";
    let loaded = Files { jobs: vec![("orders".to_owned(), format!("{JOB}{more}"))], ..Files::good() }.load();
    assert_eq!(shown(&loaded.problems), "");
    let job = loaded.catalog.jobs.into_values().next().unwrap();
    assert_eq!(job.schedule.unwrap().to_string(), "30 6 * * MON-FRI (Europe/Berlin)");
    assert_eq!((job.catch_up, job.jitter.as_secs()), (CatchUp::All, 300));
    let job = Files::good().load().catalog.jobs.into_values().next().unwrap();
    assert_eq!((job.schedule, job.catch_up, job.jitter.as_secs(), job.after), (None, CatchUp::One, 60, vec![]));
}

#[test]
fn schedules_that_are_none() {
    insta::assert_snapshot!(with_job("schedule = \"0 0 * * * * 2026\"\n"), @r"
    error: jobs/orders.toml:7:12: schedule: `0 0 * * * * 2026` has 7 fields
      help: a year cannot be given: take the last field out
    ");
    insta::assert_snapshot!(with_job("schedule = \"every 0s\"\n"), @r#"
    error: jobs/orders.toml:7:12: schedule: `every 0s` is not an interval of whole seconds
      help: write whole seconds or more, such as "every 10m" or "every 1h30m"
    "#);
    insta::assert_snapshot!(with_job("schedule = \"0 0 31 2 *\"\n"), @r"
    error: jobs/orders.toml:7:12: schedule: `0 0 31 2 *` is never due: no month has such a day
      help: correct the day or the month
    ");
    insta::assert_snapshot!(with_job("schedule = \"61 * * * *\"\n"), @r"
    error: jobs/orders.toml:7:12: schedule: `61` is not a minute
      help: write 0 to 59, with `*`, `,`, `-` and `/n`
    ");
    insta::assert_snapshot!(with_job("schedule = \"@daily\"\ntimezone = \"Berlin\"\n"), @r#"
    error: jobs/orders.toml:8:12: timezone: `Berlin` is not a time zone
      help: write a name of the IANA time zone database, such as "UTC" or "Europe/Berlin"
    "#);
}

#[test]
fn schedules_to_think_twice_about() {
    // S-73
    insta::assert_snapshot!(with_job("schedule = \"*/20 * * * * *\"\n"), @r#"
    warning: jobs/orders.toml:7:12: schedule: `*/20 * * * * *` is due more often than once a minute
      help: each run sends a request at least; write a slower one unless that is meant, such as "*/5 * * * *"
    "#);
    insta::assert_snapshot!(with_job("schedule = \"every 10m\"\ntimezone = \"Europe/Berlin\"\n"), @r#"
    warning: jobs/orders.toml:8:12: timezone: `timezone` is ignored: `every` counts the time that passes
      help: take it out, or write a cron, such as "0 6 * * *"
    "#);
    insta::assert_snapshot!(with_job("catch_up = \"all\"\ntimezone = \"UTC\"\n"), @r#"
    error: jobs/orders.toml:7:12: catch_up: `catch_up` has no meaning for a job without a `schedule`
      help: take it out, or add a `schedule`, such as "0 6 * * *"
    error: jobs/orders.toml:8:12: timezone: `timezone` has no meaning for a job without a `schedule`
      help: take it out, or add a `schedule`, such as "0 6 * * *"
    "#);
    insta::assert_snapshot!(with_job("schedule = \"@daily\"\njitter = \"25h\"\ncatch_up = \"some\"\n"), @r#"
    error: jobs/orders.toml:8:10: jitter: the jitter is longer than a day
      help: write a shorter one, such as "5m"
    error: jobs/orders.toml:9:12: catch_up: `some` is not known here
      help: the words are `none`, `one`, `all`
    "#);
}

fn jobs(all: &[(&str, &str)]) -> Files {
    let file = |(name, more): &(&str, &str)| ((*name).to_owned(), format!("{JOB}table = \"{name}\"\n{more}\n"));
    Files { jobs: all.iter().map(file).collect(), ..Files::good() }
}

#[test]
fn jobs_after_jobs() {
    let loaded = jobs(&[("a", "schedule = \"@daily\""), ("b", "after = [\"a\"]"), ("c", "after = [\"a\", \"b\"]")]).load();
    assert_eq!(shown(&loaded.problems), "");
    assert_eq!(loaded.catalog.jobs[&JobName::new("c")].after, ["a", "b"].map(JobName::new));
    insta::assert_snapshot!(shown(&jobs(&[("orders", "after = [\"customer\", \"orders\"]"), ("customers", "")]).load().problems), @r"
    error: jobs/orders.toml:8:10: after[1]: there is no job `customer`
      help: did you mean `customers`?
    error: jobs/orders.toml:8:22: after[2]: a job cannot run after itself
      help: take it out, or give it a `schedule`
    ");
    insta::assert_snapshot!(shown(&jobs(&[("a", "enabled = false"), ("b", "after = [\"a\", \"a\"]")]).load().problems), @r"
    warning: jobs/b.toml:8:10: after[1]: `a` is not enabled: it succeeds only when somebody runs it
      help: enable it, or take it out
    error: jobs/b.toml:8:15: after[2]: `a` is named twice
      help: name it once
    ");
    // A file with a problem of its own is there all the same.
    let loaded = jobs(&[("a", "table = 7"), ("b", "after = [\"a\"]")]).load();
    assert!(loaded.catalog.jobs.contains_key(&JobName::new("b")), "{}", shown(&loaded.problems));
}

#[test]
fn jobs_in_a_circle() {
    let loaded =
        jobs(&[("a", "after = [\"c\"]"), ("b", "after = [\"a\"]"), ("c", "after = [\"b\"]"), ("d", "after = [\"a\"]")]).load();
    insta::assert_snapshot!(shown(&loaded.problems), @r"
    error: jobs/a.toml:8:10: after[1]: the jobs run after each other in a circle: a, b, c, a
      help: take one of them out
    error: jobs/b.toml:8:10: after[1]: the jobs run after each other in a circle: b, c, a, b
      help: take one of them out
    error: jobs/c.toml:8:10: after[1]: the jobs run after each other in a circle: c, a, b, c
      help: take one of them out
    ");
    assert_eq!(loaded.catalog.jobs.keys().map(JobName::as_str).collect::<Vec<_>>(), ["d"]);
    assert_eq!(loaded.parked.len(), 3);
}
