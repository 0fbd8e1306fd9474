//! `[limits]` of a source.

use std::time::Duration;

use crate::config::catalog::{HeaderTrust, Limits, Pace, Rate};

use super::{Files, SOURCE, with_source};

const STREAMS: &str = "[streams.orders]";

fn with_limits(lines: &str) -> String {
    with_source(STREAMS, &format!("[limits]\n{lines}\n{STREAMS}"))
}

fn limits(lines: &str) -> Limits {
    let source = SOURCE.replacen(STREAMS, &format!("{lines}\n{STREAMS}"), 1);
    let loaded = Files { source, ..Files::good() }.load();
    assert_eq!(super::shown(&loaded.problems), "");
    loaded.catalog.jobs.values().next().unwrap().source.limits.clone()
}

#[test]
fn shares_and_words() {
    insta::assert_snapshot!(with_limits("burst = \"0%\"\nreserve = \"100%\"\npace = \"slow\"\nheaders = \"follows\""), @"");
    insta::assert_snapshot!(with_limits("burst = 2\nreserve = \"101%\""), @"");
    insta::assert_snapshot!(with_limits("burst = \"2\"\nbrust = \"2%\""), @"");
}

#[test]
fn points_and_cost() {
    insta::assert_snapshot!(with_limits("points = [\"1000\", 5]\ncost = \"\"\ncost_guess = 0"), @"");
    insta::assert_snapshot!(with_limits("points = [\"1000/min\"]\ncost = \"header.a b\"\ncost_guess = 1001"), @"");
    insta::assert_snapshot!(
        with_limits("cost_guess = 11\npoints = [\"100/s\"]\n[limits.groups.search]\nmatch = \"/search\"\npoints = [\"10/s\"]"),
        @""
    );
}

#[test]
fn groups() {
    insta::assert_snapshot!(
        with_limits("[limits.groups.search]\nmatch = \"search/*\"\n[limits.groups.b]\nrequests = [\"1/s\"]\n[limits.groups.c]\nmatch = \"/{{ owner }}/*\"\nconcurrency = 0"),
        @""
    );
    insta::assert_snapshot!(
        with_limits("[limits.groups.a]\nmatch = \"/a\"\npoints = []\n[limits.groups.b]\nmatch = \"/a\"\nrequests = [\"1/s\"]\n[limits.groups.\"\"]\nmatch = \"*\"\nburst = \"2%\""),
        @""
    );
    let many: String = (0..101).map(|n| format!("[limits.groups.g{n}]\nmatch = \"/{n}\"\nrequests = [\"1/s\"]\n")).collect();
    insta::assert_snapshot!(with_limits(&many), @"");
}

#[test]
fn what_is_not_written_is_the_default() {
    let limits = limits("");
    assert!(limits.requests.is_empty() && limits.points.is_empty() && limits.groups.is_empty() && limits.cost.is_none());
    assert_eq!((limits.concurrency, limits.burst, limits.reserve, limits.cost_guess), (None, 0.02, 0.0, 1));
    assert_eq!((limits.pace, limits.headers), (Pace::Burst, HeaderTrust::Tighten));
}

#[test]
fn what_is_written_is_what_is_built() {
    let limits = limits(
        r#"[limits]
        requests = ["100/10s", "5000/h"]
        points = ["1000/min"]
        concurrency = 4
        burst = "12.5%"
        reserve = "20%"
        pace = "spread"
        headers = "follow"
        cost = "extensions.cost.actualQueryCost"
        cost_guess = 10
        [limits.groups.search]
        match = "/search/*"
        requests = ["30/min"]
        [limits.groups.export]
        match = "*/export"
        points = ["50/s"]
        concurrency = 1"#,
    );
    let rate = |requests, seconds| Rate { requests, per: Duration::from_secs(seconds) };
    assert_eq!(limits.requests, [rate(100, 10), rate(5000, 3600)]);
    assert_eq!(limits.points, [rate(1000, 60)]);
    assert_eq!((limits.concurrency, limits.burst, limits.reserve, limits.cost_guess), (Some(4), 0.125, 0.2, 10));
    assert_eq!((limits.pace, limits.headers), (Pace::Spread, HeaderTrust::Follow));
    assert_eq!(limits.cost.unwrap().to_string(), "extensions.cost.actualQueryCost");
    let [search, export] = limits.groups.as_slice() else { panic!("{:?}", limits.groups) };
    assert_eq!((search.name.as_str(), search.requests.as_slice(), search.concurrency), ("search", &[rate(30, 60)][..], None));
    assert!(search.pattern.matches("/search/code") && !search.pattern.matches("/repos"));
    assert_eq!((export.name.as_str(), export.points.as_slice(), export.concurrency), ("export", &[rate(50, 1)][..], Some(1)));
    let ignoring = self::limits("[limits]\nheaders = \"ignore\"\ncost = \"header.X-Cost\"");
    assert_eq!((ignoring.headers, ignoring.cost.unwrap().to_string().as_str()), (HeaderTrust::Ignore, "header.x-cost"));
}
