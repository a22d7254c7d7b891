//! What an exchange has come to so far, for the access log and the metrics: times, tries, who refused it.
//!
//! Each step of the exchange's life writes its own part; nothing here is seen by scripts.

use crate::{http::trace::Trace, observe::traces::Recording};
use http::Version;
use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

#[derive(Default)]
pub struct Account {
    /// This exchange's span.
    pub trace: Cell<Trace>,
    /// Its spans, when they are recorded.
    pub recording: OnceCell<Rc<Recording>>,
    /// Of the client's request.
    pub version: Cell<Version>,
    /// The route's position in the router.
    pub route: Cell<Option<usize>>,
    /// The client said how long it waits: services are told what is left of it.
    pub hurried: Cell<bool>,
    /// That made the deadline earlier, so that missing it says nothing about a service.
    pub shortened: Cell<bool>,
    /// Bytes of the request's body that the client announced.
    pub announced: Cell<u64>,
    /// Bytes of a body whose length was not announced, as they come.
    pub passed: OnceCell<Rc<Cell<u64>>>,
    /// The service that it was forwarded to.
    pub service: RefCell<Option<Arc<str>>>,
    /// The target of the last try, as `host:port`.
    pub target: RefCell<Option<Arc<str>>>,
    pub tries: Cell<u32>,
    /// From the start of a try to the head of its answer, all tries together.
    pub upstream: Cell<Duration>,
    /// In hooks, waiting included.
    pub scripts: Cell<Duration>,
    /// The word for what became of the copy for another service, if one was to be made.
    pub mirror: Cell<Option<&'static str>>,
    /// Whether a fault was injected.
    pub fault: Cell<bool>,
    /// The plugin whose `on_request` answered.
    pub answered_by: RefCell<Option<Arc<str>>>,
}

impl Account {
    /// The version as logs have it.
    pub fn protocol(&self) -> &'static str {
        match self.version.get() {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        }
    }

    pub fn tried(&self, service: &Arc<str>, target: &Arc<str>, took: Duration) {
        self.tries.set(self.tries.get() + 1);
        self.upstream.set(self.upstream.get() + took);
        self.service.replace(Some(service.clone()));
        self.target.replace(Some(target.clone()));
    }

    /// Bytes of the request's body.
    pub fn received(&self) -> u64 {
        self.passed.get().map_or(self.announced.get(), |passed| passed.get())
    }

    pub fn ran(&self, took: Duration) {
        self.scripts.set(self.scripts.get() + took);
    }
}
