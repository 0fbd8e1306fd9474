//! First pages of the parents that come next, asked for while one is worked on, in order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::error::ErrorKind;
use crate::page::{PagePosition, ParentAt, RawPage};
use crate::slice::Slice;
use crate::source::{FetchError, Source};

use super::list::Listed;
use super::{AHEAD_MAX, Children, below};

/// A page of children takes this much more than its bytes while it waits.
const PAGE_COST: u64 = 4;

type First = (usize, Result<RawPage, FetchError>);

/// First pages of the parents that come next.
#[derive(Default)]
pub(super) struct Ahead {
    /// Of which page of parents.
    page: Option<PagePosition>,
    asked: VecDeque<usize>,
    /// Tasks of their own: a request that waited for somebody to look after it would keep its place in the budget meanwhile, and
    /// the next page of this very stream might wait for that place.
    under_way: JoinSet<First>,
    done: HashMap<usize, Result<RawPage, FetchError>>,
    /// The largest page of children so far.
    largest: u64,
    /// How many were asked for ahead of the last one.
    most: usize,
}

impl Children {
    /// The first page of a parent's children, and those of the next few begun.
    pub(super) async fn first_page(&self, slice: &Slice, parent: &Arc<ParentAt>) -> Result<RawPage, FetchError> {
        let mut ahead = self.ahead.lock().await;
        if ahead.page.as_ref() != Some(&parent.page) {
            let (largest, most) = (ahead.largest, ahead.most);
            *ahead = Ahead { page: Some(parent.page.clone()), largest, most, ..Ahead::default() };
        }
        if !ahead.asked.contains(&parent.nth) {
            ahead.done.clear();
            ahead.under_way = JoinSet::new();
            ahead.asked.clear();
        }
        let most = match ahead.largest {
            // Until something is known of their size, one after the other.
            0 => 1,
            largest => usize::try_from(self.memory / (largest * PAGE_COST).max(1)).unwrap_or(AHEAD_MAX).clamp(1, self.at_once),
        };
        // One page says little of the next: the number grows as pages are seen.
        let most = most.min(2 * ahead.most.max(1));
        ahead.most = most;
        if let Some(parents) = self.here().filter(|page| page.at == parent.page) {
            let begin = ahead.asked.back().map_or(parent.nth, |last| last + 1);
            for nth in begin..parents.records.len().min(parent.nth.saturating_add(most)) {
                let Some(Listed { json, id }) = parents.records.get(nth).cloned() else { break };
                let next = ParentAt { page: parents.at.clone(), nth, record: Some(json), identity: id };
                let slice = self.own_slice(slice, &next)?.0;
                ahead.ask(&self.children, slice, next);
            }
        }
        if ahead.asked.is_empty() {
            return self.children.fetch(&self.own_slice(slice, parent)?.0, &below(parent), 1).await;
        }
        loop {
            if let Some(page) = ahead.done.remove(&parent.nth) {
                ahead.asked.retain(|nth| *nth > parent.nth);
                if let Ok(page) = &page {
                    ahead.largest = ahead.largest.max(page.body.len() as u64).max(1);
                }
                return page;
            }
            match ahead.under_way.join_next().await {
                Some(Ok((nth, page))) => drop(ahead.done.insert(nth, page)),
                Some(Err(error)) => return Err(FetchError::new(ErrorKind::Bug, format!("a request ahead: {error}"))),
                None => return self.children.fetch(&self.own_slice(slice, parent)?.0, &below(parent), 1).await,
            }
        }
    }
}

impl Ahead {
    fn ask(&mut self, children: &Arc<dyn Source>, slice: Slice, parent: ParentAt) {
        let nth = parent.nth;
        let at = below(&Arc::new(parent));
        let children = Arc::clone(children);
        self.asked.push_back(nth);
        self.under_way.spawn(async move { (nth, children.fetch(&slice, &at, 1).await) });
    }
}
