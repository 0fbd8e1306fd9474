//! A local replica of the USGS event service: its protocol over a feed, a rate limit, and a clock of its own that reveals
//! events as they were updated.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode, header};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::stop::Stop;

use super::feed::Feed;
use super::protocol::{EventQuery, error_text};

/// Where the service stands, as at the real address.
pub const SERVICE_PATH: &str = "/fdsnws/event/1";

/// How a replica behaves.
pub struct ReplicaSettings {
    /// What its clock says at first.
    pub now: Timestamp,
    /// Requests it answers at once before it asks for patience.
    pub burst: u32,
    /// Requests it answers a second in the long run; above zero.
    pub requests_per_second: f64,
    /// Measures the rate.
    pub clock: Arc<dyn Clock>,
}

/// A running replica on a port of the loopback interface. Dropping it ends it.
pub struct Replica {
    address: SocketAddr,
    service: Arc<Service>,
    stop: Stop,
    server: JoinSet<()>,
}

/// What the replica's requests share.
struct Service {
    feed: Feed,
    /// Milliseconds since 1970.
    now: AtomicI64,
    bucket: Mutex<Bucket>,
    clock: Arc<dyn Clock>,
    answered: AtomicU64,
    refused: AtomicU64,
}

/// Tokens for requests: refilled at a steady rate up to a burst.
struct Bucket {
    tokens: f64,
    burst: f64,
    rate: f64,
    at: Duration,
}

/// An answer before it becomes HTTP.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    retry_after: Option<u64>,
    body: String,
}

impl Replica {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start(feed: Feed, settings: ReplicaSettings) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let service = Arc::new(Service::new(feed, settings));
        let stop = Stop::new();
        let router = Router::new().fallback(serve).with_state(Arc::clone(&service));
        let mut server = JoinSet::new();
        let stopped = stop.clone();
        server.spawn(async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stopped.wait().await });
            if let Err(error) = serving.await {
                tracing::error!(%error, "the replica of the event service ended: {error}");
            }
        });
        Ok(Replica { address, service, stop, server })
    }

    /// What a source's `base_url` says to reach it.
    pub fn base_url(&self) -> String {
        format!("http://{}{SERVICE_PATH}", self.address)
    }

    pub fn feed(&self) -> &Feed {
        &self.service.feed
    }

    /// Sets the replica's clock: events updated up to then are shown, and answers carry it as their `Date`.
    pub fn set_now(&self, now: Timestamp) {
        self.service.now.store(now.as_millisecond(), Ordering::Release);
    }

    /// Requests answered so far, those refused for their rate not among them.
    pub fn answered(&self) -> u64 {
        self.service.answered.load(Ordering::Acquire)
    }

    /// Requests refused so far for their rate.
    pub fn refused(&self) -> u64 {
        self.service.refused.load(Ordering::Acquire)
    }

    /// Ends it. Connections that idle are closed.
    pub async fn stop(mut self) {
        self.stop.request();
        self.server.shutdown().await;
    }
}

impl Service {
    fn new(feed: Feed, settings: ReplicaSettings) -> Self {
        let burst = f64::from(settings.burst.max(1));
        let at = settings.clock.elapsed();
        Service {
            feed,
            now: AtomicI64::new(settings.now.as_millisecond()),
            bucket: Mutex::new(Bucket { tokens: burst, burst, rate: settings.requests_per_second, at }),
            clock: settings.clock,
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn now(&self) -> Timestamp {
        // Only whole timestamps go in, so only those come out.
        Timestamp::from_millisecond(self.now.load(Ordering::Acquire)).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Answers a request for `path` and `query` that was sent to `host`.
    fn answer(&self, host: &str, path: &str, query: &str) -> Answer {
        let wait = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(self.clock.elapsed());
        let request = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let error = |status: StatusCode, message: &str, retry_after: Option<u64>| {
            let title = format!("{}: {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
            let usage = format!("http://{host}{SERVICE_PATH}");
            Answer {
                status,
                content_type: "text/plain",
                retry_after,
                body: error_text(&title, message, &request, self.now(), &usage),
            }
        };
        if let Some(seconds) = wait {
            self.refused.fetch_add(1, Ordering::AcqRel);
            return error(StatusCode::TOO_MANY_REQUESTS, "Too many requests. Please slow down.", Some(seconds));
        }
        self.answered.fetch_add(1, Ordering::AcqRel);
        if path.strip_prefix(SERVICE_PATH) != Some("/query") {
            return error(StatusCode::NOT_FOUND, "Not found.", None);
        }
        let now = self.now();
        let address = format!("http://{host}{request}");
        match EventQuery::parse(query, now).and_then(|parsed| parsed.answer(&self.feed, now, &address)) {
            Ok(body) => {
                Answer { status: StatusCode::OK, content_type: "application/json; charset=utf-8", retry_after: None, body }
            }
            Err(message) => error(StatusCode::BAD_REQUEST, &message, None),
        }
    }
}

impl Bucket {
    /// Takes a token, or says how many whole seconds to wait for one.
    fn take(&mut self, now: Duration) -> Option<u64> {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        let seconds = ((1.0 - self.tokens) / self.rate).ceil();
        Some(seconds.clamp(1.0, 3600.0) as u64)
    }
}

async fn serve(State(service): State<Arc<Service>>, request: Request<Body>) -> Response<Body> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
    let answer = service.answer(host, request.uri().path(), request.uri().query().unwrap_or_default());
    let date = service.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mut response =
        Response::builder().status(answer.status).header(header::CONTENT_TYPE, answer.content_type).header(header::DATE, date);
    if let Some(seconds) = answer.retry_after {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    // Every part is made here from plain ASCII and numbers; should one not be a header all the same, the client sees a 500.
    response.body(Body::from(answer.body)).unwrap_or_else(|_| {
        let mut failed = Response::new(Body::empty());
        *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        failed
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::clock::SystemClock;

    fn settings(burst: u32) -> ReplicaSettings {
        let now = "2018-02-05T00:00:00.750Z".parse().expect("instant");
        ReplicaSettings { now, burst, requests_per_second: 0.001, clock: Arc::new(SystemClock::new()) }
    }

    fn feed() -> Feed {
        Feed::shipped().expect("shipped feed")
    }

    async fn get(replica: &Replica, target: &str) -> String {
        let mut stream = TcpStream::connect(replica.address).await.expect("connection");
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", replica.address);
        stream.write_all(request.as_bytes()).await.expect("request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answer");
        answer
    }

    #[tokio::test]
    async fn over_the_wire_it_is_the_service() {
        let replica = Replica::start(feed(), settings(10)).await.expect("replica");
        let found = get(&replica, "/fdsnws/event/1/query?format=geojson&starttime=2018-01-01&limit=3").await;
        assert!(found.starts_with("HTTP/1.1 200 OK\r\n"), "{found}");
        assert!(found.contains("date: Mon, 05 Feb 2018 00:00:00 GMT\r\n"), "{found}");
        assert!(found.contains("content-type: application/json; charset=utf-8\r\n"), "{found}");
        assert!(found.contains(r#""count":3"#));

        let bad = get(&replica, "/fdsnws/event/1/query?format=geojson&limit=0").await;
        assert!(bad.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{bad}");
        assert!(
            bad.contains("content-type: text/plain\r\n") && bad.contains("\r\n\r\nError 400: Bad Request\n\nBad limit"),
            "{bad}"
        );
        assert!(bad.contains("\n\nRequest:\n/fdsnws/event/1/query?format=geojson&limit=0\n\n"), "{bad}");

        let missing = get(&replica, "/fdsnws/event/1/detail").await;
        assert!(missing.starts_with("HTTP/1.1 404 Not Found\r\n") && missing.contains("Error 404: Not Found\n"), "{missing}");
        assert_eq!((replica.answered(), replica.refused()), (3, 0));
        replica.stop().await;
    }

    #[tokio::test]
    async fn beyond_its_rate_it_asks_for_patience() {
        let replica = Replica::start(feed(), settings(1)).await.expect("replica");
        assert!(get(&replica, "/fdsnws/event/1/query?format=geojson").await.starts_with("HTTP/1.1 200"));
        let refused = get(&replica, "/fdsnws/event/1/query?format=geojson").await;
        assert!(refused.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{refused}");
        assert!(refused.contains("retry-after: "), "{refused}");
        assert_eq!((replica.answered(), replica.refused()), (1, 1));
    }

    #[test]
    fn tokens_come_back_with_time_and_never_beyond_the_burst() {
        let mut bucket = Bucket { tokens: 2.0, burst: 2.0, rate: 4.0, at: Duration::ZERO };
        let at = |ms: u64| Duration::from_millis(ms);
        assert_eq!((bucket.take(at(0)), bucket.take(at(0)), bucket.take(at(0))), (None, None, Some(1)));
        assert_eq!((bucket.take(at(250)), bucket.take(at(250))), (None, Some(1)));
        assert_eq!((bucket.take(at(60_000)), bucket.take(at(60_000)), bucket.take(at(60_000))), (None, None, Some(1)));
        let mut slow = Bucket { tokens: 0.0, burst: 1.0, rate: 0.1, at: Duration::ZERO };
        assert_eq!(slow.take(at(0)), Some(10));
    }

    #[test]
    fn the_clock_reveals_the_feed() {
        let service = Service::new(feed(), settings(10));
        let count = |answer: Answer| {
            let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
            body["metadata"]["count"].as_u64().expect("count")
        };
        let ask = || service.answer("h", "/fdsnws/event/1/query", "format=geojson&starttime=2018-01-01");
        let before = count(ask());
        service.now.store(1_517_967_904_877, Ordering::Release);
        assert!(before < 1707, "{before}");
        assert_eq!(count(ask()), 1707);
    }
}
