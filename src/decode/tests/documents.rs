use proptest::prelude::*;

use super::show::{decode_one, rows};
use crate::decode::fixture::{page, spec, spec_at};
use crate::decode::{DecodeError, DecodeSpec, Decoder};
use crate::error::ErrorKind;
use crate::page::{Captured, ResponsePath};
use crate::reject::RejectedAt;

fn error(spec: DecodeSpec, body: impl Into<Vec<u8>>) -> DecodeError {
    Decoder::new(spec, None).unwrap().decode(&page(body)).unwrap_err()
}

#[test]
fn what_is_no_whole_document_is_fetched_again() {
    // C-62
    // C-63
    let cases: &[(&[u8], &str)] = &[
        (b"", "the body is empty"),
        (b" \n ", "the body is empty"),
        (b"<!DOCTYPE html><html></html>", "the body is HTML, not JSON"),
        (b"\n <HTML>", "the body is HTML, not JSON"),
        (b"<?xml version=\"1.0\"?><a/>", "the body is XML, not JSON"),
        (b"[{\"a\":1},{\"a\":", "the document is cut off, it ends in the middle at byte `14`"),
        (b"[{\"a\":\"x", "the document is cut off, it ends in the middle at byte `8`"),
        (b"[{\"a\":\"\\u00", "the document is cut off, it ends in the middle at byte `11`"),
        (b"[{\"a\":12", "the document is cut off, it ends in the middle at byte `8`"),
        (b"[1] [2]", "there is more after the end of the document, at byte `4`"),
        (b"[1]x", "there is more after the end of the document, at byte `3`"),
        (b"[]]", "there is more after the end of the document, at byte `2`"),
        (b"Too many requests", "the body is not JSON: no value begins with `T`, at byte `0`; it begins with `Too many requests`"),
        (b"[1 2]", "the body is not JSON: `,` is missing or in the wrong place at byte `3`"),
        (b"[1,,2]", "the body is not JSON: "),
        (b"[1,]", "the body is not JSON: "),
        (b"[,1]", "the body is not JSON: "),
        (b"{\"a\":1,}", "the body is not JSON: "),
        (b"{\"a\":1 \"b\":2}", "the body is not JSON: "),
        (b"[01]", "the body is not JSON: a number is none: `01`"),
        (b"[1-2]", "the body is not JSON: a number is none: `1-2`"),
        (b"[\"\xff\"]", "the body is not JSON: "),
        (b"[\"\\x\"]", "the body is not JSON: "),
        (b"[NaN]", "the body is not JSON: "),
        (b"[nul]", "the body is not JSON: "),
    ];
    for (body, message) in cases {
        let error = error(spec(), *body);
        let text = String::from_utf8_lossy(body);
        assert_eq!(error.kind, ErrorKind::Unavailable, "{text}: {error}");
        assert!(error.message.starts_with(message), "{text}: {error}");
    }
}

#[test]
fn every_cut_of_a_page_is_noticed() {
    let body = r#"{"data": [{"a": "x\"\u00e9y", "b": [1.5e3, true]}, null], "next": null}"#;
    let mut decoder = Decoder::new(spec_at("data"), None).unwrap();
    for cut in 0..body.len() {
        let error = decoder.decode(&page(&body[..cut])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{}", &body[..cut]);
    }
    assert_eq!(decoder.decode(&page(body)).unwrap().rows.num_rows(), 1, "and the decoder goes on");
}

#[test]
fn a_page_in_the_wrong_shape_says_what_was_found() {
    let cases = [
        ("", "{}", "the body is an object, not a list of records"),
        ("", "7", "the body is a number, not a list of records"),
        ("", "null", "the body has no list of records: it is null"),
        ("data", "[]", "the body has no list of records at `data`"),
        ("data", r#"{"error":"no","code":7}"#, "the body has no list of records at `data`; its fields are `error`, `code`"),
        (
            "data",
            r#"{"data":{"id":1}}"#,
            "there is an object, not a list of records, at `data`; its fields are `id`; if it is the one record, one_record = true takes it",
        ),
        ("", r#"{"data":[]}"#, "the body is an object, not a list of records; its fields are `data`"),
        ("data", r#"{"data":null}"#, "the body has no list of records at `data`; its fields are `data`"),
        ("data.items", r#"{"data":"gone"}"#, "`data` is text, the records should stand in it"),
        ("data", "true", "the body is a boolean, the records should stand in it"),
    ];
    for (path, body, message) in cases {
        let error = error(spec_at(path), body);
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unavailable, message), "{body}");
    }
}

#[test]
fn an_object_may_be_the_one_record() {
    let one = |path: &str| DecodeSpec { one_record: true, ..spec_at(path) };
    for (path, body) in [("", r#" {"id":7, "list":[1]} "#), ("data.me", r#"{"data":{"me":{"id":7,"list":[1]}}}"#)] {
        let decoded = Decoder::new(one(path), None).unwrap().decode(&page(body)).unwrap();
        assert_eq!((decoded.rows.num_rows(), decoded.envelope.records, decoded.places), (1, 1, vec![0]), "{body}");
        assert_eq!(std::str::from_utf8(decoded.raw.get(0)).unwrap().replace(' ', ""), r#"{"id":7,"list":[1]}"#);
    }
    let cases = [
        ("", r#"[{"id":7}]"#, "the body is a list, not a record; without `one_record` each item of it is a record"),
        ("me", r#"{"me":7}"#, "there is a number, not a record, at `me`"),
        ("me", r#"{"you":{}}"#, "the body has no record at `me`; its fields are `you`"),
    ];
    for (path, body, message) in cases {
        assert_eq!(error(one(path), body).message, message, "{body}");
    }
    let optional = DecodeSpec { records_optional: true, ..one("me") };
    assert_eq!(Decoder::new(optional, None).unwrap().decode(&page("{}")).unwrap().envelope.records, 0);
}

#[test]
fn a_list_that_may_be_missing_is_an_empty_page() {
    let optional = || DecodeSpec { records_optional: true, ..spec_at("data.items") };
    for body in ["{}", r#"{"data":null}"#, r#"{"data":{"items":null}}"#, r#"{"data":{}}"#] {
        let decoded = Decoder::new(optional(), None).unwrap().decode(&page(body)).unwrap();
        assert_eq!((decoded.rows.num_rows(), decoded.envelope.records), (0, 0), "{body}");
        assert!(decoded.changes.is_empty());
    }
    assert_eq!(error(optional(), r#"{"data":{"items":{}}}"#).kind, ErrorKind::Unavailable);
    assert_eq!(error(optional(), r#"{"data":"gone"}"#).kind, ErrorKind::Unavailable);
    // Two of what the list should stand in are no list that is missing; none of it is.
    let several = error(optional(), r#"{"data":[{"items":[{"id":1}]},{"items":[{"id":2}]}]}"#);
    assert!(several.message.contains("`data` is a list, the records should stand in `items` of an object"), "{several:?}");
    assert_eq!(Decoder::new(optional(), None).unwrap().decode(&page(r#"{"data":[]}"#)).unwrap().envelope.records, 0);
}

#[test]
fn a_byte_order_mark_and_space_around_do_no_harm() {
    let (columns, rows) = decode_one(spec(), "\u{feff} \n[ {\"a\" : 1 } , { } ]\r\n\t ");
    assert_eq!(columns, ["a int64"]);
    assert_eq!(rows, [r#"{"a":1}"#, "{}"]);
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("[{{\"a\":{}{}}}]", "[".repeat(depth), "]".repeat(depth));
    assert!(Decoder::new(spec(), None).unwrap().decode(&page(nested(126))).is_ok());
    let error_deep = error(spec(), nested(127));
    assert!(
        error_deep.message.starts_with("the body is not JSON: objects and lists are nested deeper than `128`"),
        "{error_deep}"
    );
    assert_eq!(error(spec(), "[".repeat(1_000_000)).kind, ErrorKind::Unavailable);
    assert_eq!(error(spec(), nested(100_000)).kind, ErrorKind::Unavailable);
}

#[test]
fn the_envelope_is_captured_as_text() {
    let wanted = ["meta.next", "meta.total", "meta.more", "meta.none", "meta.absent", "data.0.id", "meta", "header.link"];
    let wanted: Vec<ResponsePath> = wanted.iter().map(|path| ResponsePath::parse(path).unwrap()).collect();
    let body = r#"{"data":[{"id":18446744073709551616},3,{"id":2}],"meta":{"next":"a\/b","total":1e3,"more":false,"none":null}}"#;
    let spec = DecodeSpec { wanted, ..spec_at("data") };
    let decoded = Decoder::new(spec, None).unwrap().decode(&page(body)).unwrap();
    let shown: Vec<String> = decoded.envelope.captured.iter().map(|(path, value)| format!("{path} {value:?}")).collect();
    assert_eq!(
        shown,
        [
            "data.0.id Number(\"18446744073709551616\")",
            "meta Nested",
            "meta.more Boolean(false)",
            "meta.next Text(\"a/b\")",
            "meta.none Null",
            "meta.total Number(\"1e3\")",
        ]
    );
    assert_eq!(decoded.envelope.records, 3);
    assert_eq!(decoded.envelope.captured[&ResponsePath::parse("meta.more").unwrap()], Captured::Boolean(false));
}

#[test]
fn items_that_are_no_objects_are_put_aside_as_they_came() {
    let body = r#"[{"a":1}, "x\n" ,null,[ 1 ],{"a":2}]"#;
    let decoded = Decoder::new(spec(), None).unwrap().decode(&page(body)).unwrap();
    assert_eq!(decoded.places, [0, 4]);
    let shown: Vec<_> = decoded.rejects.iter().map(|reject| (reject.place, reject.reason.as_str(), &reject.record[..])).collect();
    assert_eq!(
        shown,
        [
            (1, "the record is text, not an object", &br#""x\n""#[..]),
            (2, "the record is null, not an object", b"null"),
            (3, "the record is a list, not an object", b"[ 1 ]"),
        ]
    );
    assert!(decoded.rejects.iter().all(|reject| reject.at == RejectedAt::Decode && reject.field.is_empty()));
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    let (columns, shown) = decode_one(spec(), r#"[{"a":"x","a":1,"b":{"c":1,"c":null}},{"a":null,"b":{"c":"y","c":2}}]"#);
    assert_eq!(columns, ["a int64", "b struct(c int64)"]);
    assert_eq!(shown, [r#"{"a":1,"b":{}}"#, r#"{"b":{"c":2}}"#]);
}

#[test]
fn documents_made_to_hurt_are_taken_or_refused_in_the_time_of_others() {
    // S-21
    let deep = format!("[{}", "{\"a\":".repeat(1_000_000));
    assert_eq!(error(spec(), deep).kind, ErrorKind::Unavailable);
    let closed = format!("[{}1{}]", "{\"a\":".repeat(1_000_000), "}".repeat(1_000_000));
    let told = error(spec(), closed).message;
    assert!(told.starts_with("the body is not JSON: objects and lists are nested deeper than `128`"), "{told}");
    let long = format!("[{{\"a\":\"{}\"}}]", "x".repeat(32 << 20));
    let decoded = Decoder::new(spec(), None).unwrap().decode(&page(long)).unwrap();
    assert_eq!(decoded.rows.num_rows(), 1);
    let keys: Vec<String> = (0..1_000_000).map(|key| format!("\"k{key}\":1")).collect();
    let wide = format!("{{{}}}", keys.join(","));
    assert_eq!(error(spec(), format!("[{wide}]")).message, "the records have more than `2000` fields");
    let (columns, shown) = decode_one(spec(), &format!("[{{\"map\":{wide}}}]"));
    assert_eq!((columns, shown.len()), (vec!["map json".to_owned()], 1));
    let doubled = format!("[{{{}\"a\":2}}]", "\"a\":1,".repeat(1_000_000));
    assert_eq!(decode_one(spec(), &doubled).1, [r#"{"a":2}"#]);
}

#[test]
fn too_many_fields_are_refused_or_stay_json() {
    let fields: Vec<String> = (0..2_001).map(|field| format!("\"f{field}\":1")).collect();
    let wide = format!("{{{}}}", fields.join(","));
    assert_eq!(error(spec(), format!("[{wide}]")).message, "the records have more than `2000` fields");
    let (columns, shown) = decode_one(spec(), &format!("[{{\"map\":{wide}}},{{\"map\":{{\"z\" : 1}}}}]"));
    assert_eq!(columns, ["map json"]);
    assert_eq!(shown[1], r#"{"map":"{\"z\" : 1}"}"#);
}

#[test]
fn a_few_bytes_cannot_ask_for_much_memory() {
    let fields: Vec<String> = (0..2_000).map(|field| format!("\"f{field}\":1")).collect();
    let (wide, more) = (fields.join(","), ",{}".repeat(40_000));
    for body in [format!("[{{{wide}}}{more}]"), format!("[{{\"a\":{{{wide}}}}}{more}]")] {
        let error = error(spec(), body);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Data, "the page has too many fields for its records; ask for smaller pages")
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let result = Decoder::new(spec(), None).unwrap().decode(&page(body));
        prop_assert!(result.is_ok() || result.is_err());
    }

    #[test]
    fn nearly_json_is_taken_exactly_where_serde_json_takes_it(
        body in r#"\[(\{("a":?(1|"x"|\[1?,?2?\]|tru?e|nul?l|-?0?1e?5?),?){0,2}\},? ?){0,3}\]?"#,
    ) {
        let mut decoder = Decoder::new(spec(), None).unwrap();
        let taken = match decoder.decode(&page(body.as_str())) {
            Ok(_) => true,
            Err(error) => {
                prop_assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error);
                false
            }
        };
        prop_assert_eq!(taken, serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok(), "{}", body);
        if taken {
            let again = decoder.decode(&page(body.as_str())).unwrap();
            prop_assert_eq!(rows(&again.rows).len(), again.places.len());
        }
    }
}

#[test]
fn an_answer_without_content_is_an_empty_page() {
    let mut decoder = Decoder::new(spec_at("items"), None).expect("a decoder");
    let nothing = crate::page::RawPage { status: 204, ..page("") };
    let decoded = decoder.decode(&nothing).expect("an empty page");
    assert_eq!((decoded.rows.num_rows(), decoded.envelope.records), (0, 0));
    assert!(decoder.decode(&page("")).is_err(), "an empty body with status 200 is a page that was cut off");
}

#[test]
fn half_of_a_character_stays_as_the_text_of_its_escape() {
    let (_, shown) = decode_one(spec(), r#"[{"id":1,"text":"cut \ud83d"},{"id":2,"text":"\ud83d\ude00"}]"#);
    assert!(shown[0].contains(r"cut \\ud83d"), "{shown:?}");
    assert!(shown[1].contains('\u{1f600}'), "{shown:?}");
}
