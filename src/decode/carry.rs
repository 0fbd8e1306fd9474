//! Columns that records get from outside of their page: written into their JSON, so that everything after knows them.

use bytes::Bytes;
use serde_json::Value;

use crate::page::ResponsePath;

use super::span::{record_spans, without_mark};

/// The page with these fields in each of its records, behind the record's own: of a name that is there twice the last counts. `None`
/// where the body has no list of records, or one that holds something else than objects: whoever decodes it says what is wrong.
pub fn carry(body: &Bytes, records: &ResponsePath, fields: &[(&str, Value)]) -> Option<Bytes> {
    let ResponsePath::Body(steps) = records else { return None };
    let body = without_mark(body);
    let spans = record_spans(body, steps, Some(u64::MAX))?;
    let mut written = String::new();
    for (name, value) in fields {
        written.push_str(&format!(",{}:{value}", Value::from(*name)));
    }
    let mut carried = Vec::with_capacity(body.len() + spans.len() * written.len());
    let mut done = 0;
    for std::ops::Range { start, end } in spans {
        let record = body.get(start..end)?;
        let inner = record.strip_suffix(b"}")?;
        carried.extend_from_slice(&body[done..start]);
        carried.extend_from_slice(inner);
        // An empty object takes the fields without the comma before them.
        let is_empty = inner.strip_prefix(b"{")?.trim_ascii().is_empty();
        carried.extend_from_slice(written.as_bytes().get(usize::from(is_empty)..).unwrap_or_default());
        carried.push(b'}');
        done = end;
    }
    carried.extend_from_slice(&body[done..]);
    Some(Bytes::from(carried))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(body: &str, records: &str) -> Option<String> {
        let fields = [("n", Value::from(7)), ("a \"b\"", Value::from("x,\"y"))];
        let carried = carry(&Bytes::copy_from_slice(body.as_bytes()), &ResponsePath::parse(records).unwrap(), &fields)?;
        Some(String::from_utf8(carried.to_vec()).unwrap())
    }

    #[test]
    fn every_record_gets_the_fields() {
        let body = "\u{feff}{ \"x\" : { \"items\": [ {\"id\":1, \"s\":\"}]\"} , {} , { } ] }, \"next\": \"}\" }";
        let expected = r#"{ "x" : { "items": [ {"id":1, "s":"}]","n":7,"a \"b\"":"x,\"y"} , {"n":7,"a \"b\"":"x,\"y"} , { "n":7,"a \"b\"":"x,\"y"} ] }, "next": "}" }"#;
        assert_eq!(carried(body, "x.items").as_deref(), Some(expected));
        assert!(serde_json::from_str::<Value>(expected).is_ok());
        assert_eq!(carried("[]", "").as_deref(), Some("[]"));
    }

    #[test]
    fn what_has_no_records_is_left_to_the_decoder() {
        for (body, records) in
            [("{}", "items"), ("", ""), ("[{\"a\":1}", ""), ("[{\"a\":1", ""), ("[1]", ""), ("{\"items\":null}", "items")]
        {
            assert_eq!(carried(body, records), None, "{body}");
        }
    }
}
