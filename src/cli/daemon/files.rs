//! The project's files as the daemon last read them. Runs keep what they began with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cli::project::Project;
use crate::config::catalog::{Catalog, Job};
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
        if old.state_path != new.state_path {
            waiting.push("state.url");
            new.state_path.clone_from(&old.state_path);
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
