//! What an answer about an export says. Pure.

use std::collections::BTreeMap;

use ::http::HeaderMap;
use serde_json::Value as Json;

use crate::config::catalog::Poll;
use crate::page::{Captured, Envelope, RawPage, ResponsePath, find_value};

use super::super::token;

/// The longest answer about an export, bytes: it tells of records and holds none.
const ANSWER_MAX: usize = 1024 * 1024;
/// Addresses of one export, at most.
const PARTS_MAX: usize = 10_000;

/// How far an export is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// What it says of itself.
    UnderWay(String),
    Done,
    /// Why.
    Failed(String),
}

/// An answer with its body as JSON; one that has none, or another kind of body, is null.
pub(super) struct Heard {
    pub(super) page: RawPage,
    body: Json,
}

impl Heard {
    pub(super) fn of(page: RawPage) -> Result<Self, String> {
        if page.body.len() > ANSWER_MAX {
            return Err(format!("the answer about the export has more than `{ANSWER_MAX}` bytes"));
        }
        let body = serde_json::from_slice(&page.body).unwrap_or_default();
        Ok(Heard { page, body })
    }

    /// What stands at these paths, as a decoder would have found it.
    pub(super) fn envelope(&self, paths: &[ResponsePath]) -> Envelope {
        let found = |path: &ResponsePath| Some((path.clone(), self.captured(path)?));
        let (captured, receipt) = (paths.iter().filter_map(found).collect(), self.page.receipt.clone());
        Envelope { captured, receipt, ..Envelope::default() }
    }

    fn captured(&self, path: &ResponsePath) -> Option<Captured> {
        let ResponsePath::Body(steps) = path else { return None };
        Some(match find_value(&self.body, steps)? {
            Json::Null => Captured::Null,
            Json::Bool(value) => Captured::Boolean(*value),
            Json::Number(number) => Captured::Number(number.to_string()),
            Json::String(text) => Captured::Text(text.clone()),
            Json::Array(_) | Json::Object(_) => Captured::Nested,
        })
    }

    /// A name at a path: a text or a number.
    pub(super) fn name(&self, path: &ResponsePath) -> Result<String, String> {
        let captured: BTreeMap<ResponsePath, Captured> = self.envelope(std::slice::from_ref(path)).captured;
        let envelope = Envelope { captured, ..Envelope::default() };
        match token::read(path, &envelope, &self.page.headers)? {
            Some(name) => Ok(name),
            None => Err("there is nothing".to_owned()),
        }
    }

    fn text(&self, path: &ResponsePath) -> Option<String> {
        match path {
            ResponsePath::Header(name) => header(&self.page.headers, name),
            ResponsePath::Body(_) => self.captured(path)?.text(),
        }
    }

    pub(super) fn stage(&self, poll: &Poll) -> Stage {
        let Some(path) = &poll.status else {
            return match self.page.status {
                202 => Stage::UnderWay("its status is `202`".to_owned()),
                _ => Stage::Done,
            };
        };
        let status = self.text(path).unwrap_or_default();
        if poll.done.contains(&status) {
            return Stage::Done;
        }
        let said = match status.is_empty() {
            true => format!("nothing stands at `{path}`"),
            false => format!("`{path}` is `{status}`"),
        };
        if !poll.failed.contains(&status) {
            return Stage::UnderWay(said);
        }
        let message = poll.message.as_ref().and_then(|path| self.text(path)).filter(|message| !message.is_empty());
        Stage::Failed(message.map_or(said.clone(), |message| format!("{said}: {message}")))
    }

    /// The addresses at a path of which a step `*` goes over a list. Null is an export without records; nothing at all is a mistake.
    pub(super) fn parts(&self, path: &ResponsePath) -> Result<Vec<String>, String> {
        let ResponsePath::Body(steps) = path else { return Err("addresses stand in the body".to_owned()) };
        let mut parts = Vec::new();
        gather(&self.body, steps, &mut parts)?;
        if parts.len() > PARTS_MAX {
            return Err(format!("there are more than `{PARTS_MAX}` addresses"));
        }
        Ok(parts)
    }
}

fn gather(value: &Json, steps: &[String], parts: &mut Vec<String>) -> Result<(), String> {
    let list = steps.iter().position(|step| step == "*");
    let (before, behind) = match list {
        Some(at) => (&steps[..at], Some(&steps[at + 1..])),
        None => (steps, None),
    };
    let Some(found) = find_value(value, before) else { return Err("there is nothing".to_owned()) };
    match (found, behind) {
        (Json::Null, _) => Ok(()),
        (Json::Array(items), Some(behind)) => items.iter().try_for_each(|item| gather(item, behind, parts)),
        (_, Some(_)) => Err("what `*` should go over is no list".to_owned()),
        (Json::Array(items), None) => items.iter().try_for_each(|item| gather(item, &[], parts)),
        (Json::String(text), None) if text.is_empty() => Ok(()),
        (Json::String(text), None) => {
            parts.push(text.clone());
            Ok(())
        }
        _ => Err("an address is a text".to_owned()),
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn heard(status: u16, body: &str) -> Heard {
        Heard::of(RawPage { status, body: Bytes::from(body.to_owned()), ..RawPage::nothing() }).unwrap()
    }

    fn poll(status: Option<&str>) -> Poll {
        let path = |text: &str| ResponsePath::parse(text).unwrap();
        Poll {
            request: None,
            every: Duration::from_secs(5),
            every_max: Duration::from_secs(60),
            deadline: Duration::from_secs(3600),
            status: status.map(path),
            done: vec!["Complete".to_owned()],
            failed: vec!["Failed".to_owned()],
            message: Some(path("error.text")),
        }
    }

    #[test]
    fn a_status_is_done_failed_or_neither() {
        let stage = |body: &str| heard(200, body).stage(&poll(Some("state")));
        assert_eq!(stage(r#"{"state":"Complete"}"#), Stage::Done);
        assert_eq!(stage(r#"{"state":"InProgress"}"#), Stage::UnderWay("`state` is `InProgress`".to_owned()));
        assert_eq!(stage("{}"), Stage::UnderWay("nothing stands at `state`".to_owned()));
        assert_eq!(stage(r#"{"state":"Failed"}"#), Stage::Failed("`state` is `Failed`".to_owned()));
        let why = r#"{"state":"Failed","error":{"text":"No such column"}}"#;
        assert_eq!(stage(why), Stage::Failed("`state` is `Failed`: No such column".to_owned()));
    }

    #[test]
    fn without_a_path_the_http_status_tells() {
        assert!(matches!(heard(202, "").stage(&poll(None)), Stage::UnderWay(_)));
        assert_eq!(heard(200, "").stage(&poll(None)), Stage::Done);
    }

    #[test]
    fn addresses_stand_alone_in_a_list_or_in_its_items() {
        let parts = |body: &str, path: &str| heard(200, body).parts(&ResponsePath::parse(path).unwrap());
        assert_eq!(parts(r#"{"url":"a"}"#, "url").unwrap(), ["a"]);
        assert_eq!(parts(r#"{"urls":["a","b"]}"#, "urls").unwrap(), ["a", "b"]);
        assert_eq!(parts(r#"{"files":[{"url":"a"},{"url":"b"}]}"#, "files.*.url").unwrap(), ["a", "b"]);
        for nothing in [r#"{"url":null}"#, r#"{"url":""}"#, r#"{"url":[]}"#] {
            assert!(parts(nothing, "url").unwrap().is_empty(), "{nothing}");
        }
        // A path that leads nowhere must not be an export without records.
        for wrong in ["{}", r#"{"url":7}"#, r#"{"url":[{}]}"#, "not JSON"] {
            assert!(parts(wrong, "url").is_err(), "{wrong}");
        }
        assert!(parts(r#"{"files":{"url":"a"}}"#, "files.*.url").is_err());
        let many = format!(r#"{{"url":[{}]}}"#, vec!["\"x\""; PARTS_MAX + 1].join(","));
        assert!(parts(&many, "url").is_err());
    }

    #[test]
    fn a_name_is_a_text_or_a_number() {
        let name = |body: &str| heard(200, body).name(&ResponsePath::parse("id").unwrap());
        assert_eq!([name(r#"{"id":"7a"}"#), name(r#"{"id":17}"#)], [Ok("7a".to_owned()), Ok("17".to_owned())]);
        assert!(name("{}").is_err() && name(r#"{"id":{}}"#).is_err() && name("<html>").is_err());
        let mut page = RawPage::nothing();
        page.headers.insert("location", "/jobs/7".parse().unwrap());
        let heard = Heard::of(page).unwrap();
        assert_eq!(heard.name(&ResponsePath::parse("header.Location").unwrap()), Ok("/jobs/7".to_owned()));
    }
}
