//! Crons, in the time of a clock without zone. The one place where jiff's calendar meets chrono's, which croner computes with.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil;

use super::{FORMS, NoSchedule};

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// Fields in their order, with what may stand there.
const FIELDS: [(&str, &str, &[&str]); 6] = [
    ("a second", "0 to 59", &[]),
    ("a minute", "0 to 59", &[]),
    ("an hour", "0 to 23", &[]),
    ("a day of the month", "1 to 31, `L` for the last", &["L", "W"]),
    ("a month", "1 to 12 or JAN to DEC", &MONTHS),
    (
        "a day of the week",
        "0 to 7 or SUN to SAT, where 0 and 7 are Sunday",
        &["L", "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    ),
];

/// Crons that were read before: thousands of jobs have few texts, and to read one takes as long as to read a job.
static KNOWN: LazyLock<Mutex<HashMap<String, Cron>>> = LazyLock::new(Mutex::default);
/// Texts that are remembered.
const KNOWN_MAX: usize = 1024;

/// A cron that is due again and again.
#[derive(Clone, Debug)]
pub(super) struct Cron {
    /// Shared by all of one text: its years alone are five thousand bytes.
    cron: Arc<croner::Cron>,
    every_hour: bool,
    within_minutes: bool,
}

impl Cron {
    /// Reads 5 fields, or 6 with seconds first.
    pub fn parse(text: &str) -> Result<Cron, NoSchedule> {
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cron) = known().get(text) {
            return Ok(cron.clone());
        }
        let cron = Cron::read(text)?;
        let mut known = known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(text.to_owned(), cron.clone());
        Ok(cron)
    }

    fn read(text: &str) -> Result<Cron, NoSchedule> {
        let fields = fields(text)?;
        for (field, at) in fields.iter().zip(0..) {
            check_field(field, at)?;
        }
        let cron = read(&fields.join(" ")).map_err(|error| {
            let alone = fields.iter().zip(0..).find_map(|(field, at)| check_alone(field, at).err());
            alone.unwrap_or_else(|| NoSchedule::new(format!("`{text}` is not a cron: {error}"), FORMS))
        })?;
        let every_hour = fields[2].starts_with('*') || (0..24).all(|hour| cron.pattern.hour_match(hour).unwrap_or(false));
        let cron =
            Cron { cron: Arc::new(cron), every_hour, within_minutes: !fields[0].bytes().all(|digit| digit.is_ascii_digit()) };
        // Days come round within 28 years, and within 40 around a century that has no leap day.
        match cron.next(civil::date(2000, 1, 1).at(0, 0, 0, 0), true) {
            Some(_) => Ok(cron),
            None => {
                Err(NoSchedule::new(format!("`{text}` is never due: no month has such a day"), "correct the day or the month"))
            }
        }
    }

    /// Whether the hour is left open, so that it follows the clock instead of meaning one moment of the day.
    pub fn every_hour(&self) -> bool {
        self.every_hour
    }

    /// Whether it may be due more than once in a minute.
    pub fn is_within_minutes(&self) -> bool {
        self.within_minutes
    }

    /// The first fitting time after `wall`, or `wall` itself if it fits and `inclusive`; `None` if there is none in this age.
    pub fn next(&self, wall: civil::DateTime, inclusive: bool) -> Option<civil::DateTime> {
        let found = self.cron.find_next_occurrence(&to_chrono(wall)?, inclusive).ok()?;
        from_chrono(&found)
    }
}

fn read(fields: &str) -> Result<croner::Cron, croner::errors::CronError> {
    CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build().parse(fields)
}

/// The six fields in capitals, seconds first.
fn fields(text: &str) -> Result<Vec<String>, NoSchedule> {
    let mut fields: Vec<String> = text.split_whitespace().map(str::to_ascii_uppercase).collect();
    match fields.len() {
        5 => fields.insert(0, "0".to_owned()),
        6 => {}
        7 => {
            let help = "a year cannot be given: take the last field out";
            return Err(NoSchedule::new(format!("`{text}` has 7 fields"), help));
        }
        // One word is rather a slip of another form than a cron.
        1 => return Err(NoSchedule::new(format!("`{text}` is not a schedule"), FORMS)),
        count => return Err(NoSchedule::new(format!("`{text}` has {count} fields, a cron has 5 or 6"), FORMS)),
    }
    Ok(fields)
}

fn wrong(field: &str, at: usize) -> NoSchedule {
    let (name, range, _) = FIELDS[at];
    NoSchedule::new(format!("`{field}` is not {name}"), format!("write {range}, with `*`, `,`, `-` and `/n`"))
}

/// What the parser would forgive in a field.
fn check_field(field: &str, at: usize) -> Result<(), NoSchedule> {
    let (_, _, words) = FIELDS[at];
    // The parser takes a weekday's name for its number wherever it stands.
    let mut letters = field.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    let spelled = letters.all(|word| words.contains(&word) || (at == 3 && word == "LW"));
    let nothing =
        |part: &str| part.is_empty() || part.split_once('/').is_some_and(|(_, step)| step.bytes().all(|digit| digit == b'0'));
    if !spelled || field.split(',').any(nothing) { Err(wrong(field, at)) } else { Ok(()) }
}

/// A field among others that are open, so that the message can name the one that is wrong.
fn check_alone(field: &str, at: usize) -> Result<(), NoSchedule> {
    let alone: Vec<&str> = (0..FIELDS.len()).map(|other| if other == at { field } else { "*" }).collect();
    read(&alone.join(" ")).map(drop).map_err(|_| wrong(field, at))
}

fn to_chrono(wall: civil::DateTime) -> Option<DateTime<Utc>> {
    let day = NaiveDate::from_ymd_opt(wall.year().into(), wall.month().unsigned_abs().into(), wall.day().unsigned_abs().into())?;
    let [hour, minute, second] = [wall.hour(), wall.minute(), wall.second()].map(|part| u32::from(part.unsigned_abs()));
    Some(day.and_hms_opt(hour, minute, second)?.and_utc())
}

fn from_chrono(found: &DateTime<Utc>) -> Option<civil::DateTime> {
    let [month, day] = [found.month(), found.day()].map(|part| i8::try_from(part).ok());
    let [hour, minute, second] = [found.hour(), found.minute(), found.second()].map(|part| i8::try_from(part).ok());
    civil::DateTime::new(i16::try_from(found.year()).ok()?, month?, day?, hour?, minute?, second?, 0).ok()
}
