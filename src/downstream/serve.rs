//! The loop of a connection: a head, its answer, and the next.
//!
//! Begin with [`serve`]; each step is a function below. Whatever ends early ends the connection: nothing is repaired, since after
//! a mistake nobody knows where the next request begins.

use super::{
    Cut, Interim, Limits, Request, Service, Spares, Upgraded,
    client::Client,
    linger,
    sender::{Sender, Unsent},
    spares::READ,
};
use crate::{
    http::{Body, police::Refusal, received::Pulled},
    http1::{
        request::{Framing, RequestHead, RequestReader},
        response::{self, Fate, Frame, announced, write_head},
    },
};
use http::{HeaderMap, Method, Response, StatusCode, Version, header::CONNECTION};
use http_body::Body as _;
use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    time::Instant,
};

/// Of a request's body that nobody read, so much is read away to keep the connection, for so long: a new one costs the client more.
const MAX_SKIPPED: u64 = 64 * 1024;
const SKIP_TIME: Duration = Duration::from_secs(1);

/// Serves a connection until it ends. From `drain` on, an exchange that runs is the last, and an idle connection is closed.
///
/// # Errors
/// Why it ended in the middle of an exchange.
pub async fn serve<S, V>(
    io: S,
    service: &V,
    limits: Limits,
    spares: Rc<Spares>,
    drain: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    V: Service,
{
    let client = Rc::new(RefCell::new(Client::new(io, limits, spares)));
    let mut drain = Drain { began: false, future: pin!(drain) };
    let mut is_first = true;
    loop {
        let head = pin!(next_head(&client, &mut drain, is_first)).await;
        is_first = false;
        match head {
            Ok(None) => return Ok(()),
            Ok(Some(head)) => {
                // Pinned before it is awaited, here and wherever a request passes: by value it would be moved, and all it waits for with it.
                if !pin!(exchange(&client, service, &mut drain, head)).await? {
                    return Ok(());
                }
            }
            Err(refusal) => {
                let response = service.refuse(refusal).await;
                let answered = Answered { method: Method::GET, version: Version::HTTP_11, takes_trailers: false };
                send(&client, service, &answered, Fate::Closed, response).await?;
                linger::close(&client, true).await;
                return Ok(());
            }
        }
    }
}

/// When the process drains, asked for without waiting.
struct Drain<'d, F> {
    began: bool,
    future: Pin<&'d mut F>,
}

impl<F: Future<Output = ()>> Drain<'_, F> {
    fn has_begun(&mut self, cx: &mut Context<'_>) -> bool {
        self.began = self.began || self.future.as_mut().poll(cx).is_ready();
        self.began
    }
}

/// Waits for the next head; nothing when the connection is over.
///
/// Only the wait for a first byte is the client's to make as long as it likes, within `idle_timeout`: a connection that has sent none, or
/// a part of a head and no more, must do so in `header_timeout`.
async fn next_head<S, D>(
    client: &RefCell<Client<S>>,
    drain: &mut Drain<'_, D>,
    is_first: bool,
) -> Result<Option<RequestHead>, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: Future<Output = ()>,
{
    let mut reader = RequestReader::default();
    let (mut idle_since, mut begun) = (None, None);
    poll_fn(|cx| {
        let client = &mut *client.borrow_mut();
        loop {
            if !client.input.is_empty()
                && let Some(head) = reader.read(&mut client.input, client.limits.head, || client.spares.map())?
            {
                return Poll::Ready(Ok(Some(head)));
            }
            match client.poll_read(cx, READ) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Ok(None)),
                Poll::Pending => break,
            }
        }
        if !client.input.is_empty() {
            let since = *begun.get_or_insert_with(Instant::now);
            return poll_limit(client, cx, since, client.limits.header_timeout).map(|()| Err(LATE));
        }
        client.rest();
        // What was accepted is served once: to its client the connection is open, and may carry a request.
        if !is_first && drain.has_begun(cx) {
            return Poll::Ready(Ok(None));
        }
        let since = *idle_since.get_or_insert_with(Instant::now);
        let limit = if is_first { client.limits.header_timeout } else { client.limits.idle_timeout };
        poll_limit(client, cx, since, limit).map(|()| Ok(None))
    })
    .await
}

const LATE: Refusal = Refusal { status: StatusCode::REQUEST_TIMEOUT, reason: "the request head took too long" };

fn poll_limit<S>(client: &mut Client<S>, cx: &mut Context<'_>, since: Instant, length: Duration) -> Poll<()> {
    match since.checked_add(length) {
        Some(limit) => client.timer.poll(cx, limit),
        None => Poll::Pending,
    }
}

/// What of a request decides how its answer is written.
struct Answered {
    method: Method,
    version: Version,
    takes_trailers: bool,
}

/// One request and its answer; whether the connection takes another.
async fn exchange<S, V, D>(
    client: &Rc<RefCell<Client<S>>>,
    service: &V,
    drain: &mut Drain<'_, D>,
    head: RequestHead,
) -> io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    V: Service,
    D: Future<Output = ()>,
{
    let RequestHead { parts, framing, keeps_alive, expects_continue, takes_trailers, upgrades } = head;
    let answered = Answered { method: parts.method.clone(), version: parts.version, takes_trailers };
    let request = client.borrow_mut().begin(framing, expects_continue);
    let body = match framing {
        Framing::None | Framing::Length(0) => Body::Empty,
        Framing::Length(_) | Framing::Chunked => Body::incoming(Pulled { source: client.clone(), request }),
    };
    let is_old = parts.version == Version::HTTP_10;
    let interim = (!is_old).then(|| Interim { client: client.clone(), request });
    let (switched, upgrade) = match upgrades && !is_old {
        true => {
            let (switched, upgrade) = oneshot::channel();
            let upgrade: super::Upgrading = Box::pin(async {
                // The connection ended without switching.
                upgrade.await.map_err(|_| io::ErrorKind::ConnectionAborted.into())
            });
            (Some(switched), Some(upgrade))
        }
        false => (None, None),
    };
    let mut draining = false;
    let response = {
        let mut serving = pin!(service.serve(Request { head: parts, body, interim, upgrade }));
        poll_fn(|cx| {
            if let Poll::Ready(response) = serving.as_mut().poll(cx) {
                draining = drain.has_begun(cx);
                return Poll::Ready(Some(response));
            }
            client.borrow_mut().poll_gone(cx).map(|()| None)
        })
        .await
    };
    // Dropped with the exchange, which says so in its record.
    let Some(mut response) = response else { return Ok(false) };
    if client.borrow().has_left() {
        // What was made of the broken body is an answer to nobody, as far as anyone can tell.
        service.cut_off(response.body_mut(), Cut::Gone);
    }
    if let Some(switched) = switched.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
        send(client, service, &answered, Fate::Switched, response).await?;
        let client = &mut *client.borrow_mut();
        if let Some(io) = client.io.take() {
            let first = std::mem::take(&mut client.input).freeze();
            // Nobody waits for it when the tunnel could not be made.
            let _ = switched.send(Upgraded { io: Box::new(io), first });
        }
        return Ok(false);
    }
    let kept = keeps_alive && !draining && client.borrow().arriving.may_be_skipped(MAX_SKIPPED);
    let fate = match kept {
        true if is_old => Fate::KeptOnRequest,
        true => Fate::Kept,
        false => Fate::Closed,
    };
    let kept = pin!(send(client, service, &answered, fate, response)).await? && kept;
    if kept && (client.borrow().arriving.has_ended() || skip_body(client).await) {
        return Ok(true);
    }
    let has_more = {
        let client = client.borrow();
        !client.input.is_empty() || !client.arriving.has_ended()
    };
    linger::close(client, has_more).await;
    Ok(false)
}

/// Writes an answer; whether the connection is in order behind it.
async fn send<S, V>(
    client: &RefCell<Client<S>>,
    service: &V,
    to: &Answered,
    fate: Fate,
    response: Box<Response<V::Body>>,
) -> io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
    V: Service,
{
    let spares = client.borrow().spares.clone();
    let (head, mut body) = response.into_parts();
    let passed = service.passed(&mut body);
    let length = body.size_hint().exact();
    let framing = response::Framing::of(&to.method, to.version, head.status, length);
    let closes = framing == response::Framing::UntilClose || says_close(&head.headers);
    let fate = if closes { Fate::Closed } else { fate };
    // No look at the clock for a head that says when it was made.
    let date = if passed.as_ref().is_some_and(|passed| passed.is_dated) { Default::default() } else { spares.date() };
    let mut out = spares.output();
    client.borrow_mut().answer(&mut out);
    let frame = Frame {
        framing,
        fate,
        length_of_head: length.filter(|length| to.method == Method::HEAD && *length > 0),
        date: &date,
        passed: passed.as_deref(),
    };
    write_head(&mut out, head.status, &head.headers, &frame);
    let announced = match framing {
        response::Framing::Chunked if to.takes_trailers => announced(&head.headers),
        _ => Vec::new(),
    };
    spares.give_map(head.headers);
    let mut sender = Sender::new(out, body, framing, announced);
    let sent = poll_fn(|cx| sender.poll(cx, client)).await;
    let Sender { gathered, mut body, .. } = sender;
    spares.give_output(gathered.bytes);
    match sent {
        Ok(()) => Ok(fate != Fate::Closed),
        Err(unsent) => {
            if let (Some(cut), Some(body)) = (unsent.cut(), &mut body) {
                service.cut_off(body, cut);
            }
            Err(match unsent {
                Unsent::Io(error) => error,
                other => io::Error::other(other),
            })
        }
    }
}

/// Whether the service wants the connection to end.
fn says_close(headers: &HeaderMap) -> bool {
    // One look at the names costs less than a search for one that is seldom there.
    headers.keys().any(|name| *name == CONNECTION) && headers.get(CONNECTION).is_some_and(|value| value == "close")
}

/// Reads away what is left of a request's body; whether that was soon done.
async fn skip_body<S: AsyncRead + AsyncWrite + Unpin>(client: &RefCell<Client<S>>) -> bool {
    let until = Instant::now() + SKIP_TIME;
    let mut skipped = 0;
    poll_fn(|cx| {
        let client = &mut *client.borrow_mut();
        loop {
            match client.poll_body(cx) {
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                Poll::Ready(Some(Ok(frame))) => {
                    skipped += frame.data_ref().map_or(0, |data| data.len() as u64);
                    if skipped > MAX_SKIPPED {
                        return Poll::Ready(false);
                    }
                }
                Poll::Pending => return client.timer.poll(cx, until).map(|()| false),
            }
        }
    })
    .await
}
