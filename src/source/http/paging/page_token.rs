//! Paging by an opaque token that an answer holds and the next request carries.

use ::http::HeaderValue;

use crate::config::catalog::TokenPlace;
use crate::page::{Captured, PageAt, ResponsePath};

use super::{Answer, Ask, Written};

pub(super) fn ask(place: &TokenPlace, token: &str) -> Result<Ask, String> {
    match place {
        TokenPlace::Param(name) => Ok(Ask { query: vec![(name.clone(), token.to_owned())], ..Ask::default() }),
        TokenPlace::Header(name) => {
            let value =
                HeaderValue::from_str(token).map_err(|_| "the token holds characters that a header cannot carry".to_owned())?;
            Ok(Ask { headers: vec![(name.clone(), value)], ..Ask::default() })
        }
        TokenPlace::Body(steps) => {
            Ok(Ask { body: vec![Written { steps: steps.clone(), value: token.into() }], ..Ask::default() })
        }
        // The templates have it already.
        TokenPlace::Template => Ok(Ask::default()),
    }
}

pub(super) fn next(token: &ResponsePath, answer: &Answer<'_>) -> Result<Option<PageAt>, String> {
    match answer.value(token)? {
        // APIs end with null, nothing, an empty text or false.
        None | Some(Captured::Boolean(false)) => Ok(None),
        Some(Captured::Text(text) | Captured::Number(text)) if text.is_empty() => Ok(None),
        // A header has no null but the word (Salesforce's Sforce-Locator).
        Some(Captured::Text(text)) if text == "null" && matches!(token, ResponsePath::Header(_)) => Ok(None),
        // Where one parameter is cursor and next page, as in a feed of changes, there is a token for ever: nothing behind it is the end.
        Some(Captured::Text(text) | Captured::Number(text)) if leads_to_itself(&text, answer) => Ok(None),
        Some(Captured::Text(text) | Captured::Number(text)) => Ok(Some(PageAt::Token(text))),
        Some(_) => Err(format!("`token` must lead to a text or number, at `{token}` stands something else")),
    }
}

/// Whether a page is empty and its token the one that it was asked for with.
pub(super) fn leads_to_itself(token: &str, answer: &Answer<'_>) -> bool {
    answer.envelope.records == 0 && matches!(&answer.at.at, PageAt::Token(asked) if asked == token)
}
