//! Connections: how many, how long, how slow.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::stop::Stop;

/// Connections at the same time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// From a connection's beginning, or the end of an answer, to the end of the next request's headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
const HEADERS_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Whoever reads an answer slower than this holds a place that others need.
const CONNECTION_WITHIN: Duration = Duration::from_secs(120);
/// What answers under way are given once stop is asked for.
const GRACE: Duration = Duration::from_secs(2);
/// Out of file handles, say: trying again at once would be a busy loop.
const AFTER_ERROR: Duration = Duration::from_millis(200);

/// Answers until `stop`.
pub(super) async fn serve(listener: TcpListener, router: Router, clock: Arc<dyn Clock>, stop: Stop) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.wait() => break,
            Some(ended) = connections.join_next() => {
                tell_panic(ended);
                continue;
            }
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let (router, clock, stop) = (router.clone(), Arc::clone(&clock), stop.clone());
                connections.spawn(async move {
                    let _place = place;
                    answer(stream, router, clock, stop).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted: {error}");
                clock.sleep(AFTER_ERROR).await;
            }
        }
    }
    drop(listener);
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            tell_panic(ended)
        }
    };
    tokio::select! {
        () = all_ended => {}
        () = clock.sleep(GRACE) => {}
    }
    connections.shutdown().await;
}

type Place = tokio::sync::OwnedSemaphorePermit;

/// The place first: a connection that nobody serves would look open to whoever made it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, Place)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

fn tell_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a page panicked, which is a bug of highwater");
    }
}

async fn answer(stream: TcpStream, router: Router, clock: Arc<dyn Clock>, stop: Stop) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
    http.max_buf_size(HEADERS_BYTES_MAX).max_headers(HEADERS_MAX).half_close(false);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let mut stopping = false;
    let mut too_long = pin!(clock.sleep(CONNECTION_WITHIN));
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    // A client that went away or was too slow: its own affair.
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            () = stop.wait(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = too_long.as_mut() => return,
        }
    }
}
