use proptest::prelude::*;

use crate::config::catalog::Format;
use crate::decode::fixture::{page, spec};
use crate::decode::tests::show::{decode_one, rows};
use crate::decode::{DecodeError, DecodeSpec, Decoder};
use crate::error::ErrorKind;

fn ndjson() -> DecodeSpec {
    DecodeSpec { format: Format::Ndjson, ..spec() }
}

fn error(body: &str) -> DecodeError {
    Decoder::new(ndjson(), None).expect("a decoder").decode(&page(body)).expect_err(body)
}

#[test]
fn every_line_is_a_record() {
    let (columns, shown) = decode_one(ndjson(), "\u{feff}{\"a\":1}\n\r\n  {\"a\":2,\"b\":\"x, y\"} \r\n\u{1e}{\"a\":3}\n\n");
    assert_eq!(columns, ["a int64", "b text"]);
    assert_eq!(shown, [r#"{"a":1}"#, r#"{"a":2,"b":"x, y"}"#, r#"{"a":3}"#]);
    assert_eq!(decode_one(ndjson(), "{\"a\":1}").1, [r#"{"a":1}"#], "the last line needs no end");
}

#[test]
fn a_body_without_a_line_is_an_empty_page() {
    for body in ["", "\n", " \r\n\n"] {
        let decoded = Decoder::new(ndjson(), None).expect("a decoder").decode(&page(body)).expect("an empty page");
        assert_eq!((decoded.rows.num_rows(), decoded.envelope.records), (0, 0), "{body:?}");
    }
}

#[test]
fn a_last_line_that_is_cut_off_is_no_short_page() {
    // C-65
    let body = "{\"a\":\"one\"}\n{\"a\":\"two\",\"b\":[1,2]}";
    let last = body.find('\n').expect("two lines") + 1;
    for cut in last + 1..body.len() {
        let error = error(&body[..cut]);
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unavailable, "the body is cut off in line `2`"), "{cut}");
    }
}

#[test]
fn lines_that_only_make_sense_together_are_refused() {
    let cases = [
        ("{\"a\":1\n\"b\":2}\n", "line `1` is not one JSON value: EOF while parsing an object at line 1 column 6"),
        ("{\"a\":1}\n{\"a\":2},{\"a\":3}\n", "line `2` is not one JSON value: trailing characters at line 1 column 8"),
        ("{\"a\":1}\n{\"a\":2} {\"a\":3}\n", "line `2` is not one JSON value: trailing characters at line 1 column 9"),
        ("{\"a\":\"x\ny\"}\n", "line `1` is not one JSON value: EOF while parsing a string at line 1 column 7"),
        ("{\"a\":1}]\n[{\"a\":2}\n", "line `1` is not one JSON value: trailing characters at line 1 column 8"),
        // As many values as lines, but not one each.
        ("{\"a\":1},{\"b\":1\n\"c\":2}\n", "line `1` is not one JSON value: trailing characters at line 1 column 8"),
        ("{\"a\":1}\nToo many requests\n", "line `2` is not one JSON value: expected value at line 1 column 1"),
        ("<html></html>", "the body is HTML, not NDJSON"),
    ];
    for (body, message) in cases {
        let error = error(body);
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unavailable, message), "{body}");
    }
    let list = error("[{\"a\":1},{\"a\":2}]\n");
    assert_eq!(list.message, "the body is one list in JSON, not NDJSON; write format = { type = \"json\" }");
}

proptest! {
    #[test]
    fn lines_are_taken_exactly_where_serde_json_takes_each(
        body in r#"((\{("a":?(1|"x|y"|\[1?,?2?\]|tru?e),?){0,2}\}?,? ?){0,2}\n){0,4}"#,
    ) {
        let lines: Vec<&str> = body.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let good = lines.iter().all(|line| serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok());
        let decoded = Decoder::new(ndjson(), None).expect("a decoder").decode(&page(body.as_str()));
        prop_assert_eq!(decoded.is_ok(), good, "{}", body);
        if let Ok(decoded) = decoded {
            prop_assert_eq!(decoded.envelope.records as usize, lines.len());
            prop_assert_eq!(rows(&decoded.rows).len(), lines.len());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let result = Decoder::new(ndjson(), None).expect("a decoder").decode(&page(body));
        prop_assert!(result.is_ok() || result.is_err());
    }
}
