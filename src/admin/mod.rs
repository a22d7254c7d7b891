//! Administration on its own listener: health, readiness, status, reload, what runs ([`Inventory`]), and a
//! page for people that shows it.
//!
//! Loopback by default; a token is required of every call when one is set. SECURITY: `Host` must be localhost or an IP
//! address, whichever: every other name is refused, since whoever owns a name can point it here (DNS rebinding). An `Origin`
//! must be the same as `Host`, so that no web page in the operator's browser can reach it (cross-site requests).

mod dashboard;
mod history;
mod inventory;

pub use history::{Attempt, Cause, History};
pub use inventory::Inventory;

use crate::{
    config::Admin,
    observe::metrics::{Format, Metrics},
    proxy::listen::exhausted::PAUSE,
    run::Reloaded,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
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
    pub phase: Phase,
    /// Why the last reload failed.
    pub last_error: Option<String>,
}

/// Whether connections should be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Ready,
    Draining,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Draining => "draining",
        }
    }
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
///
/// # Errors
/// The address can't be bound.
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

const READ: &str = "GET, HEAD";
const CHANGE: &str = "POST";

/// What may be asked of a path; none when there is no such path.
fn allowed(path: &str) -> Option<&'static str> {
    Some(match path {
        "/" | "/healthz" | "/readyz" | "/metrics" => READ,
        "/api/v1/reload" => CHANGE,
        _ => match path.strip_prefix("/api/v1/")? {
            "status" | "routes" | "services" | "targets" | "plugins" | "generations" => READ,
            rest if rest.starts_with("targets/") => CHANGE,
            _ => return None,
        },
    })
}

async fn answer(state: &State, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !is_local(request) {
        return refuse(StatusCode::FORBIDDEN, "the Host or Origin is not this listener");
    }
    let path = request.uri().path();
    // The page itself tells nothing; what it shows it asks for, with the token that its reader has.
    let is_open = matches!(path, "/" | "/healthz" | "/readyz");
    if !is_open && !is_permitted(state, request) {
        let refused = refuse(StatusCode::UNAUTHORIZED, "send `authorization: Bearer TOKEN`");
        return with(refused, header::WWW_AUTHENTICATE, "Bearer");
    }
    let Some(allowed) = allowed(path) else {
        return refuse(StatusCode::NOT_FOUND, &format!("there is no {path}"));
    };
    let is_allowed = match allowed {
        READ => matches!(*request.method(), Method::GET | Method::HEAD),
        _ => request.method() == Method::POST,
    };
    if !is_allowed {
        let why = format!("{path} takes {allowed}, not {}", request.method());
        return with(refuse(StatusCode::METHOD_NOT_ALLOWED, &why), header::ALLOW, allowed);
    }
    let status = state.status.borrow().clone();
    match path {
        "/" => dashboard::page(),
        "/healthz" => reply(StatusCode::OK, json!({ "status": "ok" })),
        "/readyz" => {
            let code = if status.phase == Phase::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            reply(code, json!({ "status": status.phase.name() }))
        }
        "/metrics" => metrics(state, request),
        "/api/v1/status" => reply(
            StatusCode::OK,
            json!({ "version": env!("CARGO_PKG_VERSION"), "generation": status.generation, "ready": status.phase == Phase::Ready, "last_error": status.last_error }),
        ),
        "/api/v1/reload" => reload(state).await,
        path => match state.inventory.answer(path) {
            Some((status, value)) => reply(status, value),
            None => refuse(StatusCode::NOT_FOUND, &format!("there is no {path}")),
        },
    }
}

fn metrics(state: &State, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    let generation = state.inventory.current.borrow().clone();
    let text = state.metrics.text(format, &state.inventory.standings(&generation), &inventory::failing(&generation));
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
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
    let text = |name| request.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
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

fn refuse(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    reply(status, json!({ "error": why }))
}

fn with(mut response: Response<Full<Bytes>>, name: HeaderName, value: &'static str) -> Response<Full<Bytes>> {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

fn reply(status: StatusCode, value: Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{value}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, crate::script::reply::JSON);
    response
}
