//! What a job gives its source's parameters: in common, and for each of its sets.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::address::AddressTemplate;
use crate::config::catalog::{Auth, Common, ParameterSet, Source};
use crate::config::node::{Node, Table};
use crate::config::problem::{Place, Report, nearest, quote};
use crate::ids::PartitionKey;
use crate::template::Scope;

use super::source::CheckedSource;

/// Longest key of a set, characters: it stands in every record, row and line of progress that is about the set.
const KEY_MAX: usize = 300;

/// The parameters of a job.
#[derive(Default)]
pub(super) struct Parameters {
    /// What all sets have in common, after defaults.
    pub common: BTreeMap<String, String>,
    /// One with an empty key where there is no `for_each`.
    pub sets: Vec<ParameterSet>,
}

/// `source` is `None` where it is not known well enough.
pub(super) fn check(table: &Table, source: Option<&CheckedSource>, report: &mut Report) -> Parameters {
    let Some(source) = source else { return Parameters::default() };
    let mut common = defaults(source);
    take(table.map("parameters"), source, &mut common, report);
    let sets = match table.has("for_each") {
        true => sets(table, source, &common, report),
        false => {
            require(table, table.table("parameters"), source, report);
            vec![ParameterSet { partition: PartitionKey::default(), parameters: common.clone() }]
        }
    };
    if let Some(source) = &source.source {
        check_headers(source, &sets, table, report);
    }
    Parameters { common, sets }
}

fn defaults(source: &CheckedSource) -> BTreeMap<String, String> {
    source.parameters.iter().map(|(name, parameter)| (name.clone(), parameter.default.clone())).collect()
}

/// Takes over the given values that the source knows, and reports the others.
fn take(given: &[(String, Node)], source: &CheckedSource, values: &mut BTreeMap<String, String>, report: &mut Report) {
    for (name, node) in given {
        if !source.parameters.contains_key(name) {
            // Where the source's file cannot be read, nothing can be said of its parameters.
            if source.source.is_some() || !source.streams.is_empty() {
                let help = nearest(name, source.parameters.keys().map(String::as_str), "parameters");
                report.error(&node.at, format!("{} has no parameter {}", source.file, quote(name)), help);
            }
        } else if let Some(text) = node.text() {
            values.insert(name.clone(), text.to_owned());
        }
    }
}

/// Reports required parameters that a job without sets does not give.
fn require(table: &Table, given: Option<&Table>, source: &CheckedSource, report: &mut Report) {
    for (name, _) in source.parameters.iter().filter(|(_, parameter)| parameter.required) {
        match given.and_then(|given| given.node(name)) {
            Some(node) => require_value(node, name, source, report),
            None => {
                let help = format!("add parameters = {{ {name} = \"...\" }}");
                report.error(&table.place("parameters"), format!("{} needs the parameter `{name}`", source.file), help);
            }
        }
    }
}

/// A value of a wrong type was reported where it stands.
fn require_value(node: &Node, name: &str, source: &CheckedSource, report: &mut Report) {
    if node.text().is_some_and(str::is_empty) {
        report.error(&node.at, format!("{} needs the parameter `{name}`", source.file), "give it a value");
    }
}

fn sets(table: &Table, source: &CheckedSource, common: &BTreeMap<String, String>, report: &mut Report) -> Vec<ParameterSet> {
    let entries = table.list("for_each");
    // A list that is none was reported where it stands.
    if entries.is_empty() && table.node("for_each").is_some_and(Node::is_list) {
        report.error(
            &table.place("for_each"),
            "there is no set",
            "give at least one, such as [{ name = \"value\" }], or take it out",
        );
    }
    let mut sets = Vec::with_capacity(entries.len());
    let mut places: BTreeMap<PartitionKey, Place> = BTreeMap::new();
    for entry in entries {
        let Some(given) = entry.table() else { continue };
        if given.entries.is_empty() {
            report.error(&entry.at, "the set is empty", "give what it differs in, or take it out");
            continue;
        }
        let mut parameters = common.clone();
        take(&given.entries, source, &mut parameters, report);
        require_in_set(table, entry, given, source, report);
        let partition =
            PartitionKey::of(given.entries.iter().map(|(name, node)| (name.as_str(), node.text().unwrap_or_default())));
        if partition.as_str().len() > KEY_MAX {
            let message = format!("the values of the set are longer than {KEY_MAX} characters together");
            report.error(&entry.at, message, "a set is known by its values: move long ones that are common to `parameters`");
        } else if let Some(first) = places.get(&partition) {
            let message = format!("the set {} is given twice, first in line {}", quote(partition.as_str()), first.line);
            report.error(&entry.at, message, "keep one of them: its rows would be loaded twice");
        } else {
            places.insert(partition.clone(), entry.at.clone());
            sets.push(ParameterSet { partition, parameters });
        }
    }
    sets
}

/// A required parameter may stand in the set or be common to all.
fn require_in_set(table: &Table, entry: &Node, given: &Table, source: &CheckedSource, report: &mut Report) {
    for (name, _) in source.parameters.iter().filter(|(_, parameter)| parameter.required) {
        match given.node(name).or_else(|| table.table("parameters").and_then(|common| common.node(name))) {
            Some(node) => require_value(node, name, source, report),
            None => {
                let message =
                    format!("{} needs the parameter `{name}`, and neither this set nor `parameters` gives it", source.file);
                report.error(&entry.at, message, format!("add {name} = \"...\" to the set"));
            }
        }
    }
}

/// The source with its addresses filled in; the sets of one job have them in common.
pub(super) fn locate(table: &Table, source: &CheckedSource, given: &Parameters, report: &mut Report) -> Option<Common<Source>> {
    let mut located = source.source.clone()?;
    let names: BTreeSet<&str> = source.addresses.all().flat_map(AddressTemplate::names).collect();
    let Some(first) = given.sets.first().filter(|_| !names.is_empty()) else { return Some(located) };
    let differ = |name: &&&str| given.sets.iter().any(|set| set.parameters.get(**name) != first.parameters.get(**name));
    if let Some(name) = names.iter().find(differ) {
        let message = format!("the sets differ in `{name}`, which is part of the source's address");
        report.error(&table.place("for_each"), message, "write a job for each: limits and secrets belong to an address");
        return None;
    }
    let mut fill = |address: &AddressTemplate| match address.with(&first.parameters, located.allow_private) {
        Ok(url) => url,
        Err((name, why)) => {
            let node = table.table("parameters").and_then(|parameters| parameters.node(&name));
            let place = node.map_or_else(
                || table.place(if table.has("for_each") { "for_each" } else { "parameters" }),
                |node| node.at.clone(),
            );
            // Never quotes a value: it may be a secret.
            let message = format!("the value of `{name}` {why}");
            let help = format!("{} has it in an address: write letters, digits, `-` and dots, such as \"acme\"", source.file);
            report.error(&place, message, help);
            None
        }
    };
    let base = source.addresses.base.as_ref().map(&mut fill);
    if matches!(base, Some(None)) {
        return None;
    }
    let token = source.addresses.token.as_ref().map(&mut fill);
    if let Some(url) = base {
        located.base_url = url?;
    }
    if let (Some(url), Auth::OAuth2(oauth2)) = (token, &mut located.auth) {
        oauth2.token_url = url?;
    }
    Some(located)
}

/// All that headers depend on is known here, so that none fails later. Never quotes a value: it may be a secret.
fn check_headers(source: &Source, sets: &[ParameterSet], table: &Table, report: &mut Report) {
    for (name, template) in &source.headers {
        let lacks_a_name = |set: &ParameterSet| template.names().any(|used| !set.parameters.contains_key(used));
        // A value without names was checked where it stands, and so was a name that is not in scope.
        if template.names().next().is_none() || sets.iter().any(lacks_a_name) {
            continue;
        }
        let wrong = sets.iter().enumerate().find_map(|(index, set)| {
            let message = template.render_header(&Scope::new().parameters(&set.parameters)).err()?;
            Some((index, message))
        });
        let Some((index, message)) = wrong else { continue };
        // Sets with problems are left out, so that places and sets may be out of step: then the list itself is named.
        let entries = table.list("for_each");
        let place = match entries.get(index).filter(|_| entries.len() == sets.len()) {
            Some(entry) => entry.at.clone(),
            None if table.has("for_each") => table.place("for_each"),
            None => table.place("parameters"),
        };
        report.error(&place, format!("the header `{name}` cannot be written: {message}"), "correct the parameters that it uses");
    }
}
