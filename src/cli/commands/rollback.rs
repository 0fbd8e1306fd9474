//! `highwater state rollback JOB --to RUN|SEQ`: the table as it was.

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::rewind::Asked;
use crate::cli::text::instant;
use crate::config::catalog::Job;
use crate::error::chain;
use crate::ids::Seq;
use crate::run::RewindKind;
use crate::sink::history;
use crate::state::{HISTORY_MAX, RunRow};

pub(super) async fn rollback(context: &Context, job: &str, to: &str, why: Option<String>, yes: bool) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    let job = project.job(job)?.clone();
    let seq = match to.parse::<Seq>() {
        Ok(seq) => seq,
        Err(_) => seq_after_run(&project, &job, to).await?,
    };
    let asked = Asked { what: RewindKind::Rollback(seq), set: None, why, yes };
    super::run::change(context, &project, job, asked).await
}

/// The last record that was decided when a run had ended.
async fn seq_after_run(project: &Project, job: &Job, to: &str) -> Result<Seq, Failure> {
    let failed = |error: crate::state::StateError| Failure::of(error.kind, error.to_string());
    let runs = match project.look_before_change().await? {
        Some(state) => state.runs(Some(&job.name), HISTORY_MAX).await.map_err(failed)?,
        None => Vec::new(),
    };
    let help = format!("`highwater runs {} --json` lists the runs that are known", job.name);
    let usage = |message: String| Failure::new(Exit::Usage, message).help(help.clone());
    let fits = |run: &&RunRow| !to.is_empty() && (run.run.to_string().starts_with(to) || instant(run.started_at) == to);
    let mut fitting = runs.iter().filter(fits);
    let Some(run) = fitting.next() else {
        return Err(usage(format!("no run of {} is called `{to}` or started then", job.name)));
    };
    if fitting.next().is_some() {
        return Err(usage(format!("several runs of {} fit `{to}`: write more of the id", job.name)));
    }
    let Some(ended) = run.finished_at else {
        return Err(usage(format!("the run `{to}` is not over, or its end is not known: give a record's seq")));
    };
    let store = project.store(job)?;
    let seq = history::seq_at(store.as_ref(), &job.dataset, ended).await;
    let seq = seq.map_err(|error| Failure::of(error.kind, chain(&error)))?;
    seq.ok_or_else(|| usage(format!("there was no record of {} yet when the run `{to}` ended", job.dataset)))
}
