//! The exports of one job that are under way, kept in the vault: their names are of no use to anybody else, and may be addresses that
//! let in whoever has them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::config::secret::{ExposeSecret, SecretString};
use crate::error::ErrorKind;
use crate::slice::Slice;
use crate::source::FetchError;
use crate::vault::{TEXT_MAX, TokenVault};

/// Raised when an older program would misread an entry.
const FORMAT: u32 = 1;
/// Exports that are remembered of one job; of more, the oldest are forgotten.
const NOTES_MAX: usize = 32;
/// No API keeps what it wrote for longer.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How often a writing that another process overtook is begun anew.
const WRITES_MAX: u32 = 5;

/// An export that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Note {
    /// What was asked for: the request and the slice, told apart and not told.
    pub(super) asked: String,
    /// Where it is a stretch of time: which one, for the next run would choose another end.
    pub(super) slice: Option<Slice>,
    pub(super) id: String,
    /// What links are relative to.
    pub(super) from: String,
    pub(super) at: Timestamp,
    pub(super) source_now: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    under_way: Vec<Note>,
}

/// Where one job's notes stand.
pub(super) struct Notes {
    key: String,
    vault: Arc<dyn TokenVault>,
    clock: Arc<dyn Clock>,
}

impl Notes {
    pub(super) fn new(key: String, vault: Arc<dyn TokenVault>, clock: Arc<dyn Clock>) -> Self {
        Notes { key, vault, clock }
    }

    pub(super) async fn find(&self, asked: &str) -> Result<Option<Note>, FetchError> {
        Ok(self.all().await?.into_iter().find(|note| note.asked == asked))
    }

    /// The newest last.
    pub(super) async fn all(&self) -> Result<Vec<Note>, FetchError> {
        self.read().await.map(|(notes, _)| notes)
    }

    /// Writes a note, durably, in place of an older one of the same.
    pub(super) async fn keep(&self, note: &Note) -> Result<(), FetchError> {
        self.change(&note.asked, Some(note)).await
    }

    pub(super) async fn drop(&self, asked: &str) -> Result<(), FetchError> {
        self.change(asked, None).await
    }

    async fn change(&self, asked: &str, new: Option<&Note>) -> Result<(), FetchError> {
        for _ in 0..WRITES_MAX {
            let (mut notes, version) = self.read().await?;
            let before = notes.len();
            notes.retain(|note| note.asked != asked);
            if new.is_none() && notes.len() == before {
                return Ok(());
            }
            notes.extend(new.cloned());
            let text = self.text(notes)?;
            let written = self.vault.put_tokens(&self.key, version, &text, self.clock.now()).await;
            if written.map_err(|error| failed(error.kind, &error.message))? {
                return Ok(());
            }
        }
        Err(failed(ErrorKind::Conflict, "another process writes it all the time"))
    }

    fn text(&self, mut notes: Vec<Note>) -> Result<SecretString, FetchError> {
        let oldest = self.clock.now().checked_sub(AGE_MAX).unwrap_or(Timestamp::MIN);
        notes.retain(|note| note.at >= oldest);
        let surplus = notes.len().saturating_sub(NOTES_MAX);
        notes.drain(..surplus);
        let mut kept = Kept { format: FORMAT, under_way: notes };
        loop {
            let text = serde_json::to_string(&kept).map_err(|error| failed(ErrorKind::Bug, &error.to_string()))?;
            if text.len() <= TEXT_MAX || kept.under_way.len() <= 1 {
                return Ok(SecretString::from(text));
            }
            kept.under_way.remove(0);
        }
    }

    async fn read(&self) -> Result<(Vec<Note>, u64), FetchError> {
        let found = self.vault.tokens(&self.key).await.map_err(|error| failed(error.kind, &error.message))?;
        let Some(found) = found else { return Ok((Vec::new(), 0)) };
        match serde_json::from_str::<Kept>(found.text.expose_secret()) {
            Ok(kept) if kept.format == FORMAT => Ok((kept.under_way, found.version)),
            Ok(kept) => {
                Err(failed(ErrorKind::Config, &format!("their format is `{}`, this version reads {FORMAT}", kept.format)))
            }
            Err(_) => {
                // A note less costs an export; a job that cannot run costs more. What serde says would quote the text.
                tracing::warn!("the notes of exports under way are damaged, and begun anew");
                Ok((Vec::new(), found.version))
            }
        }
    }
}

fn failed(kind: ErrorKind, why: &str) -> FetchError {
    FetchError::new(kind, format!("the name of an export cannot be kept: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::test_clock::TestClock;
    use crate::source::http::tests::fixture::Drawer;

    fn note(asked: &str, id: &str) -> Note {
        let (at, from) = (TestClock::new().now(), "https://api.example/jobs".to_owned());
        Note { asked: asked.to_owned(), slice: None, id: id.to_owned(), from, at, source_now: None }
    }

    fn notes(drawer: &Arc<Drawer>) -> Notes {
        Notes::new("key".to_owned(), drawer.clone(), Arc::new(TestClock::new()))
    }

    #[tokio::test]
    async fn a_note_outlives_the_process_and_goes_alone() {
        let drawer = Arc::new(Drawer::default());
        notes(&drawer).keep(&note("a", "1")).await.unwrap();
        notes(&drawer).keep(&note("b", "2")).await.unwrap();
        notes(&drawer).keep(&note("a", "3")).await.unwrap();
        assert_eq!(notes(&drawer).find("a").await.unwrap(), Some(note("a", "3")));
        notes(&drawer).drop("a").await.unwrap();
        notes(&drawer).drop("c").await.unwrap();
        assert_eq!(notes(&drawer).all().await.unwrap(), [note("b", "2")]);
        assert_eq!(
            drawer.text(),
            format!(
                "key {{\"format\":1,\"under_way\":[{{\"asked\":\"b\",\"slice\":null,\"id\":\"2\",\"from\":\"https://api.example/jobs\",\"at\":\"{}\",\"source_now\":null}}]}}\n",
                note("b", "2").at
            )
        );
    }

    #[tokio::test]
    async fn many_and_long_ones_stay_within_an_entry() {
        let drawer = Arc::new(Drawer::default());
        for n in 0..NOTES_MAX + 8 {
            notes(&drawer).keep(&note(&n.to_string(), &"x".repeat(8 * 1024))).await.unwrap();
        }
        let kept = notes(&drawer).all().await.unwrap();
        assert!(drawer.text().len() < TEXT_MAX + 64 && !kept.is_empty());
        assert_eq!(kept.last().unwrap().asked, (NOTES_MAX + 7).to_string());
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_an_error() {
        let drawer = Arc::new(Drawer::default());
        *drawer.broken_from.lock().unwrap() = Some(0);
        let error = notes(&drawer).keep(&note("a", "1")).await.unwrap_err();
        assert_eq!(error.message, "the name of an export cannot be kept: no space left on the disk");
    }
}
