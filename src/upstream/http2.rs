//! HTTP/2 towards targets: few connections, each shared by many exchanges of a worker.
//!
//! Framing, flow control and the table of headers are the crate h2's; here is which connection an exchange takes, how long it
//! waits, and what may be sent again. Not by hyper, whose client tells nobody of interim responses. A connection is replaced when it is closed or told to go away; another is opened
//! when all streams that the target allows are in use. Dropping a response resets its stream and no more.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use tokio::time::{Instant, timeout_at};

use super::error::{BadResponse, Kind, Phase, UpstreamError};
use super::http2_body::{Lent, Outgoing, Piping, ResponseBody, Using};
use super::{Origin, Pool, Request, Timeouts, extended};
use crate::http::Body;
use crate::http2::{
    self,
    body::{Arriving, Message},
};
use crate::timer::Timer;

/// What a stream, and a connection, may have on the way to us: enough for 1 Gbit/s at 8 ms.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// The fields of a head, as over HTTP/1.1.
const MAX_HEAD: u32 = 64 * 1024;
/// What of a request's body waits for the target's window, at most.
const MAX_WAITING: usize = 1 << 20;
/// Interim responses to one request, as over HTTP/1.1.
const MAX_INTERIM: usize = 64;

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
    sender: SendRequest<Bytes>,
    peer: SocketAddr,
    streams: Rc<Streams>,
}

/// How many streams a connection carries.
#[derive(Debug)]
pub(super) struct Streams {
    pub used: Cell<usize>,
    /// Whether the target's SETTINGS are surely here.
    pub answered: Cell<bool>,
    pub since: Cell<Instant>,
}

impl Multiplexed {
    /// Whether it takes no further stream: it has ended, or was told to go away.
    fn is_closed(&mut self) -> bool {
        matches!(self.sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    fn has_room(&self) -> bool {
        // SECURITY: a target that allows none would have a new connection made for each request.
        self.streams.used.get() < self.sender.current_max_send_streams().max(1)
    }
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
            connections.retain_mut(|one| {
                let resting = one.streams.used.get() == 0 && now.duration_since(one.streams.since.get()) >= idle;
                !one.is_closed() && !resting
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
    fn take(&self, pool: &Pool, origin: &Arc<Origin>) -> Option<(SendRequest<Bytes>, Using)> {
        let mut connections = self.connections.borrow_mut();
        connections.retain_mut(|one| !one.is_closed() && pool.leads_to(origin, one.peer));
        let free = connections.iter().find(|one| one.has_room())?;
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
    let Request { origin, method, target, host, headers, mut upgrade, interim, body } = request;
    let mut again = true;
    loop {
        let (sender, using) = obtain(pool, origin, timeouts).await?;
        let fail = |failed: Failed, body_consumed| UpstreamError {
            origin: origin.clone(),
            phase: failed.phase,
            kind: failed.kind,
            sent: !failed.unprocessed,
            body_consumed,
        };
        let websocket = match upgrade.as_deref().and_then(|upgrade| upgrade.websocket.as_ref()) {
            Some(handshake) if extended::is_taken(&sender, using.streams(), timeouts).await => Some(handshake.clone()),
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
        http2::strip(request.headers_mut());
        if let Some(length) = outgoing.len().filter(|length| *length > 0 || means_body(method)) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let lent = Lent::new(outgoing);
        let answered = match begin(sender, request, websocket.is_some() || !lent.is_empty()).await {
            Ok((response, sending)) if websocket.is_some() => {
                let answered = head(response, interim, &lent, timeouts).await;
                answered.map(|response| (response, Piping::none(), Some(sending)))
            }
            Ok((response, sending)) => {
                // A task of its own, since a call may go on in one direction while the other waits.
                let piping = Piping::of(Outgoing::of(&lent), sending);
                head(response, interim, &lent, timeouts).await.map(|response| (response, piping, None))
            }
            // Never sent.
            Err(error) => Err(Failed { phase: Phase::Head, kind: reset(error), unprocessed: true }),
        };
        let mut failed = match answered {
            Ok((response, piping, sending)) => {
                using.streams().answered.set(true);
                let response = match (&websocket, upgrade.as_deref_mut(), sending) {
                    (Some(handshake), Some(upgrade), Some(sending)) if response.status().is_success() => {
                        return extended::opened(response, sending, handshake, upgrade, using)
                            .map_err(|kind| fail(Failed { phase: Phase::Head, kind, unprocessed: false }, false));
                    }
                    _ => response,
                };
                let (head, incoming) = response.into_parts();
                let timeouts = timeouts.of_body(&head.headers);
                let to_head = *method == Method::HEAD;
                let incoming = Arriving::new(incoming, &head.headers, Message::Response { to_head });
                let body = ResponseBody::new(incoming, using, lent, piping, origin.clone(), timeouts);
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
) -> Result<(SendRequest<Bytes>, Using), UpstreamError> {
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
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD)
        .max_send_buffer_size(MAX_WAITING)
        // Until the target's SETTINGS are here: what is sent beyond its limit would wait behind the others, or be refused.
        .initial_max_send_streams(1);
    let made = timeout_at(limit, builder.handshake(io)).await.map_err(|_| failed(Kind::Timeout))?;
    let (sender, connection) = made.map_err(|error| failed(reset(error)))?;
    let streams = Rc::new(Streams { used: Cell::new(0), answered: Cell::new(false), since: Cell::new(now) });
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an HTTP/2 connection to a target ended early");
        }
    });
    let using = Using::new(&streams);
    lane.connections.borrow_mut().push(Multiplexed { sender: sender.clone(), peer, streams });
    drop(opening);
    Ok((sender, using))
}

/// Whether a request of this method without a body says so (RFC 9110 §8.6).
fn means_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Opens a stream; with `goes_on` more follows the head.
async fn begin(
    sender: SendRequest<Bytes>,
    request: http::Request<()>,
    goes_on: bool,
) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
    sender.ready().await?.send_request(request, !goes_on)
}

/// Waits for the head. While the target waits for the client's body its silence is right: only the deadline counts.
async fn head(
    mut response: ResponseFuture,
    told: Option<&dyn Fn(StatusCode, HeaderMap)>,
    lent: &Lent,
    timeouts: &Timeouts,
) -> Result<Response<RecvStream>, Failed> {
    let mut timer = Timer::default();
    let mut interim = 0;
    let timed_out = |kind, phase| Poll::Ready(Err(Failed { phase, kind, unprocessed: false }));
    poll_fn(|cx| {
        while let Poll::Ready(Some(Ok(early))) = response.poll_informational(cx) {
            interim += 1;
            if interim > MAX_INTERIM {
                let kind = Kind::BadResponse(BadResponse::TooManyInterim(MAX_INTERIM));
                return Poll::Ready(Err(Failed { phase: Phase::Head, kind, unprocessed: false }));
            }
            let (early, ()) = early.into_parts();
            // 101 has no meaning here (RFC 9113 §8.6), and 100 is for the connection to say.
            if let Some(told) = told
                && !matches!(early.status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS)
            {
                told(early.status, early.headers);
            }
        }
        if let Poll::Ready(answered) = Pin::new(&mut response).poll(cx) {
            return Poll::Ready(answered.map_err(|error| {
                let unprocessed = is_unprocessed(&error);
                Failed { phase: Phase::Head, kind: reset(error), unprocessed }
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

/// RFC 9113 §8.7: REFUSED_STREAM, and streams above the last one that a GOAWAY without error names; h2 fails only those
/// with it.
fn is_unprocessed(error: &h2::Error) -> bool {
    let reason = error.reason();
    error.is_remote()
        && (error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM)
            || error.is_go_away() && reason == Some(h2::Reason::NO_ERROR))
}

pub(super) fn reset(error: h2::Error) -> Kind {
    Kind::Reset(io::Error::other(error))
}
