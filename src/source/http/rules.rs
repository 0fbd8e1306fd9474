//! `[[errors]]`: what answers mean to one API alone. Pure.

use ::http::{HeaderMap, StatusCode};
use serde_json::Value as Json;

use crate::config::catalog::{ErrorRule, Mode, Then};
use crate::page::{Captured, Envelope, ResponsePath, find_value};

/// So much of a body is searched for a rule's text.
const SEARCHED_MAX: usize = 8 * 1024;

/// The rules of one stream, the first that holds counts.
pub(super) struct Rules(Vec<ErrorRule>);

impl Rules {
    /// A table that is replaced takes nothing aside: what is not there would be gone from it.
    pub(super) fn new(rules: &[ErrorRule], mode: Mode) -> Self {
        let mut rules = rules.to_vec();
        for rule in rules.iter_mut().filter(|rule| mode == Mode::Replace && rule.then == Then::DeadLetter) {
            rule.then = Then::Fail;
        }
        Rules(rules)
    }

    /// Body paths of rules that can hold for an answer that claims success.
    pub(super) fn wanted(&self) -> Vec<ResponsePath> {
        let of_success = self.0.iter().filter(|rule| may_be_success(rule));
        of_success.filter_map(|rule| rule.at.clone()).filter(|path| matches!(path, ResponsePath::Body(_))).collect()
    }

    /// The rule for an answer that is no success. `start` is the beginning of its body.
    pub(super) fn of_failure(&self, status: StatusCode, headers: &HeaderMap, start: &[u8]) -> Option<&ErrorRule> {
        let text = String::from_utf8_lossy(start).to_lowercase();
        let body: Option<Json> = serde_json::from_slice(start).ok();
        self.0.iter().find(|rule| {
            has_status(rule, status)
                && match &rule.at {
                    None => rule.contains.as_ref().is_none_or(|wanted| text.contains(wanted)),
                    Some(ResponsePath::Header(name)) => stands(rule, header(headers, name)),
                    Some(ResponsePath::Body(steps)) => stands(rule, body.as_ref().and_then(|body| find(body, steps))),
                }
        })
    }

    /// The rule for an answer that claims success, before it is decoded: by a header, or by the text of its beginning where the
    /// rule names the status. Else every record that speaks of an error would be one.
    pub(super) fn of_success(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<&ErrorRule> {
        self.0.iter().filter(|rule| has_status(rule, status)).find(|rule| match &rule.at {
            None if rule.status.is_empty() => false,
            None => rule.contains.as_ref().is_none_or(|wanted| {
                String::from_utf8_lossy(&body[..body.len().min(SEARCHED_MAX)]).to_lowercase().contains(wanted)
            }),
            Some(ResponsePath::Header(name)) => stands(rule, header(headers, name)),
            Some(ResponsePath::Body(_)) => false,
        })
    }

    /// The rule for an answer that claims success, by what stands in its body.
    pub(super) fn of_envelope(&self, envelope: &Envelope) -> Option<&ErrorRule> {
        self.0.iter().filter(|rule| may_be_success(rule)).find(|rule| match &rule.at {
            Some(path @ ResponsePath::Body(_)) => stands(rule, envelope.captured.get(path).map(shown)),
            _ => false,
        })
    }
}

impl ErrorRule {
    /// What to tell of an answer that the rule holds for.
    pub(super) fn explain(&self, what: String) -> String {
        self.message.as_ref().map_or(what.clone(), |message| format!("{what}; {message}"))
    }

    pub(super) fn skips(&self) -> bool {
        self.then == Then::Skip
    }
}

/// The reason of a page that is put aside. Whatever would have led on from it is not known.
pub(super) fn aside(why: String) -> String {
    format!("{why}; the page was put aside, and what comes behind it was not asked for")
}

fn may_be_success(rule: &ErrorRule) -> bool {
    rule.status.is_empty() || rule.status.iter().any(|status| (200..300).contains(status))
}

fn has_status(rule: &ErrorRule, status: StatusCode) -> bool {
    rule.status.is_empty() || rule.status.contains(&status.as_u16())
}

/// Whether what stands at a rule's place is what it waits for; without a wish, anything but nothing.
fn stands(rule: &ErrorRule, found: Option<String>) -> bool {
    let Some(found) = found else { return false };
    match (&rule.contains, rule.is.is_empty()) {
        (Some(wanted), _) => found.to_lowercase().contains(wanted),
        (None, false) => rule.is.contains(&found),
        (None, true) => !matches!(found.as_str(), "" | "false" | "0" | "[]" | "{}"),
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

fn find(body: &Json, steps: &[String]) -> Option<String> {
    match find_value(body, steps)? {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn shown(captured: &Captured) -> String {
    match captured {
        Captured::Nested => "{..}".to_owned(),
        other => other.text().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(status: &[u16], at: Option<&str>) -> ErrorRule {
        let at = at.map(|at| ResponsePath::parse(at).unwrap());
        ErrorRule { status: status.to_vec(), at, is: Vec::new(), contains: None, then: Then::Fail, message: None }
    }

    fn holds(rule: &ErrorRule, status: u16, body: &str) -> bool {
        let rules = Rules::new(std::slice::from_ref(rule), Mode::Append);
        let mut headers = HeaderMap::new();
        headers.insert("x-reason", "Quota".parse().unwrap());
        rules.of_failure(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes()).is_some()
    }

    #[test]
    fn failures_are_told_by_status_header_path_and_text() {
        let body = r#"{"error":{"code":17,"list":[{"reason":"a"},{"reason":"lateQuota"}],"off":false}}"#;
        assert!(holds(&rule(&[403, 404], None), 404, body) && !holds(&rule(&[403], None), 404, body));
        let is = |at: &str, is: &str| ErrorRule { is: vec![is.to_owned()], ..rule(&[], Some(at)) };
        assert!(holds(&is("error.code", "17"), 400, body) && !holds(&is("error.code", "18"), 400, body));
        assert!(holds(&is("error.list.-1.reason", "lateQuota"), 400, body));
        assert!(holds(&is("header.x-reason", "Quota"), 400, "") && !holds(&is("header.x-other", "Quota"), 400, ""));
        let contains = |at: Option<&str>, text: &str| ErrorRule { contains: Some(text.to_owned()), ..rule(&[], at) };
        assert!(holds(&contains(None, "latequota"), 500, body) && !holds(&contains(None, "early"), 500, body));
        assert!(holds(&contains(Some("error.list.1.reason"), "quota"), 500, body));
        assert!(holds(&rule(&[], Some("error.code")), 500, body) && !holds(&rule(&[], Some("error.off")), 500, body));
        assert!(!holds(&rule(&[], Some("error.code")), 500, "{\"error\":{\"co"), "a body that is cut off has no path");
    }

    #[test]
    fn a_text_makes_no_error_of_a_success_that_the_rule_does_not_name() {
        let contains = |status: &[u16]| ErrorRule { contains: Some("quota".to_owned()), ..rule(status, None) };
        let holds = |rule: ErrorRule| {
            Rules::new(&[rule], Mode::Append).of_success(StatusCode::OK, &HeaderMap::new(), b"[{\"note\":\"Quota\"}]").is_some()
        };
        assert!(!holds(contains(&[])) && !holds(contains(&[403])) && holds(contains(&[200])));
    }

    #[test]
    fn an_error_in_a_success_is_told_by_its_path() {
        // C-61
        let is = ErrorRule { is: vec!["invalid_auth".to_owned()], ..rule(&[], Some("error")) };
        let rules = Rules::new(&[is, rule(&[500], Some("fault"))], Mode::Append);
        let error = ResponsePath::parse("error").unwrap();
        assert_eq!(rules.wanted(), std::slice::from_ref(&error));
        let with = |value: Captured| Envelope { captured: [(error.clone(), value)].into(), ..Envelope::default() };
        assert!(rules.of_envelope(&with(Captured::Text("invalid_auth".to_owned()))).is_some());
        assert!(rules.of_envelope(&with(Captured::Null)).is_none() && rules.of_envelope(&Envelope::default()).is_none());
    }
}
