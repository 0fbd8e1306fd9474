//! Takes events in, keeps the book, and sends what is due.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::event::Event;
use crate::stop::Stop;

use super::book::{Book, Change};
use super::channel::Channel;
use super::webhook::{self, Undelivered};
use super::{AlertPorts, Setup, message};

/// How often the ages of tables are looked at.
const TICK: Duration = Duration::from_secs(15);
/// Between two messages to one channel: Slack takes one a second.
const PACE: Duration = Duration::from_secs(1);
const BACKOFF_BASE: Duration = Duration::from_secs(1);
const BACKOFF_CAP: Duration = Duration::from_secs(300);
/// What messages under way are given once stop is asked for; what does not arrive is sent after the next start.
const GRACE: Duration = Duration::from_secs(3);

/// The task behind [`super::Alerts`].
pub struct Courier {
    ports: AlertPorts,
    events: mpsc::Receiver<Event>,
    setups: watch::Receiver<Option<Setup>>,
    /// What was left to tell is not known to be settled before it is known to whom it was to be told.
    is_set_up: bool,
    lines: Vec<Line>,
    sends: JoinSet<Sent>,
}

/// A channel as the courier sees it.
struct Line {
    channel: Channel,
    busy: bool,
    /// By the monotonic clock.
    not_before: Duration,
    /// Failures in a row.
    failures: u32,
}

struct Sent {
    channel: String,
    outcome: Result<(), Undelivered>,
}

impl Courier {
    pub(super) fn new(ports: AlertPorts, events: mpsc::Receiver<Event>, setups: watch::Receiver<Option<Setup>>) -> Self {
        Courier { ports, events, setups, is_set_up: false, lines: Vec::new(), sends: JoinSet::new() }
    }

    /// Works until `stop`. To be stopped after the last run, so that its end is still taken in. What is not told by then is told
    /// after the next start.
    pub async fn drive(mut self, stop: Stop) {
        let Some(mut book) = self.open_book(&stop).await else { return };
        loop {
            self.work(&mut book).await;
            let pause = self.pause(&book);
            tokio::select! {
                biased;
                () = stop.wait() => break,
                Some(sent) = self.sends.join_next() => self.take_answer(&mut book, sent),
                Ok(()) = self.setups.changed() => self.take_setup(&mut book),
                Some(event) = self.events.recv() => self.take_events(&mut book, event),
                () = self.ports.clock.sleep(pause) => {}
            }
        }
        self.finish(&mut book).await;
    }

    /// What was told before must be known before anything is told.
    async fn open_book(&self, stop: &Stop) -> Option<Book> {
        loop {
            match self.ports.state.conditions().await {
                Ok(conditions) => return Some(Book::new(conditions, self.ports.clock.now())),
                Err(error) => tracing::warn!(%error, "alerts wait for the state: {error}"),
            }
            tokio::select! {
                () = stop.wait() => return None,
                () = self.ports.clock.sleep(TICK) => {}
            }
        }
    }

    async fn work(&mut self, book: &mut Book) {
        book.look(self.ports.clock.now());
        self.dispatch(book);
        self.save(book).await;
    }

    fn take_events(&mut self, book: &mut Book, first: Event) {
        let mut next = Some(first);
        // Ends: at most what the queue holds, and as much again as comes meanwhile is taken in the next time.
        for _ in 0..super::WAITING_MAX {
            let Some(event) = next else { break };
            book.hear(&event, self.ports.clock.now());
            next = self.events.try_recv().ok();
        }
        if let Some(event) = next {
            book.hear(&event, self.ports.clock.now());
        }
    }

    fn take_setup(&mut self, book: &mut Book) {
        let Some(setup) = self.setups.borrow_and_update().clone() else { return };
        book.set(&setup, self.ports.clock.now());
        self.is_set_up = true;
        let mut before = std::mem::take(&mut self.lines);
        for channel in setup.channels {
            let known = before.iter().position(|line| line.channel.name == channel.name);
            self.lines.push(match known.map(|at| before.swap_remove(at)) {
                // A changed address is worth a try at once; a message under way is waited for.
                Some(line) => Line { channel, not_before: Duration::ZERO, failures: 0, ..line },
                None => Line { channel, busy: false, not_before: Duration::ZERO, failures: 0 },
            });
        }
    }

    /// Sends every idle channel what is due to it.
    fn dispatch(&mut self, book: &mut Book) {
        let now = self.ports.clock.elapsed();
        for line in &mut self.lines {
            if line.busy || now < line.not_before {
                continue;
            }
            let items = book.due(&line.channel.name, &line.channel.on);
            if items.is_empty() {
                continue;
            }
            book.send(&line.channel.name, &items);
            line.busy = true;
            let body = message::body(&self.ports.speaker, &items);
            let (channel, clock) = (line.channel.clone(), Arc::clone(&self.ports.clock));
            self.sends.spawn(async move {
                let outcome = webhook::send(&channel, &body, clock.now()).await;
                Sent { channel: channel.name, outcome }
            });
        }
        self.tidy(book);
    }

    fn tidy(&self, book: &mut Book) {
        if !self.is_set_up {
            return;
        }
        let channels: Vec<_> = self.lines.iter().map(|line| (line.channel.name.as_str(), &line.channel.on)).collect();
        book.tidy(&channels);
    }

    fn take_answer(&mut self, book: &mut Book, sent: Result<Sent, tokio::task::JoinError>) {
        let Sent { channel, outcome } = match sent {
            Ok(sent) => sent,
            Err(error) => {
                // Only a bug ends a send like this; whose it was is not known, so nobody is held up by it.
                tracing::error!(%error, "sending an alert panicked, which is a bug of highwater");
                for line in &mut self.lines {
                    book.sent(&line.channel.name, false);
                    line.busy = false;
                }
                return;
            }
        };
        book.sent(&channel, outcome.is_ok());
        self.ports.metrics.count_alert(outcome.is_ok());
        let (now, fraction) = (self.ports.clock.elapsed(), self.ports.clock.fraction());
        let Some(line) = self.lines.iter_mut().find(|line| line.channel.name == channel) else { return };
        line.busy = false;
        let wait = match outcome {
            Ok(()) => {
                line.failures = 0;
                PACE
            }
            Err(undelivered) => {
                let wait = undelivered.patience.unwrap_or_default().max(backoff(line.failures, fraction));
                line.failures = line.failures.saturating_add(1);
                tracing::warn!(
                    alert.channel = channel,
                    reason = undelivered.reason,
                    "alerts.{channel}: a message was not taken: {}; again in {} s",
                    undelivered.reason,
                    wait.as_secs().max(1)
                );
                wait
            }
        };
        line.not_before = now.saturating_add(wait);
    }

    /// Until there may be something to do that nobody tells of.
    fn pause(&self, book: &Book) -> Duration {
        let now = self.ports.clock.elapsed();
        let waiting = self.lines.iter().filter(|line| !line.busy && !book.due(&line.channel.name, &line.channel.on).is_empty());
        waiting.map(|line| line.not_before.saturating_sub(now)).min().unwrap_or(TICK).min(TICK)
    }

    async fn save(&self, book: &mut Book) {
        let mut changes = book.changes_to_save().into_iter();
        for change in changes.by_ref() {
            let saved = match &change {
                Change::Put(condition) => self.ports.state.put_condition(condition).await,
                Change::Drop(key) => self.ports.state.drop_condition(key).await,
            };
            if let Err(error) = saved {
                // At worst somebody is told twice, after a restart that comes before the state answers again.
                tracing::warn!(%error, "what is wrong could not be noted: {error}");
                book.unsaved(&change);
                break;
            }
        }
        changes.for_each(|change| book.unsaved(&change));
    }

    async fn finish(&mut self, book: &mut Book) {
        if let Ok(event) = self.events.try_recv() {
            self.take_events(book, event);
        }
        self.work(book).await;
        let mut answers = Vec::new();
        let answered = async {
            while let Some(sent) = self.sends.join_next().await {
                answers.push(sent);
            }
        };
        tokio::select! {
            () = answered => {}
            () = self.ports.clock.sleep(GRACE) => {}
        }
        for sent in answers {
            self.take_answer(book, sent);
        }
        self.sends.shutdown().await;
        self.tidy(book);
        self.save(book).await;
    }
}

/// Doubles from [`BACKOFF_BASE`] up to [`BACKOFF_CAP`], less up to half of it by chance.
fn backoff(failures: u32, fraction: f64) -> Duration {
    let step = BACKOFF_BASE.saturating_mul(2u32.saturating_pow(failures.min(16))).min(BACKOFF_CAP);
    step.mul_f64(1.0 - fraction.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_up_to_its_cap() {
        let most: Vec<u64> = (0..11).map(|failures| backoff(failures, 0.0).as_secs()).collect();
        assert_eq!(most, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff(u32::MAX, 1.0), BACKOFF_CAP / 2);
    }
}
