//! This machine: its clock, the state, the daemon, the unit.

use std::path::Path;

use crate::cli::Context;
use crate::cli::daemon::client::Client;
use crate::cli::daemon::protocol::DaemonView;
use crate::cli::project::Project;
use crate::cli::text::{counted, instant};
use crate::config::Severity;
use crate::state::sqlite::SqliteState;

use super::{Finding, Verdict, sinks};

/// Where systemd looks for units that people install.
const UNITS: [&str; 3] = ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];

/// `outside` is what was found of sources and sinks: their clocks stand beside this one.
pub(crate) async fn look_at_machine(context: &Context, project: &Project, outside: &[Finding]) -> Vec<Finding> {
    let state_path = &project.catalog.settings.state_path;
    let mut findings = vec![version(), files(project), state(state_path).await];
    findings.push(daemon(context, state_path).await);
    let folder = state_path.parent().unwrap_or(Path::new("."));
    findings.push(sinks::room("state", "", folder, project.catalog.settings.disk_free));
    findings.push(clock(Path::new("/run"), outside));
    findings.push(unit());
    findings
}

fn version() -> Finding {
    let build = if cfg!(debug_assertions) { ", a debug build" } else { "" };
    Finding::new("version", "", Verdict::Good, format!("highwater {}{build}", env!("CARGO_PKG_VERSION")))
}

fn files(project: &Project) -> Finding {
    let errors = project.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    match errors {
        0 => Finding::new("files", "", Verdict::Good, format!("{} ready", counted(project.catalog.jobs.len() as u64, "job"))),
        _ => {
            let message = format!("{}, {} parked", counted(errors as u64, "error"), counted(project.parked.len() as u64, "job"));
            Finding::new("files", "", Verdict::Broken, message).help("`highwater check` names each with its place")
        }
    }
}

async fn state(path: &Path) -> Finding {
    if !path.exists() {
        return Finding::new("state", "", Verdict::Good, "none yet: the first run makes it");
    }
    match SqliteState::examine(path).await {
        Ok(()) => Finding::new("state", "", Verdict::Good, "opens, and every page of it is whole"),
        Err(error) => Finding::new("state", "", Verdict::Broken, error.to_string())
            .help("what is covered stands in the tables too: move the file away, and the next run makes it anew from them"),
    }
}

async fn daemon(context: &Context, state_path: &Path) -> Finding {
    let found = match Client::connect(state_path).await {
        Ok(None) => return Finding::new("daemon", "", Verdict::Good, "none is at work in this project"),
        Ok(Some(client)) => client.view(&*context.clock).await,
        Err(failure) => Err(failure),
    };
    match found {
        Ok(view) => describe_daemon(&view),
        Err(failure) => {
            let finding = Finding::new("daemon", "", Verdict::Odd, failure.message);
            if let Some(help) = failure.help { finding.help(help) } else { finding }
        }
    }
}

fn describe_daemon(view: &DaemonView) -> Finding {
    let holds = format!("pid {} holds the state since {}", view.pid, instant(view.since));
    if view.version != env!("CARGO_PKG_VERSION") {
        let message = format!("{holds}; it is highwater {}", view.version);
        return Finding::new("daemon", "", Verdict::Odd, message).help("restart it");
    }
    match &view.problem {
        Some(problem) => Finding::new("daemon", "", Verdict::Odd, format!("{holds}; it works with earlier files: {problem}"))
            .help("`highwater check`, then a SIGHUP or `systemctl reload highwater`"),
        None => Finding::new("daemon", "", Verdict::Good, holds),
    }
}

/// Who keeps the time, by the traces that they leave under `/run`; where nobody does, the clocks of others are a hint.
fn clock(run: &Path, outside: &[Finding]) -> Finding {
    let good = |message: &str| Finding::new("clock", "", Verdict::Good, message);
    if run.join("systemd/timesync/synchronized").exists() {
        return good("synchronised by systemd-timesyncd");
    }
    if run.join("chrony/chronyd.pid").exists() || run.join("chronyd.pid").exists() {
        return good("kept by chronyd");
    }
    if run.join("ntpd.pid").exists() || run.join("ntpsec/ntpd.pid").exists() {
        return good("kept by ntpd");
    }
    let help = "schedules, waits for quotas and leases go by this clock: switch on systemd-timesyncd or chrony";
    let others: Vec<Verdict> = outside.iter().filter(|one| one.what == "clock").map(|one| one.verdict).collect();
    // A local disk's clock is this one.
    let far = outside.iter().any(|one| one.what == "clock" && one.verdict == Verdict::Good && one.area == "source");
    let message = match (far, others.contains(&Verdict::Odd)) {
        (true, false) => return good("agrees with that of the sources; nothing here says who keeps it"),
        (_, true) => "nobody here keeps it, and clocks elsewhere differ from it",
        (false, false) => "nothing here says whether it is synchronised",
    };
    Finding::new("clock", "", Verdict::Odd, message).help(help)
}

fn unit() -> Finding {
    match UNITS.iter().map(|folder| Path::new(folder).join("highwater.service")).find(|path| path.exists()) {
        Some(path) => Finding::new("unit", "", Verdict::Good, format!("installed as `{}`", path.display())),
        None => Finding::new("unit", "", Verdict::Skipped, "highwater.service is not installed: runs are started by other means"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_nobody_keeps_is_told() {
        // O-14
        let run = tempfile::tempdir().expect("folder");
        let of = |area, verdict| Finding::new(area, "x", verdict, "").of("clock");
        assert_eq!(clock(run.path(), &[]).verdict, Verdict::Odd);
        assert_eq!(clock(run.path(), &[of("sink", Verdict::Good)]).verdict, Verdict::Odd);
        assert_eq!(clock(run.path(), &[of("source", Verdict::Good)]).verdict, Verdict::Good);
        let differs = clock(run.path(), &[of("source", Verdict::Good), of("source", Verdict::Odd)]);
        assert_eq!(differs.message, "nobody here keeps it, and clocks elsewhere differ from it");
        std::fs::create_dir_all(run.path().join("systemd/timesync")).expect("folder");
        std::fs::write(run.path().join("systemd/timesync/synchronized"), "").expect("file");
        assert_eq!(clock(run.path(), &[]).message, "synchronised by systemd-timesyncd");
    }

    #[tokio::test]
    async fn a_damaged_state_is_broken_with_the_way_out() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("highwater.db");
        assert_eq!(state(&path).await.verdict, Verdict::Good);
        SqliteState::open(&path).await.expect("made").close().await;
        assert_eq!(state(&path).await.message, "opens, and every page of it is whole");
        let mut bytes = std::fs::read(&path).expect("file");
        bytes[4096..16384].fill(0x5a);
        std::fs::write(&path, bytes).expect("file");
        let found = state(&path).await;
        assert_eq!(found.verdict, Verdict::Broken, "{found:?}");
        assert!(found.help.is_some());
    }

    #[test]
    fn a_daemon_of_another_version_is_to_be_restarted() {
        let view = DaemonView {
            pid: 7,
            version: "0.0.1".to_owned(),
            since: "2026-03-01T00:00:00Z".parse().expect("instant"),
            stopping: false,
            problem: None,
            running: 0,
            waiting: 0,
            jobs: Vec::new(),
            quotas: Vec::new(),
        };
        assert_eq!(describe_daemon(&view).verdict, Verdict::Odd);
        let same = DaemonView { version: env!("CARGO_PKG_VERSION").to_owned(), ..view };
        assert_eq!(describe_daemon(&same).message, "pid 7 holds the state since 2026-03-01 00:00:00");
    }
}
