//! The project's files as the daemon last read them. Runs keep what they began with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cli::project::Project;
use crate::config::catalog::{Catalog, Job, Settings};
use crate::ids::JobName;
use crate::schedule::ScheduledJob;

/// One reading of the files.
pub(super) struct Reading {
    pub catalog: Catalog,
    /// Jobs that cannot run until a file is changed, with the reason.
    pub parked: BTreeMap<JobName, String>,
    pub digest: String,
}

/// The reading that counts. Replaced as a whole, never changed.
pub(super) struct Files {
    current: Mutex<Current>,
}

struct Current {
    reading: Arc<Reading>,
    /// Why the files as they are now are not taken up, or not wholly.
    problem: Option<String>,
}

impl Reading {
    fn of(project: &Project) -> Self {
        Reading { catalog: project.catalog.clone(), parked: project.parked.clone(), digest: project.digest.clone() }
    }

    /// What the schedule has to know: enabled jobs come due, the others run by hand or after another.
    pub fn scheduled(&self) -> Vec<ScheduledJob> {
        self.catalog.jobs.values().map(scheduled).collect()
    }
}

fn scheduled(job: &Job) -> ScheduledJob {
    let scheduled = ScheduledJob::of(job);
    match job.enabled {
        true => scheduled,
        false => ScheduledJob { schedule: None, after: Vec::new(), ..scheduled },
    }
}

impl Files {
    pub fn of(project: &Project) -> Self {
        Files { current: Mutex::new(Current { reading: Arc::new(Reading::of(project)), problem: None }) }
    }

    pub fn reading(&self) -> Arc<Reading> {
        Arc::clone(&self.current().reading)
    }

    pub fn problem(&self) -> Option<String> {
        self.current().problem.clone()
    }

    /// What of the files that were taken up could not be followed.
    pub fn set_problem(&self, problem: String) {
        self.current().problem = Some(problem);
    }

    /// Takes up the files as they are now; only what was settled at the start stays as it is, and is told. What went before goes
    /// on if the settings that all jobs share are broken: the error says why.
    pub fn take_up(&self, project: &Project) -> Result<Arc<Reading>, String> {
        if let Err(failure) = project.require_settings() {
            let problem = format!("the files as they are now are not taken up: {}", failure.message);
            self.current().problem = Some(problem.clone());
            return Err(problem);
        }
        let mut current = self.current();
        let mut reading = Reading::of(project);
        let (old, new) = (&current.reading.catalog.settings, &mut reading.catalog.settings);
        let mut waiting = Vec::new();
        // Its debug form says where the address is, never what it is.
        let server = |settings: &Settings| format!("{:?}", settings.state_server);
        if old.state_path != new.state_path || server(old) != server(new) {
            waiting.push("state");
            new.state_path.clone_from(&old.state_path);
            new.state_server.clone_from(&old.state_server);
        }
        if old.runs != new.runs {
            waiting.push("limits.runs");
            new.runs = old.runs;
        }
        // Their debug form says all but secrets, and those are looked up anew anyway.
        if format!("{:?}", old.web) != format!("{:?}", new.web) {
            waiting.push("web");
            new.web.clone_from(&old.web);
        }
        let problem =
            (!waiting.is_empty()).then(|| format!("config.toml: `{}` changed: restart to take it up", waiting.join("`, `")));
        *current = Current { reading: Arc::new(reading), problem };
        Ok(Arc::clone(&current.reading))
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // Replaced in one assignment: whole, whatever panicked beside it.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::secrets::Secrets;

    fn project(folder: &tempfile::TempDir, config: &str) -> Project {
        std::fs::write(folder.path().join("config.toml"), config).expect("config.toml");
        let loaded = crate::config::load(folder.path(), None);
        Project {
            catalog: loaded.catalog,
            problems: loaded.problems,
            parked: loaded.parked,
            digest: loaded.digest,
            secrets: Arc::new(Secrets { folder: folder.path().to_owned(), credentials: None }),
            clock: Arc::new(crate::clock::SystemClock::new()),
            lease: crate::state::postgres::LEASE,
        }
    }

    #[test]
    fn broken_settings_leave_all_as_it_was_and_are_told_until_they_are_mended() {
        let folder = tempfile::tempdir().expect("folder");
        let files = Files::of(&project(&folder, "version = 1\n"));
        let before = files.reading();
        let error = files.take_up(&project(&folder, "version = 1\n[limits]\nruns = 0\n")).map(drop).expect_err("broken");
        assert!(error.contains("config.toml:3:8"), "{error}");
        assert_eq!(files.problem(), Some(error));
        assert!(Arc::ptr_eq(&before, &files.reading()));
        assert!(files.take_up(&project(&folder, "version = 1\n[limits]\nmemory = \"64MiB\"\n")).is_ok());
        assert_eq!((files.problem(), files.reading().catalog.settings.memory), (None, 64 << 20));
    }

    #[test]
    fn what_was_settled_at_the_start_stays_and_is_told() {
        let folder = tempfile::tempdir().expect("folder");
        let files = Files::of(&project(&folder, "version = 1\n"));
        let changed = "version = 1\n[limits]\nruns = 3\n[state]\nurl = \"sqlite://other.db\"\n[web]\nlisten = \"127.0.0.1:1\"\n";
        let reading = files.take_up(&project(&folder, changed)).map_err(|problem| problem.clone()).expect("taken up");
        assert_eq!(reading.catalog.settings.runs, 8);
        assert!(reading.catalog.settings.web.is_none() && !reading.catalog.settings.state_path.ends_with("other.db"));
        let problem = files.problem().expect("told");
        assert_eq!(problem, "config.toml: `state`, `limits.runs`, `web` changed: restart to take it up");
    }
}
