//! What is right in each file and yet hardly meant, beside the clock and the folder: a project without jobs, files that nobody reads, a job
//! that begins in the future.

use jiff::Timestamp;

use crate::cli::project::Project;
use crate::cli::text::instant;
use crate::config::{Problem, Remark, Severity, at_key};

const FOLDERS: [&str; 3] = ["sources", "sinks", "jobs"];
/// How other tools' definitions end.
const OTHERS: [&str; 3] = ["yaml", "yml", "json"];

pub(super) fn of(project: &Project, now: Timestamp) -> Vec<Problem> {
    let mut doubts: Vec<Problem> = FOLDERS.iter().flat_map(|folder| unread(project, folder)).collect();
    let is_touched = project.problems.iter().any(|problem| problem.file.starts_with("jobs"));
    if project.catalog.jobs.is_empty() && project.parked.is_empty() && !is_touched {
        let help = "each is a file of its own in that folder, such as jobs/orders.toml, with `source`, `stream` and `sink`";
        doubts.push(doubt("jobs", "there is no job", help.to_owned()));
    }
    for job in project.catalog.jobs.values() {
        let Some(start) = job.window.start.filter(|start| *start > now) else { continue };
        doubts.push(at_key(
            &project.catalog.root,
            Remark {
                severity: Severity::Warning,
                file: &job.file,
                key: &["window", "start"],
                message: format!("it lies ahead: before {} UTC the job reads nothing", instant(start)),
                help: "write the first instant that is to be read, if that was not meant".to_owned(),
            },
        ));
    }
    doubts
}

/// Files that look like definitions and are none.
fn unread(project: &Project, folder: &str) -> Vec<Problem> {
    // A folder that cannot be read is a problem already.
    let Ok(entries) = std::fs::read_dir(project.catalog.root.join(folder)) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let told = names.filter_map(|name| {
        let (stem, ending) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty())?;
        OTHERS.contains(&ending.to_ascii_lowercase().as_str()).then(|| {
            let help = format!("definitions are TOML: write it as {folder}/{stem}.toml");
            doubt(&format!("{folder}/{name}"), "the file is not read", help)
        })
    });
    told.collect()
}

fn doubt(file: &str, message: &str, help: String) -> Problem {
    let (file, message) = (file.to_owned(), message.to_owned());
    Problem { severity: Severity::Warning, file, line: 0, column: 0, key: String::new(), message, help: Some(help) }
}
