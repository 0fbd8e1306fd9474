//! Before something is read again by hand: what that will do, and whether it is meant.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::config::catalog::{Job, PagingKind};
use crate::error::ErrorKind;
use crate::ids::PartitionKey;
use crate::run::{Rewind, RewindKind, RewindPreview, RunOptions, preview_rewind};

use super::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::marks::short_mark;
use super::project::Project;
use super::text::{counted, one_line, printable, size, thousands};

/// Sets that a preview names.
const SETS_SHOWN: usize = 5;
/// Longest answer that is read, bytes.
const ANSWER_MAX: u64 = 100;

/// What the command line says besides what is to be read again.
pub(crate) struct Asked {
    pub what: RewindKind,
    pub set: Option<String>,
    pub why: Option<String>,
    pub yes: bool,
}

impl Asked {
    /// Shows what it will do and has it confirmed: on a terminal by a word, elsewhere by `--yes`. `None` where it was not.
    ///
    /// # Errors
    /// Of usage where it makes no sense for the job, or was not confirmed and cannot be asked for.
    pub async fn confirm(
        self,
        context: &Context,
        project: &Project,
        job: &Job,
        force: bool,
    ) -> Result<Option<RunOptions>, Failure> {
        let mut rewind = Rewind {
            what: self.what,
            set: self.set.as_deref().map(PartitionKey::from_words),
            may_empty: false,
            may_lose: 0,
            asked_by: context.environment.user.clone().unwrap_or_else(|| "an unknown user".to_owned()),
            why: self.why,
        };
        let preview = look(context, project, job, &rewind).await?;
        rewind.may_empty = !preview.definition_changes.is_empty();
        rewind.may_lose = preview.files_removed;
        if !self.yes {
            match context.terminal.json {
                true => context.terminal.document(&preview)?,
                false => context.terminal.line(&describe(job, &preview))?,
            }
            if context.terminal.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
                return Err(Failure::new(Exit::Usage, "nothing was done: this has to be confirmed").help("add --yes"));
            }
            if !ask()? {
                context.terminal.note("nothing was done");
                return Ok(None);
            }
        } else if !context.terminal.json {
            context.terminal.line(&describe(job, &preview))?;
        }
        Ok(Some(RunOptions { force, rewind: Some(rewind), ..RunOptions::default() }))
    }
}

async fn look(context: &Context, project: &Project, job: &Job, rewind: &Rewind) -> Result<RewindPreview, Failure> {
    let failed = |kind: ErrorKind, text: String| Failure::of(kind, text);
    let state = match project.look_before_change().await? {
        Some(state) => state.dataset(&job.dataset).await.map_err(|error| failed(error.kind, error.to_string()))?,
        None => None,
    };
    let store = project.store(job)?;
    let preview = preview_rewind(job, rewind, &state.unwrap_or_default(), store.as_ref(), context.clock.now()).await;
    preview.map_err(|error| match error.kind {
        // What is asked for makes no sense for this job: the command line is what has to be changed.
        ErrorKind::Config => Failure::new(Exit::Usage, error.message),
        kind => failed(kind, error.message),
    })
}

fn describe(job: &Job, preview: &RewindPreview) -> String {
    let mut lines = vec![format!("{}: {}", preview.job, preview.asked)];
    if preview.is_so {
        lines.push("  changes:    nothing: it is so already".to_owned());
        return lines.join("\n");
    }
    if !preview.sets.is_empty() {
        let named: Vec<&str> = preview.sets.iter().take(SETS_SHOWN).map(PartitionKey::as_str).collect();
        let more = preview.sets.len().saturating_sub(SETS_SHOWN);
        let more = if more > 0 { format!(" and {} more", thousands(more as u64)) } else { String::new() };
        lines.push(format!("  sets:       {}{more}", one_line(&named.join("; "))));
    }
    let mark = |mark: &Option<String>| mark.as_deref().map_or_else(|| "none".to_owned(), short_mark);
    lines.push(format!("  mark:       {}, then {}", mark(&preview.mark_before), mark(&preview.mark_after)));
    let at_least = if matches!(job.stream.paging.kind, PagingKind::None) { "" } else { "at least " };
    let why = match (preview.slices_again, preview.slices) {
        (_, 0) => String::new(),
        (0, _) => " (as the next run would anyway)".to_owned(),
        (again, _) => format!(" ({} because of this)", thousands(again)),
    };
    let (slices, requests) = (counted(preview.slices, "slice"), counted(preview.slices, "request"));
    lines.push(format!("  reads:      {slices}{why}, {at_least}{requests}"));
    if preview.asked.starts_with("state rollback") {
        lines.extend(went_back(preview));
        lines.push(format!("  generation: {}", preview.generation));
        return printable(&lines.join("\n"));
    }
    let (files, rows) = (counted(preview.files_removed, "file"), counted(preview.rows_removed, "row"));
    match preview.definition_changes.as_slice() {
        [] if preview.files_removed > 0 => lines.push(format!(
            "  removes:    {files} with {rows}, {}: not in the lake any more, or of another size; what is read again is compared with the rest",
            size(preview.bytes_removed)
        )),
        [] => lines.push("  removes:    no file now: rows that are read again are compared with what is there".to_owned()),
        changes => {
            lines.push(format!("  changed:    {}", one_line(&changes.join("; "))));
            lines.push(format!("  removes:    {files} with {rows}, {}: the table is emptied first", size(preview.bytes_removed)));
        }
    }
    lines.push(format!("  generation: {}", preview.generation));
    printable(&lines.join("\n"))
}

fn went_back(preview: &RewindPreview) -> Vec<String> {
    let files = |files, rows, bytes| format!("{} with {}, {}", counted(files, "file"), counted(rows, "row"), size(bytes));
    let mut lines = vec![
        format!("  removes:    {}", files(preview.files_removed, preview.rows_removed, preview.bytes_removed)),
        format!("  brings:     {} back", files(preview.files_back, preview.rows_back, preview.bytes_back)),
    ];
    if !preview.definition_changes.is_empty() {
        let changes = one_line(&preview.definition_changes.join("; "));
        lines.push(format!("  differs:    {changes}: the next run is refused until the job is as it was, or loads it anew"));
    }
    lines
}

fn ask() -> Result<bool, Failure> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "type yes to go on: ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::Read::take(io::stdin().lock(), ANSWER_MAX).read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
