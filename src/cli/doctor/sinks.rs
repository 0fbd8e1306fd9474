//! Sinks: what the protocol rests on, tried out; and of a folder what its disk is.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::Context;
use crate::cli::project::Project;
use crate::cli::text::size;
use crate::config::catalog::{Job, Sink, SinkPlace};
use crate::disk::{self, FileSystem};
use crate::error::{ErrorKind, chain};
use crate::fault::Guards;
use crate::store::probe::{self, Depth, WAY_OUT};
use crate::store::{self, StoreError};

use super::{Finding, Verdict};

pub(super) async fn look(context: &Context, project: &Project) -> Vec<Finding> {
    let mut used: BTreeMap<&str, Vec<&Job>> = BTreeMap::new();
    for job in project.catalog.jobs.values().filter(|job| job.enabled) {
        used.entry(&job.sink.name).or_default().push(job);
    }
    let mut findings = Vec::new();
    for (name, jobs) in used {
        let Some(first) = jobs.first() else { continue };
        let probed = look_at(context, project, &first.sink).await;
        findings.extend(probed.unwrap_or_else(|error| vec![refused(name, &error)]));
        if let SinkPlace::Local(folder) = &first.sink.place {
            findings.extend(look_at_folder(name, folder, &jobs, project.catalog.settings.disk_free));
        }
    }
    findings
}

async fn look_at(context: &Context, project: &Project, sink: &Sink) -> Result<Vec<Finding>, StoreError> {
    let store = store::open(sink, &*project.secrets, Guards::standing())?;
    let found = probe::probe(&*store, &*context.clock, Depth::Whole).await?;
    Ok(found.into_iter().map(|one| describe(&sink.name, one)).collect())
}

fn describe(name: &str, one: probe::Finding) -> Finding {
    let verdict = match one.verdict {
        probe::Verdict::Good => Verdict::Good,
        probe::Verdict::Odd => Verdict::Odd,
        probe::Verdict::Unfit => Verdict::Broken,
    };
    let finding = Finding::new("sink", name, verdict, one.message).of(one.what);
    if verdict == Verdict::Broken { finding.help(WAY_OUT) } else { finding }
}

/// A store that could not be asked.
fn refused(name: &str, error: &StoreError) -> Finding {
    let help = match error.kind {
        ErrorKind::Auth => "renew the credentials, or grant them what docs/guide.md lists under Sinks",
        ErrorKind::Config => "change the sink's file, or make the bucket or folder",
        _ => "is the address right, and can this machine reach it?",
    };
    Finding::new("sink", name, Verdict::Broken, chain(error)).of("answers").help(help)
}

fn look_at_folder(name: &str, folder: &Path, jobs: &[&Job], floor: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Where the system does not tell, writing to it told enough.
    findings.extend(disk::file_system(folder).ok().map(|found| lies_on(name, found)));
    for job in jobs {
        let table = folder.join(&job.table);
        if let Ok(false) = disk::same_file_system(folder, &table) {
            let message = format!("table {} lies on another file system than `_highwater`", job.table);
            findings.push(
                Finding::new("sink", name, Verdict::Broken, message)
                    .of("file_system")
                    .help("nothing can be renamed between them: put the sink's whole folder on one"),
            );
        }
    }
    findings.push(room("sink", name, folder, floor));
    findings
}

fn lies_on(name: &str, found: FileSystem) -> Finding {
    let odd = |message: &str, help| Finding::new("sink", name, Verdict::Odd, message).of("file_system").help(help);
    match found {
        FileSystem::Local => Finding::new("sink", name, Verdict::Good, "the folder lies on a local disk").of("file_system"),
        FileSystem::Network(kind) => odd(
            &format!("the folder lies on {kind}"),
            "what was committed may be lost or doubled after an outage there: take a local disk or an object store",
        ),
        FileSystem::Memory(kind) => odd(
            &format!("the folder lies on {kind}, in memory: nothing of it outlives a loss of power or a restart"),
            "what was committed is read again then, as far as the source still has it: take a disk or an object store to keep it",
        ),
        FileSystem::Overlay => odd(
            "the folder lies on an overlay, most often a container's own layer, which is gone with the container",
            "mount a volume for it, or take an object store",
        ),
    }
}

/// What is free on a folder's disk.
pub(super) fn room(area: &'static str, name: &str, folder: &Path, floor: u64) -> Finding {
    match disk::free(folder) {
        Err(error) => {
            Finding::new(area, name, Verdict::Odd, format!("the disk does not tell what is free: {error}")).of("free_space")
        }
        Ok(free) if free < floor => {
            let message = format!("the disk has {} free, less than `limits.disk_free`", size(free));
            Finding::new(area, name, Verdict::Broken, message).of("free_space").help("make room, or lower it: no run starts")
        }
        Ok(free) => Finding::new(area, name, Verdict::Good, format!("the disk has {} free", size(free))).of("free_space"),
    }
}
