//! What a demo tells.

use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::commands::tables_of;
use crate::cli::engine::JobEnd;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::report::{RunJson, print_report, report_json};
use crate::cli::rows::print_table;
use crate::cli::terminal::{Side, Terminal};
use crate::cli::text::{counted, instant, size, thousands};
use crate::config::catalog::{Job, SinkPlace};
use crate::schema::TableSchema;
use crate::sink::query;

use super::folder::{self, Listed};
use super::play::{BURST, Played, REQUESTS_PER_SECOND};
use super::project;
use super::replica::Replica;

/// Folders of files that are listed one by one.
const FOLDERS_MAX: usize = 24;

/// What `demo --json` prints.
#[derive(Serialize)]
struct DemoJson {
    folder: String,
    first: RunJson,
    second: RunJson,
    /// Requests that the replica refused for their rate.
    refused: u64,
    /// Events in the feed.
    events: u64,
    distinct_ids: u64,
    rows: u64,
    rows_distinct_ids: u64,
    /// Records that did not fit, over both loads.
    rejected: u64,
    complete: bool,
    files: Vec<FilesJson>,
}

#[derive(Serialize)]
struct FilesJson {
    folder: String,
    files: u64,
    bytes: u64,
}

/// What is about to happen.
pub(super) fn opening(context: &Context, root: &Path, replica: &Replica, now: Timestamp) -> Result<(), Failure> {
    let terminal = &context.terminal;
    if terminal.json {
        return Ok(());
    }
    let events = counted(replica.feed().events().len() as u64, "event");
    terminal.line(&format!("A project was written to {}/", root.display()))?;
    terminal.line(&format!("A replica of the USGS earthquake API answers on {}", replica.base_url()))?;
    terminal
        .line(&format!("with {events}, {BURST} requests at once and {REQUESTS_PER_SECOND} a second; beyond that it says 429."))?;
    terminal.line("")?;
    terminal.heading(&format!("First load; the API's clock says {}", instant(now)))
}

pub(super) fn load(context: &Context, end: &JobEnd) -> Result<(), Failure> {
    if context.terminal.json {
        return Ok(());
    }
    print_report(&context.terminal, &[report_json(end)])
}

/// What went wrong with a load, in a sentence.
pub(super) fn trouble(end: &JobEnd) -> String {
    match &end.outcome {
        Err(trouble) => trouble.reason.clone(),
        Ok(finished) => finished.report.failed.first().map_or_else(|| "stopped".to_owned(), |failure| failure.reason.clone()),
    }
}

pub(super) fn clock_moved(context: &Context, now: Timestamp) -> Result<(), Failure> {
    if context.terminal.json {
        return Ok(());
    }
    context.terminal.line("")?;
    context.terminal.heading(&format!("Second load; the API's clock moved on to {}", instant(now)))
}

/// What came of it: files, figures, an answer, and whether it is right.
pub(super) async fn outcome(context: &Context, root: &Path, played: &Played) -> Result<Exit, Failure> {
    let project = Project::open_folder(root, None, context)?;
    let job = project.job(project::JOB)?;
    let tally = Tally::take(&project, job, played).await?;
    let listed = folder::list(root)?;
    if context.terminal.json {
        context.terminal.document(&as_json(root, played, &listed, &tally))?;
    } else {
        changes(&context.terminal, played)?;
        context.terminal.line("")?;
        context.terminal.heading(&format!("Files under {}/", root.display()))?;
        print_files(&context.terminal, &listed)?;
        context.terminal.line("")?;
        answer(&context.terminal, &project, job).await?;
        verdict(&context.terminal, played, &tally)?;
        next_steps(&context.terminal, root, job)?;
    }
    Ok(if tally.is_complete { Exit::Done } else { Exit::Failed })
}

/// What both loads fetched, and how patient they had to be.
fn changes(terminal: &Terminal, played: &Played) -> Result<(), Failure> {
    let kept = |end: &JobEnd| counted(end.outcome.as_ref().map_or(0, |finished| finished.report.counts.kept), "event");
    terminal.line("")?;
    terminal.line(&format!("The first load kept {}; the second fetched only", kept(&played.first)))?;
    terminal.line(&format!("what had changed since: {}.", kept(&played.second)))?;
    let refused = counted(played.refused, "request");
    terminal.line(&format!("{refused} met a 429 and came again when Retry-After said so."))
}

/// An SQL answer over the table.
async fn answer(terminal: &Terminal, project: &Project, job: &Job) -> Result<(), Failure> {
    let sql = statement(&job.table, &schema(project, job).await?);
    terminal.heading("An answer from the table")?;
    terminal.line(&format!(" {sql}"))?;
    terminal.line("")?;
    let tables = tables_of(project, &[job], &sql).await?;
    let answer = query::query(tables, &sql, project.catalog.settings.memory).await;
    let answer = answer.map_err(|error| Failure::of(error.kind, crate::error::chain(&error)))?;
    print_table(terminal, &answer.rows)?;
    terminal.line("")
}

/// The table beside the feed.
struct Tally {
    rows: u64,
    distinct_ids: u64,
    /// Records that did not fit, over both loads.
    rejected: u64,
    is_complete: bool,
}

impl Tally {
    async fn take(project: &Project, job: &Job, played: &Played) -> Result<Self, Failure> {
        let (rows, distinct_ids) = count_rows(project, job).await?;
        let loads = [&played.first, &played.second];
        let rejected = loads.iter().filter_map(|end| end.outcome.as_ref().ok()).map(|one| one.report.counts.rejected).sum();
        // A record that did not fit is in the dead letters, with its reason: told, and not lost.
        let is_complete = rows + rejected == played.events && (distinct_ids == played.distinct_ids || rejected > 0);
        Ok(Tally { rows, distinct_ids, rejected, is_complete })
    }
}

fn print_files(terminal: &Terminal, listed: &[Listed]) -> Result<(), Failure> {
    let mut table = terminal.table(&[("folder", Side::Left), ("files", Side::Right), ("size", Side::Right)]);
    for one in listed.iter().filter(|one| !one.folder.is_empty()).take(FOLDERS_MAX) {
        table.row(&[format!("{}/", one.folder), thousands(one.files), size(one.bytes)]);
    }
    terminal.line(&table.text())?;
    if listed.len() > FOLDERS_MAX {
        terminal.line(&format!(" ... and {} more folders", listed.len() - FOLDERS_MAX))?;
    }
    Ok(())
}

/// The strongest of each type of event, where the feed has what it takes; else a count.
fn statement(table: &str, schema: &TableSchema) -> String {
    let has = |name: &str| schema.field(name).is_some();
    if !(has("properties_type") && has("properties_mag")) {
        return format!("SELECT COUNT(*) AS events FROM {table}");
    }
    format!(
        "SELECT properties_type AS type, COUNT(*) AS events,\n   MAX(properties_mag) AS strongest\n \
         FROM {table} GROUP BY properties_type ORDER BY events DESC LIMIT 6"
    )
}

async fn schema(project: &Project, job: &Job) -> Result<TableSchema, Failure> {
    let tables = tables_of(project, &[job], &job.table).await?;
    Ok(tables.into_iter().next().map(|(table, _)| table.schema).unwrap_or_default())
}

/// Rows and distinct ids, read back from the files through SQL.
async fn count_rows(project: &Project, job: &Job) -> Result<(u64, u64), Failure> {
    let has_id = schema(project, job).await?.field("id").is_some();
    let ids = if has_id { "COUNT(DISTINCT id)" } else { "1" };
    let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) AS n, CAST({ids} AS BIGINT) AS ids FROM {}", job.table);
    let tables = tables_of(project, &[job], &sql).await?;
    let answer = query::query(tables, &sql, project.catalog.settings.memory).await;
    let answer = answer.map_err(|error| Failure::of(error.kind, crate::error::chain(&error)))?;
    let number = |column: usize| {
        let column = answer.rows.columns().get(column)?.as_primitive_opt::<Int64Type>()?;
        (column.len() == 1).then(|| column.value(0).unsigned_abs())
    };
    number(0).zip(number(1)).ok_or_else(|| Failure::new(Exit::Failed, "the table could not be counted"))
}

fn verdict(terminal: &Terminal, played: &Played, tally: &Tally) -> Result<(), Failure> {
    terminal.heading(match tally.is_complete {
        true => "Checked: nothing lost, nothing doubled",
        false => "NOT COMPLETE: the table is not the feed",
    })?;
    let feed = counted(played.distinct_ids, "id");
    terminal.line(&format!("  in the feed    {} with {feed}", counted(played.events, "event")))?;
    let ids = counted(tally.distinct_ids, "id");
    terminal.line(&format!("  in the table   {} with {ids}", counted(tally.rows, "row")))?;
    match tally.rejected {
        0 => Ok(()),
        rejected => terminal.line(&format!("  dead letters   {}", counted(rejected, "record"))),
    }
}

fn next_steps(terminal: &Terminal, root: &Path, job: &Job) -> Result<(), Failure> {
    let program = std::env::args().next().unwrap_or_else(|| "highwater".to_owned());
    let call = format!("{} -C {}", shell_word(&program), shell_word(&root.display().to_string()));
    terminal.line("")?;
    terminal.heading("What to type next")?;
    for command in ["status", "runs", "verify", "plan"] {
        terminal.line(&format!("  {call} {command}"))?;
    }
    terminal.line(&format!("  {call} query \\\n    \"SELECT * FROM {} LIMIT 5\" --json", job.table))?;
    if let SinkPlace::Local(_) = &job.sink.place {
        let glob = format!("{}/lake/{}/**/*.parquet", root.display(), job.table);
        terminal.line(&format!("  duckdb -c \"SELECT count(*) FROM read_parquet(\n    '{glob}', hive_partitioning = true)\""))?;
    }
    terminal.line("The project now names the real API; this reads all that changed since the feed:")?;
    terminal.line(&format!("  {call} run {}", job.name))
}

/// A word as a POSIX shell takes it.
fn shell_word(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

fn as_json(root: &Path, played: &Played, listed: &[Listed], tally: &Tally) -> DemoJson {
    let files = listed.iter();
    DemoJson {
        folder: root.display().to_string(),
        first: report_json(&played.first),
        second: report_json(&played.second),
        refused: played.refused,
        events: played.events,
        distinct_ids: played.distinct_ids,
        rows: tally.rows,
        rows_distinct_ids: tally.distinct_ids,
        rejected: tally.rejected,
        complete: tally.is_complete,
        files: files.map(|one| FilesJson { folder: one.folder.clone(), files: one.files, bytes: one.bytes }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_without_magnitudes_is_counted_instead() {
        use crate::schema::{ColumnType, Field};
        let mut schema = TableSchema { fields: vec![Field::new("properties_type", ColumnType::Text)] };
        assert_eq!(statement("quakes", &schema), "SELECT COUNT(*) AS events FROM quakes");
        schema.fields.push(Field::new("properties_mag", ColumnType::Float64));
        let sql = statement("quakes", &schema);
        assert!(sql.contains("MAX(properties_mag)"), "{sql}");
        assert!(sql.lines().all(|line| line.len() < 79), "{sql}");
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_word("target/release/highwater"), "target/release/highwater");
        assert_eq!(shell_word("my demo's"), "'my demo'\\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
