//! A real server on the loopback interface that answers like an API: scripted streams, every kind of paging, faults on demand.

mod answer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

/// One record: its JSON text as the API sends it, and what the API orders and filters by.
#[derive(Clone, Debug)]
pub struct Record {
    pub json: String,
    /// The value of the cursor field; records without one are always sent.
    pub cursor: Option<Timestamp>,
}

/// How a stream is paged, and under which names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Everything in one answer.
    None,
    /// `?page=` from 1; the body tells `total`, `total_pages` and `more`.
    Page,
    /// `?offset=` from 0 and `?limit=`.
    Offset,
    /// `?token=`; the body's `next_token`.
    Token,
    /// The body's `next` is the next page's address.
    NextUrl,
    /// The body is the bare list; the `Link` header has the next page's address.
    LinkHeader,
    /// A new token for ever, and always the same records.
    Endless,
    /// The next token is the one just used.
    SameToken,
    /// The body's `next` is this address.
    NextUrlIs(String),
}

/// A stream of the API at `/<name>`; `?from=` and `?to=` (RFC 3339) cut by cursor, half-open.
#[derive(Clone, Debug)]
pub struct Stream {
    pub pages: Pages,
    pub page_size: usize,
    pub records: Vec<Record>,
}

/// What may go wrong with one answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// 429 with `Retry-After` in seconds.
    TooMany { retry_after: u64 },
    /// Any status, with a JSON body that echoes the request's credentials as bad APIs do.
    Status(u16),
    /// The right answer, but the connection ends half way through the body.
    CutBody,
    /// A whole answer with a status of success whose JSON ends half way.
    CutJson,
    /// 200 and a page of HTML.
    Html,
    /// The right answer after this time.
    Slow(Duration),
    /// 200 and a body where the records' list is a number.
    WrongType,
    /// 302 to this address.
    Redirect(String),
}

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Since the Unix epoch, by the machine's clock.
    pub at: Duration,
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

#[derive(Default)]
struct Inner {
    now: Option<Timestamp>,
    streams: BTreeMap<String, Stream>,
    /// Faults by the number of the request, counted from 0.
    faults: Vec<(std::ops::Range<u64>, Fault)>,
    seen: Vec<Seen>,
}

/// The server. It stops when it is dropped.
pub struct FakeApi {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeApi {
    /// Starts on a free port; `now` is what its `Date` header says until it is set anew.
    pub fn start(now: &str) -> Self {
        let inner = Arc::new(Mutex::new(Inner { now: Some(now.parse().expect("an RFC 3339 time")), ..Inner::default() }));
        let shared = inner.clone();
        let (address, stop, thread) = serve(axum::Router::new().fallback(move |request| answer::answer(shared.clone(), request)));
        FakeApi { address, inner, stop: Some(stop), thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set_now(&self, now: &str) {
        self.inner.lock().unwrap().now = Some(now.parse().expect("an RFC 3339 time"));
    }

    pub fn put_stream(&self, name: &str, stream: Stream) {
        self.inner.lock().unwrap().streams.insert(name.to_owned(), stream);
    }

    pub fn add_records(&self, name: &str, records: impl IntoIterator<Item = Record>) {
        self.inner.lock().unwrap().streams.get_mut(name).unwrap().records.extend(records);
    }

    /// The requests with these numbers, counted from the next one, go wrong.
    pub fn fail(&self, requests: std::ops::Range<u64>, fault: Fault) {
        let mut inner = self.inner.lock().unwrap();
        let base = inner.seen.len() as u64;
        let end = requests.end.saturating_add(base);
        inner.faults.push((requests.start + base..end, fault));
    }

    /// From now on nothing goes wrong.
    pub fn heal(&self) {
        self.inner.lock().unwrap().faults.clear();
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.inner.lock().unwrap().seen.clone()
    }

    /// When each request came, by the machine's clock.
    pub fn seen_at(&self) -> Vec<Duration> {
        self.seen().iter().map(|seen| seen.at).collect()
    }

    /// Forgets the requests seen so far.
    pub fn forget(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.seen.clear();
        inner.faults.clear();
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the fake API ends without a panic");
        }
    }
}

/// Serves on a free port from a thread of its own, so that tests with and without a runtime can use it.
pub fn serve(router: axum::Router) -> (SocketAddr, oneshot::Sender<()>, std::thread::JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            tokio::select! {
                result = async { axum::serve(listener, router).await } => result.unwrap(),
                _ = stopped => {}
            }
        });
        // Connections that a client keeps open must not hold up the end.
        runtime.shutdown_background();
    });
    (address, stop, thread)
}
