//! What a look at the world outside of the files finds: `check --connect` asks sources and sinks, `doctor` this machine too.
//!
//! Sources are asked for one page each, with their credentials and without retries; sinks get small objects that are removed
//! again. Deliberately absent: repairs. Each finding names the way out, and who knows the place takes it.

mod machine;
mod sinks;
mod sources;

use serde::Serialize;

use super::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::project::Project;
use super::terminal::Terminal;
use super::text::{counted, printable};

pub(crate) use machine::look_at_machine;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Good,
    /// Works, but somebody should know.
    Odd,
    /// A run would fail by it, or not be safe.
    Broken,
    /// Was not looked at, with the reason.
    Skipped,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Odd => "odd",
            Verdict::Broken => "broken",
            Verdict::Skipped => "skipped",
        }
    }
}

/// One thing that was looked at, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// `files`, `secret`, `source`, `sink`, `state`, `daemon`, `disk`, `clock`, `unit`, `version`.
    pub area: &'static str,
    /// Of which one, as the files name it; empty where there is only one.
    pub subject: String,
    /// What of it, such as `put_if_absent`; empty where it is looked at as a whole.
    pub what: &'static str,
    pub verdict: Verdict,
    pub message: String,
    /// The way out.
    pub help: Option<String>,
}

impl Finding {
    fn new(area: &'static str, subject: impl Into<String>, verdict: Verdict, message: impl Into<String>) -> Self {
        Finding { area, subject: subject.into(), what: "", verdict, message: message.into(), help: None }
    }

    fn of(mut self, what: &'static str) -> Self {
        self.what = what;
        self
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn line(&self) -> String {
        let subject = if self.subject.is_empty() { String::new() } else { format!(" {}", self.subject) };
        let mut text = format!("{:<7}  {}{subject}: {}", self.verdict.name(), self.area, self.message);
        if let Some(help) = &self.help {
            text.push_str(&format!("\n         help: {help}"));
        }
        text
    }
}

/// Whether secrets can be had, sources answer, and sinks are fit: of everything that enabled jobs use.
pub(crate) async fn look_outside(context: &Context, project: &Project) -> Vec<Finding> {
    let mut findings = secrets_of_settings(project);
    findings.extend(sources::look(context, project).await);
    findings.extend(sinks::look(context, project).await);
    findings
}

/// Those of sources and sinks are resolved when these are looked at.
fn secrets_of_settings(project: &Project) -> Vec<Finding> {
    use crate::config::secret::SecretSource;
    let settings = &project.catalog.settings;
    let web = settings.web.iter().filter_map(|web| Some(("web.token".to_owned(), web.token.as_ref()?)));
    let alerts = settings.alerts.iter().map(|channel| (format!("alerts.{}.url", channel.name), &channel.url));
    let judge = |(key, reference)| match project.secrets.resolve(reference) {
        Ok(_) => Finding::new("secret", key, Verdict::Good, "is there"),
        Err(reason) => {
            Finding::new("secret", key, Verdict::Broken, reason).help("set it, or change the reference in config.toml")
        }
    };
    web.chain(alerts).map(judge).collect()
}

/// Prints findings for people: the good ones too, so that it shows what was looked at.
pub(crate) fn print(terminal: &Terminal, findings: &[Finding]) -> Result<(), Failure> {
    for finding in findings {
        terminal.line(&printable(&finding.line()))?;
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let looked_at = counted(findings.len() as u64, "finding");
    terminal.line(&format!("{looked_at}: {} broken, {} odd", count(Verdict::Broken), count(Verdict::Odd)))
}

/// Failed where something is broken.
pub(crate) fn exit(findings: &[Finding]) -> Exit {
    match findings.iter().any(|finding| finding.verdict == Verdict::Broken) {
        true => Exit::Failed,
        false => Exit::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_thing_is_a_failure_and_an_odd_one_is_none() {
        let of = |verdict| Finding::new("disk", "/lake", verdict, "it is so").help("do this");
        assert_eq!(exit(&[of(Verdict::Good), of(Verdict::Odd), of(Verdict::Skipped)]), Exit::Done);
        assert_eq!(exit(&[of(Verdict::Good), of(Verdict::Broken)]), Exit::Failed);
        assert_eq!(of(Verdict::Odd).line(), "odd      disk /lake: it is so\n         help: do this");
    }
}
