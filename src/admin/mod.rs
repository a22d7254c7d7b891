//! Administration on its own listener: health, readiness, status, reload, and what runs ([`Inventory`]). The dashboard will stand here.
//!
//! Loopback by default; a token is required of every call when one is set. SECURITY: `Host` must name the listener's own
//! address or localhost, and an `Origin` must be the listener itself, so that a web page in the operator's browser can't
//! reach it (DNS rebinding, cross-site requests).

mod inventory;

pub use inventory::Inventory;

use crate::{
    config::Admin,
    observe::metrics::{Format, Metrics},
    proxy::listen::exhausted::PAUSE,
    run::Reloaded,
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

/// What the process says about itself.
#[derive(Clone, Debug)]
pub struct Status {
    pub generation: u64,
    /// False while it drains.
    pub ready: bool,
    /// Why the last reload failed.
    pub last_error: Option<String>,
}

type Reload = mpsc::Sender<oneshot::Sender<Reloaded>>;

struct State {
    token: Option<String>,
    status: watch::Receiver<Status>,
    reload: Reload,
    inventory: Inventory,
    metrics: Arc<Metrics>,
}

/// Listens and answers until the returned task is aborted; gives the address that it bound as well.
pub async fn listen(
    admin: &Admin,
    status: watch::Receiver<Status>,
    reload: Reload,
    inventory: Inventory,
    metrics: Arc<Metrics>,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(admin.address).await?;
    let address = listener.local_addr()?;
    let token = admin.token.as_ref().map(|token| token.0.clone());
    let state = Arc::new(State { token, status, reload, inventory, metrics });
    let answering = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file descriptors: the workers say so.
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let state = state.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let state = state.clone();
                    async move { Ok::<_, Infallible>(answer(&state, &request).await) }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                let _ = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok((address, answering))
}

async fn answer(state: &State, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !is_local(request) {
        return reply(StatusCode::FORBIDDEN, json!({ "error": "the Host or Origin is not this listener" }));
    }
    let status = state.status.borrow().clone();
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => return reply(StatusCode::OK, json!({ "status": "ok" })),
        (&Method::GET, "/readyz") if status.ready => return reply(StatusCode::OK, json!({ "status": "ready" })),
        (&Method::GET, "/readyz") => return reply(StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "draining" })),
        _ if !is_permitted(state, request) => {
            return reply(StatusCode::UNAUTHORIZED, json!({ "error": "send `authorization: Bearer TOKEN`" }));
        }
        _ => {}
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => metrics(state, request),
        (&Method::GET, "/api/v1/status") => reply(
            StatusCode::OK,
            json!({ "version": env!("CARGO_PKG_VERSION"), "generation": status.generation, "ready": status.ready, "last_error": status.last_error }),
        ),
        (&Method::POST, "/api/v1/reload") => reload(state).await,
        (_, "/metrics" | "/api/v1/status" | "/api/v1/reload") => {
            reply(StatusCode::METHOD_NOT_ALLOWED, json!({ "error": "not this method" }))
        }
        (method, path) => match state.inventory.answer(method, path) {
            Some((status, value)) => reply(status, value),
            None => reply(StatusCode::NOT_FOUND, json!({ "error": format!("there is no {path}") })),
        },
    }
}

fn metrics(state: &State, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    let generation = state.inventory.current.borrow().clone();
    let text = state.metrics.text(format, &state.inventory.standings(&generation), &inventory::failing(&generation));
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(format.content_type()));
    response
}

async fn reload(state: &State) -> Response<Full<Bytes>> {
    let (sender, reloaded) = oneshot::channel();
    if state.reload.send(sender).await.is_err() {
        return reply(StatusCode::SERVICE_UNAVAILABLE, json!({ "error": "the gateway is stopping" }));
    }
    match reloaded.await {
        Ok(Reloaded::Switched { generation }) => reply(StatusCode::OK, json!({ "generation": generation })),
        Ok(Reloaded::Kept { generation, diagnostics }) => {
            reply(StatusCode::UNPROCESSABLE_ENTITY, json!({ "generation": generation, "diagnostics": diagnostics }))
        }
        Err(_) => reply(StatusCode::SERVICE_UNAVAILABLE, json!({ "error": "the gateway is stopping" })),
    }
}

fn is_local(request: &Request<Incoming>) -> bool {
    let text = |name| request.headers().get(name).map(|value: &http::HeaderValue| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).unwrap_or_default();
    let name = crate::proxy::without_port(host).trim_matches(['[', ']']);
    let host_is_local = name == "localhost" || name.parse::<IpAddr>().is_ok();
    let origin_is_own = text(header::ORIGIN).is_none_or(|origin| origin == format!("http://{host}"));
    host_is_local && origin_is_own
}

fn is_permitted(state: &State, request: &Request<Incoming>) -> bool {
    let Some(token) = &state.token else { return true };
    let sent = request.headers().get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    sent.is_some_and(|sent| crate::crypto::digest::constant_time_eq(sent, token.as_bytes()))
}

fn reply(status: StatusCode, value: Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{value}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, crate::script::reply::JSON);
    response
}
