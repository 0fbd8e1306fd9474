//! `highwater check [JOB]`: every file, every problem, and what jobs are promised.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::doctor::{self, Finding, look_outside};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::text::{counted, printable};
use crate::config::catalog::{Job, TableFormat};
use crate::config::{Problem, Severity};
use crate::ids::JobName;

use super::promise::Promise;
use super::{against, doubts};

/// Of more enabled jobs than these, what they are promised is printed by name alone.
const PROMISES_MAX: usize = 3;

/// What `check --json` prints.
#[derive(Serialize)]
struct CheckJson {
    /// Jobs that can run, by name.
    jobs: Vec<String>,
    /// Jobs that cannot, with the reason.
    parked: Vec<ParkedJson>,
    problems: Vec<ProblemJson>,
    /// What each of these jobs is promised, and what it is not.
    promises: Vec<Promise>,
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

pub(super) fn check(context: &Context, job: Option<&str>) -> Result<Exit, Failure> {
    tell(context, &open(context, job)?)
}

/// The project; where a job is named, as if it had no other one, and this one enabled.
fn open(context: &Context, job: Option<&str>) -> Result<Project, Failure> {
    let mut project = Project::open(context)?;
    let doubts = doubts::of(&project, context.clock.now());
    project.problems.extend(doubts);
    project.problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    let Some(name) = job.map(JobName::new) else { return Ok(project) };
    // Why a parked one is parked stands among the problems.
    if !project.parked.contains_key(&name) {
        project.job(name.as_str())?;
    }
    project.catalog.jobs.retain(|one, _| *one == name);
    project.catalog.jobs.values_mut().for_each(|job| job.enabled = true);
    Ok(project)
}

/// Also against a recording.
pub(super) async fn check_against(context: &Context, job: Option<&str>, recording: &Path) -> Result<Exit, Failure> {
    let mut project = open(context, job)?;
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
pub(super) async fn check_connected(context: &Context, job: Option<&str>) -> Result<Exit, Failure> {
    let project = open(context, job)?;
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
    let has_shared_state = project.catalog.settings.state_server.is_some();
    let is_few = project.catalog.jobs.values().filter(|job| job.enabled).count() <= PROMISES_MAX;
    for job in project.catalog.jobs.values() {
        context.terminal.line(&printable(&format!("ok: {}", describe(job))))?;
        if job.enabled && is_few {
            for (word, line) in Promise::of(job, has_shared_state).lines() {
                context.terminal.line(&printable(&format!("    {word:<8} {line}")))?;
            }
        }
    }
    if !is_few {
        context.terminal.line("note: what a job is promised: `highwater check JOB`")?;
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
    let cursor = job.stream.cursor.as_ref().map(|cursor| format!(" by {}", cursor.field)).unwrap_or_default();
    let table = match job.sink.format {
        TableFormat::Parquet => "",
        TableFormat::Delta => " (Delta)",
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
    let has_shared_state = project.catalog.settings.state_server.is_some();
    CheckJson {
        promises: project.catalog.jobs.values().map(|job| Promise::of(job, has_shared_state)).collect(),
        jobs: project.catalog.jobs.keys().map(ToString::to_string).collect(),
        parked: project.parked.iter().map(|(job, reason)| ParkedJson { job: job.to_string(), reason: reason.clone() }).collect(),
        problems: project.problems.iter().map(problem).collect(),
        experimental: experimental(project).into_iter().map(str::to_owned).collect(),
        connections,
    }
}
