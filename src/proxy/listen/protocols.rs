//! A connection handed to hyper, as HTTP/1.1 or HTTP/2, until it ends or the process drains.
//!
//! Draining lets exchanges at hand end: HTTP/1.1 answers with `Connection: close`, HTTP/2 sends GOAWAY (RFC 9113 §6.8).

use super::opening::Opening;
use crate::proxy::{
    head_timer::HeadTimer,
    life,
    worker::{self, Worker},
};
use hyper::server::conn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

/// A client that has not sent its head by then is cut off, also between two requests; hyper's default, and nginx' and
/// Envoy's order of magnitude.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

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

pub async fn http1<S>(worker: &Rc<Worker>, connection: Rc<life::Connection>, stream: S) -> hyper::Result<()>
where
    // An upgraded stream is handed on as a trait object that hyper wants `Send`.
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = worker.ready().prepared.generation.config.limits.clone();
    let service = hyper::service::service_fn(|request| worker::exchange(worker.clone(), connection.clone(), request));
    let serving = conn::http1::Builder::new()
        .timer(HeadTimer::default())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(limits.max_header_bytes.max(8192))
        .max_headers(limits.max_header_count)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    until_drained(worker, pin!(serving), |serving| serving.graceful_shutdown()).await
}

pub async fn http2<S>(worker: &Rc<Worker>, connection: Rc<life::Connection>, stream: S) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = worker.ready().prepared.generation.config.limits.clone();
    let service = hyper::service::service_fn(|request| worker::exchange(worker.clone(), connection.clone(), request));
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
        .serve_connection(TokioIo::new(Opening::new(stream, HEAD_TIMEOUT)), service);
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
        if !std::mem::take(&mut ask) && !told.has_changed().unwrap_or(true) {
            return Poll::Pending;
        }
        began.as_mut().poll(cx).map(drop)
    })
    .await
}
