//! `highwater verify [JOB]`: recounts tables from the lake alone; with `--source` beside what the source says that it has.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::terminal::Side;
use crate::cli::text::{size, thousands};
use crate::config::catalog::{Job, TableFormat};
use crate::sink::verify::{self as recount, VerifyReport};
use crate::sink::{SinkError, delta};
use crate::store::Store;

use super::recount::{SourceJson, ask_source};

/// How often a table in which something is wrong is looked at, at most, and how long is waited before it is looked at again.
const LOOKS_MAX: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// What `verify --json` prints: one of these a job, in a list.
#[derive(Serialize)]
struct VerifyJson {
    job: String,
    table: String,
    /// The last record's place in the log; 0 for a table without one.
    seq: u64,
    records: u64,
    files: u64,
    rows: u64,
    bytes: u64,
    /// Empty if the table is what its log says.
    problems: Vec<String>,
    /// Only with `--source`, and for a table that has a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceJson>,
}

pub(super) async fn verify(context: &Context, job: Option<&str>, ask: bool) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    let mut found = Vec::new();
    for job in project.jobs(job)? {
        let store = project.store(job)?;
        let failed = |error: SinkError| Failure::of(error.kind, format!("verify {}: {}", job.name, crate::error::chain(&error)));
        let mut report = look(job, &store).await.map_err(failed)?;
        // Beside a daemon a commit may be half way. What is wrong stays wrong.
        for _ in 1..LOOKS_MAX {
            if report.problems.is_empty() {
                break;
            }
            context.clock.sleep(PAUSE).await;
            let before = std::mem::replace(&mut report, look(job, &store).await.map_err(failed)?);
            if report.seq == before.seq && report.problems == before.problems {
                break;
            }
        }
        let source = match ask && report.seq > 0 {
            true => Some(ask_source(context, &project, job, &report).await?),
            false => None,
        };
        report.problems.extend(source.iter().filter(|source| source.is_bad).map(|source| source.says.clone()));
        found.push(VerifyJson {
            job: job.name.to_string(),
            table: job.table.clone(),
            seq: report.seq,
            records: report.records,
            files: report.files,
            rows: report.rows,
            bytes: report.bytes,
            problems: report.problems,
            source,
        });
    }
    let is_bad = found.iter().any(|table| !table.problems.is_empty());
    if context.terminal.json {
        context.terminal.document(&found)?;
    } else {
        print(context, &found)?;
    }
    Ok(if is_bad { Exit::Failed } else { Exit::Done })
}

async fn look(job: &Job, store: &Arc<dyn Store>) -> Result<VerifyReport, SinkError> {
    let mut report = recount::verify(&**store, &job.dataset).await?;
    if job.sink.format == TableFormat::Delta {
        report.problems.extend(delta::verify(Arc::clone(store), &job.dataset).await?);
    }
    Ok(report)
}

fn print(context: &Context, found: &[VerifyJson]) -> Result<(), Failure> {
    use Side::{Left, Right};
    let columns = [("job", Left), ("verdict", Left), ("seq", Right), ("files", Right), ("rows", Right), ("size", Right)];
    let mut table = context.terminal.table(&columns);
    for one in found {
        let verdict = match (one.problems.len(), one.seq) {
            (0, 0) => "empty".to_owned(),
            (0, _) => "good".to_owned(),
            (problems, _) => crate::cli::text::counted(problems as u64, "problem"),
        };
        table.row(&[one.job.clone(), verdict, one.seq.to_string(), thousands(one.files), thousands(one.rows), size(one.bytes)]);
    }
    table.keep_whole(0);
    context.terminal.line(&table.text())?;
    for one in found {
        if let Some(source) = one.source.as_ref().filter(|source| !source.is_bad) {
            context.terminal.line(&crate::cli::text::printable(&format!("{}: {}", one.job, source.says)))?;
        }
        for problem in &one.problems {
            context.terminal.line(&crate::cli::text::printable(&format!("problem: {}: {problem}", one.job)))?;
        }
    }
    Ok(())
}
