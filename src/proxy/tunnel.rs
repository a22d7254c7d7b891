//! Connections that have switched protocols, such as WebSockets: bytes both ways until an end, silence, or the drain.
//!
//! A tunnel begins after the target's 101 and never before (RFC 9110 §7.8): until then what the client sends waits in
//! its connection's buffer. It runs in a task of its own, since the client's connection is given away only once its own task is
//! done with it, and outlives the exchange: deadlines and hooks are over. Nothing is understood of what passes.

use super::worker::Worker;
use crate::{
    downstream::{Upgraded, Upgrading},
    upstream::Switched,
};
use std::{cell::Cell, io, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    time::{Instant, sleep_until},
};

/// One for each direction, as long as the tunnel is open.
const BUFFER: usize = 16 * 1024;

/// Joins the client's connection, once it is let go of, with the target's. Ends after `idle` without a byte either
/// way.
pub async fn run(worker: Rc<Worker>, client: Upgrading, target: Switched, idle: Duration) {
    let Ok(client) = client.await else {
        // The client went away before it had the 101.
        return;
    };
    // Counted, so that the process doesn't end under it before its time.
    worker.connections.set(worker.connections.get() + 1);
    let mut drain = worker.shared.drain.clone();
    let ended = tokio::select! {
        ended = join(client, target, idle) => ended,
        _ = drain.wait_for(|draining| *draining) => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a tunnel ended early");
    }
    worker.connections.set(worker.connections.get() - 1);
}

async fn join(client: Upgraded, target: Switched, idle: Duration) -> io::Result<()> {
    let moved = Cell::new(Instant::now());
    let (mut from_client, mut to_client) = split(client.io);
    let (mut from_target, mut to_target) = split(target.io);
    let up = async {
        // What the client did not wait with.
        to_target.write_all(&client.first).await?;
        to_target.flush().await?;
        copy(&mut from_client, &mut to_target, &moved).await
    };
    let down = async {
        // What came right behind the 101.
        to_client.write_all(&target.first).await?;
        to_client.flush().await?;
        copy(&mut from_target, &mut to_client, &moved).await
    };
    tokio::select! {
        ended = async { tokio::try_join!(up, down) } => ended.map(drop),
        () = silence(&moved, idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Until the end of `from`, which is passed on: the other direction may go on.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: &Cell<Instant>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await?;
        moved.set(Instant::now());
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
        moved.set(Instant::now());
    }
}

/// Ready once nothing has moved for so long.
async fn silence(moved: &Cell<Instant>, idle: Duration) {
    loop {
        let Some(end) = moved.get().checked_add(idle) else { return std::future::pending().await };
        if Instant::now() >= end {
            return;
        }
        sleep_until(end).await;
    }
}
