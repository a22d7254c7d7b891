//! Sockets: bound once for each worker, connections accepted and handed to hyper.
//!
//! `SO_REUSEPORT` lets every worker have its own queue of connections. Since it would also let a second gateway bind the same
//! port and take half of the traffic, the address is first bound without it.

use super::{head_timer::HeadTimer, life, worker};
use crate::http::forwarded;
use futures_util::FutureExt;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// A client that has not sent its head by then is cut off; hyper's default, and nginx' and Envoy's order of magnitude.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections still open this long after draining began are closed.
const DRAIN: Duration = Duration::from_secs(30);
const BACKLOG: i32 = 4096;

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
    pub fn open(&mut self, worker: &Rc<worker::Worker>, socket: TcpListener, name: Option<String>) {
        let name: Rc<str> = Rc::from(name.unwrap_or_default());
        let Ok(address) = socket.local_addr() else { return };
        match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => {
                let (until, closed) = oneshot::channel();
                let door = Door { worker: worker.clone(), listener, address, name };
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
    name: Rc<str>,
}

impl Door {
    fn enter(&self, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let connection = Rc::new(life::Connection {
            client: forwarded::Connection::new(peer, self.address, &http::uri::Scheme::HTTP),
            port: peer.port(),
            listener: self.name.clone(),
        });
        tokio::task::spawn_local(serve(self.worker.clone(), connection, stream));
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
            // Out of file descriptors, most likely: the connection waits in the queue until others have ended.
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // To its client a connection in the queue is open, and may carry a request: it is served and not reset.
    for _ in 0..BACKLOG {
        match door.listener.accept().now_or_never() {
            Some(Ok((stream, peer))) => door.enter(stream, peer),
            Some(Err(_)) | None => break,
        }
    }
}

/// Serves a connection until it ends; when the process drains, until the exchange at hand has ended.
async fn serve(worker: Rc<worker::Worker>, connection: Rc<life::Connection>, stream: TcpStream) {
    worker.connections.set(worker.connections.get() + 1);
    let limits = worker.ready().prepared.generation.config.limits.clone();
    let service = hyper::service::service_fn(|request| worker::exchange(worker.clone(), connection.clone(), request));
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(HeadTimer::default())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(limits.max_header_bytes.max(8192))
        .max_headers(limits.max_header_count)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        biased;
        ended = &mut serving => ended,
        () = drain_began(worker.shared.drain.clone()) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
    worker.connections.set(worker.connections.get() - 1);
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

/// Waits until all connections have ended, at most [`DRAIN`].
pub async fn drained(worker: &worker::Worker) {
    let ended = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while worker.connections.get() > 0 {
            ticks.tick().await;
        }
    };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        tracing::warn!(connections = worker.connections.get(), "closed connections that did not end in time");
    }
}
