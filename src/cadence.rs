//! What a job's `schedule` says: the moments at which it is due. Pure; a moment comes in, the next one goes out.
//!
//! **Cron** is read on the clock that hangs on the wall of its zone. Where that clock is put forward or back:
//!
//! | the hour field is | a time that the clock skips | a time that the clock shows twice |
//! |---|---|---|
//! | anything but `*` and `*/n` ("at 2:30") | due once, right after the gap | due once, the first time |
//! | `*` or `*/n` ("every hour at 30") | not due | due both times |
//!
//! Several times in one gap are one due time. Day of month and day of week, where both are restricted, are alternatives, as in
//! every cron. **`every`** counts from 1970-01-01T00:00:00Z in seconds that pass, so neither zones nor restarts move it.

mod cron;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::config::units::parse_duration;

use cron::Cron;

/// Words for crons.
const NICKNAMES: [(&str, &str); 5] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
];

/// Transitions of a zone that one search walks over: a thousand years of two a year.
const TRANSITIONS_MAX: usize = 2_000;

/// The form that is shown where a text is none.
const FORMS: &str = "write a cron of 5 fields (\"0 6 * * *\"), or of 6 with seconds first, \"every 10m\", or one of @hourly, @daily, @weekly, @monthly, @yearly";

/// When a job is due. Every value is due again and again: what never is has no value of this type.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    zone: TimeZone,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Cron(Cron),
    /// Whole seconds, at least one.
    Every(i64),
}

/// Why a text is no schedule, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSchedule {
    pub message: String,
    pub help: String,
}

impl NoSchedule {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        NoSchedule { message: message.into(), help: help.into() }
    }
}

/// The same text in the same zone is the same schedule.
impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// As it is shown and as the state keeps it: `0 6 * * * (Europe/Berlin)`. No zone where none is read.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reads_zone() {
            true => write!(f, "{} ({})", self.text, self.zone.iana_name().unwrap_or("UTC")),
            false => f.write_str(&self.text),
        }
    }
}

impl Schedule {
    /// Reads a schedule: a cron with 5 fields, or 6 with seconds first, `every <duration>`, or a nickname.
    ///
    /// # Errors
    /// Why it is none; a cron that no day ever fits is none either.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Schedule, NoSchedule> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let kind = if text.starts_with('@') {
            let fields = NICKNAMES.iter().find(|(name, _)| *name == text).map(|(_, fields)| *fields);
            let fields = fields.ok_or_else(|| NoSchedule::new(format!("`{text}` is not known here"), FORMS))?;
            Kind::Cron(Cron::parse(fields)?)
        } else if let Some(length) = text.strip_prefix("every") {
            Kind::Every(read_interval(length.trim_start())?)
        } else if text.is_empty() {
            return Err(NoSchedule::new("the schedule is empty", "leave the key out for a job that runs by hand alone"));
        } else {
            Kind::Cron(Cron::parse(&text)?)
        };
        Ok(Schedule { text, zone, kind })
    }

    /// As the file says it, without the zone.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the zone makes a difference.
    pub fn reads_zone(&self) -> bool {
        matches!(self.kind, Kind::Cron(_))
    }

    /// Whether it is due more often than once a minute.
    pub fn is_within_minutes(&self) -> bool {
        match &self.kind {
            Kind::Cron(cron) => cron.is_within_minutes(),
            Kind::Every(seconds) => *seconds < 60,
        }
    }

    /// The first moment after `after`, in whole seconds; `None` at the end of the calendar.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.kind {
            Kind::Every(seconds) => {
                let passed = after.as_second().div_euclid(*seconds);
                Timestamp::from_second(passed.checked_add(1)?.checked_mul(*seconds)?).ok()
            }
            Kind::Cron(cron) => self.next_of_cron(cron, after),
        }
    }

    /// The last moment that is after `after` and not after `until`; `None` if there is none.
    pub fn last_within(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        self.next_after(after).filter(|first| *first <= until).map(|first| self.last_from(first, until))
    }

    /// The last moment not after `until`, where `due` is one.
    pub fn last_from(&self, due: Timestamp, until: Timestamp) -> Timestamp {
        let mut found = due;
        // Nothing is due after `end` and not after `until`; each turn halves what lies between.
        let mut end = until;
        while let Some(next) = self.next_after(found).filter(|next| *next <= end) {
            found = next;
            let half = end.duration_since(found) / 2;
            let middle = found.checked_add(half).unwrap_or(end);
            match self.next_after(middle) {
                Some(later) if later <= end => found = later,
                _ => end = middle,
            }
        }
        found
    }

    /// Moments that are after `after` and not after `until`, counted as far as `max`.
    pub fn count_within(&self, after: Timestamp, until: Timestamp, max: usize) -> usize {
        self.within(after, until).take(max).count()
    }

    /// A moment not before `after`, such that at most `max` due moments lie behind it and not after `until`, the newest ones.
    pub fn newest_within(&self, after: Timestamp, until: Timestamp, max: usize) -> Timestamp {
        let first: Vec<Timestamp> = self.within(after, until).take(max + 1).collect();
        let (Some(begin), Some(end)) = (first.first(), first.get(max)) else { return after };
        // How long as many took at the beginning is a fair guess of how long they take at the end.
        let mut length = end.duration_since(*begin);
        for _ in 0..64 {
            let cut = until.checked_sub(length).unwrap_or(after).max(after);
            let mut newest = VecDeque::with_capacity(max + 1);
            let mut seen = 0;
            for due in self.within(cut, until).take(4 * max) {
                seen += 1;
                newest.push_back(due);
                if newest.len() > max + 1 {
                    newest.pop_front();
                }
            }
            match seen {
                _ if seen == 4 * max => length /= 2,
                _ if seen > max => return newest[0],
                _ => length = length.saturating_mul(2),
            }
        }
        // Due moments that lie this unevenly are few in the end; the state's bound is kept, some more are dropped.
        until.checked_sub(length).unwrap_or(after).max(after)
    }

    fn within(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.next_after(after), |due| self.next_after(*due)).take_while(move |due| *due <= until)
    }

    /// Goes from one change of the zone's clock to the next: between two of them the wall's time and the instant differ by one
    /// offset, so that the cron can be asked in the wall's time alone.
    fn next_of_cron(&self, cron: &Cron, after: Timestamp) -> Option<Timestamp> {
        let mut at = Timestamp::from_second(after.as_second()).ok()?;
        let mut offset = self.zone.to_offset(at);
        let wall = offset.to_datetime(at);
        let mut found = match self.end_of_second_showing(at) {
            // Times that were shown before were due then.
            Some(end) if !cron.every_hour() && wall < end => cron.next(end, true)?,
            _ => cron.next(wall, false)?,
        };
        for _ in 0..TRANSITIONS_MAX {
            let change = self.zone.following(at).next();
            let instant = offset.to_timestamp(found).ok()?;
            let Some(change) = change.filter(|change| change.timestamp() <= instant) else { return Some(instant) };
            at = change.timestamp();
            let (left, came) = (offset.to_datetime(at), change.offset().to_datetime(at));
            offset = change.offset();
            if came > left && found < came {
                match cron.every_hour() {
                    true => found = cron.next(came, true)?,
                    false => return Some(at),
                }
            } else if came < left && cron.every_hour() {
                found = cron.next(came, true)?;
            }
        }
        None
    }

    /// Where `at` lies in a stretch that the wall's clock shows for the second time, the wall's time at which that ends.
    fn end_of_second_showing(&self, at: Timestamp) -> Option<jiff::civil::DateTime> {
        let tick = SignedDuration::from_nanos(1);
        let change = self.zone.preceding(at.checked_add(tick).ok()?).next()?.timestamp();
        let before = self.zone.to_offset(change.checked_sub(tick).ok()?);
        Some(before.to_datetime(change))
    }
}

fn read_interval(text: &str) -> Result<i64, NoSchedule> {
    let help = "write whole seconds or more, such as \"every 10m\" or \"every 1h30m\"";
    if text.is_empty() {
        return Err(NoSchedule::new("`every` lacks its interval", help));
    }
    let Some(length) = parse_duration(text) else {
        return Err(NoSchedule::new(format!("`{text}` is not a duration"), help));
    };
    if length.is_zero() || length.subsec_nanos() != 0 {
        return Err(NoSchedule::new(format!("`every {text}` is not an interval of whole seconds"), help));
    }
    Ok(length.as_secs())
}
