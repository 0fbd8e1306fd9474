//! Sources that are asked outside of a run: for the first pages of slices, on behalf of whoever looks at the screen.

use std::sync::Arc;
use std::time::Duration;

use crate::config::catalog::Job;
use crate::error::{ErrorKind, chain};
use crate::event::Events;
use crate::quota::{Budgets, Class};
use crate::run::{self, Probed, RunError};
use crate::slice::Slice;
use crate::source::FetchError;
use crate::source::http::recording::Wire;
use crate::source::http::{HttpSource, Shared, Tokens};
use crate::stop::Stop;

use super::Context;
use super::project::Project;

/// The first page of each slice, as a run would ask for it, behind all runs. `patience` is the longest wait for the quota; none is a run's.
pub(super) async fn first_pages(
    context: &Context,
    project: &Project,
    job: &Job,
    slices: &[Slice],
    patience: Option<Duration>,
) -> Result<Vec<Probed>, (ErrorKind, String)> {
    let budgets = Budgets::new(Arc::clone(&context.clock));
    let budgets = match patience {
        Some(patience) => budgets.patient_for(patience),
        None => budgets,
    };
    let vault = project.vault(job).await.map_err(|failure| (ErrorKind::Config, failure.message))?;
    let tokens = Tokens::new(Arc::clone(&context.clock), vault);
    let (shared, stop) = (Shared { budgets: &budgets, tokens: &tokens, wire: &Wire::Network }, Stop::new());
    let source = HttpSource::open(job, &*project.secrets, shared, Arc::clone(&context.clock), Events::default(), stop.clone());
    let source = source.map_err(|error: FetchError| (error.kind, chain(&error)))?.at_most(Class::Preview);
    let probed = run::probe(job, slices, &source, &*context.clock, &stop).await;
    tokens.close().await;
    probed.map_err(|error: RunError| (error.kind, chain(&error)))
}
