//! What became of runs, in one form for `run` here, for `run` through the daemon, and for `--json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::batch::Counts;
use crate::ids::PartitionKey;

use super::engine::{Finished, JobEnd};
use super::exit::Exit;
use super::failure::Failure;
use super::marks::mark_of_sets;
use super::progress::describe_slice;
use super::terminal::{Side, Terminal};
use super::text::{counted, one_line, printable, size, thousands};

/// What `run --json` prints: one of these a job, in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunJson {
    pub job: String,
    pub status: Exit,
    /// Null where the run did not get as far as a report: then `failed` says why.
    pub run: Option<String>,
    pub counts: Counts,
    /// The first record that did not fit: its field, and why.
    #[serde(default)]
    pub misfit: Option<String>,
    pub requests: u64,
    /// Bytes of the answers, decompressed.
    pub bytes: u64,
    pub files: u64,
    pub bytes_written: u64,
    pub commits: u64,
    pub empty_slices: u64,
    /// Parameter sets that the run did not come to.
    #[serde(default)]
    pub sets_left: u64,
    /// The high-water mark afterwards; of several sets the lowest.
    pub mark: Option<String>,
    /// The marks of the sets; empty without `for_each`.
    #[serde(default)]
    pub marks: BTreeMap<PartitionKey, Option<String>>,
    /// Stop was asked for before everything was read.
    pub stopped: bool,
    /// What an operator had asked to be read again, and what became of it.
    #[serde(default)]
    pub rewound: Option<String>,
    pub recovered: Vec<String>,
    pub failed: Vec<FailedJson>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedJson {
    /// The slice; null where the run as a whole failed.
    pub slice: Option<String>,
    /// As `crate::error::ErrorKind::name`, or the exit's name where the run as a whole failed.
    pub kind: String,
    pub reason: String,
}

impl RunJson {
    /// A run that did not get as far as a report.
    pub fn trouble(job: String, exit: Exit, reason: String) -> Self {
        RunJson {
            job,
            status: exit,
            run: None,
            counts: Counts::default(),
            misfit: None,
            requests: 0,
            bytes: 0,
            files: 0,
            bytes_written: 0,
            commits: 0,
            empty_slices: 0,
            sets_left: 0,
            mark: None,
            marks: BTreeMap::new(),
            stopped: false,
            rewound: None,
            recovered: Vec::new(),
            failed: vec![FailedJson { slice: None, kind: exit.name().to_owned(), reason }],
        }
    }
}

pub(crate) fn report_json(end: &JobEnd) -> RunJson {
    let (report, requests) = match &end.outcome {
        Ok(Finished { report, requests }) => (report, *requests),
        Err(trouble) => return RunJson::trouble(end.job.to_string(), trouble.exit, trouble.reason.clone()),
    };
    let failed = report.failed.iter().map(|failure| FailedJson {
        slice: Some(describe_slice(&failure.slice)),
        kind: failure.kind.name().to_owned(),
        reason: failure.reason.clone(),
    });
    RunJson {
        job: end.job.to_string(),
        status: end.exit(),
        run: Some(report.run.to_string()),
        counts: report.counts,
        misfit: report.misfit.clone(),
        requests,
        bytes: report.bytes,
        files: report.files,
        bytes_written: report.bytes_written,
        commits: report.commits,
        empty_slices: report.empty_slices,
        sets_left: report.sets_left,
        mark: report.mark.clone(),
        marks: report.marks.clone(),
        stopped: report.stopped,
        rewound: report.rewound.clone(),
        recovered: report.recovered.clone(),
        failed: failed.collect(),
    }
}

/// A table and what asks for attention; what failed goes to stderr.
pub(crate) fn print_report(terminal: &Terminal, runs: &[RunJson]) -> Result<(), Failure> {
    let reports: Vec<&RunJson> = runs.iter().filter(|run| run.run.is_some()).collect();
    if !reports.is_empty() {
        terminal.line(&report_table(terminal, &reports))?;
    }
    print_remarks(terminal, runs)
}

/// What asks for attention, without a table.
pub(crate) fn print_remarks(terminal: &Terminal, runs: &[RunJson]) -> Result<(), Failure> {
    runs.iter().try_for_each(|run| print_remarks_of(terminal, run))
}

/// A column's name and what stands in it.
type CountColumn = (&'static str, fn(&Counts) -> u64);

fn report_table(terminal: &Terminal, reports: &[&RunJson]) -> String {
    use Side::{Left, Right};
    let optional: [CountColumn; 6] = [
        ("filtered", |counts| counts.filtered),
        ("rejected", |counts| counts.rejected),
        ("out of window", |counts| counts.out_of_window),
        ("duplicate", |counts| counts.duplicate),
        ("unchanged", |counts| counts.unchanged),
        ("deleted", |counts| counts.deleted),
    ];
    // A column of zeros pushes the others off a narrow terminal and says nothing.
    let shown: Vec<_> = optional.iter().filter(|(_, count)| reports.iter().any(|report| count(&report.counts) > 0)).collect();
    let mut columns = vec![("job", Left), ("fetched", Right), ("kept", Right)];
    columns.extend(shown.iter().map(|(name, _)| (*name, Right)));
    columns.extend([("files", Right), ("size", Right), ("commits", Right), ("mark", Left)]);
    let mut table = terminal.table(&columns);
    for report in reports {
        let mut row = vec![report.job.clone(), thousands(report.counts.fetched), thousands(report.counts.kept)];
        row.extend(shown.iter().map(|(_, count)| thousands(count(&report.counts))));
        row.push(thousands(report.files));
        row.push(size(report.bytes_written));
        row.push(thousands(report.commits));
        row.push(mark_of_sets(report.mark.as_deref(), report.marks.len()));
        table.row(&row);
    }
    table.keep_whole(0);
    table.text()
}

fn print_remarks_of(terminal: &Terminal, report: &RunJson) -> Result<(), Failure> {
    let job = &report.job;
    if let Some(what) = &report.rewound {
        terminal.line(&format!("rewound: {job}: {}", one_line(what)))?;
    }
    for what in &report.recovered {
        terminal.line(&format!("recovered: {job}: {}", one_line(what)))?;
    }
    for failure in &report.failed {
        let reason = printable(&failure.reason);
        match &failure.slice {
            Some(slice) => terminal.note(&format!("error: {job}: {slice}: {reason}")),
            None => terminal.note(&format!("error: {job}: {reason}")),
        }
    }
    if report.counts.rejected > 0 {
        let rejected = counted(report.counts.rejected, "record");
        let why = report.misfit.as_ref().map(|why| format!(", the first because of {}", one_line(why))).unwrap_or_default();
        terminal.line(&format!("rejected: {job}: {rejected} did not fit and went to the dead letters{why}"))?;
    }
    if report.sets_left > 0 {
        let left = counted(report.sets_left, "set");
        terminal.line(&format!("left: {job}: the run did not come to {left}: the next one does"))?;
    }
    if report.stopped {
        terminal.line(&format!("stopped: {job}: the rest is left to the next run"))?;
    }
    Ok(())
}
