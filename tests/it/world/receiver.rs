//! A webhook's other end: a real server that keeps what it is told and answers as it is bidden.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use tokio::sync::oneshot;

use super::api::serve;
use super::pause;

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub text: String,
    /// Names and values as they came, in one text.
    pub headers: String,
}

/// A status, and headers beside it.
pub type Reply = (u16, Vec<(&'static str, String)>);

#[derive(Default)]
struct Inner {
    received: Vec<Received>,
    replies: VecDeque<Reply>,
    silent: bool,
    late: Duration,
}

/// The server. It stops when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    pub fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let shared = Arc::clone(&inner);
        let (address, stop, thread) = serve(axum::Router::new().fallback(move |request| answer(Arc::clone(&shared), request)));
        Receiver { address, inner, stop: Some(stop), thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next messages are answered like this, then all with 200.
    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.inner.lock().unwrap().replies.extend(replies);
    }

    /// From now on nobody is answered.
    pub fn fall_silent(&self) {
        self.inner.lock().unwrap().silent = true;
    }

    /// From now on each message is answered so long after it came.
    pub fn answer_after(&self, late: Duration) {
        self.inner.lock().unwrap().late = late;
    }

    pub fn received(&self) -> Vec<Received> {
        self.inner.lock().unwrap().received.clone()
    }

    pub fn texts(&self) -> Vec<String> {
        self.received().into_iter().map(|received| received.text).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the receiver ends without a panic");
        }
    }
}

async fn answer(inner: Arc<Mutex<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let message: serde_json::Value = serde_json::from_slice(&body).expect("a message is JSON");
    let text = message["text"].as_str().expect("a message has a text").to_owned();
    let headers = format!("{} {:?}", parts.method, parts.headers);
    let (reply, silent, late) = {
        let mut inner = inner.lock().unwrap();
        inner.received.push(Received { path: parts.uri.path().to_owned(), text, headers });
        (inner.replies.pop_front(), inner.silent, inner.late)
    };
    pause(late).await;
    if silent {
        std::future::pending::<()>().await;
    }
    let (status, headers) = reply.unwrap_or((200, Vec::new()));
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from("ok")).unwrap()
}
