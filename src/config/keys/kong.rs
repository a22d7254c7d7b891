//! Kong's keys that Gatewright does not act on, and what becomes of each.
//!
//! Metadata is accepted in silence; what would act differently is a warning; what would let requests through that
//! Kong holds back is refused. From the entity reference of Kong Gateway 3.x's declarative configuration.

use super::{Key, harmless, refused, without};

const NO_CONSUMERS: &str = "there are no consumers; use a plugin such as `jwt-auth` or `api-key`";
const BY_WEIGHT: &str = "targets take turns by weight";
const UPSTREAM_TLS: &str = "write `tls: {ca: file.pem, client_cert: …}` for the service";
const NO_TLS: &str = "TLS is not there yet";

#[rustfmt::skip]
pub const FILE: &[Key] = &[
    harmless("_format_version"),
    harmless("_transform"),
    harmless("_info"),
    harmless("_comment"),
    harmless("_ignore"),
    harmless("_workspace"),
    harmless("_konnect"),
    harmless("parameters"),
    harmless("licenses"),
    harmless("workspaces"),
    harmless("_plugin_configs"),
    without("consumers", NO_CONSUMERS),
    without("consumer_groups", NO_CONSUMERS),
    without("acls", NO_CONSUMERS),
    without("basicauth_credentials", NO_CONSUMERS),
    without("hmacauth_credentials", NO_CONSUMERS),
    without("jwt_secrets", NO_CONSUMERS),
    without("keyauth_credentials", NO_CONSUMERS),
    without("mtls_auth_credentials", NO_CONSUMERS),
    without("oauth2_credentials", NO_CONSUMERS),
    without("certificates", NO_TLS),
    without("ca_certificates", NO_TLS),
    without("snis", NO_TLS),
    without("keys", "put keys into the configuration of the plugin that uses them"),
    without("key_sets", "put keys into the configuration of the plugin that uses them"),
    without("vaults", "use `${VAR}` or `${file:/path}`"),
    without("filter_chains", "there are no WebAssembly filters"),
];

#[rustfmt::skip]
pub const SERVICE: &[Key] = &[
    harmless("id"),
    harmless("tags"),
    harmless("created_at"),
    harmless("updated_at"),
    without("ca_certificates", UPSTREAM_TLS),
    without("client_certificate", UPSTREAM_TLS),
    without("tls_verify", UPSTREAM_TLS),
    without("tls_verify_depth", UPSTREAM_TLS),
    without("tls_sans", UPSTREAM_TLS),
];

#[rustfmt::skip]
pub const ROUTE: &[Key] = &[
    harmless("id"),
    harmless("tags"),
    harmless("created_at"),
    harmless("updated_at"),
    harmless("https_redirect_status_code"),
    // Bodies always stream here, unless a script reads them.
    harmless("request_buffering"),
    harmless("response_buffering"),
    harmless("path_handling"),
    without("snis", NO_TLS),
    refused("sources", "leaving the condition out would widen the route"),
    refused("destinations", "leaving the condition out would widen the route"),
    refused("expression", "write `hosts`, `paths`, `methods`, `headers`"),
];

#[rustfmt::skip]
pub const PLUGIN: &[Key] = &[
    harmless("tags"),
    harmless("created_at"),
    harmless("updated_at"),
    harmless("instance_name"),
    harmless("consumer"),
    harmless("consumer_group"),
    harmless("protocols"),
    without("ordering", "plugins run in the order of the list"),
    without("condition", "the plugin runs on every request of its route"),
];

#[rustfmt::skip]
pub const TARGET: &[Key] = &[
    harmless("id"),
    harmless("tags"),
    harmless("created_at"),
    harmless("updated_at"),
];

#[rustfmt::skip]
pub const UPSTREAM: &[Key] = &[
    harmless("id"),
    harmless("tags"),
    harmless("created_at"),
    harmless("updated_at"),
    harmless("slots"),
    harmless("hash_fallback"),
    harmless("hash_on_cookie_path"),
    without("hash_fallback_header", BY_WEIGHT),
    without("hash_on_query_arg", BY_WEIGHT),
    without("hash_fallback_query_arg", BY_WEIGHT),
    without("hash_on_uri_capture", BY_WEIGHT),
    without("hash_fallback_uri_capture", BY_WEIGHT),
    without("host_header", "the `Host` is the target's, or the client's with `preserve_host`"),
    without("client_certificate", UPSTREAM_TLS),
    harmless("use_srv_name"),
    harmless("sticky_sessions_cookie"),
    harmless("sticky_sessions_cookie_path"),
];
