//! From a request to its answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use jiff::Timestamp;

use super::{Fault, Inner, Pages, Record, Seen, Stream};

pub async fn answer(inner: Arc<Mutex<Inner>>, request: Request) -> Response {
    let seen = look_at(&request);
    let (mut response, fault) = {
        let mut inner = inner.lock().unwrap();
        let number = inner.seen.len() as u64;
        inner.seen.push(seen.clone());
        let fault = inner.faults.iter().find(|(requests, _)| requests.contains(&number)).map(|(_, fault)| fault.clone());
        let mut response = match inner.streams.get(seen.path.trim_start_matches('/')) {
            Some(stream) => page(stream, &seen),
            None => json(StatusCode::NOT_FOUND, "{\"message\":\"no such stream\"}".to_owned()),
        };
        // Hyper adds a date of its own where none is set.
        let now = inner.now.unwrap();
        response.headers_mut().insert(header::DATE, HeaderValue::from_str(&http_date(now)).unwrap());
        (response, fault)
    };
    if let Some(fault) = fault {
        let date = response.headers()[header::DATE].clone();
        response = spoil(response, fault, &seen).await;
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

/// RFC 9110, 5.6.7.
fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn look_at(request: &Request) -> Seen {
    let query = url::form_urlencoded::parse(request.uri().query().unwrap_or("").as_bytes()).into_owned().collect();
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    Seen { at: machine_time(), path: request.uri().path().to_owned(), query, headers: headers.collect() }
}

#[expect(clippy::disallowed_methods, reason = "how long a client waited is told by the real clock")]
fn machine_time() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}

fn json(status: StatusCode, body: String) -> Response {
    Response::builder().status(status).header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap()
}

async fn spoil(response: Response, fault: Fault, seen: &Seen) -> Response {
    match fault {
        Fault::TooMany { retry_after } => {
            let mut response = json(StatusCode::TOO_MANY_REQUESTS, "{\"message\":\"slow down\"}".to_owned());
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
            response
        }
        Fault::Status(status) => {
            let echoed = seen.headers.get("authorization").cloned().unwrap_or_default();
            json(StatusCode::from_u16(status).unwrap(), format!("{{\"message\":\"no\",\"you_sent\":\"{echoed}\"}}"))
        }
        Fault::CutBody => {
            let (parts, half) = half(response).await;
            let chunks = [Ok(half), Err(std::io::Error::other("the connection ends here"))];
            Response::from_parts(parts, Body::from_stream(futures::stream::iter(chunks)))
        }
        Fault::CutJson => {
            let (parts, half) = half(response).await;
            Response::from_parts(parts, Body::from(half))
        }
        Fault::Html => {
            let body = "<!DOCTYPE html>\n<html><body><h1>Please sign in</h1></body></html>";
            Response::builder().header(header::CONTENT_TYPE, "text/html").body(Body::from(body)).unwrap()
        }
        Fault::Slow(length) => {
            wait(length).await;
            response
        }
        Fault::WrongType => json(StatusCode::OK, "{\"data\":7}".to_owned()),
        Fault::Redirect(to) => {
            Response::builder().status(StatusCode::FOUND).header(header::LOCATION, to).body(Body::empty()).unwrap()
        }
    }
}

async fn half(response: Response) -> (axum::http::response::Parts, Bytes) {
    let (parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (parts, whole.slice(..whole.len() / 2))
}

#[expect(clippy::disallowed_methods, reason = "a slow server is slow in real time")]
async fn wait(length: Duration) {
    tokio::time::sleep(length).await;
}

/// The records that the request's `from` and `to` ask for, by cursor; ties and records without one in the order they were given.
fn matching<'a>(stream: &'a Stream, query: &BTreeMap<String, String>) -> Vec<&'a Record> {
    let bound = |name: &str| {
        query.get(name).map(|text| text.parse::<Timestamp>().unwrap_or_else(|_| panic!("the API does not read `{text}`")))
    };
    let (from, to) = (bound("from"), bound("to"));
    let inside =
        |record: &&Record| record.cursor.is_none_or(|at| from.is_none_or(|from| from <= at) && to.is_none_or(|to| at < to));
    let mut found: Vec<&Record> = stream.records.iter().filter(inside).collect();
    found.sort_by_key(|record| record.cursor);
    found
}

fn page(stream: &Stream, seen: &Seen) -> Response {
    let number = |name: &str, default: usize| seen.query.get(name).map_or(default, |text| text.parse().unwrap_or(default));
    let found = matching(stream, &seen.query);
    let size = if stream.pages == Pages::None { found.len().max(1) } else { stream.page_size };
    let start = match stream.pages {
        Pages::None => 0,
        Pages::Page => (number("page", 1) - 1) * size,
        Pages::Offset => number("offset", 0),
        // Never the same page twice in a row.
        Pages::Endless => number("token", 0) % found.len().max(1),
        Pages::SameToken => 0,
        _ => number("token", 0),
    };
    let start = start.min(found.len());
    let end = (start + size).min(found.len());
    let more = end < found.len();
    let texts: Vec<&str> = found[start..end].iter().map(|record| record.json.as_str()).collect();
    let records = format!("[{}]", texts.join(",\n"));
    let link = more.then(|| next_address(seen, end));
    if stream.pages == Pages::LinkHeader {
        let mut response = json(StatusCode::OK, records);
        if let Some(link) = link {
            let value = format!("<{link}>; rel=\"next\", <{link}>; rel=\"last\"");
            response.headers_mut().insert(header::LINK, HeaderValue::from_str(&value).unwrap());
        }
        return response;
    }
    let token = match stream.pages {
        Pages::Token if more => format!("\"{end}\""),
        Pages::Endless => format!("\"{}\"", number("token", 0) + 1),
        Pages::SameToken => "\"again\"".to_owned(),
        _ => "null".to_owned(),
    };
    let next = match &stream.pages {
        Pages::NextUrlIs(address) => format!("\"{address}\""),
        Pages::NextUrl => link.map_or("null".to_owned(), |link| format!("\"{link}\"")),
        _ => "null".to_owned(),
    };
    let (total, pages) = (found.len(), found.len().div_ceil(size));
    json(
        StatusCode::OK,
        format!(
            "{{\"total\":{total},\"total_pages\":{pages},\"more\":{more},\"next_token\":{token},\"next\":{next},\"data\":{records}}}"
        ),
    )
}

fn next_address(seen: &Seen, token: usize) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in seen.query.iter().filter(|(name, _)| *name != "token") {
        query.append_pair(name, value);
    }
    query.append_pair("token", &token.to_string());
    format!("http://{}{}?{}", seen.headers["host"], seen.path, query.finish())
}
