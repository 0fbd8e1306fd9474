//! From a request to its answer: who asks, for which stream, and whether it goes wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;

use super::description::{Canned, Description, Errors, In, Require, Stream};
use super::pages::{page, text, token};
use super::records::{get, instant};
use super::{Fault, Inner, exports};

/// A request, read.
pub struct Ask {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: String,
    json: Value,
    /// The server's own address.
    pub host: String,
}

impl Ask {
    async fn of(request: Request) -> Self {
        let query = request.uri().query().unwrap_or("").as_bytes().to_vec();
        let query = url::form_urlencoded::parse(&query).into_owned().collect();
        let headers = request.headers().iter();
        let headers: BTreeMap<String, String> =
            headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect();
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let host = format!("http://{}", headers["host"]);
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let json = serde_json::from_str(&body).unwrap_or(Value::Null);
        Ask { method, path, query, headers, body, json, host }
    }

    /// An entry of the query, or of the JSON body by its dotted path, as text.
    pub fn entry(&self, place: In, name: &str) -> Option<String> {
        match place {
            In::Query => self.query.get(name).cloned(),
            In::Json => get(&self.json, name).filter(|value| !value.is_null()).map(text),
        }
    }

    /// What stands in the path where `pattern` has `{name}`.
    pub fn segment(&self, pattern: &str, name: &str) -> Option<&str> {
        let wanted = format!("{{{name}}}");
        pattern.split('/').zip(self.path.split('/')).find(|(step, _)| *step == wanted).map(|(_, segment)| segment)
    }

    /// The same path and query with one entry replaced.
    pub fn with(&self, name: &str, value: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.query.iter().filter(|(other, _)| *other != name)).append_pair(name, value);
        format!("{}?{}", self.path, query.finish())
    }

    pub fn is_at(&self, pattern: &str) -> bool {
        let (steps, segments): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), self.path.split('/').collect());
        steps.len() == segments.len()
            && steps.iter().zip(&segments).all(|(step, segment)| step.starts_with('{') || step == segment)
    }

    /// What a request lacks of what it must carry; how much it has of it, if nothing.
    pub fn fulfils(&self, require: &Require) -> Result<usize, String> {
        let mut lacks: Vec<String> = Vec::new();
        let mut must = |holds: bool, what: &str| {
            if !holds {
                lacks.push(what.to_owned())
            }
        };
        require.query.iter().for_each(|(name, value)| must(self.query.get(name) == Some(value), name));
        require.headers.iter().for_each(|(name, value)| must(self.headers.get(&name.to_lowercase()) == Some(value), name));
        require.json.iter().for_each(|(path, value)| must(get(&self.json, path) == Some(value), path));
        let decoded = |part: &str| self.query.values().any(|value| value.contains(part)) || self.body.contains(part);
        require.contains.iter().for_each(|part| must(decoded(part), part));
        let count = require.query.len() + require.headers.len() + require.json.len() + require.contains.len();
        if lacks.is_empty() { Ok(count) } else { Err(lacks.join(", ")) }
    }
}

/// An answer before it goes out.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn new(status: u16, body: String) -> Self {
        Reply { status, headers: Vec::new(), body }
    }

    pub fn of(canned: &Canned) -> Self {
        Reply { status: canned.status, headers: canned.headers.clone().into_iter().collect(), body: canned.body.clone() }
    }

    /// The request is not what the documentation says.
    pub fn wrong(why: &str) -> Self {
        Reply::new(400, serde_json::json!({ "fake": why }).to_string())
    }
}

pub(super) async fn answer(inner: Arc<Mutex<Inner>>, request: Request) -> Response {
    let ask = Ask::of(request).await;
    let meant = whose(&inner.lock().unwrap(), &ask);
    if let Ok((name, _)) = &meant
        && !is_let_through(&mut inner.lock().unwrap(), name)
    {
        std::future::pending::<()>().await;
    }
    let mut inner = inner.lock().unwrap();
    let (stream, reply, is_cut) = match meant {
        Ok((name, wish)) => reply(&mut inner, name, wish.as_ref(), &ask),
        Err((name, reply)) => (name, *reply, false),
    };
    inner.asked.push((stream, reply.status));
    let mut response = Response::builder().status(reply.status).header(header::CONTENT_TYPE, "application/json");
    // Two days after the newest record: every day with a record is over.
    let now = instant(inner.steps) + jiff::SignedDuration::from_hours(48);
    response = response.header(header::DATE, now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let body = Bytes::from(reply.body);
    let half = body.slice(..body.len() / 2);
    response
        .body(match is_cut {
            false => Body::from(body),
            true => Body::from_stream(futures::stream::iter([Ok(half), Err(std::io::Error::other("the connection ends here"))])),
        })
        .unwrap()
}

/// The stream that is asked for, and what of its export; else what is answered without one.
fn whose(inner: &Inner, ask: &Ask) -> Result<(String, Option<exports::Wish>), (String, Box<Reply>)> {
    let Description { auth, errors, .. } = &inner.description;
    let no = |name: &str, reply: Reply| Err((name.to_owned(), Box::new(reply)));
    if let Some(request) = auth.token.as_ref().filter(|token| ask.method == "POST" && ask.path == token.path) {
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(ask.body.as_bytes()).into_owned().collect();
        let is_right = request.form.iter().all(|(name, value)| form.get(name) == Some(value));
        return no("token", if is_right { Reply::new(200, request.answer.clone()) } else { unauthorized(errors) });
    }
    let is_let_in = match (&auth.header, &auth.query) {
        (Some(header), _) => ask.headers.get(&header.to_lowercase()) == Some(&auth.value),
        (None, Some(query)) => ask.query.get(query) == Some(&auth.value),
        (None, None) => true,
    };
    if !is_let_in {
        return no("", unauthorized(errors));
    }
    match exports::wish(inner, ask) {
        Some(Ok((name, wish))) => Ok((name, Some(wish))),
        Some(Err(why)) => no("", Reply::wrong(&why)),
        None => which(inner, ask).map(|name| (name, None)).or_else(|why| no("", Reply::wrong(&why))),
    }
}

fn unauthorized(errors: &Errors) -> Reply {
    Reply::of(errors.unauthorized.as_ref().expect("who wants a secret says what a wrong one is answered with"))
}

/// Whether the stream answers, or keeps whoever asks waiting.
fn is_let_through(inner: &mut Inner, name: &str) -> bool {
    let Some(hold) = &mut inner.hold else { return true };
    let answered = hold.answered.entry(name.to_owned()).or_default();
    *answered += 1;
    if *answered > hold.after {
        hold.waiting.insert(name.to_owned());
    }
    *answered <= hold.after
}

/// The stream that was asked for, what it answers, and whether that is cut.
fn reply(inner: &mut Inner, name: String, wish: Option<&exports::Wish>, ask: &Ask) -> (String, Reply, bool) {
    match inner.faults.get_mut(&name).and_then(|faults| faults.pop_front()) {
        Some(Fault::Throttled) => (name, Reply::of(&inner.description.errors.throttled), false),
        Some(Fault::Failed) => (name, Reply::of(&inner.description.errors.failed), false),
        Some(Fault::Spent) => {
            let spent = inner.description.errors.spent.as_ref().expect("the vendor says what a spent allowance is answered with");
            (name, Reply::of(spent), false)
        }
        Some(Fault::Told(number)) => (name, Reply::of(&inner.description.answers[number].canned()), false),
        fault => {
            let reply = match wish {
                Some(wish) => exports::answer(inner, &name, wish, ask),
                None => page(inner, &name, ask),
            };
            (name, reply, fault == Some(Fault::Cut))
        }
    }
}

/// The stream whose next page it is, or whose `require` it fits best.
fn which(inner: &Inner, ask: &Ask) -> Result<String, String> {
    let mut best: Option<(usize, &String)> = None;
    let mut why = format!("no stream is at {} {}", ask.method, ask.path);
    for (name, stream) in &inner.description.streams {
        if is_next(inner, name, stream, ask) {
            return Ok(name.clone());
        }
        if stream.method != ask.method || !ask.is_at(&stream.path) {
            continue;
        }
        match ask.fulfils(&stream.require) {
            Ok(count) if best.is_none_or(|(most, _)| count > most) => best = Some((count, name)),
            Ok(_) => {}
            Err(lacks) => why = format!("{name} needs {lacks}"),
        }
    }
    best.map(|(_, name)| name.clone()).ok_or(why)
}

fn is_next(inner: &Inner, name: &str, stream: &Stream, ask: &Ask) -> bool {
    let next_path = stream.paging.next_path.as_ref().unwrap_or(&stream.path);
    ask.method == stream.method
        && ask.is_at(next_path)
        && token(inner, &stream.paging, ask).is_some_and(|number| inner.tokens[number].stream == name)
}
