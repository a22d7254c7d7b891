//! One hook of one plugin for an exchange: quarantine, span, budget and record around the script, and what its failure comes to.
//!
//! Which hooks run and in what order is [`super::life`]'s; what runs without an exchange is `background`'s.

use super::{failure::Failure, quarantine, record, report, spans, worker::Ready};
use crate::{
    config::OnError,
    gateway::prepared::Plugin,
    observe::traces::SpanInProgress,
    script::{Decision, Exchange, Hook, Scope},
};
use bytes::Bytes;
use std::{cell::Cell, rc::Rc};

/// One hook on a piece of a body. With `on_error: continue` the piece is left as it is.
pub async fn run_on_chunk(
    ready: &Ready,
    hook: Hook,
    plugin: &Plugin,
    exchange: &Rc<Exchange>,
    chunk: Option<Bytes>,
) -> Result<Option<Bytes>, Failure> {
    let Some(pass) = quarantine::enter(ready, hook, plugin, exchange)? else { return Ok(None) };
    let span = spans::hook(exchange, hook, plugin);
    let scope = scope(ready, hook, plugin, exchange, span.as_ref());
    let ended = plugin.program.chunk(hook, scope.clone(), &plugin.state, chunk).await;
    record::ran(ready, hook, plugin, exchange, scope.used.get(), &ended);
    quarantine::leave(pass, plugin, exchange, &ended);
    spans::ran(span, &ended);
    match ended {
        Ok(changed) => Ok(changed),
        Err(error) => {
            report::script(ready, exchange, &error, "a script failed on a body that streams");
            match plugin.on_error {
                OnError::Continue => Ok(None),
                OnError::Refuse => Err(Failure::Script(Box::new(error))),
            }
        }
    }
}

fn scope(
    ready: &Ready,
    hook: Hook,
    plugin: &Plugin,
    exchange: &Rc<Exchange>,
    span: Option<&SpanInProgress>,
) -> Rc<Scope> {
    Rc::new(Scope {
        hook,
        instance: plugin.instance.clone(),
        exchange: Some(exchange.clone()),
        services: ready.prepared.services.clone(),
        span: span.map_or(0, SpanInProgress::id),
        used: Cell::default(),
    })
}

/// One hook. With `on_error: continue` a script that fails is passed over, and logged.
pub async fn run(ready: &Ready, hook: Hook, plugin: &Plugin, exchange: &Rc<Exchange>) -> Result<Decision, Failure> {
    let Some(pass) = quarantine::enter(ready, hook, plugin, exchange)? else { return Ok(Decision::Continue) };
    let span = spans::hook(exchange, hook, plugin);
    let scope = scope(ready, hook, plugin, exchange, span.as_ref());
    let ended = plugin.program.call(hook, scope.clone(), &plugin.state).await;
    record::ran(ready, hook, plugin, exchange, scope.used.get(), &ended);
    quarantine::leave(pass, plugin, exchange, &ended);
    spans::ran(span, &ended);
    match ended {
        Ok(decision) => Ok(decision),
        Err(error) if plugin.on_error == OnError::Continue => {
            report::script(ready, exchange, &error, "a script failed and was passed over");
            Ok(Decision::Continue)
        }
        Err(error) => Err(Failure::Script(Box::new(error))),
    }
}
