//! `highwater state rebuild [JOB]`: what is known of the tables, learnt from their logs.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::text::{counted, printable};
use crate::run::{self, Rebuilt};

use super::upkeep;

/// What `state rebuild --json` prints: one of these a job, in a list.
#[derive(Serialize)]
struct RebuiltJson {
    job: String,
    #[serde(flatten)]
    rebuilt: Rebuilt,
}

pub(super) async fn rebuild(context: &Context, job: Option<&str>) -> Result<Exit, Failure> {
    let done = upkeep::each(context, job, run::rebuild).await?;
    let found: Vec<RebuiltJson> = done.found.into_iter().map(|(job, rebuilt)| RebuiltJson { job, rebuilt }).collect();
    if context.terminal.json {
        context.terminal.document(&found)?;
    } else {
        for one in &found {
            context.terminal.line(&printable(&sentence(one)))?;
        }
    }
    done.failed.map_or(Ok(Exit::Done), Err)
}

fn sentence(one: &RebuiltJson) -> String {
    let Rebuilt { seq_before, seq, generation, mark, forgotten } = &one.rebuilt;
    if *seq == 0 {
        let known =
            if *seq_before == 0 { String::new() } else { format!(", where {} were known", counted(*seq_before, "record")) };
        return format!("{}: there is no log{known}: the next run reads everything", one.job);
    }
    let mark = mark.as_deref().unwrap_or("none");
    let records = counted(*seq, "record");
    let asked = match forgotten {
        0 => String::new(),
        forgotten => format!("; {} that no record names is asked for again", counted(*forgotten, "empty slice")),
    };
    format!("{}: {records} (known were {seq_before}), generation {generation}, mark {mark}{asked}", one.job)
}
