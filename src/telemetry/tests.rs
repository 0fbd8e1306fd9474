use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::batch::Counts;
use crate::error::ErrorKind;
use crate::event::{Event, Listener, RunEnd};
use crate::ids::{JobName, RunId};
use crate::quota::test_clock::TestClock;

/// Keeps what is written.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).expect("UTF-8")
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Paper {
    type Writer = Paper;

    fn make_writer(&'a self) -> Paper {
        self.clone()
    }
}

/// What is written while `work` is done.
fn written(destination: Destination, throttle: &Arc<Throttle>, work: impl FnOnce()) -> String {
    let paper = Paper::default();
    let output = output(destination, paper.clone()).with_filter(Arc::clone(throttle).filter());
    tracing::subscriber::with_default(Registry::default().with(output), work);
    paper.text()
}

fn throttle() -> (Arc<TestClock>, Arc<Throttle>) {
    let clock = Arc::new(TestClock::new());
    (Arc::clone(&clock), Arc::new(Throttle::new(clock)))
}

#[test]
fn a_bad_filter_is_named() {
    let clock = Arc::new(TestClock::new());
    let started = start(Some("highwater=loud"), Verbosity::Command, Destination::Lines, clock, io::stderr);
    let error = started.err().expect("no such level");
    assert!(error.starts_with("HIGHWATER_LOG: `highwater=loud`: "), "{error}");
}

#[test]
fn the_filters_of_both_kinds_of_work_can_be_read() {
    for verbosity in [Verbosity::Command, Verbosity::Service] {
        assert!(EnvFilter::try_new(verbosity.filter()).is_ok());
    }
}

// S-74
#[test]
fn what_a_server_said_is_no_line_of_its_own_and_drives_no_terminal() {
    let said = "no\n2026-01-01T00:00:00Z ERROR highwater: all is lost\u{1b}[2J\u{202e}";
    let log = || tracing::warn!(job.id = "orders", reason = %said, quoted = said, "failed: {said}");
    let text = written(Destination::Terminal, &throttle().1, log);
    assert_eq!(text.lines().count(), 1, "{text}");
    // Our own colours are there; of the message only letters are left.
    assert!(text.contains("all is lost\u{fffd}[2J\u{fffd}") && !text.contains("\u{1b}[2J"), "{text:?}");
    assert!(text.contains("failed: no\\n2026") && text.contains("reason=no\\n2026"), "{text:?}");
    let json = written(Destination::Lines, &throttle().1, log);
    assert_eq!(json.lines().count(), 1, "{json}");
    let line: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(line["reason"], said);
    assert_eq!(line["job.id"], "orders");
    assert!(!json.contains('\u{1b}'), "{json:?}");
}

// O-12
#[test]
fn a_line_that_repeats_itself_is_left_out_and_counted() {
    let (clock, throttle) = throttle();
    let log = || {
        for number in 0..1_000 {
            tracing::warn!(job.id = "orders", "the disk is full");
            tracing::warn!(number, "each is another");
        }
    };
    let first = written(Destination::Lines, &throttle, log);
    let of = |text: &str, what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!((of(&first, "the disk is full"), of(&first, "each is another")), (5, 1_000));
    assert_eq!(throttle.left_out(), 995);
    // A line of how many there were, once.
    let told = written(Destination::Lines, &throttle, || {
        throttle.tell();
        throttle.tell();
    });
    assert_eq!((told.lines().count(), of(&told, "\"lines\":995")), (1, 1), "{told}");
    clock.advance(Duration::from_secs(61));
    let next = written(Destination::Lines, &throttle, || tracing::warn!(job.id = "orders", "the disk is full"));
    assert_eq!(of(&next, "the disk is full"), 1, "{next} is different");
}

#[test]
fn runs_are_told_in_lines() {
    let job = || JobName::new("orders");
    let events = [
        Event::RunStarted { job: job(), run: RunId(uuid::Uuid::nil()) },
        Event::RequestSent { job: job() },
        Event::SliceCommitted { job: job(), seq: 3, counts: Counts { kept: 7, ..Counts::default() }, files: 1, bytes: 9 },
        Event::JobEnded { job: job(), took: Duration::from_secs(2), end: RunEnd::Done },
        Event::JobEnded { job: job(), took: Duration::from_secs(2), end: RunEnd::of(ErrorKind::Data, "it: broke".to_owned()) },
        Event::JobEnded { job: job(), took: Duration::from_secs(2), end: RunEnd::of(ErrorKind::Auth, "401".to_owned()) },
    ];
    let text = written(Destination::Lines, &throttle().1, || events.iter().for_each(|event| RunLog.hear(event)));
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let said: Vec<(&str, &str)> =
        lines.iter().map(|line| (line["level"].as_str().expect("level"), line["message"].as_str().expect("message"))).collect();
    let expected = [
        ("INFO", "orders: run began"),
        ("INFO", "orders: commit 3 with 7 rows"),
        ("INFO", "orders: done"),
        ("ERROR", "orders: failed: it: broke"),
        ("ERROR", "orders: parked: 401"),
    ];
    assert_eq!(said, expected);
    assert!(lines.iter().all(|line| line["job.id"] == "orders"));
}
