//! Addresses whose host is filled in by a job: `https://{{ shop }}.example.com/api`. Values are names of hosts or parts of such, and
//! can neither add a path, a port or a user nor lead to an address of a network: where requests go, and with them the secrets, stays
//! what the source's file shows.

use std::collections::BTreeMap;

use url::{Host, Url};

use super::kinds::{Wrong, read_address};

/// An address, perhaps with parameters in its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AddressTemplate {
    /// Literal text, and names of parameters, in turn.
    pieces: Vec<Piece>,
    /// The address with an `x` for each value.
    sample: Url,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

impl AddressTemplate {
    /// Reads it; never quotes it, for a wrong one may hold a password.
    pub(super) fn read(text: &str) -> Result<AddressTemplate, Wrong> {
        let pieces = pieces(text).ok_or_else(|| Wrong {
            message: "only the host of an address takes parameters, each by itself".to_owned(),
            help: "write it as in \"https://{{ shop }}.example.com/v1\"; a stream's path takes templates of all kinds".to_owned(),
        })?;
        let sample = read_address(&fill(&pieces, |_| Some("x")).unwrap_or_default())?;
        Ok(AddressTemplate { pieces, sample })
    }

    /// The parameters in it.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The address itself where there are no parameters in it, else one like it.
    pub(super) fn sample(&self) -> &Url {
        &self.sample
    }

    /// The address with these values; `None` where one is missing, which was reported where it should stand. An error tells what
    /// is wrong with which parameter.
    pub(super) fn with(
        &self,
        values: &BTreeMap<String, String>,
        allow_private: bool,
    ) -> Result<Option<Url>, (String, &'static str)> {
        for name in self.names() {
            match values.get(name).map(String::as_str) {
                None | Some("") => return Ok(None),
                Some(value) if is_name(value) => {}
                Some(_) => return Err((name.to_owned(), "is no part of a host's name")),
            }
        }
        let Some(text) = fill(&self.pieces, |name| values.get(name).map(String::as_str)) else { return Ok(None) };
        let last = || self.names().last().unwrap_or_default().to_owned();
        let url = read_address(&text).map_err(|_| (last(), "makes no host's name of the address"))?;
        let is_name = matches!(url.host(), Some(Host::Domain(name)) if name != "localhost" && !name.ends_with(".localhost"));
        match is_name || allow_private || self.names().next().is_none() {
            true => Ok(Some(url)),
            false => Err((last(), "makes the address that of a machine, which takes `allow_private` in the source")),
        }
    }
}

/// One or more labels of a host's name (RFC 1123 section 2.1), with dots between them.
fn is_name(value: &str) -> bool {
    let is_label = |label: &str| {
        let inside = |sign: char| sign.is_ascii_alphanumeric() || sign == '-';
        (1..=63).contains(&label.len()) && label.chars().all(inside) && !label.starts_with('-') && !label.ends_with('-')
    };
    value.len() <= 253 && value.split('.').all(is_label)
}

fn pieces(text: &str) -> Option<Vec<Piece>> {
    let Some((scheme, rest)) = text.split_once("://").filter(|_| text.contains('{')) else {
        return (!text.contains('{')).then(|| vec![Piece::Text(text.to_owned())]);
    };
    let (mut host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if scheme.contains('{') || path.contains('{') {
        return None;
    }
    let mut pieces = vec![Piece::Text(format!("{scheme}://"))];
    while let Some((before, rest)) = host.split_once("{{") {
        let (name, after) = rest.split_once("}}")?;
        let name = name.trim();
        let fits = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
        if before.contains('{') || !name.starts_with(|sign: char| sign.is_ascii_alphabetic()) || !name.chars().all(fits) {
            return None;
        }
        pieces.extend([Piece::Text(before.to_owned()), Piece::Name(name.to_owned())]);
        host = after;
    }
    (!host.contains('{')).then_some(())?;
    pieces.push(Piece::Text(format!("{host}{path}")));
    Some(pieces)
}

fn fill<'a>(pieces: &'a [Piece], value: impl Fn(&'a str) -> Option<&'a str>) -> Option<String> {
    let mut text = String::new();
    for piece in pieces {
        text.push_str(match piece {
            Piece::Text(text) => text,
            Piece::Name(name) => value(name)?,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, value: &str, allow_private: bool) -> Result<String, &'static str> {
        let address = AddressTemplate::read(text).unwrap_or_else(|wrong| panic!("{text}: {}", wrong.message));
        let values = BTreeMap::from([("shop".to_owned(), value.to_owned())]);
        address.with(&values, allow_private).map(|url| url.map_or_else(|| "-".to_owned(), String::from)).map_err(|(_, why)| why)
    }

    const SHOPS: &str = "https://{{ shop }}.example.com/admin";

    #[test]
    fn a_host_is_filled_in() {
        assert_eq!(with(SHOPS, "acme", false).unwrap(), "https://acme.example.com/admin");
        assert_eq!(with(SHOPS, "eu.Acme-2", false).unwrap(), "https://eu.acme-2.example.com/admin");
        assert_eq!(with("https://{{shop}}/wp-json", "blog.example.org", false).unwrap(), "https://blog.example.org/wp-json");
        assert_eq!(with("https://api.example.com/v1", "", false).unwrap(), "https://api.example.com/v1");
        assert_eq!(with(SHOPS, "", false).unwrap(), "-", "that it is missing is told elsewhere");
    }

    #[test]
    fn a_value_cannot_lead_elsewhere() {
        // S-31
        let long = "a".repeat(64);
        let evil = [
            "evil.example/",
            "evil.example/x",
            "evil.example#",
            "evil.example?",
            "evil.example:443",
            "user@evil.example",
            "user:p@w",
            "evil.example\\",
            "a..b",
            ".a",
            "a.",
            "-a",
            "a-",
            "a b",
            "a\n",
            "a%2fb",
            "{{ shop }}",
            "[::1]",
            "ümlaut",
            long.as_str(),
        ];
        for value in evil {
            assert_eq!(with(SHOPS, value, true), Err("is no part of a host's name"), "{value}");
        }
        for value in ["127.0.0.1", "169.254.169.254", "2130706433", "0x7f.1", "localhost", "a.localhost"] {
            let why = "makes the address that of a machine, which takes `allow_private` in the source";
            assert_eq!(with("https://{{ shop }}/x", value, false), Err(why), "{value}");
            assert!(with("https://{{ shop }}/x", value, true).is_ok(), "{value}");
        }
        assert_eq!(with("https://10.0.0.1/", "", false).unwrap(), "https://10.0.0.1/", "the file itself says so");
    }

    #[test]
    fn templates_stand_in_the_host_alone() {
        let wrong = [
            "{{ scheme }}://example.com",
            "https://example.com/{{ shop }}",
            "https://example.com?{{ shop }}",
            "https://{{ shop }",
            "https://{ shop }}.example.com",
            "https://{{ shop | lower }}.example.com",
            "https://{{ a.b }}.example.com",
            "https://{% if a %}b{% endif %}.example.com",
            "https://{{ }}.example.com",
            "https://{{ from }}/{{ to }}",
            "{{ address }}",
        ];
        for text in wrong {
            let wrong = AddressTemplate::read(text).unwrap_err();
            assert!(wrong.message.starts_with("only the host"), "{text}: {}", wrong.message);
        }
        for text in ["https://{{ user }}@example.com", "https://example.com:{{ port }}", "ftp://{{ shop }}.example.com"] {
            assert!(AddressTemplate::read(text).is_err(), "{text}");
        }
    }
}
