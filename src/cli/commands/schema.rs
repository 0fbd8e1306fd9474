//! `highwater schema [KIND]`: JSON Schemas of the project's files.

use std::path::Path;

use serde_json::{Map, Value};

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::config;

/// Without `kind` and `folder`: one document, `{"config": .., "source": .., "sink": .., "job": ..}`.
pub(super) fn schema(context: &Context, kind: Option<&str>, folder: Option<&Path>) -> Result<Exit, Failure> {
    let mut schemas = config::schemas();
    if let Some(kind) = kind {
        let known: Vec<String> = schemas.iter().map(|(name, _)| format!("`{name}`")).collect();
        schemas.retain(|(name, _)| *name == kind);
        if schemas.is_empty() {
            let failure = Failure::new(Exit::Usage, format!("no kind of file is called `{kind}`"));
            return Err(failure.help(format!("the kinds are {}", known.join(", "))));
        }
    }
    if let Some(folder) = folder {
        return write_files(context, &schemas, folder);
    }
    match (kind, schemas.as_slice()) {
        (Some(_), [(_, schema)]) => context.terminal.document(schema)?,
        _ => {
            let all: Map<String, Value> = schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
            context.terminal.document(&all)?;
        }
    }
    Ok(Exit::Done)
}

fn write_files(context: &Context, schemas: &[(&str, Value)], folder: &Path) -> Result<Exit, Failure> {
    let failed = |path: &Path, error: std::io::Error| Failure::new(Exit::Failed, format!("write `{}`: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for (name, schema) in schemas {
        let path = folder.join(format!("{name}.schema.json"));
        let mut text = serde_json::to_string_pretty(schema).map_err(|error| failed(&path, error.into()))?;
        text.push('\n');
        std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
        context.terminal.line(&path.display().to_string())?;
    }
    Ok(Exit::Done)
}
