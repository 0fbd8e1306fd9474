//! The answering side: a socket beside the state, for its owner alone.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::report::RunJson;
use crate::event::{Event, RunEnd};
use crate::ids::JobName;
use crate::schedule::HandRuns;
use crate::stop::Stop;

use super::protocol::{ASK_MAX, Answer, Ask, Request, RunRequest, VERSION, read_line, write_line};
use super::service::Service;
use super::{socket_path, within};

/// The longest path that an address of a socket holds, without its closing zero (unix(7)).
const PATH_MAX: usize = 107;
/// Clients at a time; more are told to come later.
const CLIENTS_MAX: usize = 32;
/// How long a client may take to say what it wants.
const ASK_WITHIN: Duration = Duration::from_secs(10);
/// How long a client may take to read a line.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How long clients may take to hear the last of it while the daemon ends.
const END_WITHIN: Duration = Duration::from_secs(3);
/// Events that wait for a client to read them; more are left out.
const EVENTS_MAX: usize = 1_024;
/// How often a run is asked for that was given to somebody with other wishes.
const ASKED_MAX: u32 = 8;

/// The socket's file goes with this.
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A file that stays behind is replaced at the next start.
        drop(fs::remove_file(&self.path));
    }
}

impl Socket {
    /// Only for the process that holds the state: what a dead one left there is replaced.
    pub fn bind(state_path: &Path) -> Result<Socket, Failure> {
        let path = socket_path(state_path);
        // Bound under another name, so that nobody reaches it before its rights are set.
        let draft = path.with_extension("new");
        let length = draft.as_os_str().len().max(path.as_os_str().len());
        if length > PATH_MAX {
            let message = format!("the path of the daemon's socket is too long for the system: `{}`", path.display());
            return Err(Failure::config(message)
                .help(format!("put the state into a folder with a path shorter by {} bytes: `state.url`", length - PATH_MAX)));
        }
        let bound = remove(&draft).and_then(|()| {
            let listener = UnixListener::bind(&draft)?;
            fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
            fs::rename(&draft, &path)?;
            Ok(listener)
        });
        match bound {
            Ok(listener) => Ok(Socket { listener, path }),
            Err(error) => Err(Failure::new(Exit::Failed, format!("listen on `{}`: {error}", path.display()))),
        }
    }

    /// Serves clients until `stop`, and gives those that wait for an end a moment to hear it.
    pub async fn serve(self, service: Arc<Service>, stop: Stop) {
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if clients.len() < CLIENTS_MAX => {
                        clients.spawn(Client::of(stream, Arc::clone(&service)).serve());
                    }
                    // Dropped: whoever is one too many sees the end of the stream, and waits for nothing.
                    Ok(_) => tracing::warn!("more than {CLIENTS_MAX} clients at a time: one was sent away"),
                    Err(error) => {
                        tracing::warn!(%error, "a client could not be taken");
                        service.clock.sleep(Duration::from_secs(1)).await;
                    }
                },
                Some(_) = clients.join_next() => {}
                () = stop.wait() => break,
            }
        }
        // Who is still there after that is aborted with the set.
        within(&*service.clock, END_WITHIN, async { while clients.join_next().await.is_some() {} }).await;
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    service: Arc<Service>,
}

impl Client {
    fn of(stream: UnixStream, service: Arc<Service>) -> Self {
        let (reader, writer) = stream.into_split();
        Client { reader: BufReader::new(reader), writer, service }
    }

    async fn serve(mut self) {
        let service = Arc::clone(&self.service);
        let asked = within(&*service.clock, ASK_WITHIN, read_line::<Request>(&mut self.reader, ASK_MAX)).await;
        let answered = match asked {
            // It left, or has nothing to say.
            None | Some(Ok(None)) => Ok(()),
            Some(Ok(Some(Request { version: VERSION, ask }))) => match ask {
                Ask::View {} => self.say(&Answer::View(service.view())).await,
                Ask::Run(request) => self.run(*request).await,
            },
            Some(Ok(Some(Request { version, .. }))) => {
                self.refuse(format!("the daemon speaks version {VERSION} of its protocol, and was asked in {version}")).await
            }
            Some(Err(error)) => self.refuse(format!("the daemon does not understand what it was asked: {error}")).await,
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "a client left, or was too slow");
        }
    }

    async fn refuse(&mut self, message: String) -> io::Result<()> {
        let help = Some("the daemon is of another version than this command: restart it".to_owned());
        self.say(&Answer::Refused { exit: Exit::TryLater, message, help }).await
    }

    /// A line to the client; an error if it does not read.
    async fn say(&mut self, answer: &impl Serialize) -> io::Result<()> {
        match within(&*self.service.clock, READ_WITHIN, write_line(&mut self.writer, answer)).await {
            Some(written) => written,
            None => Err(io::Error::new(io::ErrorKind::TimedOut, "it does not read")),
        }
    }

    async fn run(&mut self, request: RunRequest) -> io::Result<()> {
        let service = Arc::clone(&self.service);
        let (events, heard) = mpsc::channel(EVENTS_MAX);
        let mut wanted = Wanted::new(&service, &request, &events);
        drop(events);
        let Ok(mut runs) = service.handle.run_now(wanted.open()).await else {
            let message = "the daemon is about to end, and takes no runs".to_owned();
            return self.say(&Answer::Refused { exit: Exit::TryLater, message, help: None }).await;
        };
        self.say(&Answer::Accepted { pid: std::process::id() }).await?;
        if request.files != service.files.reading().digest {
            let text = "the project's files have changed since the daemon read them, and it works with what it read: \
                        have it reload (SIGHUP, `systemctl reload`)";
            self.say(&Answer::Note { text: text.to_owned() }).await?;
        }
        for job in &runs.behind {
            let text = format!("{job} is running already: this run comes behind that one");
            self.say(&Answer::Note { text }).await?;
        }
        let mut heard = heard;
        for _ in 0..ASKED_MAX {
            wanted.unknown(&runs.unknown);
            if !self.follow(&mut runs, &mut heard, &mut wanted).await? {
                return Ok(());
            }
            let open = wanted.open();
            if open.is_empty() {
                break;
            }
            match service.handle.run_now(open).await {
                Ok(again) => runs = again,
                Err(_) => break,
            }
        }
        self.say(&Answer::Ended { runs: wanted.ends(&request.jobs) }).await
    }

    /// Passes events on until the runs are over; false if the client left before that.
    async fn follow(&mut self, runs: &mut HandRuns, heard: &mut mpsc::Receiver<Event>, wanted: &mut Wanted) -> io::Result<bool> {
        let mut rest = [0; 64];
        loop {
            tokio::select! {
                // In this order: what was heard before the end is told before the end.
                biased;
                Some(event) = heard.recv() => self.say(&Answer::Event(event)).await?,
                read = self.reader.read(&mut rest) => {
                    if !matches!(read, Ok(1..)) {
                        return Ok(false);
                    }
                }
                ended = runs.ends.recv() => match ended {
                    Some((job, ended)) => wanted.ended(&job, &ended),
                    None => return Ok(true),
                },
            }
        }
    }
}

/// The runs that a client asked for.
struct Wanted {
    open: BTreeMap<JobName, oneshot::Receiver<RunJson>>,
    ends: BTreeMap<JobName, RunJson>,
}

impl Wanted {
    fn new(service: &Service, request: &RunRequest, events: &mpsc::Sender<Event>) -> Self {
        let reading = service.files.reading();
        let mut wanted = Wanted { open: BTreeMap::new(), ends: BTreeMap::new() };
        for job in &request.jobs {
            if let Some(reason) = reading.parked.get(job) {
                wanted.give_up(job, Exit::Config, format!("parked: {reason}"));
                continue;
            }
            match service.hands.put(job, request.options.clone(), events.clone()) {
                Some(reported) => drop(wanted.open.insert(job.clone(), reported)),
                None => wanted.give_up(job, Exit::TryLater, "too many wait for a run of it already".to_owned()),
            }
        }
        wanted
    }

    fn open(&self) -> Vec<JobName> {
        self.open.keys().cloned().collect()
    }

    fn unknown(&mut self, jobs: &[JobName]) {
        for job in jobs {
            let reason = "the daemon does not know this job: its file came after the last reload (SIGHUP, `systemctl reload`)";
            self.give_up(job, Exit::Config, reason.to_owned());
        }
    }

    fn give_up(&mut self, job: &JobName, exit: Exit, reason: String) {
        self.open.remove(job);
        self.ends.insert(job.clone(), RunJson::trouble(job.to_string(), exit, reason));
    }

    /// The schedule says that a run is over: its report is there, or it was somebody else's, or it never began.
    fn ended(&mut self, job: &JobName, ended: &RunEnd) {
        let Some(reported) = self.open.get_mut(job) else { return };
        match (reported.try_recv(), ended) {
            (Ok(report), _) => {
                self.open.remove(job);
                self.ends.insert(job.clone(), report);
            }
            (Err(oneshot::error::TryRecvError::Empty), RunEnd::Done | RunEnd::Failed { .. } | RunEnd::Parked { .. }) => {}
            (Err(_), ended) => {
                let (exit, reason) = match ended {
                    RunEnd::Failed { kind, reason } => (Exit::from(*kind), reason.clone()),
                    RunEnd::Parked { reason, .. } => (Exit::TryLater, reason.clone()),
                    RunEnd::Done | RunEnd::Stopped => (Exit::TryLater, "not started: the daemon ends".to_owned()),
                };
                self.give_up(job, exit, reason);
            }
        }
    }

    /// One a job, in the order they were named.
    fn ends(mut self, order: &[JobName]) -> Vec<RunJson> {
        for job in self.open() {
            self.give_up(&job, Exit::TryLater, "the run did not come to its turn".to_owned());
        }
        order.iter().filter_map(|job| self.ends.remove(job)).collect()
    }
}
