//! The pages themselves.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::telemetry::metrics;

use super::{Web, guard};

pub(super) fn router(web: Web) -> Router {
    let web = Arc::new(web);
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(figures))
        .route("/api/status", get(status))
        .fallback(nothing)
        .layer(from_fn_with_state(Arc::clone(&web), guard::check))
        .with_state(web)
}

/// The process lives: it answers.
async fn healthz() -> Response {
    text(StatusCode::OK, "ok\n")
}

/// Able to work. Why not is for those who have the token.
async fn readyz(State(web): State<Arc<Web>>, headers: HeaderMap) -> Response {
    match web.readiness.ask(&web.ports).await {
        Ok(()) => text(StatusCode::OK, "ready\n"),
        Err(reason) if web.guard.admits(&headers) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

async fn figures(State(web): State<Arc<Web>>) -> Response {
    let page = web.ports.metrics.render(&web.ports.daemon.gauges());
    answer(StatusCode::OK, metrics::CONTENT_TYPE, page)
}

async fn status(State(web): State<Arc<Web>>) -> Response {
    match web.ports.daemon.status().await {
        Ok(status) => answer(StatusCode::OK, "application/json", status.to_string()),
        Err(error) => {
            tracing::warn!(error, "the status could not be told: {error}");
            answer(StatusCode::SERVICE_UNAVAILABLE, "application/json", r#"{"error":"the status cannot be told, see the log"}"#)
        }
    }
}

async fn nothing() -> Response {
    text(StatusCode::NOT_FOUND, "there are /healthz, /readyz, /metrics and /api/status\n")
}

pub(super) fn text(status: StatusCode, body: impl Into<Body>) -> Response {
    answer(status, "text/plain; charset=utf-8", body)
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
