//! Runs what scripts gave to `every`, on the first worker, for as long as their generation is the current one.
//!
//! Each function is a task of its own, so it never overlaps with itself; one that took longer than its interval has its missed
//! runs counted and goes on at the next whole interval; one that keeps failing is put off as quarantine has it. Dropping a [`Tasks`] cancels them where they are, also in the middle of a
//! call. `gatewright test` drives [`run`] by its own clock instead.

use super::worker::Ready;
use crate::{
    gateway::prepared::Task,
    observe::metrics::Ended,
    script::{Hook, Scope, error::Fault},
};
use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::sleep_until};

/// The first run comes this long after the start, at most.
const FIRST: Duration = Duration::from_secs(10);

/// The background work of one generation.
pub type Tasks = JoinSet<()>;

/// Starts it. Each first run is put off by a random part of its interval, so that several gateways do not all ask at once.
pub fn start(ready: &Rc<Ready>, random: impl Fn() -> u64) -> Tasks {
    let mut tasks = Tasks::new();
    for at in 0..ready.prepared.tasks.len() {
        let most = ready.prepared.tasks[at].interval.min(FIRST);
        let first = most.mul_f64(random() as f64 / u64::MAX as f64);
        tasks.spawn_local(repeat(ready.clone(), at, first));
    }
    tasks
}

async fn repeat(ready: Rc<Ready>, at: usize, first: Duration) {
    let task = &ready.prepared.tasks[at];
    let mut due = Instant::now() + first;
    let mut last = None;
    let (mut failures, mut limits) = (0_u32, 0_u32);
    let quarantines = &ready.prepared.generation.quarantines;
    loop {
        sleep_until(due.into()).await;
        let (ended, error) = run(&ready, task, last).await;
        last = error;
        failures = if ended == Ended::Well { 0 } else { failures.saturating_add(1) };
        limits = if ended == Ended::Limit { limits.saturating_add(1) } else { 0 };
        due += task.interval;
        if let Some(hold) = quarantines.background_ended(task.plugin.place, failures, limits)
            && hold > task.interval
        {
            let (place, seconds) = (&*task.plugin.instance.place, hold.as_secs_f64());
            tracing::warn!(place, failures, seconds, "background work of a script keeps failing and is put off");
            due = Instant::now() + hold;
            continue;
        }
        let late = Instant::now().saturating_duration_since(due);
        let missed = (late.as_nanos().div_ceil(task.interval.as_nanos())) as u32;
        if missed > 0 {
            ready.meters.background[task.plugin.place].skipped.add(u64::from(missed));
            due += task.interval * missed;
        }
    }
}

/// One run: how it ended, and the error. `last` is that of the run before: the same one is not logged again.
pub async fn run(ready: &Ready, task: &Task, last: Option<String>) -> (Ended, Option<String>) {
    let Task { plugin, callback, .. } = task;
    let scope = Rc::new(Scope {
        hook: Hook::Every,
        instance: plugin.instance.clone(),
        exchange: None,
        services: ready.prepared.services.clone(),
        span: 0,
        used: Cell::default(),
    });
    let ended = plugin.program.background(callback, scope.clone(), &plugin.state).await;
    let result = match &ended {
        Ok(()) => Ended::Well,
        Err(error) if matches!(error.fault, Fault::Limit(_)) => Ended::Limit,
        Err(_) => Ended::Failed,
    };
    let used = scope.used.get();
    ready.meters.background[plugin.place].ran(used.took(ended.is_ok()), used.cpu, result);
    let place = &*plugin.instance.place;
    match ended {
        Ok(()) => {
            if last.is_some() {
                tracing::info!(place, "background work of a script succeeds again");
            }
            (result, None)
        }
        Err(error) => {
            let text = super::failure::excerpt(&error);
            if last.as_deref() != Some(&text) {
                tracing::error!(place, hook = Hook::Every.name(), error = text, "background work of a script failed");
            }
            (result, Some(text))
        }
    }
}
