//! A server of raw bytes: says exactly what a test wants said, and keeps what it was asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server does with a connection after it has read the request.
pub(super) enum Answer {
    /// Writes the bytes and closes.
    Say(Vec<u8>),
    /// Writes the bytes and leaves the connection open without another word.
    Hang(Vec<u8>),
    /// Writes the beginning, then byte after byte, slowly, until the client has enough.
    Drip(Vec<u8>),
    /// Writes the beginning, then the piece over and over until the client has enough.
    Flood(Vec<u8>, Vec<u8>),
    /// Closes at once.
    Cut,
}

pub(super) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Answers request number `n`, from 0, with its head at hand.
    pub(super) fn start(answer: impl Fn(usize, &str) -> Answer + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let server = Server { address, seen: seen.clone(), stop: stop.clone() };
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for connection in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(mut stream) = connection else { continue };
                let head = read_request(&mut stream);
                let number = seen.lock().unwrap().len();
                let answer = answer(number, &head);
                seen.lock().unwrap().push(head);
                serve(stream, answer, &mut open);
            }
        });
        server
    }

    /// Gives these answers in turn.
    pub(super) fn script(answers: Vec<Vec<u8>>) -> Server {
        Server::start(move |n, _| answers.get(n).map_or(Answer::Cut, |answer| Answer::Say(answer.clone())))
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn authority(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The heads of the requests so far, each with its body.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread up; if it is gone already, all the better.
        drop(TcpStream::connect(self.address));
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0u8];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = super::fixture::header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    let body = stream.read_exact(&mut body).map(|()| String::from_utf8_lossy(&body).into_owned());
    format!("{head}{}", body.unwrap_or_default())
}

fn serve(mut stream: TcpStream, answer: Answer, open: &mut Vec<TcpStream>) {
    match answer {
        Answer::Say(bytes) => drop(stream.write_all(&bytes)),
        Answer::Hang(bytes) => {
            drop(stream.write_all(&bytes));
            open.push(stream);
        }
        Answer::Drip(bytes) => {
            drop(stream.write_all(&bytes));
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Answer::Flood(bytes, piece) => {
            drop(stream.write_all(&bytes));
            while stream.write_all(&piece).is_ok() {}
        }
        Answer::Cut => {}
    }
}

/// A whole answer with a JSON body.
pub(super) fn json(status: &str, headers: &str, body: &str) -> Vec<u8> {
    raw(status, &format!("Content-Type: application/json\r\n{headers}"), body.as_bytes())
}

/// A whole answer. `headers` are lines that end in CRLF.
pub(super) fn raw(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// The beginning of an answer in chunks, none of them sent yet.
pub(super) fn chunked(headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{headers}\r\n").into_bytes()
}
