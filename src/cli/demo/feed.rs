//! A GeoJSON feed as the USGS publishes it, indexed and otherwise left as it came: every event is served with its own text.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The week of real events that the demo serves.
const SHIPPED: &str = include_str!("feed.geojson");

/// A feed is held in memory as a whole.
const SIZE_MAX: u64 = 1 << 30;

/// The events of a feed.
#[derive(Debug)]
pub struct Feed {
    text: String,
    /// In the feed's order.
    events: Vec<FeedEvent>,
}

/// What the API's parameters look at in an event.
#[derive(Clone, Debug)]
pub struct FeedEvent {
    /// Where its JSON text stands in the feed.
    place: Range<usize>,
    /// Milliseconds since 1970, when it happened; an event that does not say stands at `updated`.
    pub time: i64,
    /// Milliseconds since 1970, when the catalogue last changed it.
    pub updated: i64,
    pub magnitude: Option<f64>,
    /// Longitude, latitude, depth.
    pub coordinates: Option<[f64; 3]>,
}

#[derive(Deserialize)]
struct RawCollection<'a> {
    #[serde(borrow)]
    features: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawFeature<'a> {
    #[serde(borrow)]
    properties: RawProperties<'a>,
    #[serde(borrow, default)]
    geometry: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawProperties<'a> {
    #[serde(borrow)]
    updated: &'a RawValue,
    #[serde(borrow, default)]
    time: Option<&'a RawValue>,
    #[serde(borrow, default)]
    mag: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawGeometry {
    coordinates: [f64; 3],
}

impl Feed {
    /// The feed that ships with the program.
    pub fn shipped() -> Result<Self, String> {
        Feed::parse(SHIPPED.to_owned())
    }

    /// The error says what is wrong with the file, and where.
    pub fn open(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let file = File::open(path).map_err(|error| format!("open feed `{name}`: {error}"))?;
        let mut text = String::new();
        let read = file.take(SIZE_MAX + 1).read_to_string(&mut text);
        read.map_err(|error| format!("read feed `{name}`: {error}"))?;
        if text.len() as u64 > SIZE_MAX {
            return Err(format!("feed `{name}` is larger than 1 GiB"));
        }
        Feed::parse(text).map_err(|error| format!("feed `{name}`: {error}"))
    }

    pub fn parse(text: String) -> Result<Self, String> {
        let collection: RawCollection =
            serde_json::from_str(&text).map_err(|error| format!("not a GeoJSON feature collection: {error}"))?;
        if collection.features.is_empty() {
            return Err("it has no features".to_owned());
        }
        let mut events = Vec::with_capacity(collection.features.len());
        for (index, feature) in collection.features.iter().enumerate() {
            let event = FeedEvent::parse(feature, &text).map_err(|error| format!("features[{index}]{error}"))?;
            events.push(event);
        }
        Ok(Feed { text, events })
    }

    pub fn events(&self) -> &[FeedEvent] {
        &self.events
    }

    /// The event's JSON, byte for byte.
    pub fn text(&self, event: &FeedEvent) -> &str {
        &self.text[event.place.clone()]
    }

    /// The first and the last `updated` of the feed.
    pub fn updated_range(&self) -> (i64, i64) {
        let first = self.events.iter().map(|event| event.updated).min().unwrap_or_default();
        let last = self.events.iter().map(|event| event.updated).max().unwrap_or_default();
        (first, last)
    }

    /// How many different ids there are; events without one count as one.
    pub fn distinct_ids(&self) -> u64 {
        #[derive(Deserialize)]
        struct Identified<'a> {
            #[serde(borrow, default)]
            id: Option<&'a RawValue>,
        }
        let id = |event: &FeedEvent| {
            // The text was parsed before; its form cannot have changed.
            let identified = serde_json::from_str::<Identified>(self.text(event)).ok();
            identified.and_then(|one| one.id).map(|id| id.get())
        };
        self.events.iter().map(id).collect::<BTreeSet<_>>().len() as u64
    }

    /// When the earliest event happened.
    pub fn first_time(&self) -> i64 {
        self.events.iter().map(|event| event.time).min().unwrap_or_default()
    }
}

impl FeedEvent {
    /// The error is the end of a sentence that begins with the event's place.
    fn parse(feature: &RawValue, text: &str) -> Result<Self, String> {
        let raw: RawFeature = serde_json::from_str(feature.get()).map_err(|error| format!(": {error}"))?;
        let updated = milliseconds(raw.properties.updated)
            .ok_or_else(|| format!(".properties.updated: not epoch milliseconds: `{}`", raw.properties.updated))?;
        let time = match raw.properties.time {
            None => updated,
            Some(time) => milliseconds(time).ok_or_else(|| format!(".properties.time: not epoch milliseconds: `{time}`"))?,
        };
        // Both borrow from the same text, so the difference of their addresses is the event's place in it.
        let start = feature.get().as_ptr() as usize - text.as_ptr() as usize;
        Ok(FeedEvent {
            place: start..start + feature.get().len(),
            time,
            updated,
            magnitude: raw.properties.mag.and_then(|mag| mag.get().parse().ok()),
            // Only the answer's bounding box looks at them; a feature of another shape has none.
            coordinates: raw
                .geometry
                .and_then(|geometry| serde_json::from_str::<RawGeometry>(geometry.get()).ok())
                .map(|geometry| geometry.coordinates),
        })
    }
}

/// Epoch milliseconds that a calendar can show: within the years -9999 to 9999.
fn milliseconds(value: &RawValue) -> Option<i64> {
    let number: i64 = value.get().parse().ok()?;
    jiff::Timestamp::from_millisecond(number).ok().map(|_| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(text: &str) -> String {
        Feed::parse(text.to_owned()).map(|_| ()).expect_err("refused")
    }

    #[test]
    fn the_shipped_feed_is_the_week_of_1707_events() {
        let feed = Feed::shipped().expect("shipped feed");
        assert_eq!((feed.events().len(), feed.distinct_ids()), (1707, 1707));
        assert_eq!(feed.updated_range(), (1_517_365_391_235, 1_517_967_904_877));
        assert_eq!(feed.first_time(), 1_517_363_399_650);
        let first = &feed.events()[0];
        assert!(feed.text(first).starts_with(r#"{"type":"Feature","properties":{"mag":2,"place":"4km W of Castaic"#));
        assert!(feed.text(first).ends_with(r#""id":"ci37868143"}"#));
        assert_eq!(first.magnitude, Some(2.0));
        assert_eq!(first.coordinates, Some([-118.6671667, 34.4945, 26.49]));
    }

    #[test]
    fn numbers_that_no_float_holds_keep_their_text() {
        let text =
            r#"{"features":[ {"properties":{"updated":1,"mag":1e400,"big":9223372036854775808,"x":0.10},"geometry":[1]} ]}"#;
        let feed = Feed::parse(text.to_owned()).expect("feed");
        let event = &feed.events()[0];
        assert_eq!(
            feed.text(event),
            r#"{"properties":{"updated":1,"mag":1e400,"big":9223372036854775808,"x":0.10},"geometry":[1]}"#
        );
        assert_eq!((event.time, event.coordinates), (1, None));
    }

    #[test]
    fn another_file_is_refused_with_the_place_of_what_is_wrong() {
        assert!(refuse("<html>").starts_with("not a GeoJSON feature collection: "));
        assert!(refuse("{}").contains("missing field `features`"));
        assert_eq!(refuse(r#"{"features":[]}"#), "it has no features");
        assert!(refuse(r#"{"features":[{"properties":{"time":1}}]}"#).starts_with("features[0]: missing field `updated`"));
        assert_eq!(
            refuse(r#"{"features":[{"properties":{"updated":1}},{"properties":{"updated":"2018"}}]}"#),
            "features[1].properties.updated: not epoch milliseconds: `\"2018\"`"
        );
        assert_eq!(
            refuse(r#"{"features":[{"properties":{"updated":1,"time":1.5}}]}"#),
            "features[0].properties.time: not epoch milliseconds: `1.5`"
        );
        assert!(refuse(r#"{"features":[{"properties":{"updated":9223372036854775807}}]}"#).contains("properties.updated"));
    }
}
