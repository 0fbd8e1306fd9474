//! Tells operators what is wrong, once: not per run, and not again after a restart.
//!
//! Events and the age of tables raise and clear *conditions* (`book`, pure); the state remembers them, and what each channel was told.
//! `courier` takes them in and sends what is due (`message`, `webhook`): one message at a time a channel, several conditions in one,
//! again and again with growing pauses until it is taken or the condition has passed. No run ever waits for any of it.
//!
//! Deliberately absent: escalation, silence and routes beyond `on`: those who receive do that better.

mod book;
mod channel;
mod courier;
mod message;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::config::catalog::Job;
use crate::error::ErrorKind;
use crate::event::{Event, Listener};
use crate::freshness::Watched;
use crate::ids::JobName;
use crate::state::{State, StateError};
use crate::telemetry::metrics::Metrics;

pub use channel::{Channel, open};
pub use courier::Courier;

/// Events that wait to be taken in; more are dropped, and the next run of the job tells again.
const WAITING_MAX: usize = 1_024;

/// What alerts work with.
pub struct AlertPorts {
    pub state: Arc<dyn State>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// Who speaks, such as the machine's name: stands at the front of every message.
    pub speaker: String,
}

/// What there is to look at and whom to tell, at start and after each reload.
#[derive(Clone, Default)]
pub struct Setup {
    /// From [`open`].
    pub channels: Vec<Channel>,
    /// The enabled jobs, from [`watched`].
    pub jobs: Vec<Watched>,
    /// Jobs that cannot run until a file is changed, with the reason.
    pub parked: BTreeMap<JobName, String>,
}

/// The ear of the alerts. Hearing never waits.
pub struct Alerts {
    heard: mpsc::Sender<Event>,
    setup: watch::Sender<Option<Setup>>,
}

/// Why nobody can be told.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct AlertError {
    pub kind: ErrorKind,
    /// Never an address: whoever knows it may write there.
    pub message: String,
}

impl Alerts {
    /// The ear, and the courier that does the work once it is driven.
    pub fn new(ports: AlertPorts) -> (Arc<Alerts>, Courier) {
        let (heard, events) = mpsc::channel(WAITING_MAX);
        let (setup, setups) = watch::channel(None);
        (Arc::new(Alerts { heard, setup }), Courier::new(ports, events, setups))
    }

    /// Sets what there is to look at and whom to tell. Jobs that are in neither list are forgotten with what was wrong with them.
    pub fn set(&self, setup: Setup) {
        self.setup.send_replace(Some(setup));
    }
}

impl Listener for Alerts {
    fn hear(&self, event: &Event) {
        let matters = matches!(event, Event::SchemaChanged { .. } | Event::RunFinished { .. } | Event::JobEnded { .. });
        if matters && self.heard.try_send(event.clone()).is_err() {
            tracing::warn!(job.id = %event.job(), "an event of {} was not taken in for alerts: too many wait", event.job());
        }
    }
}

/// What the state knows of the age of these jobs' tables: for [`Setup`] and for `Metrics::set_jobs`.
///
/// # Errors
/// As the state's.
pub async fn watched(
    state: &dyn State,
    clock: &dyn Clock,
    jobs: impl IntoIterator<Item = &Job>,
) -> Result<Vec<Watched>, StateError> {
    let known: BTreeMap<_, _> = state.datasets().await?.into_iter().collect();
    let now = clock.now();
    let jobs: Vec<&Job> = jobs.into_iter().collect();
    let names: Vec<JobName> = jobs.iter().map(|job| job.name.clone()).collect();
    let done = state.last_done(&names).await?;
    let watch = |job: &Job| Watched::new(job, known.get(&job.dataset), done.get(&job.name).copied(), now);
    Ok(jobs.into_iter().map(watch).collect())
}
