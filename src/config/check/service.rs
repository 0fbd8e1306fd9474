//! What the daemon shows and tells: `[web]`, `[alerts.*]`, `limits.disk_free`, and a job's `freshness`.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::config::catalog::{Stream, Window};
use crate::config::node::Table;
use crate::config::problem::{Report, quote};
use crate::config::service::{AlertChannel, AlertKind, WebSettings};
use crate::config::units::duration_text;

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7077);

/// `None` without the table: nothing listens unless a file says so.
pub(super) fn web(settings: &Table, report: &mut Report) -> Option<WebSettings> {
    let table = settings.table("web")?;
    let listen = table.socket("listen").unwrap_or(LISTEN);
    // A token that is written badly was reported; that it is missing would be said of the wrong thing.
    if !listen.ip().is_loopback() && !table.has("token") {
        let message = format!("{} can be reached from other machines, and there is no `token`", quote(&listen.to_string()));
        let help = "add token = { env = \"HIGHWATER_WEB_TOKEN\" }, or listen on \"127.0.0.1:7077\"";
        report.error(&table.place("listen"), message, help);
    }
    let hosts = table.list("hosts").iter().filter_map(|node| node.text()).map(host_alone).collect();
    Some(WebSettings { listen, token: table.secret("token"), hosts })
}

/// `Name:8080` is `name`.
fn host_alone(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    name.to_ascii_lowercase()
}

pub(super) fn alerts(settings: &Table, report: &mut Report) -> Vec<AlertChannel> {
    let mut channels = Vec::new();
    for (name, node) in settings.map("alerts") {
        let Some(table) = node.table() else { continue };
        let on = kinds(table, report);
        if let Some(url) = table.secret("url") {
            channels.push(AlertChannel { name: name.clone(), url, on });
        }
    }
    channels
}

fn kinds(table: &Table, report: &mut Report) -> BTreeSet<AlertKind> {
    if !table.has("on") {
        return BTreeSet::from(AlertKind::ALL);
    }
    let words = table.list("on");
    let kinds: BTreeSet<AlertKind> = words.iter().filter_map(|node| node.text()).filter_map(AlertKind::from_name).collect();
    // A wrong word was reported, and may be the one that was meant.
    if words.iter().any(|node| node.text().is_none()) {
        return kinds;
    }
    let help = "name what it is to be told: run_failed, late, parked, schema_changed, lost";
    match kinds.iter().next() {
        None => report.error(&table.place("on"), "nothing would ever be told", help),
        // What was never told to be wrong is never told to be right again.
        Some(AlertKind::Recovered) => report.error(&table.place("on"), "`recovered` alone is never told", help),
        Some(_) => {}
    }
    kinds
}

/// The age that a job's table should never have.
pub(super) fn freshness(job: &Table, stream: Option<&Stream>, window: &Window, report: &mut Report) -> Option<Duration> {
    let freshness = job.duration("freshness")?;
    let place = job.place("freshness");
    if freshness.is_zero() {
        report.error(&place, "`0s` is an age that no table has", "give the oldest age that is fine, such as \"2h\"");
        return None;
    }
    // What is not read yet because it must settle is as old as that at best.
    let reads_time = stream.and_then(|stream| stream.window_cursor()).is_some_and(|cursor| cursor.cursor_type.is_time());
    if reads_time && freshness <= window.settle {
        let settle = duration_text(window.settle);
        let message = format!("{} is never reached: the window settles for {settle}", quote(&duration_text(freshness)));
        report.error(&place, message, "give more than `window.settle` and the time between two runs");
    }
    Duration::try_from(freshness).ok()
}
