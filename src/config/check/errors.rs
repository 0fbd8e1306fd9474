//! `[[errors]]`.

use std::time::Duration;

use crate::config::catalog::{ErrorRule, Then};
use crate::config::node::{Node, Table};
use crate::config::problem::Report;

const WAIT: Duration = Duration::from_secs(60);

/// The rules of a source or a stream, in file order.
pub(super) fn check(table: &Table, report: &mut Report) -> Vec<ErrorRule> {
    table.list("errors").iter().filter_map(Node::table).filter_map(|table| rule(table, report)).collect()
}

fn rule(table: &Table, report: &mut Report) -> Option<ErrorRule> {
    let status: Vec<u16> =
        table.list("status").iter().filter_map(Node::integer).filter_map(|status| u16::try_from(status).ok()).collect();
    let is: Vec<String> = table.list("is").iter().filter_map(Node::text).map(str::to_owned).collect();
    let at = table.path("at");
    if !table.has("status") && !table.has("at") && !table.has("contains") {
        report.error(&table.at, "the rule holds for every answer", "add `status`, `at` or `contains`");
    }
    if table.has("is") && !table.has("at") {
        report.error(&table.place("is"), "nothing says where it should stand", "add `at`, such as \"error.code\"");
    }
    if table.has("is") && table.has("contains") {
        report.error(&table.place("contains"), "`is` and `contains` are given both", "keep one of them, or write two rules");
    }
    let then = match (table.text("then")?.as_str(), wait(table, report)) {
        ("retry", _) => Then::Retry,
        ("wait", wait) => Then::Wait(wait),
        ("refresh", _) => Then::Refresh,
        ("skip", _) => Then::Skip,
        ("dead_letter", _) => Then::DeadLetter,
        _ => Then::Fail,
    };
    if table.has("wait") && !matches!(then, Then::Wait(_)) {
        report.error(&table.place("wait"), "only then = \"wait\" waits", "take it out, or write then = \"wait\"");
    }
    let contains = table.text("contains").map(|text| text.to_lowercase());
    Some(ErrorRule { status, at, is, contains, then, message: table.text("message") })
}

fn wait(table: &Table, report: &mut Report) -> Duration {
    let Some(wait) = table.duration("wait") else { return WAIT };
    match Duration::try_from(wait) {
        Ok(wait) if !wait.is_zero() => wait,
        _ => {
            report.error(&table.place("wait"), "nothing is waited for", "give a duration above zero, such as \"60s\"");
            WAIT
        }
    }
}
