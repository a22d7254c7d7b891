//! What spans of an exchange say, under the names of OpenTelemetry's semantic conventions for HTTP (1.29).
//!
//! Begun and ended where the exchange's life is; what is not recorded passes by as `None`. SECURITY: no span holds a header, a
//! query, a body, or the text of an error of a script, any of which may hold a secret.

use super::worker::{Ready, Worker};
use crate::{
    gateway::{prepared::Plugin, router},
    http::{
        Body,
        trace::{TRACEPARENT, Trace},
    },
    observe::traces::{KeyValue, Kind, Recording, Span, SpanInProgress, Value},
    script::{
        Exchange, Hook, Scope, ScriptError,
        error::Fault,
        outbound::{Answer, Call},
    },
    upstream::UpstreamError,
};
use http::{HeaderMap, Method, Response, StatusCode};
use std::{borrow::Cow, rc::Rc, time::Instant};

/// Longer paths and hosts are cut off: they are the client's.
const MAX_TEXT: usize = 1024;

/// Begins to record an exchange of a trace that is sampled.
pub fn begin(worker: &Worker, exchange: &Exchange, trace: Trace) {
    if trace.sampled && worker.traces.is_some() {
        let recording = Recording::new(trace.trace, trace.span, trace.parent, worker.ids.random());
        let _ = exchange.account.recording.set(Rc::new(recording));
    }
}

/// A call of a hook. Its id is the parent of the calls that the script makes.
pub fn hook(exchange: &Exchange, hook: Hook, plugin: &Plugin) -> Option<SpanInProgress> {
    let recording = exchange.account.recording.get()?;
    let name = format!("{} {}", hook.name(), plugin.instance.plugin);
    let mut span = match hook {
        Hook::OnRequestChunk | Hook::OnResponseChunk => recording.go_on(recording.root, Kind::Internal, name),
        _ => recording.begin(recording.root, Kind::Internal, name),
    };
    if !span.goes_on() {
        span.set("gatewright.plugin", plugin.instance.plugin.clone());
        span.set("gatewright.hook", hook.name());
        span.set("gatewright.place", plugin.instance.place.clone());
    }
    Some(span)
}

/// Ends it.
pub fn ran<T>(span: Option<SpanInProgress>, ended: &Result<T, ScriptError>) {
    if let (Some(mut span), Err(error)) = (span, ended) {
        span.fail(match error.fault {
            Fault::Limit(_) => "script_limit",
            Fault::Syntax | Fault::Runtime | Fault::Returned => "script",
        });
    }
}

/// Where the tries of a request are recorded.
#[derive(Clone)]
pub struct Under {
    pub recording: Rc<Recording>,
    pub parent: u64,
}

impl Under {
    /// The exchange's own span.
    pub fn root(exchange: &Exchange) -> Option<Under> {
        let recording = exchange.account.recording.get()?;
        Some(Under { recording: recording.clone(), parent: recording.root })
    }

    /// The span of a script's call.
    pub fn call(scope: &Scope, span: &SpanInProgress) -> Option<Under> {
        let recording = scope.exchange.as_ref()?.account.recording.get()?;
        Some(Under { recording: recording.clone(), parent: span.id() })
    }

    /// A request to a target begins; `target` is `host:port`, `before` how many were sent before.
    pub fn attempt(&self, service: &str, target: &str, method: &Method, before: usize) -> SpanInProgress {
        let mut span = self.recording.begin(self.parent, Kind::Client, known(method));
        span.set("http.request.method", known(method));
        span.set("gatewright.service", service.to_owned());
        address(&mut span, target);
        if before > 0 {
            span.set("http.request.resend_count", i64::try_from(before).unwrap_or(i64::MAX));
        }
        span
    }

    /// The headers that go to the target: the span's id is what it continues.
    pub fn headers(&self, span: &SpanInProgress, headers: &HeaderMap) -> HeaderMap {
        let mut headers = headers.clone();
        let trace = Trace { trace: self.recording.trace, span: span.id(), parent: self.parent, sampled: true };
        if let Some(value) = trace.header() {
            headers.insert(TRACEPARENT, value);
        }
        headers
    }
}

/// A script calls a service or another host. SECURITY: of the latter no path, which may hold a token.
pub fn call(scope: &Scope, call: &Call) -> Option<SpanInProgress> {
    // The tries at a service's targets are its client spans.
    let kind = if call.url.starts_with("svc://") { Kind::Internal } else { Kind::Client };
    let mut span = scope.begin_span(kind, || format!("http.{}", known(&call.method).to_ascii_lowercase()))?;
    span.set("http.request.method", known(&call.method));
    Some(span)
}

/// What a call by a script continues: its own span where it is recorded, else the exchange's.
pub fn parent(scope: &Scope, span: Option<&SpanInProgress>) -> Option<Trace> {
    let trace = scope.exchange.as_ref()?.account.trace.get();
    let within = span.map_or(trace.span, SpanInProgress::id);
    Some(Trace { span: within, ..trace })
}

/// Ends it.
pub fn called(span: Option<SpanInProgress>, answer: &Answer) {
    let Some(mut span) = span else { return };
    match answer {
        Answer::Response { status: answered, .. } => status(&mut span, *answered),
        Answer::Failed(failure) => span.fail(failure.name()),
    }
}

/// A request to a target has its answer, or failed.
pub fn answered(span: Option<SpanInProgress>, sent: &Result<Response<Body>, UpstreamError>) {
    let Some(mut span) = span else { return };
    match sent {
        Ok(response) => status(&mut span, response.status().as_u16()),
        Err(error) => span.fail(error.word()),
    }
}

/// For a client every status from 400 on is an error.
pub fn status(span: &mut SpanInProgress, status: u16) {
    span.set("http.response.status_code", i64::from(status));
    if status >= 400 {
        span.fail(status.to_string());
    }
}

/// `server.address` and `server.port` of `host:port`.
pub fn address(span: &mut SpanInProgress, target: &str) {
    let (host, port) = parts(target);
    span.set("server.address", short(host));
    if let Some(port) = port {
        span.set("server.port", port);
    }
}

fn parts(target: &str) -> (&str, Option<i64>) {
    let (host, port) = match target.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port.parse().ok()),
        _ => (target, None),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

/// Ends the exchange's own span, and hands all of them over.
pub fn close(
    worker: &Worker,
    ready: &Ready,
    exchange: &Exchange,
    answer: Option<StatusCode>,
    failure: Option<&'static str>,
    complete: bool,
) {
    let Some(recording) = exchange.account.recording.get() else { return };
    let mut attributes = request(exchange);
    let mut add = |name: &'static str, value: Value| attributes.push(KeyValue::new(name, value));
    let template = exchange.account.route.get().and_then(|at| path_of(ready, at, exchange));
    if let Some(template) = &template {
        add("http.route", template.clone().into());
    }
    if exchange.account.route.get().is_some() {
        add("gatewright.route", exchange.route.borrow().clone().into());
    }
    if let Some(service) = &*exchange.account.service.borrow() {
        add("gatewright.service", service.clone().into());
    }
    add("gatewright.request_id", exchange.id.as_str().to_owned().into());
    add("gatewright.generation", i64::try_from(ready.prepared.generation.number).unwrap_or(i64::MAX).into());
    if let Some(answer) = answer {
        add("http.response.status_code", i64::from(answer.as_u16()).into());
    }
    if !complete {
        add("gatewright.client_closed", true.into());
    }
    let failed = answer.is_some_and(|status| status.is_server_error()) || failure == Some("body");
    let method = known(&exchange.request.borrow().method);
    let error = failed.then(|| match (failure, answer) {
        (Some(failure), _) => Cow::Borrowed(failure),
        (None, status) => status.map_or_else(|| "unknown".into(), |status| status.as_str().to_owned().into()),
    });
    recording.add(Span {
        id: recording.root,
        parent: recording.parent,
        remote: recording.parent != 0,
        kind: Kind::Server,
        name: match template {
            Some(template) => format!("{method} {template}").into(),
            None => method.into(),
        },
        begun: exchange.started,
        ended: Instant::now(),
        attributes,
        error,
        runs: 1,
    });
    hand_over(worker, exchange);
}

/// What has ended since the last time.
pub fn hand_over(worker: &Worker, exchange: &Exchange) {
    if let (Some(recording), Some(traces)) = (exchange.account.recording.get(), &worker.traces) {
        traces.send(recording);
    }
}

fn request(exchange: &Exchange) -> Vec<KeyValue> {
    let request = exchange.request.borrow();
    let mut attributes = Vec::with_capacity(16);
    attributes.push(KeyValue::new("http.request.method", known(&request.method)));
    attributes.push(KeyValue::new("url.scheme", request.scheme));
    attributes.push(KeyValue::new("url.path", short(request.target.path())));
    let (host, port) = parts(request.host());
    if !host.is_empty() {
        attributes.push(KeyValue::new("server.address", short(host)));
    }
    if let Some(port) = port {
        attributes.push(KeyValue::new("server.port", port));
    }
    attributes.push(KeyValue::new("client.address", exchange.client.ip.to_string()));
    let version = exchange.account.protocol().trim_start_matches("HTTP/");
    attributes.push(KeyValue::new("network.protocol.version", version));
    attributes
}

/// The path of the route that matched, as the configuration writes it.
fn path_of(ready: &Ready, route: usize, exchange: &Exchange) -> Option<String> {
    let paths = &ready.prepared.generation.router.routes()[route].paths;
    let request = exchange.request.borrow();
    let fits =
        paths.iter().find(|path| paths.len() == 1 || router::path_fits(Some(&path.value), request.target.path()));
    fits.map(|path| path.value.to_string())
}

/// SECURITY: a method that a client made up would be a name of its own for each request.
fn known(method: &Method) -> &'static str {
    const ALL: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    ALL.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

pub fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_of_all_kinds() {
        assert_eq!(parts("users:9001"), ("users", Some(9001)));
        assert_eq!(parts("[::1]:80"), ("::1", Some(80)));
        assert_eq!(parts("[::1]"), ("::1", None));
        assert_eq!(parts("users"), ("users", None));
    }
}
