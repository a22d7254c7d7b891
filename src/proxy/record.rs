//! The record of an exchange: what the access log says when its last byte is out, or when its client is gone.
//!
//! A [`Record`] is made with the exchange and moves into the response's body. Whatever happens to either, dropping it
//! writes the line: an exchange that was dropped before its end is a 499, as nginx counts them.

use super::{
    failure::Failure,
    life,
    worker::{Ready, Worker},
};
use crate::{
    gateway::prepared::Chain,
    http::{Body, BodyError},
    observe::access::{AccessLog, Line},
    script::Exchange,
};
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

pub struct Record {
    exchange: Rc<Exchange>,
    log: Option<AccessLog>,
    generation: u64,
    status: Option<StatusCode>,
    failure: Option<&'static str>,
    bytes: u64,
    complete: bool,
}

impl Record {
    pub fn new(worker: &Worker, exchange: &Rc<Exchange>) -> Record {
        Record {
            exchange: exchange.clone(),
            log: worker.access_log.clone(),
            generation: worker.generation(),
            status: None,
            failure: None,
            bytes: 0,
            complete: false,
        }
    }

    pub fn failed(&mut self, failure: &Failure) {
        self.failure = Some(failure.kind());
    }

    pub fn responded(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Puts the record behind the body, and `on_log` behind the record. Where neither is wanted the body goes as it is.
    pub fn follow(self, body: Body, exchange: &Rc<Exchange>, chain: &Rc<Chain>, ready: &Rc<Ready>) -> Sent {
        let after = (!chain.on_log.is_empty()).then(|| (ready.clone(), exchange.clone(), chain.clone()));
        if self.log.is_none() && after.is_none() {
            return Sent::bare(body);
        }
        Sent { body, tail: Some(Box::new(Tail { record: self, after })) }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Some(log) = &self.log else { return };
        let request = self.exchange.request.borrow();
        log.write(&Line {
            id: self.exchange.id.as_str(),
            method: request.method.as_str(),
            host: request.host(),
            path: request.target.path(),
            status: if self.complete { self.status.map_or(0, |status| status.as_u16()) } else { 499 },
            route: &self.exchange.route.borrow(),
            client: self.exchange.client.ip,
            bytes: self.bytes,
            duration: self.exchange.started.elapsed(),
            failure: self.failure,
            generation: self.generation,
        });
    }
}

struct Tail {
    record: Record,
    after: Option<(Rc<Ready>, Rc<Exchange>, Rc<Chain>)>,
}

impl Drop for Tail {
    fn drop(&mut self) {
        if let Some((ready, exchange, chain)) = self.after.take() {
            tokio::task::spawn_local(life::log(ready, exchange, chain));
        }
    }
}

/// The body of a response on its way to the client.
pub struct Sent {
    body: Body,
    tail: Option<Box<Tail>>,
}

impl Sent {
    pub fn bare(body: Body) -> Sent {
        Sent { body, tail: None }
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let ended = self.body.is_end_stream();
        if let Some(tail) = &mut self.tail {
            match &frame {
                Some(Ok(frame)) => tail.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(_)) => tail.record.failure = Some("body"),
                None => {}
            }
            tail.record.complete = ended || !matches!(frame, Some(Ok(_)));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        // hyper does not poll a body that is empty from the start, nor for HEAD.
        if let Some(tail) = &mut self.tail {
            tail.record.complete |= self.body.is_end_stream() || tail.record.bytes == 0;
        }
    }
}
