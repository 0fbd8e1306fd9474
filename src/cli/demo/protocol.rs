//! The event service's protocol, without a network: what `/fdsnws/event/1/query` makes of its parameters.
//!
//! As the USGS documents it (<https://earthquake.usgs.gov/fdsnws/event/1/>) and as its published service code behaves: times are
//! cut to whole seconds, both ends of every range are inclusive, an empty value counts as absent, the last of a repeated
//! parameter counts. Of the formats only GeoJSON is spoken.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::json;
use url::form_urlencoded;

use super::feed::{Feed, FeedEvent};

/// The most events that one answer holds.
pub const LIMIT_MAX: u64 = 20_000;
/// Without `starttime` the service looks back this far.
const DEFAULT_REACH_MS: i64 = 30 * 24 * 3600 * 1000;
/// The service's version at the time of the shipped feed.
pub const VERSION: &str = "1.5.8";

/// A checked query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventQuery {
    /// Milliseconds since 1970, inclusive, compared with an event's `time`.
    start: i64,
    end: Option<i64>,
    /// Inclusive, compared with an event's `updated`.
    updated_after: Option<i64>,
    order: EventOrder,
    limit: Option<u64>,
    /// Counted from 1.
    offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventOrder {
    Time,
    TimeAscending,
    Magnitude,
    MagnitudeAscending,
}

/// What stands before the features, in the service's order.
#[derive(Serialize)]
struct Metadata<'a> {
    generated: i64,
    url: &'a str,
    title: &'static str,
    status: u16,
    api: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    count: usize,
}

impl EventQuery {
    /// Reads a query string. The error is the sentence that the service answers with status 400.
    pub fn parse(query: &str, now: Timestamp) -> Result<Self, String> {
        let mut parsed = EventQuery {
            start: now.as_millisecond().saturating_sub(DEFAULT_REACH_MS),
            end: None,
            updated_after: None,
            order: EventOrder::Time,
            limit: None,
            offset: 1,
        };
        let mut format = "quakeml".to_owned();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            match &*name {
                "format" => format = value.into_owned(),
                "starttime" | "start" => parsed.start = time(&name, &value)?,
                "endtime" | "end" => parsed.end = Some(time(&name, &value)?),
                "updatedafter" => parsed.updated_after = Some(time(&name, &value)?),
                "orderby" => parsed.order = order(&value)?,
                // The documentation says [1, 20000].
                "limit" => parsed.limit = Some(integer(&name, &value, Some(LIMIT_MAX))?),
                "offset" => parsed.offset = integer(&name, &value, None)?,
                _ => return Err(format!("Unknown parameter \"{name}\".")),
            }
        }
        match format.as_str() {
            "geojson" => Ok(parsed),
            other => Err(format!("Bad format value \"{other}\". Valid values are: \"geojson\".")),
        }
    }

    fn takes(&self, event: &FeedEvent, now_ms: i64) -> bool {
        // The catalogue knows an event's present form only since it was last updated.
        event.updated <= now_ms
            && event.time >= self.start
            && self.end.is_none_or(|end| event.time <= end)
            && self.updated_after.is_none_or(|after| event.updated >= after)
    }

    /// The answer's body. The error is the sentence that the service answers with status 400.
    pub fn answer(&self, feed: &Feed, now: Timestamp, address: &str) -> Result<String, String> {
        let now_ms = now.as_millisecond();
        let mut found: Vec<&FeedEvent> = feed.events().iter().filter(|event| self.takes(event, now_ms)).collect();
        if self.limit.is_none() && found.len() as u64 > LIMIT_MAX {
            return Err(format!(
                "{} matching events exceeds search limit of {LIMIT_MAX}. Modify the search to match fewer events.",
                found.len()
            ));
        }
        // Stable: events that tie keep the feed's order, so that pages neither repeat nor skip one.
        found.sort_by(|a, b| self.order.compare(a, b));
        let skip = usize::try_from(self.offset - 1).unwrap_or(usize::MAX);
        let take = self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let page: Vec<&FeedEvent> = found.into_iter().skip(skip).take(take).collect();
        Ok(self.write(feed, &page, now, address))
    }

    fn write(&self, feed: &Feed, page: &[&FeedEvent], now: Timestamp, address: &str) -> String {
        let metadata = Metadata {
            generated: now.as_second() * 1000,
            url: address,
            title: "USGS Earthquakes",
            status: 200,
            api: VERSION,
            limit: self.limit,
            offset: self.limit.map(|_| self.offset),
            count: page.len(),
        };
        // Strings and numbers always have a JSON form.
        let metadata = serde_json::to_string(&metadata).unwrap_or_default();
        let mut body = format!("{{\"type\":\"FeatureCollection\",\"metadata\":{metadata},\"features\":[");
        for (index, event) in page.iter().enumerate() {
            if index > 0 {
                body.push_str(",\n");
            }
            body.push_str(feed.text(event));
        }
        body.push(']');
        if let Some(bounds) = bounding_box(page) {
            body.push_str(",\"bbox\":");
            body.push_str(&json!(bounds).to_string());
        }
        body.push('}');
        body
    }
}

impl EventOrder {
    fn compare(self, a: &FeedEvent, b: &FeedEvent) -> Ordering {
        match self {
            EventOrder::Time => b.time.cmp(&a.time),
            EventOrder::TimeAscending => a.time.cmp(&b.time),
            EventOrder::Magnitude => compare_magnitude(b, a),
            EventOrder::MagnitudeAscending => compare_magnitude(a, b),
        }
    }
}

/// An event without a magnitude is weaker than any other.
fn compare_magnitude(a: &FeedEvent, b: &FeedEvent) -> Ordering {
    match (a.magnitude, b.magnitude) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// West, south, least depth, east, north, greatest depth; nothing where that is no box.
fn bounding_box(page: &[&FeedEvent]) -> Option<[f64; 6]> {
    let mut low = [f64::INFINITY; 3];
    let mut high = [f64::NEG_INFINITY; 3];
    for coordinates in page.iter().filter_map(|event| event.coordinates) {
        for axis in 0..3 {
            low[axis] = low[axis].min(coordinates[axis]);
            high[axis] = high[axis].max(coordinates[axis]);
        }
    }
    let is_box = (0..3).all(|axis| low[axis] < high[axis]);
    is_box.then_some([low[0], low[1], low[2], high[0], high[1], high[2]])
}

/// The text of an error answer, as the service writes it.
pub fn error_text(status: &str, message: &str, request: &str, now: Timestamp, usage: &str) -> String {
    let submitted = now.strftime("%Y-%m-%dT%H:%M:%S+00:00");
    format!(
        "Error {status}\n\n{message}\n\nUsage details are available from {usage}\n\nRequest:\n{request}\n\n\
         Request Submitted:\n{submitted}\n\nService version:\n{VERSION}\n"
    )
}

/// A time as milliseconds since 1970, cut to whole seconds; without a zone it is UTC.
fn time(name: &str, value: &str) -> Result<i64, String> {
    let bad = || format!("Bad {name} value \"{value}\". Valid values are ISO-8601 timestamps.");
    let instant = match value.parse::<Timestamp>() {
        Ok(instant) => instant,
        Err(_) => {
            let local: DateTime = value.parse().map_err(|_| bad())?;
            local.to_zoned(TimeZone::UTC).map_err(|_| bad())?.timestamp()
        }
    };
    Ok(instant.as_millisecond().div_euclid(1000) * 1000)
}

fn order(value: &str) -> Result<EventOrder, String> {
    match value {
        "time" => Ok(EventOrder::Time),
        "time-asc" => Ok(EventOrder::TimeAscending),
        "magnitude" => Ok(EventOrder::Magnitude),
        "magnitude-asc" => Ok(EventOrder::MagnitudeAscending),
        _ => Err(format!(
            "Bad orderby value \"{value}\". Valid values are: \"time\", \"time-asc\", \"magnitude\", \"magnitude-asc\"."
        )),
    }
}

fn integer(name: &str, value: &str, largest: Option<u64>) -> Result<u64, String> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse::<u64>().ok().filter(|number| digits && *number >= 1);
    let number = number.filter(|number| largest.is_none_or(|largest| *number <= largest));
    number.ok_or_else(|| {
        let upper = largest.map(|largest| format!(" <= {largest}")).unwrap_or_default();
        format!("Bad {name} value \"{value}\". Valid values are 1 <= {name}{upper}")
    })
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
