//! Alerts from the event to a real webhook.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use highwater::alert::{self, AlertPorts, Alerts, Setup};
use highwater::clock::Clock;
use highwater::config::secret::{SecretRef, SecretSource, SecretString};
use highwater::config::service::{AlertChannel, AlertKind};
use highwater::error::ErrorKind;
use highwater::event::{Event, Listener, RunEnd};
use highwater::freshness::{Freshness, Watched};
use highwater::ids::JobName;
use highwater::state::State;
use highwater::state::memory::MemoryState;
use highwater::state::sqlite::SqliteState;
use highwater::stop::Stop;
use highwater::telemetry::metrics::{Gauges, Metrics};
use jiff::SignedDuration;
use tokio::task::JoinSet;
use tracing_subscriber::layer::SubscriberExt;

use crate::world::clock::LiveClock;
use crate::world::receiver::Receiver;
use crate::world::{Deadline, pause, until};

const PATH: &str = "/services/T0/CANARY-secret?key=CANARY-query";

/// The name of a channel's variable is its address.
struct Addresses;

impl SecretSource for Addresses {
    fn resolve(&self, secret: &SecretRef) -> Result<SecretString, String> {
        match secret {
            SecretRef::Env(url) => Ok(SecretString::from(url.clone())),
            other => Err(format!("{other:?} is not set")),
        }
    }
}

fn channel(name: &str, url: &str) -> AlertChannel {
    AlertChannel { name: name.to_owned(), url: SecretRef::Env(url.to_owned()), on: AlertKind::ALL.into() }
}

/// The alerts of one process.
struct Desk {
    alerts: Arc<Alerts>,
    clock: Arc<LiveClock>,
    metrics: Arc<Metrics>,
    stop: Stop,
    courier: JoinSet<()>,
}

impl Desk {
    fn open(state: Arc<dyn State>, channels: &[AlertChannel]) -> Desk {
        Desk::at(LiveClock::new(), state, channels)
    }

    fn at(clock: LiveClock, state: Arc<dyn State>, channels: &[AlertChannel]) -> Desk {
        let clock = Arc::new(clock);
        let metrics = Arc::new(Metrics::new(clock.clone()));
        let (metrics_port, clock_port) = (metrics.clone(), clock.clone());
        let ports = AlertPorts { state, clock: clock_port, metrics: metrics_port, speaker: "highwater on etl-1".to_owned() };
        let (alerts, courier) = Alerts::new(ports);
        let stop = Stop::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(courier.drive(stop.clone()));
        let desk = Desk { alerts, clock, metrics, stop, courier: tasks };
        desk.set(channels, None);
        desk
    }

    fn set(&self, channels: &[AlertChannel], limit: Option<Duration>) {
        let channels = alert::open(channels, &Addresses).unwrap();
        let now = self.clock.now();
        let freshness = Freshness { mark: None, done_at: Some(now - SignedDuration::from_hours(3)), since: now };
        let jobs = vec![Watched { job: JobName::new("orders"), limit, freshness }];
        self.alerts.set(Setup { channels, jobs, ..Setup::default() });
    }

    fn hear(&self, end: RunEnd) {
        self.alerts.hear(&Event::JobEnded { job: JobName::new("orders"), took: Duration::from_secs(1), end });
    }

    fn fail(&self) {
        self.hear(RunEnd::of(ErrorKind::Unavailable, "fetch page 3: status 503".to_owned()));
    }

    /// A failure, until the receiver was told and the courier knows that it was.
    async fn fail_and_tell(&self, receiver: &Receiver) {
        self.fail();
        until("the failure is told", || receiver.received().len() == 1).await;
        let delivered = "highwater_alerts_total{outcome=\"delivered\"} 1";
        until("and known to be told", || self.metrics.render(&Gauges::default()).contains(delivered)).await;
    }

    async fn end(mut self) {
        self.stop.request();
        assert!(self.courier.join_next().await.unwrap().is_ok());
    }
}

// O-19
#[tokio::test]
async fn a_job_that_keeps_failing_is_told_once_over_restarts() {
    let receiver = Receiver::start();
    let channels = [channel("ops", &receiver.url(PATH))];
    let state = Arc::new(MemoryState::new());
    let desk = Desk::open(state.clone(), &channels);
    desk.fail_and_tell(&receiver).await;
    for _ in 0..50 {
        desk.fail();
    }
    desk.end().await;
    let state = Arc::new(state.reopen());
    let desk = Desk::at(LiveClock::patient(), state.clone(), &channels);
    for _ in 0..50 {
        desk.fail();
    }
    pause(Duration::from_millis(300)).await;
    let received = receiver.received();
    assert_eq!(received.len(), 1, "{received:?}");
    assert!(received[0].text.starts_with("highwater on etl-1: `orders` fails since "), "{}", received[0].text);
    assert!(received[0].text.ends_with(
        "UTC: fetch page 3: status 503. What was committed stands, the next run reads the rest. History: `highwater runs orders`"
    ));
    assert_eq!(received[0].path, "/services/T0/CANARY-secret");
    assert!(received[0].headers.starts_with("POST ") && received[0].headers.contains("\"content-type\": \"application/json\""));
    assert!(!received[0].headers.contains("referer"), "{}", received[0].headers);
    // The answer comes once the courier was told to stop.
    receiver.answer_after(Duration::from_millis(300));
    desk.hear(RunEnd::Done);
    until("its end is told", || receiver.received().len() == 2).await;
    assert!(receiver.texts()[1].contains("`orders` is well again since "), "{:?}", receiver.texts());
    desk.end().await;
    assert_eq!(state.conditions().await.unwrap(), []);
}

// O-19
#[tokio::test]
async fn an_end_that_could_not_be_told_is_told_after_the_restart() {
    let receiver = Receiver::start();
    let channels = [channel("ops", &receiver.url(PATH))];
    let state = Arc::new(MemoryState::new());
    let desk = Desk::open(state.clone(), &channels);
    desk.fail_and_tell(&receiver).await;
    receiver.reply([(503, vec![])]);
    desk.hear(RunEnd::Done);
    desk.clock.jump(Duration::from_secs(2));
    until("its end is refused", || receiver.received().len() == 2).await;
    desk.end().await;
    let state = Arc::new(state.reopen());
    let desk = Desk::at(LiveClock::patient(), state.clone(), &channels);
    until("its end is told", || receiver.received().len() == 3).await;
    assert!(receiver.texts()[2].contains("`orders` is well again since "), "{:?}", receiver.texts());
    desk.end().await;
    assert_eq!(state.conditions().await.unwrap(), []);
}

// O-19
#[tokio::test]
async fn a_table_that_gets_too_old_is_late_without_any_event() {
    let receiver = Receiver::start();
    let channels = [channel("ops", &receiver.url(PATH))];
    let desk = Desk::open(Arc::new(MemoryState::new()), &channels);
    desk.set(&channels, Some(Duration::from_secs(4 * 3600)));
    desk.clock.jump(Duration::from_secs(1800));
    pause(Duration::from_millis(200)).await;
    assert_eq!(receiver.texts(), Vec::<String>::new());
    desk.clock.jump(Duration::from_secs(3600));
    until("it is late", || receiver.received().len() == 1).await;
    let text = receiver.texts().remove(0);
    assert!(
        text.contains("`orders` is late since ") && text.contains("its table is 4h30m old and should be at most 4h old"),
        "{text}"
    );
    desk.hear(RunEnd::Done);
    desk.clock.jump(Duration::from_secs(60));
    until("it is not late any more", || receiver.received().len() == 2).await;
    desk.end().await;
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// S-34
#[tokio::test]
async fn a_webhook_that_fails_is_tried_again_and_its_address_appears_nowhere() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
    // A subscriber that is alone is not asked about a line that a thread without one meets first: the line is off for all then.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    // Everything that this thread logs, down to the last library: the runtime of the test has no other.
    let _logging = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines));
    let folder = tempfile::tempdir().unwrap();
    let state = Arc::new(SqliteState::open(&folder.path().join("state.db")).await.unwrap());
    let (receiver, other) = (Receiver::start(), Receiver::start());
    let gone = "http://127.0.0.1:1/services/CANARY-gone";
    let channels = [channel("ops", &receiver.url(PATH)), channel("gone", gone)];
    receiver.reply([
        (500, vec![]),
        (429, vec![("retry-after", "40".to_owned())]),
        (302, vec![("location", other.url("/CANARY-elsewhere"))]),
        (404, vec![]),
    ]);
    let desk = Desk::open(state.clone(), &channels);
    desk.fail();
    until("the first try", || receiver.received().len() == 1).await;
    desk.clock.jump(Duration::from_secs(2));
    until("the second try", || receiver.received().len() == 2).await;
    desk.clock.jump(Duration::from_secs(30));
    pause(Duration::from_millis(200)).await;
    assert_eq!(receiver.received().len(), 2, "forty seconds were asked for");
    for tries in 3..=5 {
        desk.clock.jump(Duration::from_secs(60));
        until("the next try", || receiver.received().len() == tries).await;
    }
    until("it is told", || desk.metrics.render(&Gauges::default()).contains("highwater_alerts_total{outcome=\"delivered\"} 1"))
        .await;
    desk.clock.jump(Duration::from_secs(600));
    pause(Duration::from_millis(200)).await;
    assert_eq!((receiver.received().len(), other.received().len()), (5, 0), "redirects are not followed");
    let metrics = desk.metrics.render(&Gauges::default());
    desk.end().await;
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for said in [
        "it answered 500",
        "it answered 429",
        "it answered 302 Found: redirects are not followed",
        "it answered 404",
        "no connection",
    ] {
        assert!(logged.contains(said), "the log lacks {said:?}:\n{logged}");
    }
    let channels_shown = format!("{:?}", channel("x", "NAME"));
    Arc::try_unwrap(state).ok().expect("nobody else holds it").close().await;
    let stored = std::fs::read(folder.path().join("state.db")).unwrap();
    let stored = String::from_utf8_lossy(&stored);
    assert!(stored.contains("run_failed"), "the state remembers");
    for (what, text) in [("log", logged.as_str()), ("metrics", &metrics), ("state", &stored), ("debug", &channels_shown)] {
        assert!(!text.contains("CANARY"), "{what} holds the address:\n{text}");
    }
}

#[tokio::test]
async fn a_channel_that_is_silent_holds_up_nobody() {
    let (silent, quick) = (Receiver::start(), Receiver::start());
    silent.fall_silent();
    let channels = [channel("silent", &silent.url(PATH)), channel("quick", &quick.url(PATH))];
    let desk = Desk::open(Arc::new(MemoryState::new()), &channels);
    let deadline = Deadline::after(Duration::from_secs(5));
    for _ in 0..100_000 {
        desk.fail();
    }
    assert!(!deadline.passed(), "hearing took long");
    until("the quick one knows", || quick.received().len() == 1 && silent.received().len() == 1).await;
    desk.clock.jump(Duration::from_secs(2));
    desk.hear(RunEnd::Done);
    until("and the end", || quick.received().len() == 2).await;
    let deadline = Deadline::after(Duration::from_secs(5));
    desk.end().await;
    assert!(!deadline.passed(), "the silent one held up the end");
}

#[tokio::test]
async fn what_could_not_be_told_is_told_after_the_restart() {
    let receiver = Receiver::start();
    let channels = [channel("ops", &receiver.url(PATH))];
    receiver.reply((0..20).map(|_| (503, vec![])));
    let state = Arc::new(MemoryState::new());
    let desk = Desk::open(state.clone(), &channels);
    desk.fail();
    until("it was tried", || receiver.received().len() == 1).await;
    desk.end().await;
    assert_eq!(state.conditions().await.unwrap().len(), 1);
    let receiver = Receiver::start();
    // The address changed as well: the name is what is remembered.
    let desk = Desk::open(Arc::new(state.reopen()), &[channel("ops", &receiver.url("/new"))]);
    until("it is told", || receiver.received().len() == 1).await;
    desk.end().await;
}

#[test]
fn an_address_that_is_none_is_refused_without_being_shown() {
    let refused = |url: &str| alert::open(&[channel("ops", url)], &Addresses).err().unwrap();
    for url in ["CANARY", "ftp://CANARY/x", "file:///CANARY", "https:CANARY@", ""] {
        let error = refused(url);
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.to_string().starts_with("alerts.ops.url: the secret is not an address"), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
    }
    let missing = AlertChannel { url: SecretRef::Credential("hook".to_owned()), ..channel("ops", "") };
    let error = alert::open(&[missing], &Addresses).err().unwrap();
    assert_eq!(error.to_string(), "alerts.ops.url: { credential = \"hook\" } is not set");
}
