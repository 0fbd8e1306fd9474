//! A Google Cloud Storage of its own for a test: the calls of the XML interface that a client of tables makes, with generations.
//! The emulators that there are ignore preconditions, so a table in one of them would prove nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use highwater::clock::{Clock, SystemClock};
use tokio::sync::oneshot;

use super::api;

const BUCKET: &str = "lake";
const TOKEN: &str = "google-token";
/// Objects of one page of a listing: few, so that listings are continued.
const LISTED: usize = 7;

struct Object {
    bytes: Bytes,
    /// Counts every write to the bucket.
    generation: u64,
    modified: jiff::Timestamp,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, BTreeMap<u32, Bytes>>,
    writes: u64,
    /// As the emulators do: the header is taken for nothing.
    ignores_preconditions: bool,
}

/// The server; it stops when it is dropped.
pub struct FakeGcs {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeGcs {
    pub fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let shared = inner.clone();
        let router = axum::Router::new().fallback(move |request: Request| answer(shared.clone(), request));
        let (address, stop, thread) = api::serve(router);
        FakeGcs { address, inner, stop: Some(stop), thread: Some(thread) }
    }

    /// One that answers as emulators do which know no preconditions.
    pub fn careless() -> Self {
        let fake = FakeGcs::start();
        fake.inner.lock().unwrap().ignores_preconditions = true;
        fake
    }

    /// A sink's file for its bucket; the token is in the environment of every call.
    pub fn sink(&self) -> String {
        format!(
            "version = 1\ntype = \"parquet\"\nurl = \"gs://{BUCKET}/raw\"\n[storage]\nbase_url = \"http://{}\"\nallow_http = true\n\
             bearer_token = {{ env = \"TEST_GCS_TOKEN\" }}\n",
            self.address
        )
    }

    pub fn objects(&self) -> Vec<String> {
        self.inner.lock().unwrap().objects.keys().cloned().collect()
    }

    /// What lies below `raw/`, as files, for readers that know nothing of Google.
    pub fn mirror(&self, folder: &Path) {
        for (name, object) in &self.inner.lock().unwrap().objects {
            let Some(below) = name.strip_prefix("raw/") else { continue };
            let target = folder.join(below);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::write(target, &object.bytes).unwrap();
        }
    }
}

impl Drop for FakeGcs {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the fake ends without a panic");
        }
    }
}

fn error(status: StatusCode, code: &str) -> Response {
    let body =
        format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>said the fake</Message></Error>");
    Response::builder().status(status).body(Body::from(body)).unwrap()
}

fn etag(bytes: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

fn queried(query: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

async fn answer(inner: Arc<Mutex<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 28).await.unwrap();
    if parts.headers.get("authorization").is_none_or(|value| value != &format!("Bearer {TOKEN}")) {
        return error(StatusCode::UNAUTHORIZED, "AuthenticationRequired");
    }
    let query = queried(parts.uri.query().unwrap_or_default());
    let (bucket, name) = parts.uri.path()[1..].split_once('/').unwrap_or((&parts.uri.path()[1..], ""));
    if decoded(bucket) != BUCKET {
        return error(StatusCode::NOT_FOUND, "NoSuchBucket");
    }
    let (name, mut inner) = (decoded(name), inner.lock().unwrap());
    match (parts.method, name.as_str()) {
        (Method::GET, "") => inner.list(&query),
        (Method::GET, name) => inner.get(name, &parts.headers, true),
        (Method::HEAD, name) => inner.get(name, &parts.headers, false),
        (Method::PUT, name) if query.contains_key("partNumber") => inner.part(name, &query, body),
        (Method::PUT, name) => inner.put(name, &parts.headers, body),
        (Method::POST, name) if query.contains_key("uploads") => inner.initiate(name),
        (Method::POST, name) => inner.complete(name, &query, &body),
        (Method::DELETE, _) if query.contains_key("uploadId") => {
            inner.uploads.remove(&query["uploadId"]);
            Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty()).unwrap()
        }
        (Method::DELETE, name) => match inner.objects.remove(name) {
            Some(_) => Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty()).unwrap(),
            None => error(StatusCode::NOT_FOUND, "NoSuchKey"),
        },
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    }
}

impl Inner {
    fn write(&mut self, name: &str, bytes: Bytes) -> axum::http::response::Builder {
        self.writes += 1;
        let tag = etag(&bytes);
        let object = Object { bytes, generation: self.writes, modified: SystemClock::new().now() };
        self.objects.insert(name.to_owned(), object);
        Response::builder().header("etag", tag).header("x-goog-generation", self.writes)
    }

    /// <https://cloud.google.com/storage/docs/xml-api/put-object-upload>
    fn put(&mut self, name: &str, headers: &HeaderMap, body: Bytes) -> Response {
        let found = self.objects.get(name).map_or(0, |object| object.generation);
        let wanted = headers.get("x-goog-if-generation-match").map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
        if !self.ignores_preconditions && wanted.is_some_and(|wanted| wanted != found) {
            return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
        }
        let Some(source) = headers.get("x-goog-copy-source") else {
            return self.write(name, body).body(Body::empty()).unwrap();
        };
        let source = source.to_str().unwrap();
        let source = decoded(source.split_once('/').unwrap().1);
        let Some(object) = self.objects.get(&source) else { return error(StatusCode::NOT_FOUND, "NoSuchKey") };
        let bytes = object.bytes.clone();
        self.write(name, bytes).body(Body::from("<CopyObjectResult/>")).unwrap()
    }

    fn get(&self, name: &str, headers: &HeaderMap, with_body: bool) -> Response {
        let Some(object) = self.objects.get(name) else { return error(StatusCode::NOT_FOUND, "NoSuchKey") };
        let modified = object.modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let mut response = Response::builder()
            .header("etag", etag(&object.bytes))
            .header("last-modified", modified)
            .header("x-goog-generation", object.generation);
        let mut bytes = object.bytes.clone();
        if let Some(range) = headers.get("range") {
            let (from, to) = range.to_str().unwrap().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            let (from, size) = (from.parse::<usize>().unwrap(), bytes.len());
            let to = to.parse::<usize>().map_or(size, |to| size.min(to + 1));
            if from >= size {
                return error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
            }
            response = response.status(206).header("content-range", format!("bytes {from}-{}/{size}", to - 1));
            bytes = bytes.slice(from..to);
        }
        response = response.header("content-length", bytes.len());
        response.body(if with_body { Body::from(bytes) } else { Body::empty() }).unwrap()
    }

    /// <https://cloud.google.com/storage/docs/xml-api/get-bucket-list>
    fn list(&self, query: &BTreeMap<String, String>) -> Response {
        let text = |key: &str| query.get(key).cloned().unwrap_or_default();
        let (prefix, after) = (text("prefix"), text("continuation-token").max(text("start-after")));
        let mut found = self.objects.iter().filter(|(name, _)| name.starts_with(&prefix) && **name > after).peekable();
        let mut body = "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult>".to_owned();
        let mut last = String::new();
        for (name, object) in found.by_ref().take(LISTED) {
            last.clone_from(name);
            let escaped = name.replace('&', "&amp;").replace('<', "&lt;");
            body += &format!(
                "<Contents><Key>{escaped}</Key><Generation>{}</Generation><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                object.generation,
                object.modified.strftime("%Y-%m-%dT%H:%M:%S.%3fZ"),
                etag(&object.bytes),
                object.bytes.len()
            );
        }
        if found.peek().is_some() {
            let token = last.replace('&', "&amp;").replace('<', "&lt;");
            body += &format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>");
        }
        Response::builder().body(Body::from(body + "</ListBucketResult>")).unwrap()
    }

    /// <https://cloud.google.com/storage/docs/xml-api/post-object-multipart>
    fn initiate(&mut self, name: &str) -> Response {
        self.writes += 1;
        let id = format!("upload-{}", self.writes);
        self.uploads.insert(id.clone(), BTreeMap::new());
        let body =
            format!("<InitiateMultipartUploadResult><Key>{name}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
        Response::builder().body(Body::from(body)).unwrap()
    }

    fn part(&mut self, _name: &str, query: &BTreeMap<String, String>, body: Bytes) -> Response {
        let Some(upload) = self.uploads.get_mut(&query["uploadId"]) else { return error(StatusCode::NOT_FOUND, "NoSuchUpload") };
        let tag = etag(&body);
        upload.insert(query["partNumber"].parse().unwrap(), body);
        Response::builder().header("etag", tag).body(Body::empty()).unwrap()
    }

    fn complete(&mut self, name: &str, query: &BTreeMap<String, String>, list: &Bytes) -> Response {
        let Some(parts) = self.uploads.remove(&query["uploadId"]) else { return error(StatusCode::NOT_FOUND, "NoSuchUpload") };
        let list = String::from_utf8_lossy(list);
        let whole: Vec<u8> = parts.values().flatten().copied().collect();
        let all_named = parts.values().all(|part| list.contains(etag(part).trim_matches('"')));
        let long_enough = parts.values().rev().skip(1).all(|part| part.len() >= 5 << 20);
        if !all_named || !long_enough {
            return error(StatusCode::BAD_REQUEST, "InvalidPart");
        }
        let tag = etag(&whole);
        let body =
            format!("<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>", tag.trim_matches('"'));
        self.write(name, Bytes::from(whole)).body(Body::from(body)).unwrap()
    }
}
