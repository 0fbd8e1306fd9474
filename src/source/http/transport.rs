//! The one way to an answer: the network, the network with a tape beside it, or a recording.

use ::http::{HeaderMap, Method};
use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{Client, Response};
use url::Url;

use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::source::FetchError;

use super::failure::Failure;
use super::gunzip::gunzipped;
use super::recording::{self, Found, Wire};
use super::redact::Redactor;
use super::request::Request;

#[derive(Clone)]
pub(super) struct Transport {
    /// None where nothing is to be sent.
    client: Option<Client>,
    wire: Wire,
}

/// A request with its credential on it, and what it was before.
pub(super) struct Sending<'a> {
    pub(super) request: &'a Request,
    /// Without the credential.
    pub(super) url: &'a Url,
    /// Without the credential.
    pub(super) plain: &'a HeaderMap,
    pub(super) target: Url,
    pub(super) headers: HeaderMap,
    pub(super) body_max: u64,
}

/// When an answer was complete, where it was taken down then.
#[derive(Clone, Copy)]
pub(super) struct TakenDown(pub(super) Timestamp);

/// Why there is no answer.
pub(super) enum Unsent {
    Network(reqwest::Error),
    Recording(FetchError),
}

impl Unsent {
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Unsent::Network(error) if error.is_timeout())
    }

    pub(super) fn explain(self, url: &Url) -> Failure {
        match self {
            Unsent::Network(error) => Failure::transport(url, error),
            Unsent::Recording(error) => error.into(),
        }
    }
}

impl Transport {
    pub(super) fn new(client: Client, wire: Wire) -> Self {
        Transport { client: Some(client), wire }
    }

    /// From a recording: there is no client that could send anything.
    pub(super) fn offline(wire: Wire) -> Self {
        Transport { client: None, wire }
    }

    /// The network, for what is never kept: requests for tokens.
    pub(super) fn client(&self) -> Result<&Client, FetchError> {
        self.client.as_ref().ok_or_else(|| FetchError::new(ErrorKind::Bug, "a replay wanted to send a request"))
    }

    pub(super) async fn send(&self, sending: Sending<'_>, redactor: &Redactor, clock: &dyn Clock) -> Result<Response, Unsent> {
        let asked = |hidden: Option<&str>| recording::asked(sending.request, sending.url, sending.plain, hidden, redactor);
        if let Wire::Replay(recording) = &self.wire {
            let asked = asked(recording.hidden());
            return recording.answer(&asked).and_then(answered).map_err(Unsent::Recording);
        }
        let kept = match &self.wire {
            Wire::Record(tape) => Some((tape, asked(tape.hidden()))),
            _ => None,
        };
        let method: Method = sending.request.method.clone();
        let mut builder = self.client().map_err(Unsent::Recording)?.request(method, sending.target).headers(sending.headers);
        if let Some(payload) = &sending.request.payload {
            builder = builder.body(payload.bytes.clone());
        }
        let response = gunzipped(builder.send().await.map_err(Unsent::Network)?);
        let Some((tape, asked)) = kept else { return Ok(response) };
        let (status, headers) = (response.status(), response.headers().clone());
        let (body, is_whole) = read(response, sending.body_max).await.map_err(Unsent::Network)?;
        let at = clock.now();
        if is_whole {
            tape.keep(asked, (status, &headers, &body), at, redactor);
        }
        let mut response = ::http::Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        response.extensions_mut().insert(TakenDown(at));
        Ok(Response::from(response))
    }
}

/// The body, and whether it is all of it: of what is too large one byte more than allowed comes, for whoever refuses it.
async fn read(mut response: Response, body_max: u64) -> Result<(Bytes, bool), reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() as u64 > body_max {
            body.truncate(usize::try_from(body_max.saturating_add(1)).unwrap_or(usize::MAX));
            return Ok((Bytes::from(body), false));
        }
    }
    Ok((Bytes::from(body), true))
}

/// An answer from a recording as the network would have brought it.
fn answered(found: Found<'_>) -> Result<Response, FetchError> {
    let Found { head, body } = found;
    let bad = |error: ::http::Error| FetchError::new(ErrorKind::Data, format!("the recording is damaged: {error}"));
    let mut builder = ::http::Response::builder().status(head.answer.status);
    for (name, value) in &head.answer.headers {
        // The body stands there as it is, whatever it was when it was sent.
        if !["content-length", "content-encoding", "transfer-encoding"].contains(&name.as_str()) {
            builder = builder.header(name, value);
        }
    }
    let mut response = builder.body(body).map_err(bad)?;
    response.extensions_mut().insert(TakenDown(head.answer.at));
    Ok(Response::from(response))
}
