//! A connection as HTTP/1.1, by our own server, or HTTP/2, by hyper's, until it ends or the process drains.
//!
//! Draining lets exchanges at hand end: HTTP/1.1 answers with `Connection: close`, HTTP/2 sends GOAWAY (RFC 9113 §6.8).

use super::opening::Opening;
use crate::{
    downstream,
    proxy::{
        life,
        service::{self, Exchanges},
        worker::Worker,
    },
};
use futures_util::FutureExt;
use hyper::server::conn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

/// Exchanges at once on a connection; nginx' 128 and Envoy's advice for the edge are of this order.
const MAX_STREAMS: u32 = 100;
/// Bytes that may be on their way unread: RFC 9113 §6.9.2 begins with this for a stream, and Envoy's advice for the edge has
/// both figures.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Streams that were reset before anyone looked at them: more end the connection (CVE-2023-44487, "rapid reset"). hyper's
/// own figure.
const MAX_RESET_STREAMS: usize = 20;
/// A connection is asked for a sign of life this often, and is closed when none comes in time.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// # Errors
/// Why it ended in the middle of an exchange.
pub async fn http1<S>(worker: &Rc<Worker>, connection: Rc<life::Connection>, stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = service::limits(&worker.ready().prepared.generation.config.limits);
    let exchanges = Exchanges { worker: worker.clone(), connection };
    let drain = drain_began(worker.shared.drain.clone());
    downstream::serve(stream, &exchanges, limits, worker.spares.clone(), drain).await
}

pub async fn http2<S>(worker: &Rc<Worker>, connection: Rc<life::Connection>, stream: S) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = worker.ready().prepared.generation.config.limits.clone();
    let exchanges = Exchanges { worker: worker.clone(), connection };
    let answer = |request| exchanges.clone().serve_http2(request).map(Ok::<_, Infallible>);
    let service = hyper::service::service_fn(answer);
    let serving = conn::http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(Opening::new(stream, limits.header_timeout)), service);
    until_drained(worker, pin!(serving), |serving| serving.graceful_shutdown()).await
}

/// Each stream is a task of this worker.
#[derive(Clone, Copy)]
struct Local;

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future + 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move {
            task.await;
        });
    }
}

/// Runs a connection; `finish` is called when the process begins to drain.
async fn until_drained<C, T>(worker: &Worker, mut serving: Pin<&mut C>, finish: impl FnOnce(Pin<&mut C>)) -> T
where
    C: Future<Output = T>,
{
    tokio::select! {
        biased;
        ended = serving.as_mut() => return ended,
        () = drain_began(worker.shared.drain.clone()) => {}
    }
    finish(serving.as_mut());
    serving.await
}

/// Waits until the process drains, beside a connection that wakes all the time.
///
/// Purposefully not `wait_for` alone, which locks and queues anew at each wake: the first one leaves the task's waker
/// with the channel, the later ones only compare a number.
async fn drain_began(mut drain: watch::Receiver<bool>) {
    let told = drain.clone();
    let mut began = pin!(drain.wait_for(|draining| *draining));
    let mut ask = true;
    poll_fn(|cx| {
        if !std::mem::take(&mut ask) {
            match told.has_changed() {
                Ok(false) => return Poll::Pending,
                // The value is there before the last of those who wait for it is woken.
                Ok(true) if *told.borrow() => return Poll::Ready(()),
                _ => {}
            }
        }
        began.as_mut().poll(cx).map(drop)
    })
    .await
}
