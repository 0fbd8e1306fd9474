//! What the outside asks of a process that works: to stop, and (the daemon alone) to read its files anew.

use super::exit::Exit;
use super::failure::Failure;

/// A request from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// An interrupt or a termination.
    Stop,
    /// A hang-up, where it was listened for.
    Reload,
}

#[cfg(unix)]
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    /// Listens for interrupts and terminations; a hang-up ends the process as ever.
    pub fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt()).map_err(|error| failed(&error))?,
            terminate: signal(SignalKind::terminate()).map_err(|error| failed(&error))?,
            hang_up: None,
        })
    }

    /// Listens for hang-ups besides.
    pub fn listen_as_daemon() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut signals = Signals::listen()?;
        signals.hang_up = Some(signal(SignalKind::hangup()).map_err(|error| failed(&error))?);
        Ok(signals)
    }

    /// The next one. Safe to drop: a signal that came meanwhile is not lost, though several may count as one.
    pub async fn next(&mut self) -> Signal {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.terminate.recv() => Signal::Stop,
            _ = hang_up => Signal::Reload,
        }
    }
}

#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub fn listen() -> Result<Self, Failure> {
        Ok(Signals)
    }

    pub async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Stop
    }
}

#[cfg(unix)]
fn failed(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("listen for signals: {error}"))
}
