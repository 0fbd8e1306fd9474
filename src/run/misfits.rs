//! Records that do not fit. Some are for the dead letters; a slice of nothing else is a definition that is wrong, or an API that has
//! changed, and nobody would look for its records where they went.

use crate::batch::Counts;
use crate::config::catalog::Job;
use crate::reject::{Reject, RejectedAt};

/// Fewer may all be misfits by chance.
const RECORDS_MIN: u64 = 10;

/// Those of one slice.
#[derive(Default)]
pub(super) struct Misfits {
    /// The first: its field, and why it does not fit.
    first: Option<String>,
    /// A page was put aside whole, as a rule of the source's says.
    has_pages: bool,
}

impl Misfits {
    pub(super) fn note(&mut self, rejects: &[Reject]) {
        self.has_pages |= rejects.iter().any(|reject| reject.at == RejectedAt::Page);
        if let (None, Some(reject)) = (&self.first, rejects.first()) {
            self.first = Some(match reject.field.as_str() {
                "" => reject.reason.clone(),
                field => format!("`{field}`: {}", reject.reason),
            });
        }
    }

    pub(super) fn first(self) -> Option<String> {
        self.first
    }

    /// Why the slice does not count, where not one of its records fits.
    pub(super) fn refuse(&self, counts: &Counts, job: &Job) -> Option<String> {
        let is_all =
            counts.rejected >= RECORDS_MIN && counts.rejected + counts.out_of_window == counts.fetched && !self.has_pages;
        let first = self.first.as_ref().filter(|_| is_all)?;
        Some(format!(
            "none of the slice's {} records fits, the first because of {first}: nothing of it was loaded, and the next run reads it \
             again; correct the source or the job (`highwater preview {job}` shows what does not fit), or run `highwater run {job} \
             --force`, which puts them into the dead letters",
            counts.rejected,
            job = job.name,
        ))
    }
}
