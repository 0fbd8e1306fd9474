//! `RateLimit` and `RateLimit-Policy`, draft-ietf-httpapi-ratelimit-headers, in all of its revisions that are still sent:
//!
//! - from 08 on (11 is of May 2026) two lists of structured fields (RFC 9651), joined by name:
//!   `RateLimit-Policy: "burst";q=100;w=60` and `RateLimit: "burst";r=50;t=30`;
//! - 07 a dictionary, `RateLimit: limit=100, remaining=50, reset=30`, and policies named by nothing but their quota, `100;w=60`;
//! - 00 to 06 three headers, `RateLimit-Limit: 100, 100;w=60`, `RateLimit-Remaining` and `RateLimit-Reset`.
//!
//! GitLab sends the three with a moment as reset and the limit's name in `RateLimit-Name`
//! (docs.gitlab.com/administration/settings/user_and_ip_rate_limits). What does not parse as its draft says counts as not sent.

use std::time::Duration;

use sfv::{BareItem, Dictionary, Item, List, ListEntry, Parameters, Parser};

use crate::quota::told::{ToldLimit, ToldShape};

use super::answer::Answer;
use super::{LIMITS_MAX, SIZE_MAX, number};

/// One entry of `RateLimit-Policy`.
struct Policy {
    /// Empty before draft 08.
    name: String,
    quota: u64,
    per: Option<Duration>,
    unit: Unit,
    partition: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Requests,
    Concurrent,
    /// Bytes, or what a later draft may count.
    Other,
}

/// What is left of the one limit that is closest, drafts up to 07.
#[derive(Default)]
struct Closest {
    limit: Option<u64>,
    left: Option<u64>,
    reset: Option<Duration>,
}

pub(super) fn limits(answer: &Answer<'_>) -> Vec<ToldLimit> {
    let policies = answer.list("ratelimit-policy").map(|text| policies(&text)).unwrap_or_default();
    let left = answer.list("ratelimit").unwrap_or_default();
    if let Some(closest) = dictionary(&left) {
        return with_closest(answer, policies, closest);
    }
    let items = items(&left);
    if !items.is_empty() {
        return joined(&policies, &items);
    }
    three_headers(answer, policies)
}

/// Drafts up to 06; their policies stood behind the limit at first.
fn three_headers(answer: &Answer<'_>, mut policies: Vec<Policy>) -> Vec<ToldLimit> {
    let limit = answer.list("ratelimit-limit").unwrap_or_default();
    let (first, more) = limit.split_once(',').unwrap_or((limit.as_str(), limit.as_str()));
    if policies.is_empty() {
        policies = self::policies(more);
        policies.retain(|policy| policy.per.is_some());
    }
    let closest = Closest {
        limit: number::count(first),
        left: answer.count("ratelimit-remaining"),
        reset: answer.text("ratelimit-reset").and_then(|text| number::reset(text, answer.date)),
    };
    with_closest(answer, policies, closest)
}

/// From draft 08 on: each limit beside the policy of its name.
fn joined(policies: &[Policy], items: &[Item]) -> Vec<ToldLimit> {
    let mut limits = Vec::new();
    for item in items {
        let Some(name) = named(&item.bare_item) else { continue };
        let partition = partition(&item.params);
        let of_name = || policies.iter().filter(|policy| policy.name == name);
        let policy = of_name().find(|policy| policy.partition == partition).or_else(|| of_name().next());
        let reset = count(&item.params, "t").map(Duration::from_secs);
        let Some(left) = count(&item.params, "r") else { continue };
        limits.extend(limit(label(&name, &partition), policy, Some(left), reset));
    }
    for policy in policies {
        let told = |item: &Item| named(&item.bare_item).is_some_and(|name| name == policy.name);
        if !items.iter().any(told) {
            limits.extend(limit(label(&policy.name, &policy.partition), Some(policy), None, None));
        }
    }
    limits
}

/// Up to draft 07: policies without names, one of which may be the closest, and which it is changes from answer to answer. So each
/// goes by its window's length where they could be mixed up.
fn with_closest(answer: &Answer<'_>, policies: Vec<Policy>, closest: Closest) -> Vec<ToldLimit> {
    let of_closest = policies.iter().position(|policy| Some(policy.quota) == closest.limit && policy.name.is_empty());
    let apart = policies.len() > 1 || (of_closest.is_none() && closest.limit.or(closest.left).is_some());
    let given = answer.text("ratelimit-name").unwrap_or_default();
    let mut limits = Vec::new();
    for (index, policy) in policies.iter().enumerate() {
        let name = match policy.per {
            _ if !policy.name.is_empty() => label(&policy.name, &policy.partition),
            Some(per) if apart => format!("{}s", per.as_secs()),
            _ => given.to_owned(),
        };
        let (left, reset) = if of_closest == Some(index) { (closest.left, closest.reset) } else { (None, None) };
        limits.extend(limit(name, Some(policy), left, reset));
    }
    if of_closest.is_none() {
        let shape = ToldShape::Window { per: None, reset: closest.reset };
        limits.push(ToldLimit { name: given.to_owned(), size: closest.limit, left: closest.left, shape });
    }
    limits
}

/// `None` for what is not counted in requests.
fn limit(name: String, policy: Option<&Policy>, left: Option<u64>, reset: Option<Duration>) -> Option<ToldLimit> {
    let per = policy.and_then(|policy| policy.per);
    let shape = match policy.map_or(Unit::Requests, |policy| policy.unit) {
        Unit::Requests => ToldShape::Window { per, reset },
        Unit::Concurrent => ToldShape::Concurrency,
        Unit::Other => return None,
    };
    Some(ToldLimit { name, size: policy.map(|policy| policy.quota), left, shape })
}

fn policies(text: &str) -> Vec<Policy> {
    let policy = |item: &Item| {
        let (name, quota) = match &item.bare_item {
            BareItem::Integer(_) => (String::new(), bare_count(&item.bare_item)?),
            bare => (named(bare)?, count(&item.params, "q")?),
        };
        let per = count(&item.params, "w").map(Duration::from_secs);
        Some(Policy { name, quota, per, unit: unit(&item.params), partition: partition(&item.params) })
    };
    items(text).iter().filter_map(policy).collect()
}

fn unit(params: &Parameters) -> Unit {
    match params.get("qu").and_then(named).as_deref() {
        None | Some("requests") => Unit::Requests,
        Some("concurrent-requests") => Unit::Concurrent,
        Some(_) => Unit::Other,
    }
}

/// A list's items, as many as are looked at; none where it is no list.
fn items(text: &str) -> Vec<Item> {
    let entries = Parser::new(text).parse::<List>().unwrap_or_default();
    let item = |entry| match entry {
        ListEntry::Item(item) => Some(item),
        ListEntry::InnerList(_) => None,
    };
    entries.into_iter().filter_map(item).take(LIMITS_MAX).collect()
}

fn dictionary(text: &str) -> Option<Closest> {
    let entries = Parser::new(text).parse::<Dictionary>().ok()?;
    let number = |key: &str| match entries.get(key) {
        Some(ListEntry::Item(item)) => bare_count(&item.bare_item),
        _ => None,
    };
    let closest = Closest { limit: number("limit"), left: number("remaining"), reset: number("reset").map(Duration::from_secs) };
    closest.limit.or(closest.left).map(|_| closest)
}

/// Drafts before 09 have a token where there is a string now.
fn named(bare: &BareItem) -> Option<String> {
    match bare {
        BareItem::String(text) => Some(text.as_str().to_owned()),
        BareItem::Token(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

fn count(params: &Parameters, key: &str) -> Option<u64> {
    bare_count(params.get(key)?)
}

fn bare_count(bare: &BareItem) -> Option<u64> {
    let whole = match bare {
        BareItem::Integer(number) => i64::from(*number),
        BareItem::Decimal(number) => i64::from(number.as_integer_scaled_1000()) / 1000,
        _ => return None,
    };
    u64::try_from(whole).ok().map(|count| count.min(SIZE_MAX))
}

/// Whom a policy counts by, where an API counts by more than the credential; as short text.
fn partition(params: &Parameters) -> String {
    match params.get("pk") {
        Some(BareItem::ByteSequence(bytes)) => bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect(),
        Some(bare) => named(bare).unwrap_or_default().chars().take(32).collect(),
        None => String::new(),
    }
}

fn label(name: &str, partition: &str) -> String {
    match partition {
        "" => name.to_owned(),
        partition => format!("{name} {partition}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{concurrency, told, window};

    #[test]
    fn lists_are_joined_by_name() {
        // R-07 R-08
        for lines in [
            "RateLimit-Policy: \"burst\";q=100;w=60, \"daily\";q=1000;w=86400\nRateLimit: \"burst\";r=50;t=30, \"daily\";r=3;t=7200",
            "RateLimit-Policy: burst;q=100;w=60,daily;q=1000;w=86400\nRateLimit: daily;r=3;t=7200, burst;r=50;t=30",
            "RateLimit-Policy: \"burst\";q=100;w=60\nRateLimit-Policy: \"daily\";q=1000;w=86400\nRateLimit: \"burst\";r=50;t=30\nRateLimit: \"daily\";r=3;t=7200",
        ] {
            let told = told(200, lines, "");
            let mut limits = told.limits;
            limits.sort_by(|a, b| a.name.cmp(&b.name));
            let burst = window("burst", Some(100), Some(50), Some(60), Some(30));
            assert_eq!(limits, [burst, window("daily", Some(1000), Some(3), Some(86_400), Some(7200))], "{lines}");
        }
    }

    #[test]
    fn one_side_alone_counts_too() {
        let told_of = |lines: &str| told(200, lines, "").limits;
        let policy = window("a", Some(10), None, Some(1), None);
        assert_eq!(told_of("RateLimit-Policy: \"a\";q=10;w=1"), [policy]);
        assert_eq!(told_of("RateLimit: \"a\";r=9;t=1"), [window("a", None, Some(9), None, Some(1))]);
        // A window's length may be left out, a quota may not.
        assert_eq!(told_of("RateLimit-Policy: \"a\";q=10, \"b\";w=5"), [window("a", Some(10), None, None, None)]);
        let both = told_of("RateLimit-Policy: \"a\";q=10;w=1\nRateLimit: \"b\";r=9;t=1");
        assert_eq!(both, [window("b", None, Some(9), None, Some(1)), window("a", Some(10), None, Some(1), None)]);
    }

    #[test]
    fn units_and_partitions() {
        let lines = "RateLimit-Policy: \"many\";q=5;qu=\"concurrent-requests\", \"big\";q=1000;w=60;qu=\"content-bytes\", \"n\";q=7;w=1;qu=requests\nRateLimit: \"many\";r=4, \"big\";r=1;t=3, \"n\";r=6;t=1";
        let limits = told(200, lines, "").limits;
        assert_eq!(limits, [concurrency("many", Some(5), Some(4)), window("n", Some(7), Some(6), Some(1), Some(1))]);
        let lines = "RateLimit-Policy: \"app\";q=100;w=60;pk=:dHJpYWw=:, \"app\";q=500;w=60;pk=:cGFpZA==:\nRateLimit: \"app\";r=1;t=2;pk=:cGFpZA==:";
        assert_eq!(told(200, lines, "").limits, [window("app 70616964", Some(500), Some(1), Some(60), Some(2))]);
    }

    #[test]
    fn the_dictionary_of_draft_07() {
        // R-09
        let limits = told(200, "RateLimit: limit=100, remaining=50, reset=30\nRateLimit-Policy: 100;w=60", "").limits;
        assert_eq!(limits, [window("", Some(100), Some(50), Some(60), Some(30))]);
        let limits = told(200, "RateLimit: limit=10, remaining=0, reset=5\nRateLimit-Policy: 10;w=1, 500;w=3600", "").limits;
        assert_eq!(
            limits,
            [window("1s", Some(10), Some(0), Some(1), Some(5)), window("3600s", Some(500), None, Some(3600), None)]
        );
        let limits = told(200, "RateLimit: limit=7, remaining=1, reset=5\nRateLimit-Policy: 10;w=1", "").limits;
        // What is closest is none of the policies.
        assert_eq!(limits, [window("1s", Some(10), None, Some(1), None), window("", Some(7), Some(1), None, Some(5))]);
    }

    #[test]
    fn the_three_headers_of_draft_06() {
        // R-09
        let of =
            |limit: &str| told(200, &format!("RateLimit-Limit: {limit}\nRateLimit-Remaining: 9\nRateLimit-Reset: 50"), "").limits;
        assert_eq!(of("10"), [window("", Some(10), Some(9), None, Some(50))]);
        assert_eq!(of("10;w=60"), [window("", Some(10), Some(9), Some(60), Some(50))]);
        assert_eq!(of("10, 10;w=60"), [window("", Some(10), Some(9), Some(60), Some(50))]);
        let two = of("10, 10;w=1;comment=\"burst\", 1000;w=3600");
        assert_eq!(
            two,
            [window("1s", Some(10), Some(9), Some(1), Some(50)), window("3600s", Some(1000), None, Some(3600), None)]
        );
        let alone = told(200, "RateLimit-Remaining: 0\nRateLimit-Reset: 5", "").limits;
        assert_eq!(alone, [window("", None, Some(0), None, Some(5))]);
        let gitlab = "RateLimit-Limit: 60\nRateLimit-Name: throttle_authenticated_web\nRateLimit-Observed: 67\nRateLimit-Remaining: 0\nRateLimit-Reset: 1777896030\nDate: Mon, 04 May 2026 12:00:00 GMT";
        assert_eq!(told(200, gitlab, "").limits, [window("throttle_authenticated_web", Some(60), Some(0), None, Some(30))]);
    }

    #[test]
    fn what_is_malformed_is_not_there() {
        // R-10
        for lines in [
            "RateLimit: \"a\";r=x",
            "RateLimit: \"a\";r=-1;t=5",
            "RateLimit: \"a;r=1;t=5",
            "RateLimit: ;;;",
            "RateLimit: a=1, b=2",
            "RateLimit: (\"a\" \"b\");r=1",
            "RateLimit: ?1;r=1",
            "RateLimit: limit=many, remaining=few",
            "RateLimit-Policy: \"a\"",
            "RateLimit-Policy: \"a\";q=\"10\"",
            "RateLimit-Policy: 100;w=60;",
            "RateLimit-Limit: lots\nRateLimit-Remaining: -1\nRateLimit-Reset: never",
        ] {
            assert_eq!(told(200, lines, "").limits, [], "{lines}");
        }
    }
}
