//! What is wrong in a user's files, and what to write instead.

use std::fmt;

/// At most this many problems are shown; more help nobody.
const SHOWN_MAX: usize = 200;
/// A file never yields more than this, so that memory stays bounded while many files are read.
const PER_FILE_MAX: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One problem. Never holds a secret: values of secrets, headers and addresses with credentials are not quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// Relative to the project folder, with `/`; empty for a remark on all problems.
    pub file: String,
    /// Counted from 1; 0 means the file as a whole.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// Dotted from the file's root; may be empty.
    pub key: String,
    /// Lower case, no full stop.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity.name())?;
        if !self.file.is_empty() {
            f.write_str(&self.file)?;
            if self.line > 0 {
                write!(f, ":{}:{}", self.line, self.column)?;
            }
            f.write_str(": ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// A place in a file: where a value stands and how it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub line: usize,
    pub column: usize,
    /// Dotted from the file's root.
    pub key: String,
}

/// The problems of one file.
#[derive(Debug)]
pub(super) struct Report {
    pub file: String,
    problems: Vec<Problem>,
}

impl Report {
    pub fn new(file: impl Into<String>) -> Report {
        Report { file: file.into(), problems: Vec::new() }
    }

    pub fn error(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Error, place, message.into(), help.into());
    }

    pub fn warning(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Warning, place, message.into(), help.into());
    }

    /// An error of the file as a whole.
    pub fn file_error(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.error(&Place::default(), message, help);
    }

    fn add(&mut self, severity: Severity, place: &Place, message: String, help: String) {
        if self.problems.len() >= PER_FILE_MAX {
            return;
        }
        self.problems.push(Problem {
            severity,
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            key: place.key.clone(),
            message,
            help: Some(help).filter(|help| !help.is_empty()),
        });
    }

    /// The first error as one line, the reason why a job is parked.
    pub fn reason(&self) -> Option<String> {
        let errors = || self.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let first = errors().min_by_key(|problem| (problem.line, problem.column))?;
        let line = Problem { help: None, ..first.clone() }.to_string();
        let line = line.strip_prefix("error: ").unwrap_or(&line).to_owned();
        Some(match errors().count() {
            1 => line,
            count => format!("{line} (and {} more)", count - 1),
        })
    }
}

/// All reports as one list: sorted by file and place, bounded.
pub(super) fn collect(reports: impl IntoIterator<Item = Report>) -> Vec<Problem> {
    let mut problems: Vec<Problem> = reports.into_iter().flat_map(|report| report.problems).collect();
    problems.sort_by(|a, b| (&a.file, a.line, a.column, &a.key).cmp(&(&b.file, b.line, b.column, &b.key)));
    let hidden = problems.len().saturating_sub(SHOWN_MAX);
    if hidden > 0 {
        // An error among the hidden ones must not be lost: the remark carries the worst severity.
        let severity = problems[SHOWN_MAX..].iter().map(|problem| problem.severity).min().unwrap_or(Severity::Error);
        problems.truncate(SHOWN_MAX);
        problems.push(Problem {
            severity,
            file: String::new(),
            line: 0,
            column: 0,
            key: String::new(),
            message: format!("and {hidden} more"),
            help: None,
        });
    }
    problems
}

/// A value for a message: short, on one line.
pub(super) fn quote(value: &str) -> String {
    const LONGEST: usize = 80;
    if value.is_empty() {
        return "the empty text".to_owned();
    }
    let mut shown: String = value.chars().take(LONGEST).flat_map(printable).collect();
    if value.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn printable(character: char) -> Vec<char> {
    match character.is_control() {
        true => character.escape_default().collect(),
        false => vec![character],
    }
}

/// "did you mean `x`?" where a known name is near, else the known names.
pub(super) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>, kind: &str) -> String {
    const LISTED_MAX: usize = 24;
    let known: Vec<&str> = known.into_iter().collect();
    // Long names cost a quadratic comparison; no right name is that long.
    let distance = |name: &&str| strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase());
    let near = if wrong.len() <= 128 { known.iter().min_by_key(|name| distance(name)) } else { None };
    if let Some(name) = near.filter(|name| distance(name) <= (name.len().max(wrong.len()) / 3).max(1)) {
        return format!("did you mean `{name}`?");
    }
    match known.len() {
        0 => format!("there are no {kind}"),
        1 => format!("there is only {}", quote(known[0])),
        _ => {
            let listed: Vec<String> = known.iter().take(LISTED_MAX).map(|name| quote(name)).collect();
            let more = if known.len() > LISTED_MAX { ", ..." } else { "" };
            format!("the {kind} are {}{more}", listed.join(", "))
        }
    }
}
