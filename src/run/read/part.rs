//! A slice in parts: where its source keeps an order, what was read of it is committed on the way, and the rest goes on behind it.

use crate::cursor::CursorKey;
use crate::error::ErrorKind;
use crate::page::{PagePosition, RawPage};
use crate::slice::{Reach, Slice, Span};
use crate::source::Cap;

use super::super::RunError;
use super::super::order::{Behind, More, Progress, Rest};
use super::super::refine::Refined;
use super::super::whole::explain;
use super::Reading;

impl Reading<'_> {
    /// What is asked for after a page: the place that it leads to, or nothing where the order says that there is nothing left to come.
    pub(super) fn follow(
        &mut self,
        page: &RawPage,
        refined: &Refined,
        next: Option<PagePosition>,
    ) -> Result<Option<PagePosition>, RunError> {
        // A slice may have a million pages: where no order is kept, nobody asks for their ends.
        if self.progress.is_some() {
            self.page_ends.push(refined.order.as_ref().map(|order| order.greatest.clone()));
        }
        let next = match &mut self.overlap {
            Some(overlap) => {
                let moved =
                    |why: String| RunError::new(ErrorKind::Unavailable, format!("page {}: {why}", page.position.index + 1));
                overlap.follow(page, &refined.raw, next).map_err(moved)?
            }
            None => next,
        };
        let Some(progress) = &mut self.progress else { return Ok(next) };
        let steps_back = next.as_ref().is_some_and(|next| next.records_before < page.position.records_before);
        if steps_back {
            progress.step_back();
            return Ok(next);
        }
        if refined.order.as_ref().is_some_and(|order| !progress.take(order)) {
            tracing::warn!(job.id = %self.job.name, "the source does not keep the order that the cursor's `order` promises: the slice is read as if in none");
            self.progress = None;
            return Ok(next);
        }
        Ok(next.filter(|_| !progress.is_over(&self.reach)))
    }

    /// Has what comes behind a first page asked for. Not where that may be otherwise than the source counts, or this page the last one,
    /// for its records say so: these are looked at first.
    pub(super) async fn read_on(&self, first: RawPage) -> RawPage {
        match (&self.progress, &self.overlap) {
            (None, None) => self.ports.source.read_on(&self.asked, first).await,
            _ => first,
        }
    }

    /// Whether the API gives no more of what was asked for, so that something may be missing. That it says so beforehand is no matter
    /// where an order lets reading begin again behind what came.
    pub(super) fn is_too_much(&self, cap: Cap) -> bool {
        match cap {
            Cap::Within => false,
            Cap::Announced => !self.progress.as_ref().is_some_and(Progress::rises),
            Cap::Reached => true,
        }
    }

    /// The API's cap is reached: reading begins again behind what came, where an order tells what that is, else in halves.
    pub(super) async fn end_at_cap(&mut self, last: Refined) -> Result<(), RunError> {
        match self.progress.as_ref().and_then(|progress| progress.part(&self.reach)) {
            Some(part) => {
                self.stage_page(last).await?;
                self.end_at(part, Behind::Anew).await
            }
            None => {
                self.more = Some(More::Split(self.reach.clone()));
                Ok(())
            }
        }
    }

    /// Takes up a sequence behind a commit; the position is that of its next page.
    pub(super) async fn go_on(&mut self, rest: Rest) -> Result<PagePosition, RunError> {
        let replays = rest.pages.iter().map(|page| page.position.clone()).collect();
        self.desk.refinery()?.go_on(rest.lowest.clone(), replays, rest.recent);
        (self.asked, self.lowest, self.cut_short, self.overlap) = (rest.asked, Some(rest.lowest), rest.cut_short, rest.overlap);
        self.progress = Some(rest.progress);
        for page in rest.pages {
            let refined = self.desk.refine(&page).await?.map_err(explain)?;
            self.page_ends.push(refined.order.as_ref().map(|order| order.greatest.clone()));
            self.spool.keep(&page).await?;
            self.stage_page(refined).await?;
        }
        Ok(rest.next)
    }

    /// A page cannot be had. What the order lets be whole need not be read again because of it.
    pub(super) async fn end_by(&mut self, error: RunError) -> Result<(), RunError> {
        let progress = self.progress.as_ref().filter(|_| error.kind != ErrorKind::Cancelled);
        match progress.and_then(|progress| progress.part(&self.reach)) {
            Some(part) => self.end_at(part, Behind::Error(error)).await,
            None => Err(error),
        }
    }

    /// Ends the reading with a part of the slice; what comes behind it is kept for whoever goes on.
    pub(super) async fn end_at(&mut self, part: Reach, behind: Behind) -> Result<(), RunError> {
        let partition = self.slice.partition.clone();
        let whole = std::mem::replace(&mut self.reach, part);
        let left = match (&self.reach, &whole) {
            (Reach::Time(part), Reach::Time(whole)) => Reach::Time(Span::new(Some(part.to), whole.to)),
            _ => Reach::Mark(self.desk.refinery()?.cursor_mark().map_err(explain)?),
        };
        let slice = Slice { partition, reach: left };
        self.more = Some(match behind {
            Behind::Error(error) => More::Failed(slice.clone(), error),
            Behind::Anew => More::Anew(slice.clone()),
            Behind::Page(next) => match (self.pages_behind(&slice.reach).await?, self.progress.take()) {
                (Some(pages), Some(progress)) => More::Rest(Box::new(Rest {
                    slice: slice.clone(),
                    asked: self.asked.clone(),
                    pages,
                    next,
                    progress: progress.go_on(),
                    overlap: self.overlap.take(),
                    recent: None,
                    lowest: self.lowest.clone().unwrap_or(whole),
                    cut_short: self.cut_short,
                })),
                _ => More::Anew(slice.clone()),
            },
        });
        if let Reach::Time(_) = &self.reach {
            self.desk.refinery()?.set_reach(self.reach.clone());
            return self.encode_anew().await;
        }
        if self.waits { self.encode_anew().await } else { Ok(()) }
    }

    /// The pages so far that hold something behind the part that was read whole; `None` where they are too much to keep.
    async fn pages_behind(&mut self, left: &Reach) -> Result<Option<Vec<RawPage>>, RunError> {
        let Reach::Time(Span { from: Some(from), .. }) = left else { return Ok(Some(Vec::new())) };
        let from = CursorKey::Number(i128::from(from.as_microsecond()));
        let (mut pages, mut bytes) = (Vec::new(), 0);
        for index in 0..self.page_ends.len() {
            if self.page_ends[index].as_ref().is_none_or(|end| *end < from) {
                continue;
            }
            let page = self.spool.page(index).await?;
            bytes += page.body.len() as u64;
            if bytes > self.ports.memory / 8 {
                return Ok(None);
            }
            pages.push(page);
        }
        Ok(Some(pages))
    }
}
