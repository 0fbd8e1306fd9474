//! A client that shows a certificate. The files in `tls/` are good for these tests alone, and for a hundred years.

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
