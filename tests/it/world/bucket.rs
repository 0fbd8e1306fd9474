//! An S3 bucket for a test: on the server that `tests/run` started, directly or through a gate that can close.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use tokio::sync::oneshot;

use super::{api, setting};

/// A bucket of its own; `None` where there is no server.
pub struct Bucket {
    pub endpoint: String,
    pub name: String,
}

impl Bucket {
    pub fn new() -> Option<Self> {
        let endpoint = setting("HIGHWATER_TEST_S3")?;
        let name = format!("lake-{}", uuid::Uuid::now_v7());
        let status = block_on(reqwest::Client::new().put(format!("{endpoint}/{name}")).send()).unwrap().status();
        assert!(status.is_success(), "make bucket {name}: {status}");
        Some(Bucket { endpoint, name })
    }

    /// The keys of all objects, as the server lists them.
    pub fn objects(&self) -> std::collections::BTreeSet<String> {
        let address = format!("{}/{}?list-type=2", self.endpoint, self.name);
        let text = block_on(async { reqwest::get(address).await.unwrap().text().await.unwrap() });
        text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()).map(str::to_owned).collect()
    }

    /// An object's bytes, if it is there.
    pub fn get(&self, key: &str) -> Option<bytes::Bytes> {
        block_on(async {
            let answer = self.asked(reqwest::Method::GET, key).await;
            assert!(answer.status().is_success() || answer.status() == 404, "get {key}: {}", answer.status());
            if answer.status() == 404 { None } else { Some(answer.bytes().await.unwrap()) }
        })
    }

    pub fn delete(&self, key: &str) {
        let status = block_on(self.asked(reqwest::Method::DELETE, key)).status();
        assert!(status.is_success(), "delete {key}: {status}");
    }

    async fn asked(&self, method: reqwest::Method, key: &str) -> reqwest::Response {
        let address = format!("{}/{}/{}", self.endpoint, self.name, key.replace('%', "%25"));
        // The server asks who it is and believes what it is told.
        let who = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=none";
        reqwest::Client::new().request(method, address).header("authorization", who).send().await.unwrap()
    }

    /// The table `items` of that sink, as compare.py names places.
    pub fn place(&self) -> serde_json::Value {
        serde_json::json!({ "endpoint": self.endpoint, "bucket": self.name, "prefix": "raw/items" })
    }

    /// A sink's file for this bucket, reached at `endpoint`.
    pub fn sink(&self, endpoint: &str) -> String {
        format!(
            "version = 1\ntype = \"parquet\"\nurl = \"s3://{}/raw\"\n[storage]\nendpoint = \"{endpoint}\"\nregion = \"us-east-1\"\nallow_http = \"true\"\n\
             access_key_id = {{ env = \"TEST_S3_KEY\" }}\nsecret_access_key = {{ env = \"TEST_S3_SECRET\" }}\n",
            self.name
        )
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What the gate does with requests that change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Gate {
    Open = 0,
    /// 403, as for a bucket that may only be read.
    ReadOnly = 1,
    /// Decisions (`PUT` with `If-None-Match`) that were applied are answered with a 500.
    LosesAnswers = 2,
}

/// A proxy in front of an S3 server that can apply a request and lose its answer, or forbid writing.
pub struct S3Gate {
    address: SocketAddr,
    gate: Arc<AtomicU8>,
    /// Requests that were spoiled.
    spoiled: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl S3Gate {
    pub fn before(endpoint: &str) -> Self {
        let gate = Arc::new(AtomicU8::new(Gate::Open as u8));
        let spoiled = Arc::new(AtomicU64::new(0));
        let (client, endpoint) = (reqwest::Client::new(), endpoint.to_owned());
        let (shared, count) = (gate.clone(), spoiled.clone());
        let router = axum::Router::new().fallback(move |request: Request| {
            let (client, endpoint, gate, count) = (client.clone(), endpoint.clone(), shared.clone(), count.clone());
            async move { pass(client, endpoint, gate.load(Ordering::SeqCst), &count, request).await }
        });
        let (address, stop, thread) = api::serve(router);
        S3Gate { address, gate, spoiled, stop: Some(stop), thread: Some(thread) }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, gate: Gate) {
        self.gate.store(gate as u8, Ordering::SeqCst);
    }

    pub fn spoiled(&self) -> u64 {
        self.spoiled.load(Ordering::SeqCst)
    }
}

impl Drop for S3Gate {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the gate ends without a panic");
        }
    }
}

fn refusal(status: StatusCode, code: &str) -> Response {
    let body =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>said the gate</Message></Error>");
    Response::builder().status(status).header("content-type", "application/xml").body(Body::from(body)).unwrap()
}

async fn pass(client: reqwest::Client, endpoint: String, gate: u8, spoiled: &AtomicU64, request: Request) -> Response {
    let changes = matches!(*request.method(), Method::PUT | Method::POST | Method::DELETE);
    if gate == Gate::ReadOnly as u8 && changes {
        spoiled.fetch_add(1, Ordering::SeqCst);
        return refusal(StatusCode::FORBIDDEN, "AccessDenied");
    }
    let (parts, body) = request.into_parts();
    let decides = parts.method == Method::PUT && parts.headers.contains_key("if-none-match");
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let target = format!("{endpoint}{}", parts.uri.path_and_query().map_or("/", |path| path.as_str()));
    let mut headers = parts.headers;
    headers.remove("host");
    let is_head = parts.method == Method::HEAD;
    let answer = client.request(parts.method, target).headers(headers).body(bytes).send().await.unwrap();
    if gate == Gate::LosesAnswers as u8 && decides && answer.status().is_success() {
        spoiled.fetch_add(1, Ordering::SeqCst);
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    }
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        // Of HEAD the length is all there is; elsewhere the body brings its own.
        if name != "transfer-encoding" && (is_head || name != "content-length") {
            response = response.header(name, value);
        }
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}
