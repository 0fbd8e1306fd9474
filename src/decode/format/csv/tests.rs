use encoding_rs::{UTF_8, WINDOWS_1252};
use proptest::prelude::*;

use crate::config::catalog::{Csv, DeclaredType, Format, OnTypeChange};
use crate::decode::fixture::{page, spec, spec_declared};
use crate::decode::tests::show::decode_one;
use crate::decode::{DecodeError, DecodeSpec, Decoded, Decoder};
use crate::error::ErrorKind;
use crate::schema::ColumnType;

fn plain() -> Csv {
    Csv { delimiter: b',', quote: Some(b'"'), comment: None, columns: None, encoding: UTF_8, infer: true }
}

fn csv(csv: Csv) -> DecodeSpec {
    DecodeSpec { format: Format::Csv(csv), ..spec() }
}

fn decode(spec: DecodeSpec, body: impl Into<Vec<u8>>) -> Result<Decoded, DecodeError> {
    Decoder::new(spec, None).expect("a decoder").decode(&page(body))
}

fn json(spec: DecodeSpec, body: impl Into<Vec<u8>>) -> String {
    String::from_utf8(decode(spec, body).expect("a page").raw.json().to_vec()).expect("text")
}

fn error(spec: DecodeSpec, body: impl Into<Vec<u8>>) -> (ErrorKind, String) {
    let error = decode(spec, body).expect_err("no page");
    (error.kind, error.message)
}

#[test]
fn how_a_field_is_written_says_what_it_is() {
    let body = "a,b,c,d\n1,-0.5,true,x\n007,+1,True,\"7\"\n1E5,1e-7,1.5E5,\"true\"\n,\"\",null,\"\"\"q\"\"\"\n";
    let expected = concat!(
        r#"[{"a":1,"b":-0.5,"c":true,"d":"x"},{"a":"007","b":"+1","c":"True","d":"7"},"#,
        r#"{"a":"1E5","b":1e-7,"c":1.5E5,"d":"true"},{"b":"","c":"null","d":"\"q\""}]"#
    );
    assert_eq!(json(csv(plain()), body), expected);
    let expected = r#"[{"a":"1","b":"true"}]"#;
    assert_eq!(json(csv(Csv { infer: false, ..plain() }), "a,b,c\n1,true,\n"), expected.replace('}', r#","c":null}"#));
}

#[test]
fn columns_are_in_the_headers_order_with_gaps_too() {
    let (columns, shown) = decode_one(csv(plain()), "z,y,x\n,,1\n2,,\n");
    assert_eq!(columns, ["z int64", "y null", "x int64"]);
    assert_eq!(shown, [r#"{"x":1}"#, r#"{"z":2}"#]);
}

#[test]
fn lines_end_in_every_way_and_fields_hold_lines() {
    let expected = r#"[{"a":1,"b":"x\ny, \r\nz"},{"a":2,"b":""},{"a":3,"b":null}]"#.replace(",\"b\":null", "");
    assert_eq!(json(csv(plain()), "\u{feff}a,b\r\n\r\n1,\"x\ny, \r\nz\"\n2,\"\"\r3,"), expected);
    let tabs = Csv { delimiter: b'\t', quote: None, comment: Some(b'#'), ..plain() };
    let expected = r#"[{"a":"\"x","b":"5\" pipe"},{"a":"x#","b":"a,b"}]"#;
    assert_eq!(json(csv(tabs), "#by hand\na\tb\n\"x\t5\" pipe\n#\t\t\t\nx#\ta,b\n"), expected);
}

#[test]
fn a_body_without_header_has_named_columns() {
    let named = Csv { columns: Some(vec!["id".to_owned(), "n\"m".to_owned()]), delimiter: b';', ..plain() };
    assert_eq!(json(csv(named.clone()), "1;x\n2;y"), r#"[{"id":1,"n\"m":"x"},{"id":2,"n\"m":"y"}]"#);
    assert_eq!(json(csv(named), ""), "[]");
    assert_eq!(json(csv(plain()), "a,b\n"), "[]", "a header alone is an empty page");
}

#[test]
fn a_body_without_anything_is_fetched_again_unless_that_may_be() {
    assert_eq!(error(csv(plain()), "\n").1, "the body is empty: not even a header is there");
    assert_eq!(json(DecodeSpec { records_optional: true, ..csv(plain()) }, ""), "[]");
}

#[test]
fn declared_types_read_the_texts() {
    let declared = [
        ("n", DeclaredType::Column(ColumnType::Int64)),
        ("p", DeclaredType::Column(ColumnType::Decimal { precision: 9, scale: 2 })),
        ("f", DeclaredType::Column(ColumnType::Float64)),
        ("b", DeclaredType::Column(ColumnType::Boolean)),
        ("d", DeclaredType::Column(ColumnType::Date)),
        ("e", DeclaredType::EpochS),
        ("t", DeclaredType::Column(ColumnType::Text)),
    ];
    let format = Format::Csv(Csv { infer: false, ..plain() });
    let spec = DecodeSpec { format, on_type_change: OnTypeChange::DeadLetter, ..spec_declared(&declared) };
    let (_, shown) = decode_one(spec, "n,p,f,b,d,e,t\n007,+1.50,1E5,true,2026-01-31,60,1.0\n");
    let expected = r#"{"b":true,"d":2026-01-31,"e":1970-01-01T00:01:00Z,"f":100000.0f,"n":7,"p":1.50d,"t":"1.0"}"#;
    assert_eq!(shown, [expected]);
}

#[test]
fn an_encoding_is_taken_as_it_was_named_and_a_mark_wins() {
    let western = Csv { encoding: WINDOWS_1252, delimiter: b';', ..plain() };
    assert_eq!(json(csv(western.clone()), b"stra\xdfe;\x80\n\xe9;1\n".to_vec()), "[{\"straße\":\"é\",\"€\":1}]");
    assert_eq!(json(csv(western), "\u{feff}straße;x\né;1\n"), "[{\"straße\":\"é\",\"x\":1}]");
    assert_eq!(json(csv(plain()), encode_utf16("a,b\né,2\n")), "[{\"a\":\"é\",\"b\":2}]");
    let (kind, message) = error(csv(plain()), b"a\nx\n\xe9,\n".to_vec());
    assert_eq!(kind, ErrorKind::Data);
    assert_eq!(message, "the body is not UTF-8 in line `3`, at byte `4`; name the `encoding` that it has");
    assert_eq!(error(csv(plain()), b"a\n\xc3".to_vec()).0, ErrorKind::Unavailable, "half of a character is a cut");
}

fn encode_utf16(text: &str) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

#[test]
fn rows_that_do_not_fit_name_their_line() {
    let data = |body: &str, message: &str| assert_eq!(error(csv(plain()), body), (ErrorKind::Data, message.to_owned()), "{body}");
    data("a,b\n\"x\n\",2\n1\n3,4\n", "line `4` has `1` fields where there are `2` columns");
    data("a,b\n1\n", "line `2` has `1` fields where there are `2` columns");
    data("a,b\n1,2,3", "line `2` has `3` fields where there are `2` columns");
    data("a,b\n\"1\"x,2\n", "in line `2` there is text behind a closing quote");
    let help = "write header = false and the columns' names, and leave this line out by `comment` or at the source";
    data("a,b,a\n", &format!("the header has the column `a` twice; {help}"));
    data("a,,b\n", &format!("column `2` of the header has no name; {help}"));
    data(&",".repeat(20_000), "the header has `20001` columns, more than `10000`");
}

#[test]
fn what_is_cut_off_is_fetched_again() {
    let again = |body: &str, message: &str| {
        assert_eq!(error(csv(plain()), body), (ErrorKind::Unavailable, message.to_owned()), "{body}");
    };
    again("a,b\n1,2\n3", "the body is cut off in line `3`: `1` fields of `2`");
    again("a,b\n1,\"x\ny", "the body is cut off: a quote of line `2` is not closed");
    again("a,b\n1,\"x\"\"", "the body is cut off: a quote of line `2` is not closed");
    again("<!doctype html><html>", "the body is HTML, not CSV");
    again("{\"error\":\"no\"}", "the body is JSON, not CSV; it begins with `{\"error\":\"no\"}`");
    again("[]", "the body is JSON, not CSV; it begins with `[]`");
}

#[test]
fn memory_stays_below_the_bodys_cap() {
    // S-23
    let long = format!("a\n\"{}\n", "x".repeat(2_000_000));
    assert_eq!(error(csv(plain()), long.as_str()).0, ErrorKind::Unavailable, "a field without an end");
    let field = format!("a\n{}\n", "\u{1}".repeat(50_000));
    let small = DecodeSpec { body_max: 200_000, ..csv(plain()) };
    assert_eq!(error(small, field.as_str()).0, ErrorKind::Config, "a field that grows");
    // Names of columns come once a record.
    let names: Vec<String> = (0..100).map(|column| format!("{}{column}", "long".repeat(50))).collect();
    let body = format!("{}\n{}", names.join(","), format!("{}\n", vec!["1"; 100].join(",")).repeat(100));
    let (kind, message) = error(DecodeSpec { body_max: 100_000, ..csv(plain()) }, body);
    assert_eq!(kind, ErrorKind::Config);
    assert!(message.contains("larger than body_max"), "{message}");
    let sparse = format!("{}\n{}", names.join(","), format!("1{}\n", ",".repeat(99)).repeat(100));
    assert!(decode(DecodeSpec { body_max: 100_000, ..csv(plain()) }, sparse).is_ok(), "gaps have no names");
}

#[test]
fn a_line_of_delimiters_is_counted_and_not_kept() {
    // S-23: thirty bytes for each would be more than any limit allows for a page.
    let most = 8 << 20;
    let (kind, message) = error(csv(plain()), ",".repeat(most));
    assert_eq!((kind, message.as_str()), (ErrorKind::Data, "the header has `8388609` columns, more than `10000`"));
    let (kind, message) = error(csv(plain()), format!("a,b\n{}\n1,2\n", ",".repeat(most)));
    assert_eq!((kind, message.as_str()), (ErrorKind::Data, "line `2` has `8388609` fields where there are `2` columns"));
    let csv = plain();
    let text = ",".repeat(most);
    let (mut lines, mut row) = (super::Lines { text: &text, at: 0, line: 1, csv: &csv, fields_max: 100 }, super::Row::default());
    assert!(lines.next_row(&mut row).is_ok_and(|found| found));
    assert!(row.fields.capacity() <= 256 && row.count == most + 1);
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9]{0,3}", "[-+0-9.eE]{0,4}", "[a,;\"'\n\r\té \u{1f600}#]{0,5}", Just("true".to_owned())]
}

proptest! {
    #[test]
    fn what_the_csv_crate_writes_comes_back(
        rows in (1_usize..5).prop_flat_map(|width| prop::collection::vec(prop::collection::vec(field(), width), 1..6)),
        delimiter in prop::sample::select(&b",;\t|"[..]),
        crlf in any::<bool>(),
    ) {
        let width = rows[0].len();
        let columns: Vec<String> = (0..width).map(|column| format!("c{column}")).collect();
        let mut writer = csv::WriterBuilder::new()
            .delimiter(delimiter)
            .quote_style(csv::QuoteStyle::Always)
            .terminator(if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') })
            .from_writer(Vec::new());
        writer.write_record(&columns).expect("written");
        rows.iter().for_each(|row| writer.write_record(row).expect("written"));
        let body = writer.into_inner().expect("a body");
        let objects: Vec<std::collections::BTreeMap<String, String>> =
            serde_json::from_str(&json(csv(Csv { delimiter, ..plain() }), body)).expect("all texts");
        let found: Vec<Vec<String>> = objects.into_iter().map(|object| object.into_values().collect()).collect();
        prop_assert_eq!(found, rows);
    }

    #[test]
    fn plain_fields_are_what_the_csv_crate_reads(body in "([a-c\"0-9 ]{0,3}[,\n]){0,12}") {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(body.as_bytes());
        let read: Result<Vec<Vec<String>>, _> =
            reader.records().map(|record| record.map(|record| record.iter().map(str::to_owned).collect())).collect();
        let names: Vec<String> = (0..read.as_ref().ok().and_then(|rows| rows.first()).map_or(1, Vec::len)).map(|n| format!("c{n:02}")).collect();
        let spec = csv(Csv { columns: Some(names.clone()), infer: false, ..plain() });
        if let (Ok(read), Ok(decoded)) = (read, decode(spec, body.as_str())) {
            let objects: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(decoded.raw.json()).expect("objects");
            let text = |object: &serde_json::Map<String, serde_json::Value>, name: &String| {
                object.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
            };
            let found: Vec<Vec<String>> =
                objects.iter().map(|object| names.iter().map(|name| text(object, name)).collect()).collect();
            prop_assert_eq!(found, read, "{}", body);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..100), text in "[a\",;\n\r#\u{feff}é]{0,30}") {
        let odd = Csv { delimiter: b';', comment: Some(b'#'), columns: Some(vec!["a".to_owned()]), encoding: WINDOWS_1252, ..plain() };
        for spec in [csv(plain()), csv(odd)] {
            for body in [body.clone(), text.clone().into_bytes()] {
                let result = decode(spec.clone(), body);
                prop_assert!(result.is_ok() || result.is_err());
            }
        }
    }
}
