use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::batch::Counts;
use crate::error::ErrorKind;
use crate::event::{Recovery, RunEnd};
use crate::freshness::Freshness;
use crate::ids::{PartitionKey, RunId};
use crate::quota::test_clock::TestClock;
use crate::slice::{Reach, Slice};

/// Reads the text format strictly: what Prometheus would refuse stops the test. Samples by name and labels.
fn read(page: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut family: Option<(String, String)> = None;
    let mut families = BTreeSet::new();
    assert!(page.ends_with('\n'), "the last line ends");
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a help text");
            assert!(!text.is_empty() && families.insert(name.to_owned()), "{name} has one help text");
            let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} "))).expect("a type follows");
            assert!(["counter", "gauge", "summary"].contains(&kind), "{kind}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            family = Some((name.to_owned(), kind.to_owned()));
            continue;
        }
        let (family, kind) = family.as_ref().expect("a family comes first");
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = match series.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}').expect("labels end")),
            None => (series, ""),
        };
        let suffixes: &[&str] = if kind == "summary" { &["_sum", "_count"] } else { &[""] };
        assert!(suffixes.iter().any(|suffix| name == format!("{family}{suffix}")), "{name} stands under {family}");
        assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'), "{name}");
        read_labels(labels);
        let value: f64 = value.parse().expect("a number");
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert_eq!(samples.insert(series.to_owned(), value), None, "{series} stands twice");
    }
    samples
}

fn read_labels(labels: &str) {
    let mut rest = labels;
    while !rest.is_empty() {
        let (name, tail) = rest.split_once("=\"").expect("a label's name");
        assert!(!name.is_empty() && name.chars().all(|letter| letter.is_ascii_lowercase()), "{name}");
        let mut letters = tail.char_indices();
        let end = loop {
            match letters.next().expect("a label's value ends") {
                (_, '\\') => assert!(matches!(letters.next(), Some((_, '\\' | '"' | 'n'))), "{labels}"),
                (at, '"') => break at,
                _ => {}
            }
        };
        rest = tail[end + 1..].strip_prefix(',').unwrap_or(&tail[end + 1..]);
    }
}

fn watched(job: &str, now: Timestamp) -> Watched {
    let hour = |hours: i64| now.checked_sub(jiff::SignedDuration::from_hours(hours)).ok();
    let freshness = Freshness { mark: hour(2), done_at: hour(1), since: now };
    Watched { job: JobName::new(job), limit: Some(Duration::from_secs(3 * 3600)), freshness }
}

fn events(job: &str, now: Timestamp) -> Vec<Event> {
    let job = || JobName::new(job);
    let slice = || Slice { partition: PartitionKey::new(""), reach: Reach::Snapshot };
    let run = RunId(uuid::Uuid::nil());
    let counts =
        Counts { fetched: 12, kept: 6, filtered: 1, rejected: 1, out_of_window: 1, duplicate: 1, unchanged: 0, deleted: 2 };
    let empty = Counts { fetched: 2, filtered: 2, ..Counts::default() };
    let (took, reason) = (Duration::from_millis(2_500), || "status 503".to_owned());
    vec![
        Event::RunStarted { job: job(), run },
        Event::SliceStarted { job: job(), slice: slice() },
        Event::RequestSent { job: job() },
        Event::RequestSent { job: job() },
        Event::Retrying { job: job(), reason: reason(), attempt: 2, length: Duration::from_secs(1) },
        Event::Waiting { job: job(), reason: reason(), length: Duration::from_millis(1_500) },
        Event::PageFetched { job: job(), bytes: 1_000, records: 12, total: None },
        Event::SliceCommitted { job: job(), seq: 1, counts, files: 2, bytes: 300 },
        Event::SchemaChanged { job: job(), change: "new column `a`".to_owned() },
        Event::SliceEmpty { job: job(), slice: slice(), counts: empty },
        Event::SliceFailed { job: job(), slice: slice(), reason: reason() },
        Event::Recovered { job: job(), recovery: Recovery::Adopted, what: "a commit".to_owned() },
        Event::Recovered { job: job(), recovery: Recovery::Lost, what: "records".to_owned() },
        Event::RunFinished { job: job(), run, counts, failed: true, mark: Some(now) },
        Event::JobEnded { job: job(), took, end: RunEnd::of(ErrorKind::Unavailable, reason()) },
        Event::JobEnded { job: job(), took, end: RunEnd::Done },
        Event::JobEnded { job: job(), took, end: RunEnd::of(ErrorKind::Auth, reason()) },
        Event::JobEnded { job: job(), took, end: RunEnd::Stopped },
    ]
}

/// Without what differs from machine to machine.
fn steady(page: &str) -> String {
    let version = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
    let lines = page.lines().filter(|line| !line.contains("resident_memory"));
    lines.map(|line| format!("{}\n", line.replace(version, "version=\"[version]\""))).collect()
}

#[test]
fn every_event_is_counted_under_its_name() {
    let clock = Arc::new(TestClock::new());
    let metrics = Metrics::new(clock.clone());
    metrics.set_jobs(vec![watched("orders", clock.now())]);
    events("orders", clock.now()).iter().for_each(|event| metrics.hear(event));
    metrics.count_alert(true);
    clock.advance(Duration::from_secs(90));
    let gauges = Gauges { running: 2, queued: 1, parked: 0, config_current: true, disk_free: Some(1 << 40), quotas: Vec::new() };
    let page = metrics.render(&gauges);
    read(&page);
    insta::assert_snapshot!(steady(&page));
}

// O-11
#[test]
fn labels_are_bounded_and_the_rest_is_one() {
    let clock = Arc::new(TestClock::new());
    let metrics = Metrics::new(clock.clone());
    let name = |number: usize| format!("job_{number:05}");
    metrics.set_jobs((0..5_000).map(|number| watched(&name(number), clock.now())).collect());
    for number in 0..5_000 {
        events(&name(number), clock.now()).iter().for_each(|event| metrics.hear(event));
    }
    // Names that are in no file make no series.
    events("gone", clock.now()).iter().for_each(|event| metrics.hear(event));
    let samples = read(&metrics.render(&Gauges::default()));
    let jobs: BTreeSet<&str> = samples.keys().filter_map(|series| series.split_once("job=\"")?.1.split('"').next()).collect();
    assert_eq!(jobs.len(), JOBS_MAX + 1);
    assert!(!jobs.contains("gone") && jobs.contains("job_00999") && !jobs.contains("job_01000"));
    let requests: f64 =
        samples.iter().filter(|(series, _)| series.starts_with("highwater_requests_total")).map(|(_, value)| value).sum();
    assert_eq!(requests, 10_000.0);
    assert_eq!(samples["highwater_commits_total{job=\"(others)\"}"], 4_000.0);
    assert!(samples.contains_key("highwater_freshness_seconds{job=\"(others)\"}"));
    assert!(samples.len() < (JOBS_MAX + 1) * 45, "{}", samples.len());
}

#[test]
fn a_reload_keeps_what_was_counted_and_drops_what_is_gone() {
    let clock = Arc::new(TestClock::new());
    let metrics = Metrics::new(clock.clone());
    metrics.set_jobs(vec![watched("gone", clock.now()), watched("orders", clock.now())]);
    for job in ["gone", "orders"] {
        events(job, clock.now()).iter().for_each(|event| metrics.hear(event));
    }
    metrics.set_jobs(vec![watched("new", clock.now()), watched("orders", clock.now())]);
    let samples = read(&metrics.render(&Gauges::default()));
    assert_eq!(samples["highwater_requests_total{job=\"orders\"}"], 2.0);
    assert_eq!(samples["highwater_requests_total{job=\"new\"}"], 0.0);
    assert!(!samples.keys().any(|series| series.contains("gone")));
}

#[test]
fn ages_are_there_before_the_first_event() {
    let clock = Arc::new(TestClock::new());
    let metrics = Metrics::new(clock.clone());
    metrics.set_jobs(vec![watched("orders", clock.now())]);
    clock.advance(Duration::from_secs(60));
    let samples = read(&metrics.render(&Gauges::default()));
    assert_eq!(samples["highwater_freshness_seconds{job=\"orders\"}"], 7_260.0);
    assert_eq!(samples["highwater_mark_lag_seconds{job=\"orders\"}"], 7_260.0);
    assert_eq!(samples["highwater_freshness_limit_seconds{job=\"orders\"}"], 10_800.0);
}
