//! A user's project, opened: its files checked, its state and stores within reach.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::catalog::{Catalog, Job};
use crate::config::secret::{SecretSource, SecretString};
use crate::config::{self, Problem, Severity};
use crate::error::ErrorKind;
use crate::fault::Guards;
use crate::ids::JobName;
use crate::state::State;
use crate::state::postgres::PostgresState;
use crate::state::sqlite::SqliteState;
use crate::store::{self, Store};
use crate::transform;
use crate::vault::TokenVault;

use super::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::secrets::Secrets;
use super::vault::LentVault;

/// The files of a project, as far as they are right.
pub(crate) struct Project {
    pub catalog: Catalog,
    /// Everything wrong or doubtful, sorted by file.
    pub problems: Vec<Problem>,
    /// Jobs that cannot run until a file is changed, with the reason.
    pub parked: BTreeMap<JobName, String>,
    /// What the files are: `config::Loaded::digest`.
    pub digest: String,
    pub secrets: Arc<Secrets>,
    pub clock: Arc<dyn Clock>,
    /// How long a lease of a shared state holds.
    pub lease: Duration,
}

impl Project {
    /// Reads and checks every file. A broken job is parked and no failure; a folder that cannot be used at all is one.
    pub fn open(context: &Context) -> Result<Self, Failure> {
        Project::open_folder(&context.folder, context.environment.state_folder.as_deref(), context)
    }

    /// Opens another folder than the command line's; `state_folder` as `$STATE_DIRECTORY`.
    pub fn open_folder(folder: &Path, state_folder: Option<&Path>, context: &Context) -> Result<Self, Failure> {
        if !folder.is_dir() {
            let message = format!("the project folder `{}` does not exist", folder.display());
            return Err(Failure::config(message).help("name another one with -C, or try `highwater demo`"));
        }
        let loaded = config::load(folder, state_folder);
        let mut project = Project {
            catalog: loaded.catalog,
            problems: loaded.problems,
            parked: loaded.parked,
            digest: loaded.digest,
            secrets: Arc::new(Secrets { folder: folder.to_owned(), credentials: context.environment.credentials_folder.clone() }),
            clock: Arc::clone(&context.clock),
            lease: context.environment.lease(),
        };
        project.check_steps();
        Ok(project)
    }

    /// What only the room of the steps can judge: whether their SQL can be taken row by row.
    fn check_steps(&mut self) {
        for (name, job) in &self.catalog.jobs {
            let found = transform::check(job);
            if let Some(first) = found.iter().find(|problem| problem.severity == Severity::Error) {
                let reason = Problem { help: None, ..first.clone() }.to_string();
                self.parked.insert(name.clone(), reason.strip_prefix("error: ").unwrap_or(&reason).to_owned());
            }
            self.problems.extend(found);
        }
        self.catalog.jobs.retain(|name, _| !self.parked.contains_key(name));
        self.problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    }

    /// Fails if what all jobs share is broken: then nothing can be said of any of them.
    pub fn require_settings(&self) -> Result<(), Failure> {
        let broken = |problem: &&Problem| problem.severity == Severity::Error && problem.file == "config.toml";
        match self.problems.iter().find(broken) {
            Some(problem) => Err(problem_failure(problem)),
            None => Ok(()),
        }
    }

    /// A job by name, enabled or not.
    pub fn job(&self, name: &str) -> Result<&Job, Failure> {
        let name = JobName::new(name);
        if let Some(job) = self.catalog.jobs.get(&name) {
            return Ok(job);
        }
        if let Some(reason) = self.parked.get(&name) {
            return Err(
                Failure::config(format!("job `{name}` is parked: {reason}")).help("`highwater check` lists every problem")
            );
        }
        self.require_settings()?;
        let known: Vec<String> =
            self.catalog.jobs.keys().chain(self.parked.keys()).take(20).map(|job| format!("`{job}`")).collect();
        let help = match known.is_empty() {
            true => "there is none in this project: is -C right?".to_owned(),
            false => format!("the jobs are {}", known.join(", ")),
        };
        Err(Failure::new(Exit::Usage, format!("no job is called `{name}`")).help(help))
    }

    /// The named job, or all of them, enabled or not.
    pub fn jobs(&self, name: Option<&str>) -> Result<Vec<&Job>, Failure> {
        match name {
            Some(name) => Ok(vec![self.job(name)?]),
            None => {
                self.require_settings()?;
                Ok(self.catalog.jobs.values().collect())
            }
        }
    }

    /// The state, to look at beside a running process; `None` before the first run.
    pub async fn look_at_state(&self) -> Result<Option<Arc<dyn State>>, Failure> {
        if let Some(url) = self.state_server()? {
            let opened = PostgresState::open_read_only(&url, Arc::clone(&self.clock)).await;
            let state = opened.map_err(|error| Failure::of(error.kind, error.to_string()))?;
            return Ok(state.map(|state| Arc::new(state) as Arc<dyn State>));
        }
        let path = &self.catalog.settings.state_path;
        if !path.exists() {
            return Ok(None);
        }
        match SqliteState::open_read_only(path).await {
            Ok(state) => Ok(Some(Arc::new(state))),
            Err(error) => Err(Failure::of(error.kind, error.to_string())),
        }
    }

    /// The same for what will change it, once that is confirmed: one of an older highwater, or whose first run was killed before it was
    /// whole, is brought up to date first.
    pub async fn look_before_change(&self) -> Result<Option<Arc<dyn State>>, Failure> {
        match self.look_at_state().await {
            Err(failure) if failure.exit == Exit::Config => match self.take_state().await {
                Ok(state) => {
                    state.end().await;
                    drop(state);
                    self.look_at_state().await
                }
                Err(_) => Err(failure),
            },
            looked => looked,
        }
    }

    /// The state, to work with. A file must not be held by another process; a server is shared.
    pub async fn take_state(&self) -> Result<Arc<dyn State>, Failure> {
        if let Some(url) = self.state_server()? {
            let opened = PostgresState::open(&url, Arc::clone(&self.clock), self.lease).await;
            return match opened.and_then(|state| state.alone_beside(&self.catalog.settings.state_path)) {
                Ok(state) => Ok(Arc::new(state)),
                Err(error) if error.kind == ErrorKind::Conflict => {
                    let help =
                        "another highwater works in this folder: try again when it is done, or give each a folder of its own";
                    Err(Failure::of(error.kind, error.to_string()).help(help))
                }
                Err(error) => {
                    Err(Failure::of(error.kind, error.to_string()).help("`state.url` in config.toml says where the state is"))
                }
            };
        }
        let path = &self.catalog.settings.state_path;
        match SqliteState::open(path).await {
            Ok(state) => Ok(Arc::new(state)),
            Err(error) => {
                let failure = Failure::of(error.kind, error.to_string());
                Err(match failure.exit {
                    Exit::TryLater => failure.help(
                        "another highwater works in this project: try again when it is done, or stop it first if it is a daemon",
                    ),
                    _ => failure.help(format!("the state stands in `{}`", path.display())),
                })
            }
        }
    }

    /// The address of a state that several processes share.
    fn state_server(&self) -> Result<Option<SecretString>, Failure> {
        let Some(url) = &self.catalog.settings.state_server else { return Ok(None) };
        let url = self.secrets.resolve(url).map_err(|error| Failure::config(format!("state.url: {error}")))?;
        Ok(Some(url))
    }

    /// Where a job's tokens are kept, for who does not run it: the state, or a look at it where another process holds it.
    pub async fn vault(&self, job: &Job) -> Result<Arc<dyn TokenVault>, Failure> {
        if !job.source.auth.keeps_tokens() {
            return Ok(Arc::new(LentVault::default()));
        }
        match self.take_state().await {
            Ok(state) => Ok(state as Arc<dyn TokenVault>),
            Err(failure) if failure.exit == Exit::TryLater => Ok(Arc::new(LentVault { state: self.look_at_state().await? })),
            Err(failure) => Err(failure),
        }
    }

    pub fn store(&self, job: &Job) -> Result<Arc<dyn Store>, Failure> {
        store::open(&job.sink, &*self.secrets, Guards::standing())
            .map_err(|error| Failure::of(error.kind, format!("open sink {} of job {}: {error}", job.sink.name, job.name)))
    }
}

/// A problem as the command's failure: its own text is `error: ...` already.
fn problem_failure(problem: &Problem) -> Failure {
    let text = Problem { help: None, ..problem.clone() }.to_string();
    let failure = Failure::config(text.strip_prefix("error: ").unwrap_or(&text));
    match &problem.help {
        Some(help) => failure.help(help.clone()),
        None => failure,
    }
}
