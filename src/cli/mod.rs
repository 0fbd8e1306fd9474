//! Arguments, output, exit codes: the only room that reads the environment and picks concrete types.
//!
//! Results go to stdout, progress and errors to stderr. With `--json` a result is one JSON document (rows of `query` and
//! `preview`: one object a line) whose fields are documented on the types in `commands`, and an error is one JSON object on
//! stderr. Nothing here keeps state: `run` and the tables do.

mod args;
mod ask;
mod commands;
mod daemon;
pub mod demo;
mod doctor;
mod engine;
mod environment;
pub mod exit;
mod failure;
mod faults;
mod history;
mod marks;
mod progress;
mod project;
mod quota_text;
mod report;
mod rewind;
mod rows;
mod secrets;
mod shipped;
mod signals;
mod terminal;
mod text;
mod vault;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use crate::clock::{Clock, SystemClock};
use crate::telemetry::{self, Destination, Throttle, Verbosity};
use crate::{descriptors, heap};

use args::{Arguments, Command};
use environment::Environment;
use exit::Exit;
use failure::Failure;
use progress::Screen;
use terminal::Terminal;

/// What every command works with.
pub(crate) struct Context {
    /// The project folder.
    pub folder: PathBuf,
    pub environment: Environment,
    pub terminal: Terminal,
    pub screen: Screen,
    pub clock: Arc<dyn Clock>,
    /// What the log leaves out because it repeats itself.
    pub throttle: Arc<Throttle>,
}

/// The whole program.
pub fn main() -> ExitCode {
    // Before there is a second thread.
    heap::keep_small();
    descriptors::allow_many();
    let exit = match Arguments::try_parse() {
        Ok(arguments) => run(arguments),
        Err(error) => refuse_usage(&error),
    };
    ExitCode::from(exit.code())
}

fn run(arguments: Arguments) -> Exit {
    let environment = Environment::read();
    let terminal = Terminal::detect(arguments.global.json, &environment);
    let screen = Screen::new(terminal.live);
    let json = terminal.json;
    // One TLS provider for the whole process, chosen before anybody asks for it. It can be installed once; that it is there
    // already is as good.
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clock = Arc::new(SystemClock::new());
    let destination = Destination::of_stderr(environment.journal_stream.as_deref());
    let verbosity = if matches!(arguments.command, Command::Serve) { Verbosity::Service } else { Verbosity::Command };
    let ended = telemetry::start(environment.log.as_deref(), verbosity, destination, clock.clone(), screen.clone())
        .map_err(|error| Failure::new(Exit::Usage, error))
        .and_then(|throttle| {
            let context = Context { folder: arguments.global.folder, environment, terminal, screen, clock, throttle };
            commands::perform(arguments.command, &context)
        });
    match ended {
        Ok(exit) => exit,
        Err(failure) => {
            tell(&failure, json);
            failure.exit
        }
    }
}

fn tell(failure: &Failure, json: bool) {
    if let Some(text) = failure.render(json) {
        let mut stderr = std::io::stderr().lock();
        // An error that nobody can read any more still has its exit code.
        let _lost = std::io::Write::write_all(&mut stderr, format!("{text}\n").as_bytes());
    }
}

/// Help and version are answers; everything else is a wrong command line.
fn refuse_usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // Whoever asked for help and left before it came misses nothing.
        let _lost = error.print();
        return Exit::Done;
    }
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if wants_json {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let failure = Failure::new(Exit::Usage, first.strip_prefix("error: ").unwrap_or(first));
        tell(&failure.help("highwater --help"), true);
    } else {
        let _lost = error.print();
    }
    Exit::Usage
}
