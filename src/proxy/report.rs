//! What is said about a failure: to the log under the exchange's id, and to the client.

use super::{
    develop, failure,
    failure::Failure,
    grpc,
    record::Record,
    worker::{Ready, Worker},
};
use crate::script::{Exchange, Hook, Reply, ScriptError};
use std::time::Instant;

/// Logs a failure, and gives the response of last resort.
pub fn failed(worker: &Worker, ready: &Ready, exchange: &Exchange, failure: &Failure, record: &mut Record) -> Reply {
    record.failed(failure);
    match failure {
        Failure::Script(error) => script(ready, exchange, error, "a script failed"),
        Failure::Path(_) | Failure::Head(_) | Failure::NoRoute { .. } => {
            tracing::debug!(id = exchange.id.as_str(), kind = failure.kind(), %failure, "refused");
        }
        Failure::NoService(_)
        | Failure::NoAnswer(_)
        | Failure::NoTarget { .. }
        | Failure::BreakerOpen { .. }
        | Failure::Overloaded(_)
        | Failure::Late
        | Failure::Upstream(_) => {
            let route = exchange.route.borrow();
            tracing::warn!(id = exchange.id.as_str(), route = &**route, kind = failure.kind(), %failure, "failed");
        }
    }
    let reply = failure.reply();
    if grpc::is_call(&exchange.request.borrow().headers) {
        return grpc::reply(reply.status, reply.problem.as_deref().unwrap_or_default());
    }
    if worker.open { develop::explain(reply, failure, exchange) } else { reply }
}

/// Logs an error of a script, with its place and excerpt; one that is known already is only counted.
pub fn script(ready: &Ready, exchange: &Exchange, error: &ScriptError, message: &str) {
    let id = exchange.id.as_str();
    if !ready.repeats.is_news(error, id, Instant::now()) {
        return;
    }
    let hook = error.hook.map_or("", Hook::name);
    let route = exchange.route.borrow();
    tracing::error!(id, route = &**route, hook, error = failure::excerpt(error), "{message}");
}
