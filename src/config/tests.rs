//! Files in, problems out: one snapshot for each kind of problem.

mod auth;
mod cursors;
mod export;
mod files;
mod format;
mod job;
mod keep;
mod limits;
mod schedule;
mod settings;
mod shipped;
mod sink;
mod source;
mod syntax;

use std::path::PathBuf;

use super::check;
use super::read::{Project, ProjectFile, Room};
use super::{Loaded, Problem};

/// A small project without a problem, to be changed by each test.
#[derive(Clone)]
struct Files {
    config: String,
    source: String,
    sink: String,
    jobs: Vec<(String, String)>,
}

const SOURCE: &str = r#"version = 1
type = "http"
base_url = "https://api.example.org/v1"
[parameters]
owner = { required = true }
lang = { default = "en" }
[streams.orders]
path = "/{{ owner }}/orders"
primary_key = ["id"]
[streams.orders.cursor]
field = "updated_at"
type = "timestamp"
query = { since = "{{ from }}", until = "{{ to }}" }
[streams.plain]
path = "/plain"
"#;

const SINK: &str = "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n";

const JOB: &str = r#"version = 1
source = "shop"
stream = "orders"
sink = "lake"
mode = "append"
parameters = { owner = "acme" }
"#;

impl Files {
    fn good() -> Files {
        Files {
            config: "version = 1\n".to_owned(),
            source: SOURCE.to_owned(),
            sink: SINK.to_owned(),
            jobs: vec![("orders".to_owned(), JOB.to_owned())],
        }
    }

    fn load(&self) -> Loaded {
        let file = |room, name: &str, file: &str, text: &str| ProjectFile {
            room,
            name: name.to_owned(),
            file: file.to_owned(),
            text: Ok(text.to_owned()),
        };
        let mut files = vec![
            file(Room::Settings, "config", "config.toml", &self.config),
            file(Room::Source, "shop", "sources/shop.toml", &self.source),
            file(Room::Sink, "lake", "sinks/lake.toml", &self.sink),
        ];
        for (name, text) in &self.jobs {
            files.push(file(Room::Job, name, &format!("jobs/{name}.toml"), text));
        }
        check::project(&Project { root: PathBuf::from("/project"), base: PathBuf::from("/project"), files })
    }
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// The problems of the good project with this `config.toml` instead.
fn with_config(text: &str) -> String {
    shown(&Files { config: text.to_owned(), ..Files::good() }.load().problems)
}

/// With `old` replaced by `new` in the source's file.
fn with_source(old: &str, new: &str) -> String {
    assert!(SOURCE.contains(old), "`{old}` is not in the source");
    shown(&Files { source: SOURCE.replacen(old, new, 1), ..Files::good() }.load().problems)
}

/// With lines added below the source's `base_url`.
fn with_top(lines: &str) -> String {
    const BASE: &str = "base_url = \"https://api.example.org/v1\"";
    with_source(BASE, &format!("{BASE}\n{lines}"))
}

/// With another sink's file.
fn with_sink(text: &str) -> String {
    shown(&Files { sink: text.to_owned(), ..Files::good() }.load().problems)
}

/// With lines added to the job's file.
fn with_job(more: &str) -> String {
    with_job_text(&format!("{JOB}{more}"))
}

fn with_job_text(text: &str) -> String {
    shown(&Files { jobs: vec![("orders".to_owned(), text.to_owned())], ..Files::good() }.load().problems)
}

#[test]
fn the_good_project_has_no_problem() {
    let loaded = Files::good().load();
    assert_eq!(shown(&loaded.problems), "");
    assert_eq!(loaded.catalog.jobs.len(), 1);
    assert!(loaded.parked.is_empty() && !loaded.has_errors());
}
