//! Columns that records get from outside of their page: written into their JSON, so that everything after knows them.

use bytes::Bytes;
use memchr::memmem::Finder;
use serde_json::Value;

use super::DecodeError;
use super::span::{find_member, record_spans, value_end, without_mark};
use super::spec::Plan;

/// The page with these fields, whose values are JSON texts, in each of its records, behind the record's own. `None` where the body has no
/// whole list of records: whoever decodes it says what is wrong.
///
/// # Errors
/// A record has another value in a field of that name: it would be lost.
pub fn carry(json: &Bytes, plan: &Plan, fields: &[(String, String)]) -> Result<Option<Bytes>, DecodeError> {
    let (body, body_max) = (without_mark(json), plan.body_max);
    let Some(spans) = record_spans(body, &plan.records, plan.one_record) else { return Ok(None) };
    let mut written = String::new();
    let mut names = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let quoted = Value::from(name.as_str()).to_string();
        written.push_str(&format!(",{quoted}:{value}"));
        names.push((Finder::new(quoted.as_bytes()).into_owned(), name, value));
    }
    let size = spans.len().saturating_mul(written.len()).saturating_add(body.len());
    if size as u64 > body_max {
        return Err(DecodeError::beyond_cap("the page, with what its records carry,", body_max));
    }
    let mut carried = Vec::with_capacity(size);
    let mut done = 0;
    for std::ops::Range { start, end } in spans {
        let record = body.get(start..end).unwrap_or_default();
        carried.extend_from_slice(&body[done..start]);
        done = end;
        let fields = record.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
        let Some(fields) = fields else {
            // No object: it is put aside as it is.
            carried.extend_from_slice(record);
            continue;
        };
        for (finder, name, value) in &names {
            let own = finder
                .find(record)
                .and_then(|_| find_member(record, 0, name))
                .and_then(|at| record.get(at..value_end(record, at)?));
            if own.is_some_and(|own| own != value.as_bytes()) {
                return Err(DecodeError::data(format!(
                    "a record has a field `{name}` of its own, over which `carry` would write another value: give the column another \
                     name in `carry`"
                )));
            }
        }
        carried.extend_from_slice(&record[..record.len() - 1]);
        // An empty object takes the fields without the comma before them.
        let is_empty = fields.trim_ascii().is_empty();
        carried.extend_from_slice(written.as_bytes().get(usize::from(is_empty)..).unwrap_or_default());
        carried.push(b'}');
    }
    carried.extend_from_slice(&body[done..]);
    Ok(Some(Bytes::from(carried)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::spec_at;
    use super::*;
    use crate::decode::DecodeSpec;

    fn plan(records: &str, one_record: bool, body_max: u64) -> Plan {
        Plan::new(&DecodeSpec { one_record, body_max, ..spec_at(records) }).unwrap()
    }

    fn written(body: &str, plan: &Plan) -> Option<String> {
        let fields = [("n".to_owned(), "7".to_owned()), ("a \"b\"".to_owned(), r#""x,\"y""#.to_owned())];
        let carried = carry(&Bytes::copy_from_slice(body.as_bytes()), plan, &fields).unwrap()?;
        Some(String::from_utf8(carried.to_vec()).unwrap())
    }

    fn carried(body: &str, records: &str) -> Option<String> {
        written(body, &plan(records, false, 1000))
    }

    #[test]
    fn every_record_gets_the_fields() {
        let body = "\u{feff}{ \"x\" : { \"items\": [ {\"id\":1, \"s\":\"}]\"} , {} , { } ] }, \"next\": \"}\" }";
        let expected = r#"{ "x" : { "items": [ {"id":1, "s":"}]","n":7,"a \"b\"":"x,\"y"} , {"n":7,"a \"b\"":"x,\"y"} , { "n":7,"a \"b\"":"x,\"y"} ] }, "next": "}" }"#;
        assert_eq!(carried(body, "x.items").as_deref(), Some(expected));
        assert!(serde_json::from_str::<Value>(expected).is_ok());
        assert_eq!(carried("[]", "").as_deref(), Some("[]"));
        assert_eq!(carried("[1,[{}]]", "").as_deref(), Some("[1,[{}]]"), "what is no record stays as it is");
    }

    #[test]
    fn one_record_gets_them_too() {
        assert_eq!(written(r#"{"id":1}"#, &plan("", true, 1000)).as_deref(), Some(r#"{"id":1,"n":7,"a \"b\"":"x,\"y"}"#));
        assert_eq!(written(r#"{"d":{}}"#, &plan("d", true, 1000)).as_deref(), Some(r#"{"d":{"n":7,"a \"b\"":"x,\"y"}}"#));
        assert_eq!(
            written(r#"{"d":null}"#, &plan("d", true, 1000)).as_deref(),
            Some(r#"{"d":null}"#),
            "no object stays as it is"
        );
    }

    #[test]
    fn what_has_no_records_is_left_to_the_decoder() {
        for (body, records) in [("{}", "items"), ("", ""), ("[{\"a\":1}", ""), ("[{\"a\":1", ""), ("{\"items\":null}", "items")] {
            assert_eq!(carried(body, records), None, "{body}");
        }
    }

    #[test]
    fn a_records_own_value_is_not_written_over() {
        let carried = |body: &'static str| {
            let fields = [("id".to_owned(), "7".to_owned())];
            carry(&Bytes::from_static(body.as_bytes()), &plan("", false, 1000), &fields)
        };
        for body in [r#"[{"id":7}]"#, r#"[{"a":"id"}]"#, r#"[{"a":{"id":8}}]"#] {
            assert!(carried(body).unwrap().is_some(), "{body}");
        }
        for body in [r#"[{},{"id":8}]"#, r#"[{"x":1, "id" : "7"}]"#, r#"[{"id":null}]"#] {
            assert!(carried(body).unwrap_err().message.contains("a field `id` of its own"), "{body}");
        }
    }

    #[test]
    fn what_records_carry_counts_against_the_cap() {
        let fields = [("text".to_owned(), format!("\"{}\"", "x".repeat(600)))];
        let body = Bytes::from_static(b"[{},{}]");
        assert!(carry(&body, &plan("", false, 1000), &fields).unwrap_err().message.contains("carry"));
        assert!(carry(&body, &plan("", false, 2000), &fields).unwrap().is_some());
    }
}
