//! Asks before each hook whether it is in quarantine, and tells how it ended; see [`crate::gateway::quarantine`].
//!
//! What becomes of a request whose hook is held stands here too: refused, or passed over where the plugin says
//! `on_error: continue`.

use super::{failure::Failure, record, worker::Ready};
use crate::{
    config::OnError,
    gateway::{
        prepared::Plugin,
        quarantine::{Pass, Turn},
    },
    script::{Exchange, Hook, ScriptError},
};
use std::time::Duration;

/// A pass; or none when the hook is to be passed over.
///
/// # Errors
/// The hook is held, and without it the request can't go on.
pub fn enter<'r>(
    ready: &'r Ready,
    hook: Hook,
    plugin: &Plugin,
    exchange: &Exchange,
) -> Result<Option<Pass<'r>>, Failure> {
    let quarantines = &ready.prepared.generation.quarantines;
    let skips = plugin.on_error == OnError::Continue;
    match quarantines.enter(exchange.account.route.get(), plugin.place, hook, skips) {
        Ok(pass) => Ok(Some(pass)),
        Err(after) => held(ready, hook, plugin, exchange, after),
    }
}

#[cold]
fn held<'r>(
    ready: &Ready,
    hook: Hook,
    plugin: &Plugin,
    exchange: &Exchange,
    after: Duration,
) -> Result<Option<Pass<'r>>, Failure> {
    record::held(ready, hook, plugin, exchange);
    match plugin.on_error {
        OnError::Continue => Ok(None),
        OnError::Refuse => Err(Failure::Quarantined { place: plugin.instance.place.clone(), hook, after }),
    }
}

/// The hook ended.
pub fn leave<T>(pass: Pass<'_>, plugin: &Plugin, exchange: &Exchange, ended: &Result<T, ScriptError>) {
    // SECURITY: a client that shortens the deadline makes any script late, and must not have it left out for others.
    let is_blameless = exchange.account.shortened.get()
        && matches!(ended, Err(error) if error.fault == crate::script::error::Fault::Limit(crate::script::error::Limit::Wall));
    let hook = ended.as_ref().err().and_then(|error| error.hook).map_or("", Hook::name);
    let (place, route) = (&*plugin.instance.place, exchange.route.borrow());
    match pass.ended(ended, is_blameless) {
        Turn::Nothing => {}
        Turn::Held(hold) => {
            let seconds = hold.as_secs_f64();
            tracing::warn!(place, route = &**route, hook, seconds, "a script keeps failing and is in quarantine");
        }
        Turn::HeldAgain(hold) => {
            let seconds = hold.as_secs_f64();
            tracing::debug!(place, route = &**route, hook, seconds, "a script still fails and stays in quarantine");
        }
        Turn::Released => tracing::warn!(place, route = &**route, "a script works again and left quarantine"),
    }
}
