use sha2::{Digest, Sha256};

use super::show::{columns, rows};
use crate::config::catalog::{CursorType, DeclaredType};
use crate::cursor::CursorKey;
use crate::decode::fixture::{page, spec, spec_with_cursor};
use crate::decode::{DecodeSpec, Decoded, Decoder};
use crate::reject::RejectedAt;
use crate::schema::ColumnType;

fn decode(cursor_type: CursorType, zone: &str, values: &[&str]) -> (Decoder, Decoded) {
    let records: Vec<String> = values.iter().map(|value| format!("{{\"at\":{value}}}")).collect();
    let mut decoder = Decoder::new(spec_with_cursor(cursor_type, zone), None).unwrap();
    let decoded = decoder.decode(&page(format!("[{}]", records.join(",")))).unwrap();
    (decoder, decoded)
}

fn times(cursor_type: CursorType, zone: &str, values: &[&str]) -> Vec<i64> {
    let (_, decoded) = decode(cursor_type, zone, values);
    assert_eq!(decoded.rejects.len(), 0, "{:?}", decoded.rejects);
    decoded.cursor.unwrap().iter().map(|cursor| i64::try_from(cursor.number().unwrap()).unwrap()).collect()
}

fn micros(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

#[test]
fn timestamps_and_dates() {
    // C-35
    // C-36
    let found = times(
        CursorType::Timestamp,
        "Europe/Berlin",
        &[r#""2026-03-29T02:30:00""#, r#""2026-03-29T02:30:00+02:00""#, r#""2026-03-28t24:00:00""#],
    );
    assert_eq!(found, [micros("2026-03-29T01:30:00Z"), micros("2026-03-29T00:30:00Z"), micros("2026-03-28T23:00:00Z")]);
    let found = times(CursorType::Date, "America/New_York", &[r#""2026-01-31""#]);
    assert_eq!(found, [micros("2026-01-31T05:00:00Z")]);
}

#[test]
fn finer_than_the_column_is_cut_and_the_column_keeps_its_text() {
    // C-33
    let (decoder, decoded) = decode(CursorType::Timestamp, "UTC", &[r#""2026-01-31T00:00:00.1239999Z""#]);
    assert_eq!(decoded.cursor.unwrap(), [CursorKey::from(micros("2026-01-31T00:00:00.123999Z"))]);
    assert_eq!(columns(&decoder), ["at text"]);
    assert_eq!(rows(&decoded.rows), [r#"{"at":"2026-01-31T00:00:00.1239999Z"}"#]);
}

#[test]
fn epochs_go_by_the_unit_that_is_declared() {
    // C-37
    // C-38
    assert_eq!(
        times(CursorType::EpochS, "UTC", &["1700000000", "1.7e9", "\"1700000000\"", "-0.0000001", "1.7000000005E+9"]),
        [1_700_000_000_000_000, 1_700_000_000_000_000, 1_700_000_000_000_000, -1, 1_700_000_000_500_000,]
    );
    // The same digits, a thousand times less: never guessed from their size.
    assert_eq!(
        times(CursorType::EpochMs, "UTC", &["1700000000", "1700000000123.4567"]),
        [1_700_000_000_000, 1_700_000_000_123_456]
    );
    assert_eq!(times(CursorType::EpochUs, "UTC", &["1700000000", "-1.5"]), [1_700_000_000, -2]);
}

#[test]
fn whole_numbers_are_exact_at_any_size() {
    // C-39
    let values = ["9007199254740993", "18446744073709551615", "-170141183460469231731687303715884105728", "\"42\"", "7.0"];
    let (decoder, decoded) = decode(CursorType::Integer, "UTC", &values[..2]);
    assert_eq!(decoded.cursor.unwrap(), [9_007_199_254_740_993i128, 18_446_744_073_709_551_615].map(CursorKey::from));
    assert_eq!(columns(&decoder), ["at text"], "the column is as exact as the cursor");
    let (_, decoded) = decode(CursorType::Integer, "UTC", &values[3..]);
    assert_eq!(decoded.cursor.unwrap(), [42i64, 7].map(CursorKey::from));
}

#[test]
fn a_decimal_is_no_cursor_but_as_texts_of_one_length() {
    // C-40: never rounded, and never compared as a text where it is a number.
    let refused = |cursor_type, value: &str| {
        let (_, decoded) = decode(cursor_type, "UTC", &[value]);
        assert_eq!((decoded.rows.num_rows(), decoded.rejects.len()), (0, 1), "{value}");
        decoded.rejects[0].reason.clone()
    };
    assert_eq!(refused(CursorType::Integer, "12.5"), "the cursor is not a whole number of 128 bits: `12.5`");
    assert_eq!(refused(CursorType::Integer, "\"12.5\""), "the cursor is not a whole number of 128 bits: `\"12.5\"`");
    assert_eq!(refused(CursorType::String, "12.5"), "the cursor is not a text: `12.5`");
    let (_, decoded) = decode(CursorType::String, "UTC", &["\"0009.75\"", "\"0010.50\""]);
    let cursors = decoded.cursor.unwrap();
    assert!(cursors[0] < cursors[1] && decoded.rejects.is_empty());
}

#[test]
fn records_without_a_cursor_are_put_aside() {
    // C-42
    // C-43
    // C-44
    let body = r#"[{"at":1,"id":1},{"at":null},{"id":3},{"at":"x"},{"at":{}},{"at":1.5},{"at":1e40}]"#;
    let mut decoder = Decoder::new(spec_with_cursor(CursorType::Integer, "UTC"), None).unwrap();
    let decoded = decoder.decode(&page(body)).unwrap();
    assert_eq!(decoded.places, [0]);
    let reasons: Vec<&str> = decoded.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "the cursor field is missing or null",
            "the cursor field is missing or null",
            "the cursor is not a whole number of 128 bits: `\"x\"`",
            "the cursor is not a whole number of 128 bits: `{}`",
            "the cursor is not a whole number of 128 bits: `1.5`",
            "the cursor is not a whole number of 128 bits: `1e40`",
        ]
    );
    assert!(decoded.rejects.iter().all(|reject| reject.at == RejectedAt::Cursor && reject.field == "at"));
    for (cursor_type, value) in [
        (CursorType::Timestamp, "\"9999-12-31T23:59:59Z\""),
        (CursorType::Timestamp, "1700000000"),
        (CursorType::Date, "\"2026-01-31T00:00:00Z\""),
        (CursorType::EpochS, "1e300"),
        (CursorType::EpochUs, "true"),
    ] {
        let (_, decoded) = decode(cursor_type, "UTC", &[value]);
        assert_eq!((decoded.rows.num_rows(), decoded.rejects.len()), (0, 1), "{value}");
    }
}

#[test]
fn nested_cursors_and_hashes_of_keys() {
    let mut spec = spec_with_cursor(CursorType::Integer, "UTC");
    spec.cursor.as_mut().unwrap().field = "p.seq".to_owned();
    let spec = DecodeSpec { key: vec!["id".to_owned(), "p.k".to_owned()], ..spec };
    let mut decoder = Decoder::new(spec, None).unwrap();
    let body = r#"[{"id":"a\u0062","p":{"seq":5,"k":1.0}},{"p":{"seq":6,"k":1},"id":2}]"#;
    let decoded = decoder.decode(&page(body)).unwrap();
    let hash = |text: &str| Sha256::digest(text)[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(decoded.key_hashes.unwrap(), [hash(r#""ab",1.0"#), hash("2,1")]);
    assert_eq!(decoded.cursor.unwrap(), [5i64, 6].map(CursorKey::from));
}

#[test]
fn a_declared_key_is_one_however_its_value_is_written() {
    let keys = |declared: &[(&str, DeclaredType)], ids: &[&str]| {
        let declared = declared.iter().map(|(path, declared)| ((*path).to_owned(), declared.clone())).collect();
        let spec = DecodeSpec { key: vec!["p.id".to_owned()], keep_keys: true, declared, ..spec() };
        let records: Vec<String> = ids.iter().map(|id| format!(r#"{{"p":{{"id":{id}}}}}"#)).collect();
        let body = format!("[{}]", records.join(","));
        Decoder::new(spec, None).unwrap().decode(&page(body)).unwrap().keys.unwrap()
    };
    let column = DeclaredType::Column;
    assert_eq!(keys(&[], &["7", "7.0", "-0"]), ["7", "7.0", "-0"], "as the source wrote it");
    let ids = ["7", "\"7\"", "7.0", "0.7e1", "-0", "9223372036854775807"];
    assert_eq!(keys(&[("p.id", column(ColumnType::Int64))], &ids), ["7", "7", "7", "7", "0", "9223372036854775807"]);
    assert_eq!(keys(&[("p.\"id\"", column(ColumnType::Int64))], &["\"7\""]), ["7"], "another way to name it");
    assert_eq!(keys(&[("id", column(ColumnType::Int64))], &["\"7\""]), ["\"7\""], "another field");
    let text = keys(&[("p.id", column(ColumnType::Text))], &["7", "\"7\"", "\"\\u0037\"", "7.0", "true"]);
    assert_eq!(text, ["\"7\"", "\"7\"", "\"7\"", "\"7.0\"", "\"true\""]);
    let decimal = column(ColumnType::Decimal { precision: 4, scale: 2 });
    assert_eq!(keys(&[("p.id", decimal)], &["7", "\"7.00\"", "7.5e0", "-0.05"]), ["7.00", "7.00", "7.50", "-0.05"]);
    assert_eq!(keys(&[("p.id", column(ColumnType::Boolean))], &["true", "\"true\""]), ["true", "true"]);
}

#[test]
fn texts_are_cursors_as_they_stand() {
    // C-41
    let values = ["\"2024-01-01#17\"", "\"\\u00fc\"", "\"A\"", "\"a\"", "\"\"", "12", "null"];
    let (_, decoded) = decode(CursorType::String, "UTC", &values);
    assert_eq!(decoded.cursor.unwrap(), ["2024-01-01#17", "ü", "A", "a", ""].map(CursorKey::from));
    assert_eq!(decoded.rejects.len(), 2, "a number is no text: where the type changes nothing is guessed");
    let long = format!("\"{}\"", "x".repeat(1025));
    assert_eq!(decode(CursorType::String, "UTC", &[&long]).1.rejects.len(), 1);
}

#[test]
fn a_cursor_of_time_needs_no_hashes() {
    let spec = DecodeSpec { key: vec!["at".to_owned()], ..spec_with_cursor(CursorType::Date, "UTC") };
    let decoded = Decoder::new(spec, None).unwrap().decode(&page(r#"[{"at":"2026-01-31"}]"#)).unwrap();
    assert!(decoded.key_hashes.is_none());
}
