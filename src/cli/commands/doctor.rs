//! `highwater doctor`: whether everything that a run needs is there and fit.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::doctor::{self, Finding, look_at_machine, look_outside};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;

/// What `doctor --json` prints.
#[derive(Serialize)]
struct DoctorJson {
    version: &'static str,
    /// `done`, or `failed` where something is broken.
    status: Exit,
    findings: Vec<Finding>,
}

pub(super) async fn doctor(context: &Context) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    let outside = look_outside(context, &project).await;
    let mut findings = look_at_machine(context, &project, &outside).await;
    findings.extend(outside);
    let exit = doctor::exit(&findings);
    if context.terminal.json {
        context.terminal.document(&DoctorJson { version: env!("CARGO_PKG_VERSION"), status: exit, findings })?;
    } else {
        doctor::print(&context.terminal, &findings)?;
    }
    Ok(exit)
}
