//! The first half of decoding: a page's body unpacked, written as JSON, and put on a tape. It hangs on nothing that pages before it have
//! brought, so that it can be done before a page's turn, wherever there is time.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::page::{Envelope, RawPage};

use super::carry::carry;
use super::read::envelope_of;
use super::spec::Plan;
use super::tape::Tape;
use super::{DecodeError, DecodeSpec, format, unpack, whole};

/// Tapes that are kept for pages to come.
const TAPES_MAX: usize = 8;

/// Parses the pages of one stream, several at a time.
#[derive(Clone, Debug)]
pub struct Parser {
    plan: Arc<Plan>,
    tapes: Arc<Mutex<Vec<Tape>>>,
}

/// A page's body as JSON, and its tape; or why there is none.
#[derive(Debug)]
pub struct Parsed {
    /// The body as it was unpacked, for messages.
    pub body: Bytes,
    /// JSON without byte order mark.
    pub json: Bytes,
    /// Where in it each record must start, if that is known beforehand.
    pub starts: Option<Vec<u32>>,
    pub tape: Result<LentTape, DecodeError>,
}

/// A tape that goes back to be used again. Tapes also know the keys of the pages before.
#[derive(Debug)]
pub struct LentTape {
    pub tape: Tape,
    home: Arc<Mutex<Vec<Tape>>>,
}

impl Drop for LentTape {
    fn drop(&mut self) {
        let mut home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if home.len() < TAPES_MAX {
            home.push(std::mem::take(&mut self.tape));
        }
    }
}

impl Parser {
    /// An error of kind `Config` names a declaration that cannot hold.
    pub fn new(spec: &DecodeSpec) -> Result<Self, DecodeError> {
        Ok(Parser { plan: Arc::new(Plan::new(spec)?), tapes: Arc::default() })
    }

    pub(super) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The error is of a body that cannot be unpacked or written as JSON. Takes the processor as long as the page is large.
    pub fn parse(&self, page: &RawPage) -> Result<Parsed, DecodeError> {
        let body = unpack::unpack(&page.body, self.plan.packing, self.plan.body_max)?;
        let format::Text { mut json, starts } = format::to_json(&body, &self.plan)?;
        if let Some(carried) = &page.carried
            && let Some(written) = carry(&json, &self.plan, carried)?
        {
            json = written;
        }
        let tape = self.tapes.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let mut lent = LentTape { tape, home: Arc::clone(&self.tapes) };
        let tape = whole::fill(&mut lent.tape, &json).map(|()| lent);
        Ok(Parsed { body, json, starts, tape })
    }

    /// What a page says besides its records, where these are where they should be; whether they are what they should be is not looked at.
    pub fn envelope(&self, parsed: &Parsed) -> Option<Envelope> {
        let lent = parsed.tape.as_ref().ok()?;
        envelope_of(&lent.tape, &parsed.json, &self.plan).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Decoder;
    use crate::decode::fixture::{page, spec};
    use crate::page::Prepared;

    #[test]
    fn what_is_parsed_before_its_turn_comes_to_the_same() {
        let parser = Parser::new(&spec()).unwrap();
        let (mut one, mut other) = [(); 2].map(|()| Decoder::new(spec(), None).unwrap()).into();
        let bodies = [
            r#"[{"id":1,"user":{"id":7,"name":"a"},"tags":["x"]},{"id":2,"user":null,"more":"\u00e9"}]"#,
            r#"[{"user":{"name":"b","id":8},"id":"three"},{"id":4,"user":{"id":9}}]"#,
            "[]",
            r#"[{"id":1,"user":{"id":"#,
            "<html>busy</html>",
            "[{\"id\":1},{\"id\":2}] and more",
        ];
        for body in bodies.into_iter().cycle().take(2 * bodies.len()) {
            let now = page(body);
            let before = RawPage { prepared: Prepared::of(parser.parse(&now).unwrap()), ..now.clone() };
            let (now, before) = (one.decode(&now), other.decode(&before));
            assert_eq!(format!("{:?}", now.map(|decoded| decoded.rows)), format!("{:?}", before.map(|decoded| decoded.rows)));
        }
        assert_eq!(parser.tapes.lock().unwrap().len(), 1, "it comes back each time");
    }
}
