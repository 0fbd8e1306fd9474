//! How the daemon is seen from outside: alerts, figures, pages. All of it is told of the same jobs.

use std::sync::Arc;

use tokio::net::TcpListener;

use crate::alert::{self, AlertPorts, Alerts, Courier};
use crate::cli::failure::Failure;
use crate::clock::Clock;
use crate::config::catalog::Settings;
use crate::config::secret::SecretSource;
use crate::state::State;
use crate::telemetry::Throttle;
use crate::telemetry::metrics::Metrics;
use crate::web::{self, Web, WebPorts};

use super::files::Reading;
use super::service::Service;

pub(super) struct Outlook {
    pub metrics: Arc<Metrics>,
    pub alerts: Arc<Alerts>,
    state: Arc<dyn State>,
    clock: Arc<dyn Clock>,
    secrets: Arc<dyn SecretSource>,
}

impl Outlook {
    /// With the courier that has to be driven for alerts to be told.
    pub fn new(
        state: &Arc<dyn State>,
        clock: &Arc<dyn Clock>,
        secrets: Arc<dyn SecretSource>,
        throttle: &Arc<Throttle>,
    ) -> (Outlook, Courier) {
        let metrics = Arc::new(Metrics::new(Arc::clone(clock)).with_log(Arc::clone(throttle)));
        let ports =
            AlertPorts { state: Arc::clone(state), clock: Arc::clone(clock), metrics: Arc::clone(&metrics), speaker: speaker() };
        let (alerts, courier) = Alerts::new(ports);
        let (state, clock) = (Arc::clone(state), Arc::clone(clock));
        (Outlook { metrics, alerts, state, clock, secrets }, courier)
    }

    /// Looks at these jobs from now on, and tells these channels.
    ///
    /// # Errors
    /// Where a channel's address cannot be had, or the state does not answer: then all stays as it was.
    pub async fn look_at(&self, reading: &Reading) -> Result<(), Failure> {
        let channels = alert::open(&reading.catalog.settings.alerts, &*self.secrets);
        let channels = channels.map_err(|error| Failure::of(error.kind, error.to_string()))?;
        let jobs = reading.catalog.jobs.values().filter(|job| job.enabled);
        let watched = alert::watched(&*self.state, &*self.clock, jobs).await;
        let watched = watched.map_err(|error| Failure::of(error.kind, error.to_string()))?;
        self.metrics.set_jobs(watched.clone());
        self.alerts.set(alert::Setup { channels, jobs: watched, parked: reading.parked.clone() });
        Ok(())
    }
}

/// The machine's name stands at the front of every alert.
fn speaker() -> String {
    let name = rustix::system::uname();
    format!("highwater on {}", name.nodename().to_string_lossy())
}

/// The pages and the address they are seen at, bound; `None` where none is wanted.
pub(super) async fn open_web(
    settings: &Settings,
    secrets: &dyn SecretSource,
    service: &Arc<Service>,
    metrics: &Arc<Metrics>,
) -> Result<Option<(Web, TcpListener)>, Failure> {
    let Some(settings) = &settings.web else { return Ok(None) };
    let ports = WebPorts {
        daemon: Arc::clone(service) as Arc<dyn web::Daemon>,
        state: Arc::clone(&service.state),
        metrics: Arc::clone(metrics),
        clock: Arc::clone(&service.clock),
    };
    let failed = |error: web::WebError| Failure::of(error.kind, error.to_string());
    let web = Web::new(settings, secrets, ports).map_err(failed)?;
    Ok(Some((web, web::bind(settings.listen).await.map_err(failed)?)))
}
