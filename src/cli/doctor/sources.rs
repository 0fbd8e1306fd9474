//! Sources: one request each, for the first page of what a job of theirs would read next.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;

use crate::cli::Context;
use crate::cli::ask::first_pages;
use crate::cli::project::Project;
use crate::cli::text::length;
use crate::config::catalog::Job;
use crate::error::ErrorKind;
use crate::plan;
use crate::run::Probed;
use crate::slice::{Coverage, Slice};

use super::{Finding, Verdict};

/// The longest wait for one answer: whoever asks is looking at the screen.
const PATIENCE: Duration = Duration::from_secs(20);
/// `window.settle` is a minute by default: beyond it rows that are not closed could be taken for closed if nobody looked at the
/// source's own clock, which a run does.
const SKEW_MAX: SignedDuration = SignedDuration::from_secs(30);

pub(super) async fn look(context: &Context, project: &Project) -> Vec<Finding> {
    let mut one_a_source: BTreeMap<&str, &Job> = BTreeMap::new();
    for job in project.catalog.jobs.values().filter(|job| job.enabled) {
        one_a_source.entry(&job.source.name).or_insert(job);
    }
    let mut findings = Vec::with_capacity(one_a_source.len());
    for (name, job) in one_a_source {
        findings.extend(look_at(context, project, name, job).await);
    }
    findings
}

async fn look_at(context: &Context, project: &Project, name: &str, job: &Job) -> Vec<Finding> {
    // Of a stream that is gone over for the records of another, the other can be asked without knowing any.
    let mut job = job.of_parent().unwrap_or_else(|| job.clone());
    job.source.attempts_max = 1;
    job.source.timeout = job.source.timeout.min(PATIENCE);
    let Some(slice) = next_slice(context, project, &job).await else {
        return vec![Finding::new("source", name, Verdict::Skipped, format!("job {} has nothing to read now", job.name))];
    };
    match ask(context, project, &job, slice).await {
        Ok(probed) => describe(name, &probed),
        Err((kind, message)) => vec![refused(name, kind, message)],
    }
}

/// What a run would read first, or what the very first one would: rather that than nothing.
async fn next_slice(context: &Context, project: &Project, job: &Job) -> Option<Slice> {
    let now = context.clock.now();
    // What is wrong with the state is told elsewhere.
    let known = match project.look_at_state().await {
        Ok(Some(state)) => state.dataset(&job.dataset).await.ok().flatten(),
        _ => None,
    };
    let first = |coverage: &Coverage| plan::outline(job, coverage, now).slices.into_iter().next();
    let coverage = known.map(|known| known.coverage).unwrap_or_default();
    first(&coverage).or_else(|| first(&Coverage::default()))
}

async fn ask(context: &Context, project: &Project, job: &Job, slice: Slice) -> Result<Probed, (ErrorKind, String)> {
    match first_pages(context, project, job, &[slice], Some(PATIENCE)).await?.pop() {
        Some(probed) => Ok(probed),
        None => Err((ErrorKind::Cancelled, "was not asked".to_owned())),
    }
}

fn describe(name: &str, probed: &Probed) -> Vec<Finding> {
    let answers = format!("answers in {}, and takes the credentials", length(probed.took));
    let mut findings = vec![Finding::new("source", name, Verdict::Good, answers).of("answers")];
    if let Some(ahead) = probed.ahead {
        findings.push(describe_clock(name, ahead));
    }
    findings
}

fn describe_clock(name: &str, ahead: SignedDuration) -> Finding {
    let off = length(ahead.unsigned_abs());
    let direction = if ahead.is_negative() { "behind" } else { "ahead of" };
    match ahead.abs() <= SKEW_MAX {
        true => Finding::new("source", name, Verdict::Good, "its clock agrees with this machine's").of("clock"),
        false => Finding::new("source", name, Verdict::Odd, format!("its clock is {off} {direction} this machine's"))
            .of("clock")
            .help("runs go by the source's clock; if it is this machine's that is wrong, have its time synchronised"),
    }
}

/// A source that did not give a page, by what to do about it.
fn refused(name: &str, kind: ErrorKind, message: String) -> Finding {
    // The finding names it already.
    let message = message.strip_prefix(&format!("source {name}: ")).map_or_else(|| message.clone(), str::to_owned);
    let (verdict, help) = match kind {
        ErrorKind::Auth if message.contains("environment variable ") => {
            (Verdict::Broken, "set the variable where highwater is started, or name another secret in the source's file")
        }
        ErrorKind::Auth if message.contains("missing secret ") => {
            (Verdict::Broken, "put the secret there, or name another one in the source's file")
        }
        ErrorKind::Auth => (Verdict::Broken, "renew the secret, or the rights that go with it"),
        ErrorKind::Config => (Verdict::Broken, "change the source's file: `highwater check` names its places"),
        ErrorKind::Unavailable => (Verdict::Broken, "is `base_url` right, and can this machine reach it? a proxy is `proxy`"),
        ErrorKind::Throttled { .. } => (Verdict::Odd, "it answers, and wants patience: runs wait as long as it says"),
        ErrorKind::Data => (Verdict::Broken, "`highwater preview JOB` shows what it answers"),
        ErrorKind::Conflict | ErrorKind::Cancelled | ErrorKind::Bug => (Verdict::Broken, "try again"),
    };
    Finding::new("source", name, verdict, message).of("answers").help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_told_with_its_direction() {
        // O-18
        let told = |seconds| describe_clock("api", SignedDuration::from_secs(seconds));
        assert_eq!(told(-3).verdict, Verdict::Good);
        assert_eq!(told(90).message, "its clock is 1m 30s ahead of this machine's");
        assert_eq!(told(-7200).message, "its clock is 2h 00m behind this machine's");
        assert_eq!(told(-7200).verdict, Verdict::Odd);
    }

    #[test]
    fn what_did_not_answer_says_what_to_do() {
        for kind in [ErrorKind::Auth, ErrorKind::Config, ErrorKind::Unavailable, ErrorKind::Data] {
            let finding = refused("api", kind, "no".to_owned());
            assert_eq!(finding.verdict, Verdict::Broken);
            assert!(finding.help.is_some());
        }
        let unset = "source api: missing secret `env KEY`: environment variable `KEY` is not set";
        let unset = refused("api", ErrorKind::Auth, unset.to_owned());
        assert_eq!(unset.message, "missing secret `env KEY`: environment variable `KEY` is not set");
        assert!(unset.help.unwrap().starts_with("set the variable"));
        assert!(refused("api", ErrorKind::Auth, "GET / answered 401".to_owned()).help.unwrap().starts_with("renew the secret"));
        assert_eq!(refused("api", ErrorKind::Throttled { retry_at: None }, "no".to_owned()).verdict, Verdict::Odd);
    }
}
