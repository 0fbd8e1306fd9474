//! `config.toml`.

use std::path::PathBuf;

use crate::config::catalog::Settings;
use crate::config::node::Table;
use crate::config::problem::{Report, quote};
use crate::config::read::Project;
use crate::config::secret::{ExposeSecret, SecretRef};
use crate::config::units::size_text;

use super::service;

const STATE_PATH: &str = "state/highwater.db";
const MEMORY: u64 = 512 << 20;
/// Below this not even one page and one row group fit.
const MEMORY_MIN: u64 = 16 << 20;
const RUNS: usize = 8;
const DISK_FREE: u64 = 512 << 20;

pub(super) fn defaults(project: &Project) -> Settings {
    Settings {
        state_path: project.base.join(STATE_PATH),
        state_server: None,
        memory: MEMORY,
        runs: RUNS,
        disk_free: DISK_FREE,
        web: None,
        alerts: Vec::new(),
    }
}

pub(super) fn check(table: &Table, project: &Project, report: &mut Report) -> Settings {
    let mut settings = defaults(project);
    if let Some(state) = table.table("state")
        && let Some(url) = state.secret("url")
    {
        match state_place(url, state, report) {
            Some(StatePlace::File(path)) => settings.state_path = project.base.join(path),
            Some(StatePlace::Server(url)) => settings.state_server = Some(url),
            None => {}
        }
    }
    settings.web = service::web(table, report);
    settings.alerts = service::alerts(table, report);
    let Some(limits) = table.table("limits") else {
        return settings;
    };
    match limits.size("memory") {
        Some(memory) if memory < MEMORY_MIN => {
            let help = format!("give at least \"{}\"", size_text(MEMORY_MIN));
            report.error(&limits.place("memory"), format!("{} is too little", quote(&size_text(memory))), help);
        }
        Some(memory) => settings.memory = memory,
        None => {}
    }
    settings.runs = limits.integer("runs").and_then(|runs| usize::try_from(runs).ok()).unwrap_or(RUNS);
    settings.disk_free = limits.size("disk_free").unwrap_or(DISK_FREE);
    settings
}

enum StatePlace {
    File(PathBuf),
    Server(SecretRef),
}

/// Never quotes the address of a server: it may hold a password.
fn state_place(url: SecretRef, state: &Table, report: &mut Report) -> Option<StatePlace> {
    let place = state.place("url");
    let help = "write \"sqlite://\" and a path, such as \"sqlite://state/highwater.db\", or \"postgres://..\"";
    let SecretRef::Literal(text) = &url else { return Some(StatePlace::Server(url)) };
    let url_text = text.expose_secret().to_owned();
    let url_text = url_text.as_str();
    let Some((scheme, path)) = url_text.split_once("://") else {
        report.error(&place, "this is not an address of a state", help);
        return None;
    };
    match scheme {
        "sqlite" => {}
        "postgres" | "postgresql" => {
            if has_password(path) {
                let help = "write a reference: { env = \"NAME\" }, { file = \"path\" } or { credential = \"name\" }";
                report.warning(&place, "a password is written out in the file", help);
            }
            return Some(StatePlace::Server(url));
        }
        _ => {
            report.error(&place, format!("{} is not a kind of state", quote(scheme)), help);
            return None;
        }
    }
    let odd = path.is_empty() || path.ends_with('/') || path.contains(['?', '#', '\0']) || path.starts_with(':');
    if odd {
        report.error(&place, format!("{} is not the path of a file", quote(path)), help);
        return None;
    }
    Some(StatePlace::File(PathBuf::from(path)))
}

/// In front of the host, or among the parameters.
fn has_password(address: &str) -> bool {
    let (front, parameters) = address.split_once('?').unwrap_or((address, ""));
    let user = front.rsplit_once('@').map_or("", |(user, _)| user);
    user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
        || parameters.split('&').any(|parameter| parameter.starts_with("password="))
}
