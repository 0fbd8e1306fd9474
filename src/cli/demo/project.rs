//! The project that a demo writes: the shipped files, with what only the replica needs put in their place for a while.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::shipped;

use super::folder;

/// The job that the demo runs.
pub(super) const JOB: &str = "earthquakes";

/// Small pages, so that a week of events takes enough of them to see paging and patience at work.
const PAGE_SIZE: u32 = 100;
/// Above what the replica allows: it shall be seen to say 429.
const REQUESTS: &str = "\"50/s\"";

/// Writes the project so that it speaks to the replica at `base_url` and asks for events since `start`.
pub(super) fn write(root: &Path, base_url: &str, start: Timestamp) -> Result<(), Failure> {
    let source = replace_value(shipped::SOURCE, "", "base_url", &format!("\"{base_url}\""))?;
    let source = replace_value(&source, "limits", "requests", &format!("[{REQUESTS}]"))?;
    let source = replace_inline(&source, "page_size", &PAGE_SIZE.to_string())?;
    let day = start.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d");
    let job = with_parameters(shipped::JOB, &format!("{{ starttime = \"{day}\" }}"));
    folder::write(&root.join("config.toml"), shipped::CONFIG)?;
    folder::write(&root.join("sources/usgs.toml"), &source)?;
    folder::write(&root.join("sinks/lake.toml"), shipped::SINK)?;
    folder::write(&root.join("jobs/earthquakes.toml"), &job)
}

/// Puts the real address back: the replica is gone once the demo is over.
pub(super) fn restore(root: &Path) -> Result<(), Failure> {
    folder::write(&root.join("sources/usgs.toml"), shipped::SOURCE)
}

/// Replaces the value of a key that stands on a line of its own in a table (empty: before the first table).
fn replace_value(text: &str, table: &str, key: &str, value: &str) -> Result<String, Failure> {
    let mut inside = table.is_empty();
    let mut found = false;
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line.split('#').next().is_some_and(|head| head.trim() == format!("[{table}]"));
        }
        let names_key = line.split_once('=').is_some_and(|(name, _)| name.trim() == key);
        if inside && names_key && !found {
            found = true;
            lines.push(format!("{key} = {value}"));
        } else {
            lines.push(line.to_owned());
        }
    }
    if found { Ok(lines.join("\n") + "\n") } else { Err(missing(key)) }
}

/// Replaces the value of a key that occurs once, on a line of its own or in an inline table; the value holds no comma.
fn replace_inline(text: &str, key: &str, value: &str) -> Result<String, Failure> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    let mut start = 0;
    while let Some(at) = text[start..].find(key).map(|at| at + start) {
        let after = &text[at + key.len()..];
        let line_start = text[..at].rfind('\n').map_or(0, |at| at + 1);
        let is_comment = text[line_start..at].contains('#');
        let equals = after.trim_start().starts_with('=');
        if equals && !is_comment && !text[..at].ends_with(is_name) {
            let value_at = at + key.len() + after.find('=').unwrap_or(0) + 1;
            let rest = &text[value_at..];
            let end = rest.find([',', '}', '\n', '#']).unwrap_or(rest.len());
            let gap = if rest[..end].ends_with(' ') { " " } else { "" };
            return Ok(format!("{} {value}{gap}{}", &text[..value_at], &rest[end..]));
        }
        start = at + key.len();
    }
    Err(missing(key))
}

/// Gives a job its parameters: in the place where the file shows how, else before its first table.
fn with_parameters(text: &str, parameters: &str) -> String {
    let line = format!("parameters = {parameters}");
    let shows = |line: &&str| line.trim_start_matches(['#', ' ']).starts_with("parameters =");
    match text.lines().find(shows) {
        Some(shown) => text.replacen(shown, &line, 1),
        None => text.replacen("\n[", &format!("\n{line}\n["), 1),
    }
}

fn missing(key: &str) -> Failure {
    // The shipped files are part of the program; a test below holds them to it.
    Failure::new(Exit::Failed, format!("the shipped project has no key `{key}`, which is a bug of highwater"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_project() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        let start = "2018-01-31T01:49:59Z".parse().expect("instant");
        write(folder.path(), "http://127.0.0.1:4567/fdsnws/event/1", start).expect("project");
        folder
    }

    fn table(folder: &Path, file: &str) -> toml::Table {
        std::fs::read_to_string(folder.join(file)).expect("file").parse().expect("TOML")
    }

    #[test]
    fn the_shipped_files_take_the_replicas_values() {
        let folder = write_project();
        let source = table(folder.path(), "sources/usgs.toml");
        assert_eq!(source["base_url"].as_str(), Some("http://127.0.0.1:4567/fdsnws/event/1"));
        assert_eq!(source["limits"]["requests"].as_array().map(Vec::len), Some(1));
        let text = std::fs::read_to_string(folder.path().join("sources/usgs.toml")).expect("file");
        assert!(text.contains("page_size = 100"), "{text}");
        let job = table(folder.path(), "jobs/earthquakes.toml");
        assert_eq!(job["parameters"]["starttime"].as_str(), Some("2018-01-31"));
    }

    #[test]
    fn afterwards_the_source_is_the_shipped_one() {
        let folder = write_project();
        restore(folder.path()).expect("restored");
        assert_eq!(std::fs::read_to_string(folder.path().join("sources/usgs.toml")).expect("file"), shipped::SOURCE);
        assert!(shipped::SOURCE.contains("https://earthquake.usgs.gov/fdsnws/event/1"));
    }

    #[test]
    fn only_the_key_itself_is_replaced() {
        let text = "a = 1 # page_size = 3\n[x]\nmy_page_size = 4\npaging = { page_size = 5, size = 6 }\n";
        let replaced = replace_inline(text, "page_size", "7").expect("replaced");
        assert_eq!(replaced, text.replace("{ page_size = 5,", "{ page_size = 7,"));
        let replaced = replace_value("k = 1\n[t] # table\nk = 2\n", "t", "k", "3").expect("replaced");
        assert_eq!(replaced, "k = 1\n[t] # table\nk = 3\n");
        assert!(replace_value(text, "x", "a", "1").is_err());
        assert!(replace_inline(text, "absent", "1").is_err());
    }
}
