//! What SQL says where polars' SQL alone says something else.

use arrow::array::BooleanArray;

use super::*;

/// `cancelled` is true, false, and twice null, and `never` has no value at all.
fn orders() -> RecordBatch {
    let instants = ["1970-01-01T00:00:00Z", "9999-12-30T00:00:00Z", "1600-01-01T00:00:00.5Z"]
        .map(|text| Some(text.parse::<jiff::Timestamp>().unwrap().as_microsecond()));
    let at = TimestampMicrosecondArray::from(vec![instants[0], instants[1], instants[2], None]).with_timezone("UTC");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        ("cancelled", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, None]))),
        ("never", Arc::new(NullArray::new(4))),
        ("title", Arc::new(StringViewArray::from(vec![Some("a.b.c"), Some("é.x"), Some("abc"), None]))),
        ("sought", Arc::new(StringViewArray::from(vec![Some("b"), Some("x"), None, Some("a")]))),
        ("n", Arc::new(Int64Array::from(vec![2, 0, -1, 1]))),
        ("at", Arc::new(at)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn on(kind: StepKind) -> Transformed {
    steps_of(vec![kind]).unwrap().apply(orders()).unwrap()
}

#[test]
fn a_null_is_neither_true_nor_false() {
    for (text, expected) in [
        ("cancelled IS TRUE", vec![1]),
        ("cancelled IS NOT TRUE", vec![2, 3, 4]),
        ("cancelled IS FALSE", vec![2]),
        ("cancelled IS NOT FALSE", vec![1, 3, 4]),
        ("never IS TRUE", vec![]),
        ("never IS NOT TRUE", vec![1, 2, 3, 4]),
        ("never IS FALSE", vec![]),
        ("never IS NOT FALSE", vec![1, 2, 3, 4]),
        ("(never > 3) IS NOT TRUE AND id > 2", vec![3, 4]),
        ("NOT cancelled IS TRUE", vec![2, 3, 4]),
        ("id = 1 OR cancelled IS NOT TRUE AND id > 3", vec![1, 4]),
        ("(id > 1 AND cancelled) IS NOT FALSE", vec![3, 4]),
        ("(id > 2 OR cancelled) IS NOT TRUE", vec![2]),
        ("at NOT IN ('1970-01-01T00:00:00Z') IS TRUE", vec![2, 3]),
        ("at NOT IN ('1970-01-01T00:00:00Z') IS NOT TRUE", vec![1, 4]),
        ("COALESCE(cancelled IS NOT TRUE, FALSE)", vec![2, 3, 4]),
    ] {
        let filtered = on(filter(text));
        assert_eq!((ids(&filtered), filtered.rejected), (expected, vec![]), "{text}");
    }
    let derived = on(StepKind::Derive(pairs(&[("a", "cancelled IS NOT TRUE"), ("b", "never IS NOT TRUE")])));
    for (column, expected) in [("a", [false, true, true, true]), ("b", [true; 4])] {
        let found: Vec<Option<bool>> = derived.rows.column_by_name(column).unwrap().as_boolean().iter().collect();
        assert_eq!(found, expected.map(Some), "{column}");
    }
}

// The parser reads `a IS DISTINCT FROM (b AND c)`.
#[test]
fn what_is_compared_with_is_distinct_from_ends_before_and() {
    for text in ["cancelled IS DISTINCT FROM FALSE AND id > 1", "cancelled IS NOT DISTINCT FROM TRUE OR id > 1"] {
        let problems = check(vec![filter(text)], &[]);
        let [problem] = problems.as_slice() else { panic!("{text}: {problems:?}") };
        assert!(problem.message.contains("would be one value to compare with"), "{text}: {}", problem.message);
    }
    assert_eq!(ids(&on(filter("(cancelled IS DISTINCT FROM FALSE) AND id > 1"))), [3, 4]);
    assert_eq!(ids(&on(filter("id > 1 AND cancelled IS DISTINCT FROM FALSE"))), [3, 4]);
}

#[test]
fn a_position_counts_characters_to_a_text() {
    for (text, expected) in [
        ("POSITION('.' IN title)", [Some(2), Some(2), Some(0), None]),
        ("STRPOS(title, 'x')", [Some(0), Some(3), Some(0), None]),
        ("STRPOS(title, '')", [Some(1), Some(1), Some(1), None]),
        ("STRPOS(title, 'b.c')", [Some(3), Some(0), Some(0), None]),
        ("STRPOS(title, sought)", [Some(3), Some(3), None, None]),
        ("POSITION('c' IN title) - 1", [Some(4), Some(-1), Some(2), None]),
    ] {
        assert_eq!(integers_of(&on(derive("x", text)), "x"), expected, "{text}");
    }
    assert_eq!(type_of(&on(derive("x", "POSITION('x' IN never)")), "x"), ColumnType::Null);
    assert_eq!(type_of(&on(derive("x", "STRPOS(title, never)")), "x"), ColumnType::Null);
}

#[test]
fn the_end_of_a_text_is_cut_where_sql_cuts_it() {
    for (text, expected) in [
        ("RIGHT(title, 2)", [".c", ".x", "bc"]),
        ("RIGHT(title, 4)", [".b.c", "é.x", "abc"]),
        ("RIGHT(title, n + 3)", ["a.b.c", "é.x", "bc"]),
        ("RIGHT(title, -1)", [".b.c", ".x", "bc"]),
        ("SUBSTR(title, 2)", [".b.c", ".x", "bc"]),
        ("SUBSTR(title, n)", [".b.c", "é.x", "abc"]),
        ("SUBSTRING(title FROM n - 1)", ["a.b.c", "é.x", "abc"]),
    ] {
        let found = texts_of(&on(derive("x", text)), "x");
        let expected: Vec<Option<String>> = expected.map(|text| Some(text.to_owned())).into_iter().chain([None]).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn seconds_since_1970_are_known_of_every_year() {
    for text in ["EXTRACT(EPOCH FROM at)", "DATE_PART('epoch', at)"] {
        let derived = on(derive("x", text));
        let found: Vec<Option<f64>> = derived.rows.column_by_name("x").unwrap().as_primitive::<Float64Type>().iter().collect();
        assert_eq!(found, [Some(0.0), Some(253_402_128_000.0), Some(-11_676_095_999.5), None], "{text}");
    }
    assert_eq!(ids(&on(filter("EXTRACT(EPOCH FROM CAST(at AS DATE)) > 0"))), [2]);
}

#[test]
fn what_stands_too_deep_in_itself_is_refused_before_a_run() {
    let nested =
        |levels: usize| (0..levels).fold("title".to_owned(), |inner, _| format!("SUBSTR({inner}, STRPOS({inner}, '.') + 1)"));
    assert!(steps_of(vec![derive("x", &nested(1))]).is_ok());
    let refused = steps_of(vec![derive("x", &nested(4))]).unwrap_err();
    assert!(refused.to_string().contains("too deep in one another"), "{refused}");
}
