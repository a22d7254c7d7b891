//! Connections that have switched protocols, such as WebSockets: bytes both ways until an end, silence, or the drain.
//!
//! A tunnel begins after the target's 101 and never before (RFC 9110 §7.8): until then what the client sends waits in
//! its connection's buffer. It runs in a task of its own, since the client's connection is given away only once its own task is
//! done with it, and outlives the exchange: deadlines and hooks are over. Nothing is understood of what passes but where the
//! frames of WebSockets end: a drain closes those as RFC 6455 §7.1 wants it, and all others at once.

use super::{
    frames::{Follower, GOING_AWAY, going_away_masked},
    listen::Place,
    worker::Worker,
};
use crate::{
    downstream::{Upgraded, Upgrading},
    upstream::Switched,
};
use std::{cell::Cell, io, pin::pin, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

/// One for each direction, as long as the tunnel is open.
const BUFFER: usize = 16 * 1024;

/// What a WebSocket has, once the process drains, for the rest of a frame and for the other ends' close frames.
const CLOSING: Duration = Duration::from_secs(5);

/// What passes through a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    WebSocket,
    Unknown,
}

/// Joins the client's connection, once it is let go of, with the target's. Ends after `idle` without a byte either
/// way. `place`: the client's among all connections, given back then.
pub async fn run(
    worker: Rc<Worker>,
    place: Option<Rc<Place>>,
    client: Upgrading,
    target: Switched,
    content: Content,
    idle: Duration,
) {
    let Ok(client) = client.await else {
        // The client went away before it had the 101.
        return;
    };
    let drain = worker.shared.drain.clone();
    let mask = (worker.ids.random() as u32).to_le_bytes();
    let closes = (content == Content::WebSocket).then(|| (GOING_AWAY, going_away_masked(mask)));
    let ended = tokio::select! {
        ended = join(client, target, closes.as_ref(), &drain, idle) => ended,
        () = drained(drain.clone(), content) => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a tunnel ended early");
    }
    drop(place);
}

/// Ready when a tunnel has to end, whatever passes in it.
async fn drained(mut drain: watch::Receiver<bool>, content: Content) {
    // The sender lives as long as the process: without one there is nothing to wait for.
    let _ = drain.wait_for(|draining| *draining).await;
    if content == Content::WebSocket {
        sleep(CLOSING).await;
    }
}

/// With the close frames for the client and for the target, of a WebSocket.
async fn join(
    client: Upgraded,
    target: Switched,
    closes: Option<&([u8; 4], [u8; 8])>,
    drain: &watch::Receiver<bool>,
    idle: Duration,
) -> io::Result<()> {
    let moved = Cell::new(Instant::now());
    let (mut from_client, mut to_client) = split(client.io);
    let (mut from_target, mut to_target) = split(target.io);
    let mut up = Direction::new(closes.map(|(_, masked)| &masked[..]), drain, &moved);
    let mut down = Direction::new(closes.map(|(plain, _)| &plain[..]), drain, &moved);
    let up = async {
        // What the client did not wait with.
        up.pass(&mut to_target, &client.first).await?;
        up.copy(&mut from_client, &mut to_target).await
    };
    let down = async {
        // What came right behind the 101.
        down.pass(&mut to_client, &target.first).await?;
        down.copy(&mut from_target, &mut to_client).await
    };
    tokio::select! {
        ended = async { tokio::try_join!(up, down) } => ended.map(drop),
        () = silence(&moved, idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// What passes one way.
struct Direction<'t> {
    /// What ends it in an orderly way; none when it has no such thing.
    close: Option<&'t [u8]>,
    follower: Follower,
    drain: &'t watch::Receiver<bool>,
    moved: &'t Cell<Instant>,
}

impl<'t> Direction<'t> {
    fn new(close: Option<&'t [u8]>, drain: &'t watch::Receiver<bool>, moved: &'t Cell<Instant>) -> Direction<'t> {
        Direction { close, follower: Follower::default(), drain, moved }
    }

    /// Until the end of `from`, which is passed on: the other direction may go on. Once the process drains, until the close
    /// frame of `from`.
    async fn copy(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        let mut drain = self.drain.clone();
        let mut draining = pin!(drain.wait_for(|draining| *draining));
        loop {
            // Between two pieces only: none is ever half written.
            let count = tokio::select! {
                count = from.read(&mut buffer) => count?,
                _ = &mut draining, if self.close.is_some() => break,
            };
            self.moved.set(Instant::now());
            if count == 0 {
                // The other direction may know of the drain already, and this end be what came of its close frame.
                if self.close.is_some() && *self.drain.borrow() {
                    break;
                }
                return to.shutdown().await;
            }
            self.pass(to, &buffer[..count]).await?;
        }
        match self.close {
            Some(close) => self.finish(close, &mut buffer, from, to).await,
            None => Ok(()),
        }
    }

    async fn pass(&mut self, to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
        if self.close.is_some() {
            self.follower.all(bytes);
        }
        to.write_all(bytes).await?;
        to.flush().await?;
        self.moved.set(Instant::now());
        Ok(())
    }

    /// Puts `close` behind the frame at hand, unless there was one, and reads on to that of `from`. What else comes is lost:
    /// after a close frame nothing may follow (RFC 6455 §5.5.1).
    async fn finish(
        &mut self,
        close: &[u8],
        buffer: &mut [u8],
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut rest = 0..0;
        while !self.follower.is_between() {
            let count = from.read(buffer).await?;
            if count == 0 {
                return to.shutdown().await;
            }
            let passed = self.follower.one(&buffer[..count]);
            to.write_all(&buffer[..passed]).await?;
            rest = passed..count;
        }
        if !self.follower.has_closed() {
            to.write_all(close).await?;
        }
        to.flush().await?;
        self.follower.all(&buffer[rest]);
        while !(self.follower.has_closed() && self.follower.is_between()) {
            let count = from.read(buffer).await?;
            if count == 0 {
                break;
            }
            self.follower.all(&buffer[..count]);
        }
        to.shutdown().await
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
