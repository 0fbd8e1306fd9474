//! `highwater query "SQL"`: the tables by name.

use std::sync::Arc;

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::rows::{print_json_lines, print_table};
use crate::cli::text::{counted, size};
use crate::config::catalog::Job;
use crate::error::ErrorKind;
use crate::sink::live::{LiveTable, live_table};
use crate::sink::query::{self, QueryError};
use crate::store::Store;

/// With `--json`: the rows, one object a line.
pub(super) async fn query(context: &Context, sql: &str) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    let jobs = project.jobs(None)?;
    let tables = tables_of(&project, &jobs, sql).await?;
    let answer = query::query(tables, sql, project.catalog.settings.memory).await;
    let answer = answer.map_err(|error| refuse(&error, &jobs))?;
    if context.terminal.json {
        print_json_lines(&context.terminal, &answer.rows)?;
        return Ok(Exit::Done);
    }
    print_table(&context.terminal, &answer.rows)?;
    context.terminal.note(&format!("{}, {} read", counted(answer.rows.num_rows() as u64, "row"), size(answer.read_bytes)));
    Ok(Exit::Done)
}

fn refuse(error: &QueryError, jobs: &[&Job]) -> Failure {
    let message = crate::error::chain(error);
    if error.kind != ErrorKind::Config {
        return Failure::of(error.kind, message);
    }
    // The SQL stands on the command line, in no file.
    let failure = Failure::new(Exit::Usage, message);
    let names: Vec<String> = jobs.iter().map(|job| format!("`{}`", job.table)).collect();
    match names.is_empty() {
        true => failure.help("the project has no job whose table could be asked"),
        false => failure.help(format!("the tables are {}", names.join(", "))),
    }
}

/// The tables that the SQL may mean: those whose name stands somewhere in it. A table costs requests to its store, so the
/// others are left alone.
pub(crate) async fn tables_of(project: &Project, jobs: &[&Job], sql: &str) -> Result<Vec<(LiveTable, Arc<dyn Store>)>, Failure> {
    let sql = sql.to_lowercase();
    let mut tables = Vec::new();
    let mut empty = Vec::new();
    for job in jobs {
        if !sql.contains(&job.table.to_lowercase()) {
            continue;
        }
        let store = project.store(job)?;
        let found = live_table(&*store, job).await;
        match found.map_err(|error| Failure::of(error.kind, crate::error::chain(&error)))? {
            Some(table) => tables.push((table, store)),
            None => empty.push(job),
        }
    }
    // A name in the SQL need not be a table: only where no table is left must it be one.
    if let (true, Some(job)) = (tables.is_empty(), empty.first()) {
        let message = format!("table `{}` has no rows yet: job `{}` has committed nothing", job.table, job.name);
        return Err(Failure::new(Exit::Failed, message).help(format!("highwater run {}", job.name)));
    }
    Ok(tables)
}
