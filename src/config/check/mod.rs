//! From trees that fit their shapes to checked types: what belongs together must fit together.

mod cursor;
mod job;
mod names;
mod paging;
mod settings;
mod sink;
mod source;
mod steps;
mod stream;
mod window;

use std::collections::BTreeMap;

use crate::ids::JobName;

use super::catalog::{Catalog, Job, Sink};
use super::node::Table;
use super::problem::{Report, collect};
use super::read::{Project, ProjectFile, Room};
use super::shape::TableShape;
use super::walk::walk;
use super::{Loaded, shapes};

use source::CheckedSource;

/// A sink's file. `None` where too little of it is right.
struct CheckedSink {
    sink: Option<Sink>,
    /// Why jobs that use it are parked.
    reason: Option<String>,
}

/// What jobs are checked against.
#[derive(Default)]
struct Surroundings {
    sources: BTreeMap<String, CheckedSource>,
    sinks: BTreeMap<String, CheckedSink>,
}

/// Checks all files of a project.
pub(super) fn project(project: &Project) -> Loaded {
    let mut reports = Vec::new();
    let mut settings = settings::defaults(project);
    let mut settings_reason = None;
    for file in of(project, Room::Settings) {
        let mut report = Report::new(&file.file);
        if let Some(table) = read(file, &shapes::SETTINGS, &mut report) {
            settings = settings::check(&table, project, &mut report);
        }
        settings_reason = report.reason();
        reports.push(report);
    }
    let mut around = Surroundings::default();
    for file in of(project, Room::Source) {
        let mut report = Report::new(&file.file);
        let table = read(file, &shapes::SOURCE, &mut report);
        let checked = source::check(file, table.as_ref(), project, settings.memory, &mut report);
        around.sources.insert(file.name.clone(), checked);
        reports.push(report);
    }
    for file in of(project, Room::Sink) {
        let mut report = Report::new(&file.file);
        let table = read(file, &shapes::SINK, &mut report);
        let sink = table.and_then(|table| sink::check(file, &table, project, &mut report));
        around.sinks.insert(file.name.clone(), CheckedSink { sink, reason: report.reason() });
        reports.push(report);
    }
    let mut drafts = check_jobs(project, &around);
    refuse_shared_tables(&mut drafts);
    let (jobs, parked) = sort_jobs(&mut drafts, settings_reason);
    reports.extend(drafts.into_iter().map(|draft| draft.report));
    Loaded { catalog: Catalog { root: project.root.clone(), settings, jobs }, problems: collect(reports), parked }
}

fn of(project: &Project, room: Room) -> impl Iterator<Item = &ProjectFile> {
    project.files.iter().filter(move |file| file.room == room)
}

/// The file's tree; `None` if there is none to speak of.
fn read(file: &ProjectFile, shape: &'static TableShape, report: &mut Report) -> Option<Table> {
    match &file.text {
        Ok(text) => walk(text, shape, report),
        Err(unreadable) => {
            report.file_error(unreadable.message.clone(), unreadable.help.clone());
            None
        }
    }
}

/// A job's file on its way.
struct Draft {
    name: JobName,
    job: Option<Job>,
    /// Where the file names its table, for who else names it.
    table_at: super::problem::Place,
    /// A problem of the source or sink that it uses.
    inherited: Option<String>,
    report: Report,
}

fn check_jobs(project: &Project, around: &Surroundings) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for file in of(project, Room::Job) {
        let mut report = Report::new(&file.file);
        let table = read(file, &shapes::JOB, &mut report);
        let (job, inherited) = match &table {
            Some(table) => (job::check(file, table, around, &mut report), inherited(table, around)),
            None => (None, None),
        };
        let table_at = table.map(|table| table.place("table")).unwrap_or_default();
        drafts.push(Draft { name: JobName::new(&file.name), job, table_at, inherited, report });
    }
    drafts
}

fn inherited(table: &Table, around: &Surroundings) -> Option<String> {
    let source = table.text("source").and_then(|name| around.sources.get(&name)?.reason.clone());
    source.or_else(|| table.text("sink").and_then(|name| around.sinks.get(&name)?.reason.clone()))
}

/// One job owns a table: two would each take the other's rows for their own. Names that differ in case alone are one folder on
/// many file systems.
fn refuse_shared_tables(drafts: &mut [Draft]) {
    let mut owners: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        if let Some(job) = &draft.job {
            owners.entry(format!("{:?}/{}", job.sink.place, job.table.to_lowercase())).or_default().push(index);
        }
    }
    for indices in owners.values().filter(|indices| indices.len() > 1) {
        for index in indices {
            let other = indices.iter().find(|other| *other != index).map_or(*index, |other| *other);
            let (other_file, table) =
                (drafts[other].report.file.clone(), drafts[*index].job.as_ref().map(|job| job.table.clone()));
            let message = format!("{other_file} writes the same table `{}`", table.unwrap_or_default());
            let place = drafts[*index].table_at.clone();
            drafts[*index].report.error(&place, message, "one job owns a table: give each a `table` of its own");
        }
    }
}

fn sort_jobs(drafts: &mut [Draft], settings_reason: Option<String>) -> (BTreeMap<JobName, Job>, BTreeMap<JobName, String>) {
    let (mut jobs, mut parked) = (BTreeMap::new(), BTreeMap::new());
    for draft in drafts.iter_mut().filter(|draft| !draft.name.as_str().is_empty()) {
        let reason = settings_reason.clone().or_else(|| draft.report.reason()).or_else(|| draft.inherited.clone());
        match (reason, draft.job.take()) {
            (None, Some(job)) => drop(jobs.insert(draft.name.clone(), job)),
            (reason, _) => {
                drop(parked.insert(draft.name.clone(), reason.unwrap_or_else(|| "its files have problems".to_owned())))
            }
        }
    }
    (jobs, parked)
}
