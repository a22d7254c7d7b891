//! What answers the requests of one connection, as both servers ask for it.

use super::{life, record::Sent, worker::Worker};
use crate::{
    config,
    downstream::{Cut, Limits, Request, Service},
    http::{Body, police::Refusal},
    http1::request::HeadLimits,
};
use hyper::body::Incoming;
use std::rc::Rc;

#[derive(Clone)]
pub struct Exchanges {
    pub worker: Rc<Worker>,
    pub connection: Rc<life::Connection>,
}

impl Exchanges {
    /// A request of HTTP/2, from hyper.
    pub async fn serve_http2(self, request: hyper::Request<Incoming>) -> http::Response<Sent> {
        let (head, body) = request.into_parts();
        let request = Request { head, body: Body::incoming(body), interim: None, upgrade: None };
        life::serve(self.worker, self.connection, request).await
    }
}

impl Service for Exchanges {
    type Body = Sent;

    fn serve(&self, request: Request) -> impl Future<Output = http::Response<Sent>> {
        life::serve(self.worker.clone(), self.connection.clone(), request)
    }

    fn refuse(&self, refusal: Refusal) -> impl Future<Output = http::Response<Sent>> {
        life::refuse(self.worker.clone(), self.connection.clone(), refusal)
    }

    fn cut_off(&self, body: &mut Sent, cut: Cut) {
        body.cut_off(match cut {
            Cut::Gone => None,
            Cut::Stalled => Some("write_timeout"),
        });
    }
}

/// What a client may take, by the configuration.
pub fn limits(limits: &config::Limits) -> Limits {
    Limits {
        head: HeadLimits { bytes: limits.max_header_bytes, fields: limits.max_header_count },
        header_timeout: limits.header_timeout,
        idle_timeout: limits.idle_timeout,
        min_body_rate: limits.min_body_rate,
        write_timeout: limits.write_timeout,
    }
}
