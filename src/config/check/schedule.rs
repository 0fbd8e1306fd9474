//! `schedule`, `timezone`, `catch_up`, `jitter` and `after` of a job, and how jobs that run after jobs fit together.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use crate::cadence::Schedule;
use crate::config::catalog::CatchUp;
use crate::config::node::Table;
use crate::config::problem::{Place, Report, nearest, quote};
use crate::ids::JobName;

/// Long enough that hundreds of jobs do not all knock at one door, short enough that nobody asks where a run is.
const JITTER: SignedDuration = SignedDuration::from_secs(60);
const JITTER_MAX: SignedDuration = SignedDuration::from_hours(24);

/// When a job runs.
pub(super) struct Timing {
    pub schedule: Option<Schedule>,
    pub after: Vec<JobName>,
    pub catch_up: CatchUp,
    pub jitter: SignedDuration,
}

pub(super) fn check(table: &Table, report: &mut Report) -> Timing {
    let schedule = schedule(table, report);
    if !table.has("schedule") {
        for key in ["timezone", "catch_up", "jitter"].iter().filter(|key| table.has(key)) {
            let help = "take it out, or add a `schedule`, such as \"0 6 * * *\"";
            report.error(&table.place(key), format!("`{key}` has no meaning for a job without a `schedule`"), help);
        }
    }
    let jitter = table.duration("jitter").unwrap_or(JITTER);
    if jitter > JITTER_MAX {
        report.error(&table.place("jitter"), "the jitter is longer than a day", "write a shorter one, such as \"5m\"");
    }
    let catch_up = match table.text("catch_up").as_deref() {
        Some("none") => CatchUp::None,
        Some("all") => CatchUp::All,
        _ => CatchUp::One,
    };
    let after = table.list("after").iter().filter_map(|node| node.text()).map(JobName::new).collect();
    Timing { schedule, after, catch_up, jitter }
}

fn schedule(table: &Table, report: &mut Report) -> Option<Schedule> {
    let text = table.text("schedule")?;
    // A zone that is wrong was reported; its schedule is checked all the same.
    let zone = table.zone("timezone").unwrap_or(TimeZone::UTC);
    let schedule = match Schedule::parse(&text, zone) {
        Ok(schedule) => schedule,
        Err(wrong) => {
            report.error(&table.place("schedule"), wrong.message, wrong.help);
            return None;
        }
    };
    if table.has("timezone") && !schedule.reads_zone() {
        let help = "take it out, or write a cron, such as \"0 6 * * *\"";
        report.warning(&table.place("timezone"), "`timezone` is ignored: `every` counts the time that passes", help);
    }
    if schedule.is_within_minutes() {
        let message = format!("{} is due more often than once a minute", quote(schedule.text()));
        let help = "each run sends a request at least; write a slower one unless that is meant, such as \"*/5 * * * *\"";
        report.warning(&table.place("schedule"), message, help);
    }
    Some(schedule)
}

/// What a job's file says of other jobs, with or without problems of its own.
#[derive(Default)]
pub(super) struct AfterJobs {
    /// Each job named in `after`, with its place.
    after: Vec<(JobName, Place)>,
    /// It says that it does not run with the others.
    disabled: bool,
}

pub(super) fn after_jobs(table: &Table) -> AfterJobs {
    let named = table.list("after").iter().filter_map(|node| Some((JobName::new(node.text()?), node.at.clone())));
    AfterJobs { after: named.collect(), disabled: table.boolean("enabled") == Some(false) }
}

/// What is wrong with one job's `after`.
pub(super) struct Wrong {
    pub place: Place,
    pub message: String,
    pub help: String,
    pub is_error: bool,
}

/// Names that no job has, circles, and jobs that never run by themselves.
pub(super) fn check_after(jobs: &BTreeMap<JobName, AfterJobs>) -> BTreeMap<JobName, Vec<Wrong>> {
    let mut wrongs: BTreeMap<JobName, Vec<Wrong>> = BTreeMap::new();
    for (job, file) in jobs {
        let mut seen = BTreeSet::new();
        for (other, place) in &file.after {
            let found = match jobs.get(other) {
                _ if !seen.insert(other) => {
                    Some((format!("{} is named twice", quote(other.as_str())), "name it once".to_owned(), true))
                }
                None => {
                    let known = jobs.keys().filter(|known| *known != job).map(JobName::as_str);
                    Some((format!("there is no job {}", quote(other.as_str())), nearest(other.as_str(), known, "jobs"), true))
                }
                Some(_) if other == job => {
                    Some(("a job cannot run after itself".to_owned(), "take it out, or give it a `schedule`".to_owned(), true))
                }
                Some(file) if file.disabled => {
                    let message = format!("{} is not enabled: it succeeds only when somebody runs it", quote(other.as_str()));
                    Some((message, "enable it, or take it out".to_owned(), false))
                }
                Some(_) => circle(jobs, job, other).map(|way| {
                    (format!("the jobs run after each other in a circle: {way}"), "take one of them out".to_owned(), true)
                }),
            };
            if let Some((message, help, is_error)) = found {
                wrongs.entry(job.clone()).or_default().push(Wrong { place: place.clone(), message, help, is_error });
            }
        }
    }
    wrongs
}

/// The way from `job` back to `job` that goes over `first` last, as text: `a, b, a`; each is followed by the next.
fn circle(jobs: &BTreeMap<JobName, AfterJobs>, job: &JobName, first: &JobName) -> Option<String> {
    // Breadth first, so that the shortest way is told; each job is looked at once.
    let mut came_from: BTreeMap<&JobName, &JobName> = BTreeMap::from([(first, job)]);
    let mut rest = std::collections::VecDeque::from([first]);
    while let Some(at) = rest.pop_front() {
        let Some(file) = jobs.get(at) else { continue };
        for (next, _) in &file.after {
            if next == job {
                let mut way = vec![job.as_str(), at.as_str()];
                let mut back = at;
                while back != first {
                    back = came_from.get(back)?;
                    way.push(back.as_str());
                }
                way.push(job.as_str());
                return Some(way.join(", "));
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, at);
                rest.push_back(next);
            }
        }
    }
    None
}
