//! A look at a target: one request on a connection of its own, so that it sees what a new client would see.

use std::sync::Arc;

use http::header::{ACCEPT, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, StatusCode};

use super::{Origin, Pool, Request, Timeouts, UpstreamError};
use crate::http::Body;

/// Asks for `path` as requests would be sent there, TLS and version included, and gives the status of the answer. Its body is not
/// read: the connection ends with the look.
///
/// # Errors
/// There was no answer.
pub async fn look(origin: &Arc<Origin>, path: &str) -> Result<StatusCode, UpstreamError> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static("gatewright-health-check"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    let request = Request {
        origin,
        method: &Method::GET,
        target: path,
        host: None,
        headers: &headers,
        upgrade: None,
        interim: None,
        body: &mut Body::Empty,
    };
    Ok(Pool::default().send(request, &Timeouts::default()).await?.status())
}
