//! A client that shows a certificate, and servers that show a bad one. The files in `tls/` are good for these tests alone, and for a
//! hundred years, but for the one that has expired.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::fixture::*;
use super::server::json;
use crate::config::catalog::{ClientIdentity, Job};
use crate::config::secret::SecretRef;
use crate::error::ErrorKind;

const CA: &str = include_str!("tls/ca.pem");
const CLIENT: &str = include_str!("tls/client.pem");
const CLIENT_KEY: &str = include_str!("tls/client.key");

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// Lets in who shows a certificate of the test's authority; answers `connections` and ends.
fn start(connections: usize) -> u16 {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(CA)).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate(include_str!("tls/server.pem"))], key)
        .unwrap();
    answer(config, connections)
}

/// Answers so many connections under this configuration and ends.
fn answer(config: ServerConfig, connections: usize) -> u16 {
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream.unwrap());
            let mut head = Vec::new();
            let mut byte = [0u8];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            // Who was not let in is gone by now.
            drop(stream.write_all(&json("200 OK", "", "[1]")));
            stream.conn.send_close_notify();
            drop(stream.flush());
        }
    });
    port
}

fn encrypted_job(port: u16, ca: &std::path::Path) -> Job {
    let mut job = job(&format!("https://127.0.0.1:{port}"));
    (job.source.ca_file, job.source.attempts_max) = (Some(ca.to_owned()), 1);
    job
}

fn identity(certificate: &str, key: &str) -> Option<ClientIdentity> {
    let literal = |text: &str| SecretRef::Literal(text.into());
    Some(ClientIdentity { certificate: literal(certificate), key: literal(key) })
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, CA).unwrap();
    let port = start(2);
    let mut job = encrypted_job(port, &ca);
    assert_eq!(world.fetch(&job).await.unwrap_err().kind, ErrorKind::Unavailable, "without one it is not let in");
    job.source.identity = identity(CLIENT, CLIENT_KEY);
    assert_eq!(world.fetch(&job).await.unwrap().body, "[1]");
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused_without_a_word_of_it() {
    let world = World::new();
    let mut job = job("https://api.example.com");
    for (certificate, key) in [(CLIENT, "CANARY"), ("CANARY", CLIENT_KEY), (CLIENT, CLIENT)] {
        job.source.identity = identity(certificate, key);
        let error = world.try_open(&job).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Auth);
        assert!(error.message.contains("tls: certificate and key cannot be read"), "{}", error.message);
        assert!(!crate::error::chain(&error).contains("CANARY"));
    }
}

/// A server of `tls/authority.pem` that shows this certificate to one caller.
fn shows(pem: &str) -> u16 {
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/leaf.key")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate(pem)], key).unwrap();
    answer(config, 1)
}

#[tokio::test]
async fn a_server_that_shows_a_bad_certificate_is_not_asked_for_anything() {
    // S-17
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("authority.pem");
    std::fs::write(&ca, include_str!("tls/authority.pem")).unwrap();
    let good = include_str!("tls/good.pem");
    assert_eq!(world.fetch(&encrypted_job(shows(good), &ca)).await.unwrap().body, "[1]");
    for (why, pem) in [
        ("expired", include_str!("tls/expired.pem")),
        ("not valid for name", include_str!("tls/other-host.pem")),
        ("UnknownIssuer", include_str!("tls/self-signed.pem")),
    ] {
        let mut job = encrypted_job(shows(pem), &ca);
        // It is not believed a second time either.
        job.source.attempts_max = 3;
        let error = world.fetch(&job).await.unwrap_err();
        let told = crate::error::chain(&error);
        assert!(told.contains("its certificate is not accepted") && told.contains(why), "{why}: {told}");
    }
    // Nor is one whose authority nobody named.
    let mut job = encrypted_job(shows(good), &ca);
    job.source.ca_file = None;
    assert!(world.fetch(&job).await.unwrap_err().message.contains("its certificate is not accepted"));
}

/// Says hello in an old version, whatever it is offered, and hands back what it was offered.
fn says_hello_in(version: [u8; 2]) -> (u16, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0u8; 5];
        stream.read_exact(&mut head).unwrap();
        let mut hello = vec![0u8; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        stream.read_exact(&mut hello).unwrap();
        // version, random, no session, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression
        let body = [&version[..], &[7; 32], &[0], &[0xc0, 0x13], &[0]].concat();
        let message = [&[2, 0, 0, body.len() as u8][..], &body].concat();
        let record = [&[22][..], &version, &(message.len() as u16).to_be_bytes(), &message].concat();
        stream.write_all(&record).unwrap();
        // An alert, or the end; never the request.
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
        assert!(rest.len() < 32 && rest.first().is_none_or(|kind| *kind == 21), "{rest:?}");
        hello
    });
    (port, thread)
}

#[tokio::test]
async fn old_tls_is_neither_offered_nor_taken() {
    // S-17
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("authority.pem");
    std::fs::write(&ca, include_str!("tls/authority.pem")).unwrap();
    for version in [[3, 1], [3, 2]] {
        let (port, server) = says_hello_in(version);
        let error = world.fetch(&encrypted_job(port, &ca)).await.unwrap_err();
        let hello = server.join().unwrap();
        // supported_versions (43): a list of two bytes each.
        let at = hello.windows(2).position(|two| two == [0, 43]).expect("the extension is there");
        let length = usize::from(hello[at + 4]);
        let offered: Vec<&[u8]> = hello[at + 5..at + 5 + length].chunks(2).collect();
        assert!(offered.iter().all(|version| [[3, 3], [3, 4]].iter().any(|new| new == version)), "{offered:?}");
        assert!(error.message.contains("it speaks no TLS that is safe"), "{}", crate::error::chain(&error));
    }
}
