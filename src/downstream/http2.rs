//! The server towards clients, HTTP/2: a task for each connection, and one for each stream.
//!
//! Frames, flow control and the table of headers are the crate h2's; here is what becomes of a request's stream, in the same words
//! as HTTP/1.1 ([`super::serve`]). Not by hyper, whose server gives a service no way to send interim responses, though browsers take
//! Early Hints over HTTP/2 alone.

mod alive;
mod paced;

use super::{Cut, Interim, Request, Service, Spares, Upgraded, Upgrading, client::Interims};
use crate::{
    http::{Body, received::Received},
    http2::{
        body::{self, Arriving, Message, Unsent},
        strip,
        tunnel::Stream,
    },
    timer::Timer,
};
use alive::Alive;
use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    ext::Protocol,
    server::{Builder, SendResponse},
};
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, CONTENT_TYPE, DATE},
};
use http_body::Body as HttpBody;
use paced::Paced;
use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    time::Instant,
};

/// Bytes of a stream that wait for the client's window, at most; hyper's figure.
const MAX_WAITING: usize = 400 * 1024;
/// Interim responses to one request; further ones are left out.
const MAX_INTERIM: usize = 64;

/// What a connection of HTTP/2 may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Exchanges at once.
    pub streams: u32,
    /// Bytes that may be on their way unread, of a stream and of the connection.
    pub stream_window: u32,
    pub connection_window: u32,
    /// The fields of a head, in bytes as RFC 9113 §6.5.2 counts them.
    pub header_bytes: u32,
    /// Streams that were reset before anyone looked at them: more end the connection.
    pub reset_streams: usize,
    /// Without a stream.
    pub idle_timeout: Duration,
    /// Bytes a second of a body that is waited for; 0 for no limit. Not of gRPC, whose calls may be silent.
    pub min_body_rate: u64,
    /// Without a byte taken of an answer that waits.
    pub write_timeout: Duration,
}

/// A stream, counted among those of its connection for as long as it lasts.
struct Open(Rc<Cell<usize>>);

impl Open {
    fn of(streams: &Rc<Cell<usize>>) -> Open {
        streams.set(streams.get() + 1);
        Open(streams.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Serves a connection until it ends. From `drain` on it takes no further stream, and ends with those that it has.
///
/// # Errors
/// Why it ended before its time.
pub async fn serve<S, V>(
    io: S,
    service: V,
    limits: Limits,
    spares: Rc<Spares>,
    drain: impl Future<Output = ()>,
) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    V: Service + 'static,
    V::Body: 'static,
{
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_header_list_size(limits.header_bytes)
        .max_pending_accept_reset_streams(limits.reset_streams)
        .max_send_buffer_size(MAX_WAITING)
        .enable_connect_protocol();
    let mut connection = builder.handshake::<_, Bytes>(io).await?;
    let mut alive = Alive::new(connection.ping_pong());
    let service = Rc::new(service);
    let streams = Rc::new(Cell::new(0));
    let (mut timer, mut idle_since) = (Timer::default(), None);
    let mut drain = pin!(drain);
    let (mut ending, mut gone) = (false, false);
    loop {
        let accepted = poll_fn(|cx| {
            let is_idle = if streams.get() > 0 {
                idle_since = None;
                false
            } else {
                let since = *idle_since.get_or_insert_with(Instant::now);
                since.checked_add(limits.idle_timeout).is_some_and(|limit| timer.poll(cx, limit).is_ready())
            };
            if !ending && (is_idle || drain.as_mut().poll(cx).is_ready()) {
                ending = true;
                connection.graceful_shutdown();
            }
            if !gone && alive.poll_gone(cx).is_ready() {
                gone = true;
                connection.abrupt_shutdown(Reason::NO_ERROR);
            }
            connection.poll_accept(cx)
        })
        .await;
        match accepted {
            Some(Ok((request, respond))) => {
                let (service, spares, open) = (service.clone(), spares.clone(), Open::of(&streams));
                tokio::task::spawn_local(exchange(service, spares, limits, open, request, respond));
            }
            Some(Err(error)) => return Err(error),
            None => return Ok(()),
        }
    }
}

/// One request and its answer.
async fn exchange<V: Service>(
    service: Rc<V>,
    spares: Rc<Spares>,
    limits: Limits,
    open: Open,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (head, stream) = request.into_parts();
    let reply = Rc::new(Reply::new(respond));
    let method = head.method.clone();
    // Only an extended CONNECT becomes a tunnel (RFC 8441); a plain one is refused like any other method.
    let opens = method == Method::CONNECT && head.extensions.get::<Protocol>().is_some();
    let (mut opened, mut arriving, mut body, mut upgrade) = (None, None, Body::Empty, None);
    if opens {
        let (open_it, waiting) = oneshot::channel();
        // Never sent when the answer opens nothing.
        let waiting: Upgrading = Box::pin(async { waiting.await.map_err(|_| io::ErrorKind::ConnectionAborted.into()) });
        (opened, upgrade) = (Some((open_it, stream)), Some(waiting));
    } else if !stream.is_end_stream() {
        let rate = if is_grpc(&head.headers) { 0 } else { limits.min_body_rate };
        let shared = Rc::new(RefCell::new(Arriving::new(stream, &head.headers, Message::Request)));
        body = Body::incoming(Received::Http2(Box::new(Paced::new(shared.clone(), rate))));
        arriving = Some(shared);
    }
    let interim = Some(Interim { client: reply.clone(), request: 0 });
    let request = Request { head: Box::new(head), body, interim, upgrade };
    let Some(response) = answered(service.serve(request), &reply).await else { return };
    let (mut head, mut body) = response.into_parts();
    head.version = Version::HTTP_2;
    strip(&mut head.headers);
    if !head.headers.contains_key(DATE) {
        // A date is a valid value.
        head.headers.extend(HeaderValue::from_bytes(&spares.date()).ok().map(|date| (DATE, date)));
    }
    if let Some((opened, stream)) = opened
        && head.status.is_success()
    {
        head.headers.remove(CONTENT_LENGTH);
        if let Some(sending) = reply.send(head, false) {
            // Nobody waits for it when the tunnel could not be made: the stream is reset with it.
            let _ = opened.send(Upgraded { io: Box::new(Stream::new(sending, stream, open)), first: Bytes::new() });
        }
        return;
    }
    let ends = method == Method::HEAD || bodiless(head.status) || body.is_end_stream();
    // An answer to HEAD has the length that one to GET would have (RFC 9110 §9.3.2), and may have said it.
    let of_head = method == Method::HEAD && !body.is_end_stream() && !head.headers.contains_key(CONTENT_LENGTH);
    if (!ends || of_head)
        && let Some(length) = body.size_hint().exact()
    {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(sending) = reply.send(head, ends)
        && !ends
        && let Err(unsent) = body::send(&mut body, sending, limits.write_timeout).await
    {
        let cut = match unsent {
            Unsent::Reset => Cut::Gone,
            Unsent::Stalled => Cut::Stalled,
        };
        service.cut_off(&mut body, cut);
        return;
    }
    // With it goes whoever may still read the request.
    drop(body);
    if let Some(arriving) = arriving {
        paced::skip(&arriving).await;
    }
}

/// Waits for the answer; nothing when the client has reset the stream, or the connection has ended.
async fn answered<B>(serving: impl Future<Output = Box<Response<B>>>, reply: &Reply) -> Option<Box<Response<B>>> {
    let mut serving = pin!(serving);
    poll_fn(|cx| {
        // First: the request's body breaks off with it, and that would be an answer to nobody.
        if reply.respond.borrow_mut().poll_reset(cx).is_ready() {
            return Poll::Ready(None);
        }
        serving.as_mut().poll(cx).map(Some)
    })
    .await
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// RFC 9110 §6.4.1.
fn bodiless(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// Where the answer to one request goes, and what comes before it.
struct Reply {
    respond: RefCell<SendResponse<Bytes>>,
    answered: Cell<bool>,
    interim: Cell<usize>,
}

impl Reply {
    fn new(respond: SendResponse<Bytes>) -> Reply {
        Reply { respond: RefCell::new(respond), answered: Cell::new(false), interim: Cell::new(0) }
    }

    /// Nothing when the stream is gone.
    fn send(&self, head: http::response::Parts, ends: bool) -> Option<SendStream<Bytes>> {
        self.answered.set(true);
        let respond = &mut *self.respond.borrow_mut();
        match respond.send_response(Response::from_parts(head, ()), ends) {
            Ok(sending) => Some(sending),
            Err(error) => {
                tracing::debug!(%error, "an answer could not be sent");
                respond.send_reset(Reason::INTERNAL_ERROR);
                None
            }
        }
    }
}

impl Interims for Reply {
    fn interim(&self, _request: u64, status: StatusCode, headers: &HeaderMap) {
        if self.answered.get() || self.interim.get() >= MAX_INTERIM {
            return;
        }
        self.interim.set(self.interim.get() + 1);
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = Version::HTTP_2;
        *response.headers_mut() = headers.clone();
        strip(response.headers_mut());
        response.headers_mut().remove(CONTENT_LENGTH);
        // The final answer finds out what there is to find out.
        let _ = self.respond.borrow_mut().send_informational(response);
    }
}
