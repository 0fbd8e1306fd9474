//! What `check` says of what a job is promised: of its own mode, cursor, sink, state and limits.

use std::fs;

use crate::world::program::highwater;
use crate::world::project::Project;

const SOURCE: &str = r#"version = 1
type = "http"
base_url = "https://api.example.com/v1"

[streams.orders]
path = "/orders"
records = "items"
primary_key = ["shop", "id"]
paging = { type = "page", param = "page", page_size = 100, size_param = "per_page" }
cursor = { field = "updated_at", type = "timestamp", query = { since = "{{ from }}", until = "{{ to }}" } }

[streams.days]
path = "/days"
records = "items"
paging = { type = "page", param = "page", page_size = 100, size_param = "per_page" }
cursor = { field = "day", type = "date", timezone = "Europe/Berlin", query = { since = "{{ from }}" } }

[streams.feed]
path = "/feed"
records = "items"
primary_key = ["id"]
deleted = "gone"
paging = { type = "page", param = "page", page_size = 100, size_param = "per_page" }
cursor = { field = "at", type = "epoch_ms", order = "descending", history_max = "30d" }

[streams.numbers]
path = "/numbers"
records = "items"
primary_key = ["id"]
cursor = { field = "id", type = "integer", query = { above = "{{ from }}" } }

[streams.names]
path = "/names"
records = "items"
primary_key = ["id"]
cursor = { field = "name", type = "string", query = { above = "{{ from }}" } }

[streams.changes]
path = "/changes"
records = "items"
primary_key = ["id"]
cursor = { field = "next", type = "token", query = { token = "{{ from }}" } }

[streams.lines]
path = "/orders/{{ parent.id }}/lines"
records = "items"
primary_key = ["id"]
parent = { stream = "orders", changed_only = true }

[streams.all]
path = "/all"
records = "items"
"#;

const LIMITS: &str = r#"
[limits]
requests = ["5000/h", "900/min"]
points = ["1000/min"]
concurrency = 20
[limits.groups.search]
match = "/search/*"
requests = ["30/min"]
"#;

/// Name, stream, sink, and what else the job says.
const JOBS: &[(&str, &str, &str, &str)] = &[
    ("merged", "orders", "lake", ""),
    (
        "appended",
        "orders",
        "lake",
        "mode = \"append\"\npartition_by = [\"day(updated_at)\"]\nretain = \"400d\"\n[window]\nsettle = \"5m\"\nlookback = \"1d\"\n",
    ),
    ("days", "days", "lake", ""),
    ("feed", "feed", "delta", "on_delete = \"hard\"\n"),
    ("numbers", "numbers", "bucket", "window = { lookback = 500 }\n"),
    ("names", "names", "lake", ""),
    ("changes", "changes", "lake", ""),
    ("lines", "lines", "lake", ""),
    ("replaced", "all", "lake", ""),
    ("heaped", "all", "lake", "mode = \"append\"\n"),
];

fn project(source: &str) -> Project {
    let project = Project::new();
    project.write("sources/shop.toml", source);
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    project.write("sinks/delta.toml", "version = 1\ntype = \"delta\"\nurl = \"delta\"\n");
    project.write(
        "sinks/bucket.toml",
        "version = 1\ntype = \"parquet\"\nurl = \"s3://lake/raw\"\nstorage = { region = \"eu-central-1\" }\n",
    );
    for (name, stream, sink, more) in JOBS {
        let job = format!("version = 1\nsource = \"shop\"\nstream = \"{stream}\"\nsink = \"{sink}\"\ntable = \"{name}\"\n{more}");
        project.write(&format!("jobs/{name}.toml"), &job);
    }
    project
}

#[test]
fn check_says_of_each_job_what_it_is_promised() {
    let open = project(SOURCE);
    let told = JOBS.iter().map(|(name, ..)| highwater(&open, &["check", name]).run().expect_code(0).stdout);
    insta::assert_snapshot!("promises", told.collect::<String>());
    // With limits and a state that is shared; the same for programs.
    let limited = project(&format!("{SOURCE}{LIMITS}"));
    limited.write("config.toml", "version = 1\n[state]\nurl = { env = \"HIGHWATER_STATE\" }\n");
    let one = highwater(&limited, &["check", "merged"]).run().expect_code(0).stdout;
    insta::assert_snapshot!("promise_of_one", one);
    let json = highwater(&limited, &["check", "merged", "--json"]).run().expect_code(0).json();
    let promises = json["promises"].as_array().unwrap();
    assert_eq!((promises.len(), &promises[0]["job"]), (1, &"merged".into()));
    for part in ["readers", "power", "writers", "quota"] {
        assert!(one.contains(promises[0][part].as_str().unwrap()), "{part}");
    }
    let told = ["lost", "doubled"].map(|part| promises[0][part].as_array().unwrap().len());
    assert_eq!(told, [3, 1]);
}

#[test]
fn of_many_jobs_it_is_said_by_name_alone() {
    let project = project(SOURCE);
    for (name, ..) in &JOBS[3..] {
        fs::remove_file(project.at(&format!("jobs/{name}.toml"))).unwrap();
    }
    let few = highwater(&project, &["check"]).run().expect_code(0).stdout;
    assert!(few.matches("readers ").count() == 3 && !few.contains("highwater check JOB"), "{few}");
    project.write("jobs/more.toml", "version = 1\nsource = \"shop\"\nstream = \"all\"\nsink = \"lake\"\ntable = \"more\"\n");
    let all = highwater(&project, &["check"]).run().expect_code(0).stdout;
    assert!(!all.contains("readers ") && all.contains("highwater check JOB"), "{all}");
    assert!(highwater(&project, &["check", "more"]).run().expect_code(0).stdout.contains("readers "));
    let unknown = highwater(&project, &["check", "moore"]).run().expect_code(64);
    assert!(unknown.stderr.contains("`moore`") && unknown.stderr.contains("`more`"), "{}", unknown.stderr);
    // One that is parked is no reason to leave out why.
    project.write("jobs/more.toml", "version = 1\nsource = \"shop\"\nstream = \"al\"\nsink = \"lake\"\n");
    let parked = highwater(&project, &["check", "more"]).run().expect_code(78);
    assert!(parked.stdout.contains("jobs/more.toml:3") && parked.stdout.contains("parked: more"), "{}", parked.stdout);
}
