//! Before anything new is read: what a crash left is finished, what the lake has is known, what nobody needs is dropped.

use std::collections::BTreeSet;

use crate::config::catalog::{Job, TableFormat};
use crate::error::ErrorKind;
use crate::event::{Event, Recovery};
use crate::sink::commit::{Effect, Outcome};
use crate::sink::current::Current;
use crate::sink::delta::{log_folder, named_files};
use crate::sink::live::load_index;
use crate::sink::settle::{Head, SettleMachine, Settled};
use crate::sink::stage::drop_staged;
use crate::sink::verify::unnamed_files;
use crate::sink::{SinkError, layout};
use crate::state::{BatchStatus, Lease};

use super::effects::Subject;
use super::{Ports, RunError, RunReport, commit};

/// How often a settlement begins anew after it voided a record.
const VOIDS_MAX: u32 = 3;

/// Brings state and lake together and returns the end of the log.
pub(super) async fn settle(
    job: &Job,
    ports: &Ports,
    lease: &Lease,
    index: &mut Option<Current>,
    report: &mut RunReport,
) -> Result<Head, RunError> {
    for _ in 0..=VOIDS_MAX {
        match settle_once(job, ports, lease, index).await? {
            Settled::Clean(head) => {
                tell(job, ports, &head, report).await;
                if head.state.seq == 0 {
                    check_table(job, ports, &head).await?;
                }
                tidy_batches(job, ports, lease, &head).await?;
                return Ok(head);
            }
            Settled::StagedLost(head) => {
                let text = format!(
                    "the staged files of record {} are gone, or what it replaces is: it is voided and its range read again",
                    head.state.seq
                );
                note(job, ports, report, Recovery::Voided, text).await;
                commit::void(job, ports, lease, head, index).await?;
            }
            Settled::Unavailable(reason) => return Err(RunError::new(ErrorKind::Unavailable, reason)),
            Settled::Fenced(reason) => return Err(RunError::new(ErrorKind::Conflict, reason)),
            Settled::Refused(error) => return Err(error.into()),
        }
    }
    Err(RunError::new(ErrorKind::Unavailable, format!("staged files of {} keep disappearing", job.dataset)))
}

async fn settle_once(job: &Job, ports: &Ports, lease: &Lease, index: &mut Option<Current>) -> Result<Settled, RunError> {
    let known = ports.state.dataset(&job.dataset).await?.unwrap_or_default();
    let mut machine = SettleMachine::new(job.dataset.clone(), known, ports.guards);
    let mut effects = machine.step(Outcome::Begin);
    while !effects.is_empty() {
        let head = machine.head();
        // Before the state forgets that something was lost: a refusal must hold at the next run too.
        if head.lost.is_some() && effects.contains(&Effect::Advance) {
            check_lake(job, ports, head).await?;
            check_table(job, ports, head).await?;
        }
        let record = head.record.clone();
        let done = record.as_ref().filter(|_| !head.adopted.is_empty()).map(|record| record.batch);
        let mut subject = Subject { job, ports, lease, index, note: None, record, state: head.state.clone(), done };
        let outcomes = subject.perform(effects).await;
        effects = outcomes.into_iter().flat_map(|outcome| machine.step(outcome)).collect();
    }
    machine.settled().ok_or_else(|| RunError::new(ErrorKind::Bug, "the settlement stopped half way"))
}

/// Where nothing is left of a table, nor of the log of any other, it is hardly the lake that was lost: its disk is not mounted, or the
/// address is another one. Everything would be read again, and written to where nobody looks.
async fn check_lake(job: &Job, ports: &Ports, head: &Head) -> Result<(), RunError> {
    let (Some(known), 0) = (head.lost, head.state.seq) else { return Ok(()) };
    let own = ports.store.list(layout::OWN).await.map_err(SinkError::from)?;
    if own.iter().any(|object| layout::is_record(&object.path)) {
        return Ok(());
    }
    if !ports.store.list(&job.table).await.map_err(SinkError::from)?.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the lake `{}` is empty, and the log of the table {} had come to record {known}: mount its disk, or set the `url` of {} right; if it is gone for good, `highwater state rebuild {}`, and the next run loads the table anew",
        ports.store.address(""),
        job.table,
        job.sink.file,
        job.name
    );
    Err(RunError::new(ErrorKind::Unavailable, message))
}

/// Where the log begins anew or has lost its end, the table's folder must hold nothing but what records name: what else is there
/// would be loaded a second time beside it.
pub(super) async fn check_table(job: &Job, ports: &Ports, head: &Head) -> Result<(), RunError> {
    let index = load_index(ports.store.as_ref(), &job.dataset, Some((head.state.seq, &head.state.record_hash))).await?;
    let (store, delta) = (ports.store.as_ref(), job.sink.format == TableFormat::Delta && head.state.seq > 0);
    let removed = if delta { named_files(store, &job.dataset, head.state.seq).await? } else { BTreeSet::new() };
    let log = format!("{}/", log_folder(&job.table));
    let is_named = |path: &str| index.files.contains_key(path) || removed.contains(path) || delta && path.starts_with(&log);
    let unnamed = unnamed_files(store, &job.table, is_named).await?;
    let Some(first) = unnamed.first().filter(|_| ports.guards.files_are_named) else { return Ok(()) };
    let message = format!(
        "the folder of table {} holds {} files that no record of its log names, such as `{first}`: the log was lost, or the folder is not ours; restore `_highwater/{}` from a copy, or move the files away and run again",
        job.table,
        unnamed.len(),
        job.dataset
    );
    Err(RunError::new(ErrorKind::Data, message))
}

async fn tell(job: &Job, ports: &Ports, head: &Head, report: &mut RunReport) {
    if let Some(seq) = head.lost {
        let text = format!(
            "the lake has lost records of {}: the state knew {seq}, the log ends at {}; what is missing is read again",
            job.dataset, head.state.seq
        );
        tracing::error!(job.id = %job.name, "{text}");
        note(job, ports, report, Recovery::Lost, text).await;
    }
    if let (Some(first), Some(last)) = (head.adopted.first(), head.adopted.last())
        && head.lost.is_none()
    {
        let text = match first == last {
            true => format!("record {first} was decided but not known here: it was finished and adopted"),
            false => format!("records {first} to {last} were not known here: they were adopted"),
        };
        note(job, ports, report, Recovery::Adopted, text).await;
    }
}

pub(super) async fn note(job: &Job, ports: &Ports, report: &mut RunReport, recovery: Recovery, text: String) {
    ports.keep_event(job, recovery.name(), &text).await;
    ports.events.tell(Event::Recovered { job: job.name.clone(), recovery, what: text.clone() });
    report.recovered.push(text);
}

/// Batches of earlier processes: done, or given up. Staged files are dropped once their seq is decided for another, because only
/// then no late answer can make them count.
async fn tidy_batches(job: &Job, ports: &Ports, lease: &Lease, head: &Head) -> Result<(), RunError> {
    let current = head.record.as_ref().map(|record| record.batch);
    for batch in ports.state.open_batches(&job.dataset).await? {
        if Some(batch.batch) == current {
            ports.state.mark_batch(lease, batch.batch, BatchStatus::Done).await?;
        } else if batch.seq <= head.state.seq || !ports.guards.staged_kept {
            drop_staged(ports.store.as_ref(), batch.staged.iter().map(String::as_str)).await;
            ports.state.mark_batch(lease, batch.batch, BatchStatus::Dropped).await?;
        } else if batch.status == BatchStatus::Prepared {
            ports.state.mark_batch(lease, batch.batch, BatchStatus::Aborted).await?;
        }
    }
    Ok(())
}
