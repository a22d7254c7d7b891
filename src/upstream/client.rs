//! One exchange with a target, from the request to the head of its response.
//!
//! Sending and waiting go on side by side: a target may answer before it has read the whole request, and then its answer
//! counts. The body of the response goes on in [`super::body`]. A connection returns to the pool only when nothing of the
//! exchange is left on it; in every other case, a dropped future included, it is closed.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{Method, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::body::UpstreamBody;
use super::connection::{Connection, Io};
use super::error::{BadResponse, Kind, Phase, UpstreamError, is_idempotent};
use super::framing::{RequestFraming, decoder, keeps_alive};
use super::head::{HeadReader, ResponseHead, write_request};
use super::sender::{SendError, Sender, WaitsFor};
use super::{Origin, Pool, Timeouts, http2};
use crate::http::{Body, passed::Passed};
use crate::http1::body::{BodyDecoder, Decoded};

/// No honest server sends more interim responses than this.
const MAX_INTERIM: usize = 16;

/// A request to a target. It borrows, so that it can be tried again elsewhere.
pub struct Request<'r> {
    pub origin: &'r Arc<Origin>,
    pub method: &'r Method,
    /// The path and the query, normalised.
    pub target: &'r str,
    /// What `Host` says; the origin when absent.
    pub host: Option<&'r HeaderValue>,
    /// Without hop-by-hop fields. `Host`, `Content-Length` and `Transfer-Encoding` are ignored and written anew.
    pub headers: &'r HeaderMap,
    /// What to switch to. HTTP/2 can to a WebSocket only.
    pub upgrade: Option<&'r mut Upgrade>,
    /// Is told of interim responses (RFC 9110 §15.2) but 100, which is for this connection. Only HTTP/1.1 has a way to tell.
    pub interim: Option<&'r dyn Fn(StatusCode, HeaderMap)>,
    /// Taken when its bytes are; left in place, or put back, when a failure came before that.
    pub body: &'r mut Body,
}

/// Writes lines of a head, each with its end.
pub type Lines<'r> = &'r dyn Fn(&mut Vec<u8>);

/// What goes past the maps of headers, of a request or its response that nobody looks at.
pub struct Direct<'r> {
    /// Go behind the request's headers.
    pub lines: Lines<'r>,
    /// Whether the head of the response may pass.
    pub passes: bool,
    /// The time of now, which the caller knows.
    pub begun: std::time::Instant,
    /// The head of the response, if it may pass as it came: then the response has no headers.
    pub passed: Cell<Option<Box<Passed>>>,
}

/// A request to switch protocols (RFC 9110 §7.8), and what came of it.
#[derive(Debug)]
pub struct Upgrade {
    pub protocol: HeaderValue,
    /// Of a WebSocket.
    pub websocket: Option<Handshake>,
    /// There once the target has answered 101.
    pub switched: Option<Switched>,
}

/// What is to be seen to in the handshake of a WebSocket (RFC 6455 §4).
#[derive(Clone, Debug)]
pub struct Handshake {
    /// What the target's `Sec-WebSocket-Accept` must say.
    pub accept: HeaderValue,
    /// Whether the key is the gateway's, so that nobody behind it checks the answer, and a success that is no 101 has
    /// nobody who could read it.
    pub own_key: bool,
}

impl Upgrade {
    /// Holds an answer to what the gateway itself has asked for; a refusal is always fine.
    fn check(&self, head: &ResponseHead) -> Result<(), BadResponse> {
        let Some(Handshake { accept, own_key: true }) = &self.websocket else { return Ok(()) };
        match head.status {
            StatusCode::SWITCHING_PROTOCOLS if head.headers.get(SEC_WEBSOCKET_ACCEPT) != Some(accept) => {
                Err(BadResponse::NotAccepted)
            }
            status if status.is_success() => Err(BadResponse::NotSwitched(status.as_u16())),
            _ => Ok(()),
        }
    }
}

/// The connection to a target that has switched protocols. It is never used for HTTP again.
#[derive(Debug)]
pub struct Switched {
    pub io: Box<dyn Transport>,
    /// What came behind the 101.
    pub first: Bytes,
}

/// Bytes both ways: a connection, or a stream of one.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + std::fmt::Debug {}

impl Transport for Io {}

/// An exchange in progress: what the wait for the head hands on to the response body.
#[derive(Debug)]
pub(super) struct Exchange {
    pub pool: Pool,
    pub origin: Arc<Origin>,
    pub connection: Box<Connection>,
    pub sender: Sender,
    pub sending: Sending,
    pub timeouts: Timeouts,
    /// Whether a byte of a response was read.
    pub answered: bool,
    /// When the connection was there; the first wait is reckoned from then, so that a request which leaves at once needs
    /// no second look at the clock.
    pub began: Instant,
    /// When bytes last moved; `None` when they have since the last wait.
    pub quiet_since: Option<Instant>,
}

/// The head of a response, and what came of its body together with it.
struct Answer {
    head: ResponseHead,
    decoder: BodyDecoder,
    first: Decoded,
}

/// How the sending half stands.
#[derive(Debug)]
pub(super) enum Sending {
    Going,
    Done,
    /// Stopped before its end; the connection can't be used again.
    Stopped(Option<io::Error>),
}

impl Pool {
    /// Sends a request and waits for the head of its response.
    ///
    /// A body that is already here comes as `Full`, and its connection is back in the pool; otherwise the body brings
    /// the connection back when it ends. When a *reused* connection turns out to have been closed by the target, the
    /// request is sent once more on a fresh one, if the method is idempotent or no byte had left.
    ///
    /// # Errors
    /// Every failure up to the head; see [`UpstreamError`] for what may follow. Dropping the future closes the
    /// connection.
    pub async fn send(&self, request: Request<'_>, timeouts: &Timeouts) -> Result<Response<Body>, UpstreamError> {
        self.send_direct(request, timeouts, None).await
    }

    /// The same for what passes through: see [`Direct`], of which HTTP/2 knows nothing.
    ///
    /// # Errors
    /// Those of [`send`](Pool::send).
    pub async fn send_direct(
        &self,
        request: Request<'_>,
        timeouts: &Timeouts,
        direct: Option<&Direct<'_>>,
    ) -> Result<Response<Body>, UpstreamError> {
        if request.origin.is_http2() {
            return Box::pin(http2::send(self, request, timeouts)).await;
        }
        let Request { origin, method, target, host, headers, mut upgrade, interim, body } = request;
        let mut now = direct.map_or_else(Instant::now, |direct| direct.begun.into());
        let mut connection = match self.take(origin, now) {
            Some(connection) => connection,
            None => {
                // Boxed, as below: it is rare, and large enough to make every exchange larger.
                let connection = Box::pin(self.connect(origin, timeouts)).await?;
                now = Instant::now();
                connection
            }
        };
        let framing = RequestFraming::of(method, body);
        let mut head = std::mem::take(&mut connection.spare);
        head.clear();
        let host = host.unwrap_or(origin.host_header());
        let protocol = upgrade.as_ref().map(|upgrade| &upgrade.protocol);
        if let Err(reason) =
            write_request(&mut head, method, target, headers, direct.map(|it| it.lines), host, framing, protocol)
        {
            return Err(UpstreamError {
                origin: origin.clone(),
                phase: Phase::Write,
                kind: Kind::BadRequest(reason),
                sent: false,
                body_consumed: false,
            });
        }
        let outgoing = match body {
            Body::Empty => Body::Empty,
            // Both share the bytes, so the caller's stays whole.
            Body::Full(bytes) => Body::Full(bytes.clone()),
            Body::Incoming(_) | Body::Trailed(_) | Body::Streamed(_) => std::mem::take(body),
        };
        let mut exchange = Exchange {
            pool: self.clone(),
            origin: origin.clone(),
            connection,
            sender: Sender::new(head, outgoing, framing),
            sending: Sending::Going,
            timeouts: *timeouts,
            answered: false,
            began: now,
            quiet_since: None,
        };
        loop {
            let mut answer =
                pin!(exchange.answer(method, upgrade.is_some(), direct.is_some_and(|direct| direct.passes), interim))
                    .await;
            if let (Ok(Answer { head, .. }), Some(upgrade)) = (&answer, upgrade.as_deref())
                && let Err(bad) = upgrade.check(head)
            {
                answer = Err((Phase::Head, Kind::BadResponse(bad)));
            }
            let (phase, kind) = match answer {
                Ok(answer) if answer.head.status == StatusCode::SWITCHING_PROTOCOLS => {
                    return Ok(exchange.switch(answer.head, upgrade.as_deref_mut()));
                }
                Ok(mut answer) => {
                    if let Some(direct) = direct {
                        direct.passed.set(answer.head.passed.take());
                    }
                    return Ok(exchange.respond(answer));
                }
                Err(failure) => failure,
            };
            let failed_stale =
                exchange.connection.reused && !exchange.answered && matches!(kind, Kind::Reset(_) | Kind::Closed);
            let harmless = is_idempotent(method) || !exchange.sender.sent;
            if failed_stale && harmless && exchange.sender.rewind() {
                match Box::pin(self.connect(origin, timeouts)).await {
                    Ok(fresh) => exchange.restart(fresh),
                    Err(error) => return Err(exchange.fail(error, body)),
                }
                continue;
            }
            let error = exchange.error(phase, kind);
            return Err(exchange.fail(error, body));
        }
    }
}

impl Exchange {
    /// Waits for the head of the final response, and finds where its body ends.
    async fn answer(
        &mut self,
        method: &Method,
        may_switch: bool,
        passes: bool,
        interim: Option<&dyn Fn(StatusCode, HeaderMap)>,
    ) -> Result<Answer, (Phase, Kind)> {
        let bad = |error| (Phase::Head, Kind::BadResponse(error));
        let head = pin!(self.head(method, may_switch, passes, interim)).await?;
        let mut decoder = decoder(method, &head).map_err(bad)?;
        let first = decoder.decode(&mut self.connection.input).map_err(|error| bad(BadResponse::Chunk(error)))?;
        Ok(Answer { head, decoder, first })
    }

    /// Waits for the head of the final response, sending meanwhile.
    async fn head(
        &mut self,
        method: &Method,
        may_switch: bool,
        passes: bool,
        told: Option<&dyn Fn(StatusCode, HeaderMap)>,
    ) -> Result<ResponseHead, (Phase, Kind)> {
        let mut reader =
            HeadReader::into_map(self.pool.spare_map()).passing(passes && !may_switch && *method != Method::HEAD);
        let mut interim = 0;
        let mut first = true;
        poll_fn(|cx| {
            loop {
                self.poll_send(cx)?;
                if std::mem::take(&mut first) {
                    self.quiet_since = Some(self.began);
                }
                let head =
                    reader.read(&mut self.connection.input).map_err(|error| (Phase::Head, Kind::BadResponse(error)))?;
                if let Some(head) = head {
                    // A 101 to a request that is still being sent switches in the middle of it.
                    let switches = may_switch
                        && head.status == StatusCode::SWITCHING_PROTOCOLS
                        && matches!(self.sending, Sending::Done);
                    if switches || !head.status.is_informational() {
                        return Poll::Ready(Ok(head));
                    }
                    interim += 1;
                    check_interim(&head, method, interim).map_err(|error| (Phase::Head, Kind::BadResponse(error)))?;
                    if let Some(told) = told.filter(|_| head.status != StatusCode::CONTINUE) {
                        told(head.status, head.headers);
                    }
                    reader = HeadReader::default();
                    continue;
                }
                match self.connection.poll_read_head(cx) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.broken(None))),
                    Poll::Ready(Ok(_)) => {
                        self.answered = true;
                        self.quiet_since = None;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(self.broken(Some(error)))),
                    Poll::Pending => return self.poll_timeout(cx, Phase::Head).map(Err),
                }
            }
        })
        .await
    }

    /// Sends on, as far as possible now. A socket that fails here is not the end: the answer may be on its way, as after
    /// a refusal of a large upload (RFC 9112 §9.5).
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), (Phase, Kind)> {
        if !matches!(self.sending, Sending::Going) {
            return Ok(());
        }
        let polled = self.sender.poll(cx, &mut self.connection.io);
        if std::mem::take(&mut self.sender.progressed) {
            self.quiet_since = None;
        }
        match polled {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.sending = Sending::Done,
            Poll::Ready(Err(SendError::Socket(error))) => {
                self.sending = Sending::Stopped(Some(error));
            }
            Poll::Ready(Err(SendError::Body(error))) => {
                self.sending = Sending::Stopped(None);
                return Err((Phase::Write, Kind::Client(error)));
            }
            Poll::Ready(Err(SendError::Length)) => {
                self.sending = Sending::Stopped(None);
                let reason = "the request body is not as long as announced";
                return Err((Phase::Write, Kind::BadRequest(reason)));
            }
        }
        Ok(())
    }

    /// To be called when nothing moves; ready with the failure when it has been so for too long.
    pub fn poll_timeout(&mut self, cx: &mut Context<'_>, phase: Phase) -> Poll<(Phase, Kind)> {
        let since = *self.quiet_since.get_or_insert_with(Instant::now);
        let sending = matches!(self.sending, Sending::Going).then_some(self.sender.waits_for);
        let (limit, phase, kind) = match sending {
            // While the target waits for the client, its silence is right: only the deadline counts.
            Some(WaitsFor::Body) if phase == Phase::Head => (self.timeouts.deadline, Phase::Write, Kind::ClientStalled),
            Some(WaitsFor::Socket) if phase == Phase::Head => {
                (self.timeouts.limit(since, self.timeouts.write), Phase::Write, Kind::Timeout)
            }
            _ if phase == Phase::Head => (self.timeouts.limit(since, self.timeouts.first_byte), phase, Kind::Timeout),
            _ => (self.timeouts.limit(since, self.timeouts.read), phase, Kind::Timeout),
        };
        let Some(limit) = limit else {
            return Poll::Pending;
        };
        self.connection.timer.poll(cx, limit).map(|()| (phase, kind))
    }

    /// The connection ended before the head was there: the first thing that failed is the cause.
    fn broken(&mut self, reading: Option<io::Error>) -> (Phase, Kind) {
        match (&mut self.sending, reading) {
            (Sending::Stopped(error @ Some(_)), _) => match error.take() {
                Some(error) => (Phase::Write, Kind::Reset(error)),
                None => (Phase::Write, Kind::Closed),
            },
            (_, Some(error)) => (Phase::Head, Kind::Reset(error)),
            (_, None) => (Phase::Head, Kind::Closed),
        }
    }

    /// Goes on with the response body; when all of it is here, the connection is free already.
    fn respond(mut self, answer: Answer) -> Response<Body> {
        let Answer { head, decoder, first } = answer;
        let reusable = keeps_alive(&head);
        let body = match first {
            Decoded { data, ended: true, trailers: None } => {
                self.finish(reusable);
                Body::full(data)
            }
            Decoded { data, ended: true, trailers } => {
                self.finish(reusable);
                Body::Streamed(Box::new(UpstreamBody::whole(decoder, data, trailers)))
            }
            Decoded { data, ended: false, .. } => {
                self.timeouts = self.timeouts.of_body(&head.headers);
                Body::Streamed(Box::new(UpstreamBody::new(self, decoder, data, reusable)))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    /// Hands the connection over to the new protocol.
    fn switch(self, head: ResponseHead, upgrade: Option<&mut Upgrade>) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        if let Some(upgrade) = upgrade {
            if let Some(protocol) = response.headers().get(UPGRADE) {
                upgrade.protocol = protocol.clone();
            }
            let Connection { io, input, .. } = *self.connection;
            upgrade.switched = Some(Switched { io: Box::new(io), first: input.freeze() });
        }
        response
    }

    /// Ends an exchange whose response is complete: back to the pool, or closed.
    pub fn finish(mut self, reusable: bool) {
        // SECURITY: left-over bytes would be taken for the answer to the next client's request.
        let clean = matches!(self.sending, Sending::Done) && self.connection.input.is_empty();
        if reusable && clean {
            self.connection.spare = self.sender.take_buffer();
            self.pool.put(&self.origin, self.connection);
        }
    }

    fn restart(&mut self, mut fresh: Box<Connection>) {
        // The timer is tied to the task, not to the connection.
        std::mem::swap(&mut fresh.timer, &mut self.connection.timer);
        self.connection = fresh;
        self.sending = Sending::Going;
        self.began = Instant::now();
        self.quiet_since = None;
    }

    pub fn error(&self, phase: Phase, kind: Kind) -> UpstreamError {
        UpstreamError { origin: self.origin.clone(), phase, kind, sent: self.sender.sent, body_consumed: false }
    }

    /// Puts an untouched body back where it came from, and says so.
    fn fail(self, mut error: UpstreamError, body: &mut Body) -> UpstreamError {
        let touched = self.sender.has_touched_body();
        match body {
            Body::Full(_) => {}
            taken if touched => {
                *taken = Body::Empty;
                error.body_consumed = true;
            }
            taken => *taken = self.sender.into_body(),
        }
        error
    }
}

fn check_interim(head: &ResponseHead, method: &Method, count: usize) -> Result<(), BadResponse> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(BadResponse::Switching);
    }
    if count > MAX_INTERIM {
        return Err(BadResponse::TooManyInterim(MAX_INTERIM));
    }
    decoder(method, head).map(drop)
}
