//! `highwater completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Context;
use crate::cli::args::Arguments;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

pub(super) fn completions(context: &Context, shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "highwater", &mut script);
    context.terminal.raw(&script)?;
    Ok(Exit::Done)
}
