//! Work that must not be felt by the traffic: on a thread of its own, which gives way to the workers where cores are short.
//!
//! A thread each time, and not one of a pool: a priority that was lowered can't be raised again without privileges.

use std::{io, thread};
use tokio::sync::oneshot;

/// Of 20 steps. It leaves the work about a quarter of a core that a worker wants as well (sched(7), "The nice value"). With a tenth of it,
/// which is 10 steps, requests waited no less, since there the work took up to twice as long.
const NICE: i32 = 5;

/// What `work` gives. An error when no thread could be made, or the work panicked.
pub async fn beside<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (give, given) = oneshot::channel();
    let begun = move || {
        give_way();
        // Nobody waits any more when the process ends.
        give.send(work()).ok();
    };
    thread::Builder::new().name(name.into()).spawn(begun)?;
    given.await.map_err(|_| io::Error::other(format!("the thread `{name}` panicked")))
}

/// Without it the work is only felt more.
fn give_way() {
    // To Linux a thread is a process here: its number means the thread alone.
    #[cfg(target_os = "linux")]
    {
        use rustix::{process, thread};
        let tid = Some(thread::gettid());
        let lowered = process::getpriority_process(tid).and_then(|now| process::setpriority_process(tid, now + NICE));
        if let Err(error) = lowered {
            tracing::debug!(%error, "the priority of a thread could not be lowered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_work_gives_way() {
        let priority =
            || rustix::process::getpriority_process(Some(rustix::thread::gettid())).expect("there is a priority");
        let mine = priority();
        assert_eq!(beside("beside", priority).await.expect("it runs"), (mine + NICE).min(19));
        assert_eq!(priority(), mine);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let error = beside("beside", || panic!("on purpose")).await.expect_err("it panicked");
        assert_eq!(error.to_string(), "the thread `beside` panicked");
    }
}
