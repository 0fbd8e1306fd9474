mod numbers;
mod standard;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, LargeListArray, NullArray, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int64Type, Schema};
use proptest::prelude::*;

use super::*;
use crate::config::Problem;
use crate::config::catalog::{PartitionColumn, PartitionUnit, Step, StepKind};
use crate::schema::ColumnType;

fn numbered(kinds: Vec<StepKind>) -> Vec<Step> {
    let numbered = kinds.into_iter().enumerate();
    numbered.map(|(index, kind)| Step { number: index + 1, line: 10 + 2 * index, kind }).collect()
}

fn steps_of(kinds: Vec<StepKind>) -> Result<Steps, TransformError> {
    Steps::compile("orders", "jobs/orders.toml", &numbered(kinds))
}

fn check(kinds: Vec<StepKind>, partition_by: &[PartitionColumn]) -> Vec<Problem> {
    check::check_steps("jobs/orders.toml", &numbered(kinds), partition_by)
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(left, right)| ((*left).to_owned(), (*right).to_owned())).collect()
}

fn sql(text: &str) -> StepKind {
    StepKind::Sql(text.to_owned())
}

fn filter(text: &str) -> StepKind {
    StepKind::Filter(text.to_owned())
}

fn derive(name: &str, text: &str) -> StepKind {
    StepKind::Derive(pairs(&[(name, text)]))
}

/// Rows 0 to 4 as an API gives them: a struct, a list, JSON text, an instant, and a column that never had a value.
fn batch() -> RecordBatch {
    let user = StructArray::new(
        Fields::from(vec![
            Field::new("login", DataType::Utf8View, true),
            Field::new("plan", DataType::Struct(vec![Field::new("name", DataType::Utf8View, true)].into()), true),
            Field::new("avatar", DataType::Null, true),
        ]),
        vec![
            Arc::new(StringViewArray::from(vec![Some("ann"), Some("bob"), Some("cid"), None, Some("hidden")])),
            Arc::new(StructArray::new(
                vec![Field::new("name", DataType::Utf8View, true)].into(),
                vec![Arc::new(StringViewArray::from(vec![Some("free"), Some("pro"), Some("pro"), Some("pro"), Some("hidden")]))],
                Some(NullBuffer::from(vec![true, true, false, true, true])),
            )),
            Arc::new(NullArray::new(5)),
        ],
        Some(NullBuffer::from(vec![true, true, true, true, false])),
    );
    let tags = LargeListArray::from_iter_primitive::<Int64Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
        Some(vec![Some(2)]),
        Some(vec![Some(3)]),
    ]);
    let json = std::collections::HashMap::from([("highwater.json".to_owned(), "1".to_owned())]);
    let columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("id", DataType::Int64, true), Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]))),
        (
            Field::new("title", DataType::Utf8View, true),
            Arc::new(StringViewArray::from(vec![
                Some("one"),
                None,
                Some("three"),
                Some("four, and longer than a view"),
                Some("12"),
            ])),
        ),
        (Field::new("user", user.data_type().clone(), true), Arc::new(user)),
        (Field::new("tags", tags.data_type().clone(), true), Arc::new(tags)),
        (
            Field::new("extra", DataType::Utf8View, true).with_metadata(json),
            Arc::new(StringViewArray::from(vec![Some("{}"), Some("[1]"), None, Some("3"), Some("\"x\"")])),
        ),
        (Field::new("pull_request", DataType::Null, true), Arc::new(NullArray::new(5))),
        (
            Field::new("amount", DataType::Float64, true),
            Arc::new(Float64Array::from(vec![Some(1.0), Some(1.5), None, Some(4.0), Some(1e300)])),
        ),
        (
            Field::new("at", ColumnType::Timestamp.to_arrow(), true),
            Arc::new(TimestampMicrosecondArray::from(vec![0, 1, 86_400_000_000, 2, 3]).with_timezone("UTC")),
        ),
    ];
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn apply(kinds: Vec<StepKind>) -> Transformed {
    try_apply(kinds).unwrap()
}

fn try_apply(kinds: Vec<StepKind>) -> Result<Transformed, TransformError> {
    steps_of(kinds)?.apply(batch())
}

fn message(kinds: Vec<StepKind>) -> String {
    let error = try_apply(kinds).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{}", error.message);
    error.message
}

fn names(transformed: &Transformed) -> Vec<String> {
    transformed.rows.schema().fields().iter().map(|field| field.name().clone()).collect()
}

fn ids(transformed: &Transformed) -> Vec<i64> {
    transformed.rows.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

fn texts_of(transformed: &Transformed, column: &str) -> Vec<Option<String>> {
    let column = transformed.rows.column_by_name(column).unwrap();
    column.as_string_view().iter().map(|text| text.map(str::to_owned)).collect()
}

fn integers_of(transformed: &Transformed, column: &str) -> Vec<Option<i64>> {
    transformed.rows.column_by_name(column).unwrap().as_primitive::<Int64Type>().iter().collect()
}

fn type_of(transformed: &Transformed, column: &str) -> ColumnType {
    let field = transformed.rows.schema().field_with_name(column).unwrap().clone();
    crate::schema::Field::from_arrow(&field).unwrap().column_type
}

#[test]
fn without_steps_the_batch_passes_untouched() {
    let steps = steps_of(vec![]).unwrap();
    assert!(steps.is_empty());
    let transformed = steps.apply(batch()).unwrap();
    assert_eq!((transformed.rows, transformed.filtered, transformed.rejected), (batch(), 0, vec![]));
}

#[test]
fn select_orders_drop_removes_rename_swaps() {
    assert_eq!(names(&apply(vec![StepKind::Select(texts(&["title", "id"]))])), ["title", "id"]);
    let dropped = apply(vec![StepKind::Drop(texts(&["user", "tags", "extra", "pull_request", "amount", "at"]))]);
    assert_eq!(names(&dropped), ["id", "title"]);
    let swapped = apply(vec![StepKind::Rename(pairs(&[("id", "title"), ("title", "id")])), StepKind::Select(texts(&["id"]))]);
    assert_eq!(texts_of(&swapped, "id")[0].as_deref(), Some("one"));
    let text = message(vec![StepKind::Rename(pairs(&[("id", "title")]))]);
    assert!(text.ends_with("`id` cannot become `title`: there is a column `title` already"), "{text}");
}

#[test]
fn an_unknown_column_is_told_with_job_step_line_and_the_nearest() {
    for kind in [
        StepKind::Select(texts(&["titel"])),
        StepKind::Drop(texts(&["titel"])),
        StepKind::Rename(pairs(&[("titel", "x")])),
        StepKind::Cast(vec![("titel".to_owned(), ColumnType::Text)]),
        StepKind::Flatten { columns: texts(&["titel"]), separator: "_".to_owned() },
        derive("x", "LENGTH(titel)"),
        filter("titel IS NULL"),
        sql("SELECT titel FROM batch"),
        sql("SELECT * EXCLUDE (titel) FROM batch"),
    ] {
        let name = kind.name();
        let text = message(vec![filter("id > 0"), kind]);
        let wanted = format!(
            "job orders: step 2 ({name}) in jobs/orders.toml:12: no column `titel` (nearest is `title`); \
             if the source leaves it out at times, declare it under [columns] with its type"
        );
        assert_eq!(text, wanted);
    }
    let text = message(vec![derive("x", "\"user\".nick")]);
    assert!(text.contains("in the struct `user`: no column `nick`"), "{text}");
}

#[test]
fn flatten_goes_all_the_way_down_and_keeps_nulls() {
    let flat = apply(vec![StepKind::Flatten { columns: texts(&["user"]), separator: "_".to_owned() }]);
    let wanted = ["id", "title", "user_login", "user_plan_name", "user_avatar", "tags", "extra", "pull_request", "amount", "at"];
    assert_eq!(names(&flat), wanted);
    let some = |text: &str| Some(text.to_owned());
    // The value under a struct that is null is not seen again.
    assert_eq!(texts_of(&flat, "user_login"), [some("ann"), some("bob"), some("cid"), None, None]);
    assert_eq!(texts_of(&flat, "user_plan_name"), [some("free"), some("pro"), None, some("pro"), None]);
    assert_eq!(type_of(&flat, "user_avatar"), ColumnType::Null);
}

#[test]
fn flatten_tells_both_sides_of_a_collision_and_refuses_what_is_no_struct() {
    let flatten = StepKind::Flatten { columns: texts(&["user"]), separator: "_".to_owned() };
    let text = message(vec![StepKind::Rename(pairs(&[("id", "user_login")])), flatten.clone()]);
    assert!(text.contains("`user_login` and `user.login` would both be the column `user_login`"), "{text}");
    let text = message(vec![StepKind::Flatten { columns: texts(&["tags"]), separator: "_".to_owned() }]);
    assert!(text.contains("column `tags` is list(int64)"), "{text}");
    let text = message(vec![
        StepKind::Rename(pairs(&[("user", "_hw")])),
        StepKind::Flatten { columns: texts(&["_hw"]), separator: "_".to_owned() },
    ]);
    assert!(text.contains("begin with `_hw_`"), "{text}");
}

#[test]
fn a_struct_that_was_never_seen_can_be_flattened_and_its_fields_named() {
    let flatten = StepKind::Flatten { columns: texts(&["pull_request"]), separator: "_".to_owned() };
    let rename = StepKind::Rename(pairs(&[("pull_request_url", "url")]));
    let known = apply(vec![flatten.clone(), rename, filter("url IS NULL"), derive("size", "LENGTH(url)")]);
    assert_eq!((type_of(&known, "url"), type_of(&known, "size"), known.filtered), (ColumnType::Null, ColumnType::Null, 0));
    assert!(message(vec![flatten, StepKind::Drop(texts(&["url"]))]).contains("no column `url`"));
}

#[test]
fn filter_keeps_what_is_true() {
    let kept = apply(vec![filter("LENGTH(title) > 3")]);
    assert_eq!((ids(&kept), kept.filtered), (vec![3, 4], 3));
    let kept = apply(vec![filter("at >= '1970-01-02T00:00:00Z'")]);
    assert_eq!(ids(&kept), [3]);
    for text in [
        "'1970-01-01T00:00:00.000001Z' < at AND at < '1970-01-02'",
        "at IN ('1970-01-01T01:00:00.000002+01:00', '1970-01-01 00:00:00.000003')",
    ] {
        let kept = apply(vec![filter(text)]);
        assert_eq!(ids(&kept), [4, 5], "{text}");
    }
    assert_eq!(ids(&apply(vec![filter("at BETWEEN TIMESTAMP '1970-01-01 00:00:00.000003' AND '1970-01-03'")])), [3, 5]);
    assert!(message(vec![filter("at > 'yesterday'")]).contains("`yesterday` is compared with a time and is none"));
    let kept = apply(vec![filter("\"user\".plan.name = 'pro' AND batch.id < 4")]);
    assert_eq!(ids(&kept), [2]);
    assert!(message(vec![filter("id + 1")]).contains("the predicate is int64, not boolean"));
}

// What comes of a column without a value and a type is what comes of one that has a type and is null.
#[test]
fn a_column_that_never_had_a_value_counts_as_null() {
    assert_eq!(apply(vec![filter("pull_request IS NULL")]).filtered, 0);
    assert_eq!(apply(vec![filter("pull_request IS NOT NULL")]).filtered, 5);
    assert_eq!(apply(vec![filter("pull_request.url LIKE '%x'")]).filtered, 5);
    assert_eq!(apply(vec![filter("NOT (LENGTH(pull_request) > 3)")]).filtered, 5);
    assert_eq!(ids(&apply(vec![filter("pull_request > 3 OR id = 1")])), [1]);
    assert_eq!(ids(&apply(vec![filter("COALESCE(pull_request, id) = 2")])), [2]);
    assert_eq!(ids(&apply(vec![filter("CASE WHEN pull_request > 1 THEN FALSE ELSE id = 3 END")])), [3]);
    assert_eq!(ids(&apply(vec![filter("\"user\".avatar.url IS NULL AND id = 1")])), [1]);
    let derived = apply(vec![StepKind::Derive(pairs(&[
        ("size", "LENGTH(pull_request) + 1"),
        ("label", "CONCAT('pr ', pull_request)"),
        ("month", "EXTRACT(MONTH FROM pull_request)"),
        ("first", "pull_request[1]"),
        ("same", "pull_request"),
        ("given", "IFNULL(pull_request, 7)"),
    ]))]);
    for column in ["size", "month", "first", "same"] {
        assert_eq!(type_of(&derived, column), ColumnType::Null, "{column}");
    }
    assert_eq!(texts_of(&derived, "label")[0].as_deref(), Some("pr "));
    assert_eq!(integers_of(&derived, "given"), [Some(7); 5]);
    let typed = StepKind::Cast(vec![("pull_request".to_owned(), ColumnType::Timestamp)]);
    assert_eq!(type_of(&apply(vec![typed]), "pull_request"), ColumnType::Timestamp);
}

#[test]
fn derive_sees_the_steps_input_and_replaces_in_place() {
    let derived = apply(vec![StepKind::Derive(pairs(&[
        ("id", "id * 10"),
        ("old", "id"),
        ("one", "1"),
        ("half", "id / 2"),
        ("none", "id % 0"),
        ("much", "id / 0"),
        ("login", "UPPER(\"user\".login)"),
        ("never", "NULL"),
        ("count", "ARRAY_LENGTH(tags)"),
    ]))]);
    assert_eq!(names(&derived)[0], "id");
    assert_eq!(ids(&derived), [10, 20, 30, 40, 50]);
    assert_eq!(integers_of(&derived, "old"), [Some(1), Some(2), Some(3), Some(4), Some(5)]);
    assert_eq!(integers_of(&derived, "one"), [Some(1); 5]);
    assert_eq!(integers_of(&derived, "none"), [None; 5]);
    assert_eq!(integers_of(&derived, "count"), [Some(2), None, Some(0), Some(1), Some(1)]);
    assert_eq!(derived.rows.column_by_name("half").unwrap().as_primitive::<Float64Type>().value(0), 0.5);
    assert!(derived.rows.column_by_name("much").unwrap().as_primitive::<Float64Type>().value(0).is_infinite());
    assert_eq!(texts_of(&derived, "login")[0].as_deref(), Some("ANN"));
    assert_eq!(type_of(&derived, "never"), ColumnType::Null);
}

#[test]
fn untouched_columns_keep_their_mark_and_their_buffers() {
    let before = batch();
    let steps = steps_of(vec![
        filter("id > 0"),
        derive("n", "id + 1"),
        sql("SELECT *, extra AS more FROM batch"),
        StepKind::Rename(pairs(&[("extra", "body")])),
    ]);
    let after = steps.unwrap().apply(before.clone()).unwrap();
    assert_eq!((type_of(&after, "body"), type_of(&after, "more")), (ColumnType::Json, ColumnType::Json));
    let user = after.rows.column_by_name("user").unwrap();
    assert!(Arc::ptr_eq(user, before.column_by_name("user").unwrap()));
    // What is computed from JSON text is text.
    assert_eq!(type_of(&apply(vec![derive("extra", "UPPER(extra)")]), "extra"), ColumnType::Text);
}

#[test]
fn a_type_that_no_file_holds_is_told_with_the_way_out() {
    let text = message(vec![derive("gap", "at - at")]);
    assert!(text.contains("which no table can hold: compute a number, as in `EXTRACT(EPOCH"), "{text}");
    let text = message(vec![derive("day", "CAST(title AS DATE)")]);
    assert!(text.contains("would guess the form of the text: use a cast step"), "{text}");
    assert_eq!(type_of(&apply(vec![derive("day", "CAST(at AS DATE)")]), "day"), ColumnType::Date);
}

#[test]
fn sql_is_a_filter_and_a_choice_of_columns() {
    let result = apply(vec![sql("SELECT b.id, title AS name, LENGTH(b.title) AS size, 'x' AS kind, user.plan.name AS plan \
         FROM batch AS b WHERE user.plan.name = 'pro' OR id = 1")]);
    assert_eq!(names(&result), ["id", "name", "size", "kind", "plan"]);
    assert_eq!((ids(&result), result.filtered), (vec![1, 2, 4], 2));
    assert_eq!(integers_of(&result, "size"), [Some(3), None, Some(28)]);
    assert_eq!(texts_of(&result, "kind"), vec![Some("x".to_owned()); 3]);
    let result = apply(vec![sql("SELECT * EXCLUDE (user, tags), id + 1 AS next FROM batch")]);
    assert_eq!(names(&result), ["id", "title", "extra", "pull_request", "amount", "at", "next"]);
    assert!(message(vec![sql("SELECT *, id FROM batch")]).contains("two columns would have the name `id`"));
}

#[test]
fn a_value_that_an_expression_cannot_take_rejects_its_row_alone() {
    let result = apply(vec![filter("id <> 2"), derive("n", "CAST(title AS BIGINT)")]);
    assert_eq!((ids(&result), result.filtered), (vec![5], 1));
    let rows: Vec<usize> = result.rejected.iter().map(|rejected| rejected.row).collect();
    assert_eq!(rows, [0, 2, 3]);
    assert!(result.rejected[1].field == "n" && result.rejected[1].reason.contains("three"), "{:?}", result.rejected[1]);
    assert_eq!(integers_of(&result, "n"), [Some(12)]);
    let tried = apply(vec![derive("n", "TRY_CAST(title AS BIGINT)")]);
    assert_eq!(integers_of(&tried, "n"), [None, None, None, None, Some(12)]);
    let filtered = apply(vec![sql("SELECT id, CAST(title AS BIGINT) AS n FROM batch WHERE CAST(title AS BIGINT) > 0")]);
    assert_eq!((ids(&filtered), filtered.filtered, filtered.rejected.len()), (vec![5], 1, 3));
}

#[test]
fn a_cast_that_does_not_fit_rejects_the_row_with_its_value() {
    let cast = StepKind::Cast(vec![("amount".to_owned(), ColumnType::Int64), ("title".to_owned(), ColumnType::Int64)]);
    let result = apply(vec![filter("id > 1"), cast]);
    let wanted = [
        (1, "amount", "does not fit int64: `1.5`"),
        (2, "title", "does not fit int64: `three`"),
        (3, "title", "does not fit int64: `four, and longer than a view`"),
        (4, "amount", "does not fit int64: `1e300`"),
    ];
    assert_eq!(result.filtered, 1);
    let found: Vec<(usize, &str, &str)> =
        result.rejected.iter().map(|rejected| (rejected.row, rejected.field.as_str(), rejected.reason.as_str())).collect();
    assert_eq!(found, wanted);
    let text = message(vec![StepKind::Cast(vec![("user".to_owned(), ColumnType::Text)])]);
    assert!(text.contains("column `user` is struct(") && text.contains("declare it `json` under [columns]"), "{text}");
}

#[test]
fn what_would_depend_on_the_batch_is_refused() {
    for (text, reason) in [
        ("SELECT SUM(id) AS n FROM batch", "the aggregate `sum` would depend on the batch"),
        ("SELECT COUNT(*) AS n FROM batch", "the aggregate `count`"),
        ("SELECT id FROM batch WHERE id > AVG(id)", "the aggregate `avg`"),
        ("SELECT ROW_NUMBER() OVER (ORDER BY id) AS n FROM batch", "looks at other rows"),
        ("SELECT ABS(id) OVER () AS n FROM batch", "looks at other rows"),
        ("SELECT DISTINCT id FROM batch", "DISTINCT is not possible"),
        ("SELECT id FROM batch ORDER BY id", "ORDER BY is not possible"),
        ("SELECT id FROM batch LIMIT 3", "LIMIT is not possible"),
        ("SELECT id FROM batch GROUP BY id", "GROUP BY is not possible"),
        ("SELECT id FROM batch GROUP BY ALL", "GROUP BY is not possible"),
        ("SELECT id FROM batch HAVING id > 1", "HAVING is not possible"),
        ("SELECT id FROM batch QUALIFY id > 1", "QUALIFY is not possible"),
        ("SELECT id FROM batch UNION SELECT id FROM batch", "UNION is not possible"),
        ("WITH b AS (SELECT 1) SELECT id FROM batch", "WITH is not possible"),
        ("SELECT id FROM batch JOIN batch AS c USING (id)", "a join is not possible"),
        ("SELECT id FROM batch, batch AS c", "and from nothing else"),
        ("SELECT id FROM orders", "from `batch` and from nothing else, not from `orders`"),
        ("SELECT id FROM read_csv('x.csv')", "and from nothing else"),
        ("SELECT id FROM (SELECT id FROM batch)", "and from nothing else"),
        ("SELECT id FROM batch WHERE id IN (SELECT id FROM batch)", "subqueries are not possible"),
        ("SELECT id FROM batch WHERE EXISTS (SELECT 1)", "subqueries are not possible"),
        ("SELECT id FROM batch WHERE id > ALL(tags)", "ANY and ALL"),
        ("SELECT RANDOM() AS n FROM batch", "gives another result each time"),
        ("SELECT CURRENT_TIMESTAMP AS n FROM batch", "gives another result each time"),
        ("SELECT LENGHT(title) AS n FROM batch", "no function `lenght`; nearest is `length`"),
        ("SELECT DATE(title) AS n FROM batch", "without a format guesses it"),
        ("SELECT UNNEST(tags) AS n FROM batch", "not possible in a step"),
        ("SELECT COLUMNS('i.*') FROM batch", "not possible in a step"),
        ("SELECT LENGTH(title) FROM batch", "give `LENGTH(title)` a name"),
        ("SELECT id AS _hw_commit FROM batch", "begin with `_hw_`"),
        ("SELECT id, title AS id FROM batch", "column `id` is named twice"),
        ("DROP TABLE batch", "one SELECT and nothing else"),
        ("SELECT id FROM batch; SELECT id FROM batch", "one SELECT and nothing else"),
        ("SELEC id FROM batch", "not SQL"),
        ("SELECT LENGTH(title, 1, 2) AS n FROM batch", "LENGTH"),
        ("SELECT id INTO t FROM batch", "INTO is not possible"),
        ("SELECT * ILIKE '%' FROM batch", "only EXCLUDE"),
        ("EXPLAIN SELECT id FROM batch", "one SELECT and nothing else"),
    ] {
        let problems = check(vec![sql(text)], &[]);
        let [problem] = problems.as_slice() else { panic!("{text}: {problems:?}") };
        let said = format!("{}: {}", problem.message, problem.help.as_deref().unwrap_or(""));
        assert!(said.to_lowercase().contains(&reason.to_lowercase()), "{text}: {said}");
        assert_eq!((problem.file.as_str(), problem.line, problem.key.as_str()), ("jobs/orders.toml", 10, "steps.1.sql"));
        assert!(steps_of(vec![sql(text)]).is_err());
    }
    for text in ["id > (", "SUM(id) > 1", "id = 1 GROUP BY id", "id = 1 AS x", "*", ""] {
        assert_eq!(check(vec![filter(text)], &[]).len(), 1, "{text}");
        assert_eq!(check(vec![derive("x", text)], &[]).len(), 1, "{text}");
    }
}

#[test]
fn check_finds_columns_that_cannot_be_there() {
    let select = StepKind::Select(texts(&["id", "title"]));
    assert_eq!(check(vec![select.clone(), filter("title IS NULL"), derive("n", "LENGTH(title)"), filter("n > 1")], &[]), []);
    let problems = check(vec![select.clone(), filter("titel IS NULL")], &[]);
    assert_eq!(problems[0].message, "no column `titel` is left for this step");
    assert_eq!(problems[0].help.as_deref(), Some("write `title`"));
    let dropped = vec![StepKind::Drop(texts(&["at"])), StepKind::Cast(vec![("at".to_owned(), ColumnType::Date)])];
    assert!(check(dropped, &[])[0].help.as_deref().unwrap().contains("a step before took `at` away"));
    let by_month = [PartitionColumn { column: "at".to_owned(), unit: PartitionUnit::Month }];
    assert_eq!(check(vec![select.clone()], &by_month)[0].key, "partition_by");
    assert_eq!(check(vec![sql("SELECT id, at FROM batch")], &by_month), []);
    let flat =
        vec![select, StepKind::Flatten { columns: texts(&["title"]), separator: ".".to_owned() }, filter("\"title.x\" > 1")];
    assert_eq!(check(flat, &[]), []);
    let reserved = check(vec![StepKind::Rename(pairs(&[("id", "_hw_id")])), derive("_hw_x", "1")], &[]);
    assert_eq!(reserved.len(), 2);
}

#[test]
fn a_panic_is_a_fault_of_ours() {
    let fault = guarded(|| panic!("out of {}", "cheese")).unwrap_err();
    assert_eq!((fault.kind, fault.text.as_str()), (ErrorKind::Bug, "the step panicked: `out of cheese`"));
}

/// Steps of every kind that must not care how rows are put into batches.
fn row_wise_steps() -> Vec<Vec<StepKind>> {
    let cast = |column: &str, target: ColumnType| StepKind::Cast(vec![(column.to_owned(), target)]);
    vec![
        vec![filter("LENGTH(title) > 3 OR amount > 1.2"), derive("n", "id + 1")],
        vec![cast("title", ColumnType::Int64), cast("amount", ColumnType::Int64)],
        vec![derive("n", "CAST(title AS BIGINT)"), filter("n > 10")],
        vec![
            StepKind::Flatten { columns: texts(&["user"]), separator: "_".to_owned() },
            derive("who", "COALESCE(user_login, user_plan_name, 'nobody')"),
            StepKind::Drop(texts(&["tags"])),
        ],
        vec![sql("SELECT id, UPPER(title) AS t, user, tags, STRFTIME(at, '%Y-%m') AS month, ROUND(amount, 1) AS a, \
             CASE WHEN id > 2 THEN 'big' ELSE title END AS c, tags[1] AS first, ARRAY_SUM(tags) AS s FROM batch \
             WHERE title IS NULL OR title LIKE '%e%' OR title IN ('12', 'x')")],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn how_rows_are_put_into_batches_changes_nothing(rows in prop::collection::vec(0_usize..5, 0..12), cut in 0_usize..13) {
        let source = batch();
        let picked: Vec<RecordBatch> = rows.iter().map(|row| source.slice(*row, 1)).collect();
        let whole = concat_batches(&source.schema(), &picked).unwrap();
        let cut = cut.min(whole.num_rows());
        for kinds in row_wise_steps() {
            let steps = steps_of(kinds).unwrap();
            let all = steps.apply(whole.clone()).unwrap();
            let left = steps.apply(whole.slice(0, cut)).unwrap();
            let right = steps.apply(whole.slice(cut, whole.num_rows() - cut)).unwrap();
            prop_assert_eq!(all.rows.num_rows() + all.filtered as usize + all.rejected.len(), whole.num_rows());
            prop_assert_eq!(all.rows.schema(), left.rows.schema());
            prop_assert_eq!(&all.rows, &concat_batches(&all.rows.schema(), [&left.rows, &right.rows]).unwrap());
            prop_assert_eq!(all.filtered, left.filtered + right.filtered);
            let mut rejected = left.rejected;
            rejected.extend(right.rejected.into_iter().map(|reject| RejectedRow { row: reject.row + cut, ..reject }));
            prop_assert_eq!(all.rejected, rejected);
        }
    }
}

/// Rows 0 to 2: an amount of the column's type, one of another, none; the same of a field of a struct, which is hidden in row 2.
fn strays() -> RecordBatch {
    let user = StructArray::new(
        Fields::from(vec![Field::new("age", DataType::Int64, true), Field::new("age__text", DataType::Utf8View, true)]),
        vec![
            Arc::new(Int64Array::from(vec![Some(30), None, None])),
            Arc::new(StringViewArray::from(vec![None, Some("old"), Some("hidden")])),
        ],
        Some(NullBuffer::from(vec![true, true, false])),
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("amount", Arc::new(Int64Array::from(vec![Some(10), None, None]))),
        ("amount__float64_", Arc::new(Float64Array::from(vec![None, Some(10.5), None]))),
        // A field of the source: what it is called by is not what it is.
        ("amount__text", Arc::new(Int64Array::from(vec![7, 7, 7]))),
        ("user", Arc::new(user)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

#[test]
fn a_value_of_another_type_is_no_null_to_a_step() {
    let cast = StepKind::Cast(vec![("amount".to_owned(), ColumnType::Text)]);
    let select = sql("SELECT id, amount AS a FROM batch");
    for (kind, path, found, left) in [
        (filter("amount > 0"), "amount", "float64", vec![1]),
        (filter("amount > 0 OR amount IS NULL"), "amount", "float64", vec![1, 3]),
        (filter("user.age > 0"), "user.age", "text", vec![1]),
        (derive("b", "amount * 2"), "amount", "float64", vec![1, 3]),
        (derive("b", "COALESCE(user.age, 0)"), "user.age", "text", vec![1, 3]),
        (cast, "amount", "float64", vec![1, 3]),
        (select, "amount", "float64", vec![1, 3]),
        (sql("SELECT * FROM batch WHERE amount IS NULL"), "amount", "float64", vec![3]),
    ] {
        let name = format!("{kind:?}");
        let transformed = steps_of(vec![kind]).unwrap().apply(strays()).unwrap();
        let [rejected] = transformed.rejected.as_slice() else { panic!("{name}: {:?}", transformed.rejected) };
        assert_eq!((rejected.row, rejected.field.as_str()), (1, path), "{name}");
        assert!(rejected.reason.contains(&format!("the value is {found}: declare")), "{name}: {}", rejected.reason);
        let ids = transformed.rows.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(ids, left, "{name}");
    }
    // What does not work with it lets it pass.
    assert_eq!(steps_of(vec![filter("id > 1")]).unwrap().apply(strays()).unwrap().rows.num_rows(), 2);
}

#[test]
fn what_holds_the_values_of_another_type_goes_where_the_column_goes() {
    let after = |kind: StepKind| {
        let rows = steps_of(vec![kind]).unwrap().apply(strays()).unwrap().rows;
        rows.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()
    };
    assert_eq!(after(StepKind::Drop(texts(&["amount"]))), ["id", "amount__text", "user"]);
    assert_eq!(after(sql("SELECT * EXCLUDE (amount) FROM batch")), ["id", "amount__text", "user"]);
    assert_eq!(after(StepKind::Select(texts(&["amount", "id"]))), ["amount", "amount__float64_", "id"]);
    assert_eq!(after(StepKind::Select(texts(&["amount__float64_", "amount"]))), ["amount__float64_", "amount"]);
    let renamed = after(StepKind::Rename(pairs(&[("amount", "price")])));
    assert_eq!(renamed, ["id", "price", "price__float64_", "amount__text", "user"]);
    let flat = after(StepKind::Flatten { columns: texts(&["user"]), separator: "_".to_owned() });
    assert_eq!(flat[4..], ["user_age", "user_age__text"]);
}

#[test]
fn whole_numbers_have_64_bits_wherever_they_come_from() {
    let at = "2024-03-31T23:59:58.25Z".parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let tags = LargeListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(Vec::<Option<i64>>::new())]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![at]).with_timezone("UTC"))),
        ("title", Arc::new(StringViewArray::from(vec!["abc"]))),
        ("tags", Arc::new(tags)),
        ("small", Arc::new(arrow::array::Int32Array::from(vec![3000]))),
        ("wide", Arc::new(Int64Array::from(vec![300]))),
    ];
    let rows = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
    for (text, expected) in [
        ("EXTRACT(YEAR FROM t) * 10000 + EXTRACT(MONTH FROM t) * 100 + EXTRACT(DAY FROM t)", 20_240_331),
        ("EXTRACT(HOUR FROM t) * 60", 1_380),
        ("EXTRACT(QUARTER FROM t) * 500", 500),
        ("EXTRACT(DOW FROM t) - 100 * EXTRACT(WEEK FROM t)", -1_300),
        ("DATE_PART('hour', t) * 100 + DATE_PART('minute', t)", 2_359),
        ("LENGTH(title) - 10", -7),
        ("OCTET_LENGTH(title) - CHAR_LENGTH(title) - 1", -1),
        ("ARRAY_LENGTH(tags) - 1", -1),
        ("STRPOS(title, 'x') - 5", -5),
        ("small * 1000000", 3_000_000_000),
        ("CAST(wide AS SMALLINT) * 1000", 300_000),
        ("CASE WHEN wide > 1 THEN LENGTH(title) ELSE 0 END - 4", -1),
    ] {
        let transformed = steps_of(vec![derive("x", text)]).unwrap().apply(rows.clone()).unwrap();
        let found = transformed.rows.column_by_name("x").unwrap();
        assert_eq!(found.as_primitive_opt::<Int64Type>().map(|found| found.value(0)), Some(expected), "{text}: {found:?}");
        let filtered = steps_of(vec![filter(&format!("{text} = {expected}"))]).unwrap().apply(rows.clone()).unwrap();
        assert_eq!(filtered.rows.num_rows(), 1, "{text}");
    }
    // Parts that are no whole numbers stay what they are.
    let transformed = steps_of(vec![derive("x", "EXTRACT(MILLISECOND FROM t)")]).unwrap().apply(rows).unwrap();
    assert_eq!(transformed.rows.column_by_name("x").unwrap().as_primitive::<Float64Type>().value(0), 58_250.0);
}
