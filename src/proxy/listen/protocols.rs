//! A connection as HTTP/1.1 or HTTP/2, until it ends or the process drains.
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
use std::{future::poll_fn, io, pin::pin, rc::Rc, task::Poll};
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
/// Streams that were reset before anyone looked at them: more end the connection (CVE-2023-44487, "rapid reset"). h2's own
/// figure.
const MAX_RESET_STREAMS: usize = 20;

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

pub async fn http2<S>(worker: &Rc<Worker>, connection: Rc<life::Connection>, stream: S) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = worker.ready().prepared.generation.config.limits.clone();
    let exchanges = Exchanges { worker: worker.clone(), connection };
    let streams = downstream::http2::Limits {
        streams: MAX_STREAMS,
        stream_window: STREAM_WINDOW,
        connection_window: CONNECTION_WINDOW,
        header_bytes: u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX),
        reset_streams: MAX_RESET_STREAMS,
        idle_timeout: limits.idle_timeout,
        min_body_rate: limits.min_body_rate,
        write_timeout: limits.write_timeout,
    };
    let stream = Opening::new(stream, limits.header_timeout);
    let drain = drain_began(worker.shared.drain.clone());
    downstream::http2::serve(stream, exchanges, streams, worker.spares.clone(), drain).await
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
