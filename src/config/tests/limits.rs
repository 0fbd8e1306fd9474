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
    insta::assert_snapshot!(with_limits("burst = \"0%\"\nreserve = \"100%\"\npace = \"slow\"\nheaders = \"follows\""), @r#"
    error: sources/shop.toml:8:9: limits.burst: `0%` lets no request leave
      help: give more than 0 %, at most "100%"; the default is "2%"
    error: sources/shop.toml:9:11: limits.reserve: `100%` leaves backfills nothing
      help: give less than 100 %, such as "20%"
    error: sources/shop.toml:10:8: limits.pace: `slow` is not known here
      help: the words are `burst`, `spread`
    error: sources/shop.toml:11:11: limits.headers: `follows` is not known here
      help: did you mean `follow`?
    "#);
    insta::assert_snapshot!(with_limits("burst = 2\nreserve = \"101%\""), @r#"
    error: sources/shop.toml:8:9: limits.burst: expected a percentage in quotes, found a whole number
      help: write it with its sign, such as "2%"
    error: sources/shop.toml:9:11: limits.reserve: `101%` is not a percentage
      help: write a number from 0 to 100 with its sign, such as "2%" or "0.5%"
    "#);
    insta::assert_snapshot!(with_limits("burst = \"2\"\nbrust = \"2%\""), @r#"
    error: sources/shop.toml:8:9: limits.burst: `2` is not a percentage
      help: write a number from 0 to 100 with its sign, such as "2%" or "0.5%"
    error: sources/shop.toml:9:1: limits.brust: unknown key
      help: did you mean `burst`?
    "#);
}

#[test]
fn points_and_cost() {
    insta::assert_snapshot!(with_limits("points = [\"1000\", 5]\ncost = \"\"\ncost_guess = 0"), @r#"
    error: sources/shop.toml:8:11: limits.points[1]: `1000` is not a rate
      help: write points per time, such as "1000/min" or "50/s"
    error: sources/shop.toml:8:19: limits.points[2]: expected a rate in quotes, found a whole number
      help: write points per time, such as "1000/min"
    error: sources/shop.toml:9:8: limits.cost: the whole body is not a cost
      help: write where the number stands, such as "extensions.cost.actualQueryCost" or "header.x-cost"
    error: sources/shop.toml:10:14: limits.cost_guess: `0` is out of range
      help: write a whole number from 1 to 1000000000
    "#);
    insta::assert_snapshot!(with_limits("points = [\"1000/min\"]\ncost = \"header.a b\"\ncost_guess = 1001"), @r#"
    error: sources/shop.toml:9:8: limits.cost: `a b` is not a header name
      help: write a dotted path, such as "data.items" or "header.X-Next"; a key with a dot is quoted: '"a.b"'
    error: sources/shop.toml:10:14: limits.cost_guess: `1001` points are more than `1000/min` ever grants
      help: give at most 1000
    "#);
    let narrow_group = "cost_guess = 11\npoints = [\"100/s\"]\n[limits.groups.search]\nmatch = \"/search\"\npoints = [\"10/s\"]";
    insta::assert_snapshot!(with_limits(narrow_group), @r"
    error: sources/shop.toml:8:14: limits.cost_guess: `11` points are more than `10/s` ever grants
      help: give at most 10
    ");
}

#[test]
fn groups() {
    let lines = "[limits.groups.search]\nmatch = \"search/*\"\n[limits.groups.b]\nrequests = [\"1/s\"]\n[limits.groups.c]\nmatch = \"/{{ owner }}/*\"\nconcurrency = 0";
    insta::assert_snapshot!(with_limits(lines), @r#"
    error: sources/shop.toml:8:1: limits.groups.search: the group `search` limits nothing
      help: add requests = ["30/min"], or take it out
    error: sources/shop.toml:9:9: limits.groups.search.match: `search/*` is not a pattern of paths
      help: write a path below `base_url` with `*` for any characters, such as "/search/*"; a star stands where parameters do
    error: sources/shop.toml:10:1: limits.groups.b.match: `match` is missing
      help: add `match`
    error: sources/shop.toml:13:9: limits.groups.c.match: `/{{ owner }}/*` is not a pattern of paths
      help: write a path below `base_url` with `*` for any characters, such as "/search/*"; a star stands where parameters do
    error: sources/shop.toml:14:15: limits.groups.c.concurrency: `0` is out of range
      help: write a whole number from 1 to 10000
    "#);
    let lines = "[limits.groups.a]\nmatch = \"/a\"\npoints = []\n[limits.groups.b]\nmatch = \"/a\"\nrequests = [\"1/s\"]\n[limits.groups.c]\nmatch = \"*\"\nrequests = [\"1/s\"]\nburst = \"2%\"\n[limits.groups.\"\"]\nmatch = \"/x\"";
    insta::assert_snapshot!(with_limits(lines), @r#"
    error: sources/shop.toml:8:1: limits.groups.a: the group `a` limits nothing
      help: add requests = ["30/min"], or take it out
    error: sources/shop.toml:12:9: limits.groups.b.match: the group `a` matches the very same paths
      help: make one group of the two
    error: sources/shop.toml:17:1: limits.groups.c.burst: unknown key
      help: the keys here are `match`, `requests`, `points`, `concurrency`
    error: sources/shop.toml:18:16: limits.groups."": the text is empty
      help: write a text, or leave the key out
    "#);
    let many: String = (0..101).map(|n| format!("[limits.groups.g{n}]\nmatch = \"/{n}\"\nrequests = [\"1/s\"]\n")).collect();
    insta::assert_snapshot!(with_limits(&many), @r"
    error: sources/shop.toml:308:1: limits.groups.g100: there are more than 100 groups
      help: a star in `match` lets one group hold many paths
    ");
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
