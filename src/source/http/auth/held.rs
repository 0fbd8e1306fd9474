//! The token of one credential: asked for once for everybody who waits, renewed ahead of its end, kept before it is used.
//!
//! Asking is a task of its own. Whoever waits may be dropped, and a refresh token that is good for one use would be lost with the
//! answer that brings its successor.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::secret::{ExposeSecret, SecretString};
use crate::error::ErrorKind;
use crate::vault::TokenVault;

use super::super::redact::Recent;
use super::answer::Obtained;
use super::denial::Denial;
use super::errand::Errand;
use super::kept::KeptAccess;
use super::shelf::{Shelf, Shelved, Unsaved};

/// A token is renewed this much before its end, or a fifth of its lifetime where that is less: a request is on its way meanwhile, and
/// clocks differ.
const MARGIN_MAX: Duration = Duration::from_secs(60);
/// A renewal that failed is tried again after this as long as the token still holds.
const PAUSE: Duration = Duration::from_secs(10);
/// Who comes within this is told of a refusal without asking again: the tasks of a job do not come all at the same time.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// Others may ask for other scopes with the same secret meanwhile; they are waited for.
const ROUNDS_MAX: u32 = 16;
/// While another process asks, what it is given is looked for every so often, and so many times: ten minutes.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const LOOKS_MAX: u32 = 1_200;

/// An access token as it is in use.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) secret: SecretString,
    /// Which one it is; grows.
    pub(super) serial: u64,
    /// By the monotonic clock; `None` where it holds until it is refused.
    renew_at: Option<Duration>,
    ends_at: Option<Duration>,
    /// An answer with a status of success said that it is no good.
    distrusted: bool,
}

/// One for each credential of the process.
pub(super) struct HeldToken {
    shelf: Shelf,
    clock: Arc<dyn Clock>,
    recent: Recent,
    inner: Mutex<Inner>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Inner {
    serial: u64,
    /// By what was asked for.
    access: BTreeMap<String, Access>,
    /// Who asks now, and for what.
    flight: Option<(String, Flight)>,
    refused: Option<Refused>,
    /// What was answered and could not be kept.
    unsaved: Option<Unsaved>,
}

type Flight = Shared<BoxFuture<'static, Result<Access, Denial>>>;

/// What whoever gives tokens out would say again.
struct Refused {
    variant: String,
    /// The token that was to be replaced.
    replaces: Option<u64>,
    at: Duration,
    denial: Denial,
}

impl HeldToken {
    pub(super) fn new(key: String, clock: Arc<dyn Clock>, vault: Arc<dyn TokenVault>) -> Self {
        HeldToken {
            shelf: Shelf::new(key, Arc::clone(&clock), vault),
            clock,
            recent: Recent::default(),
            inner: Mutex::default(),
            tasks: Mutex::default(),
        }
    }

    /// All tokens that it had of late, for who must not show them.
    pub(super) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// A token that holds.
    pub(super) async fn current(self: &Arc<Self>, errand: &Arc<Errand>) -> Result<Access, Denial> {
        self.access(errand, None).await
    }

    /// A token after one that was refused.
    pub(super) async fn replace(self: &Arc<Self>, errand: &Arc<Errand>, serial: u64) -> Result<Access, Denial> {
        self.access(errand, Some(serial)).await
    }

    /// The token is not used again, neither by a later process; `false` where there is none.
    pub(super) fn distrust(&self, errand: &Errand) -> bool {
        let mut inner = self.inner();
        let Some(access) = inner.access.get_mut(&errand.variant) else { return false };
        (access.renew_at, access.ends_at, access.distrusted) = (Some(Duration::ZERO), Some(Duration::ZERO), true);
        true
    }

    /// Comes to an end when nothing is asked for any more.
    pub(super) async fn close(&self) {
        let tasks = std::mem::take(&mut *self.tasks());
        tasks.join_all().await;
    }

    async fn access(self: &Arc<Self>, errand: &Arc<Errand>, replaces: Option<u64>) -> Result<Access, Denial> {
        for _ in 0..ROUNDS_MAX {
            let (mine, flight) = match self.look(errand, replaces) {
                Look::Done(done) => return done,
                Look::Wait { mine, flight } => (mine, flight),
            };
            let outcome = flight.await;
            if mine {
                return outcome.or_else(|denial| self.make_do(errand, replaces, denial));
            }
        }
        Err(Denial::new(ErrorKind::Unavailable, "too many others ask for tokens with the same secret"))
    }

    fn look(self: &Arc<Self>, errand: &Arc<Errand>, replaces: Option<u64>) -> Look {
        let now = self.clock.elapsed();
        let mut inner = self.inner();
        let good = |access: &&Access| Some(access.serial) != replaces && access.renew_at.is_none_or(|at| now < at);
        if let Some(access) = inner.access.get(&errand.variant).filter(good) {
            return Look::Done(Ok(access.clone()));
        }
        let again = |refused: &&Refused| {
            refused.variant == errand.variant && refused.replaces == replaces && now.saturating_sub(refused.at) < REFUSED_FOR
        };
        if let Some(refused) = inner.refused.as_ref().filter(again) {
            return Look::Done(Err(refused.denial.clone()));
        }
        if let Some((variant, flight)) = &inner.flight {
            return Look::Wait { mine: *variant == errand.variant, flight: flight.clone() };
        }
        let flight = self.depart(errand, replaces);
        inner.flight = Some((errand.variant.clone(), flight.clone()));
        Look::Wait { mine: true, flight }
    }

    /// A renewal ahead of the end that does not succeed at the moment is no harm.
    fn make_do(&self, errand: &Errand, replaces: Option<u64>, denial: Denial) -> Result<Access, Denial> {
        let now = self.clock.elapsed();
        let mut inner = self.inner();
        match inner.access.get_mut(&errand.variant) {
            Some(access)
                if denial.passes() && Some(access.serial) != replaces && access.ends_at.is_some_and(|ends_at| now < ends_at) =>
            {
                access.renew_at = access.ends_at.map(|ends_at| ends_at.min(now + PAUSE));
                Ok(access.clone())
            }
            _ => Err(denial),
        }
    }

    fn depart(self: &Arc<Self>, errand: &Arc<Errand>, replaces: Option<u64>) -> Flight {
        let (teller, told) = oneshot::channel();
        let (held, errand) = (Arc::clone(self), Arc::clone(errand));
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let flown = AssertUnwindSafe(held.fly(&errand, replaces)).catch_unwind().await;
            let outcome = flown.unwrap_or_else(|_| Err(Denial::new(ErrorKind::Bug, "asking for a token panicked")));
            let outcome = held.land(&errand, replaces, outcome);
            // Where nobody waits any more, the token is there for who comes next.
            drop(teller.send(outcome));
        });
        let lost = || Denial::new(ErrorKind::Cancelled, "asking for a token was cut short");
        told.map(move |told| told.unwrap_or_else(|_| Err(lost()))).boxed().shared()
    }

    async fn fly(&self, errand: &Errand, replaces: Option<u64>) -> Result<(KeptAccess, Duration), Denial> {
        let refused = {
            let inner = self.inner();
            let access = inner.access.get(&errand.variant).filter(|access| Some(access.serial) == replaces || access.distrusted);
            access.map(|access| access.secret.clone())
        };
        for _ in 0..ROUNDS_MAX {
            let mut kept = match self.find(errand, refused.as_ref()).await? {
                Found::Good(access, left) => return Ok((access, left)),
                Found::ToAsk(kept) => kept,
            };
            let cut_off = kept.entry.asked_at;
            if !self.shelf.announce(errand, &mut kept).await? {
                continue;
            }
            let asked_at = self.clock.now();
            let denial = match errand.ask(kept.entry.refresh.as_deref()).await {
                Ok(obtained) => return self.keep(errand, kept, obtained, asked_at).await,
                Err(denial) => denial,
            };
            // Another process may have asked with the same for longer than it is waited for: then what it was given is there.
            if denial.kind != ErrorKind::Auth {
                return Err(errand.explain(denial, cut_off));
            }
            if !self.shelf.is_overtaken(errand, &kept).await {
                self.shelf.withdraw(errand, &mut kept, cut_off).await;
                return Err(errand.explain(denial, cut_off));
            }
        }
        Err(raced(errand))
    }

    /// A token that is good, or what stands there where one is to be asked for. Another process that asks is waited for: of a refresh
    /// token that is good for one use the second to show it is refused, and some servers then refuse the successor, too.
    async fn find(&self, errand: &Errand, refused: Option<&SecretString>) -> Result<Found, Denial> {
        let is_refused = |access: &KeptAccess| refused.is_some_and(|refused| refused.expose_secret() == access.token);
        let mut unsaved = self.inner().unsaved.take();
        for _ in 0..LOOKS_MAX {
            let kept = match self.shelf.read(errand, unsaved.take()).await {
                Ok(kept) => kept,
                Err((unsaved, denial)) => {
                    self.inner().unsaved = unsaved;
                    return Err(denial);
                }
            };
            self.recent.add(kept.entry.refresh.as_deref().unwrap_or_default());
            if let Some(access) = kept.entry.access(&errand.variant).filter(|access| !is_refused(access)) {
                let left = access.left(self.clock.now());
                if left.is_none_or(|left| left > margin(access.lifetime)) {
                    // An earlier run asked for it, or another process.
                    return Ok(Found::Good(access.clone(), left.unwrap_or_default()));
                }
            }
            if !self.shelf.is_asked_elsewhere(&kept) {
                return Ok(Found::ToAsk(kept));
            }
            errand.wait(LOOK_AGAIN).await?;
        }
        Err(raced(errand))
    }

    /// What was given is kept, and then used.
    async fn keep(
        &self,
        errand: &Errand,
        mut kept: Shelved,
        obtained: Obtained,
        asked_at: Timestamp,
    ) -> Result<(KeptAccess, Duration), Denial> {
        // Before anything else is done with them: from here on they may turn up in a message.
        self.recent.add(obtained.access.expose_secret());
        if let Some(refresh) = &obtained.refresh {
            self.recent.add(refresh.expose_secret());
            kept.entry.refresh = Some(refresh.expose_secret().to_owned());
        }
        let lifetime = obtained.lifetime.map(|lifetime| lifetime.as_secs());
        let access = KeptAccess { token: obtained.access.expose_secret().to_owned(), at: asked_at, lifetime };
        kept.entry.put_access(&errand.variant, access.clone());
        kept.entry.asked_at = None;
        if let Err((unsaved, denial)) = self.shelf.keep(errand, kept).await {
            self.inner().unsaved = Some(unsaved);
            return Err(denial);
        }
        let left = access.left(self.clock.now()).unwrap_or_default();
        Ok((access, left))
    }

    /// Takes the outcome over and lets go of who waits.
    fn land(
        &self,
        errand: &Errand,
        replaces: Option<u64>,
        outcome: Result<(KeptAccess, Duration), Denial>,
    ) -> Result<Access, Denial> {
        let now = self.clock.elapsed();
        let mut inner = self.inner();
        inner.flight = None;
        match outcome {
            Ok((kept, left)) => {
                self.recent.add(&kept.token);
                inner.serial += 1;
                inner.refused = None;
                let access = Access {
                    secret: SecretString::from(kept.token),
                    serial: inner.serial,
                    renew_at: kept.lifetime.map(|lifetime| now + left.saturating_sub(margin(Some(lifetime)))),
                    ends_at: kept.lifetime.map(|_| now + left),
                    distrusted: false,
                };
                inner.access.insert(errand.variant.clone(), access.clone());
                Ok(access)
            }
            Err(denial) => {
                let message = errand.redactor.clean(&denial.message);
                let denial = Denial { message, ..denial };
                if denial.kind == ErrorKind::Auth {
                    inner.refused = Some(Refused { variant: errand.variant.clone(), replaces, at: now, denial: denial.clone() });
                }
                Err(denial)
            }
        }
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Look {
    Done(Result<Access, Denial>),
    Wait {
        /// It brings what was looked for.
        mine: bool,
        flight: Flight,
    },
}

/// What stands on the shelf.
enum Found {
    Good(KeptAccess, Duration),
    ToAsk(Shelved),
}

fn raced(errand: &Errand) -> Denial {
    let message = format!("{} is not asked with: other processes ask with it all the time", errand.grant_name());
    Denial::new(ErrorKind::Conflict, message)
}

fn margin(lifetime: Option<u64>) -> Duration {
    lifetime.map_or(Duration::ZERO, |lifetime| (Duration::from_secs(lifetime) / 5).min(MARGIN_MAX))
}
