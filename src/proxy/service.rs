//! What answers the requests of one connection, as both servers ask for it.

use super::{life, record::Sent, worker::Worker};
use crate::{
    config,
    downstream::{Cut, Limits, Request, Service},
    http::{passed::Passed, police::Refusal},
    http1::request::HeadLimits,
};
use std::rc::Rc;

#[derive(Clone)]
pub struct Exchanges {
    pub worker: Rc<Worker>,
    pub connection: Rc<life::Connection>,
}

impl Service for Exchanges {
    type Body = Sent;

    fn serve(&self, request: Request) -> impl Future<Output = Box<http::Response<Sent>>> {
        life::serve(self.worker.clone(), self.connection.clone(), request)
    }

    fn refuse(&self, refusal: Refusal) -> impl Future<Output = Box<http::Response<Sent>>> {
        life::refuse(self.worker.clone(), self.connection.clone(), refusal)
    }

    fn passed(&self, body: &mut Sent) -> Option<Box<Passed>> {
        body.passed.take()
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
