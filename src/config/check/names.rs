//! Which names a template may speak of, by where it stands.

use std::collections::BTreeSet;

use crate::config::problem::{Place, Report, nearest, quote};
use crate::template::{RESERVED, Template};

/// Where a template stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// Rendered from parameters alone.
    Header,
    /// A path or query of a stream with a cursor.
    Bounded,
    /// A path or query of a stream whose cursor only grows: there is no upper bound to ask for.
    LowerBounded,
    /// A path or query of a stream without a cursor.
    Unbounded,
}

/// Reports each name that will never be in scope.
pub(super) fn check(template: &Template, at: &Place, position: Position, parameters: &BTreeSet<String>, report: &mut Report) {
    for name in template.names() {
        if let Some((message, help)) = complaint(name, position, parameters) {
            report.error(at, message, help);
        }
    }
    if let Some(name) = written_otherwise(template, position, parameters) {
        let message = format!("{} is sent as it stands", quote(&name));
        let plain = name.trim_matches(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
        report.warning(at, message, format!("write `{{{{ {plain} }}}}` for the value of `{plain}`"));
    }
}

/// A name in scope as other tools write it: `{name}`, `${name}`, `:name`.
fn written_otherwise(template: &Template, position: Position, parameters: &BTreeSet<String>) -> Option<String> {
    let is_name = |name: &str| {
        let first = name.split('.').next().unwrap_or(name);
        parameters.contains(first)
            || ["from", "to", "page", "parent"].contains(&first) && complaint(first, position, parameters).is_none()
    };
    let literal = literal_text(template.text());
    let is_part = |sign: char| sign.is_ascii_alphanumeric() || sign == '_' || sign == '.';
    literal.match_indices(['{', ':']).find_map(|(at, sign)| {
        let inner = literal[at + 1..].trim_start_matches(' ');
        let name = &inner[..inner.find(|sign| !is_part(sign)).unwrap_or(inner.len())];
        let is_closed = inner[name.len()..].trim_start_matches(' ').starts_with('}');
        let stands_alone = at == 0 || literal[..at].ends_with('/');
        match sign {
            "{" if is_closed && is_name(name) => {
                let begin = if literal[..at].ends_with('$') { at - 1 } else { at };
                let end = at + literal[at..].find('}')? + 1;
                Some(literal[begin..end].to_owned())
            }
            ":" if stands_alone && parameters.contains(name) => Some(format!(":{name}")),
            _ => None,
        }
    })
}

fn complaint(name: &str, position: Position, parameters: &BTreeSet<String>) -> Option<(String, String)> {
    let bounds: &[&str] = match position {
        Position::Bounded => &["from", "to"],
        Position::LowerBounded => &["from"],
        Position::Header | Position::Unbounded => &[],
    };
    let paged = position != Position::Header && name == "page";
    if parameters.contains(name) || bounds.contains(&name) || paged {
        return None;
    }
    let (message, help) = match (name, position) {
        ("from" | "to", Position::Header) => {
            (format!("`{name}` is not in scope in a header"), "use it in `path` or `query`".to_owned())
        }
        ("to", Position::LowerBounded) => {
            ("such a cursor has no `to`: it is read from the mark on".to_owned(), "take the entry out".to_owned())
        }
        ("from" | "to", _) => {
            (format!("`{name}` is in scope only where the stream has a cursor"), "add a `cursor`, or take it out".to_owned())
        }
        ("parent", _) => {
            let help = "give the stream a parent: parent = { stream = \"..\" }";
            ("`parent` is in scope only where a stream is gone over for another".to_owned(), help.to_owned())
        }
        ("export", _) => {
            let help = "use it in what comes behind `create`, and give the stream an `export`";
            ("`export` is in scope only once an export was asked for".to_owned(), help.to_owned())
        }
        _ if RESERVED.contains(&name) => (format!("`{name}` in a template is not built yet"), "take it out".to_owned()),
        _ => {
            let known = parameters.iter().map(String::as_str).chain(bounds.iter().copied());
            (format!("{} is not in scope here", quote(name)), nearest(name, known, "names in scope"))
        }
    };
    Some((message, help))
}

/// The text of a template outside of its braces, with an `x` for each value: `/{{ a }}/b` is `/x/b`, not `//b`.
pub(super) fn literal_text(template: &str) -> String {
    let mut literal = String::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let (before, marked) = rest.split_at(start);
        literal.push_str(before);
        let close = match marked.get(..2) {
            Some("{{") => "}}",
            Some("{%") => "%}",
            Some("{#") => "#}",
            _ => {
                literal.push('{');
                rest = &marked[1..];
                continue;
            }
        };
        if close == "}}" {
            literal.push('x');
        }
        rest = marked.find(close).map_or("", |end| &marked[end + 2..]);
    }
    literal.push_str(rest);
    literal
}
