//! Sockets: bound once for each worker, connections accepted.
//!
//! What becomes of a connection is in [`connection`], what the current generation says about its listener in [`entrance`].
//! `SO_REUSEPORT` lets every worker have its own queue of connections. Since it would also let a second gateway bind the same
//! port and take half of the traffic, the address is first bound without it.

pub mod admission;
mod announced;
mod connection;
mod entrance;
pub mod exhausted;
mod opening;
mod protocols;
mod replay;
mod subject;

use super::worker;
use crate::{config::ListenerKey, upstream::is_shortage};
use connection::Arrived;
pub use connection::Place;
use entrance::Entrance;
use futures_util::FutureExt;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, sync::oneshot, task::JoinHandle};

const BACKLOG: i32 = 4096;
/// How long a listener that closes waits for file descriptors, for those that are in its queue.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// `count` handles of a socket that somebody else has bound, so that all workers accept from its one queue.
pub fn share(socket: &TcpListener, count: usize) -> io::Result<Vec<TcpListener>> {
    socket.set_nonblocking(true)?;
    (0..count).map(|_| socket.try_clone()).collect()
}

/// Binds `count` sockets to one address; port 0 gives all of them the same free port.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let probe = socket(address, false)?;
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    (0..count).map(|_| Ok(TcpListener::from(socket(address, true)?))).collect()
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

/// The listeners of one worker.
#[derive(Default)]
pub struct Listeners {
    open: HashMap<SocketAddr, Accepting>,
}

/// Dropping the sender ends the task.
struct Accepting {
    until: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Listeners {
    pub fn open(&mut self, worker: &Rc<worker::Worker>, socket: TcpListener, key: ListenerKey) {
        // A reload that came right behind has taken it out again.
        let Some(entrance) = Entrance::of(&worker.ready().prepared.generation, key) else { return };
        let Ok(address) = socket.local_addr() else { return };
        match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => {
                let (until, closed) = oneshot::channel();
                worker.ports.borrow_mut().insert(key, address.port());
                let door = Door { worker: worker.clone(), listener, address, key, entrance: RefCell::new(entrance) };
                self.open.insert(address, Accepting { until, task: tokio::task::spawn_local(accept(door, closed)) });
            }
            Err(error) => tracing::error!(%address, %error, "can't listen"),
        }
    }

    pub async fn close(&mut self, address: SocketAddr) {
        if let Some(Accepting { until, task }) = self.open.remove(&address) {
            drop(until);
            let _ = task.await;
        }
    }

    pub async fn close_all(&mut self) {
        let addresses: Vec<SocketAddr> = self.open.keys().copied().collect();
        for address in addresses {
            self.close(address).await;
        }
    }
}

/// A socket of this worker.
struct Door {
    worker: Rc<worker::Worker>,
    listener: tokio::net::TcpListener,
    address: SocketAddr,
    key: ListenerKey,
    /// Of the generation that was current when the last connection came.
    entrance: RefCell<Rc<Entrance>>,
}

impl Door {
    fn enter(&self, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let entrance = self.entrance();
        let Some(admitted) = self.worker.shared.admission.enter(entrance.max_connections) else {
            self.worker.shared.metrics.connections_refused.increment();
            tracing::debug!(%peer, "closed a connection: `max_connections` are open");
            return;
        };
        let place = Rc::new(Place::new(&self.worker, admitted));
        let arrived = Arrived { worker: self.worker.clone(), entrance, place, peer, local: self.address };
        tokio::task::spawn_local(connection::serve(arrived, stream));
    }

    /// A listener that the current generation has no more keeps what it was to the end of its queue.
    fn entrance(&self) -> Rc<Entrance> {
        let ready = self.worker.ready();
        let generation = &ready.prepared.generation;
        if self.entrance.borrow().generation != generation.number
            && let Some(entrance) = Entrance::of(generation, self.key)
        {
            self.entrance.replace(entrance);
        }
        self.entrance.borrow().clone()
    }
}

async fn accept(door: Door, mut closed: oneshot::Receiver<()>) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut closed => break,
            accepted = door.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => door.enter(stream, peer),
            // The connection waits in the queue until others have ended.
            Err(error) => {
                door.worker.shared.exhausted.note(&error);
                // Draining is not held up: what waits in the queue is looked at below.
                tokio::select! { _ = &mut closed => break, () = tokio::time::sleep(exhausted::PAUSE) => {} }
            }
        }
    }
    // To its client a connection in the queue is open, and may carry a request: it is served and not reset.
    let until = Instant::now() + LAST_LOOK;
    for _ in 0..BACKLOG {
        match door.listener.accept().now_or_never() {
            Some(Ok((stream, peer))) => door.enter(stream, peer),
            // Seen before it is known whether anyone waits at all, so not for ever.
            Some(Err(error)) if is_shortage(&error) && Instant::now() < until => {
                tokio::time::sleep(exhausted::PAUSE).await;
            }
            Some(Err(_)) | None => break,
        }
    }
}

/// Waits until all connections have ended, at most `drain.timeout`.
pub async fn drained(worker: &worker::Worker) {
    let ended = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while worker.connections.get() > 0 {
            ticks.tick().await;
        }
    };
    let timeout = worker.ready().prepared.generation.config.drain.timeout;
    if tokio::time::timeout(timeout, ended).await.is_err() {
        tracing::warn!(connections = worker.connections.get(), "closed connections that did not end in time");
    }
}
