//! What can be said about a job's steps without data: bad SQL, impossible casts, columns that cannot be there.
//!
//! Which columns a source sends is known from data only. But after a `select` all columns are known, and after a `drop` one of them
//! is known to be gone; so a mistake in a later step, or in `partition_by`, is found before the first request.

use std::collections::BTreeSet;

use super::rows::nearest;
use super::steps::{Compiled, Kind, Target};
use crate::config::catalog::{Job, PartitionColumn, Step};
use crate::config::{Problem, Severity};

/// Every problem of the job's steps, and `partition_by` columns that cannot exist after them.
pub fn check(job: &Job) -> Vec<Problem> {
    check_steps(&job.file, &job.steps, &job.partition_by)
}

pub(super) fn check_steps(file: &str, steps: &[Step], partition_by: &[PartitionColumn]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut known = Known::default();
    for step in steps {
        match Compiled::new(step) {
            Ok(compiled) => {
                for name in known.step(&compiled.kind) {
                    let message = format!("no column `{name}` is left for this step");
                    problems.push(problem(file, step, message, known.help(&name)));
                }
                known.advance(&compiled.kind);
            }
            Err(message) => {
                let (message, help) = match message.split_once(": ") {
                    Some((message, help)) => (message.to_owned(), help.to_owned()),
                    None => (message, "see the guide's page on steps".to_owned()),
                };
                problems.push(problem(file, step, message, help));
                // What this step would have left is anybody's guess: nothing after it is blamed for it.
                known = Known::default();
            }
        }
    }
    for partition in partition_by {
        if !known.may_have(&partition.column) {
            let message = format!("no column `{}` is left after the steps", partition.column);
            let help = known.help(&partition.column);
            problems.push(Problem {
                severity: Severity::Error,
                file: file.to_owned(),
                line: 0,
                column: 0,
                key: "partition_by".to_owned(),
                message,
                help: Some(help),
            });
        }
    }
    problems
}

fn problem(file: &str, step: &Step, message: String, help: String) -> Problem {
    Problem {
        severity: Severity::Error,
        file: file.to_owned(),
        line: step.line,
        column: 1,
        key: format!("steps.{}.{}", step.number, step.kind.name()),
        message,
        help: Some(help),
    }
}

/// What is known of the columns between two steps.
#[derive(Default)]
struct Known {
    /// All columns there are, if that is known.
    all: Option<BTreeSet<String>>,
    /// Columns that are not there, where not all are known.
    gone: BTreeSet<String>,
    /// Beginnings of the names of columns that flattened structs may give.
    prefixes: Vec<String>,
}

impl Known {
    fn may_have(&self, name: &str) -> bool {
        if self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())) {
            return true;
        }
        match &self.all {
            Some(all) => all.contains(name),
            None => !self.gone.contains(name),
        }
    }

    fn help(&self, name: &str) -> String {
        let Some(all) = &self.all else { return format!("a step before took `{name}` away: move that step, or leave it out") };
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        match nearest(name, &all) {
            Some(near) => format!("write `{near}`"),
            None => format!("what is left is `{}`", all.join("`, `")),
        }
    }

    /// The columns that a step names and that cannot be there.
    fn step(&self, kind: &Kind) -> Vec<String> {
        let mut named: Vec<&str> = Vec::new();
        match kind {
            Kind::Select(columns) | Kind::Drop(columns) | Kind::Flatten { columns, .. } => {
                named.extend(columns.iter().map(String::as_str));
            }
            Kind::Rename(pairs) => named.extend(pairs.iter().map(|(old, _)| old.as_str())),
            Kind::Cast(columns) => named.extend(columns.iter().map(|(column, _)| column.as_str())),
            Kind::Derive(columns) => named.extend(columns.iter().flat_map(|(_, expression)| expression.columns())),
            Kind::Filter(predicate) => named.extend(predicate.columns()),
            Kind::Sql(query) => {
                for target in &query.targets {
                    match target {
                        Target::All { except } => named.extend(except.iter().map(String::as_str)),
                        Target::Column { expression, .. } => named.extend(expression.columns()),
                    }
                }
                named.extend(query.selection.iter().flat_map(|selection| selection.columns()));
            }
        }
        let missing: BTreeSet<&str> = named.into_iter().filter(|name| !self.may_have(name)).collect();
        missing.into_iter().map(str::to_owned).collect()
    }

    fn advance(&mut self, kind: &Kind) {
        match kind {
            Kind::Select(columns) => self.close(columns.iter().cloned().collect()),
            Kind::Drop(columns) => columns.iter().for_each(|column| self.remove(column)),
            Kind::Rename(pairs) => {
                pairs.iter().for_each(|(old, _)| self.remove(old));
                pairs.iter().for_each(|(_, new)| self.add(new));
            }
            Kind::Cast(_) | Kind::Filter(_) => {}
            Kind::Derive(columns) => columns.iter().for_each(|(column, _)| self.add(column)),
            Kind::Flatten { columns, separator } => {
                for column in columns {
                    // It stays if it never had a value, so it is not known to be gone.
                    self.prefixes.push(format!("{column}{separator}"));
                }
            }
            Kind::Sql(query) => {
                let keeps_all = query.targets.iter().any(|target| matches!(target, Target::All { .. }));
                if !keeps_all {
                    self.close(BTreeSet::new());
                }
                for target in &query.targets {
                    match target {
                        Target::All { except } => except.iter().for_each(|column| self.remove(column)),
                        Target::Column { name, .. } => self.add(name),
                    }
                }
            }
        }
    }

    fn close(&mut self, columns: BTreeSet<String>) {
        *self = Known { all: Some(columns), gone: BTreeSet::new(), prefixes: Vec::new() };
    }

    fn remove(&mut self, column: &str) {
        match &mut self.all {
            Some(all) => {
                all.remove(column);
            }
            None => {
                self.gone.insert(column.to_owned());
            }
        }
    }

    fn add(&mut self, column: &str) {
        match &mut self.all {
            Some(all) => {
                all.insert(column.to_owned());
            }
            None => {
                self.gone.remove(column);
            }
        }
    }
}
