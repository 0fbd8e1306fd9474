use super::show::{columns, decode_all, decode_one, rows};
use crate::config::catalog::DeclaredType;
use crate::decode::fixture::{page, schema, spec, spec_declared};
use crate::decode::kind::LEVELS_MAX;
use crate::decode::{DecodeSpec, Decoder};
use crate::error::ErrorKind;
use crate::page::ResponsePath;
use crate::schema::ColumnType;

/// The column `a` of one page with these values, as type and values.
fn column(values: &[&str]) -> (String, Vec<String>) {
    let records: Vec<String> = values.iter().map(|value| format!("{{\"a\":{value}}}")).collect();
    let (columns, rows) = decode_one(spec(), &format!("[{}]", records.join(",")));
    let bare = |row: &String| match row.as_str() {
        "{}" => "-".to_owned(),
        row => row.trim_start_matches("{\"a\":").strip_suffix('}').unwrap().to_owned(),
    };
    (columns[0].strip_prefix("a ").unwrap().to_owned(), rows.iter().map(bare).collect())
}

fn check(values: &[&str], column_type: &str, expected: &[&str]) {
    let (found, shown) = column(values);
    assert_eq!(found, column_type, "{values:?}");
    assert_eq!(shown, expected, "{values:?}");
}

#[test]
fn scalars_get_the_narrowest_type_that_holds_them_all() {
    check(&["null", "null"], "null", &["-", "-"]);
    check(&["true", "null", "false"], "boolean", &["true", "-", "false"]);
    check(&["1", "-0", "9223372036854775807"], "int64", &["1", "0", "9223372036854775807"]);
    check(&["1", "1.5", "1e3"], "float64", &["1.0f", "1.5f", "1000.0f"]);
    check(&["true", "1", "\"x\""], "text", &[r#""true""#, r#""1""#, r#""x""#]);
    check(&[r#""2026-01-31T10:00:00+02:00""#, "null"], "timestamp", &["2026-01-31T08:00:00Z", "-"]);
    check(&[r#""2026-01-31""#, r#""0000-02-29""#], "date", &["2026-01-31", "0000-02-29"]);
}

#[test]
fn what_is_nested_deeper_than_a_table_can_hold_stays_json_text() {
    for depth in [3, 16, 40] {
        let tree = format!("{}{}", "[{\"replies\":".repeat(depth), "}]".repeat(depth)).replace(":}", ":null}");
        let (found, shown) = column(&[&tree, "null"]);
        let levels = found.matches("list(").count() + found.matches("struct(").count();
        assert_eq!((levels, found.contains("json")), ((2 * depth).min(LEVELS_MAX), 2 * depth > LEVELS_MAX), "{found}");
        // Not a level is lost.
        assert_eq!(shown[0].matches('[').count(), depth, "{shown:?}");
    }
}

#[test]
fn numbers_that_no_number_type_holds_stay_exact_text() {
    check(&["1", "9223372036854775808"], "text", &[r#""1""#, r#""9223372036854775808""#]);
    check(&["1.5", "1e400"], "text", &[r#""1.5""#, r#""1e400""#]);
    check(&["1e-400"], "text", &[r#""1e-400""#]);
    check(&["1.50", "9007199254740993"], "text", &[r#""1.50""#, r#""9007199254740993""#]);
    check(&["9007199254740993", "1.50"], "text", &[r#""9007199254740993""#, r#""1.50""#]);
    check(&["9007199254740992", "1.5"], "float64", &["9007199254740992.0f", "1.5f"]);
}

#[test]
fn one_string_that_is_no_time_gives_all_their_own_text_back() {
    let (time, date) = (r#""2026-01-31T10:00:00.500+02:00""#, r#""2026-01-31""#);
    check(&[time, r#""soon""#], "text", &[time, r#""soon""#]);
    check(&[time, date], "text", &[time, date]);
    check(&[date, "7"], "text", &[date, r#""7""#]);
    check(&[r#""2026-01-31T10:00:00.1234567Z""#], "text", &[r#""2026-01-31T10:00:00.1234567Z""#]);
    check(&[r#""2016-12-31T23:59:60Z""#], "text", &[r#""2016-12-31T23:59:60Z""#]);
}

#[test]
fn nested_data_stay_nested() {
    check(
        &[r#"{"b":1}"#, "null", r#"{"c":[1,null,2.5]}"#],
        "struct(b int64, c list(float64))",
        &[r#"{"b":1}"#, "-", r#"{"c":[1.0f,null,2.5f]}"#],
    );
    check(&["[]", "null", "[[1],[]]"], "list(list(int64))", &["[]", "-", "[[1],[]]"]);
    check(&["[]"], "list(null)", &["[]"]);
    check(&["[null]"], "list(null)", &["[null]"]);
    check(&[r#"[{"b":1},{"c":"x"}]"#], "list(struct(b int64, c text))", &[r#"[{"b":1},{"c":"x"}]"#]);
}

#[test]
fn what_has_no_common_type_is_its_own_json() {
    check(
        &[r#"{"b" : 1.0}"#, "\"x\\u0041\"", "[1, 2]", "null", "7"],
        "json",
        &[r#""{\"b\" : 1.0}""#, r#""\"x\\u0041\"""#, r#""[1, 2]""#, "-", r#""7""#],
    );
    check(&["{}", "{ }"], "json", &[r#""{}""#, r#""{ }""#]);
    check(&["{}", r#"{"b":null}"#], "struct(b null)", &["{}", "{}"]);
}

#[test]
fn strings_are_what_they_say() {
    check(&[r#""\u00e9\ud83d\ude00\n\"\\\/""#, "\"\"", "\"null\""], "text", &["\"é😀\\n\\\"\\\\/\"", "\"\"", "\"null\""]);
    check(&[r#""\ud86e\udc20\uD840\uDC00\udbff\udffd""#], "text", &["\"\u{2b820}\u{20000}\\u{10fffd}\""]);
    check(&["\"a\\\\\"", "\"\\\\\\\"b\""], "text", &["\"a\\\\\"", "\"\\\\\\\"b\""]);
}

#[test]
fn changes_are_told_and_a_second_reading_has_none() {
    // C-66
    let mut decoder = Decoder::new(spec(), None).unwrap();
    let mut changes = |body: &str| decoder.decode(&page(body)).unwrap().changes;
    assert_eq!(changes(r#"[{"a":1,"b":{"c":null}}]"#), ["new column `a` (int64)", "new column `b` (struct(c null))"]);
    assert!(changes(r#"[{"a":2},{}]"#).is_empty(), "a field that is missing is null");
    assert_eq!(
        changes(r#"[{"a":1.5,"b":{"c":1,"d":2}}]"#),
        ["`a` widened from int64 to float64", "`b.c` widened from null to int64", "new column `b.d` (int64)",]
    );
    assert!(changes(r#"[{"a":1,"b":{"c":null}}]"#).is_empty());
    assert!(changes(r#"[{"a":1.5,"b":{"c":1,"d":2}}]"#).is_empty());
}

#[test]
fn a_decoder_can_work_off_the_async_threads() {
    fn is_send<T: Send + 'static>(_: &T) {}
    is_send(&Decoder::new(spec(), None).unwrap());
}

#[test]
fn a_long_value_is_shortened_in_a_reason() {
    let field = [("a", DeclaredType::Column(ColumnType::Date))];
    let (_, _, rejects) = declared(&field, &format!("[{{\"a\":\"{}\"}}]", "é".repeat(500)));
    assert!(rejects[0].ends_with("ééé...`") && rejects[0].chars().count() < 160, "{}", rejects[0]);
}

#[test]
fn a_page_that_fails_changes_nothing() {
    let mut decoder = Decoder::new(spec(), None).unwrap();
    decoder.decode(&page(r#"[{"a":1}]"#)).unwrap();
    let before = decoder.schema().clone();
    decoder.decode(&page(r#"[{"b":1},{"c":2]"#)).unwrap_err();
    assert_eq!(decoder.schema(), &before);
}

fn declared(fields: &[(&str, DeclaredType)], body: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
    let mut decoder = Decoder::new(spec_declared(fields), None).unwrap();
    let decoded = decode_all(&mut decoder, &[body.to_owned()]).remove(0);
    let rejects = decoded.rejects.iter().map(|reject| format!("{} {}: {}", reject.place, reject.field, reject.reason)).collect();
    (columns(&decoder), rows(&decoded.rows), rejects)
}

#[test]
fn declared_types_win() {
    use DeclaredType::{Column, EpochMs, EpochS};
    let decimal = Column(ColumnType::Decimal { precision: 10, scale: 2 });
    let (columns, shown, rejects) =
        declared(&[("d", decimal)], r#"[{"d":0.10},{"d":"12345678.9"},{"d":1e2},{"d":0.001},{"d":"x"},{"d":null}]"#);
    assert_eq!(columns, ["d decimal(10,2)"]);
    assert_eq!(shown, [r#"{"d":0.10d}"#, r#"{"d":12345678.90d}"#, r#"{"d":100.00d}"#, "{}"]);
    assert_eq!(
        rejects,
        [
            "3 d: the field is declared as decimal(10,2), its value is `0.001`",
            "4 d: the field is declared as decimal(10,2), its value is `\"x\"`",
        ]
    );

    let (columns, shown, rejects) =
        declared(&[("t", EpochMs), ("u.s", EpochS)], r#"[{"t":1700000000123,"u":{"s":"1.5"}},{"t":-0.5},{"t":1e300},{"u":[]}]"#);
    assert_eq!(columns, ["t timestamp", "u struct(s timestamp)"]);
    assert_eq!(
        shown,
        [r#"{"t":2023-11-14T22:13:20.123Z,"u":{"s":1970-01-01T00:00:01.5Z}}"#, r#"{"t":1969-12-31T23:59:59.9995Z}"#,]
    );
    assert_eq!(rejects.len(), 2, "{rejects:?}");

    let text = [("a", Column(ColumnType::Text)), ("j", Column(ColumnType::Json)), ("i", Column(ColumnType::Int64))];
    let (columns, shown, _) =
        declared(&text, r#"[{"a":1.0,"j":"x","i":"007"},{"a":true,"j":{"k" :1},"i":5.0},{"a":[1, 2]},{"a":"2026-01-31"}]"#);
    assert_eq!(columns, ["a text", "i int64", "j json"]);
    assert_eq!(shown[0], r#"{"a":"1.0","i":7,"j":"\"x\""}"#);
    assert_eq!(shown[1], r#"{"a":"true","i":5,"j":"{\"k\" :1}"}"#);
    assert_eq!(&shown[2..], [r#"{"a":"[1, 2]"}"#, r#"{"a":"2026-01-31"}"#]);

    let plain = [
        ("b", Column(ColumnType::Boolean)),
        ("f", Column(ColumnType::Float64)),
        ("x", Column(ColumnType::Timestamp)),
        ("y", Column(ColumnType::Date)),
    ];
    let (_, shown, rejects) = declared(
        &plain,
        r#"[{"b":true,"f":9007199254740993,"x":"2026-01-31T10:00:00.1234567Z","y":"2026-01-31"},{"b":1},{"f":true},{"x":"2026-01-31T10:00:00"},{"y":"2026-02-30"}]"#,
    );
    assert_eq!(
        shown,
        [r#"{"b":true,"f":9007199254740992.0f,"x":2026-01-31T10:00:00.123456Z,"y":2026-01-31}"#, r#"{"x":2026-01-31T10:00:00Z}"#]
    );
    assert_eq!(rejects.len(), 3);
}

#[test]
fn a_declared_field_that_never_comes_is_a_column_all_the_same() {
    let (columns, shown, _) =
        declared(&[("a.b", DeclaredType::EpochS), ("c", DeclaredType::Column(ColumnType::Date))], r#"[{"z":1}]"#);
    assert_eq!(columns, ["a struct(b timestamp)", "c date", "z int64"]);
    assert_eq!(shown, [r#"{"z":1}"#]);
}

#[test]
fn declarations_that_cannot_hold_are_refused() {
    let text = || DeclaredType::Column(ColumnType::Text);
    let refused = |fields: &[(&str, DeclaredType)], committed| {
        let error = Decoder::new(spec_declared(fields), committed).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        error.message
    };
    assert_eq!(
        refused(&[("a", text())], Some(schema(&[("a", ColumnType::Int64)]))),
        "the declaration of text does not go with int64, which the column has: `a`"
    );
    assert_eq!(
        refused(&[("a", text()), ("a.b", text())], None),
        "the declaration of a field inside of `a`, which is text, cannot hold: `a.b`"
    );
    assert!(refused(&[("a..b", text())], None).contains("empty step"));
    let header = DecodeSpec { records: ResponsePath::parse("header.x").unwrap(), ..spec() };
    assert_eq!(Decoder::new(header, None).err().unwrap().kind, ErrorKind::Config);
}

#[test]
fn a_record_without_its_key_is_put_aside() {
    let spec = DecodeSpec { key: vec!["id".to_owned(), "u.k".to_owned()], ..spec() };
    let body = r#"[{"id":1,"u":{"k":2}},{"id":1},{"u":{"k":1}},{"id":null,"u":{"k":1}},{"id":1,"u":{"k":null}},{"id":1,"u":5}]"#;
    let mut decoder = Decoder::new(spec, None).unwrap();
    let decoded = decode_all(&mut decoder, &[body.to_owned()]).remove(0);
    assert_eq!(decoded.places, [0]);
    let fields: Vec<&str> = decoded.rejects.iter().map(|reject| reject.field.as_str()).collect();
    assert_eq!(fields, ["u.k", "id", "id", "u.k", "u.k"]);
    assert_eq!(columns(&decoder), ["id int64", "u struct(k int64)"], "what is put aside has no say in types");
    assert_eq!(decoded.raw.get(1), decoded.rejects[0].record);
    assert_eq!(decoded.raw.get(5), decoded.rejects[4].record);
    assert_eq!(decoded.raw.iter().count(), 6);
}
