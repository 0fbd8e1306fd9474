//! `sources/*.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::config::address::AddressTemplate;
use crate::config::catalog::{Auth, ClientIdentity, Common, Source, Stream};
use crate::config::node::{Node, Table};
use crate::config::problem::{Place, Report, nearest, quote};
use crate::config::read::{Project, ProjectFile};
use crate::config::units::size_text;
use crate::template::{RESERVED, Scope, Template};

use super::names::{self, Position};
use super::{auth, errors, limits, parent, stream};

const TIMEOUT: Duration = Duration::from_secs(60);
const BODY_MAX: u64 = 64 << 20;
const ATTEMPTS: u32 = 5;

/// A source's file, as far as it is right.
pub(super) struct CheckedSource {
    pub file: String,
    pub source: Option<Common<Source>>,
    /// What `source` has samples of where jobs fill them in: its address, and that of its tokens.
    pub addresses: Addresses,
    /// All streams by name; `None` where too little of one is right.
    pub streams: BTreeMap<String, Option<Common<Stream>>>,
    pub parameters: BTreeMap<String, Parameter>,
    /// Why jobs that use it are parked.
    pub reason: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Addresses {
    pub base: Option<AddressTemplate>,
    pub token: Option<AddressTemplate>,
}

impl Addresses {
    pub fn all(&self) -> impl Iterator<Item = &AddressTemplate> {
        self.base.iter().chain(&self.token)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Parameter {
    pub required: bool,
    pub default: String,
}

/// `memory` is the ceiling on data in flight.
pub(super) fn check(
    file: &ProjectFile,
    table: Option<&Table>,
    project: &Project,
    memory: u64,
    report: &mut Report,
) -> CheckedSource {
    let mut checked = CheckedSource {
        file: file.file.clone(),
        source: None,
        addresses: Addresses::default(),
        streams: BTreeMap::new(),
        parameters: BTreeMap::new(),
        reason: None,
    };
    if let Some(table) = table {
        checked.parameters = parameters(table, report);
        let names: BTreeSet<String> = checked.parameters.keys().cloned().collect();
        checked.source = source(file, table, project, memory, &names, report).map(Common::new);
        checked.addresses = addresses(table, &names, report);
        let around = stream::Around {
            parameters: &names,
            auth: checked.source.as_ref().map(|source| &source.auth),
            errors: &errors::check(table, report),
            root: &project.root,
        };
        let mut streams = BTreeMap::new();
        for (name, node) in table.map("streams") {
            let stream = node.table().and_then(|table| stream::check(name, table, &around, report));
            streams.insert(name.clone(), stream);
        }
        let tables = table.map("streams").iter().filter_map(|(name, node)| Some((name.as_str(), node.table()?))).collect();
        parent::resolve(&tables, &mut streams, report);
        checked.streams = streams.into_iter().map(|(name, stream)| (name, stream.map(Common::new))).collect();
        if table.table("streams").is_some_and(|streams| streams.entries.is_empty()) {
            report.error(&table.place("streams"), "there is no stream", "add one: [streams.NAME]");
        }
    }
    checked.reason = report.reason();
    checked
}

fn source(
    file: &ProjectFile,
    table: &Table,
    project: &Project,
    memory: u64,
    names: &BTreeSet<String>,
    report: &mut Report,
) -> Option<Source> {
    let base_url = table.address("base_url").map(|address| address.sample().clone());
    let around = auth::Around { base_url: base_url.as_ref(), parameters: names, root: &project.root };
    let auth = auth::check(table.table("auth"), &around, report);
    let headers = headers(table, auth.as_ref(), Position::Header, names, report);
    let timeout = timeout(table, report);
    let body_max = body_max(table, memory, report);
    let limits = limits::check(table.table("limits"), report);
    let attempts = table.table("retry").and_then(|retry| retry.integer("attempts"));
    let allow_hosts = table.list("allow_hosts").iter().filter_map(Node::text).map(str::to_ascii_lowercase).collect();
    Some(Source {
        name: file.name.clone(),
        file: file.file.clone(),
        experimental: table.boolean("experimental").unwrap_or(false),
        base_url: base_url?,
        headers,
        auth: auth?,
        allow_hosts,
        allow_private: table.boolean("allow_private").unwrap_or(false),
        proxy: table.url("proxy"),
        ca_file: table.text("ca_file").map(|path| project.root.join(path)),
        identity: identity(table, report),
        timeout,
        body_max,
        limits,
        attempts_max: attempts.and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or(ATTEMPTS),
    })
}

/// The addresses that jobs fill in; their names are those of parameters.
fn addresses(table: &Table, names: &BTreeSet<String>, report: &mut Report) -> Addresses {
    let mut find = |table: &Table, key: &str| {
        let address = table.address(key)?;
        for name in address.names().filter(|name| !names.contains(*name)) {
            let help = nearest(name, names.iter().map(String::as_str), "parameters");
            report.error(&table.place(key), format!("{} is no parameter of this source", quote(name)), help);
        }
        let is_filled = address.names().next().is_some();
        is_filled.then_some(address)
    };
    let base = find(table, "base_url");
    Addresses { base, token: table.table("auth").and_then(|auth| find(auth, "token_url")) }
}

fn parameters(table: &Table, report: &mut Report) -> BTreeMap<String, Parameter> {
    let mut parameters = BTreeMap::new();
    for (name, node) in table.map("parameters") {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(fits) {
            let help = "use letters, digits and `_`, beginning with a letter";
            report.error(&node.at, format!("{} cannot be used in a template", quote(name)), help);
        }
        if RESERVED.contains(&name.as_str()) {
            report.error(&node.at, format!("`{name}` has a meaning of its own in templates"), "choose another name");
        }
        let required = node.table().and_then(|table| table.boolean("required")).unwrap_or(false);
        let default = node.table().and_then(|table| table.text("default"));
        if required && default.is_some() {
            report.error(&node.at, "a required parameter has no use for a default", "keep one of them");
        }
        parameters.insert(name.clone(), Parameter { required, default: default.unwrap_or_default() });
    }
    parameters
}

fn identity(table: &Table, report: &mut Report) -> Option<ClientIdentity> {
    let tls = table.table("tls")?;
    if table.address("base_url").is_some_and(|address| address.sample().scheme() == "http") {
        report.warning(
            &table.place("tls"),
            "without encryption no certificate is shown",
            "take it out, or write an https address",
        );
    }
    Some(ClientIdentity { certificate: tls.secret("certificate")?, key: tls.secret("key")? })
}

fn timeout(table: &Table, report: &mut Report) -> Duration {
    let Some(timeout) = table.duration("timeout").and_then(|timeout| Duration::try_from(timeout).ok()) else {
        return TIMEOUT;
    };
    if timeout.is_zero() {
        report.error(&table.place("timeout"), "nothing can be done in `0s`", "give a duration above zero, such as \"60s\"");
    }
    timeout
}

fn body_max(table: &Table, memory: u64, report: &mut Report) -> u64 {
    let Some(body_max) = table.size("body_max") else {
        return BODY_MAX.min(memory);
    };
    let shown = quote(&size_text(body_max));
    if body_max == 0 {
        report.error(&table.place("body_max"), format!("{shown} holds no body"), "give a size above zero, such as \"64MiB\"");
    }
    // A body that may be larger than the whole ceiling could never be let in.
    if body_max > memory {
        let help = format!("give at most \"{}\", or raise `limits.memory` in config.toml", size_text(memory));
        report.error(&table.place("body_max"), format!("{shown} is above the memory limit"), help);
    }
    body_max
}

/// The headers of a source, or of one of its streams.
pub(super) fn headers(
    table: &Table,
    auth: Option<&Auth>,
    position: Position,
    names: &BTreeSet<String>,
    report: &mut Report,
) -> Vec<(HeaderName, Template)> {
    let taken = auth.map(auth::headers).unwrap_or_default();
    let mut headers: Vec<(HeaderName, Template)> = Vec::new();
    for (name, node) in table.map("headers") {
        let (Ok(name), Some(template)) = (HeaderName::from_bytes(name.as_bytes()), node.template()) else {
            continue;
        };
        names::check(template, &node.at, position, names, report);
        check_header(&name, template, &node.at, report);
        if taken.contains(&name) {
            report.error(&node.at, format!("`auth` writes the header `{name}` already"), "keep one of them");
        }
        if headers.iter().any(|(known, _)| *known == name) {
            report.error(&node.at, format!("the header `{name}` is given twice"), "keep one of them");
        }
        headers.push((name, template.clone()));
    }
    headers
}

/// Never quotes the value: it may be a secret.
fn check_header(name: &HeaderName, template: &Template, at: &Place, report: &mut Report) {
    // A value without names is known whole; of the others the job's parameters decide.
    let known = template.names().next().is_none();
    let bad = known && template.render_header(&Scope::new()).is_err();
    if bad || HeaderValue::from_str(&names::literal_text(template.text())).is_err() {
        report.error(at, "the value cannot stand in a header", "use visible ASCII without line breaks");
    }
    let secret = ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"];
    if secret.contains(&name.as_str()) {
        report.warning(
            at,
            format!("the header `{name}` looks like a secret that is written out"),
            "use `auth` with a reference such as { env = \"API_TOKEN\" }",
        );
    }
}
