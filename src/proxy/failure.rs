//! What can fail in an exchange, and the one place where a failure becomes a response.
//!
//! A [`Failure`] answers three questions by exhaustive matches: whose fault, which status, which word names it (in logs and
//! for `on_error`). The client gets a problem with the request id and no more; the detail goes to the log under that id.

use crate::{
    http::{BadPath, Fault, police::Refusal},
    script::{self, Reply, ScriptError, object::Failed},
    upstream::{Kind, UpstreamError},
};
use http::{HeaderValue, StatusCode, header};
use std::{sync::Arc, time::Duration};

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Path(#[from] BadPath),
    #[error("{}", .0.reason)]
    Head(Refusal),
    #[error("no route matches {method} {path}")]
    NoRoute {
        method: String,
        path: String,
        /// In development: the routes there are, each with why it is not this request's.
        lost: Vec<(String, String)>,
    },
    /// A script chose it.
    #[error("the service `{0}` is not defined")]
    NoService(String),
    /// A route without a service, and this script's `handle` returned nothing.
    #[error("`handle` of {0} returned nothing, and the route has no service: is a `return` missing?")]
    NoAnswer(Arc<str>),
    /// None of its targets is up, or none could be connected to.
    #[error("the service `{service}` has no target that is up")]
    NoTarget { service: String, after: Duration },
    #[error("the circuit breaker of the service `{service}` is open")]
    BreakerOpen { service: String, after: Duration },
    /// `max_concurrent`.
    #[error("the service `{0}` has as many requests as it may have")]
    Overloaded(String),
    /// The deadline passed before a target was asked.
    #[error("the time for the request was over before it was forwarded")]
    Late,
    #[error("{0}")]
    Upstream(#[from] UpstreamError),
    #[error("{0}")]
    Script(Box<ScriptError>),
}

impl Failure {
    /// The word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Failure::Path(_) | Failure::Head(_) => "refused",
            Failure::NoRoute { .. } => "no_route",
            Failure::NoService(_) => "no_service",
            Failure::NoAnswer(_) => "no_answer",
            Failure::NoTarget { .. } => "no_target",
            Failure::BreakerOpen { .. } => "breaker",
            Failure::Overloaded(_) => "overloaded",
            Failure::Late => "timeout",
            Failure::Upstream(error) => error.word(),
            Failure::Script(error) => match &error.fault {
                script::error::Fault::Limit(_) => "script_limit",
                script::error::Fault::Syntax | script::error::Fault::Runtime | script::error::Fault::Returned => {
                    "script"
                }
            },
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Failure::Path(_) => StatusCode::BAD_REQUEST,
            Failure::Head(refusal) => refusal.status,
            Failure::NoRoute { .. } => StatusCode::NOT_FOUND,
            Failure::NoService(_) | Failure::NoAnswer(_) | Failure::Script(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Failure::NoTarget { .. } | Failure::BreakerOpen { .. } | Failure::Overloaded(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Failure::Late => StatusCode::GATEWAY_TIMEOUT,
            Failure::Upstream(error) => error.status(),
        }
    }

    pub fn fault(&self) -> Fault {
        match self {
            Failure::Path(_) | Failure::Head(_) | Failure::NoRoute { .. } => Fault::Client,
            Failure::NoService(_) | Failure::NoAnswer(_) | Failure::Late | Failure::Script(_) => Fault::Gateway,
            Failure::NoTarget { .. } | Failure::BreakerOpen { .. } | Failure::Overloaded(_) => Fault::Upstream,
            Failure::Upstream(error) => error.fault(),
        }
    }

    /// What the client is told.
    ///
    /// SECURITY: no target's address, no path of a file and no text of a script.
    fn detail(&self) -> String {
        match self {
            Failure::Path(_) | Failure::Head(_) | Failure::NoRoute { .. } => self.to_string(),
            Failure::NoService(_) | Failure::NoAnswer(_) => "this route is not configured to answer".into(),
            Failure::NoTarget { .. } => "the service has no target that can answer".into(),
            Failure::BreakerOpen { .. } => "the service is left alone for a moment: it failed too often".into(),
            Failure::Overloaded(_) => "the service has too many requests at the moment".into(),
            Failure::Late => "the time for the request was over before it was forwarded".into(),
            Failure::Script(_) => "a script of this route failed".into(),
            Failure::Upstream(error) => match error.fault() {
                Fault::Client => "the request body could not be read".into(),
                Fault::Gateway => "the request can't be forwarded".into(),
                Fault::Upstream => match &error.kind {
                    Kind::Timeout => "the upstream service did not answer in time".into(),
                    _ => "the upstream service did not answer".into(),
                },
            },
        }
    }

    /// The response of last resort.
    pub fn reply(&self) -> Reply {
        let mut reply = Reply::problem(self.status(), self.detail());
        if let Some(after) = self.retry_after() {
            reply = reply.header(header::RETRY_AFTER, HeaderValue::from(after));
        }
        match self.status() {
            StatusCode::METHOD_NOT_ALLOWED => reply.header(header::ALLOW, HeaderValue::from_static(Refusal::ALLOW)),
            _ => reply,
        }
    }

    /// When the client may come back, in whole seconds and at least one (RFC 9110 §10.2.3).
    fn retry_after(&self) -> Option<u64> {
        let after = match self {
            Failure::NoTarget { after, .. } | Failure::BreakerOpen { after, .. } => *after,
            Failure::Overloaded(_) => Duration::from_secs(1),
            Failure::Path(_)
            | Failure::Head(_)
            | Failure::NoRoute { .. }
            | Failure::NoService(_)
            | Failure::NoAnswer(_)
            | Failure::Late
            | Failure::Upstream(_)
            | Failure::Script(_) => return None,
        };
        Some(after.as_millis().div_ceil(1_000).max(1) as u64)
    }

    /// What `on_error` sees.
    pub fn failed(&self) -> Failed {
        Failed { kind: self.kind(), status: self.status().as_u16(), message: self.to_string() }
    }
}

/// An error of a script with its source line, as text.
pub fn excerpt(error: &ScriptError) -> String {
    let mut text = error.to_string();
    if !error.source_line.is_empty() {
        let caret = " ".repeat(error.column.saturating_sub(1));
        text.push_str(&format!("\n{:>5} | {}\n      | {caret}^", error.line, error.source_line));
    }
    if let Some(help) = &error.help {
        text.push_str(&format!("\nhelp: {help}"));
    }
    for call in &error.stack {
        text.push_str(&format!("\n  at {call}"));
    }
    text
}
