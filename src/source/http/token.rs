//! The token by which a source says what has changed since: read from an answer, and never looked into.

use ::http::HeaderMap;

use crate::page::{Captured, Envelope, ResponsePath};

/// Longest token, bytes: it goes back in an address, and is kept in every record.
const TOKEN_MAX: usize = 8 * 1024;

/// The token of a page; `None` where the page has none. The error is why it cannot be one.
pub(super) fn read(path: &ResponsePath, envelope: &Envelope, headers: &HeaderMap) -> Result<Option<String>, String> {
    let token = match path {
        ResponsePath::Header(name) => match headers.get(name).map(|value| value.to_str()) {
            None => None,
            Some(Ok(text)) => Some(text.to_owned()),
            Some(Err(_)) => return Err("the header is no text".to_owned()),
        },
        ResponsePath::Body(_) => match envelope.captured.get(path) {
            None | Some(Captured::Null | Captured::Boolean(false)) => None,
            Some(Captured::Text(text) | Captured::Number(text)) => Some(text.clone()),
            Some(Captured::Boolean(true) | Captured::Nested) => return Err("a token is a text or a number".to_owned()),
        },
    };
    match token.filter(|token| !token.is_empty()) {
        Some(token) if token.len() > TOKEN_MAX => Err(format!("the token is longer than {TOKEN_MAX} bytes")),
        Some(token) if token.contains(char::is_control) => Err("the token holds control characters".to_owned()),
        token => Ok(token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(value: Option<Captured>) -> Result<Option<String>, String> {
        let path = ResponsePath::parse("next").expect("a path");
        let captured = value.into_iter().map(|value| (path.clone(), value)).collect();
        read(&path, &Envelope { captured, ..Envelope::default() }, &HeaderMap::new())
    }

    #[test]
    fn a_token_is_a_short_text_or_a_number() {
        let text = |text: &str| Some(Captured::Text(text.to_owned()));
        assert_eq!(token(text("abc")), Ok(Some("abc".to_owned())));
        assert_eq!(token(Some(Captured::Number("0017".to_owned()))), Ok(Some("0017".to_owned())), "as it stood");
        for nothing in [None, Some(Captured::Null), Some(Captured::Boolean(false)), text("")] {
            assert_eq!(token(nothing), Ok(None));
        }
        for odd in [Some(Captured::Nested), Some(Captured::Boolean(true)), text("a\nb"), text(&"x".repeat(TOKEN_MAX + 1))] {
            assert!(token(odd).is_err());
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-sync", "7".parse().expect("a value"));
        let path = ResponsePath::parse("header.X-Sync").expect("a path");
        assert_eq!(read(&path, &Envelope::default(), &headers), Ok(Some("7".to_owned())));
    }
}
