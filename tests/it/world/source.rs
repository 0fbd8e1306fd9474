//! A source without a network: scripted records, cut into pages, on a clock that stands still.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use highwater::page::{Captured, Envelope, PageAt, PagePosition, RawPage, ResponsePath};
use highwater::slice::{Reach, Slice};
use highwater::source::{FetchError, Judgement, Source};
use http::HeaderMap;
use jiff::Timestamp;

use super::api::Record;

pub struct FakeSource {
    pub records: Vec<Record>,
    pub page_size: usize,
    pub now: Timestamp,
}

impl FakeSource {
    /// Records without a cursor come with every slice that begins at the window's start, so that they are there once.
    fn of<'a>(&'a self, slice: &'a Slice) -> impl Iterator<Item = &'a Record> {
        let of_set = move |index: usize| match slice.partition.as_str() {
            "account=even" => index.is_multiple_of(2),
            "account=odd" => index % 2 == 1,
            _ => true,
        };
        let numbered = self.records.iter().enumerate();
        numbered.filter(move |(index, _)| of_set(*index)).map(|(_, record)| record).filter(move |record| {
            match (&slice.reach, record.cursor) {
                (Reach::Time(span), Some(at)) => span.contains(at),
                (Reach::Time(span), None) => span.from == self.records.iter().filter_map(|record| record.cursor).min(),
                _ => true,
            }
        })
    }
}

fn more() -> ResponsePath {
    ResponsePath::Body(vec!["more".to_owned()])
}

#[async_trait]
impl Source for FakeSource {
    fn clean(&self, message: String, _body: &[u8]) -> String {
        message
    }

    async fn fetch(&self, slice: &Slice, at: &PagePosition, _attempt: u32) -> Result<RawPage, FetchError> {
        let skipped = usize::try_from(at.records_before).unwrap();
        let texts: Vec<&str> = self.of(slice).skip(skipped).take(self.page_size).map(|record| record.json.as_str()).collect();
        let more = self.of(slice).count() > skipped + texts.len();
        Ok(RawPage {
            position: at.clone(),
            status: 200,
            headers: HeaderMap::new(),
            body: Bytes::from(format!("{{\"more\":{more},\"data\":[{}]}}", texts.join(","))),
            received_at: self.now,
            source_now: Some(self.now),
            address: "fake://items".to_owned(),
            ..RawPage::nothing()
        })
    }

    fn requests(&self) -> u64 {
        0
    }

    fn wanted(&self) -> Vec<ResponsePath> {
        vec![more()]
    }

    fn judge(&self, _envelope: &Envelope) -> Judgement {
        Judgement::Records
    }

    fn next(
        &self,
        _slice: &Slice,
        at: &PagePosition,
        envelope: &Envelope,
        _headers: &HeaderMap,
    ) -> Result<Option<PagePosition>, FetchError> {
        let captured: &BTreeMap<ResponsePath, Captured> = &envelope.captured;
        let goes_on = captured.get(&more()) == Some(&Captured::Boolean(true));
        Ok(goes_on.then(|| at.after(envelope.records, PageAt::Number(at.index + 1))))
    }
}
