//! A gateway under test: a configuration with one route, built and served as any other.
//!
//! It is built at its first request, since its services are those that the test declared answers for until then. A request goes
//! through a pipe in memory, and is over when its `on_log` hooks are.

use super::{
    case::Case,
    fakes::{self, BACKEND, Fakes, Outside},
    upstream::Upstream,
};
use crate::{
    config::{Source, Style},
    gateway::generation,
    observe::metrics::own,
    proxy::alone::Alone,
    script::{Language, Raise, Services, Value, host::metrics::labels_of, trial::Tried},
};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value as Json, json};
use std::{
    cell::RefCell,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

/// How long `on_log` may take.
const AFTER: Duration = Duration::from_secs(10);
/// Bytes in the pipe between the test and the gateway.
const PIPE: usize = 64 << 10;

pub struct Gateway {
    case: Rc<Case>,
    fakes: Rc<Fakes>,
    plan: Plan,
    running: RefCell<Option<Rc<Running>>>,
}

/// What the test said about its configuration.
struct Plan {
    plugin: Json,
    before: Vec<Json>,
    route: Map<String, Json>,
    service: Map<String, Json>,
    gateway: Map<String, Json>,
    plugins_dir: Option<PathBuf>,
}

struct Running {
    alone: Alone,
    services: Vec<String>,
    /// When the case's clock is there, each task of `every` runs.
    due: RefCell<Vec<Duration>>,
    _upstreams: Vec<Upstream>,
}

impl Gateway {
    pub fn new(case: Rc<Case>, name: &str, options: &Value) -> Result<Gateway, Raise> {
        let plan = Plan::new(&case.folder, name, options)?;
        Ok(Gateway { case, fakes: Rc::default(), plan, running: RefCell::default() })
    }

    async fn running(&self) -> Result<Rc<Running>, String> {
        let services = self.fakes.services();
        let known = self.running.borrow().clone();
        if let Some(running) = known.filter(|running| running.services == services) {
            return Ok(running);
        }
        let mut upstreams = Vec::new();
        for name in &services {
            let started = Upstream::start(name, &self.fakes).await;
            upstreams.push(started.map_err(|error| format!("the service `{name}` can't be faked: {error}"))?);
        }
        let text = self.plan.configuration(&upstreams).to_string();
        // Named as if it stood beside the test file, so that paths in it are found from there.
        let source = Source::new(self.case.folder.join("gateway.yaml"), text);
        let built = generation::build_source(&source);
        let Some(generation) = built.generation else {
            return Err(built.diagnostics.render(Style::Plain).trim_end().to_owned());
        };
        let (fakes, case) = (self.fakes.clone(), self.case.clone());
        let furnish = |services: Services| Services {
            outbound: Rc::new(Outside { services: services.outbound.clone(), fakes }),
            metrics: own::Local::new(case.metrics.clone(), 1),
            trial: Some(case),
            ..services
        };
        let made = Alone::new(generation, self.case.stores.clone(), furnish).await;
        let alone = made.map_err(|diagnostics| diagnostics.render(Style::Plain).trim_end().to_owned())?;
        let due = alone.intervals().into_iter().map(|interval| self.case.elapsed() + interval).collect();
        let running = Rc::new(Running { alone, services, due: RefCell::new(due), _upstreams: upstreams });
        self.running.replace(Some(running.clone()));
        Ok(running)
    }

    /// The task of `every` that is due first, and when. A gateway that can't start has none, and says so when it is asked.
    pub async fn due(&self) -> Option<(Duration, usize)> {
        let running = self.running().await.ok()?;
        let due = running.due.borrow();
        due.iter().enumerate().map(|(at, due)| (*due, at)).min()
    }

    pub async fn run_task(&self, at: usize) -> Result<(), Raise> {
        let running = self.running().await.map_err(Raise::error)?;
        if let (Some(due), Some(interval)) = (running.due.borrow_mut().get_mut(at), running.alone.intervals().get(at)) {
            *due += *interval;
        }
        tokio::task::LocalSet::new().run_until(running.alone.run_task(at)).await;
        match self.fakes.take_unexpected() {
            Some(call) => Err(Raise::error(format!("the test says nothing of the call {call}"))),
            None => Ok(()),
        }
    }

    async fn send(&self, options: &Value) -> Result<Json, Raise> {
        let (client, request) = request(options)?;
        let running = self.running().await.map_err(|why| Raise::error(format!("the gateway can't start: {why}")))?;
        let here = tokio::task::LocalSet::new();
        let exchange = here.run_until(exchange(&running.alone, client, request)).await;
        // What is left now is `on_log`.
        let _ = tokio::time::timeout(AFTER, here).await;
        if let Some(call) = self.fakes.take_unexpected() {
            return Err(Raise::error(format!("the test says nothing of the call {call}")));
        }
        exchange.map_err(|error| Raise::error(format!("there was no response: {error}")))
    }
}

/// One request and its response over a pipe.
async fn exchange(alone: &Alone, client: SocketAddr, request: http::Request<Full<Bytes>>) -> hyper::Result<Json> {
    let (near, far) = tokio::io::duplex(PIPE);
    let asked = async move {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await?;
        let answered = async move {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            let mut response = fakes::message(&head.headers, &body);
            response.insert("status".to_owned(), json!(head.status.as_u16()));
            hyper::Result::Ok(Json::Object(response))
        };
        // The sender is gone when the answer is here, which ends the connection.
        let (answered, _) = tokio::join!(answered, connection);
        answered
    };
    let (answered, _) = tokio::join!(asked, alone.serve(client, far));
    answered
}

fn request(options: &Value) -> Result<(SocketAddr, http::Request<Full<Bytes>>), Raise> {
    let text = |name: &str| options.get(name).and_then(Value::as_str);
    let address = match text("client") {
        None => IpAddr::from(Ipv4Addr::LOCALHOST),
        Some(text) => text.parse().map_err(|_| Raise::error(format!("`{text}` is not an address")))?,
    };
    let mut headers = fakes::headers(options)?;
    let body = fakes::body(options, &mut headers);
    headers.entry(http::header::HOST).or_insert(http::HeaderValue::from_static("gateway.test"));
    let mut request = http::Request::new(Full::new(body));
    let method = text("method").unwrap_or("GET");
    let wrong = |what: &str, value: &str| Raise::error(format!("`{value}` is not a {what}"));
    *request.method_mut() = method.parse().map_err(|_| wrong("method", method))?;
    let path = text("path").unwrap_or("/");
    *request.uri_mut() = path.parse().ok().filter(|_| path.starts_with('/')).ok_or_else(|| wrong("path", path))?;
    *request.headers_mut() = headers;
    Ok((SocketAddr::new(address, 50_000), request))
}

impl Plan {
    fn new(folder: &Path, name: &str, options: &Value) -> Result<Plan, Raise> {
        let json = |value: &Value| match value {
            Value::Json(text) => serde_json::from_slice(text).unwrap_or_default(),
            Value::Str(text) => json!(String::from_utf8_lossy(text)),
            _ => Json::Null,
        };
        let entries = |name: &str| match json(options.get(name).unwrap_or(&Value::Nil)) {
            Json::Object(entries) => Ok(entries),
            Json::Null => Ok(Map::new()),
            // An empty table of Lua.
            Json::Array(items) if items.is_empty() => Ok(Map::new()),
            other => Err(Raise::error(format!("`{name}` is not a map: {other}"))),
        };
        let is_file = Language::of(Path::new(name)).is_some();
        let is_plugin = is_file && name.starts_with("main.") && folder.join("plugin.toml").is_file();
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let mut plugin = Map::new();
        let own_name = absolute.file_name().map(|name| name.to_string_lossy().into_owned());
        match own_name.filter(|_| is_plugin) {
            Some(own_name) => plugin.insert("name".to_owned(), json!(own_name)),
            None if is_file => plugin.insert("script".to_owned(), json!(name)),
            None => plugin.insert("name".to_owned(), json!(name)),
        };
        if let Some(config) = options.get("config").map(json) {
            let config = if config == json!([]) { json!({}) } else { config };
            plugin.insert("config".to_owned(), literal(config));
        }
        if let Some(on_error) = options.get("on_error").map(json) {
            plugin.insert("on_error".to_owned(), on_error);
        }
        let before = match options.get("before") {
            Some(Value::List(uses)) => uses.iter().map(json).map(literal).collect(),
            _ => Vec::new(),
        };
        let plugins_dir = match (is_plugin, is_file) {
            (true, _) => absolute.parent().map(Path::to_owned),
            (false, true) => None,
            (false, false) => Some(absolute),
        };
        let (route, service, gateway) = (entries("route")?, entries("service")?, entries("gateway")?);
        Ok(Plan { plugin: Json::Object(plugin), before, route, service, gateway, plugins_dir })
    }

    fn configuration(&self, upstreams: &[Upstream]) -> Json {
        let mut plugins = self.before.clone();
        plugins.push(self.plugin.clone());
        let mut route = json!({ "name": "test", "paths": ["/"], "strip_path": false, "plugins": plugins });
        extend(&mut route, &self.route);
        let service = |upstream: &Upstream| {
            let url = format!("http://127.0.0.1:{}", upstream.port);
            let mut service = json!({ "name": upstream.name, "url": url });
            if upstream.name == BACKEND {
                service["routes"] = json!([route]);
                extend(&mut service, &self.service);
            }
            service
        };
        let services: Vec<Json> = upstreams.iter().map(service).collect();
        let mut whole = json!({ "listen": "127.0.0.1:80", "admin": "off", "services": services });
        if let Some(folder) = &self.plugins_dir {
            whole["plugins_dir"] = json!(folder);
        }
        extend(&mut whole, &self.gateway);
        whole
    }
}

fn extend(entries: &mut Json, more: &Map<String, Json>) {
    for (name, value) in more {
        entries[name.as_str()] = value.clone();
    }
}

/// A test says what a script gets: `${` in it names no variable of the environment.
fn literal(value: Json) -> Json {
    match value {
        Json::String(text) => Json::String(text.replace("${", "$${")),
        Json::Array(items) => Json::Array(items.into_iter().map(literal).collect()),
        Json::Object(entries) => entries.into_iter().map(|(name, value)| (name, literal(value))).collect(),
        other => other,
    }
}

impl Tried for Gateway {
    fn request(self: Rc<Self>, request: Value) -> LocalBoxFuture<'static, Result<Value, Raise>> {
        Box::pin(async move { self.send(&request).await.map(|response| text(&response)) })
    }

    fn answer(&self, method: &str, url: &str, answer: &Value) -> Result<(), Raise> {
        self.fakes.declare(method, url, answer)
    }

    fn redis(&self, command: &str, reply: &Value) -> Result<(), Raise> {
        let reply = match reply {
            Value::Json(text) => serde_json::from_slice(text).unwrap_or_default(),
            _ => Json::Null,
        };
        self.case.declare_redis(command, reply);
        Ok(())
    }

    fn received(&self) -> Value {
        text(&Json::Array(self.fakes.received()))
    }

    fn logs(&self) -> Value {
        text(&Json::Array(self.case.logs.all()))
    }

    fn metric(&self, name: &str, labels: &Value) -> Result<Value, Raise> {
        Ok(match self.case.metrics.sum(name, &labels_of(labels)?) {
            None => Value::Nil,
            Some((value, None)) => text(&number(value)),
            Some((sum, Some(count))) => text(&json!({ "count": count, "sum": number(sum) })),
        })
    }

    fn problems(self: Rc<Self>) -> LocalBoxFuture<'static, Result<Value, Raise>> {
        Box::pin(async move { Ok(Value::from(self.running().await.err().unwrap_or_default())) })
    }
}

/// A whole number is written as one.
fn number(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() < 9.0e15 { json!(value as i64) } else { json!(value) }
}

fn text(value: &Json) -> Value {
    Value::Json(Bytes::from(value.to_string()))
}
