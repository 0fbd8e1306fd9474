//! `highwater check`: every file, every problem.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::doctor::{self, Finding, look_outside};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::text::{counted, printable};
use crate::config::catalog::{Cursor, CursorType, Job, TableFormat};
use crate::config::{Problem, Severity};

use super::against;

/// What `check --json` prints.
#[derive(Serialize)]
struct CheckJson {
    /// Jobs that can run, by name.
    jobs: Vec<String>,
    /// Jobs that cannot, with the reason.
    parked: Vec<ParkedJson>,
    problems: Vec<ProblemJson>,
    /// Files of sources in use that call themselves experimental.
    experimental: Vec<String>,
    /// What `--connect` found of secrets, sources and sinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<Vec<Finding>>,
}

#[derive(Serialize)]
struct ParkedJson {
    job: String,
    reason: String,
}

#[derive(Serialize)]
struct ProblemJson {
    /// `error` or `warning`.
    severity: &'static str,
    /// Relative to the project folder.
    file: String,
    /// Counted from 1; 0 where the file as a whole is meant.
    line: usize,
    column: usize,
    key: String,
    message: String,
    help: Option<String>,
}

pub(super) fn check(context: &Context) -> Result<Exit, Failure> {
    tell(context, &Project::open(context)?)
}

/// Also against a recording.
pub(super) async fn check_against(context: &Context, recording: &Path) -> Result<Exit, Failure> {
    let mut project = Project::open(context)?;
    project.require_settings()?;
    let found = against::problems(context, &project, recording).await?;
    project.problems.extend(found);
    project.problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    tell(context, &project)
}

fn tell(context: &Context, project: &Project) -> Result<Exit, Failure> {
    if context.terminal.json {
        context.terminal.document(&as_json(project, None))?;
    } else {
        print(context, project)?;
    }
    Ok(judge(project))
}

/// The same, and whether what the files name can be reached and is fit.
pub(super) async fn check_connected(context: &Context) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    if !context.terminal.json {
        print(context, &project)?;
    }
    let findings = look_outside(context, &project).await;
    let exit = doctor::exit(&findings).max(judge(&project));
    if context.terminal.json {
        context.terminal.document(&as_json(&project, Some(findings)))?;
    } else {
        doctor::print(&context.terminal, &findings)?;
    }
    Ok(exit)
}

fn judge(project: &Project) -> Exit {
    if count(&project.problems, Severity::Error) > 0 { Exit::Config } else { Exit::Done }
}

fn print(context: &Context, project: &Project) -> Result<(), Failure> {
    for problem in &project.problems {
        context.terminal.line(&printable(&problem.to_string()))?;
    }
    for job in project.catalog.jobs.values() {
        context.terminal.line(&format!("ok: {}", describe(job)))?;
    }
    for file in experimental(project) {
        let message = format!("note: {file} is experimental: look at what `highwater preview` shows before you rely on it");
        context.terminal.line(&printable(&message))?;
    }
    for (job, reason) in &project.parked {
        context.terminal.line(&printable(&format!("parked: {job}: {reason}")))?;
    }
    let errors = counted(count(&project.problems, Severity::Error), "error");
    let warnings = counted(count(&project.problems, Severity::Warning), "warning");
    let jobs = counted(project.catalog.jobs.len() as u64, "job");
    context.terminal.line(&format!("{jobs} ready, {} parked; {errors}, {warnings}", project.parked.len()))
}

/// The files of sources in use that nobody has held to their API yet.
fn experimental(project: &Project) -> BTreeSet<&str> {
    let sources = project.catalog.jobs.values().map(|job| &job.source);
    sources.filter(|source| source.experimental).map(|source| source.file.as_str()).collect()
}

/// `earthquakes: usgs.events -> lake/earthquakes, append by properties.updated`.
fn describe(job: &Job) -> String {
    let cursor = job.stream.cursor.as_ref().map(|cursor| format!(" by {}{}", cursor.field, promise(cursor))).unwrap_or_default();
    let table = match job.sink.format {
        TableFormat::Parquet => "",
        TableFormat::Delta => " (Delta: readers of its log see a commit whole)",
    };
    let state = if job.enabled { "" } else { " (not enabled: runs when named)" };
    format!(
        "{}: {}.{} -> {}/{}{table}, {}{cursor}{state}",
        job.name,
        job.source.name,
        job.stream.name,
        job.sink.name,
        job.table,
        job.mode.name()
    )
}

/// What a cursor without closed time promises.
fn promise(cursor: &Cursor) -> &'static str {
    match cursor.cursor_type {
        CursorType::Integer => " (on from the largest number seen)",
        CursorType::String => " (on from the largest text seen, byte by byte)",
        CursorType::Token => " (on from the source's last token)",
        _ => "",
    }
}

fn count(problems: &[Problem], severity: Severity) -> u64 {
    problems.iter().filter(|problem| problem.severity == severity).count() as u64
}

fn as_json(project: &Project, connections: Option<Vec<Finding>>) -> CheckJson {
    let problem = |problem: &Problem| ProblemJson {
        severity: problem.severity.name(),
        file: problem.file.clone(),
        line: problem.line,
        column: problem.column,
        key: problem.key.clone(),
        message: problem.message.clone(),
        help: problem.help.clone(),
    };
    CheckJson {
        jobs: project.catalog.jobs.keys().map(ToString::to_string).collect(),
        parked: project.parked.iter().map(|(job, reason)| ParkedJson { job: job.to_string(), reason: reason.clone() }).collect(),
        problems: project.problems.iter().map(problem).collect(),
        experimental: experimental(project).into_iter().map(str::to_owned).collect(),
        connections,
    }
}
