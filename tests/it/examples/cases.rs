//! Which examples there are, how many cases, and what several of them need.

use super::{Example, answers, documents, guards, requests, streams};
use crate::support::{Request, reply, token::Key, upstream::UpstreamReply, wire::Received};
use aws_lc_rs::hmac;

/// Of everything that the examples sign.
pub const SECRET: &str = "a secret of the test";

/// Cases in all examples together, in one language.
pub const COUNT: usize = 145;

pub fn examples(key: &Key) -> Vec<Example> {
    let example = |folder, service, cases| Example { folder, service, cases };
    vec![
        example("ab-routing", plain, requests::ab_routing()),
        example("api-version", plain, requests::api_version()),
        example("block-user-agent", plain, guards::block_user_agent()),
        example("bot-challenge", plain, guards::bot_challenge()),
        example("cache-control", answers::site, answers::cache_control()),
        example("canary", plain, requests::canary()),
        example("claims-to-headers", plain, requests::claims_to_headers(key)),
        example("cost-limits", plain, guards::cost_limits()),
        example("default-query", plain, requests::default_query()),
        example("echo", plain, answers::echo()),
        example("error-pages", answers::broken, answers::error_pages()),
        example("feature-flags", plain, requests::feature_flags()),
        example("graphql-depth", plain, guards::graphql_depth()),
        example("idempotency-keys", guards::orders, guards::idempotency_keys()),
        example("language-redirect", plain, requests::language_redirect()),
        example("llm-stream", streams::model, streams::llm_stream()),
        example("log-slow", answers::slow, answers::log_slow()),
        example("maintenance", plain, guards::maintenance()),
        example("pagination-links", answers::pages, answers::pagination_links()),
        example("redact-by-role", answers::staff, answers::redact_by_role(key)),
        example("request-signing", plain, requests::request_signing()),
        example("response-merging", answers::warehouses, answers::response_merging()),
        example("sse-filter", streams::events, streams::sse_filter()),
        example("tenant-subdomain", plain, requests::tenant_subdomain()),
        example("webhook-signature", plain, guards::webhook_signature()),
        example("websocket-token", plain, guards::websocket_token(key)),
        example("xml-to-json", documents::legacy, documents::xml_to_json()),
    ]
}

pub fn get(target: &str) -> Request {
    Request::get(target)
}

fn plain(_: &Received) -> UpstreamReply {
    reply(200, "ok").header("content-type", "text/plain").header("set-cookie", "own=1")
}

pub fn hmac_hex(message: &str) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message.as_bytes()).as_ref())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
