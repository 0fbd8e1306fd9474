//! Numbers in expressions keep their digits.

use arrow::array::Decimal128Array;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Decimal128Type;

use super::*;

fn decimals(values: &[Option<i128>], precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap())
}

fn rows(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

/// Amounts of 99.99, 100, 123456.78 and none, also in a struct and in a list, and rates of 1.1, 1.5, 2 and 3.
fn prices() -> RecordBatch {
    let amount = decimals(&[Some(9_999), Some(10_000), Some(12_345_678), None], 12, 2);
    let rate = [11_000_000_000, 15_000_000_000, 20_000_000_000, 30_000_000_000].map(Some);
    let item = Field::new("item", DataType::Decimal128(12, 2), true);
    let list = LargeListArray::new(Arc::new(item), OffsetBuffer::from_lengths([1; 4]), Arc::clone(&amount), None);
    let price = Field::new("price", DataType::Decimal128(12, 2), true);
    rows(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        ("amount", Arc::clone(&amount)),
        ("rate", decimals(&rate, 12, 10)),
        ("item", Arc::new(StructArray::new(vec![price].into(), vec![amount], None))),
        ("prices", Arc::new(list)),
    ])
}

fn on(batch: RecordBatch, kind: StepKind) -> Transformed {
    steps_of(vec![kind]).unwrap().apply(batch).unwrap()
}

fn decimals_of(transformed: &Transformed, column: &str) -> Vec<Option<i128>> {
    transformed.rows.column_by_name(column).unwrap().as_primitive::<Decimal128Type>().iter().collect()
}

// Each of them was null, or its row was rejected, where the amount has more than the two digits before the point that a
// decimal(12,10) has room for.
#[test]
fn decimals_of_two_scales_keep_all_their_digits() {
    let product = [Some(1_099_890_000_000), Some(1_500_000_000_000), Some(2_469_135_600_000_000), None];
    let amount = [Some(999_900_000_000), Some(1_000_000_000_000), Some(1_234_567_800_000_000), None];
    let amount_or_rate = [amount[0], amount[1], amount[2], Some(30_000_000_000)];
    let sum = [Some(1_010_900_000_000), Some(1_015_000_000_000), Some(1_234_587_800_000_000), None];
    for (text, expected) in [
        ("amount * rate", product),
        ("rate * amount", product),
        ("item.price * rate", product),
        ("prices[1] * rate", product),
        ("amount + rate", sum),
        ("COALESCE(amount, rate)", amount_or_rate),
        ("GREATEST(amount, rate)", amount_or_rate),
        ("CASE WHEN id > 0 THEN amount ELSE rate END", amount),
        ("IF(id > 0, amount, rate)", amount),
    ] {
        let derived = on(prices(), derive("x", text));
        assert_eq!(derived.rejected, [], "{text}");
        assert_eq!(type_of(&derived, "x"), ColumnType::Decimal { precision: 38, scale: 10 }, "{text}");
        assert_eq!(decimals_of(&derived, "x"), expected, "{text}");
    }
    for (text, expected) in [
        ("amount > rate", vec![1, 2, 3]),
        ("rate < amount", vec![1, 2, 3]),
        ("amount <> rate", vec![1, 2, 3]),
        ("NOT amount <= rate", vec![1, 2, 3]),
        ("item.price > rate", vec![1, 2, 3]),
        ("prices[1] > rate", vec![1, 2, 3]),
        ("amount BETWEEN rate AND 1000", vec![1, 2]),
        ("amount NOT BETWEEN rate AND 1000", vec![3]),
        ("amount IS DISTINCT FROM rate", vec![1, 2, 3, 4]),
        ("NULLIF(amount, rate) > 0", vec![1, 2, 3]),
        ("amount * rate > 109.9", vec![1, 2, 3]),
        ("amount IN (99.99, 100.0)", vec![1, 2]),
    ] {
        let filtered = on(prices(), filter(text));
        assert_eq!((ids(&filtered), filtered.rejected), (expected, vec![]), "{text}");
    }
}

#[test]
fn decimals_are_divided_as_floats() {
    for (text, expected) in [
        ("amount / 3", [Some(33.33), Some(100.0 / 3.0), Some(41_152.26), None]),
        ("1 / amount", [Some(1.0 / 99.99), Some(0.01), Some(1.0 / 123_456.78), None]),
        ("amount / rate", [Some(90.9), Some(100.0 / 1.5), Some(61_728.39), None]),
        ("item.price / 3", [Some(33.33), Some(100.0 / 3.0), Some(41_152.26), None]),
        ("(amount + 1) / rate", [Some(100.99 / 1.1), Some(101.0 / 1.5), Some(61_728.89), None]),
        ("id / CAST(3 AS DECIMAL(5,2))", [Some(1.0 / 3.0), Some(2.0 / 3.0), Some(1.0), Some(4.0 / 3.0)]),
    ] {
        let derived = on(prices(), derive("x", text));
        assert_eq!(type_of(&derived, "x"), ColumnType::Float64, "{text}");
        let found: Vec<Option<f64>> = derived.rows.column_by_name("x").unwrap().as_primitive::<Float64Type>().iter().collect();
        for (found, expected) in found.iter().zip(expected) {
            let is_near = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(is_near, "{text}: {found:?}, not {expected:?}");
        }
    }
    let derived = on(prices(), StepKind::Derive(pairs(&[("much", "amount / 0"), ("none", "(amount - amount) / 0")])));
    let float = |column: &str| derived.rows.column_by_name(column).unwrap().as_primitive::<Float64Type>().value(0);
    assert!(derived.rejected.is_empty() && float("much").is_infinite() && float("none").is_nan());
}

#[test]
fn a_decimal_that_is_handed_on_keeps_its_precision() {
    let derived = on(prices(), StepKind::Derive(pairs(&[("a", "amount"), ("b", "item"), ("c", "prices"), ("d", "amount + 0")])));
    for (copy, column) in [("a", "amount"), ("b", "item"), ("c", "prices")] {
        assert_eq!(type_of(&derived, copy), type_of(&derived, column), "{column}");
    }
    assert_eq!(decimals_of(&derived, "a"), decimals_of(&derived, "amount"));
    assert_eq!(type_of(&derived, "d"), ColumnType::Decimal { precision: 38, scale: 2 });
    let cast = on(prices(), derive("x", "CAST(amount AS DECIMAL(9,3))"));
    assert_eq!(type_of(&cast, "x"), ColumnType::Decimal { precision: 9, scale: 3 });
}

#[test]
fn what_38_digits_do_not_hold_rejects_its_row() {
    let batch = rows(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("large", decimals(&[Some(9 * 10_i128.pow(37)), Some(100)], 38, 2)),
        ("rate", decimals(&[Some(15_000_000_000), Some(5_000_000_000)], 12, 10)),
        ("fine", decimals(&[Some(10_i128.pow(30)), Some(10_i128.pow(29))], 38, 30)),
        ("many", Arc::new(Int64Array::from(vec![10_000_000_000, 1]))),
    ]);
    for text in [
        "large * rate",
        "large - rate",
        "large + large",
        "large * large",
        "fine * many",
        "CASE WHEN id > 0 THEN large ELSE rate END",
        "CAST(large AS DECIMAL(4,2))",
        "CAST(large AS DECIMAL(38,4))",
        "CAST(CAST(large AS VARCHAR) AS DECIMAL(12,2))",
        "CAST(many AS DECIMAL(4,2))",
        "CAST(many * 1.5 AS DECIMAL(4,2))",
    ] {
        let derived = on(batch.clone(), derive("x", text));
        let [rejected] = derived.rejected.as_slice() else { panic!("{text}: {:?}", derived.rejected) };
        assert_eq!((rejected.row, rejected.field.as_str(), ids(&derived)), (0, "x", vec![2]), "{text}");
        assert!(derived.rows.column_by_name("x").unwrap().is_valid(0), "{text}");
    }
    for text in ["large > rate", "large IS DISTINCT FROM rate", "large BETWEEN rate AND 5", "fine < many", "many > fine"] {
        let filtered = on(batch.clone(), filter(text));
        let [rejected] = filtered.rejected.as_slice() else { panic!("{text}: {:?}", filtered.rejected) };
        assert_eq!((rejected.row, ids(&filtered), filtered.filtered), (0, vec![2], 0), "{text}");
        assert!(rejected.reason.starts_with("the filter fails: "), "{text}: {}", rejected.reason);
    }
    let tried = on(batch, derive("x", "TRY_CAST(large AS DECIMAL(4,2))"));
    assert_eq!((decimals_of(&tried, "x"), tried.rejected), (vec![None, Some(100)], vec![]));
}

// A float64 has some 16 digits: to it the two are one.
#[test]
fn a_number_with_a_point_beside_a_decimal_is_compared_to_its_last_digit() {
    let batch = rows(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("amount", decimals(&[Some(1_234_567_890_123_456_789), Some(1_234_567_890_123_456_790)], 20, 2)),
    ]);
    for (text, expected) in [
        ("amount = 12345678901234567.89", vec![1]),
        ("amount > 12345678901234567.89", vec![2]),
        ("-amount < (-12345678901234567.89)", vec![2]),
        ("amount IN (12345678901234567.89, 5.0)", vec![1]),
        ("amount IN (12345678901234567.891)", vec![]),
        ("amount NOT IN (12345678901234567.891)", vec![1, 2]),
        ("amount BETWEEN 12345678901234567.885 AND 12345678901234567.895", vec![1]),
        ("amount IS NOT DISTINCT FROM 12345678901234567.90", vec![2]),
    ] {
        let filtered = on(batch.clone(), filter(text));
        assert_eq!((ids(&filtered), filtered.rejected), (expected, vec![]), "{text}");
    }
    assert_eq!(type_of(&on(batch, derive("x", "amount * 1.5")), "x"), ColumnType::Float64);
}

// As texts, 100.00 would come before 5, and a sum would put one behind the other.
#[test]
fn a_decimal_beside_text_is_refused() {
    for text in ["amount > '5'", "amount BETWEEN '5' AND '200'", "amount = CAST(id AS VARCHAR)", "(amount + '5') IS NULL"] {
        let error = steps_of(vec![filter(text)]).unwrap().apply(prices()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{text}");
        assert!(error.message.contains("is text beside a decimal: write a number without quotes"), "{}", error.message);
    }
}

#[test]
fn literals_alone_have_64_bits() {
    for (text, first, others) in [
        ("CASE WHEN id > 1 THEN 100000 ELSE 0 END * 100000", 0, 10_000_000_000),
        ("CASE WHEN id > 1 THEN 100 * 1000 ELSE -1 END * 100000", -100_000, 10_000_000_000),
        ("IF(id > 1, 2147483647, 0) + 1", 1, 2_147_483_648),
        ("COALESCE(NULL, 100000) * 100000", 10_000_000_000, 10_000_000_000),
        ("GREATEST(100000, 2) * 100000", 10_000_000_000, 10_000_000_000),
        ("POWER(10, 10)", 10_000_000_000, 10_000_000_000),
        ("POWER(2, id + 30)", 2_147_483_648, 0),
    ] {
        let derived = on(prices(), derive("x", text));
        let found = integers_of(&derived, "x");
        assert_eq!(found[0], Some(first), "{text}");
        // The last of them has another exponent in each row.
        assert!(others == 0 || found[1..] == [Some(others); 3], "{text}: {found:?}");
    }
}
