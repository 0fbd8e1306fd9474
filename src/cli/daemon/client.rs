//! The asking side: commands that find a daemon at work.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::progress::Progress;
use crate::cli::report::RunJson;
use crate::cli::signals::Signals;
use crate::cli::text::printable;
use crate::clock::Clock;
use crate::event::Listener;

use super::protocol::{ANSWER_MAX, Answer, Ask, DaemonView, Request, RunRequest, VERSION, read_line, write_line};
use super::{socket_path, within};

/// How long a command that only looks waits for the daemon.
const LOOK: Duration = Duration::from_secs(5);
/// How long a request may wait to be taken: by a daemon that hangs it never is.
const ACCEPT: Duration = Duration::from_secs(60);

/// A connection to the daemon that holds a state.
pub(crate) struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Client {
    /// `None` if no daemon listens there: there is none, or it is about to begin or to end.
    ///
    /// # Errors
    /// Where one listens that may not be reached.
    pub async fn connect(state_path: &Path) -> Result<Option<Client>, Failure> {
        let path = socket_path(state_path);
        match UnixStream::connect(&path).await {
            Ok(stream) => {
                let (reader, writer) = stream.into_split();
                Ok(Some(Client { reader: BufReader::new(reader), writer }))
            }
            // InvalidInput: the path is too long for a socket, so nobody listens there.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::InvalidInput) =>
            {
                Ok(None)
            }
            Err(error) => Err(Failure::new(Exit::TryLater, format!("reach the daemon at `{}`: {error}", path.display()))
                .help("it listens to its own user and to root")),
        }
    }

    async fn ask(&mut self, ask: Ask) -> Result<(), Failure> {
        let sent = write_line(&mut self.writer, &Request { version: VERSION, ask }).await;
        sent.map_err(|error| Failure::new(Exit::TryLater, format!("ask the daemon: {error}")))
    }

    async fn answer(&mut self) -> Result<Answer, Failure> {
        match read_line(&mut self.reader, ANSWER_MAX).await {
            Ok(Some(Answer::Refused { exit, message, help })) => Err(Failure { exit, message, help }),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Failure::new(Exit::TryLater, "the daemon ended before it told how the run went")
                .help("`highwater runs` shows what became of it; what was cut off is settled by the next run")),
            Err(error) => Err(Failure::new(Exit::TryLater, format!("read the daemon's answer: {error}"))
                .help("is the daemon of another version? restart it")),
        }
    }

    /// Has the daemon run jobs, with the progress of a run here. An interrupt leaves the daemon to its work.
    pub async fn run(mut self, context: &Context, request: RunRequest) -> Result<Vec<RunJson>, Failure> {
        let progress = Progress::new(context.screen.clone(), Arc::clone(&context.clock), request.jobs.iter());
        let mut signals = Signals::listen()?;
        self.ask(Ask::Run(Box::new(request))).await?;
        let mut accepted = false;
        loop {
            let answer = tokio::select! {
                answer = self.answer() => answer?,
                _ = signals.next() => return Err(left()),
                () = context.clock.sleep(ACCEPT), if !accepted => {
                    return Err(Failure::new(Exit::TryLater, format!("the daemon did not take the run in {ACCEPT:?}")));
                }
            };
            accepted = true;
            match answer {
                Answer::Accepted { pid } => tell(context, &format!("handed over to the daemon (pid {pid})")),
                Answer::Note { text } => tell(context, &text),
                Answer::Event(event) if !context.terminal.json => progress.hear(&event),
                Answer::Event(_) => {}
                Answer::Ended { runs } => return Ok(runs),
                Answer::View(_) | Answer::Refused { .. } => return Err(unexpected()),
            }
        }
    }

    /// How the daemon is.
    pub async fn view(mut self, clock: &dyn Clock) -> Result<DaemonView, Failure> {
        let answer = within(clock, LOOK, async {
            self.ask(Ask::View {}).await?;
            self.answer().await
        });
        match answer.await {
            Some(Ok(Answer::View(view))) => Ok(view),
            Some(Ok(_)) => Err(unexpected()),
            Some(Err(failure)) => Err(failure),
            None => Err(Failure::new(Exit::TryLater, format!("the daemon did not answer in {LOOK:?}"))),
        }
    }
}

fn left() -> Failure {
    Failure::new(Exit::TryLater, "left: the daemon goes on with the run").help("`highwater status` shows how it goes")
}

fn unexpected() -> Failure {
    Failure::new(Exit::TryLater, "the daemon answered what was not asked").help("is it of another version? restart it")
}

fn tell(context: &Context, text: &str) {
    if !context.terminal.json {
        context.screen.say(&printable(text));
    }
}
