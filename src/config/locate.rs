//! Where a key stands in a file that was read before, for problems that show themselves only beside data.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::node::join_key;
use super::problem::Place;
use super::read::read_text;
use super::walk::Lines;
use super::{Problem, Severity};

/// What to say of a file.
pub struct Remark<'a> {
    pub severity: Severity,
    /// Relative to the project's folder.
    pub file: &'a str,
    /// The key's steps; where one of them is not written, the last one before it is meant.
    pub key: &'a [&'a str],
    pub message: String,
    pub help: String,
}

/// A problem at a key of a file.
pub fn at_key(root: &Path, remark: Remark<'_>) -> Problem {
    let place = read_text(&root.join(remark.file)).ok().and_then(|text| find(&text, remark.key)).unwrap_or_default();
    Problem {
        severity: remark.severity,
        file: remark.file.to_owned(),
        line: place.line,
        column: place.column,
        key: remark.key.iter().fold(String::new(), |key, step| join_key(&key, step)),
        message: remark.message,
        help: Some(remark.help).filter(|help| !help.is_empty()),
    }
}

fn find(text: &str, steps: &[&str]) -> Option<Place> {
    let tree = DeTable::parse(text).ok()?;
    let lines = Lines::new(text);
    let mut table = tree.get_ref();
    let mut place = Place { line: 1, column: 1, key: String::new() };
    for step in steps {
        let Some((_, value)) = table.iter().find(|(name, _)| name.get_ref().as_ref() == *step) else { break };
        place = lines.place(value.span().start, String::new());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_where_it_stands_or_as_near_as_it_comes() {
        let text = "version = 1\n[streams.items]\npath = \"/items\"\npaging = { type = \"page\", param = \"p\" }\n";
        let at = |steps: &[&str]| find(text, steps).map(|place| (place.line, place.column)).unwrap();
        assert_eq!(at(&["streams", "items", "path"]), (3, 8));
        assert_eq!(at(&["streams", "items", "paging", "param"]), (4, 35));
        assert_eq!(at(&["streams", "items", "records"]).0, 2);
        assert_eq!(at(&["limits"]), (1, 1));
        assert!(find("not TOML", &["a"]).is_none());
    }
}
