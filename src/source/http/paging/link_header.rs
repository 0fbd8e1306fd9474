//! Paging by `Link: <...>; rel="next"`, RFC 8288.

use ::http::HeaderMap;
use ::http::header::LINK;
use url::Url;

use crate::page::PageAt;
use crate::source::http::origin::OriginRule;

use super::Answer;

/// Characters of a header that a message shows.
const SHOWN_MAX: usize = 40;

pub(super) fn next(answer: &Answer<'_>, from: &Url, origins: &OriginRule) -> Result<Option<PageAt>, String> {
    let Some(link) = look(answer.headers)? else { return Ok(None) };
    let (url, _) = origins.follow(from, &link).map_err(|why| format!("the next page is refused: {why}"))?;
    Ok(Some(PageAt::Url(url.into())))
}

/// The target of the first link whose relation is `next`, as far as the header can be read.
pub(super) fn next_link(headers: &HeaderMap) -> Option<String> {
    look(headers).ok().flatten()
}

/// The target of the first link whose relation is `next`; an error where none is found and something cannot be read, which may be it.
fn look(headers: &HeaderMap) -> Result<Option<String>, String> {
    let mut unread = None;
    for value in headers.get_all(LINK) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let mut rest: &str = &text;
        while let Some((link, tail)) = one_link(rest) {
            if link.is_next {
                return Ok(Some(link.target.to_owned()));
            }
            rest = tail;
        }
        if !rest.trim_matches([' ', '\t', ',']).is_empty() {
            unread = Some(rest.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect::<String>());
        }
    }
    match unread {
        // The address of a link may hold a secret.
        Some(unread) => {
            let shown = unread.split(['?', '#']).next().unwrap_or_default();
            Err(format!(
                "the `Link` header cannot be read from `{shown}` on, as RFC 8288 has it, and what cannot be read may be the next page"
            ))
        }
        None => Ok(None),
    }
}

struct Link<'a> {
    target: &'a str,
    is_next: bool,
}

/// The first link of a list and what stands after its comma. What is malformed ends the list: guessing would follow a wrong link.
fn one_link(text: &str) -> Option<(Link<'_>, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let (target, mut rest) = text.strip_prefix('<')?.split_once('>')?;
    let mut relation: Option<String> = None;
    let mut has_anchor = false;
    loop {
        rest = rest.trim_start();
        if let Some(tail) = rest.strip_prefix(',') {
            rest = tail;
            break;
        }
        let Some(tail) = rest.strip_prefix(';') else {
            if rest.is_empty() {
                break;
            }
            return None;
        };
        let (name, value, tail) = parameter(tail)?;
        match name.to_ascii_lowercase().as_str() {
            // Section 3.3: the first one counts, others are ignored.
            "rel" if relation.is_none() => relation = Some(value),
            // Section 3.2: the link is about another resource than this page.
            "anchor" => has_anchor = true,
            _ => {}
        }
        rest = tail;
    }
    let is_next = relation.is_some_and(|names| names.split_ascii_whitespace().any(|name| name.eq_ignore_ascii_case("next")));
    Some((Link { target, is_next: is_next && !has_anchor }, rest))
}

/// `name=token`, `name="quoted"` or `name` alone, and what follows.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start();
    let end = text.find(['=', ';', ',']).unwrap_or(text.len());
    let (name, rest) = (text[..end].trim_end(), &text[end..]);
    let Some(value) = rest.strip_prefix('=') else { return Some((name, String::new(), rest)) };
    let value = value.trim_start();
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find([';', ',']).unwrap_or(value.len());
        // Some write single quotes, which are none here, but part of a token.
        return Some((name, value[..end].trim_end().trim_matches('\'').to_owned(), &value[end..]));
    };
    let mut read = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                read.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((name, read, &quoted[at + 1..])),
            _ => read.push(c),
        }
    }
    // The quote is never closed.
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_of(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LINK, value.parse().unwrap());
        }
        next_link(&headers)
    }

    #[test]
    fn the_next_link_is_found_in_every_legal_spelling() {
        for value in [
            r#"<https://a/?p=2>; rel="next""#,
            r#"<https://a/?p=2>;rel=next"#,
            r#"<https://a/?p=2> ; REL = "last Next""#,
            r#"<https://a/?p=9>; rel="last", <https://a/?p=2>; rel="next""#,
            r#"<https://a/?p=1,2;x>; rel="first"; title="a, b; rel=\"next\"",<https://a/?p=2>; title="x"; rel="next"; type="y""#,
            r#", ,<https://a/?p=2>; crossorigin; rel="next""#,
            r#"<https://a/?p=2>; rel="next"; rel="prev""#,
            "<https://a/?p=2>; rel='next'",
        ] {
            assert_eq!(next_of(&[value]).as_deref(), Some("https://a/?p=2"), "{value}");
        }
        assert_eq!(next_of(&[r#"<https://a/>; rel="prev""#, r#"<?p=2>; rel="next""#]).as_deref(), Some("?p=2"));
        assert_eq!(next_of(&[r#"<https://a/?x=1,2>; rel="next""#]).as_deref(), Some("https://a/?x=1,2"));
    }

    #[test]
    fn other_links_and_junk_are_not_next() {
        for value in [
            "",
            "next",
            "<https://a/>",
            r#"<https://a/>; rel="nextish""#,
            r#"<https://a/>; rel="prev"; rel="next""#,
            r#"<https://a/>; title="rel=next""#,
            r#"<https://a/>; anchor="/other"; rel="next""#,
            r#"<https://a/; rel="next""#,
            r#"<https://a/>; rel="next"#,
            r#"<https://a/> junk; rel="next""#,
        ] {
            assert_eq!(next_of(&[value]), None, "{value}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_the_end() {
        let looked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, value.parse().unwrap());
            look(&headers)
        };
        for value in [
            r#"/t?page=2; rel="next""#,
            r#"</t?page=2> rel="next""#,
            r#"<x> junk, </t?page=2>; rel="next""#,
            r#"<https://a/>; rel="next"#,
        ] {
            let error = looked(value).unwrap_err();
            assert!(error.contains("`Link` header cannot be read") && !error.contains("page=2"), "{value}: {error}");
        }
        for value in ["", ", ,", r#"<https://a/>; rel="prev", "#, "<https://a/>"] {
            assert_eq!(looked(value), Ok(None), "{value}");
        }
        assert_eq!(looked(r#"<https://a/?p=2>; rel="next", junk"#).unwrap().as_deref(), Some("https://a/?p=2"));
    }

    #[test]
    fn any_text_is_survived() {
        use proptest::prelude::*;
        proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }, |(text in "[<>;,=\"\\\\ a-z€]{0,40}")| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, ::http::HeaderValue::from_bytes(text.as_bytes()).unwrap());
            next_link(&headers);
        });
    }
}
