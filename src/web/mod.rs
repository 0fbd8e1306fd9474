//! What the daemon shows over HTTP: health, readiness, metrics, status.
//!
//! `/healthz` and `/readyz` answer everybody and say no more than yes or no. `/metrics` and `/api/status` want the token where one
//! is configured; without one the listener stands on the loopback interface, which `config` sees to. Only GET, only known hosts.
//! Reads, never changes: deliberately absent are commands, sessions, cookies, CORS, TLS and pages for people.

mod connections;
mod guard;
mod pages;
mod readiness;

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::config::secret::SecretSource;
use crate::config::service::WebSettings;
use crate::error::ErrorKind;
use crate::state::State;
use crate::stop::Stop;
use crate::telemetry::metrics::{Gauges, Metrics};

use guard::Guard;
use readiness::Readiness;

/// The daemon as its pages see it; whoever runs it implements this.
#[async_trait]
pub trait Daemon: Send + Sync {
    /// Figures of the moment. Never waits.
    fn gauges(&self) -> Gauges;
    /// Whether the loop that starts runs answers. Whoever asks waits two seconds.
    async fn ping(&self) -> bool;
    /// What `highwater status --json` prints. The error is for the log.
    async fn status(&self) -> Result<serde_json::Value, String>;
}

/// What the pages are made from.
#[derive(Clone)]
pub struct WebPorts {
    pub daemon: Arc<dyn Daemon>,
    pub state: Arc<dyn State>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
}

/// The listener's pages and who may see them.
pub struct Web {
    ports: WebPorts,
    guard: Guard,
    readiness: Readiness,
}

/// Why nothing can be shown.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct WebError {
    pub kind: ErrorKind,
    pub message: String,
}

impl Web {
    /// Resolves the token.
    ///
    /// # Errors
    /// `Config` if the token cannot be had, or is too short to keep anybody out.
    pub fn new(settings: &WebSettings, secrets: &dyn SecretSource, ports: WebPorts) -> Result<Web, WebError> {
        let guard = Guard::new(settings, secrets).map_err(|message| WebError { kind: ErrorKind::Config, message })?;
        Ok(Web { ports, guard, readiness: Readiness::default() })
    }

    /// Answers until `stop` is asked for; then gives answers under way two seconds, and idle connections none. Dropping the future
    /// closes everything at once.
    pub async fn serve(self, listener: TcpListener, stop: Stop) {
        let clock = Arc::clone(&self.ports.clock);
        connections::serve(listener, pages::router(self), clock, stop).await;
    }
}

/// Takes the address. To be done before the daemon calls itself ready.
///
/// # Errors
/// `Conflict` if another process has it, `Config` if this machine has no such address or it may not be taken.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, WebError> {
    TcpListener::bind(listen).await.map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::AddrInUse => ErrorKind::Conflict,
            _ => ErrorKind::Config,
        };
        WebError { kind, message: format!("listen on `{listen}` (web.listen): {error}") }
    })
}
