//! Why a command gives up, in the form the user reads: what is wrong, and the way out.

use std::io;

use serde_json::json;

use crate::error::ErrorKind;

use super::exit::Exit;
use super::text::printable;

/// The end of a command that did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    /// Lower case, no full stop, the whole chain; empty if everything was said already.
    pub message: String,
    pub help: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into(), help: None }
    }

    pub fn of(kind: ErrorKind, message: impl Into<String>) -> Self {
        Failure::new(Exit::from(kind), message)
    }

    pub fn config(message: impl Into<String>) -> Self {
        Failure::new(Exit::Config, message)
    }

    /// The output said it all; only the exit code is left to tell.
    pub fn told(exit: Exit) -> Self {
        Failure::new(exit, String::new())
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What stands on stderr: `error: ...` with `  help: ...` below, or one line of JSON
    /// (`{"error": {"exit", "code", "message", "help"}}`). `None` if there is nothing to say.
    pub fn render(&self, as_json: bool) -> Option<String> {
        if self.message.is_empty() {
            return None;
        }
        if as_json {
            let error = json!({"exit": self.exit.name(), "code": self.exit.code(), "message": self.message, "help": self.help});
            return Some(json!({ "error": error }).to_string());
        }
        let mut text = format!("error: {}", printable(&self.message));
        if let Some(help) = &self.help {
            text.push_str("\n  help: ");
            text.push_str(&printable(help));
        }
        Some(text)
    }
}

/// Trouble with the command's own output. Whoever read it having left is no failure: `highwater query ... | head` is done.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::told(Exit::Done),
            _ => Failure::new(Exit::Failed, format!("write the output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_way_out() {
        let failure = Failure::config("no job is called `quakes`").help("the jobs are `earthquakes`");
        assert_eq!(
            failure.render(false).as_deref(),
            Some("error: no job is called `quakes`\n  help: the jobs are `earthquakes`")
        );
        let parsed: serde_json::Value = serde_json::from_str(&failure.render(true).expect("text")).expect("JSON");
        assert_eq!(parsed["error"]["code"], 78);
        assert_eq!(parsed["error"]["exit"], "config");
        assert_eq!(parsed["error"]["help"], "the jobs are `earthquakes`");
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.exit, failure.render(false)), (Exit::Done, None));
        let failure = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.render(false).is_some());
    }

    #[test]
    fn what_a_server_said_cannot_drive_the_terminal() {
        let failure = Failure::new(Exit::Failed, "body said \u{1b}[2Jhello");
        assert_eq!(failure.render(false).as_deref(), Some("error: body said \u{fffd}[2Jhello"));
    }
}
