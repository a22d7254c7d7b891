//! The keys that an issuer publishes (a JWK set), fetched when they are needed and kept.
//!
//! A worker has one [`Published`] for each URL and list of permitted hosts; it survives reloads. One fetch runs at a time and ends whoever
//! waits for it, so that a client that leaves stops nothing and can cause no other. What a token says never leads to a URL.

use crate::{
    crypto::jwt::KeySet,
    script::{
        Raise, Scope,
        cache::Cache,
        outbound::{Answer, Call},
    },
};
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, Shared},
};
use http::{HeaderMap, HeaderValue, Method, header};
use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

/// Those of a worker. Each is at most 256 KiB of text.
pub type Sets = Rc<Cache<Rc<Published>>>;

pub fn sets() -> Sets {
    Rc::new(Cache::new(32, |_| 1))
}

const TIMEOUT: Duration = Duration::from_secs(5);

/// Why keys are fetched.
#[derive(Clone, Copy)]
pub enum Why {
    /// There are none.
    Absent,
    /// They are older than they should be.
    Old,
    /// A token names one that is not there.
    Unknown,
}

impl Why {
    /// SECURITY: the least time between two fetches, whatever clients send.
    const fn pause(self) -> Duration {
        match self {
            Why::Absent => Duration::from_secs(1),
            Why::Old => Duration::from_secs(5),
            Why::Unknown => Duration::from_secs(30),
        }
    }
}

/// Resolves when the fetch has ended, whatever came of it.
pub type Fetching = Shared<LocalBoxFuture<'static, ()>>;

pub struct Published {
    url: String,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    keys: Option<(Rc<KeySet>, Instant)>,
    running: Option<Fetching>,
    /// When the last fetch began, and the last for a token's sake.
    began: Option<Instant>,
    asked: Option<Instant>,
    /// Whether the last one gave nothing.
    failed: bool,
}

impl Published {
    pub fn at(scope: &Scope, url: &str) -> Result<Rc<Published>, Raise> {
        if !["svc://", "https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(Raise::error("`jwks` is not a URL that begins with `https://`, `http://` or `svc://`"));
        }
        // SECURITY: with the hosts in its name, a set is fetched and read only by those who may call its host.
        let name = format!("{:?} {url}", scope.instance.permissions.hosts);
        let make = || Ok(Rc::new(Published { url: url.to_owned(), state: RefCell::default() }));
        scope.services.caches.key_sets.get_or_make(&name, make)
    }

    /// The keys that were fetched last, and how long ago.
    pub fn keys(&self) -> Option<(Rc<KeySet>, Duration)> {
        self.state.borrow().keys.as_ref().map(|(keys, at)| (keys.clone(), at.elapsed()))
    }

    pub fn failed(&self) -> bool {
        self.state.borrow().failed
    }

    /// The fetch that runs, or a new one; none when the last was too short ago.
    pub fn fetch(self: &Rc<Self>, scope: &Scope, why: Why) -> Option<Fetching> {
        let mut state = self.state.borrow_mut();
        if let Some(running) = &state.running {
            return Some(running.clone());
        }
        let last = if let Why::Unknown = why { state.asked } else { state.began };
        if last.is_some_and(|last| last.elapsed() < why.pause()) {
            return None;
        }
        state.began = Some(Instant::now());
        if let Why::Unknown = why {
            state.asked = state.began;
        }
        let running = self.clone().run(self.call(scope)).boxed_local().shared();
        state.running = Some(running.clone());
        drop(state);
        tokio::task::spawn_local(running.clone());
        Some(running)
    }

    /// Outside of the exchange, whose end must not be that of the call.
    fn call(&self, scope: &Scope) -> LocalBoxFuture<'static, Answer> {
        let alone = Scope {
            hook: scope.hook,
            instance: scope.instance.clone(),
            exchange: None,
            services: scope.services.clone(),
            span: 0,
            used: Default::default(),
        };
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("application/json"))]);
        let (url, deadline) = (self.url.clone(), Instant::now() + TIMEOUT);
        let call = Call { method: Method::GET, url, headers, body: Bytes::new(), deadline };
        scope.services.outbound.call(&alone, call)
    }

    async fn run(self: Rc<Self>, call: LocalBoxFuture<'static, Answer>) {
        let got = match call.await {
            Answer::Response { status: 200, body, .. } => KeySet::parse(&body).map_err(|error| error.to_string()),
            Answer::Response { status, .. } => Err(format!("the answer has status {status}")),
            Answer::Failed(failure) => Err(failure.name().to_owned()),
        };
        let mut state = self.state.borrow_mut();
        state.failed = got.is_err();
        match got {
            Ok(keys) => {
                // What was verified with the same keys stays so.
                let same = state.keys.take().map(|(known, _)| known).filter(|known| known.text == keys.text);
                state.keys = Some((same.unwrap_or_else(|| Rc::new(keys)), Instant::now()));
            }
            Err(why) => tracing::warn!(url = self.url, why, "the keys of an issuer can't be fetched"),
        }
        let ended = state.running.take();
        drop(state);
        drop(ended);
    }
}
