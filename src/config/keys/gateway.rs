//! The sections and their keys, in the order of the reference.

use super::{Section, key, kong, refused, without};

pub const SECTIONS: &[&Section] = &[
    &FILE,
    &LISTENER,
    &ADMIN,
    &LIMITS,
    &SERVICE,
    &SERVICE_TLS,
    &TARGET,
    &ROUTE,
    &PLUGIN,
    &UPSTREAM,
    &UPSTREAM_TARGET,
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
        key("access_log", "`stdout`, `off` or a file", "stdout", "one line an exchange"),
        key("redis", "URL", "", "the store that several gateways share; empty: the embedded one"),
        key("plugins_dir", "folder", "./plugins", "the drop-in folder of plugins, relative to this file"),
        key("trusted_proxies", "list of networks", "[]", "whose `X-Forwarded-For` is believed"),
        key("identity_headers", "list of header names", "[x-user-id, x-user-email]", "removed from every request of a client, in any spelling"),
        key("limits", "limits", "", "what a request or script may use"),
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
        refused("tls", "TLS listeners do not exist yet, and plain text must not stand in for them"),
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
pub const LIMITS: Section = Section {
    name: "limits",
    at: "limits",
    doc: "What one request, and one script, may use.",
    keys: &[
        key("max_header_bytes", "size", "64KiB", "a request's line and headers together; above: 431"),
        key("max_header_count", "number", "100", "a request's header lines; above: 431"),
        key("max_body_size", "size", "8MiB", "a body that a script reads; bodies that stream are not limited"),
        key("script_cpu", "duration", "50ms", "processor time of one hook"),
        key("script_memory", "size", "64MiB", "memory of one script VM"),
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
        key("timeout", "duration", "60s", "the whole exchange with the service, retries included"),
        key("connect_timeout", "duration", "5s", "until a connection is made"),
        key("read_timeout", "duration", "60s", "between two reads from the service"),
        key("write_timeout", "duration", "60s", "between two writes to the service"),
        key("retries", "number", "0", "further tries when a connection fails, or, for idempotent methods, breaks"),
        key("preserve_host", "boolean", "false", "pass on the client's `Host`; a route's own setting wins"),
        key("enabled", "boolean", "true", "false takes its routes out"),
        key("routes", "list of routes", "[]", "the routes of this service"),
        key("plugins", "list of plugins", "[]", "plugins on all its routes"),
        without("health", "health checks are not there yet"),
        without("circuit_breaker", "circuit breakers are not there yet"),
        without("balance", "targets take turns by weight for now"),
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
    ],
    kong: kong::ROUTE,
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
