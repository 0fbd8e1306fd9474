//! `[streams.NAME.cursor]`.

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::config::catalog::{Cursor, CursorFormat, CursorNulls, CursorType, Order};
use crate::config::node::Table;
use crate::config::problem::{Report, quote};
use crate::config::units::duration_text;
use crate::page::ResponsePath;
use crate::template::Template;

/// 2026-01-01T00:00:00Z, a boundary of every unit.
const SAMPLE_SECOND: i64 = 1_767_225_600;

/// The words of `type` and what they mean.
pub(super) fn type_named(name: &str) -> Option<CursorType> {
    Some(match name {
        "timestamp" => CursorType::Timestamp,
        "date" => CursorType::Date,
        "epoch_s" => CursorType::EpochS,
        "epoch_ms" => CursorType::EpochMs,
        "epoch_us" => CursorType::EpochUs,
        "integer" => CursorType::Integer,
        "string" => CursorType::String,
        "token" => CursorType::Token,
        _ => return None,
    })
}

/// `query` was checked; `asked_from` says whether the stream's own path or query ask for a lower bound.
pub(super) fn check(table: &Table, query: Vec<(String, Template)>, asked_from: bool, report: &mut Report) -> Option<Cursor> {
    let cursor_type = type_named(&table.text("type")?)?;
    // A token that no request carries is the address that the next run begins at; what comes newest first is read down to the mark.
    let goes_on_by_itself = cursor_type == CursorType::Token || table.text("order").as_deref() == Some("descending");
    if !goes_on_by_itself && !asked_from && !query.iter().any(|(_, template)| template.uses("from")) {
        let help = "add an entry such as query = { since = \"{{ from }}\" }";
        report.warning(&table.place("query"), "the API is never asked for what changed: every run reads everything", help);
    }
    if !cursor_type.is_time() {
        refuse_keys(table, &["format", "precision", "timezone", "to_inclusive", "history_max"], cursor_type, report);
    }
    if cursor_type == CursorType::Token {
        refuse_keys(table, &["order", "nulls"], cursor_type, report);
    }
    let token = match cursor_type {
        CursorType::Token => Some(token_path(table, report)?),
        _ => None,
    };
    let timezone = table.zone("timezone").unwrap_or(TimeZone::UTC);
    let format = format(table, cursor_type, &timezone, report)?;
    let precision = precision(table, cursor_type, report);
    check_resolution(table, &format, cursor_type, precision, &timezone, report);
    Some(Cursor {
        field: table.text("field")?,
        cursor_type,
        token,
        query,
        order: match table.text("order").as_deref() {
            Some("ascending") => Order::Ascending,
            Some("descending") => Order::Descending,
            _ => Order::None,
        },
        format,
        precision,
        timezone,
        to_inclusive: table.boolean("to_inclusive").unwrap_or(false),
        nulls: CursorNulls::DeadLetter,
        history_max: history_max(table, report),
    })
}

/// How a cursor of a type is called in messages.
pub(super) fn named(cursor_type: CursorType) -> &'static str {
    match cursor_type {
        CursorType::Integer => "an integer cursor",
        CursorType::String => "a string cursor",
        CursorType::Token => "a token cursor",
        _ => "a cursor of time",
    }
}

fn refuse_keys(table: &Table, keys: &[&str], cursor_type: CursorType, report: &mut Report) {
    for key in keys.iter().filter(|key| table.has(key)) {
        report.error(&table.place(key), format!("`{key}` has no meaning for {}", named(cursor_type)), "take it out");
    }
}

fn token_path(table: &Table, report: &mut Report) -> Option<ResponsePath> {
    match ResponsePath::parse(&table.text("field")?) {
        Ok(path) if path != ResponsePath::root() => Some(path),
        Ok(_) => None,
        Err(error) => {
            report.error(&table.place("field"), error, "write the token's path in a response, or \"header.NAME\"");
            None
        }
    }
}

fn format(table: &Table, cursor_type: CursorType, timezone: &TimeZone, report: &mut Report) -> Option<CursorFormat> {
    if !table.has("format") || !cursor_type.is_time() {
        return Some(match cursor_type {
            CursorType::Timestamp => CursorFormat::Rfc3339,
            CursorType::Date => CursorFormat::Strftime("%Y-%m-%d".to_owned()),
            _ => CursorFormat::Number,
        });
    }
    let pattern = table.text("format")?;
    let help = "write a strftime pattern, such as \"%Y-%m-%dT%H:%M:%SZ\"";
    if !pattern.contains('%') {
        report.error(&table.place("format"), format!("{} has no `%`: it would be sent as it stands", quote(&pattern)), help);
        return None;
    }
    match written(&pattern, SignedDuration::ZERO, timezone) {
        Err(error) => {
            report.error(&table.place("format"), format!("{} is not a pattern: {error}", quote(&pattern)), help);
            None
        }
        Ok(_) => Some(CursorFormat::Strftime(pattern)),
    }
}

/// How a bound at the sample instant plus `later` would be written.
fn written(pattern: &str, later: SignedDuration, timezone: &TimeZone) -> Result<String, jiff::Error> {
    let sample = Timestamp::from_second(SAMPLE_SECOND)?.checked_add(later)?.to_zoned(timezone.clone());
    strtime::format(pattern, &sample)
}

fn precision(table: &Table, cursor_type: CursorType, report: &mut Report) -> SignedDuration {
    let default = match cursor_type {
        CursorType::Integer | CursorType::String | CursorType::Token => SignedDuration::ZERO,
        CursorType::Date => SignedDuration::from_hours(24),
        _ => SignedDuration::from_secs(1),
    };
    match table.duration("precision") {
        // Without any width a row that stands on a bound is lost wherever the API compares the other way round.
        Some(precision) if precision.is_zero() => {
            report.error(&table.place("precision"), "`0s` is not a precision", "give a duration above zero, such as \"1s\"");
            default
        }
        precision => precision.unwrap_or(default),
    }
}

fn history_max(table: &Table, report: &mut Report) -> Option<SignedDuration> {
    let length = table.duration("history_max")?;
    if length.is_zero() {
        report.error(&table.place("history_max"), "`0s` is no history", "give a duration above zero, such as \"30d\"");
        return None;
    }
    Some(length)
}

/// A bound that is written more coarsely than `precision` could fall short of the slice and lose rows at its ends.
fn check_resolution(
    table: &Table,
    format: &CursorFormat,
    cursor_type: CursorType,
    precision: SignedDuration,
    timezone: &TimeZone,
    report: &mut Report,
) {
    let place = if table.has("precision") { table.place("precision") } else { table.place("format") };
    let shown = quote(&duration_text(precision));
    let help = "give a `precision` no finer than what the format shows, such as \"1s\" or \"1d\"";
    let too_fine = match format {
        CursorFormat::Rfc3339 => false,
        CursorFormat::Number => cursor_type == CursorType::EpochS && precision < SignedDuration::from_secs(1),
        CursorFormat::Strftime(pattern) => {
            written(pattern, SignedDuration::ZERO, timezone).ok() == written(pattern, precision, timezone).ok()
        }
    };
    if too_fine {
        report.error(&place, format!("the format cannot show a difference of {shown}"), help);
        return;
    }
    let CursorFormat::Strftime(pattern) = format else { return };
    if precision < AN_HOUR && is_ambiguous(pattern) && repeats_an_hour(timezone, second(SINCE)) {
        report.error(&place, AMBIGUOUS, "add `%:z` to the format, or give precision = \"1h\"");
    }
}

/// Whether a job that reads from `start` on meets an hour that its cursor's format cannot tell from the one before. Asked of zones whose
/// clocks were put back for the last time before [`SINCE`]: of the others the source's own check has said it.
pub(super) fn meets_an_ambiguous_hour(cursor: &Cursor, start: Option<Timestamp>) -> bool {
    let CursorFormat::Strftime(pattern) = &cursor.format else { return false };
    let start = start.unwrap_or(second(0));
    cursor.precision < AN_HOUR
        && start < second(SINCE)
        && is_ambiguous(pattern)
        && !repeats_an_hour(&cursor.timezone, second(SINCE))
        && repeats_an_hour(&cursor.timezone, start)
}

pub(super) const AMBIGUOUS: &str = "the format does not tell apart the hour that comes twice when summer time ends";
const AN_HOUR: SignedDuration = SignedDuration::from_hours(1);
/// 2000-01-01T00:00:00Z: few read what is older.
const SINCE: i64 = 946_684_800;
/// Clocks that were moved more often than this since an instant are moved for ever.
const MOVES_MAX: usize = 400;

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Whether a zone's clocks are put back at some time after an instant.
fn repeats_an_hour(timezone: &TimeZone, since: Timestamp) -> bool {
    let mut offset = timezone.to_offset(since);
    timezone.following(since).take(MOVES_MAX).any(|moved| {
        let is_back = moved.offset() < offset;
        offset = moved.offset();
        is_back
    })
}

/// Whether a format writes local times of day without their offset.
fn is_ambiguous(pattern: &str) -> bool {
    let hours = ["%H", "%I", "%k", "%l", "%T", "%R", "%r", "%X", "%c"].iter().any(|part| pattern.contains(part));
    let offset = ["%z", "%:z", "%s", "%Q", "%Z"].iter().any(|part| pattern.contains(part));
    hours && !offset
}
