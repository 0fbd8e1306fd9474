//! From trees that fit their shapes to checked types: what belongs together must fit together.

mod auth;
mod body;
mod cursor;
mod delivery;
mod drafts;
mod errors;
mod export;
mod format;
mod job;
mod keep;
mod limits;
mod names;
mod paging;
mod parameters;
mod parent;
mod schedule;
mod service;
mod settings;
mod sink;
mod source;
mod steps;
mod stream;
mod window;

use std::collections::BTreeMap;

use super::catalog::{Catalog, Common, Sink};
use super::node::Table;
use super::problem::{Report, collect};
use super::read::{Project, ProjectFile, Room};
use super::shape::TableShape;
use super::walk::walk;
use super::{Loaded, shapes};

use source::CheckedSource;

/// A sink's file. `None` where too little of it is right.
struct CheckedSink {
    sink: Option<Common<Sink>>,
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
        around.sinks.insert(file.name.clone(), CheckedSink { sink: sink.map(Common::new), reason: report.reason() });
        reports.push(report);
    }
    let (jobs, parked) = drafts::check(project, &around, settings_reason.as_deref(), &mut reports);
    let catalog = Catalog { root: project.root.clone(), settings, jobs };
    Loaded { catalog, problems: collect(reports), parked, digest: project.digest() }
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
