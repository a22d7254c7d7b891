//! The record of an exchange: what metrics and the access log say when its last byte is out, or when its client is gone.
//!
//! A [`Record`] is made with the exchange and moves into the response's body. Whatever happens to either, dropping it
//! counts the exchange and writes the line: one that was dropped before its end is a 499, as nginx counts them.

use super::{
    failure::Failure,
    grpc, life, spans,
    worker::{Ready, Worker},
};
use crate::{
    gateway::prepared::{Chain, Plugin},
    http::{Body, BodyError, passed::Passed},
    observe::{
        access::{AccessLog, Field, Line},
        metrics::{Ended, RouteMeter},
    },
    script::{Exchange, Hook, ScriptError, error::Fault, limits::Usage},
};
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

pub struct Record {
    worker: Rc<Worker>,
    ready: Rc<Ready>,
    exchange: Rc<Exchange>,
    status: Option<StatusCode>,
    failure: Option<&'static str>,
    bytes: u64,
    complete: bool,
    /// The server says that not all of it reached the client, whatever was taken out of the body.
    is_cut: bool,
}

impl Record {
    /// Of an exchange that has been routed, or refused.
    pub fn new(worker: &Rc<Worker>, ready: &Rc<Ready>, exchange: &Rc<Exchange>) -> Record {
        let record = Record {
            worker: worker.clone(),
            ready: ready.clone(),
            exchange: exchange.clone(),
            status: None,
            failure: None,
            bytes: 0,
            complete: false,
            is_cut: false,
        };
        record.meter().in_flight.add(1);
        record
    }

    fn meter(&self) -> &RouteMeter {
        &self.ready.meters.routes[position(&self.ready, &self.exchange)].meter
    }

    pub fn failed(&mut self, failure: &Failure) {
        self.failure = Some(failure.kind());
    }

    pub fn responded(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Puts the record behind the body, and `on_log` behind the record.
    pub fn follow(self, body: Body, chain: &Rc<Chain>, is_call: bool, passed: Option<Box<Passed>>) -> Sent {
        let after = (!chain.on_log.is_empty()).then(|| chain.clone());
        Sent { body, is_call, passed, tail: Some(Tail { record: self, after }) }
    }
}

/// Where an exchange's meters are: the last ones are those of no route.
pub fn position(ready: &Ready, exchange: &Exchange) -> usize {
    exchange.account.route.get().unwrap_or(ready.meters.routes.len() - 1)
}

/// A hook ended.
pub fn ran<T>(
    ready: &Ready,
    hook: Hook,
    plugin: &Plugin,
    exchange: &Exchange,
    used: Usage,
    ended: &Result<T, ScriptError>,
) {
    let took = used.took(ended.is_ok());
    exchange.account.ran(took);
    let ended = match ended {
        Ok(_) => Ended::Well,
        Err(error) => match error.fault {
            Fault::Limit(_) => Ended::Limit,
            Fault::Syntax | Fault::Runtime | Fault::Returned => Ended::Failed,
        },
    };
    ready.meters.ran(position(ready, exchange), plugin.place, hook as usize, took, used.cpu, ended);
}

/// A hook was left out, in quarantine.
pub fn held(ready: &Ready, hook: Hook, plugin: &Plugin, exchange: &Exchange) {
    ready.meters.held(position(ready, exchange), plugin.place, hook as usize);
}

impl Drop for Record {
    fn drop(&mut self) {
        let status = if self.complete { self.status.map_or(0, |status| status.as_u16()) } else { 499 };
        let duration = self.exchange.started.elapsed();
        let meter = self.meter();
        meter.in_flight.add(-1);
        meter.statuses.count(status);
        meter.duration.observe(duration);
        if let Some(failure) = self.failure {
            meter.failed(failure);
        }
        meter.request_bytes.add(self.exchange.account.received());
        meter.response_bytes.add(self.bytes);
        spans::close(&self.worker, &self.ready, &self.exchange, self.status, self.failure, self.complete);
        let Some(log) = &self.worker.access_log else { return };
        if log.wants(|| self.worker.ids.random()) {
            self.write(log, status, duration);
        }
    }
}

impl Record {
    fn write(&self, log: &AccessLog, status: u16, duration: Duration) {
        let exchange = &*self.exchange;
        let account = &exchange.account;
        let request = exchange.request.borrow();
        let trace = account.trace.get().id();
        let identity = if log.has(Field::Identity) { subject(exchange) } else { String::new() };
        // An `on_request` that answers with an error refuses; with anything else it only answers.
        let answered_by = account.answered_by.borrow();
        let refused_by = answered_by.as_deref().filter(|_| status >= 400);
        let flags = [
            self.failure,
            (!self.complete).then_some("client_closed"),
            (status == 429 && refused_by.is_some()).then_some("limited"),
            account.mirror.get(),
            account.fault.get().then_some("fault"),
        ];
        let mut set = [""; 5];
        let mut count = 0;
        for flag in flags.into_iter().flatten() {
            set[count] = flag;
            count += 1;
        }
        log.write(&Line {
            id: exchange.id.as_str(),
            trace_id: std::str::from_utf8(&trace).unwrap_or_default(),
            method: request.method.as_str(),
            host: request.host(),
            path: request.target.path(),
            protocol: account.protocol(),
            status,
            route: &exchange.route.borrow(),
            service: account.service.borrow().as_deref().unwrap_or_default(),
            target: account.target.borrow().as_deref().unwrap_or_default(),
            tries: account.tries.get(),
            client: exchange.client.ip,
            request_bytes: account.received(),
            bytes: self.bytes,
            duration,
            upstream: account.upstream.get(),
            scripts: account.scripts.get(),
            identity: &identity,
            flags: &set[..count],
            refused_by,
            generation: self.ready.prepared.generation.number,
        });
    }
}

/// Who it is, and nothing else of what the token says.
fn subject(exchange: &Exchange) -> String {
    #[derive(serde::Deserialize)]
    struct Identity {
        id: Option<String>,
    }
    let identity = exchange.identity.borrow();
    let read = identity.as_deref().and_then(|text| serde_json::from_slice::<Identity>(text).ok());
    read.and_then(|identity| identity.id).unwrap_or_default()
}

struct Tail {
    record: Record,
    after: Option<Rc<Chain>>,
}

impl Drop for Tail {
    fn drop(&mut self) {
        if let Some(chain) = self.after.take() {
            let Record { worker, ready, exchange, .. } = &self.record;
            tokio::task::spawn_local(life::log(worker.clone(), ready.clone(), exchange.clone(), chain));
        }
    }
}

/// The body of a response on its way to the client.
pub struct Sent {
    body: Body,
    /// Of gRPC: when it breaks off, its status says so.
    is_call: bool,
    /// Lines of its head that pass as they came.
    pub passed: Option<Box<Passed>>,
    tail: Option<Tail>,
}

impl Sent {
    pub fn bare(body: Body) -> Sent {
        Sent { body, is_call: false, passed: None, tail: None }
    }

    /// The client did not get all of it, and perhaps there is a word for why.
    pub fn cut_off(&mut self, why: Option<&'static str>) {
        if let Some(tail) = &mut self.tail {
            tail.record.is_cut = true;
            tail.record.failure = why.or(tail.record.failure);
        }
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let ended = self.body.is_end_stream();
        if let Some(tail) = &mut self.tail {
            match &frame {
                Some(Ok(frame)) => tail.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(_)) => tail.record.failure = Some("body"),
                None => {}
            }
            tail.record.complete = ended || !matches!(frame, Some(Ok(_)));
        }
        if self.is_call
            && let Some(Err(error)) = &frame
        {
            frame = Some(Ok(Frame::trailers(grpc::broken(error))));
            self.body = Body::Empty;
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
        // A body that is empty from the start is not polled, nor is one for HEAD.
        if let Some(tail) = &mut self.tail {
            let record = &mut tail.record;
            record.complete |= self.body.is_end_stream() || record.bytes == 0;
            record.complete &= !record.is_cut;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Meters are found by the hook's number; `observe` can't name the type itself.
    #[test]
    fn every_hook_has_its_meter() {
        assert_eq!(crate::observe::metrics::HOOKS, Hook::ALL.map(Hook::name));
        assert!(Hook::ALL.into_iter().enumerate().all(|(at, hook)| at == hook as usize));
    }
}
