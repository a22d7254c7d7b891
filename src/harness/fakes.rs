//! What a gateway under test finds outside: the answers that its test declared, and a record of everything that came.
//!
//! Services are asked over real connections ([`super::upstream`]); other hosts are answered here, after the same check of the manifest's
//! permissions as in a gateway that serves. Nothing leaves the machine.

use crate::{
    proxy::outside::permitted,
    script::{
        Raise, Scope, Value,
        outbound::{Answer, Call, Failure, Outbound},
    },
};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::{Map, Value as Json, json};
use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

/// The service behind the route.
pub const BACKEND: &str = "backend";

#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub delay: Duration,
    pub fail: bool,
}

struct Declared {
    method: String,
    url: String,
    reply: Reply,
}

#[derive(Default)]
pub struct Fakes {
    declared: RefCell<Vec<Declared>>,
    received: RefCell<Vec<Json>>,
    /// Calls of which nothing was said.
    unexpected: RefCell<Vec<String>>,
}

impl Fakes {
    /// # Errors
    /// A header, or a duration, that is not one.
    pub fn declare(&self, method: &str, url: &str, answer: &Value) -> Result<(), Raise> {
        if !["svc://", "http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(Raise::error(format!("`{url}` begins with neither `svc://` nor `https://`")));
        }
        let (method, url, reply) = (method.to_ascii_uppercase(), url.to_owned(), reply(answer)?);
        self.declared.borrow_mut().push(Declared { method, url, reply });
        Ok(())
    }

    /// The names of the services that answers were declared for.
    pub fn services(&self) -> Vec<String> {
        let name = |url: &str| url.strip_prefix("svc://")?.split(['/', '*']).next().map(str::to_owned);
        let mut names: Vec<String> = self.declared.borrow().iter().filter_map(|it| name(&it.url)).collect();
        names.push(BACKEND.to_owned());
        names.retain(|name| !name.is_empty());
        names.sort();
        names.dedup();
        names
    }

    pub fn received(&self) -> Vec<Json> {
        self.received.borrow().clone()
    }

    pub fn take_unexpected(&self) -> Option<String> {
        std::mem::take(&mut *self.unexpected.borrow_mut()).into_iter().next()
    }

    /// Records a call and gives what was declared for it; none: the test did not say.
    pub fn called(&self, method: &Method, url: &str, headers: &HeaderMap, body: &Bytes) -> Option<Reply> {
        self.received.borrow_mut().push(record(method, url, headers, body));
        let declared = self.declared.borrow();
        let found = declared.iter().rev().find(|it| it.fits(method, url)).map(|it| it.reply.clone());
        if found.is_some() {
            return found;
        }
        if url.strip_prefix("svc://").is_some_and(|rest| rest.starts_with(&format!("{BACKEND}/"))) {
            return reply(&Value::Map(vec![("json".to_owned(), Value::Json(Bytes::from_static(b"{}")))])).ok();
        }
        self.unexpected.borrow_mut().push(format!("{method} {url}"));
        None
    }
}

impl Declared {
    /// A URL without a query stands for any.
    fn fits(&self, method: &Method, url: &str) -> bool {
        let path = if self.url.contains('?') { url } else { url.split('?').next().unwrap_or(url) };
        let url_fits = match self.url.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == self.url,
        };
        url_fits && (self.method == "*" || self.method == method.as_str())
    }
}

fn record(method: &Method, url: &str, headers: &HeaderMap, body: &Bytes) -> Json {
    let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or("/");
    let mut entry = message(headers, body);
    entry.insert("method".to_owned(), json!(method.as_str()));
    entry.insert("url".to_owned(), json!(url));
    entry.insert("path".to_owned(), json!(path));
    Json::Object(entry)
}

/// Headers and body as a test sees them. Fields that are there several times are joined, as RFC 9110 §5.3 has it.
pub fn message(headers: &HeaderMap, body: &Bytes) -> Map<String, Json> {
    let mut fields = Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        fields.insert(name.as_str().to_owned(), json!(values.join(", ")));
    }
    let mut entry = Map::new();
    entry.insert("headers".to_owned(), Json::Object(fields));
    entry.insert("body".to_owned(), json!(String::from_utf8_lossy(body)));
    if let Ok(document) = serde_json::from_slice::<Json>(body) {
        entry.insert("json".to_owned(), document);
    }
    entry
}

/// # Errors
/// A header that is not one.
pub fn headers(options: &Value) -> Result<HeaderMap, Raise> {
    let mut headers = HeaderMap::new();
    if let Some(Value::Map(entries)) = options.get("headers") {
        for (name, value) in entries {
            let text = match value {
                Value::Str(text) => text.clone(),
                Value::Int(int) => int.to_string().into(),
                Value::Float(float) => float.to_string().into(),
                Value::Bool(bool) => bool.to_string().into(),
                _ => continue,
            };
            let wrong = || Raise::error(format!("`{name}` is not a header, or its value not one"));
            let value = HeaderValue::from_maybe_shared(text).map_err(|_| wrong())?;
            headers.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value);
        }
    }
    Ok(headers)
}

/// The body of a request or an answer; `json` says its type too, unless the headers do.
pub fn body(options: &Value, headers: &mut HeaderMap) -> Bytes {
    match (options.get("json"), options.get("body")) {
        (Some(Value::Json(text)), _) => {
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            text.clone()
        }
        (_, Some(Value::Str(text))) => text.clone(),
        _ => Bytes::new(),
    }
}

fn reply(answer: &Value) -> Result<Reply, Raise> {
    let status = match answer.get("status") {
        Some(Value::Int(status)) => u16::try_from(*status).ok().filter(|status| (200..=999).contains(status)),
        _ => Some(200),
    };
    let status = status.ok_or_else(|| Raise::error("`status` is not one of 200 to 999"))?;
    let mut headers = headers(answer)?;
    let body = body(answer, &mut headers);
    let delay = crate::script::value::duration(answer.get("delay").unwrap_or(&Value::Nil))?.unwrap_or_default();
    Ok(Reply { status, headers, body, delay, fail: matches!(answer.get("fail"), Some(Value::Bool(true))) })
}

/// Calls by scripts: services by the gateway's own way, other hosts from what was declared.
pub struct Outside {
    pub services: Rc<dyn Outbound>,
    pub fakes: Rc<Fakes>,
}

impl Outbound for Outside {
    fn call(&self, scope: &Scope, call: Call) -> LocalBoxFuture<'static, Answer> {
        if call.url.starts_with("svc://") {
            return self.services.call(scope, call);
        }
        if let Err(failure) = permitted(scope, &call.url) {
            return Box::pin(async move { Answer::Failed(failure) });
        }
        let reply = self.fakes.called(&call.method, &call.url, &call.headers, &call.body);
        Box::pin(async move {
            let Some(reply) = reply else { return Answer::Failed(Failure::Connect) };
            let left = call.deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(reply.delay.min(left)).await;
            match reply {
                Reply { delay, .. } if delay > left => Answer::Failed(Failure::Timeout),
                Reply { fail: true, .. } => Answer::Failed(Failure::Connect),
                Reply { status, headers, body, .. } => Answer::Response { status, headers: headers.into(), body },
            }
        })
    }
}
