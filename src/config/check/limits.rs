//! `[limits]` of a source.

use crate::config::catalog::{HeaderTrust, LimitGroup, Limits, Pace, Rate};
use crate::config::node::{Table, Value};
use crate::config::problem::{Report, quote};
use crate::config::units::rate_text;
use crate::page::ResponsePath;

/// A request looks through all of them.
const GROUPS_MAX: usize = 100;

/// What is wrong is reported and left out: the source does not count then.
pub(super) fn check(table: Option<&Table>, report: &mut Report) -> Limits {
    let Some(table) = table else {
        return Limits::default();
    };
    let defaults = Limits::default();
    let limits = Limits {
        requests: rates(table, "requests"),
        points: rates(table, "points"),
        concurrency: concurrency(table),
        burst: table.share("burst").unwrap_or(defaults.burst),
        reserve: table.share("reserve").unwrap_or(defaults.reserve),
        pace: match table.text("pace").as_deref() {
            Some("spread") => Pace::Spread,
            _ => Pace::Burst,
        },
        headers: match table.text("headers").as_deref() {
            Some("follow") => HeaderTrust::Follow,
            Some("ignore") => HeaderTrust::Ignore,
            _ => HeaderTrust::Tighten,
        },
        cost: table.path("cost"),
        cost_guess: table.integer("cost_guess").and_then(|guess| u32::try_from(guess).ok()).unwrap_or(defaults.cost_guess),
        groups: groups(table, report),
    };
    check_shares(table, &limits, report);
    check_cost(table, &limits, report);
    limits
}

fn rates(table: &Table, key: &str) -> Vec<Rate> {
    let rate = |value: &Value| match value {
        Value::Rate(rate) => Some(*rate),
        _ => None,
    };
    table.list(key).iter().filter_map(|node| rate(&node.value)).collect()
}

fn concurrency(table: &Table) -> Option<usize> {
    table.integer("concurrency").and_then(|count| usize::try_from(count).ok())
}

fn check_shares(table: &Table, limits: &Limits, report: &mut Report) {
    if limits.burst <= 0.0 {
        let help = "give more than 0 %, at most \"100%\"; the default is \"2%\"";
        report.error(&table.place("burst"), "`0%` lets no request leave", help);
    }
    if limits.reserve >= 1.0 {
        let help = "give less than 100 %, such as \"20%\"";
        report.error(&table.place("reserve"), "`100%` leaves backfills nothing", help);
    }
}

/// What is more than a window holds would never be granted.
fn check_cost(table: &Table, limits: &Limits, report: &mut Report) {
    if limits.cost == Some(ResponsePath::root()) {
        let help = "write where the number stands, such as \"extensions.cost.actualQueryCost\" or \"header.x-cost\"";
        report.error(&table.place("cost"), "the whole body is not a cost", help);
    }
    let all = limits.points.iter().chain(limits.groups.iter().flat_map(|group| &group.points));
    if let Some(narrow) = all.min_by_key(|rate| rate.requests).filter(|rate| rate.requests < limits.cost_guess) {
        let message = format!("`{}` points are more than {} ever grants", limits.cost_guess, quote(&rate_text(narrow)));
        report.error(&table.place("cost_guess"), message, format!("give at most {}", narrow.requests));
    }
}

fn groups(table: &Table, report: &mut Report) -> Vec<LimitGroup> {
    let entries = table.map("groups");
    if let Some((_, first_too_many)) = entries.get(GROUPS_MAX) {
        let message = format!("there are more than {GROUPS_MAX} groups");
        report.error(&first_too_many.at, message, "a star in `match` lets one group hold many paths");
    }
    let mut groups: Vec<LimitGroup> = Vec::new();
    for (name, node) in entries {
        let Some(group) = node.table() else { continue };
        if !["requests", "points", "concurrency"].iter().any(|key| limits_something(group, key)) {
            report.error(
                &node.at,
                format!("the group {} limits nothing", quote(name)),
                "add requests = [\"30/min\"], or take it out",
            );
        }
        let Some(Value::Pattern(pattern)) = group.node("match").map(|node| &node.value) else { continue };
        if let Some(first) = groups.iter().find(|known| known.pattern == *pattern) {
            let message = format!("the group {} matches the very same paths", quote(&first.name));
            report.error(&group.place("match"), message, "make one group of the two");
        }
        groups.push(LimitGroup {
            name: name.clone(),
            pattern: pattern.clone(),
            requests: rates(group, "requests"),
            points: rates(group, "points"),
            concurrency: concurrency(group),
        });
    }
    groups
}

/// What is written badly was reported, and is not missing.
fn limits_something(group: &Table, key: &str) -> bool {
    match group.node(key).map(|node| &node.value) {
        None => false,
        Some(Value::List(items)) => !items.is_empty(),
        Some(_) => true,
    }
}
