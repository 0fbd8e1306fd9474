//! A server that answers as a test's own function says: for APIs that the scripted one cannot be.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use tokio::sync::oneshot;

use super::api::serve;

/// The entries of a query; a body stands as it came under [`BODY`].
pub type Query = BTreeMap<String, String>;

pub const BODY: &str = "-body";

/// What the desk says to a query, and to which path: status and body.
type Answer = Box<dyn Fn(&str, &Query) -> (u16, Value) + Send>;

struct Inner {
    answer: Answer,
    date: String,
    asked: Vec<Query>,
    gives_tags: bool,
    unchanged: usize,
}

pub struct Desk {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Desk {
    /// Starts on a free port, its clock at noon of 2026-03-01.
    pub fn start(answer: impl Fn(&str, &Query) -> (u16, Value) + Send + 'static) -> Self {
        let date = "Sun, 01 Mar 2026 12:00:00 GMT".to_owned();
        let inner =
            Arc::new(Mutex::new(Inner { answer: Box::new(answer), date, asked: Vec::new(), gives_tags: false, unchanged: 0 }));
        let shared = inner.clone();
        let (address, stop, thread) = serve(axum::Router::new().fallback(move |request| say(shared.clone(), request)));
        Desk { address, inner, stop: Some(stop), thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it answers so.
    pub fn answer(&self, answer: impl Fn(&str, &Query) -> (u16, Value) + Send + 'static) {
        self.inner.lock().unwrap().answer = Box::new(answer);
    }

    /// From now on its clock stands here, as RFC 9110 writes it.
    pub fn set_date(&self, date: &str) {
        self.inner.lock().unwrap().date = date.to_owned();
    }

    /// From now on each answer has a tag that stands for its body, and who shows that tag is told that nothing has changed.
    pub fn give_tags(&self) {
        self.inner.lock().unwrap().gives_tags = true;
    }

    /// How often it was told since this was last called.
    pub fn unchanged(&self) -> usize {
        std::mem::take(&mut self.inner.lock().unwrap().unchanged)
    }

    /// The queries since this was last called.
    pub fn asked(&self) -> Vec<Query> {
        std::mem::take(&mut self.inner.lock().unwrap().asked)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the desk closes without a panic");
        }
    }
}

async fn say(inner: Arc<Mutex<Inner>>, request: Request) -> Response {
    let mut query: Query = url::form_urlencoded::parse(request.uri().query().unwrap_or("").as_bytes()).into_owned().collect();
    let (request, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    if !body.is_empty() {
        query.insert(BODY.to_owned(), String::from_utf8(body.to_vec()).unwrap());
    }
    let mut inner = inner.lock().unwrap();
    let (status, body) = (inner.answer)(request.uri.path(), &query);
    inner.asked.push(query);
    let (body, mut answer) = (body.to_string(), Response::builder().header(header::DATE, &inner.date));
    if inner.gives_tags && status == 200 {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let tag = format!("W/\"{:x}\"", hasher.finish());
        answer = answer.header(header::ETAG, &tag);
        if request.headers.get(header::IF_NONE_MATCH).is_some_and(|shown| shown.as_bytes() == tag.as_bytes()) {
            inner.unchanged += 1;
            return answer.status(StatusCode::NOT_MODIFIED).body(Body::empty()).unwrap();
        }
    }
    answer
        .status(StatusCode::from_u16(status).unwrap())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .unwrap()
}
