//! Which functions a step may call: those whose result depends on their row alone.

use super::super::rows::nearest;

/// Row by row, the same every time, and the same type whatever the values.
const ALLOWED: &[&str] = &[
    // numbers
    "abs",
    "cbrt",
    "ceil",
    "ceiling",
    "div",
    "exp",
    "floor",
    "ln",
    "log",
    "log10",
    "log1p",
    "log2",
    "mod",
    "pi",
    "pow",
    "power",
    "round",
    "trunc",
    "truncate",
    "sign",
    "sqrt",
    "cos",
    "cot",
    "sin",
    "tan",
    "cosd",
    "cotd",
    "sind",
    "tand",
    "acos",
    "asin",
    "atan",
    "atan2",
    "acosd",
    "asind",
    "atand",
    "atan2d",
    "degrees",
    "radians",
    // conditions
    "coalesce",
    "greatest",
    "if",
    "ifnull",
    "least",
    "nullif",
    // time
    "date",
    "date_part",
    "strftime",
    "strptime",
    "time",
    "timestamp",
    "datetime",
    // text
    "bit_length",
    "concat",
    "concat_ws",
    "ends_with",
    "left",
    "length",
    "char_length",
    "character_length",
    "lower",
    "lpad",
    "ltrim",
    "octet_length",
    "regexp_like",
    "replace",
    "reverse",
    "right",
    "rpad",
    "rtrim",
    "split_part",
    "starts_with",
    "string_to_array",
    "strpos",
    "substr",
    "upper",
    // lists
    "array_contains",
    "array_get",
    "array_length",
    "array_lower",
    "array_mean",
    "array_reverse",
    "array_sum",
    "array_to_string",
    "array_upper",
];

const AGGREGATES: &[&str] = &[
    "avg",
    "corr",
    "count",
    "covar",
    "covar_pop",
    "covar_samp",
    "first",
    "last",
    "max",
    "median",
    "min",
    "quantile_cont",
    "quantile_disc",
    "stdev",
    "stddev",
    "stdev_samp",
    "stddev_samp",
    "string_agg",
    "listagg",
    "group_concat",
    "sum",
    "total",
    "var",
    "variance",
    "var_samp",
    "array_agg",
];

const WINDOWS: &[&str] = &["dense_rank", "first_value", "last_value", "lag", "lead", "rank", "row_number", "ntile"];

const CHANGING: &[&str] = &[
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
    "today",
    "random",
    "rand",
    "uuid",
    "gen_random_uuid",
];

/// The error says why not, and what to do instead.
pub(super) fn allowed(name: &str) -> Result<(), String> {
    if ALLOWED.contains(&name) {
        return Ok(());
    }
    if AGGREGATES.contains(&name) {
        return Err(format!("the aggregate `{name}` would depend on the batch: aggregate at query time"));
    }
    if WINDOWS.contains(&name) {
        return Err(format!("`{name}` looks at other rows: its result would depend on the batch; compute it at query time"));
    }
    if CHANGING.contains(&name) {
        return Err(format!(
            "`{name}` gives another result each time: reading a slice again would not give the same rows (`_hw_extracted_at` says when a row was read)"
        ));
    }
    if matches!(name, "unnest" | "columns" | "array_unique") {
        return Err(format!("`{name}` is not possible in a step"));
    }
    match nearest(name, ALLOWED) {
        Some(near) => Err(format!("no function `{name}`; nearest is `{near}`")),
        None => Err(format!("no function `{name}`")),
    }
}

/// Functions that read text as a time, and without a format guess one.
pub(super) fn guesses_format(name: &str) -> bool {
    matches!(name, "date" | "time" | "timestamp" | "datetime")
}

/// Functions that make something of a null; all others give null if one argument is null.
pub(super) fn takes_nulls(name: &str) -> bool {
    matches!(name, "coalesce" | "greatest" | "if" | "ifnull" | "least" | "nullif" | "concat" | "concat_ws")
}

/// Of those, the ones that want text.
pub(super) fn takes_null_text(name: &str) -> bool {
    matches!(name, "concat" | "concat_ws")
}
