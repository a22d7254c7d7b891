//! HTTP/2 towards targets: few connections, each shared by many exchanges of a worker.
//!
//! Framing, flow control and the table of headers are hyper's; here is which connection an exchange takes, how long it
//! waits, and what may be sent again. A connection is replaced when it is closed or told to go away; another is opened
//! when all streams that the target allows are in use. Dropping a response resets its stream and no more.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Response, Version};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::error::{Kind, Phase, UpstreamError};
use super::http2_body::{Lent, Outgoing, ResponseBody, Using};
use super::{Origin, Pool, Request, Timeouts, extended};
use crate::http::Body;
use crate::timer::Timer;

/// What a stream, and a connection, may have on the way to us: enough for 1 Gbit/s at 8 ms.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// The connections of one worker that speak HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Multiplexer {
    lanes: RefCell<HashMap<Arc<Origin>, Rc<Lane>, ahash::RandomState>>,
}

/// Those to one origin.
#[derive(Debug, Default)]
struct Lane {
    connections: RefCell<Vec<Multiplexed>>,
    /// Held while a connection is made, so that a burst makes one and not as many as it has requests.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Multiplexed {
    sender: SendRequest<Outgoing>,
    peer: SocketAddr,
    streams: Rc<Streams>,
}

/// How many streams a connection carries, and may carry at most.
#[derive(Debug)]
pub(super) struct Streams {
    pub used: Cell<usize>,
    allowed: Cell<usize>,
    /// Whether the target has announced that it takes an extended CONNECT (RFC 8441 §3).
    pub opens_websockets: Cell<bool>,
    /// Whether the target's SETTINGS are surely here.
    pub answered: Cell<bool>,
    /// Told when someone wants to know whether they are.
    pub asked: tokio::sync::Notify,
    pub since: Cell<Instant>,
}

/// Why an exchange failed before the head of its response.
struct Failed {
    phase: Phase,
    kind: Kind,
    /// Whether the target is known not to have begun with it (RFC 9113 §8.7).
    unprocessed: bool,
}

impl Multiplexer {
    /// Closes what is idle for too long, and forgets what is closed.
    pub fn sweep(&self, idle: Duration, now: Instant) {
        self.lanes.borrow_mut().retain(|_, lane| {
            let mut connections = lane.connections.borrow_mut();
            connections.retain(|one| {
                let resting = one.streams.used.get() == 0 && now.duration_since(one.streams.since.get()) >= idle;
                !one.sender.is_closed() && !resting
            });
            !connections.is_empty() || lane.opening.try_lock().is_err()
        });
    }

    fn lane(&self, origin: &Arc<Origin>) -> Rc<Lane> {
        if let Some(lane) = self.lanes.borrow().get(origin) {
            return lane.clone();
        }
        self.lanes.borrow_mut().entry(origin.clone()).or_default().clone()
    }
}

impl Lane {
    /// A connection that has a stream to spare. One to an address that the name no longer has ends with its streams.
    fn take(&self, pool: &Pool, origin: &Arc<Origin>) -> Option<(SendRequest<Outgoing>, Using)> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|one| !one.sender.is_closed() && pool.leads_to(origin, one.peer));
        let free = connections.iter().find(|one| one.streams.used.get() < one.streams.allowed.get())?;
        Some((free.sender.clone(), Using::new(&free.streams)))
    }
}

/// Sends a request over HTTP/2 and waits for the head of its response. One that a connection lost without the target
/// having begun with it is sent once more, on another.
pub(super) async fn send(
    pool: &Pool,
    request: Request<'_>,
    timeouts: &Timeouts,
) -> Result<Response<Body>, UpstreamError> {
    let Request { origin, method, target, host, headers, mut upgrade, interim: _, body } = request;
    let mut again = true;
    loop {
        let (mut sender, using) = obtain(pool, origin, timeouts).await?;
        let fail = |failed: Failed, body_consumed| UpstreamError {
            origin: origin.clone(),
            phase: failed.phase,
            kind: failed.kind,
            sent: !failed.unprocessed,
            body_consumed,
        };
        let websocket = match upgrade.as_deref().and_then(|upgrade| upgrade.websocket.as_ref()) {
            Some(handshake) if extended::is_taken(using.streams(), timeouts).await => Some(handshake.clone()),
            _ => None,
        };
        let mut request = http::Request::new(());
        *request.method_mut() = method.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = match uri(origin, target, host) {
            Ok(uri) => uri,
            Err(reason) => {
                let kind = Kind::BadRequest(reason);
                return Err(fail(Failed { phase: Phase::Write, kind, unprocessed: true }, false));
            }
        };
        let kept = headers.iter().filter(|(name, _)| **name != HOST && **name != CONTENT_LENGTH);
        request.headers_mut().extend(kept.map(|(name, value)| (name.clone(), value.clone())));
        if websocket.is_some() {
            extended::apply(&mut request);
        }
        let outgoing = match body {
            Body::Empty => Body::Empty,
            Body::Full(bytes) => Body::Full(bytes.clone()),
            Body::Incoming(_) | Body::Trailed(_) | Body::Streamed(_) => std::mem::take(body),
        };
        let lent = Lent::new(outgoing);
        let sent = sender.try_send_request(request.map(|()| Outgoing::of(&lent)));
        let mut failed = match head(sent, &lent, timeouts).await {
            Ok(response) => {
                using.streams().answered.set(true);
                let response = match (&websocket, upgrade.as_deref_mut()) {
                    (Some(handshake), Some(upgrade)) if response.status().is_success() => {
                        return extended::opened(response, handshake, upgrade, using)
                            .await
                            .map_err(|kind| fail(Failed { phase: Phase::Head, kind, unprocessed: false }, false));
                    }
                    _ => response,
                };
                let (head, incoming) = response.into_parts();
                let timeouts = timeouts.of_body(&head.headers);
                let body = ResponseBody::new(incoming, using, lent, origin.clone(), timeouts);
                let mut response = Response::new(body.into_body());
                *response.status_mut() = head.status;
                *response.headers_mut() = head.headers;
                return Ok(response);
            }
            Err(failed) => failed,
        };
        let consumed = !matches!(body, Body::Full(_)) && lent.was_touched();
        if !matches!(body, Body::Full(_)) && !consumed {
            *body = lent.take_back();
        }
        if let Some(error) = lent.failure() {
            failed = Failed { phase: Phase::Write, kind: Kind::Client(error), unprocessed: false };
        }
        if !failed.unprocessed || consumed || !std::mem::take(&mut again) {
            return Err(fail(failed, consumed));
        }
    }
}

fn uri(origin: &Origin, target: &str, host: Option<&HeaderValue>) -> Result<Uri, &'static str> {
    let bad_host = "the host is not an authority";
    let host = host.unwrap_or(origin.host_header());
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| bad_host)?;
    let target = PathAndQuery::try_from(target).map_err(|_| "the request target holds a space or control character")?;
    let scheme = if origin.tls().is_some() { Scheme::HTTPS } else { Scheme::HTTP };
    Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build().map_err(|_| bad_host)
}

/// A stream: of a connection that is there, or of a new one.
async fn obtain(
    pool: &Pool,
    origin: &Arc<Origin>,
    timeouts: &Timeouts,
) -> Result<(SendRequest<Outgoing>, Using), UpstreamError> {
    let lane = pool.multiplexer().lane(origin);
    if let Some(found) = lane.take(pool, origin) {
        return Ok(found);
    }
    let failed =
        |kind| UpstreamError { origin: origin.clone(), phase: Phase::Connect, kind, sent: false, body_consumed: false };
    let now = Instant::now();
    let limit = timeouts.limit(now, timeouts.connect).unwrap_or(now + Duration::from_secs(120));
    let opening = timeout_at(limit, lane.opening.lock()).await.map_err(|_| failed(Kind::Timeout))?;
    if let Some(found) = lane.take(pool, origin) {
        return Ok(found);
    }
    let (io, peer) = pool.open(origin, timeouts).await?;
    let mut builder = Builder::new(Local);
    builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    // Until the target's SETTINGS are here: what is sent beyond its limit would wait behind the others, or be refused.
    builder.initial_max_send_streams(1);
    let made = timeout_at(limit, builder.handshake(TokioIo::new(io))).await.map_err(|_| failed(Kind::Timeout))?;
    let (sender, connection) = made.map_err(|error| failed(Kind::Reset(io::Error::other(text(&error)))))?;
    let streams = Rc::new(Streams {
        used: Cell::new(0),
        allowed: Cell::new(connection.current_max_send_streams().max(1)),
        opens_websockets: Cell::new(false),
        answered: Cell::new(false),
        asked: tokio::sync::Notify::new(),
        since: Cell::new(now),
    });
    let known = streams.clone();
    tokio::task::spawn_local(async move {
        let mut connection = connection;
        let ended = loop {
            let going = poll_fn(|cx| {
                let polled = std::pin::Pin::new(&mut connection).poll(cx);
                // SECURITY: a target that allows none would have a new connection made for each request.
                known.allowed.set(connection.current_max_send_streams().max(1));
                known.opens_websockets.set(connection.is_extended_connect_protocol_enabled());
                polled
            });
            tokio::select! {
                biased;
                ended = going => break ended,
                () = known.asked.notified() => {}
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error = text(&error), "an HTTP/2 connection to a target ended early");
        }
    });
    let using = Using::new(&streams);
    lane.connections.borrow_mut().push(Multiplexed { sender: sender.clone(), peer, streams });
    drop(opening);
    Ok((sender, using))
}

/// Waits for the head. While the target waits for the client's body its silence is right: only the deadline counts.
async fn head<B, E>(
    sent: impl Future<Output = Result<Response<B>, E>>,
    lent: &Lent,
    timeouts: &Timeouts,
) -> Result<Response<B>, Failed>
where
    E: Into<Lost>,
{
    let mut sent = pin!(sent);
    let mut timer = Timer::default();
    let timed_out = |kind, phase| Poll::Ready(Err(Failed { phase, kind, unprocessed: false }));
    poll_fn(|cx| {
        if let Poll::Ready(answered) = sent.as_mut().poll(cx) {
            return Poll::Ready(answered.map_err(|error| {
                let Lost { text, unprocessed } = error.into();
                Failed { phase: Phase::Head, kind: Kind::Reset(io::Error::other(text)), unprocessed }
            }));
        }
        loop {
            let waits_for_client = lent.waits_for_client();
            // The body moves in another task, so that this one looks again after a while.
            let since = if waits_for_client { Instant::now() } else { lent.moved() };
            let Some(limit) = timeouts.limit(since, timeouts.first_byte) else { return Poll::Pending };
            if timer.poll(cx, limit).is_pending() {
                return Poll::Pending;
            }
            let past_deadline = timeouts.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            match waits_for_client {
                true if past_deadline => return timed_out(Kind::ClientStalled, Phase::Write),
                true => {}
                false => return timed_out(Kind::Timeout, Phase::Head),
            }
        }
    })
    .await
}

/// A request that hyper gave up.
struct Lost {
    text: String,
    unprocessed: bool,
}

impl<T> From<hyper::client::conn::TrySendError<T>> for Lost {
    fn from(mut error: hyper::client::conn::TrySendError<T>) -> Lost {
        let unsent = error.take_message().is_some();
        let text = text(error.error());
        Lost { unprocessed: unsent || is_unprocessed(error.error()), text }
    }
}

/// RFC 9113 §8.7: REFUSED_STREAM, and streams above the last one that a GOAWAY without error names; h2 fails only those
/// with it.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let reason = error.reason();
            return error.is_remote()
                && (error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM)
                    || error.is_go_away() && reason == Some(h2::Reason::NO_ERROR));
        }
        cause = error.source();
    }
    false
}

/// An error of hyper with its causes: alone it says no more than `http2 error`.
pub(super) fn text(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Everything stays on the worker's thread.
#[derive(Clone, Copy, Debug)]
struct Local;

impl<F> Executor<F> for Local
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
