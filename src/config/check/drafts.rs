//! All jobs' files together: who owns which table, who runs, who is parked.

use std::collections::BTreeMap;

use crate::config::catalog::Job;
use crate::config::node::Table;
use crate::config::problem::{Place, Report};
use crate::config::read::{Project, Room};
use crate::config::shapes;
use crate::ids::JobName;

use super::{Surroundings, job, of, read, schedule};

/// The jobs that are fine, and the others with the first thing that is wrong. A problem in `config.toml` parks all.
pub(super) fn check(
    project: &Project,
    around: &Surroundings,
    settings_reason: Option<&str>,
    reports: &mut Vec<Report>,
) -> (BTreeMap<JobName, Job>, BTreeMap<JobName, String>) {
    let mut drafts = check_jobs(project, around);
    refuse_shared_tables(&mut drafts);
    check_after(&mut drafts);
    let (mut jobs, mut parked) = (BTreeMap::new(), BTreeMap::new());
    for draft in drafts {
        let reason = settings_reason.map(str::to_owned).or_else(|| draft.report.reason()).or(draft.inherited);
        // A file without a usable name is reported, but there is no job to speak of.
        let named = !draft.name.as_str().is_empty();
        match (reason, draft.job) {
            (None, Some(job)) if named => drop(jobs.insert(draft.name, job)),
            (reason, _) if named => {
                drop(parked.insert(draft.name, reason.unwrap_or_else(|| "its files have problems".to_owned())))
            }
            _ => {}
        }
        reports.push(draft.report);
    }
    (jobs, parked)
}

/// A job's file on its way.
struct Draft {
    name: JobName,
    job: Option<Job>,
    /// Where the file names its table, for who else names it.
    table_at: Place,
    /// Which jobs it runs after.
    after: schedule::AfterJobs,
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
        let after = table.as_ref().map(schedule::after_jobs).unwrap_or_default();
        let table_at = table.map(|table| table.place("table")).unwrap_or_default();
        drafts.push(Draft { name: JobName::new(&file.name), job, table_at, after, inherited, report });
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

/// Files with problems are looked at too: to say that a job is missing because its file cannot be read would send the user the
/// wrong way.
fn check_after(drafts: &mut [Draft]) {
    let jobs = drafts.iter_mut().map(|draft| (draft.name.clone(), std::mem::take(&mut draft.after))).collect();
    let mut wrongs = schedule::check_after(&jobs);
    for draft in drafts {
        for wrong in wrongs.remove(&draft.name).unwrap_or_default() {
            match wrong.is_error {
                true => draft.report.error(&wrong.place, wrong.message, wrong.help),
                false => draft.report.warning(&wrong.place, wrong.message, wrong.help),
            }
        }
    }
}
