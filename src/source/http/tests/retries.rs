//! What is tried again, when, how often, and what the error says in the end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fixture::*;
use super::server::{Answer, Server, chunked, json, raw};
use crate::clock::Clock;
use crate::config::catalog::{PagingKind, TokenPlace};
use crate::error::{ErrorKind, chain};
use crate::event::Event;
use crate::page::{PageAt, PagePosition, ResponsePath};
use crate::source::Source;

fn fine() -> Vec<u8> {
    json("200 OK", "", "[1]")
}

/// A server that answers in turn and notes when, by the test's clock.
fn timed(world: &World, answers: Vec<Vec<u8>>) -> (Server, Arc<Mutex<Vec<Duration>>>) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let (clock, noted) = (world.clock.clone(), times.clone());
    let server = Server::start(move |n, _| {
        noted.lock().unwrap().push(clock.elapsed());
        answers.get(n).map_or(Answer::Cut, |answer| Answer::Say(answer.clone()))
    });
    (server, times)
}

#[tokio::test]
async fn errors_that_pass_are_waited_out() {
    // R-31
    let broken = || json("500 Internal Server Error", "", "{}");
    let world = World::new();
    let (server, _) = timed(&world, vec![broken(), broken(), broken(), fine()]);
    let page = world.fetch(&job(&server.url(""))).await.unwrap();
    assert_eq!(&page.body[..], b"[1]");
    let slept = world.clock.slept();
    assert_eq!(slept.len(), 3);
    // Full jitter below 0.5 s, 1 s, 2 s, and not the same each time.
    assert!(slept.iter().zip([500, 1000, 2000]).all(|(slept, most)| *slept <= Duration::from_millis(most)), "{slept:?}");
    let retries = world.events().iter().filter(|event| matches!(event, Event::Retrying { .. })).count();
    assert_eq!(retries, 3);
}

#[tokio::test]
async fn the_retries_that_all_share_run_out() {
    // R-32
    let server = Server::start(|_, _| Answer::Say(json("500 Internal Server Error", "", "{}")));
    let world = World::new();
    let mut job = job(&server.url(""));
    job.source.attempts_max = 20;
    let error = world.fetch(&job).await.unwrap_err();
    assert_eq!((error.kind, server.seen().len()), (ErrorKind::Unavailable, 11), "{}", error.message);
    assert!(error.message.contains("are used up"), "{}", error.message);
    // Another job of the credential finds none left.
    world.fetch(&job).await.unwrap_err();
    assert_eq!(server.seen().len(), 12);
}

#[tokio::test]
async fn noise_around_an_answer_is_none_of_it() {
    // R-39: interim answers before it, chunks with extensions, trailers after it.
    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>; rel=\"next\"\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    let body = "1;name=value\r\n[\r\n2\r\n1]\r\n0\r\nX-Sum: 3\r\nRetry-After: 99\r\n\r\n";
    let world = World::new();
    let server = Server::script(vec![format!("{early}{answer}{body}").into_bytes()]);
    let page = world.fetch(&job(&server.url(""))).await.unwrap();
    assert_eq!((&page.body[..], server.seen().len()), (&b"[1]"[..], 1));
    assert!(page.headers.get("link").is_none() && page.headers.get("retry-after").is_none());
    assert!(world.clock.slept().is_empty());
}

#[tokio::test]
async fn attempts_come_to_an_end() {
    // R-40: counted at the server, so that a layer below that retries too would show.
    let server = Server::start(|_, _| Answer::Say(json("503 Service Unavailable", "", "{\"error\":\"overloaded\"}")));
    let error = World::new().fetch(&job(&server.url(""))).await.unwrap_err();
    assert_eq!((error.kind, server.seen().len()), (ErrorKind::Unavailable, 4));
    assert!(error.message.contains("503") && error.message.contains("overloaded"), "{}", error.message);
    assert!(error.message.contains("4 attempts"), "{}", error.message);
    // A caller that asks again for a page has spent an attempt on it.
    let world = World::new();
    let server = Server::start(|_, _| Answer::Say(json("503 Service Unavailable", "", "{}")));
    world.open(&job(&server.url(""))).fetch(&snapshot(), &PagePosition::start(), 4).await.unwrap_err();
    assert_eq!((server.seen().len(), world.clock.slept().len()), (1, 1));
}

#[tokio::test]
async fn retry_after_is_a_floor_for_everybody_with_the_credential() {
    // R-01 R-04
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let world = World::new();
        let (server, times) = timed(&world, vec![json(status, "Retry-After: 5\r\n", "{}"), fine(), fine()]);
        let mut job = job(&server.url(""));
        job.source.attempts_max = 1;
        let (one, other) = (world.open(&job), world.open(&job));
        one.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap();
        other.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap();
        let times = times.lock().unwrap().clone();
        assert!(times[1] - times[0] > Duration::from_secs(5), "{times:?}");
        assert!(world.events().iter().any(|event| matches!(event, Event::Waiting { length, .. } if length.as_secs() >= 5)));
    }
}

#[tokio::test]
async fn another_job_waits_too_while_the_first_one_does() {
    // R-01
    let world = World::new();
    let (server, times) = timed(&world, vec![json("429 Too Many Requests", "Retry-After: 5\r\n", "{}"), fine()]);
    let job = job(&server.url(""));
    world.stop.request();
    let stopped = world.fetch(&job).await.unwrap_err();
    assert_eq!(stopped.kind, ErrorKind::Cancelled);
    // The first has not waited at all; whoever comes next has to.
    let next = World { stop: crate::stop::Stop::new(), ..world };
    next.fetch(&job).await.unwrap();
    let times = times.lock().unwrap().clone();
    assert!(times[1] - times[0] >= Duration::from_secs(5), "{times:?}");
}

#[tokio::test]
async fn a_date_counts_by_the_servers_clock() {
    // R-02
    let world = World::new();
    let headers = "Date: Sun, 06 Nov 1994 09:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 09:49:47 GMT\r\n";
    let (server, times) = timed(&world, vec![json("429 Too Many Requests", headers, "{}"), fine()]);
    world.fetch(&job(&server.url(""))).await.unwrap();
    let times = times.lock().unwrap().clone();
    let waited = times[1] - times[0];
    assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(12), "{waited:?}");
}

#[tokio::test]
async fn throttling_without_a_header_backs_off() {
    // R-05
    let world = World::new();
    let server = Server::start(|_, _| Answer::Say(json("429 Too Many Requests", "Retry-After: soon\r\n", "{}")));
    let error = world.fetch(&job(&server.url(""))).await.unwrap_err();
    assert_eq!((error.kind, server.seen().len()), (ErrorKind::Throttled { retry_at: None }, 4));
    assert!(world.clock.slept().iter().all(|slept| *slept <= Duration::from_secs(2)));
}

#[tokio::test]
async fn patience_of_hours_is_handed_on() {
    // R-03
    for (asked, expected) in [("7200", 7200), ("1000000000", 24 * 3600)] {
        let world = World::new();
        let server = Server::script(vec![json("429 Too Many Requests", &format!("Retry-After: {asked}\r\n"), "{}")]);
        let before = world.clock.now();
        let source = world.open(&job(&server.url("")));
        let error = source.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap_err();
        let retry_at = Some(before + Duration::from_secs(expected));
        assert_eq!(error.kind, ErrorKind::Throttled { retry_at });
        // Whoever asks meanwhile is told the same, and the server is left alone.
        let again = source.fetch(&snapshot(), &PagePosition::start(), 1).await.unwrap_err();
        assert_eq!(again.kind, ErrorKind::Throttled { retry_at });
        assert_eq!((server.seen().len(), world.clock.slept().len()), (1, 0));
    }
}

#[tokio::test]
async fn waits_that_are_asked_for_spend_no_attempt_and_end_all_the_same() {
    let world = World::new();
    let server = Server::start(|_, _| Answer::Say(json("429 Too Many Requests", "Retry-After: 0\r\n", "{}")));
    let error = world.fetch(&job(&server.url(""))).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Throttled { .. }));
    assert_eq!(server.seen().len(), 101);
}

#[tokio::test]
async fn stop_wakes_a_wait() {
    // R-41
    let world = World::new();
    world.clock.hold();
    let server = Server::script(vec![json("429 Too Many Requests", "Retry-After: 3600\r\n", "{}")]);
    let job = job(&server.url(""));
    let source = world.open(&job);
    let slice = snapshot();
    let start = PagePosition::start();
    let fetch = source.fetch(&slice, &start, 1);
    let stop = async {
        while server.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        world.stop.request();
    };
    let (fetched, ()) = futures::join!(fetch, stop);
    assert_eq!(fetched.unwrap_err().kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn what_cannot_pass_is_not_tried_again() {
    // R-16
    for (status, kind) in [
        ("400 Bad Request", ErrorKind::Config),
        ("401 Unauthorized", ErrorKind::Auth),
        ("403 Forbidden", ErrorKind::Auth),
        ("404 Not Found", ErrorKind::Config),
        ("422 Unprocessable Entity", ErrorKind::Config),
        ("501 Not Implemented", ErrorKind::Config),
        ("304 Not Modified", ErrorKind::Data),
        ("302 Found", ErrorKind::Data),
    ] {
        let server = Server::start(move |_, _| Answer::Say(json(status, "", "")));
        let world = World::new();
        let error = world.fetch(&job(&server.url(""))).await.unwrap_err();
        assert_eq!((error.kind, server.seen().len()), (kind, 1), "{status}");
        assert!(error.message.contains(status) && error.message.contains("/items"), "{}", error.message);
    }
}

#[tokio::test]
async fn an_error_never_shows_the_secret_it_echoes() {
    // S-36
    let body = format!("{{\"message\":\"bad credentials {SECRET}\",\n\"key\":\"CANARY-0123\\/456\"}}");
    let server = Server::script(vec![json("401 Unauthorized", "", &body)]);
    let mut job = job(&server.url(""));
    job.source.auth = bearer();
    let error = World::new().fetch(&job).await.unwrap_err();
    let text = chain(&error);
    assert!(text.contains("bad credentials ***") && !text.contains("CANARY"), "{text}");
    assert!(!format!("{error:?}").contains("CANARY"));
}

#[tokio::test]
async fn a_redirect_that_echoes_the_secret_shows_it_nowhere() {
    let away = raw("302 Found", "Location: /for/CANARY-0123%2F456/\r\n", b"");
    let server = Server::script(vec![away.clone(), json("404 Not Found", "", "{}"), away, fine()]);
    let mut job = job(&server.url(""));
    job.source.auth = bearer();
    let error = World::new().fetch(&job).await.unwrap_err();
    assert!(error.message.contains("/for/***/"), "{}", error.message);
    let page = World::new().fetch(&job).await.unwrap();
    assert_eq!(page.address, server.url("/for/***/"));
}

#[tokio::test]
async fn a_login_page_is_called_one() {
    let server = Server::script(vec![raw("403 Forbidden", "Content-Type: text/html\r\n", b"<!DOCTYPE html><p>sign in")]);
    let error = World::new().fetch(&job(&server.url(""))).await.unwrap_err();
    assert!(error.message.ends_with("403 Forbidden: an HTML page; the source has no `auth`"), "{}", error.message);
}

#[tokio::test]
async fn a_token_that_expired_does_not_blame_the_files() {
    // C-30
    for status in ["400 Bad Request", "410 Gone"] {
        let server = Server::script(vec![json(status, "", "{}")]);
        let mut job = job(&server.url(""));
        let place = TokenPlace::Param("cursor".to_owned());
        job.stream.paging.kind = PagingKind::PageToken { token: ResponsePath::parse("next").unwrap(), place };
        let at = PagePosition { index: 3, records_before: 30, at: PageAt::Token("t3".to_owned()), parent: None };
        let error = World::new().open(&job).fetch(&snapshot(), &at, 1).await.unwrap_err();
        assert_eq!((error.kind, server.seen().len()), (ErrorKind::Unavailable, 1));
        assert!(error.message.contains("expired"), "{}", error.message);
    }
}

#[tokio::test]
async fn a_body_that_was_cut_off_is_asked_for_again() {
    // R-38
    let mut short = raw("200 OK", "", b"[1,2,3,4]");
    short.truncate(short.len() - 4);
    let mut chunks = chunked("");
    chunks.extend_from_slice(b"5\r\n[1,2,\r\n");
    let mut half_a_chunk = chunked("");
    half_a_chunk.extend_from_slice(b"9\r\n[1,");
    let head = b"HTTP/1.1 200 OK\r\nContent-Le".to_vec();
    let server = Server::script(vec![short, chunks, half_a_chunk, head, fine()]);
    let world = World::new();
    let mut job = job(&server.url(""));
    job.source.attempts_max = 5;
    assert_eq!(&world.fetch(&job).await.unwrap().body[..], b"[1]");
    assert_eq!((server.seen().len(), world.clock.slept().len()), (5, 4));
}

const GZIPPED: &str = "H4sIAAAAAAACA4uuVspMUbIyrNWBMIxqYwHq0Uf6EwAAAA==";

#[tokio::test]
async fn a_compressed_body_that_was_cut_off_is_asked_for_again() {
    // C-64
    let whole = STANDARD.decode(GZIPPED).unwrap();
    let gzip = "Content-Encoding: gzip\r\n";
    let mut cuts: Vec<Vec<u8>> =
        [1, 8, 12, whole.len() - 12].iter().map(|cut| raw("200 OK", gzip, &whole[..whole.len() - cut])).collect();
    cuts.push(raw("200 OK", gzip, &whole));
    let server = Server::script(cuts);
    let mut job = job(&server.url(""));
    job.source.attempts_max = 9;
    let page = World::new().fetch(&job).await.unwrap();
    assert_eq!(&page.body[..], br#"[{"id":1},{"id":2}]"#);
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_compressed_body_of_several_members_is_read_to_its_end() {
    use flate2::write::GzEncoder;
    use std::io::Write;
    let member = |text: String| {
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    let rows = |from: u32| (from..from + 3_000).map(|id| format!("{{\"id\":{id}}}")).collect::<Vec<_>>().join(",");
    let (first, second) = (format!("[{}", rows(0)), format!(",{}]", rows(3_000)));
    let packed = [member(first.clone()), member(second.clone())].concat();
    for header in ["Content-Encoding: gzip\r\n", "content-encoding: X-GZIP\r\n"] {
        let server = Server::script(vec![raw("200 OK", header, &packed)]);
        let page = World::new().fetch(&job(&server.url(""))).await.unwrap();
        assert_eq!(page.body, first.clone() + &second, "{header}");
        assert!(!page.headers.contains_key("content-encoding"));
    }
}

// 300,002 bytes of JSON each.
const BOMBS: [(&str, &str); 2] = [
    (
        "gzip",
        "H4sIAAAAAAACA+3BAQ0AAAwCoCrv5d6/hj0ckAMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAgCFfwdv76eKTBAA=",
    ),
    ("zstd", "KLUv/QRoVAAAEFsgAQD7/znAAgIAECBNAAAIXQEA3hMdAAEWUI3q"),
];

#[tokio::test]
async fn what_swells_beyond_the_cap_is_refused() {
    // S-19
    for (encoding, bomb) in BOMBS {
        let answer = raw("200 OK", &format!("Content-Encoding: {encoding}\r\n"), &STANDARD.decode(bomb).unwrap());
        let server = Server::script(vec![answer.clone(), answer]);
        let mut job = job(&server.url(""));
        let error = World::new().fetch(&job).await.unwrap_err();
        assert_eq!((error.kind, server.seen().len()), (ErrorKind::Config, 1), "{encoding}: {}", error.message);
        assert!(error.message.contains("body_max") && error.message.ends_with("`100000`"), "{}", error.message);
        job.source.body_max = 300_002;
        assert_eq!(World::new().fetch(&job).await.unwrap().body.len(), 300_002, "{encoding}");
    }
}

#[tokio::test]
async fn a_body_without_end_meets_the_cap() {
    // S-25
    let mut piece = b"10000\r\n".to_vec();
    piece.resize(7 + 0x10000, b' ');
    piece.extend_from_slice(b"\r\n");
    let server = Server::start(move |_, _| Answer::Flood(chunked(""), piece.clone()));
    let error = World::new().fetch(&job(&server.url(""))).await.unwrap_err();
    assert!(error.message.contains("body_max"), "{}", error.message);
    let announced = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n".to_vec();
    let server = Server::start(move |_, _| Answer::Hang(announced.clone()));
    let error = World::new().fetch(&job(&server.url(""))).await.unwrap_err();
    assert!(error.message.contains("body_max"), "{}", error.message);
}

#[tokio::test]
async fn an_encoding_that_nobody_knows_is_named() {
    // S-19
    // Nor one that was not asked for: the client would drop what stands behind its end.
    for encoding in ["gzip, gzip", "br", "deflate"] {
        let server = Server::script(vec![raw("200 OK", &format!("Content-Encoding: {encoding}\r\n"), b"xx")]);
        let error = World::new().fetch(&job(&server.url(""))).await.unwrap_err();
        assert_eq!((error.kind, server.seen().len()), (ErrorKind::Data, 1));
        let told = format!("answers in a content encoding that is not understood: `{encoding}`");
        assert!(error.message.contains(&told), "{}", error.message);
    }
}

#[tokio::test]
async fn a_body_of_several_zstd_frames_is_read_to_its_end() {
    let frame = |text: &str| zstd::encode_all(text.as_bytes(), 3).unwrap();
    let packed = [frame("[1,"), frame("2,"), frame("3]")].concat();
    let fetch = async |body: Vec<u8>| {
        let answer = raw("200 OK", "Content-Encoding: zstd\r\n", &body);
        let server = Server::start(move |_, _| Answer::Say(answer.clone()));
        World::new().fetch(&job(&server.url(""))).await
    };
    assert_eq!(&fetch(packed.clone()).await.unwrap().body[..], b"[1,2,3]");
    for behind in [&b"x"[..], b"more of it"] {
        let error = fetch([&packed[..], behind].concat()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error.message);
    }
}

#[tokio::test]
async fn slow_servers_are_not_waited_for() {
    // R-37
    let silent = raw("200 OK", "", b"[1,2,3]");
    let hanging = silent[..silent.len() - 3].to_vec();
    let server = Server::start(move |n, _| match n {
        0 => Answer::Hang(Vec::new()),
        1 => Answer::Hang(hanging.clone()),
        2 => Answer::Drip(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec()),
        _ => Answer::Say(fine()),
    });
    let mut job = job(&server.url(""));
    job.source.timeout = Duration::from_millis(150);
    let world = World::new();
    world.fetch(&job).await.unwrap();
    assert_eq!((server.seen().len(), world.clock.slept().len()), (4, 3));
    let told = world
        .events()
        .iter()
        .filter(|event| matches!(event, Event::Retrying { reason, .. } if reason.contains("in time")))
        .count();
    assert_eq!(told, 3);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    // R-36: what passes is retried, what does not is shown by the certificate test of `failure`.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let world = World::new();
    let error = world.fetch(&job(&format!("http://127.0.0.1:{port}"))).await.unwrap_err();
    assert_eq!((error.kind, world.clock.slept().len()), (ErrorKind::Unavailable, 3));
    assert!(error.message.contains("cannot connect"), "{}", error.message);
}

/// A lookup that finds nothing: the name server does not answer, or knows no such name.
struct Nowhere {
    is_known: bool,
}

#[async_trait::async_trait]
impl crate::source::http::resolver::Lookup for Nowhere {
    async fn addresses(&self, _host: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        if self.is_known { Err(std::io::Error::other("temporary failure in name resolution")) } else { Ok(Vec::new()) }
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_tried_again_and_said_to_be_wrong_where_it_does_not_exist() {
    // R-36: both are tried again, for a name server may be wrong for a while; only one of them is likely to be a typing mistake.
    for (is_known, words) in [(true, "its name cannot be resolved"), (false, "there is no such name, look at `base_url`")] {
        let world = World::new().with_lookup(Nowhere { is_known });
        let error = world.fetch(&job("http://api.example.com")).await.unwrap_err();
        assert_eq!((error.kind, world.clock.slept().len()), (ErrorKind::Unavailable, 3));
        assert!(error.message.contains(words), "{}", error.message);
        assert!(world.clock.slept().iter().all(|wait| *wait <= Duration::from_secs(4)), "{:?}", world.clock.slept());
    }
}
