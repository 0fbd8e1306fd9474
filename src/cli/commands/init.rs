//! `highwater init [DIR]`: a project with a working example.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::shipped;

/// What a run makes below the project's folder, and what belongs into no repository.
const IGNORED: &str =
    "# What highwater makes: the state (it may hold tokens) and, with a local sink, the tables.\n/state\n/lake\n";

/// What `init --json` prints.
#[derive(Serialize)]
struct InitJson {
    folder: String,
    /// Files that were written, relative to the folder.
    written: Vec<&'static str>,
    /// Files that were there and stay as they are.
    kept: Vec<&'static str>,
}

pub(super) fn init(context: &Context, dir: Option<&Path>) -> Result<Exit, Failure> {
    let folder = match dir {
        Some(dir) => context.folder.join(dir),
        None => context.folder.clone(),
    };
    refuse_to_overwrite(&folder)?;
    let mut written = Vec::new();
    for (path, text) in shipped::FILES {
        write(&folder.join(path), text).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&folder.join(path)),
            _ => failed(&folder.join(path), &error),
        })?;
        written.push(path);
    }
    let mut kept = Vec::new();
    // A repository's own list is not ours to replace, and no reason to refuse a project.
    match write(&folder.join(".gitignore"), IGNORED) {
        Ok(()) => written.push(".gitignore"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => kept.push(".gitignore"),
        Err(error) => return Err(failed(&folder.join(".gitignore"), &error)),
    }
    if context.terminal.json {
        let told = InitJson { folder: folder.display().to_string(), written, kept };
        context.terminal.document(&told)?;
    } else {
        tell(context, &folder, &written, &kept)?;
    }
    Ok(Exit::Done)
}

/// Nothing is written unless everything can be: half a project beside somebody's files would help nobody.
fn refuse_to_overwrite(folder: &Path) -> Result<(), Failure> {
    if folder.exists() && !folder.is_dir() {
        let failure = Failure::new(Exit::Usage, format!("`{}` is no folder", folder.display()));
        return Err(failure.help("name a new or an empty one: highwater init DIR"));
    }
    let taken = shipped::FILES.iter().map(|(path, _)| folder.join(path)).find(|path| path.symlink_metadata().is_ok());
    taken.map_or(Ok(()), |path| Err(exists(&path)))
}

fn exists(path: &Path) -> Failure {
    let failure = Failure::new(Exit::Usage, format!("`{}` exists already, and is left as it is", path.display()));
    failure.help("name a new or an empty folder: highwater init DIR")
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("write `{}`: {error}", path.display()))
}

/// Writes a file that must not exist yet, and its folders.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

fn tell(context: &Context, folder: &Path, written: &[&str], kept: &[&str]) -> Result<(), Failure> {
    let terminal = &context.terminal;
    for path in written {
        terminal.line(&format!("wrote {}", folder.join(path).display()))?;
    }
    for path in kept {
        terminal.line(&format!("kept  {}: it should name `/state` and `/lake`", folder.join(path).display()))?;
    }
    let at = if folder == Path::new(".") { String::new() } else { format!("-C {} ", quoted(folder)) };
    terminal.line("")?;
    terminal.line("The example loads earthquakes from a public API that needs no key. Next:")?;
    for (command, why) in [
        ("check", "every file, every problem"),
        ("preview earthquakes", "the first rows; writes nothing"),
        ("run earthquakes", "loads what there is, then what changed since"),
    ] {
        terminal.line(&format!("  {:<40}  {why}", format!("highwater {at}{command}")))?;
    }
    Ok(())
}

/// As a shell takes it.
fn quoted(folder: &Path) -> String {
    let text = folder.display().to_string();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '/' | '.' | '-' | '_');
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_makes_is_ignored() {
        let settings = shipped::CONFIG.contains("sqlite://state/") && shipped::SINK.contains("url = \"lake\"");
        assert!(settings && IGNORED.contains("\n/state\n/lake\n"));
    }

    #[test]
    fn a_folder_is_quoted_where_a_shell_would_break_it() {
        assert_eq!(quoted(Path::new("a/b-1")), "a/b-1");
        assert_eq!(quoted(Path::new("it's here")), r"'it'\''s here'");
    }
}
