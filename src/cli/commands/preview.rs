//! `highwater preview JOB`: the first rows, their types, the rejects. Writes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::batch::Counts;
use crate::cli::Context;
use crate::cli::engine::{Engine, Finished};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::progress::describe_counts;
use crate::cli::project::Project;
use crate::cli::rows::{as_json_array, print_table, type_name};
use crate::cli::terminal::Side;
use crate::cli::text::{counted, one_line, shortened};
use crate::config::catalog::Job;
use crate::reject::Reject;
use crate::run::{Preview, Purpose, RunOptions, RunReport};
use crate::state::sqlite::SqliteState;

use super::replay;

/// Rejects shown in full.
const REJECTS_MAX: usize = 20;
/// Letters of a reject's record.
const RECORD_MAX: usize = 200;

/// What `preview --json` prints.
#[derive(Serialize)]
struct PreviewJson {
    columns: Vec<ColumnJson>,
    rows: Box<RawValue>,
    rejects: Vec<RejectJson>,
    counts: Counts,
    paging: PagingJson,
    /// What to look at in the definition.
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct PagingJson {
    pages: u64,
    /// Another page follows that was not fetched.
    more: bool,
    /// The same and why it ended there, for people.
    ended: String,
}

#[derive(Serialize)]
struct ColumnJson {
    name: String,
    /// In the words of a job's `[columns]`; `list(..)` and `struct(..)` for nested ones.
    #[serde(rename = "type")]
    column_type: String,
}

#[derive(Serialize)]
struct RejectJson {
    /// `decode`, `cursor`, `transform` or `page`.
    at: &'static str,
    field: String,
    reason: String,
    page: u64,
    place: u64,
    record: String,
}

pub(super) async fn preview(context: &Context, job: &str, rows: u32, recording: Option<&Path>) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    let job = project.job(job)?;
    let Finished { report, requests } = match recording {
        Some(recording) => fetch_recorded(context, &project, job, rows, recording).await?,
        None => fetch(context, &project, job, rows).await?,
    };
    if let Some(failure) = report.failed.first() {
        return Err(Failure::of(failure.kind, format!("preview {}: {}", job.name, failure.reason)));
    }
    let Some(preview) = &report.preview else {
        context.terminal.note("nothing of this job's window lies in the past");
        return Ok(Exit::Done);
    };
    if context.terminal.json {
        context.terminal.document(&as_json(&report, preview)?)?;
    } else {
        print(context, &report, requests, preview)?;
    }
    Ok(Exit::Done)
}

/// Runs the job up to its first rows. State and spool stand in a folder of their own that is gone afterwards.
async fn fetch(context: &Context, project: &Project, job: &Job, rows: u32) -> Result<Finished, Failure> {
    let folder = ScratchFolder::make(&format!("highwater-preview-{}", context.clock.run_id()))?;
    // A preview looks at no state, and a running daemon may hold the project's own.
    let state = SqliteState::open(&folder.path.join("state.db")).await;
    let state = state.map_err(|error| Failure::of(error.kind, error.to_string()))?;
    let engine = Engine::new(Arc::new(state), project.secrets.clone(), Arc::clone(&context.clock), folder.path.clone());
    // But a refresh token that a preview spends must not go with the folder.
    let engine = engine.keeping_tokens_in(project.vault(job).await?);
    let purpose = Purpose::Preview { rows: rows as usize };
    let report = engine.run_one(job, purpose, &RunOptions::default(), project.catalog.settings.memory).await;
    engine.tokens.close().await;
    report.map_err(|trouble| Failure::new(trouble.exit, format!("preview {}: {}", job.name, trouble.reason)))
}

/// The same from a recording.
async fn fetch_recorded(
    context: &Context,
    project: &Project,
    job: &Job,
    rows: u32,
    recording: &Path,
) -> Result<Finished, Failure> {
    let recording = Arc::new(replay::open(recording, job)?);
    let folder = ScratchFolder::make(&format!("highwater-preview-{}", context.clock.run_id()))?;
    let job = replay::offline(job, &folder.path.join("lake"));
    let purpose = Purpose::Preview { rows: rows as usize };
    let end = replay::run_into(project, &job, &recording, &folder.path, purpose).await?;
    end.outcome.map_err(|trouble| Failure::new(trouble.exit, format!("preview {}: {}", job.name, trouble.reason)))
}

/// A folder below the system's temporary one, removed when dropped.
pub(super) struct ScratchFolder {
    pub(super) path: PathBuf,
}

impl ScratchFolder {
    pub(super) fn make(name: &str) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)
            .map_err(|error| Failure::new(Exit::Failed, format!("make folder `{}`: {error}", path.display())))?;
        Ok(ScratchFolder { path })
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "a scratch folder stays behind");
        }
    }
}

fn print(context: &Context, report: &RunReport, requests: u64, preview: &Preview) -> Result<(), Failure> {
    let terminal = &context.terminal;
    if preview.rows.num_rows() == 0 {
        terminal.line(match report.counts.fetched {
            0 => "there is no record where this preview looked",
            _ => "there is no row: what became of the records stands below",
        })?;
    } else {
        let mut types = terminal.table(&[("column", Side::Left), ("type", Side::Left)]);
        for field in preview.rows.schema().fields() {
            types.row(&[field.name().clone(), type_name(field.data_type())]);
        }
        terminal.line(&types.text())?;
        terminal.line("")?;
        print_table(terminal, &preview.rows)?;
    }
    terminal.line("")?;
    let requests = counted(requests, "request");
    terminal.line(&format!(
        "{} fetched in {requests}: {}",
        counted(report.counts.fetched, "record"),
        describe_counts(&report.counts)
    ))?;
    terminal.line(&format!("paging: {}", one_line(&preview.paging)))?;
    for warning in &preview.warnings {
        terminal.line(&format!("warning: {}", one_line(warning)))?;
    }
    for reject in preview.rejects.iter().take(REJECTS_MAX) {
        let record = shortened(&String::from_utf8_lossy(&reject.record), RECORD_MAX);
        let field = if reject.field.is_empty() { String::new() } else { format!("{}: ", reject.field) };
        terminal.line(&format!("rejected: {}: {field}{}: {}", reject.at.name(), one_line(&reject.reason), one_line(&record)))?;
    }
    if preview.rejects.len() > REJECTS_MAX {
        let hidden = preview.rejects.len() - REJECTS_MAX;
        terminal.line(&format!("... and {}: --json prints all", counted(hidden as u64, "more reject")))?;
    }
    Ok(())
}

fn as_json(report: &RunReport, preview: &Preview) -> Result<PreviewJson, Failure> {
    let schema = preview.rows.schema();
    let columns = schema.fields().iter();
    let reject = |reject: &Reject| RejectJson {
        at: reject.at.name(),
        field: reject.field.clone(),
        reason: reject.reason.clone(),
        page: reject.page,
        place: reject.place,
        record: String::from_utf8_lossy(&reject.record).into_owned(),
    };
    Ok(PreviewJson {
        columns: columns
            .map(|field| ColumnJson { name: field.name().clone(), column_type: type_name(field.data_type()) })
            .collect(),
        rows: as_json_array(&preview.rows)?,
        rejects: preview.rejects.iter().map(reject).collect(),
        counts: report.counts,
        paging: PagingJson { pages: report.pages, more: preview.more, ended: preview.paging.clone() },
        warnings: preview.warnings.clone(),
    })
}
