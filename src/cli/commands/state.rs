//! `highwater state show [JOB]`: what is known of the tables.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::text::{counted, instant, one_line};
use crate::config::catalog::Job;
use crate::ids::PartitionKey;
use crate::run;
use crate::slice::Covered;
use crate::state::{BatchNote, DatasetState, EventRow, State};

/// Events shown for a job.
const EVENTS_MAX: u32 = 10;

/// What `state show --json` prints: one of these a job, in a list.
#[derive(Serialize)]
struct StateJson {
    job: String,
    dataset: String,
    /// The high-water mark: RFC 3339, or a whole number.
    mark: Option<String>,
    /// The marks of the sets; empty without `for_each`.
    marks: BTreeMap<PartitionKey, Option<String>>,
    /// As stored; null before the first run.
    state: Option<DatasetState>,
    /// Batches between staging and the end of their publication: a run is at work, or the next one settles them.
    open_batches: Vec<BatchNote>,
    /// The newest events first.
    events: Vec<EventRow>,
}

pub(super) async fn show(context: &Context, job: Option<&str>) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    let jobs = project.jobs(job)?;
    let state = project.look_at_state().await?;
    let mut found = Vec::new();
    for job in jobs {
        found.push(match &state {
            Some(state) => look_up(&**state, job).await.map_err(|error| Failure::of(error.kind, error.to_string()))?,
            None => describe(job, None, Vec::new(), Vec::new()),
        });
    }
    if context.terminal.json {
        context.terminal.document(&found)?;
        return Ok(Exit::Done);
    }
    for one in &found {
        print(context, one)?;
    }
    Ok(Exit::Done)
}

async fn look_up(state: &dyn State, job: &Job) -> Result<StateJson, crate::state::StateError> {
    let known = state.dataset(&job.dataset).await?;
    let open = state.open_batches(&job.dataset).await?;
    let events = state.events(Some(&job.name), EVENTS_MAX).await?;
    Ok(describe(job, known, open, events))
}

fn describe(job: &Job, known: Option<DatasetState>, open_batches: Vec<BatchNote>, events: Vec<EventRow>) -> StateJson {
    let mark = known.as_ref().and_then(|known| run::mark_text(job, &known.coverage));
    let marks = run::marks(job, &known.as_ref().map(|known| known.coverage.clone()).unwrap_or_default());
    StateJson { job: job.name.to_string(), dataset: job.dataset.to_string(), mark, marks, state: known, open_batches, events }
}

fn print(context: &Context, one: &StateJson) -> Result<(), Failure> {
    let terminal = &context.terminal;
    terminal.heading(&one.job)?;
    let Some(state) = &one.state else {
        return terminal.line("  nothing yet: the job has not run");
    };
    terminal.line(&format!("  dataset     {}", one.dataset))?;
    terminal.line(&format!("  seq         {}", state.seq))?;
    terminal.line(&format!("  generation  {}", state.generation))?;
    terminal.line(&format!("  mark        {}", one.mark.as_deref().unwrap_or("none")))?;
    for (set, mark) in &one.marks {
        terminal.line(&format!("  mark        {set}: {}", mark.as_deref().unwrap_or("none")))?;
    }
    for (partition, covered) in &state.coverage.partitions {
        let name = if partition.as_str().is_empty() { String::new() } else { format!("{partition}: ") };
        match covered {
            Covered::Token(token) => terminal.line(&format!("  covered     {name}up to {}", run::Mark::Token(token.clone())))?,
            Covered::Mark(mark) => terminal.line(&format!("  covered     {name}up to {}", mark.value))?,
            Covered::Spans(spans) => {
                for span in spans {
                    let from = span.from.map_or_else(|| "the beginning".to_owned(), instant);
                    terminal.line(&format!("  covered     {name}{from} to {}", instant(span.to)))?;
                }
            }
        }
    }
    if !state.pending.is_empty() {
        terminal
            .line(&format!("  of these    {} that no record names yet", counted(state.pending.len() as u64, "empty slice")))?;
    }
    for batch in &one.open_batches {
        terminal.line(&format!("  open batch  {} (seq {}, {})", batch.batch, batch.seq, counted(batch.rows, "row")))?;
    }
    for event in &one.events {
        terminal.line(&format!("  event       {} {}: {}", instant(event.at), event.kind, one_line(&event.text)))?;
    }
    Ok(())
}
