//! A proxy before an S3 server that makes the network and the store misbehave: by a list of faults, or by chance from a seed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use base64::Engine;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::dice::Dice;

/// Longer than the client's patience in a test that wants it to run out.
const HANG: Duration = Duration::from_secs(6);

/// Which requests a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A put-if-absent into a dataset's log.
    Decide,
    /// A commit to a Delta table's log.
    Expose,
    Copy,
    /// The same, and not to try the store out.
    Publish,
    /// A put of a staged file.
    Stage,
    Get,
    List,
    /// A listing of anything but a Delta table's log.
    ListOwn,
    /// The end of an upload in parts.
    Complete,
    /// Whatever changes something.
    Change,
    All,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Applied, and answered with a 500.
    LostAnswer,
    /// Applied, and the connection ends without an answer.
    Reset,
    /// Applied, and no answer comes.
    Hang,
    /// Not applied: 409, although nothing is there.
    Conflict,
    /// Not applied: 503 SlowDown.
    SlowDown,
    /// Not applied: 507, as a server whose disks are full answers.
    Full,
    /// Not applied: 403, as for a bucket that may only be read.
    Denied,
    /// Applied whatever is there: the condition is not looked at.
    Careless,
    /// Not applied: 400 ExpiredToken.
    Expired,
    /// Not applied: 301 without the right address.
    Moved,
    /// Not applied: 400, as S3 answers whoever signs for another region than the bucket's.
    WrongRegion,
    /// Not applied: 200, and an error in the body.
    ErrorInSuccess,
    /// The right answer, whose body ends half way.
    CutBody,
    /// A byte of the request is changed on the way. The server checks sums as S3 does, which the emulator leaves out.
    Spoilt,
    /// The answer says that it was copied; half of it was.
    HalfCopy,
    /// Listings show nothing.
    EmptyListing,
}

/// A fault for the next `times` requests that it is for.
#[derive(Clone, Copy, Debug)]
pub struct Rule(pub On, pub Fault, pub u64);

#[derive(Default)]
struct Inner {
    rules: VecDeque<Rule>,
    storm: Option<(Dice, u64)>,
    seen: u64,
    spoiled: u64,
}

/// The proxy; it stops when it is dropped.
pub struct Weather {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Weather {
    pub fn before(endpoint: &str) -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (shared, endpoint) = (inner.clone(), endpoint.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, stopped, shared, endpoint));
            runtime.shutdown_background();
        });
        Weather { address, inner, stop: Some(stop), thread: Some(thread) }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on these faults and no others.
    pub fn set(&self, rules: &[Rule]) {
        let mut inner = self.inner.lock().unwrap();
        inner.rules = rules.iter().copied().collect();
        inner.storm = None;
    }

    /// From now on one request in so many goes wrong, in a way that is possible for it.
    pub fn storm(&self, seed: u64, one_in: u64) {
        let mut inner = self.inner.lock().unwrap();
        inner.rules.clear();
        inner.storm = Some((Dice::new(seed), one_in));
    }

    pub fn calm(&self) {
        self.set(&[]);
    }

    /// Requests that came, and how many of them went wrong.
    pub fn counts(&self) -> (u64, u64) {
        let inner = self.inner.lock().unwrap();
        (inner.seen, inner.spoiled)
    }
}

impl Drop for Weather {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the weather ends without a panic");
        }
    }
}

async fn serve(listener: std::net::TcpListener, mut stopped: oneshot::Receiver<()>, inner: Arc<Mutex<Inner>>, endpoint: String) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let client = reqwest::Client::new();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = &mut stopped => return,
        };
        let (inner, endpoint, client) = (inner.clone(), endpoint.clone(), client.clone());
        let service = service_fn(move |request| {
            let (inner, endpoint, client) = (inner.clone(), endpoint.clone(), client.clone());
            async move { pass(&client, &endpoint, &inner, request).await }
        });
        connections.spawn(async move {
            // An error of the service is a connection that ends without an answer.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            Ok::<(), Infallible>(())
        });
    }
}

fn is_for(on: On, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let puts = *method == Method::PUT;
    let changes = !matches!(*method, Method::GET | Method::HEAD);
    match on {
        On::Decide => puts && headers.contains_key("if-none-match") && path.contains("/log/"),
        On::Expose => puts && headers.contains_key("if-none-match") && path.contains("/_delta_log/"),
        On::Copy => puts && headers.contains_key("x-amz-copy-source"),
        On::Publish => is_for(On::Copy, method, uri, headers) && !path.contains("/probe/"),
        On::Stage => puts && path.contains("/staging/"),
        On::List => *method == Method::GET && query.contains("list-type"),
        On::ListOwn => is_for(On::List, method, uri, headers) && !query.contains("_delta_log"),
        On::Get => *method == Method::GET && !query.contains("list-type"),
        On::Complete => *method == Method::POST && query.contains("uploadId"),
        On::Change => changes,
        On::All => true,
    }
}

/// What may befall a request in a storm.
fn befalls(dice: &mut Dice, method: &Method, uri: &Uri, headers: &HeaderMap) -> Fault {
    let is = |on| is_for(on, method, uri, headers);
    let anything = [Fault::LostAnswer, Fault::Reset, Fault::SlowDown];
    let faults: &[Fault] = match () {
        () if is(On::Decide) || is(On::Expose) => {
            &[Fault::LostAnswer, Fault::Reset, Fault::SlowDown, Fault::Conflict, Fault::Conflict]
        }
        () if is(On::Get) => &[Fault::Reset, Fault::SlowDown, Fault::CutBody],
        () if is(On::List) => &[Fault::EmptyListing],
        () if is(On::Stage) => &[Fault::LostAnswer, Fault::Reset, Fault::SlowDown, Fault::Spoilt],
        () => &anything,
    };
    *dice.pick(faults)
}

impl Inner {
    fn next(&mut self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Fault> {
        self.seen += 1;
        let mut found = None;
        if let Some((dice, one_in)) = &mut self.storm {
            found = dice.once_in(*one_in).then(|| befalls(dice, method, uri, headers));
        }
        if let Some(at) = self.rules.iter().position(|rule| is_for(rule.0, method, uri, headers)) {
            let rule = &mut self.rules[at];
            found = Some(rule.1);
            rule.2 -= 1;
            if rule.2 == 0 {
                self.rules.remove(at);
            }
        }
        self.spoiled += u64::from(found.is_some());
        found
    }
}

fn said(status: StatusCode, code: &str) -> Response<Body> {
    said_more(status, code, "")
}

fn said_more(status: StatusCode, code: &str, more: &str) -> Response<Body> {
    let body = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>said the weather</Message>{more}</Error>");
    Response::builder().status(status).header("content-type", "application/xml").body(Body::from(body)).unwrap()
}

/// The request as it is sent on.
struct Sent<'a> {
    client: &'a reqwest::Client,
    endpoint: &'a str,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Sent<'_> {
    async fn send(&self) -> Response<Body> {
        let target = format!("{}{}", self.endpoint, self.uri.path_and_query().map_or("/", |path| path.as_str()));
        let mut headers = self.headers.clone();
        headers.remove("host");
        headers.remove("content-length");
        let answer =
            self.client.request(self.method.clone(), target).headers(headers).body(self.body.clone()).send().await.unwrap();
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            // Of HEAD the length is all there is; elsewhere the body brings its own.
            if name != "transfer-encoding" && (self.method == Method::HEAD || name != "content-length") {
                response = response.header(name, value);
            }
        }
        response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
    }

    /// Half of the origin, at the target.
    async fn half_copy(mut self) -> Response<Body> {
        let source = self.headers.remove("x-amz-copy-source").unwrap();
        let source = source.to_str().unwrap().trim_start_matches('/').to_owned();
        let whole = self.client.get(format!("{}/{source}", self.endpoint)).send().await.unwrap().bytes().await.unwrap();
        self.body = whole.slice(..whole.len() / 2);
        self.send().await;
        let body = "<CopyObjectResult><LastModified>2026-03-01T00:00:00Z</LastModified><ETag>\"half\"</ETag></CopyObjectResult>";
        Response::builder().body(Body::from(body)).unwrap()
    }
}

async fn pass(
    client: &reqwest::Client,
    endpoint: &str,
    inner: &Mutex<Inner>,
    request: Request<Incoming>,
) -> Result<Response<Body>, io::Error> {
    let (parts, body) = request.into_parts();
    let fault = inner.lock().unwrap().next(&parts.method, &parts.uri, &parts.headers);
    let body = axum::body::to_bytes(Body::new(body), usize::MAX).await.map_err(io::Error::other)?;
    let mut sent = Sent { client, endpoint, method: parts.method, uri: parts.uri, headers: parts.headers, body };
    let Some(fault) = fault else { return Ok(sent.send().await) };
    Ok(match fault {
        Fault::LostAnswer => {
            sent.send().await;
            said(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
        }
        Fault::Reset => {
            sent.send().await;
            return Err(io::Error::other("the connection ends here"));
        }
        Fault::Hang => {
            sent.send().await;
            super::pause(HANG).await;
            return Err(io::Error::other("nobody waits any more"));
        }
        Fault::Conflict => said(StatusCode::CONFLICT, "ConditionalRequestConflict"),
        Fault::SlowDown => said(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        Fault::Full => said(StatusCode::INSUFFICIENT_STORAGE, "XMinioStorageFull"),
        Fault::Denied => said(StatusCode::FORBIDDEN, "AccessDenied"),
        Fault::Careless => {
            sent.headers.remove("if-none-match");
            sent.send().await
        }
        Fault::Expired => said(StatusCode::BAD_REQUEST, "ExpiredToken"),
        Fault::Moved => said(StatusCode::MOVED_PERMANENTLY, "PermanentRedirect"),
        Fault::WrongRegion => said_more(StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
        Fault::ErrorInSuccess => said(StatusCode::OK, "InternalError"),
        Fault::CutBody => cut(sent.send().await).await,
        Fault::Spoilt => {
            let mut bytes = sent.body.to_vec();
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
            let sum = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&bytes));
            if sent.headers.get("x-amz-checksum-sha256").is_some_and(|told| told.to_str().unwrap() != sum) {
                return Ok(said(StatusCode::BAD_REQUEST, "BadDigest"));
            }
            sent.body = Bytes::from(bytes);
            sent.send().await
        }
        Fault::HalfCopy => sent.half_copy().await,
        Fault::EmptyListing => {
            Response::builder().body(Body::from("<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>")).unwrap()
        }
    })
}

/// The head of an answer with its true length, and half of its body.
async fn cut(answer: Response<Body>) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    parts.headers.insert("content-length", whole.len().into());
    let half = whole.slice(..whole.len() / 2);
    let pieces = futures::stream::iter([Ok(half), Err(io::Error::other("the connection ends here"))]);
    Response::from_parts(parts, Body::from_stream(pieces))
}
