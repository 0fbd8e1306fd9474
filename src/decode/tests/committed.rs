use super::show::{columns, decode_all, rows};
use crate::config::catalog::OnTypeChange;
use crate::decode::fixture::{page, schema, spec};
use crate::decode::{DecodeSpec, Decoder};
use crate::error::ErrorKind;
use crate::schema::{ColumnType, Field, TableSchema, Widening, widen};

use ColumnType::{Boolean, Date, Float64, Int64, Json, List, Null, Struct, Text, Timestamp};

/// Columns and rows of pages over committed fields.
fn over(committed: &[(&str, ColumnType)], bodies: &[&str]) -> (Vec<String>, Vec<String>) {
    let committed = schema(committed);
    let mut decoder = Decoder::new(spec(), Some(committed.clone())).unwrap();
    let bodies: Vec<String> = bodies.iter().map(|body| (*body).to_owned()).collect();
    let decoded = decode_all(&mut decoder, &bodies);
    for field in &committed.fields {
        let now = &decoder.schema().field(&field.name).unwrap().column_type;
        let legal = widen(&field.column_type, now, Widening::Committed);
        assert_eq!(legal.as_ref(), Some(now), "`{}` became {now}", field.name);
    }
    (columns(&decoder), decoded.iter().flat_map(|decoded| rows(&decoded.rows)).collect())
}

#[test]
fn what_fits_stays_where_it_is() {
    let (columns, shown) = over(
        &[("i", Int64), ("f", Float64), ("t", Text), ("j", Json), ("b", Boolean)],
        &[
            r#"[{"i":9223372036854775807,"f":1152921504606846976,"t":1.50,"j":{"x" :1},"b":null},{"t":true,"j":"y"},{"t":"2026-01-31"}]"#,
        ],
    );
    assert_eq!(columns, ["i int64", "f float64", "t text", "j json", "b boolean"]);
    assert_eq!(
        shown,
        [
            r#"{"f":1.152921504606847e18f,"i":9223372036854775807,"j":"{\"x\" :1}","t":"1.50"}"#,
            r#"{"j":"\"y\"","t":"true"}"#,
            r#"{"t":"2026-01-31"}"#,
        ]
    );
}

#[test]
fn a_value_of_another_type_goes_to_a_column_of_its_own() {
    // C-66
    let (columns, shown) = over(&[("a", Int64), ("z", Text)], &[r#"[{"a":1},{"a":1.5,"z":"q"}]"#, r#"[{"a":2}]"#]);
    assert_eq!(columns, ["a int64", "z text", "a__float64 float64"]);
    assert_eq!(shown, [r#"{"a":1}"#, r#"{"a__float64":1.5f,"z":"q"}"#, r#"{"a":2}"#]);

    let cases: [(ColumnType, &str, &str); 9] = [
        (Timestamp, r#""soon""#, r#"a__text text"#),
        (Timestamp, r#""2026-01-31""#, "a__date date"),
        (Date, r#""2026-01-31T10:00:00Z""#, "a__timestamp timestamp"),
        (Int64, "9223372036854775808", "a__text text"),
        (Float64, "9007199254740993", "a__int64 int64"),
        (Boolean, "{}", "a__json json"),
        (Text, "[1]", "a__json json"),
        (Struct(vec![Field::new("b", Int64)]), "true", "a__boolean boolean"),
        (List(Box::new(Field::new("item", Int64))), "[1,1.5]", "a__json json"),
    ];
    for (committed, value, sibling) in cases {
        let (columns, shown) = over(&[("a", committed.clone())], &[&format!("[{{\"a\":{value}}}]")]);
        assert_eq!(columns[1..], [sibling.to_owned()], "{committed} {value}");
        assert!(shown[0].starts_with(&format!("{{\"{}\":", sibling.split(' ').next().unwrap())), "{shown:?}");
    }
}

#[test]
fn the_name_of_such_a_column_follows_from_all_its_values() {
    let one = r#"[{"a":1.5}]"#;
    let other = r#"[{"a":"x"}]"#;
    for pages in [[one, other], [other, one]] {
        let (columns, shown) = over(&[("a", Int64)], &pages);
        assert_eq!(columns, ["a int64", "a__text text"]);
        assert!(shown.contains(&r#"{"a__text":"1.5"}"#.to_owned()) && shown.contains(&r#"{"a__text":"x"}"#.to_owned()));
    }
    let (columns, _) = over(&[("a", Int64)], &[r#"[{"a":1.5},{"a":{}},{"a":[]}]"#]);
    assert_eq!(columns, ["a int64", "a__json json"]);
}

#[test]
fn a_committed_sibling_takes_what_fits_it() {
    let committed = [("a", Int64), ("a__float64", Float64), ("a__text", Text)];
    let (columns, shown) = over(&committed, &[r#"[{"a":1.5},{"a":"x"},{"a":true},{"a":[1]}]"#]);
    assert_eq!(columns, ["a int64", "a__float64 float64", "a__text text", "a__json json"]);
    assert_eq!(shown, [r#"{"a__float64":1.5f}"#, r#"{"a__text":"x"}"#, r#"{"a__text":"true"}"#, r#"{"a__json":"[1]"}"#]);
}

#[test]
fn a_source_field_of_that_very_name_is_never_mixed_up() {
    let body = r#"[{"a":1.5,"a__float64":"own"},{"a":2.5}]"#;
    let (columns, shown) = over(&[("a", Int64)], &[body]);
    assert_eq!(columns, ["a int64", "a__float64 text", "a__float64_ float64"]);
    assert_eq!(shown, [r#"{"a__float64":"own","a__float64_":1.5f}"#, r#"{"a__float64_":2.5f}"#]);

    let committed = schema(&[("a", Int64), ("a__float64", Float64)]);
    let mut decoder = Decoder::new(spec(), Some(committed)).unwrap();
    let decoded = decoder.decode(&page(r#"[{"a":1.5,"a__float64":2.5},{"a":3.5}]"#)).unwrap();
    assert_eq!(rows(&decoded.rows), [r#"{"a__float64":3.5f}"#]);
    assert_eq!((decoded.rejects[0].field.as_str(), decoded.rejects[0].place), ("a", 0));

    let (columns, shown) =
        over(&[("a", Int64), ("a__float64", Float64), ("a__float64_", Float64)], &[r#"[{"a":1.5,"a__float64":2.5}]"#]);
    assert_eq!(columns.len(), 3);
    assert_eq!(shown, [r#"{"a__float64":2.5f,"a__float64_":1.5f}"#]);
}

#[test]
fn inside_of_structs_and_lists() {
    let inner = Struct(vec![Field::new("b", Int64), Field::new("n", Null)]);
    let list = List(Box::new(Field::new("item", Struct(vec![Field::new("c", Int64)]))));
    let (columns, shown) = over(
        &[("s", inner), ("l", list)],
        &[
            r#"[{"s":{"b":"x","n":1.5,"new":true}},{"l":[{"c":1},{"c":2,"d":"y"}]},{"l":[{"c":1},{"c":1.5,"e":1}]},{"s":{"b":1}}]"#,
        ],
    );
    assert_eq!(
        columns,
        ["s struct(b int64, n float64, new boolean, b__text text)", "l list(struct(c int64, d text))", "l__json json",]
    );
    assert_eq!(
        shown,
        [
            r#"{"s":{"b__text":"x","n":1.5f,"new":true}}"#,
            r#"{"l":[{"c":1},{"c":2,"d":"y"}]}"#,
            r#"{"l__json":"[{\"c\":1},{\"c\":1.5,\"e\":1}]"}"#,
            r#"{"s":{"b":1}}"#,
        ]
    );
}

#[test]
fn columns_that_waited_take_any_type() {
    let (columns, _) =
        over(&[("a", Null), ("l", List(Box::new(Field::new("item", Null))))], &[r#"[{"a":1,"l":["x"]},{"a":1.5}]"#]);
    assert_eq!(columns, ["a float64", "l list(text)"]);
    let narrow = Decoder::new(spec(), Some(schema(&[("a", ColumnType::Int32)]))).unwrap();
    assert_eq!(super::show::columns(&narrow), ["a int64"]);
    let error = Decoder::new(spec(), Some(schema(&[("a", ColumnType::Time)]))).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Bug);
}

#[test]
fn ids_are_kept() {
    let field = |id, name: &str, column_type| Field { id, name: name.to_owned(), column_type };
    let inner = Struct(vec![field(2, "b", Int64)]);
    let list = List(Box::new(field(4, "element", Text)));
    let committed = TableSchema { fields: vec![field(1, "a", inner), field(3, "l", list)] };
    let mut decoder = Decoder::new(spec(), Some(committed.clone())).unwrap();
    let decoded = decoder.decode(&page(r#"[{"a":{"b":1},"l":["x"]}]"#)).unwrap();
    assert_eq!(decoder.schema(), &committed);
    assert_eq!(decoded.rows.schema(), committed.to_arrow());
}

#[test]
fn a_job_may_put_changed_records_aside_or_stop() {
    // C-66
    let decoder = |policy| {
        let spec = DecodeSpec { on_type_change: policy, ..spec() };
        Decoder::new(spec, Some(schema(&[("a", Struct(vec![Field::new("b", Int64)]))]))).unwrap()
    };
    let body = r#"[{"a":{"b":1}},{"a":{"b":1.5},"new":1},{"other":true}]"#;
    let mut letters = decoder(OnTypeChange::DeadLetter);
    let decoded = decode_all(&mut letters, &[body.to_owned()]).remove(0);
    assert_eq!(columns(&letters), ["a struct(b int64)", "new null", "other boolean"]);
    assert_eq!(decoded.places, [0, 2]);
    let reject = &decoded.rejects[0];
    assert_eq!((reject.field.as_str(), reject.reason.as_str()), ("a.b", "the column is int64, the value float64: `1.5`"));
    assert_eq!(&reject.record[..], br#"{"a":{"b":1.5},"new":1}"#);

    let error = decoder(OnTypeChange::Fail).decode(&page(body)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert_eq!(error.message, "the type of `a.b` changed from int64 to float64: `1.5`");
}
