//! A response made by a script.
//!
//! Replies are values: a hook returns one, or throws one from any depth. `error` replies are RFC 9457 problems; the
//! request id is added where the reply meets its exchange, so that a reply can also be made in `on_load`.

use super::json;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The detail of a problem+json, when the reply is one: its body is written when the id is known.
    pub problem: Option<String>,
    /// More members of the problem (RFC 9457 §3.2), after those that every problem has.
    pub members: Option<Box<Map<String, Value>>>,
}

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The members of a problem that are the gateway's.
const OWN_MEMBERS: [&str; 5] = ["type", "title", "status", "detail", "request_id"];

impl Reply {
    pub fn empty(status: StatusCode) -> Reply {
        Reply { status, headers: HeaderMap::new(), body: Bytes::new(), problem: None, members: None }
    }

    pub fn with_body(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Reply {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::CONTENT_TYPE, content_type);
        Reply { status, headers, body, problem: None, members: None }
    }

    /// A problem (RFC 9457): `type` is about:blank, so `title` is the status' reason phrase.
    pub fn problem(status: StatusCode, detail: impl Into<String>) -> Reply {
        Reply { problem: Some(detail.into()), ..Reply::with_body(status, PROBLEM, Bytes::new()) }
    }

    pub fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Reply {
        self.headers.insert(name, value);
        self
    }

    /// The body, with the problem written out for the exchange `id`.
    pub fn body_for(&self, id: &str) -> Bytes {
        match &self.problem {
            None => self.body.clone(),
            Some(detail) => {
                let title = self.status.canonical_reason().unwrap_or("Error");
                let mut body = Vec::with_capacity(160 + detail.len());
                body.extend_from_slice(br#"{"type":"about:blank","title":"#);
                json::write_str(&mut body, title.as_bytes());
                body.extend_from_slice(br#","status":"#);
                json::write_i64(&mut body, self.status.as_u16().into());
                body.extend_from_slice(br#","detail":"#);
                json::write_str(&mut body, detail.as_bytes());
                body.extend_from_slice(br#","request_id":"#);
                json::write_str(&mut body, id.as_bytes());
                for (name, value) in self.members.iter().flat_map(|members| members.iter()) {
                    if !OWN_MEMBERS.contains(&name.as_str()) {
                        body.push(b',');
                        json::write_str(&mut body, name.as_bytes());
                        body.push(b':');
                        // Writing to a vector can't fail.
                        let _ = serde_json::to_writer(&mut body, value);
                    }
                }
                body.push(b'}');
                body.into()
            }
        }
    }
}
