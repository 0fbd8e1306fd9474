//! A page that is whole: one document, and no error in disguise. What is not is asked for again.

use std::sync::Arc;

use crate::config::catalog::Job;
use crate::error::{ErrorKind, chain};
use crate::page::{Aside, Envelope, PagePosition, RawPage};
use crate::slice::Slice;
use crate::source::{Judgement, Source};

use super::RunError;
use super::refine::{RefineError, Refined, Refinery};
use super::stage::{is_light, work_on_page};

/// How often a page whose body is cut off, or an error in disguise, is asked for.
const PAGE_ATTEMPTS: u32 = 4;

/// A slice's refinery, which goes off the async threads with each page.
pub(super) struct Desk(Option<Refinery>);

impl Desk {
    pub(super) fn new(refinery: Refinery) -> Self {
        Desk(Some(refinery))
    }

    /// The refinery while no page is on it.
    pub(super) fn refinery(&mut self) -> Result<&mut Refinery, RunError> {
        self.0.as_mut().ok_or_else(lost)
    }

    /// This desk, for as long as another is in its place that can do nothing.
    pub(super) fn lend(&mut self) -> Desk {
        Desk(self.0.take())
    }

    pub(super) async fn refine(&mut self, page: &RawPage) -> Result<Result<Refined, RefineError>, RunError> {
        let mut refinery = self.0.take().ok_or_else(lost)?;
        let page = page.clone();
        // What steps come to, nobody knows.
        let is_light = is_light(&page) && !refinery.has_steps();
        let work = move || {
            let refined = refinery.refine(&page);
            (refinery, refined)
        };
        let (refinery, refined) = work_on_page(is_light, false, work).await?;
        self.0 = Some(refinery);
        Ok(refined)
    }

    /// The page and what it came to. `first` is what was fetched for it.
    pub(super) async fn whole(
        &mut self,
        job: &Job,
        source: &dyn Source,
        slice: &Slice,
        first: RawPage,
    ) -> Result<(RawPage, Refined), RunError> {
        let mut page = first;
        for attempt in 1..=PAGE_ATTEMPTS {
            let mut refined = self.refine(&page).await?;
            if let Ok(found) = &refined
                && source.is_overtaken(&page.position, &found.envelope, &page.headers)
            {
                self.refinery()?.take_back();
                page = fetch(source, slice, &page.position.clone(), 1).await?;
                refined = self.refine(&page).await?;
            }
            let what = |reason: &str| format!("page {} of `{}`: {reason}", page.position.index + 1, page.address);
            let reason = match (judge(source, &refined), refined) {
                (Judgement::Records, Ok(refined)) => return Ok((page, refined)),
                (Judgement::Records, Err(RefineError::Page(error))) => source.clean(error.to_string(), &page.body),
                (Judgement::Records, Err(error)) => {
                    let RunError { kind, message } = explain(error);
                    return Err(RunError::new(kind, source.clean(message, &page.body)));
                }
                (Judgement::Nothing, _) => {
                    self.refinery()?.take_back();
                    let nothing = page.into_nothing();
                    let refined = self.refine(&nothing).await?.map_err(explain)?;
                    return Ok((nothing, refined));
                }
                (Judgement::Aside(reason), _) => {
                    self.refinery()?.take_back();
                    let (request, status) = (page.address.clone(), page.status);
                    tracing::warn!(job.id = %job.name, "{}", what(&reason));
                    let aside = Aside { reason, request, status, body: String::new() };
                    let aside = RawPage { aside: Some(Arc::new(aside)), ..page.into_nothing() };
                    let refined = self.refine(&aside).await?.map_err(explain)?;
                    return Ok((aside, refined));
                }
                (Judgement::Refused(kind, message), _) => return Err(RunError::new(kind, what(&message))),
                (Judgement::ErrorInDisguise(message), _) => {
                    // Its records were none: they must not be taken for those of the page that comes instead.
                    self.refinery()?.take_back();
                    message
                }
            };
            let what = what(&reason);
            if attempt == PAGE_ATTEMPTS {
                return Err(RunError::new(ErrorKind::Unavailable, format!("{what}; asked for {PAGE_ATTEMPTS} times")));
            }
            tracing::warn!(job.id = %job.name, attempt, "{what}");
            // The source waits before it asks again for a page that it has delivered once.
            page = fetch(source, slice, &page.position.clone(), attempt + 1).await?;
        }
        Err(RunError::new(ErrorKind::Bug, "a page was asked for no times"))
    }
}

/// What the page says of itself, even where its records are not to be found.
fn judge(source: &dyn Source, refined: &Result<Refined, RefineError>) -> Judgement {
    let envelope: Option<&Envelope> = match refined {
        Ok(refined) => Some(&refined.envelope),
        Err(RefineError::Page(error)) => error.envelope.as_deref(),
        Err(RefineError::Slice { .. }) => None,
    };
    envelope.map_or(Judgement::Records, |envelope| source.judge(envelope))
}

pub(super) async fn fetch(source: &dyn Source, slice: &Slice, at: &PagePosition, attempt: u32) -> Result<RawPage, RunError> {
    source.fetch(slice, at, attempt).await.map_err(|error| RunError::new(error.kind, chain(&error)))
}

pub(super) fn explain(error: RefineError) -> RunError {
    match error {
        RefineError::Page(error) => RunError::new(error.kind, error.to_string()),
        RefineError::Slice { kind, message } => RunError::new(kind, message),
    }
}

fn lost() -> RunError {
    RunError::new(ErrorKind::Bug, "the refinery is lost")
}
