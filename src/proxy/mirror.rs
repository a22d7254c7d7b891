//! Copies of requests for another service: its answers are dropped, and nothing that happens to a copy reaches the exchange.
//!
//! A copy runs in a task of its own on the same worker, within a bound on how many there are; beyond it the request is not
//! copied, and counted. A body that streams is copied while it goes by and leaves when it is whole: sending it piece by piece
//! would let a slow mirror hold the client back, or fill memory (Envoy streams it and bounds the buffer; nginx reads it all first).
//! Unlike Envoy, which appends `-shadow` to the host, `Host` stays what the service knows; a header of our own marks the copy.

use super::{
    forward::{self, Plan},
    record,
    tries::{self, Outgoing},
    worker::{Ready, Worker},
};
use crate::{
    config::Mirror,
    http::{Body, BodyError},
    observe::metrics::RouteMeter,
    script::{Exchange, exchange::Slot},
    upstream::Pool,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

/// Names the route on a copy.
pub const MARK: HeaderName = HeaderName::from_static("x-gatewright-mirror");
/// An answer up to this long is read, so that its connection can be used again.
const READ_AND_DROPPED: usize = 64 << 10;
/// For a service without a timeout: somebody must give up, and here nobody waits.
const LONGEST: Duration = Duration::from_secs(60);

/// Copies a request that is about to be forwarded, or arranges that it is copied as its body goes by.
pub fn copy(worker: &Worker, ready: &Rc<Ready>, exchange: &Exchange, rule: &Mirror, plan: &Plan<'_>) {
    if !worker.dice.happens(rule.share) {
        return;
    }
    let meter = &ready.meters.routes[record::position(ready, exchange)].meter;
    let lose = |result| {
        meter.mirrors.count(result);
        exchange.account.mirror.set(Some("not_mirrored"));
    };
    // Workers that look at the same moment may pass the bound by one each.
    if meter.mirrors.in_flight.get() >= rule.max_in_flight {
        return lose("dropped");
    }
    let mut body = exchange.request.borrow_mut().body.take();
    if body.size_hint().lower() > rule.max_body as u64 {
        exchange.request.borrow_mut().body = Slot::Stream(body);
        return lose("too_large");
    }
    exchange.account.mirror.set(Some("mirrored"));
    let copied = Copied::new(worker, ready, exchange, rule, plan, meter);
    match body {
        Body::Empty => copied.leave(Bytes::new()),
        Body::Full(ref bytes) => copied.leave(bytes.clone()),
        Body::Incoming(_) | Body::Trailed(_) | Body::Streamed(_) => {
            let (kept, max) = (BytesMut::new(), rule.max_body);
            body = Body::Streamed(Box::new(Tee { source: body, copy: Some((copied, kept)), max }));
        }
    }
    exchange.request.borrow_mut().body = Slot::Stream(body);
}

/// A copy without its body.
struct Copied {
    pool: Pool,
    ready: Rc<Ready>,
    service: usize,
    timeout: Duration,
    method: Method,
    headers: HeaderMap,
    host: Option<HeaderValue>,
    rest: String,
    query: String,
    key: Option<u64>,
    place: Place,
}

/// Of those that there may be at once.
struct Place(Arc<RouteMeter>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.mirrors.in_flight.add(-1);
    }
}

impl Copied {
    fn new(
        worker: &Worker,
        ready: &Rc<Ready>,
        exchange: &Exchange,
        rule: &Mirror,
        plan: &Plan<'_>,
        meter: &Arc<RouteMeter>,
    ) -> Copied {
        meter.mirrors.in_flight.add(1);
        let backend = ready.backends.at(rule.service);
        let request = exchange.request.borrow();
        let mut headers = request.headers.clone();
        // Trailers are not copied.
        headers.remove(header::TRAILER);
        let route = HeaderValue::from_bytes(exchange.route.borrow().as_bytes());
        headers.insert(MARK, route.unwrap_or(HeaderValue::from_static("-")));
        Copied {
            pool: worker.pool.clone(),
            ready: ready.clone(),
            service: rule.service,
            timeout: rule.timeout.unwrap_or_else(|| backend.timeout.min(LONGEST)),
            method: request.method.clone(),
            host: forward::host(exchange, plan, &request.headers),
            rest: forward::rest(&request, plan.strip).to_owned(),
            query: request.query().to_owned(),
            key: backend.key(exchange, &headers),
            headers,
            place: Place(meter.clone()),
        }
    }

    fn leave(self, body: Bytes) {
        tokio::task::spawn_local(self.send(body));
    }

    /// As forwarding does, but for nobody: no hooks, no spans, no interim responses.
    async fn send(self, body: Bytes) {
        let backend = self.ready.backends.at(self.service);
        let started = Instant::now();
        let outgoing = Outgoing {
            direct: None,
            passes: false,
            method: &self.method,
            headers: &self.headers,
            host: self.host.as_ref(),
            started,
            deadline: started + self.timeout,
            hurried: false,
            shortened: false,
            account: None,
            key: self.key,
            interim: None,
            under: None,
        };
        let mut body = Body::full(body);
        let target = |base: &str| forward::joined(base, &self.rest, &self.query).into();
        let asking = async {
            let sent = tries::send(&self.pool, backend, &outgoing, &mut body, None, target).await;
            let answered = sent.map_err(|failure| failure.to_string())?;
            let _ = answered.response.into_body().collect(READ_AND_DROPPED).await;
            Ok::<(), String>(())
        };
        let asked = tokio::time::timeout(self.timeout, asking).await;
        let result = match asked.unwrap_or_else(|_| Err("it took too long".into())) {
            Ok(()) => "answered",
            Err(why) => {
                tracing::debug!(service = &*backend.name, why, "a mirrored request failed");
                "failed"
            }
        };
        self.place.0.mirrors.count(result);
    }
}

/// A request's body that is copied as it goes by.
struct Tee {
    source: Body,
    copy: Option<(Copied, BytesMut)>,
    max: usize,
}

impl Tee {
    fn keep(&mut self, data: &Bytes) {
        let Some((_, kept)) = &mut self.copy else { return };
        if kept.len() + data.len() > self.max {
            self.lose("too_large");
        } else {
            kept.extend_from_slice(data);
        }
    }

    fn lose(&mut self, result: &str) {
        if let Some((copied, _)) = self.copy.take() {
            copied.place.0.mirrors.count(result);
        }
    }
}

impl HttpBody for Tee {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.source).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.keep(data);
                }
            }
            Some(Err(_)) => self.lose("cut_off"),
            None => {}
        }
        // Whoever knows the length does not ask for the end.
        if (frame.is_none() || self.source.is_end_stream())
            && let Some((copied, kept)) = self.copy.take()
        {
            copied.leave(kept.freeze());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.lose("cut_off");
    }
}
