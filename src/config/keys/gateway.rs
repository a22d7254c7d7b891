//! The sections and their keys, in the order of the reference.

mod health;

use super::{Section, key, kong};
pub use health::*;

pub const SECTIONS: &[&Section] = &[
    &FILE,
    &LISTENER,
    &TLS,
    &CERTIFICATE,
    &CLIENT_AUTH,
    &ADMIN,
    &ACCESS_LOG,
    &DNS,
    &TRACES,
    &LIMITS,
    &QUARANTINE,
    &DRAIN,
    &COMPRESSION,
    &SERVICE,
    &SERVICE_TLS,
    &TARGET,
    &HEALTH,
    &PASSIVE,
    &BREAKER,
    &TARGET_BREAKER,
    &ROUTE,
    &REDIRECT,
    &REPLY,
    &SPLIT,
    &HEADER_CHANGES,
    &FAULT,
    &MIRROR,
    &PLUGIN,
    &UPSTREAM,
    &UPSTREAM_TARGET,
    &KONG_HEALTH,
    &KONG_ACTIVE,
    &KONG_PASSIVE,
    &KONG_HEALTHY,
    &KONG_UNHEALTHY,
    &DEV,
    &TRY,
];

#[rustfmt::skip] // One key a line reads as the table it is.
pub const FILE: Section = Section {
    name: "the configuration",
    at: "gateway.yaml",
    doc: "The whole file. Every value may hold `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `${file:/path}`.",
    keys: &[
        key("listen", "address, listener, or list of them", "127.0.0.1:8080", "where clients connect"),
        key("admin", "address, `off`, or admin", "127.0.0.1:9080", "the admin API and dashboard"),
        key("workers", "`auto` or a number", "auto", "worker threads; `auto` is one a core"),
        key("access_log", "`stdout`, `off`, a file, or access log", "stdout", "one line an exchange"),
        key("traces", "`off`, a URL, or traces", "off", "spans of exchanges, exported by OTLP"),
        key("redis", "URL", "", "the store that several gateways share; empty: the embedded one"),
        key("dns", "dns", "", "how the names of targets are resolved"),
        key("plugins_dir", "folder", "./plugins", "the drop-in folder of plugins, relative to this file"),
        key("trusted_proxies", "list of networks", "[]", "whose `X-Forwarded-For` is believed"),
        key("identity_headers", "list of header names", "[x-user-id, x-user-email]", "removed from every request of a client, in any spelling"),
        key("limits", "limits", "", "what a request or script may use"),
        key("drain", "drain", "", "how the gateway ends"),
        key("compression", "`on`, `off` or compression", "off", "compress answers for clients that accept it"),
        key("services", "list of services", "[]", "the backends"),
        key("routes", "list of routes", "[]", "routes that name their service, or have none and are answered by a script"),
        key("plugins", "list of plugins", "[]", "plugins on every route, or on the `service` or `route` that they name"),
        key("upstreams", "list of upstreams", "[]", "Kong's form of a service with several targets: a service's `host` names one"),
        key("targets", "list of upstream targets", "[]", "Kong's targets that name their `upstream`"),
        key("dev", "dev", "", "what `gatewright dev` prints"),
    ],
    kong: kong::FILE,
};

#[rustfmt::skip]
pub const LISTENER: Section = Section {
    name: "a listener",
    at: "listen[]",
    doc: "A socket that clients connect to. Just an address, `127.0.0.1:8080`, is a listener without a name.",
    keys: &[
        key("address", "IP address and port", "", "required; IPv6 as `[::1]:8080`; port 0 takes a free one"),
        key("name", "string", "", "for the `listeners` of a route"),
        key("tls", "tls", "", "makes it a listener for https, with HTTP/2"),
        key("https_redirect", "boolean", "false", "answers every request with 308 to the same URL on the first listener with `tls`"),
        key("proxy_protocol", "boolean", "false", "each connection begins with a PROXY header (v1 or v2), from which the client's address is taken; connections that have none, or don't come from `trusted_proxies`, are closed"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const TLS: Section = Section {
    name: "tls",
    at: "listen[].tls",
    doc: "Certificates are read again when their files change, and no connection ends for it. Paths are relative to this file.",
    keys: &[
        key("cert", "file", "", "PEM: the certificate, then those between it and its authority"),
        key("key", "file", "", "PEM: the certificate's private key"),
        key("certificates", "list of certificates", "[]", "several, chosen by the host that the client names; the first is for all others"),
        key("min_version", "`1.2` or `1.3`", "1.2", "the oldest version that is spoken"),
        key("client_auth", "client certificates", "", "asks clients for a certificate (mTLS); scripts read `ctx.client.subject`"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const CERTIFICATE: Section = Section {
    name: "a certificate",
    at: "listen[].tls.certificates[]",
    doc: "It serves the names that it holds itself; an exact name goes before `*.example.com`.",
    keys: &[
        key("cert", "file", "", "required; PEM: the certificate, then those between it and its authority"),
        key("key", "file", "", "required; PEM: its private key"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const CLIENT_AUTH: Section = Section {
    name: "client certificates",
    at: "listen[].tls.client_auth",
    doc: "Which certificates clients may show.",
    keys: &[
        key("ca", "file", "", "required; PEM: the authorities that issue them"),
        key("mode", "`require` or `optional`", "require", "whether a client without one is turned away; one that is not valid always is"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const ADMIN: Section = Section {
    name: "admin",
    at: "admin",
    doc: "The admin listener. On an address that others can reach it needs a token.",
    keys: &[
        key("address", "IP address and port", "127.0.0.1:9080", ""),
        key("token", "string", "", "bearer token that every call must carry"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const ACCESS_LOG: Section = Section {
    name: "access log",
    at: "access_log",
    doc: "One JSON line an exchange. No line holds a header, a cookie, a query or a body. The signal USR1 opens the file anew, after it was moved away. Read once, when the gateway starts.",
    keys: &[
        key("file", "`stdout`, `off` or a file", "stdout", "where lines go, relative to this file"),
        key("sample", "number from 0 to 1", "1", "the share of the exchanges that is written"),
        key("fields", "list of names", "all", "of `time`, `id`, `trace_id`, `client`, `identity` (the `id` of `ctx.identity`), `method`, `host`, `path` (without the query), `protocol`, `status`, `flags`, `route`, `service`, `target`, `tries`, `request_bytes`, `bytes`, `duration_ms`, `upstream_ms`, `scripts_ms`, `generation`"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const TRACES: Section = Section {
    name: "traces",
    at: "traces",
    doc: "Spans of the exchange, its hooks, its tries at targets and its scripts' calls go to an OpenTelemetry collector (OTLP over HTTP, protobuf). No span holds a header, a query, a body or a token. Just a URL is an endpoint. Read once, when the gateway starts; `OTEL_RESOURCE_ATTRIBUTES` is added to what the gateway says of itself.",
    keys: &[
        key("endpoint", "URL", "", "required; of the collector, `http://localhost:4318`: `/v1/traces` is added where it is missing; empty: off"),
        key("sample", "number from 0 to 1", "1", "the share of the traces that begin here which is recorded; a trace that comes with the request is recorded when its caller says so"),
        key("service_name", "string", "gatewright", "`service.name` of the spans"),
        key("headers", "header names and values", "", "sent to the collector with each batch, such as its token"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const LIMITS: Section = Section {
    name: "limits",
    at: "limits",
    doc: "What one request, and one script, may use.",
    keys: &[
        key("max_header_bytes", "size", "64KiB", "a request's line and headers together; above: 431"),
        key("max_header_count", "number", "100", "a request's header lines; above: 431"),
        key("max_body_size", "size", "8MiB", "a body that a script reads; bodies that stream are not limited"),
        key("max_connections", "number", "50000", "open connections of clients, in the whole process; further ones are closed at once"),
        key("max_connections_per_ip", "number", "", "open connections of one client (of IPv6, of one /64); `trusted_proxies` are not counted; no limit when it is left out"),
        key("header_timeout", "duration", "10s", "from the first byte of a request's head to its last; above: 408"),
        key("idle_timeout", "duration", "75s", "of a connection between two requests"),
        key("min_body_rate", "size", "240B", "a second, of a request body that is waited for, after 5 seconds; below: 408; 0: no limit. Not of calls of gRPC, which may be silent"),
        key("write_timeout", "duration", "60s", "without a byte that the client takes of an answer; above, the connection is closed, or with HTTP/2 the stream reset"),
        key("script_cpu", "duration", "50ms", "processor time of one hook"),
        key("script_memory", "size", "64MiB", "memory of one script VM"),
        key("quarantine", "quarantine of scripts, or `off`", "on", "a plugin that keeps failing on a route is left out there for a while"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const QUARANTINE: Section = Section {
    name: "quarantine of scripts",
    at: "limits.quarantine",
    doc: "An entry of `plugins` with a hook that keeps failing, or hitting limits, is left out on that route for a while: 503 with `Retry-After`, or passed over where it says `on_error: continue`. Then one request tries it. Other entries, and the same one on other routes, go on. `on_error` and `on_log`, which decide nothing, are left out alone. What was given to `every` and fails `min_runs` times in a row, or hits a limit `limit_hits` times in a row, is put off in the same way. What is held stands in the log, the metrics (`gatewright_script_quarantined`), `/api/v1/routes` and `/api/v1/plugins`. A reload begins anew; `gatewright dev` leaves nothing out. A client that can make a script fail can have it held: scripts should answer bad requests with a reply, which is no failure.",
    keys: &[
        key("failure_rate", "percent", "50", "of the hook's runs in the window"),
        key("window", "duration", "10s", "from the first failure on"),
        key("min_runs", "number", "5", "in the window, before the rate means something"),
        key("limit_hits", "number", "3", "limits of CPU time, memory or depth in the window, whatever the rate"),
        key("hold_for", "duration", "5s", "until one request tries it"),
        key("max_hold_for", "duration", "60s", "while that fails, each hold is twice as long as the one before, up to this"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const DRAIN: Section = Section {
    name: "drain",
    at: "drain",
    doc: "At SIGTERM or SIGINT readiness fails (`/readyz` answers 503); after the delay listeners and idle connections close, and exchanges end. A second signal ends the process at once.",
    keys: &[
        key("delay", "duration", "0s", "how long connections are still accepted: as long as balancers take to notice"),
        key("timeout", "duration", "30s", "connections that are still open this long after that are closed"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const COMPRESSION: Section = Section {
    name: "compression",
    at: "compression",
    doc: "Which answers are compressed. Never those that are encoded already, event streams, gRPC, or `no-transform`.",
    keys: &[
        key("codings", "list", "[zstd, br, gzip]", "the first that a client likes best is used"),
        key("min_length", "size", "1KiB", "shorter bodies are sent as they are"),
        key("types", "list of content types", "text, JSON, XML, JavaScript, SVG", "`text/*` for all below it"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const SERVICE: Section = Section {
    name: "a service",
    at: "services[]",
    doc: "A backend. It is reached at its `url`, or its `targets`, or (Kong) its `host` and `port`.",
    keys: &[
        key("name", "string", "`service-1`, …", "unique"),
        key("url", "URL", "", "`http://host:port/path`; the path goes before the request's"),
        key("targets", "list of targets", "", "instead of `url`: several, by weight"),
        key("protocol", "`http`, `https`, `h2c` or `h2`", "http", "`h2c` and `h2` are HTTP/2, plain and over TLS; Kong's `grpc` and `grpcs` are the same two"),
        key("tls", "TLS", "", "how `https` and `h2` are verified"),
        key("host", "name or address", "", "instead of `url`; may name an upstream"),
        key("port", "number", "80", "with `host`; 443 for https"),
        key("path", "path", "", "goes before the request's path"),
        key("timeout", "duration, or `off`", "60s", "the whole exchange with the service, retries and the answer's body included; `off` or 0 for as long as it takes. Without this key, Server-Sent Events and calls of gRPC whose answer has begun end after `read_timeout` without a byte and not before. A client's `X-Request-Timeout` (`2`, `1.5s`, `300ms`) or, with gRPC, `grpc-timeout` can shorten it, and services are told what is left"),
        key("connect_timeout", "duration", "5s", "until a connection is made"),
        key("first_byte_timeout", "duration", "as `read_timeout`", "from the end of a request to the head of its answer"),
        key("read_timeout", "duration", "60s", "between two reads from the service"),
        key("write_timeout", "duration", "60s", "between two writes to the service"),
        key("retries", "number", "0", "further tries when a connection fails, or, for idempotent methods, breaks"),
        key("per_try_timeout", "duration", "", "from the begin of a try, or the end of its body when that streams, to the head of its answer"),
        key("preserve_host", "boolean", "false", "pass on the client's `Host`; a route's own setting wins"),
        key("enabled", "boolean", "true", "false takes its routes out"),
        key("routes", "list of routes", "[]", "the routes of this service"),
        key("plugins", "list of plugins", "[]", "plugins on all its routes"),
        key("retry_on", "list", "[connect, reset], with `per_try_timeout` also timeout", "what is tried again: `reset`, `timeout` (a try that was too slow), and statuses such as 503; a connection that fails always is. A `Retry-After` of at most 5 s is waited for where the timeout allows; otherwise the answer is passed on"),
        key("retry_methods", "list of methods", "the idempotent ones", "which are sent again although a target may have begun with them: with `POST` among them it may be done twice. What no byte was sent of is always sent again. Bodies of up to 64 KiB whose length is told are kept for it; others stream by and are never sent twice"),
        key("balance", "`round_robin`, `least_requests` or `hash`", "round_robin", "how one of several targets is chosen"),
        key("hash_on", "`ip`, `path`, `header:NAME` or `cookie:NAME`", "ip", "with `balance: hash`; a request without it takes its turn"),
        key("slow_start", "duration", "", "how long a target that has come back is given less than its share"),
        key("health", "health, or `off`", "", "health checks; without them real requests tell which targets are up"),
        key("circuit_breaker", "circuit breaker, or `off`", "{}", "when the service is left alone for a while"),
    ],
    kong: kong::SERVICE,
};

#[rustfmt::skip]
pub const SERVICE_TLS: Section = Section {
    name: "the TLS of a service",
    at: "services[].tls",
    doc: "How connections over TLS to its targets are made. Files are PEM, relative to this one.",
    keys: &[
        key("ca", "file", "the system's", "the authorities that certificates are verified by"),
        key("verify", "boolean", "true", "false takes any certificate, with a warning"),
        key("server_name", "name", "the target's host", "the name to ask for (SNI) and to verify"),
        key("client_cert", "file", "", "the certificate chain to show; with `client_key`"),
        key("client_key", "file", "", "its private key"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const TARGET: Section = Section {
    name: "a target",
    at: "services[].targets[]",
    doc: "One address of a service.",
    keys: &[
        key("url", "URL", "", "required: `http://host:port/path`"),
        key("weight", "number", "1", "its share of the requests, 0 to 65535; 0 takes it out"),
        key("backup", "boolean", "false", "used only while no other target is up"),
    ],
    kong: kong::TARGET,
};

#[rustfmt::skip]
pub const ROUTE: Section = Section {
    name: "a route",
    at: "routes[], services[].routes[]",
    doc: "Which requests, and what becomes of them. All conditions must hold; in a list one must.",
    keys: &[
        key("name", "string", "`SERVICE-1`, …", "unique"),
        key("service", "name", "", "in the list at the top: the service it belongs to"),
        key("hosts", "list", "[]", "`api.example.com`, `*.example.com` or `api.*`; without a port"),
        key("paths", "list", "[]", "`/api` and all below it, `=/api` alone, `/users/{id}`, or `~/regex`"),
        key("methods", "list", "[]", "in capitals"),
        key("headers", "mapping of lists", "{}", "name: values; `~*regex` as a value"),
        key("query", "mapping of lists", "{}", "name: values"),
        key("listeners", "list of names", "[]", "only on these listeners; all when empty"),
        key("protocols", "list", "[http, https]", "only over these"),
        key("strip_path", "boolean", "true", "remove the matched path before forwarding"),
        key("preserve_host", "boolean", "the service's", "pass on the client's `Host`"),
        key("priority", "number", "0", "the higher matches first, before all other rules"),
        key("regex_priority", "number", "0", "between two regex paths the higher matches first"),
        key("plugins", "list of plugins", "[]", "plugins on this route"),
        key("redirect", "URL, or redirect", "", "answer with a redirect: `https://example.com{path}{query}`"),
        key("reply", "reply", "", "answer with a fixed response"),
        key("split", "list of parts", "[]", "share the requests between services, by weight: a canary"),
        key("rewrite", "path", "", "the path to ask the service for: `/v2{rest}`, `/users/{id}`"),
        key("request_headers", "header changes", "", "on the request to the service, after the plugins"),
        key("response_headers", "header changes", "", "on the service's response, before the plugins"),
        key("fault", "fault", "", "failures made on purpose, for tests"),
        key("mirror", "mirror", "", "copies of the requests go to another service too, which answers nobody"),
    ],
    kong: kong::ROUTE,
};

#[rustfmt::skip]
pub const REDIRECT: Section = Section {
    name: "a redirect",
    at: "routes[].redirect",
    doc: "An answer that sends the client elsewhere. `to` may hold `{path}`, `{rest}` (what the route's path left), `{query}`, `{host}` and the path's parameters.",
    keys: &[
        key("to", "URL", "", "required; a path, or a URL with its scheme"),
        key("status", "301, 302, 303, 307 or 308", "308", "308 keeps the method, for ever"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const REPLY: Section = Section {
    name: "a reply",
    at: "routes[].reply",
    doc: "A fixed response.",
    keys: &[
        key("status", "number", "200", ""),
        key("headers", "mapping", "{}", "name: value"),
        key("body", "string", "", "`text/plain` unless the headers say otherwise"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const SPLIT: Section = Section {
    name: "a part of a split",
    at: "routes[].split[]",
    doc: "One of the services that share a route.",
    keys: &[
        key("service", "name", "", "required"),
        key("weight", "number", "1", "its share of the requests, 0 to 65535"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const HEADER_CHANGES: Section = Section {
    name: "header changes",
    at: "routes[].request_headers, routes[].response_headers",
    doc: "Removed first, then set, then added.",
    keys: &[
        key("remove", "list of header names", "[]", ""),
        key("set", "mapping", "{}", "name: value; takes the place of what is there"),
        key("add", "mapping", "{}", "name: value; beside what is there"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const FAULT: Section = Section {
    name: "a fault",
    at: "routes[].fault",
    doc: "For tests of clients. At least one of `delay` and `abort`.",
    keys: &[
        key("percent", "number", "100", "how many of the requests"),
        key("delay", "duration", "", "wait before going on"),
        key("abort", "number", "", "answer with this status, 400 to 599"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const MIRROR: Section = Section {
    name: "a mirror",
    at: "routes[].mirror",
    doc: "Copies of the requests that are forwarded go to another service as well: as forwarded, after the plugins, with that service's own timeouts, retries, health checks and breaker. Their answers are dropped, and nothing that happens to them touches the request. `Host` is what forwarding there would send, and `x-gatewright-mirror` names the route. A body that streams is copied as it goes by, and the copy leaves when it is whole. Requests to switch protocols are not copied. `gatewright_mirrored_requests` counts what became of the copies.",
    keys: &[
        key("service", "name", "", "required"),
        key("percent", "number", "100", "how many of the requests, 0 to 100"),
        key("max_body", "size", "64KiB", "requests with longer bodies are not copied; at most 16 MiB"),
        key("max_in_flight", "number", "100", "copies under way at once, over all workers; requests beyond are not copied"),
        key("timeout", "duration", "the service's, at most 60s", "everything, the dropped answer included"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const PLUGIN: Section = Section {
    name: "a plugin entry",
    at: "plugins[], services[].plugins[], routes[].plugins[]",
    doc: "The use of a plugin, by its `name`, or of a `script`.",
    keys: &[
        key("name", "string", "", "a stock plugin or one of the plugin folder"),
        key("script", "file", "", "a Lua or Rhai file, relative to this one"),
        key("id", "string", "", "tells two uses of one plugin apart"),
        key("enabled", "boolean", "true", "false takes out the same plugin of a wider scope"),
        key("config", "mapping", "{}", "what the plugin's `on_load` is given"),
        key("on_error", "`refuse` or `continue`", "refuse", "what an error in the script means for the request"),
        key("service", "name", "", "in the list at the top: only on this service's routes"),
        key("route", "name", "", "in the list at the top: only on this route"),
    ],
    kong: kong::PLUGIN,
};

#[rustfmt::skip]
pub const UPSTREAM: Section = Section {
    name: "an upstream",
    at: "upstreams[]",
    doc: "Kong's name for the targets of a service.",
    keys: &[
        key("name", "string", "", "required; what a service's `host` names"),
        key("targets", "list of upstream targets", "[]", ""),
        key("algorithm", "string", "round-robin", "`round-robin`, `least-connections` or `consistent-hashing`"),
        key("hash_on", "string", "", "`ip`, `path`, `header` or `cookie`"),
        key("hash_on_header", "header name", "", "with `hash_on: header`"),
        key("hash_on_cookie", "name", "", "with `hash_on: cookie`"),
        key("healthchecks", "health checks of Kong", "", ""),
    ],
    kong: kong::UPSTREAM,
};

#[rustfmt::skip]
pub const UPSTREAM_TARGET: Section = Section {
    name: "an upstream target",
    at: "upstreams[].targets[], targets[]",
    doc: "One address of an upstream.",
    keys: &[
        key("target", "`host:port`", "", "required; the port is 8000 when it is left out, as in Kong"),
        key("weight", "number", "100", "its share of the requests, 0 to 65535; 0 takes it out"),
        key("upstream", "name", "", "in the list at the top: the upstream it belongs to"),
    ],
    kong: kong::TARGET,
};

#[rustfmt::skip]
pub const DEV: Section = Section {
    name: "dev",
    at: "dev",
    doc: "For `gatewright dev` alone.",
    keys: &[key("try", "list", "[]", "commands to print, for whoever starts this file")],
    kong: &[],
};

#[rustfmt::skip]
pub const TRY: Section = Section {
    name: "an entry of try",
    at: "dev.try[]",
    doc: "One command.",
    keys: &[
        key("title", "string", "", "required; what it shows"),
        key("curl", "string", "", "required; the command line"),
    ],
    kong: &[],
};
