//! Expressions on a batch, by polars.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use polars::prelude::{DataFrame, DataType as PolarsType, IntoLazy};
use polars::sql::SQLContext;
use sqlparser::ast::{Expr, visit_expressions};

use super::super::rows::Fault;
use super::times::{self, Constant};
use super::{Expression, TABLE, decimals, digits, is_temporal, nulls, polars_text, standard};
use crate::crossing;
use crate::error::ErrorKind;
use crate::schema::ColumnType;

/// The row's number in the batch: makes polars give one value a row for constants too, and proves that none moved.
const PLACE: &str = "_hw_place";

/// More rows than this that fail one by one are no bad rows but a bad expression.
const FAILURES_MAX: usize = 1_000;

/// Rows on which an expression failed, ascending, with what polars said.
type Failures = Vec<(usize, String)>;

/// One array an expression, each as long as the batch less the failed rows.
pub(in super::super) struct Evaluated {
    pub columns: Vec<ArrayRef>,
    pub failed: Failures,
}

/// Evaluates expressions over the batch; all of them see the same columns. The type of a result follows from the batch's schema
/// alone. Whole numbers come as int64 (or uint64), so that a constant has the type of a column, and decimals that were computed with
/// 38 digits; a decimal column that is handed on keeps its precision.
pub(in super::super) fn evaluate(batch: &RecordBatch, expressions: &[&Expression]) -> Result<Evaluated, Fault> {
    let schema = batch.schema();
    let mut folded = Vec::with_capacity(expressions.len());
    let mut constants = Vec::new();
    for expression in expressions {
        let mut tree = nulls::fold(&expression.tree, &schema).map_err(Fault::config)?;
        standard::settle(&mut tree).map_err(Fault::config)?;
        times::settle(&mut tree, &schema, &mut constants).map_err(Fault::config)?;
        digits::widen(&mut tree);
        folded.push(tree);
    }
    let input = input(batch, expressions, &constants)?;
    let empty = input.slice(0, 0);
    for tree in &mut folded {
        decimals::settle(tree, &schema, &|part| type_of(&empty, part)).map_err(Fault::config)?;
    }
    let query = query(&folded);
    for tree in &folded {
        refuse_guessed_times(&empty, tree)?;
    }
    // What fails without a row fails by its types: nothing in the data can mend it.
    run(&empty, &query).map_err(Fault::config)?;
    let (parts, failed) = run_parts(&input, &query)?;
    let mut columns = Vec::with_capacity(expressions.len());
    for (index, expression) in expressions.iter().enumerate() {
        let arrays: Vec<&dyn Array> = parts.iter().map(|part| part.column(index).as_ref()).collect();
        let array = match arrays.as_slice() {
            [array] => Arc::clone(&array.slice(0, array.len())),
            arrays => concat(arrays).map_err(|error| Fault::bug(format!("cannot join a column's parts: {error}")))?,
        };
        columns.push(match expression.plain_column().and_then(|name| schema.column_with_name(name)) {
            Some((_, field)) => digits::restore(array, field.data_type()).map_err(Fault::bug)?,
            None => array,
        });
    }
    Ok(Evaluated { columns, failed })
}

/// The columns that the expressions name and that have a type, the constants, and the row's number.
fn input(batch: &RecordBatch, expressions: &[&Expression], constants: &[Constant]) -> Result<RecordBatch, Fault> {
    let rows = u32::try_from(batch.num_rows()).map_err(|_| Fault::bug("a batch of more than 2^32 rows"))?;
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let is_named = expressions.iter().any(|expression| expression.columns().any(|column| column == field.name()));
        if is_named && *field.data_type() != DataType::Null {
            let array = digits::wide(array).map_err(Fault::bug)?;
            fields.push(Arc::new(field.as_ref().clone().with_data_type(array.data_type().clone())));
            arrays.push(array);
        }
    }
    for constant in constants {
        let column = constant.column(batch.num_rows());
        fields.push(Arc::new(Field::new(&constant.name, column.data_type().clone(), true)));
        arrays.push(column);
    }
    fields.push(Arc::new(Field::new(PLACE, DataType::UInt32, false)));
    arrays.push(Arc::new(UInt32Array::from_iter_values(0..rows)) as ArrayRef);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|error| Fault::bug(format!("cannot choose columns: {error}")))
}

fn query(trees: &[Expr]) -> String {
    let mut query = "SELECT ".to_owned();
    for (index, tree) in trees.iter().enumerate() {
        query.push_str(&format!("({tree}) AS \"_hw_{index}\", "));
    }
    query.push_str(&format!("\"{PLACE}\" FROM {TABLE}"));
    query
}

/// Runs the query over the whole batch, or, if a value makes it fail, over its halves, down to the rows that are to blame.
fn run_parts(input: &RecordBatch, query: &str) -> Result<(Vec<RecordBatch>, Failures), Fault> {
    let (mut parts, mut failed) = (Vec::new(), Vec::new());
    let mut ranges = vec![(0, input.num_rows())];
    while let Some((start, length)) = ranges.pop() {
        match run(&input.slice(start, length), query) {
            Ok(part) => parts.push(part),
            Err(reason) if length <= 1 => failed.push((start, reason)),
            Err(reason) if failed.len() >= FAILURES_MAX => {
                let text = format!("fails on more than {FAILURES_MAX} rows of a batch, the last time with: {reason}");
                return Err(Fault { kind: ErrorKind::Data, text });
            }
            Err(_) => {
                let half = length / 2;
                // The first half is taken from the stack first, so that rows keep their order.
                ranges.push((start + half, length - half));
                ranges.push((start, half));
            }
        }
    }
    if parts.is_empty() {
        parts.push(run(&input.slice(0, 0), query).map_err(Fault::bug)?);
    }
    Ok((parts, failed))
}

fn run(input: &RecordBatch, query: &str) -> Result<RecordBatch, String> {
    let frame = collect(input, query)?;
    for column in frame.columns() {
        if let Some(help) = no_column_type(column.dtype()) {
            return Err(format!("the result has the type {}, which no table can hold: {help}", column.dtype()));
        }
    }
    let result = crossing::to_batch(frame)?;
    let places = result.column_by_name(PLACE).and_then(|places| places.as_any().downcast_ref::<UInt32Array>());
    let expected = input.column_by_name(PLACE).and_then(|places| places.as_any().downcast_ref::<UInt32Array>());
    assert!(places.is_some() && places == expected, "a row-wise query keeps every row in its place");
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (field, array) in result.schema().fields().iter().zip(result.columns()).take(result.num_columns() - 1) {
        let array = settle_type(array)?;
        fields.push(field.as_ref().clone().with_data_type(array.data_type().clone()));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| error.to_string())
}

fn collect(input: &RecordBatch, query: &str) -> Result<DataFrame, String> {
    let frame = crossing::to_frame(input)?;
    let mut context = SQLContext::new();
    context.register(TABLE, frame.lazy());
    let result = context.execute(query).and_then(|frame| frame.collect());
    result.map_err(|error| polars_text(&error))
}

/// The type of an expression over the batch, if it has one.
fn type_of(empty: &RecordBatch, part: &Expr) -> Option<PolarsType> {
    let frame = collect(empty, &query(std::slice::from_ref(part))).ok()?;
    frame.columns().first().map(|column| column.dtype().clone())
}

/// Gives the type that our tables have for what polars computed.
fn settle_type(array: &ArrayRef) -> Result<ArrayRef, String> {
    let array = match array.data_type() {
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
            let wanted = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            cast(array, &wanted).map_err(|error| error.to_string())?
        }
        _ => digits::whole(array)?,
    };
    match ColumnType::from_arrow(array.data_type()) {
        Ok(_) => Ok(array),
        Err(found) => Err(format!("the result has the type {found}, which no table can hold: CAST it to another")),
    }
}

/// What to write instead of an expression of this type, if no column can have it.
fn no_column_type(data_type: &PolarsType) -> Option<&'static str> {
    match data_type {
        PolarsType::Duration(_) => Some("compute a number, as in `EXTRACT(EPOCH FROM a) - EXTRACT(EPOCH FROM b)`"),
        PolarsType::Int128 => Some("write `CAST(... AS BIGINT)` or `CAST(... AS DECIMAL(38,0))`"),
        PolarsType::Binary => Some("write `CAST(... AS VARCHAR)`"),
        PolarsType::List(item) => no_column_type(item),
        PolarsType::Struct(fields) => fields.iter().find_map(|field| no_column_type(field.dtype())),
        _ => None,
    }
}

/// polars reads text as a time by the form of the first text in the batch; other rows would come out as it happens.
fn refuse_guessed_times(empty: &RecordBatch, tree: &Expr) -> Result<(), Fault> {
    let outcome = visit_expressions(tree, |part| {
        if let Expr::Cast { expr, data_type, .. } = part
            && is_temporal(data_type)
            && !matches!(expr.as_ref(), Expr::Value(_))
            && type_of(empty, expr) == Some(PolarsType::String)
        {
            return ControlFlow::Break(format!(
                "`{part}` would guess the form of the text: use a cast step (RFC 3339), or `STRPTIME({expr}, '%Y-%m-%d')`"
            ));
        }
        ControlFlow::Continue(())
    });
    match outcome {
        ControlFlow::Break(problem) => Err(Fault::config(problem)),
        ControlFlow::Continue(()) => Ok(()),
    }
}
