//! The records of a page as they came.

use bytes::Bytes;

/// A page as JSON, and where in it each record stands. Whoever keeps one copies it: a part of the page would keep all of it alive.
#[derive(Clone, Debug, Default)]
pub struct RawRecords {
    json: Bytes,
    /// Of each record, by its place, its first byte and the one behind its last.
    spans: Vec<(u32, u32)>,
}

impl RawRecords {
    pub(super) fn new(json: Bytes, spans: Vec<(u32, u32)>) -> Self {
        RawRecords { json, spans }
    }

    #[cfg(test)]
    pub fn of(records: impl Iterator<Item = String>) -> Self {
        let (mut json, mut spans) = (String::new(), Vec::new());
        for record in records {
            spans.push((json.len() as u32, (json.len() + record.len()) as u32));
            json.push_str(&record);
        }
        RawRecords::new(json.into(), spans)
    }

    /// The whole page as JSON: a JSON body itself, where nothing is packed.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The bytes of the record at a place, counted from 0; none where there is no such record.
    pub fn get(&self, place: u64) -> &[u8] {
        let span = usize::try_from(place).ok().and_then(|place| self.spans.get(place));
        span.and_then(|(from, to)| self.json.get(*from as usize..*to as usize)).unwrap_or_default()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.spans.len() as u64).map(|place| self.get(place))
    }
}
