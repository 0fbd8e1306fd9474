//! SQL over live tables, for a look at what was loaded: polars SQL, only the columns that the query needs, within a memory limit.
//!
//! A table is read from its live files, not by a glob, so the answer is of one commit. What is too large for the limit is refused
//! with the command that asks DuckDB the same. Deliberately absent: pruning by statistics, spilling, writing of any kind.
//!
//! polars asks for the columns (and for a plain LIMIT the rows) it wants while it runs; `scan` answers from the store.

mod columns;
mod scan;
mod statement;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use polars::prelude::LazyFrame;
use polars::sql::SQLContext;
use thiserror::Error;

use crate::config::catalog::TableFormat;
use crate::crossing;
use crate::error::ErrorKind;
use crate::schema::ColumnType;
use crate::store::Store;

use super::live::LiveTable;
use scan::{Meter, OpenTable, TableScan};
use statement::Statement;

/// More rows than this are no answer to read; they would also stand in memory twice.
const ROWS_MAX: usize = 10_000;
/// A table of more files is not opened: each footer costs a request and memory.
const FILES_MAX: usize = 10_000;

#[derive(Debug)]
pub struct QueryAnswer {
    /// Name and type of each column; the type in our words where it is one of ours.
    pub columns: Vec<(String, String)>,
    pub rows: RecordBatch,
    /// Bytes read from the stores, footers included.
    pub read_bytes: u64,
}

/// Why there is no answer. `Config`: the query itself, or its size; the message then says what to type instead.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct QueryError {
    pub kind: ErrorKind,
    pub message: String,
}

impl QueryError {
    fn config(message: impl Into<String>) -> Self {
        QueryError { kind: ErrorKind::Config, message: message.into() }
    }

    fn data(message: impl Into<String>) -> Self {
        QueryError { kind: ErrorKind::Data, message: message.into() }
    }

    fn bug(message: impl Into<String>) -> Self {
        QueryError { kind: ErrorKind::Bug, message: message.into() }
    }
}

/// Answers one SELECT over `tables`, by their names. Reads no more than `memory` bytes of columns, decoded; at most 10,000 rows
/// come back, more are an error. Repeatable and safe to drop: nothing is written. A dropped query goes on reading until its
/// present file ends. Needs a tokio runtime.
pub async fn query(tables: Vec<(LiveTable, Arc<dyn Store>)>, sql: &str, memory: u64) -> Result<QueryAnswer, QueryError> {
    let names: Vec<String> = tables.iter().map(|(table, _)| table.table.clone()).collect();
    let statement = Statement::parse(sql, &names)?;
    let used = tables.into_iter().filter(|(table, _)| statement.tables.contains(&table.table)).collect::<Vec<_>>();
    let instead = duckdb_command(&used, &statement.text);
    let meter = Arc::new(Meter::new(memory));
    let outcome = read_and_run(used, &statement, &meter, &instead).await;
    match meter.take_fault() {
        // What went wrong below the Parquet reader and polars is told in our words, not in theirs.
        Some(scan::Fault::TooLarge { needed }) => Err(too_large(needed, memory, &instead)),
        Some(scan::Fault::Failed(error)) => Err(error),
        None => answer(outcome?, &meter, &instead),
    }
}

async fn read_and_run(
    tables: Vec<(LiveTable, Arc<dyn Store>)>,
    statement: &Statement,
    meter: &Arc<Meter>,
    instead: &str,
) -> Result<RecordBatch, QueryError> {
    let mut open = BTreeMap::new();
    for (table, store) in tables {
        if table.files.len() > FILES_MAX {
            let found = table.files.len();
            let message = format!("table `{}` has {found} files, more than {FILES_MAX}; ask DuckDB: `{instead}`", table.table);
            return Err(QueryError::config(message));
        }
        let opened = OpenTable::open(table, store, meter).await?;
        open.insert(opened.name().to_owned(), Arc::new(opened));
    }
    let (runtime, text, meter) = (tokio::runtime::Handle::current(), statement.text.clone(), Arc::clone(meter));
    let work = move || {
        // polars panics where it is not sure; the caller gets an error, and lives on.
        catch_unwind(AssertUnwindSafe(|| run(&open, &text, &meter, &runtime)))
            .unwrap_or_else(|_| Err(QueryError::bug("the query panicked; rewrite it, or ask DuckDB")))
    };
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.map_err(|error| QueryError::bug(format!("the query was cut off: {error}")))?
}

/// The whole of polars' part; blocks while it reads.
fn run(
    open: &BTreeMap<String, Arc<OpenTable>>,
    sql: &str,
    meter: &Arc<Meter>,
    runtime: &tokio::runtime::Handle,
) -> Result<RecordBatch, QueryError> {
    let mut context = SQLContext::new();
    for (name, table) in open {
        let scan = TableScan { table: Arc::clone(table), meter: Arc::clone(meter), runtime: runtime.clone() };
        context.register(name, scan.into_frame()?);
    }
    let rows = u32::try_from(ROWS_MAX + 1).map_err(|_| QueryError::bug("too many rows to ask for"))?;
    let frame: Result<LazyFrame, _> = context.execute(sql);
    let frame = frame.and_then(|frame| frame.limit(rows).collect());
    let frame = frame.map_err(|error| QueryError::config(statement::polars_text(&error)))?;
    crossing::to_batch(frame)
        .map_err(|error| QueryError::config(format!("the answer cannot be shown: {error}; CAST it to another type")))
}

fn answer(rows: RecordBatch, meter: &Meter, instead: &str) -> Result<QueryAnswer, QueryError> {
    if rows.num_rows() > ROWS_MAX {
        let message =
            format!("the answer has more than {ROWS_MAX} rows: add `LIMIT {ROWS_MAX}`, aggregate, or ask DuckDB: `{instead}`");
        return Err(QueryError::config(message));
    }
    let mut columns = Vec::with_capacity(rows.num_columns());
    for field in rows.schema().fields() {
        let name = match ColumnType::from_arrow(field.data_type()) {
            Ok(column_type) => column_type.to_string(),
            Err(other) => other.to_string().to_lowercase(),
        };
        columns.push((field.name().clone(), name));
    }
    Ok(QueryAnswer { columns, rows, read_bytes: meter.read_bytes() })
}

fn too_large(needed: u64, memory: u64, instead: &str) -> QueryError {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    QueryError::config(format!(
        "the query needs at least {} MiB of columns, more than the {} MiB of limits.memory; name fewer columns, or ask DuckDB: `{instead}`",
        mib(needed),
        mib(memory)
    ))
}

/// What to type to have DuckDB answer: every table as a view of its own name, then the query.
fn duckdb_command(tables: &[(LiveTable, Arc<dyn Store>)], sql: &str) -> String {
    let mut script = String::new();
    for (table, store) in tables {
        let address = |path: &str| store.address(path).replace('\'', "''");
        // A glob would find what left a Delta table, too.
        let rows = match table.format {
            TableFormat::Delta => format!("delta_scan('{}')", address(&table.table)),
            TableFormat::Parquet => {
                let glob = address(&format!("{}/**/*.parquet", table.table));
                format!("read_parquet('{glob}', hive_partitioning = true, union_by_name = true)")
            }
        };
        let name = table.table.replace('"', "\"\"");
        script.push_str(&format!("CREATE VIEW \"{name}\" AS SELECT * FROM {rows}; "));
    }
    script.push_str(sql);
    format!("duckdb -c '{}'", script.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
