//! Whether a store does what the protocol rests on, found out by doing it. Some that speak S3's language ignore a condition in
//! silence: two writers would both be told that they decided, and rows would be lost or doubled without a word.
//!
//! Everything is written under `_highwater/probe/` and removed again; what a probe that was killed left there goes with a later
//! one. Deliberately absent: what no verb of ours shows, such as a bucket's lifecycle rules.

use bytes::Bytes;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::{Published, PutAbsent, Store, StoreError};
use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::fault::Guards;

/// No reader's glob matches what lies here, and no record names it.
const FOLDER: &str = "_highwater/probe";
/// What is older was left by a probe that did not come to its end.
const LEFT_OVER: SignedDuration = SignedDuration::from_hours(1);
/// Leftovers that one probe removes; the next takes the others.
const REMOVED_MAX: usize = 100;
/// A clock that is further off makes times in logs and listings hard to read together. Nothing is decided by it.
const SKEW_MAX: SignedDuration = SignedDuration::from_secs(5);
/// More than one part of an upload, so that a part is really sent before the end.
const LARGE: usize = 9 << 20;
const OBJECT_MAX: u64 = 1 << 20;
/// How often something is tried whose answer does not say what became of it.
const TRIES: usize = 3;
const RIVALS: usize = 4;

/// How a probe looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What the data rest on: a few small requests.
    Needed,
    /// Also what is only good to know, with an upload of some megabytes.
    Whole,
}

/// How one thing that was looked at is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// Works, but somebody should know.
    Odd,
    /// The store is not to be written to.
    Unfit,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `put_if_absent`, `rivals`, `copy`, `listing`, `clock`, `unfinished_upload`, `durable`.
    pub what: &'static str,
    pub verdict: Verdict,
    /// A sentence without a full stop.
    pub message: String,
}

impl Finding {
    fn new(what: &'static str, verdict: Verdict, message: impl Into<String>) -> Self {
        Finding { what, verdict, message: message.into() }
    }
}

/// What a user can do about a store that is unfit.
pub const WAY_OUT: &str = "write to S3, Google Cloud Storage, Azure Blob Storage, a current MinIO, or a folder on a local disk";

/// Looks at a store; the findings in the order in which they were made.
///
/// # Errors
/// Where the store could not be asked: unreachable, credentials refused, no such bucket. Nothing is known of it then.
pub async fn probe(store: &dyn Store, clock: &dyn Clock, depth: Depth) -> Result<Vec<Finding>, StoreError> {
    // Names of its own: two processes that probe at the same time do not meet.
    let probe = Probe { store, clock, base: format!("{FOLDER}/{}", clock.batch_id()) };
    let findings = probe.look(depth).await;
    // Whatever was found: what was written goes. A store that fails here keeps a few bytes until a later probe.
    for name in ["decided", "rivals", "staged", "copy", "large"] {
        drop(store.delete(&probe.path(name)).await);
    }
    findings
}

/// The same as a refusal: `Ok` where tables may be written to the store.
pub async fn require(store: &dyn Store, clock: &dyn Clock) -> Result<(), StoreError> {
    let findings = probe(store, clock, Depth::Needed).await?;
    for finding in &findings {
        match finding.verdict {
            Verdict::Good => {}
            Verdict::Odd => tracing::warn!(address = %store.address(""), "{}: {}", store.address(""), finding.message),
            Verdict::Unfit if !Guards::standing().store_probed => {}
            Verdict::Unfit => {
                let message = format!("{}: {WAY_OUT}", finding.message);
                return Err(StoreError { kind: ErrorKind::Config, verb: "probe", address: store.address(""), message });
            }
        }
    }
    Ok(())
}

struct Probe<'a> {
    store: &'a dyn Store,
    clock: &'a dyn Clock,
    base: String,
}

impl Probe<'_> {
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    async fn look(&self, depth: Depth) -> Result<Vec<Finding>, StoreError> {
        let mut findings = vec![self.put_if_absent().await?];
        if findings[0].verdict == Verdict::Unfit {
            return Ok(findings);
        }
        findings.extend(self.listing().await?);
        findings.push(self.copy().await?);
        if depth == Depth::Whole {
            // By chance alone does a race show itself: whoever asks for it hears of it, and no run fails by the way it fell out.
            findings.push(self.rivals().await?);
            findings.push(self.unfinished_upload().await?);
            findings.push(self.durable().await);
        }
        Ok(findings)
    }

    /// The first writer wins, the second is refused, and the bytes that stand there are the first one's.
    async fn put_if_absent(&self) -> Result<Finding, StoreError> {
        const WHAT: &str = "put_if_absent";
        let path = self.path("decided");
        let (first, second) = (Bytes::from_static(b"the first writer"), Bytes::from_static(b"the second writer"));
        let mut decided = None;
        let mut last = None;
        // A lost answer leaves open whether it was written: what stands there tells.
        for _ in 0..TRIES {
            last = self.store.put_absent(&path, first.clone()).await.err();
            decided = self.store.get(&path, OBJECT_MAX).await?;
            if decided.is_some() {
                break;
            }
        }
        if decided.as_ref() != Some(&first) {
            return match (last, decided) {
                // Nothing is known of the store, but that it could not be asked.
                (Some(error), None) => Err(error),
                (None, None) => Ok(Finding::new(WHAT, Verdict::Unfit, "the store does not show what was just written to it")),
                (_, Some(_)) => Ok(Finding::new(WHAT, Verdict::Unfit, "the store gives back other bytes than were written")),
            };
        }
        let answer = self.store.put_absent(&path, second).await;
        let found = self.store.get(&path, OBJECT_MAX).await?;
        let ignored = "the store ignores put-if-absent: a second writer replaced what the first had decided";
        Ok(match (answer, found) {
            (_, found) if found.as_ref() != Some(&first) => Finding::new(WHAT, Verdict::Unfit, ignored),
            (Ok(PutAbsent::Written), _) => {
                let message = "the store tells a second writer that it wrote, although the first one's bytes stay";
                Finding::new(WHAT, Verdict::Unfit, message)
            }
            (Ok(PutAbsent::Exists), _) => Finding::new(WHAT, Verdict::Good, "put-if-absent refuses a second writer"),
            // Not refused in so many words, but not written either; the protocol reads back after every error.
            (Err(error), _) if error.kind == ErrorKind::Unavailable => {
                Finding::new(WHAT, Verdict::Good, "a second writer does not get through")
            }
            (Err(error), _) => return Err(error),
        })
    }

    /// Whether a listing shows at once what was written, and by its time how the store's clock goes. Nothing rests on either.
    async fn listing(&self) -> Result<Vec<Finding>, StoreError> {
        let listed = self.store.list(FOLDER).await?;
        let now = self.clock.now();
        let path = self.path("decided");
        let Some(own) = listed.iter().find(|one| one.path == path) else {
            let message = "a listing does not show what was just written: readers that list see new files late";
            return Ok(vec![Finding::new("listing", Verdict::Odd, message)]);
        };
        let old = |modified: Timestamp| own.modified.duration_since(modified) > LEFT_OVER;
        let unfinished = self.store.unfinished(FOLDER).await.unwrap_or_default();
        for left in listed.iter().chain(&unfinished).filter(|one| old(one.modified)).take(REMOVED_MAX) {
            // At best: whatever stays is taken by a later probe.
            drop(self.store.delete(&left.path).await);
        }
        let listing = Finding::new("listing", Verdict::Good, "a listing shows at once what was written");
        Ok(vec![listing, judge_clock(own.modified, now)])
    }

    /// Of several writers at the same moment one decides, and its bytes stand there.
    async fn rivals(&self) -> Result<Finding, StoreError> {
        const WHAT: &str = "rivals";
        let path = self.path("rivals");
        let tries = (0..RIVALS).map(|n| {
            let path = &path;
            async move { (n, self.store.put_absent(path, rival(n)).await) }
        });
        let winners: Vec<usize> = join_all(tries)
            .await
            .into_iter()
            .filter_map(|(n, answer)| matches!(answer, Ok(PutAbsent::Written)).then_some(n))
            .collect();
        let found = self.store.get(&path, OBJECT_MAX).await?;
        Ok(match (winners.as_slice(), found) {
            ([], _) => Finding::new(WHAT, Verdict::Good, "of writers at the same moment none is told that it decided"),
            ([only], Some(found)) if found == rival(*only) => {
                Finding::new(WHAT, Verdict::Good, "of writers at the same moment one decides")
            }
            ([_], _) => {
                Finding::new(WHAT, Verdict::Unfit, "put-if-absent is not atomic: what stands there is not what its winner wrote")
            }
            (many, _) => {
                let message = format!("put-if-absent is not atomic: `{}` writers were told that they decided", many.len());
                Finding::new(WHAT, Verdict::Unfit, message)
            }
        })
    }

    /// What is staged comes whole to its name, and doing it again changes nothing.
    async fn copy(&self) -> Result<Finding, StoreError> {
        const WHAT: &str = "copy";
        let (staged, target) = (self.path("staged"), self.path("copy"));
        let rows = Bytes::from_static(b"rows that are staged and then published");
        let mut writer = self.store.stage(&staged).await?;
        writer.write(rows.clone()).await?;
        let size = writer.finish().await?;
        let unfit = |message: &str| Ok(Finding::new(WHAT, Verdict::Unfit, message));
        for _ in 0..2 {
            match self.store.publish(&staged, &target, size).await {
                Ok(Published::Done) => {}
                Ok(Published::StagedMissing) => return unfit("the store does not show what was just staged in it"),
                Err(error) if error.kind == ErrorKind::Data => return unfit("the store cuts what it copies"),
                Err(error) => return Err(error),
            }
        }
        match self.store.get(&target, OBJECT_MAX).await? {
            Some(found) if found == rows => Ok(Finding::new(WHAT, Verdict::Good, "what is staged is published whole")),
            _ => unfit("what is published is not what was staged"),
        }
    }

    /// Of a folder: a file and all folders above it can be synced. Other stores answer once it is so.
    async fn durable(&self) -> Finding {
        const WHAT: &str = "durable";
        match self.store.sync(&self.path("decided")).await {
            Ok(()) => Finding::new(WHAT, Verdict::Good, "what was written is durable, as far as the store tells"),
            Err(error) => {
                let message = format!("what was written cannot be made durable: {}: {}", error.address, error.message);
                Finding::new(WHAT, Verdict::Unfit, message)
            }
        }
    }

    /// What is being uploaded shows only at its end.
    async fn unfinished_upload(&self) -> Result<Finding, StoreError> {
        const WHAT: &str = "unfinished_upload";
        let path = self.path("large");
        let mut writer = self.store.stage(&path).await?;
        let written = writer.write(Bytes::from(vec![0; LARGE])).await;
        let seen = self.store.size(&path).await;
        writer.abort().await;
        written?;
        Ok(match seen? {
            None => Finding::new(WHAT, Verdict::Good, "an unfinished upload is not seen"),
            // Staged files are named by no record before they are whole, and no reader's glob matches them.
            Some(_) => Finding::new(WHAT, Verdict::Odd, "an unfinished upload is seen under its name"),
        })
    }
}

fn rival(n: usize) -> Bytes {
    Bytes::from(format!("rival {n}"))
}

/// The store's time of a write is at most a request older than ours, and often in whole seconds.
fn judge_clock(store: Timestamp, ours: Timestamp) -> Finding {
    let ahead = store.duration_since(ours);
    let seconds = ahead.abs().as_secs();
    let direction = if ahead.is_negative() { "behind" } else { "ahead of" };
    match ahead.abs() <= SKEW_MAX {
        true => Finding::new("clock", Verdict::Good, "the store's clock agrees with this machine's"),
        false => {
            let message = format!("the store's clock is `{seconds}s` {direction} this machine's: is the time synchronised here?");
            Finding::new("clock", Verdict::Odd, message)
        }
    }
}

#[cfg(test)]
mod tests;
