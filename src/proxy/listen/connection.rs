//! One connection from its first byte: TLS, then the HTTP that it speaks.
//!
//! Nothing here holds up the accepting task, and each step before the first request has its time. What is rare is boxed: an
//! idle connection of plain HTTP/1.1 should cost little memory.

use super::{
    admission::Admitted,
    announced,
    entrance::Entrance,
    protocols::{http1, http2},
    replay::{self, Spoken},
    subject,
};
use crate::{
    http::forwarded,
    proxy::{life, worker::Worker},
};
use http::uri::Scheme;
use std::{cell::RefCell, io, net::SocketAddr, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

/// For a TLS handshake, and for the first bytes of a plain connection; as for a request's head by default.
const OPENING: Duration = Duration::from_secs(10);

/// A connection as it was accepted.
pub struct Arrived {
    pub worker: Rc<Worker>,
    pub entrance: Rc<Entrance>,
    pub place: Rc<Place>,
    /// The client, once a balancer has told of it; until then the other end.
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// Why a connection ended before its time. Never the gateway's fault, and only logged.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("nothing came within {} s", OPENING.as_secs())]
    Silent,
    #[error("no PROXY header came within {} s", OPENING.as_secs())]
    SlowHeader,
    #[error("`trusted_proxies` does not have it, and it may not speak the PROXY protocol")]
    Untrusted,
    #[error("`max_connections_per_ip` of its connections are open")]
    TooMany,
    #[error("the TLS handshake took more than {} s", OPENING.as_secs())]
    SlowHandshake,
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

/// Serves a connection until it ends.
pub async fn serve(mut arrived: Arrived, stream: TcpStream) {
    if let Err(error) = converse(&mut arrived, stream).await {
        ended_early(arrived.peer, &error);
    }
}

fn ended_early(peer: SocketAddr, error: &Ended) {
    tracing::debug!(%peer, %error, "a connection ended early");
}

async fn converse(arrived: &mut Arrived, mut stream: TcpStream) -> Result<(), Ended> {
    let entrance = arrived.entrance.clone();
    if entrance.proxy_protocol {
        // SECURITY: whoever may write this header chooses the address that he is known by.
        if !entrance.trusts(arrived.peer.ip()) {
            return Err(Ended::Untrusted);
        }
        let read = Box::pin(timeout(OPENING, announced::read(&mut stream)));
        if let Some(client) = read.await.map_err(|_| Ended::SlowHeader)?? {
            arrived.peer = client;
        }
    }
    if let Some(max) = entrance.max_connections_per_ip
        && !entrance.trusts(arrived.peer.ip())
        && !arrived.place.admitted.borrow_mut().is_within(arrived.peer.ip(), max)
    {
        arrived.worker.shared.metrics.connections_refused.increment();
        return Err(Ended::TooMany);
    }
    if let Some(acceptor) = &arrived.entrance.tls {
        return Box::pin(encrypted(arrived, acceptor, stream)).await;
    }
    let spoken = timeout(OPENING, replay::spoken(stream)).await.map_err(|_| Ended::Silent)??;
    let connection = arrived.connection(None);
    let worker = &arrived.worker;
    match spoken {
        Spoken::Http1(stream) => http1(worker, connection, stream).await?,
        Spoken::Http2(stream) => spawn_http2(arrived, connection, stream),
        Spoken::Late(stream, true) => spawn_http2(arrived, connection, stream),
        Spoken::Late(stream, false) => Box::pin(http1(worker, connection, stream)).await?,
    }
    Ok(())
}

/// HTTP/2 in a task of its own: the one that the connection was accepted in is as large as HTTP/1.1 wants it, 7 KiB that an idle
/// connection of HTTP/2 would hold beside its own.
fn spawn_http2<S>(arrived: &Arrived, connection: Rc<life::Connection>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (worker, peer) = (arrived.worker.clone(), arrived.peer);
    tokio::task::spawn_local(async move {
        if let Err(error) = http2(&worker, connection, stream).await {
            ended_early(peer, &error.into());
        }
    });
}

async fn encrypted(arrived: &Arrived, acceptor: &TlsAcceptor, stream: TcpStream) -> Result<(), Ended> {
    let accepted = timeout(OPENING, acceptor.accept(stream)).await.map_err(|_| Ended::SlowHandshake)?;
    let stream = accepted.map_err(Ended::Handshake)?;
    let (_, session) = stream.get_ref();
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    let connection = arrived.connection(certificate.and_then(|der| subject::of(der)));
    match is_http2 {
        true => spawn_http2(arrived, connection, stream),
        false => http1(&arrived.worker, connection, stream).await?,
    }
    Ok(())
}

impl Arrived {
    fn connection(&self, subject: Option<String>) -> Rc<life::Connection> {
        let tls = self.entrance.tls.is_some();
        let scheme = if tls { Scheme::HTTPS } else { Scheme::HTTP };
        Rc::new(life::Connection {
            client: Rc::new(forwarded::Connection::new(self.peer, self.local, &scheme)),
            port: self.peer.port(),
            tls,
            subject: subject.map(Rc::from),
            listener: self.entrance.name.clone(),
            redirect: self.entrance.redirect,
            place: Some(self.place.clone()),
        })
    }
}

/// A connection's place among those that may be open, and that draining waits for. A tunnel has it for as long as it lasts.
pub struct Place {
    admitted: RefCell<Admitted>,
    worker: Rc<Worker>,
}

impl Place {
    pub fn new(worker: &Rc<Worker>, admitted: Admitted) -> Place {
        worker.connections.set(worker.connections.get() + 1);
        worker.shared.metrics.connections.add(1);
        worker.shared.metrics.connections_accepted.increment();
        Place { admitted: RefCell::new(admitted), worker: worker.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.connections.set(self.worker.connections.get() - 1);
        self.worker.shared.metrics.connections.add(-1);
    }
}
