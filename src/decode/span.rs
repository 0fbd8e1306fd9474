//! Where records begin and end in the bytes of a page that is not decoded yet: for what is written into them before.

/// A body without its byte order mark, which RFC 8259 lets a reader ignore.
pub fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}

type Span = std::ops::Range<usize>;

/// Spans of the records, or of the one where there is no list of them; `None` where they are not whole.
pub fn record_spans(body: &[u8], steps: &[String], one_record: bool) -> Option<Vec<Span>> {
    let mut at = skip_space(body, 0);
    for step in steps {
        at = find_member(body, at, step)?;
    }
    let mut spans = Vec::new();
    if one_record {
        spans.push(at..value_end(body, at)?);
        return Some(spans);
    }
    if body.get(at) != Some(&b'[') {
        return None;
    }
    at = skip_space(body, at + 1);
    while *body.get(at)? != b']' {
        let end = value_end(body, at)?;
        spans.push(at..end);
        at = skip_separator(body, end);
    }
    Some(spans)
}

/// Where the value of a key starts, the last one if the key is there twice; in a list the key is an index.
pub fn find_member(body: &[u8], at: usize, key: &str) -> Option<usize> {
    let is_object = *body.get(at)? == b'{';
    let mut index: usize = 0;
    let mut found = None;
    let mut at = skip_space(body, at + 1);
    while !matches!(*body.get(at)?, b'}' | b']') {
        // Of a list `-1` is the last: what is found later counts.
        let mut matches = !is_object && (key == "-1" || key.parse() == Ok(index));
        if is_object {
            let end = value_end(body, at)?;
            matches = serde_json::from_slice::<String>(&body[at..end]).is_ok_and(|name| name == key);
            at = skip_space(body, skip_space(body, end) + 1);
        }
        if matches {
            found = Some(at);
        }
        at = skip_separator(body, value_end(body, at)?);
        index += 1;
    }
    found
}

pub fn skip_space(body: &[u8], mut at: usize) -> usize {
    while matches!(body.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

fn skip_separator(body: &[u8], at: usize) -> usize {
    let at = skip_space(body, at);
    if body.get(at) == Some(&b',') { skip_space(body, at + 1) } else { at }
}

/// The end of the value that starts at `at`; it counts brackets, so depth costs nothing.
pub fn value_end(body: &[u8], mut at: usize) -> Option<usize> {
    let mut depth: usize = 0;
    loop {
        match *body.get(at)? {
            b'"' => at = string_end(body, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            _ if depth > 0 => at += 1,
            _ => return Some(scalar_end(body, at)),
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

fn scalar_end(body: &[u8], at: usize) -> usize {
    let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
    body[at..].iter().position(is_end).map_or(body.len(), |length| at + length)
}

/// The end of the string whose opening quote stands at `at`, behind its closing quote.
pub fn string_end(body: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match *body.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::ResponsePath;

    fn raw<'b>(body: &'b str, path: &str, places: &[usize]) -> Vec<&'b str> {
        spans(body, path, places, false)
    }

    fn spans<'b>(body: &'b str, path: &str, places: &[usize], one_record: bool) -> Vec<&'b str> {
        let ResponsePath::Body(steps) = ResponsePath::parse(path).unwrap() else { unreachable!() };
        let body = std::str::from_utf8(without_mark(body.as_bytes())).unwrap();
        let spans = record_spans(body.as_bytes(), &steps, one_record).unwrap_or_default();
        places.iter().map(|place| spans.get(*place).map_or("", |span| &body[span.clone()])).collect()
    }

    #[test]
    fn records_come_back_byte_for_byte() {
        let body =
            r#" { "a]": "[{", "d\u0061ta" : { "items" : [ {"x": "]}\"\\"} , null,[1, {"y":2}],"s, ]" ,-1.5e3 ] } , "z": 1 } "#;
        assert_eq!(
            raw(body, "data.items", &[0, 2, 4, 1, 3, 9]),
            [r#"{"x": "]}\"\\"}"#, r#"[1, {"y":2}]"#, "-1.5e3", "null", r#""s, ]""#, ""]
        );
    }

    #[test]
    fn the_root_may_be_the_list_and_the_last_of_two_keys_counts() {
        assert_eq!(raw("\u{feff}[{\"a\":1},2]", "", &[1, 0]), ["2", "{\"a\":1}"]);
        assert_eq!(raw(r#"{"d":[1],"d":[2]}"#, "d", &[0]), ["2"]);
        assert_eq!(raw(r#"[[1],[2,3]]"#, "1", &[1]), ["3"]);
    }

    #[test]
    fn one_record_is_what_stands_there() {
        assert_eq!(spans(r#" {"a": "}"} "#, "", &[0], true), [r#"{"a": "}"}"#]);
        assert_eq!(spans(r#"{"d": {"e":{}} , "f":1}"#, "d", &[0, 1], true), [r#"{"e":{}}"#, ""]);
        assert_eq!(spans(r#"{"d": {"e":"#, "d", &[0], true), [""]);
    }

    #[test]
    fn what_is_no_document_has_no_records() {
        for body in ["", "[", "[{\"a\":\"\\", "{\"d\"", "]", "{\"d\":[1", "7"] {
            assert_eq!(raw(body, "d", &[0]), [""], "{body}");
        }
    }
}
