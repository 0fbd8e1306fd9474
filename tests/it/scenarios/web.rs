//! The daemon's listener, asked over real sockets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use highwater::clock::SystemClock;
use highwater::config::secret::{SecretRef, SecretSource, SecretString};
use highwater::config::service::WebSettings;
use highwater::error::ErrorKind;
use highwater::event::{Event, Listener};
use highwater::fault::FaultPlan;
use highwater::freshness::{Freshness, Watched};
use highwater::ids::JobName;
use highwater::state::State;
use highwater::state::faulty::FaultyState;
use highwater::state::memory::MemoryState;
use highwater::stop::Stop;
use highwater::telemetry::metrics::{Gauges, Metrics};
use highwater::web::{self, Daemon, Web, WebPorts};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::world::{Deadline, pause};

const TOKEN: &str = "CANARY-0123456789abcdef";

/// A daemon that does as the test says.
#[derive(Default)]
struct Puppet {
    dead: AtomicBool,
    stuck: AtomicBool,
    panics: AtomicBool,
}

#[async_trait]
impl Daemon for Puppet {
    fn gauges(&self) -> Gauges {
        Gauges { running: 3, config_current: true, ..Gauges::default() }
    }

    async fn ping(&self) -> bool {
        if self.stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        !self.dead.load(Ordering::SeqCst)
    }

    async fn status(&self) -> Result<serde_json::Value, String> {
        assert!(!self.panics.load(Ordering::SeqCst), "as the test wants it");
        Ok(serde_json::json!([{"job": "orders"}]))
    }
}

struct Literal;

impl SecretSource for Literal {
    fn resolve(&self, secret: &SecretRef) -> Result<SecretString, String> {
        match secret {
            SecretRef::Literal(value) => Ok(value.clone()),
            other => Err(format!("{other:?} is not set")),
        }
    }
}

/// A listener on a free port.
struct Site {
    address: SocketAddr,
    daemon: Arc<Puppet>,
    metrics: Arc<Metrics>,
    stop: Stop,
    server: JoinSet<()>,
}

impl Site {
    async fn open(token: Option<&str>, state: Arc<dyn State>) -> Site {
        let settings = WebSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            token: token.map(|token| SecretRef::Literal(token.to_owned().into())),
            hosts: ["etl.example.org".to_owned()].into(),
        };
        let clock = Arc::new(SystemClock::new());
        let (daemon, metrics, stop) = (Arc::new(Puppet::default()), Arc::new(Metrics::new(clock.clone())), Stop::new());
        let ports = WebPorts { daemon: daemon.clone(), state, metrics: metrics.clone(), clock };
        let site = Web::new(&settings, &Literal, ports).unwrap();
        let listener = web::bind(settings.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(site.serve(listener, stop.clone()));
        Site { address, daemon, metrics, stop, server }
    }

    async fn plain(token: Option<&str>) -> Site {
        Site::open(token, Arc::new(MemoryState::new())).await
    }

    /// The whole answer to a request as it is written here.
    async fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", self.address)).await
    }

    async fn end(mut self) {
        self.stop.request();
        assert!(self.server.join_next().await.unwrap().is_ok());
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // Whoever refuses a request may close before all of it came, which resets the connection behind the answer.
    let _reset = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

fn authorization(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

// O-17
#[tokio::test]
async fn living_is_not_being_able_to_work() {
    let plan = Arc::new(FaultPlan::none().error_after(1));
    let site = Site::open(Some(TOKEN), Arc::new(FaultyState::new(Arc::new(MemoryState::new()), plan))).await;
    let told = async |token: &str| {
        let live = site.get("/healthz", "").await;
        assert_eq!((status(&live), body(&live)), (200, "ok\n"));
        let ready = site.get("/readyz", token).await;
        // An answer is good for a second.
        pause(Duration::from_millis(1_100)).await;
        (status(&ready), body(&ready).to_owned())
    };
    // The first ping of the state fails as planned.
    assert_eq!(told(&authorization(TOKEN)).await, (503, "not ready: the state does not answer\n".to_owned()));
    assert_eq!(told("").await, (200, "ready\n".to_owned()));
    site.daemon.dead.store(true, Ordering::SeqCst);
    assert_eq!(told("").await, (503, "not ready\n".to_owned()), "why is for those who have the token");
    site.daemon.dead.store(false, Ordering::SeqCst);
    site.daemon.stuck.store(true, Ordering::SeqCst);
    assert_eq!(told(&authorization(TOKEN)).await, (503, "not ready: no answer in time\n".to_owned()));
    site.daemon.stuck.store(false, Ordering::SeqCst);
    assert_eq!(told("").await, (200, "ready\n".to_owned()));
    site.end().await;
}

// S-42
#[tokio::test]
async fn what_tells_more_than_health_wants_the_token() {
    let site = Site::plain(Some(TOKEN)).await;
    for path in ["/metrics", "/api/status", "/", "/api", "/metrics/", "/healthz/x", "//healthz", "/%68ealthz/../metrics"] {
        for headers in ["".to_owned(), authorization(&TOKEN[1..]), authorization(&TOKEN.to_lowercase())] {
            let answer = site.get(path, &headers).await;
            assert_eq!(status(&answer), 401, "{path} {headers}");
            assert!(answer.contains("www-authenticate: Bearer\r\n") && !answer.contains("CANARY"), "{answer}");
        }
        let in_address = site.get(&format!("{path}?token={TOKEN}&access_token={TOKEN}"), "").await;
        assert_eq!(status(&in_address), 401, "a token in an address ends up in logs");
    }
    let metrics = site.get("/metrics", &authorization(TOKEN)).await;
    assert_eq!(status(&metrics), 200);
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{metrics}");
    let told = site.get("/api/status", &authorization(TOKEN)).await;
    assert_eq!((status(&told), body(&told)), (200, r#"[{"job":"orders"}]"#));
    assert_eq!(status(&site.get("/nothing", &authorization(TOKEN)).await), 404);
    site.end().await;
}

// S-47
#[tokio::test]
async fn guessing_is_slow() {
    let site = Site::plain(Some(TOKEN)).await;
    let soon = Deadline::after(Duration::from_millis(200));
    assert_eq!(status(&site.get("/metrics", &authorization("a guess that is wrong")).await), 401);
    assert!(soon.passed(), "a guess was answered at once");
    site.end().await;
}

// S-51
#[tokio::test]
async fn without_a_token_this_machine_alone_is_told() {
    let site = Site::plain(None).await;
    site.metrics.set_jobs(vec![Watched {
        job: JobName::new("orders"),
        limit: None,
        freshness: Freshness { mark: None, done_at: None, since: Timestamp::UNIX_EPOCH },
    }]);
    site.metrics.hear(&Event::RequestSent { job: JobName::new("orders") });
    let metrics = site.get("/metrics", "").await;
    assert_eq!(status(&metrics), 200);
    let lines: Vec<&str> = body(&metrics).lines().collect();
    assert!(
        lines.contains(&"highwater_requests_total{job=\"orders\"} 1") && lines.contains(&"highwater_jobs_running 3"),
        "{metrics}"
    );
    site.end().await;
}

// S-44
#[tokio::test]
async fn a_name_that_was_bent_to_us_is_refused() {
    let site = Site::plain(None).await;
    for host in ["evil.example", "evil.example:7077", "localhost.evil.example"] {
        for path in ["/healthz", "/readyz", "/metrics", "/api/status"] {
            let answer = site.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
            assert_eq!(status(&answer), 421, "{host} {path}");
        }
    }
    for host in ["localhost:1", "127.0.0.1", "[::1]:80", "etl.example.org"] {
        let answer = site.send(&format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(status(&answer), 200, "{host}");
    }
    let absolute = "GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&site.send(absolute).await), 421);
    assert_eq!(status(&site.send("GET /metrics HTTP/1.0\r\n\r\n").await), 421, "no name at all");
    site.end().await;
}

// S-43, S-46, S-48
#[tokio::test]
async fn nothing_can_be_changed_framed_or_read_by_another_site() {
    let site = Site::plain(None).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"] {
        let path = if method == "CONNECT" { "localhost:80" } else { "/metrics" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let answer = site.send(&request).await;
        assert_eq!(status(&answer), 405, "{method}");
        assert!(!answer.contains("access-control"), "{answer}");
    }
    for (path, expected) in [("/healthz", 200), ("/metrics", 200), ("/nothing", 404)] {
        let answer = site.get(path, "Origin: http://evil.example\r\n").await;
        assert_eq!(status(&answer), expected);
        for header in [
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "content-security-policy: default-src 'none'; frame-ancestors 'none'",
            "x-frame-options: DENY",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(answer.contains(&format!("{header}\r\n")), "{path} lacks {header}: {answer}");
        }
        assert!(!answer.contains("access-control") && !answer.contains("set-cookie"), "{answer}");
    }
    let head = site.send("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert_eq!((status(&head), body(&head)), (200, ""));
    site.end().await;
}

// S-50
#[tokio::test]
async fn large_and_ambiguous_requests_are_refused() {
    let site = Site::plain(None).await;
    let with_body = |headers: &str, body: &str| {
        format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n{body}")
    };
    assert_eq!(status(&site.send(&with_body("Content-Length: 5\r\n", "hello")).await), 413);
    assert_eq!(status(&site.send(&with_body("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")).await), 413);
    assert_eq!(status(&site.send(&with_body("Content-Length: 99999999999\r\n", "")).await), 413);
    let both = with_body("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n");
    assert!(matches!(status(&site.send(&both).await), 400 | 413));
    let long = with_body(&format!("X-Long: {}\r\n", "x".repeat(32 * 1024)), "");
    assert_eq!(status(&site.send(&long).await), 431);
    let many = with_body(&(0..100).map(|number| format!("X-{number}: 1\r\n")).collect::<String>(), "");
    assert_eq!(status(&site.send(&many).await), 431);
    assert_eq!(status(&site.get("/healthz", "").await), 200, "and goes on");
    site.end().await;
}

// S-52
#[tokio::test]
async fn idle_and_slow_connections_do_not_hold_up_the_end() {
    let site = Site::plain(None).await;
    let mut idle = TcpStream::connect(site.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    idle.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let mut slow = TcpStream::connect(site.address).await.unwrap();
    slow.write_all(b"GET /metrics HTT").await.unwrap();
    site.daemon.stuck.store(true, Ordering::SeqCst);
    let mut waiting = TcpStream::connect(site.address).await.unwrap();
    waiting.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    pause(Duration::from_millis(100)).await;
    let deadline = Deadline::after(Duration::from_secs(4));
    site.end().await;
    assert!(!deadline.passed(), "the end took too long");
    // And they are really closed.
    read_all(&mut idle).await;
    read_all(&mut slow).await;
}

#[tokio::test]
async fn a_slow_client_is_cut_off_and_connections_are_counted() {
    let site = Site::plain(None).await;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(TcpStream::connect(site.address).await.unwrap());
    }
    pause(Duration::from_millis(200)).await;
    let answered = Arc::new(Mutex::new(None));
    let mut asking = JoinSet::new();
    let (address, told) = (site.address, Arc::clone(&answered));
    asking.spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        let answer = read_all(&mut stream).await;
        *told.lock().unwrap() = Some(status(&answer));
    });
    pause(Duration::from_millis(300)).await;
    assert_eq!(*answered.lock().unwrap(), None, "there are 64 places");
    // Nothing was ever sent on them: after ten seconds they are cut off, and whoever waits gets a place.
    let deadline = Deadline::after(Duration::from_secs(15));
    asking.join_next().await.unwrap().unwrap();
    assert_eq!(*answered.lock().unwrap(), Some(200));
    assert!(!deadline.passed());
    drop(held);
    site.end().await;
}

#[tokio::test]
async fn a_page_that_panics_takes_nothing_along() {
    let site = Site::plain(None).await;
    site.daemon.panics.store(true, Ordering::SeqCst);
    assert_eq!(site.get("/api/status", "").await, "");
    assert_eq!(status(&site.get("/healthz", "").await), 200);
    site.end().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_with_its_key() {
    let site = Site::plain(None).await;
    let error = web::bind(site.address).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.to_string().starts_with(&format!("listen on `{}` (web.listen): ", site.address)), "{error}");
    let error = web::bind("192.0.2.1:7077".parse().unwrap()).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Config);
    site.end().await;
}
