//! Sockets that the process was started with, as systemd hands them over (sd_listen_fds(3)): those of listeners are used in place of
//! binding, the others are closed and named in the log.
//!
//! A socket belongs to the listener with the very same address; names (`LISTEN_FDNAMES`) are only shown, since the address is what
//! clients see. Handed sockets stay open as long as the gateway accepts at all: a listener that a reload takes out and another
//! brings back could not be bound, since systemd holds its address.

use crate::{config::Listener, proxy::listen};
use listenfd::ListenFd;
use std::{
    collections::HashSet,
    io,
    net::{SocketAddr, TcpListener},
};

#[derive(Default)]
pub struct Handed {
    sockets: Vec<One>,
    /// What is no listening TCP socket: its name, and why.
    unusable: Vec<(String, io::Error)>,
}

struct One {
    address: SocketAddr,
    socket: TcpListener,
    name: String,
}

impl Handed {
    /// Takes them from `LISTEN_FDS`, if `LISTEN_PID` names this process. To be called once, before there is a second thread: the
    /// variables are removed, so that no process that is started from here takes them for its own.
    pub fn from_env() -> Handed {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut from = ListenFd::from_env();
        let mut handed = Handed::default();
        for index in 0..from.len() {
            let name = names.next().unwrap_or_default().to_owned();
            let taken = from.take_tcp_listener(index).and_then(|socket| {
                let socket = socket.ok_or(io::ErrorKind::NotFound)?;
                let accepts = socket2::SockRef::from(&socket).is_listener()?;
                match accepts {
                    true => Ok(One { address: socket.local_addr()?, socket, name: name.clone() }),
                    false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen")),
                }
            });
            match taken {
                Ok(one) => handed.sockets.push(one),
                Err(why) => handed.unusable.push((name, why)),
            }
        }
        handed
    }

    /// Handles of the socket with this address, one for each of `count` workers; none when there is no such socket.
    pub fn share(&self, address: SocketAddr, count: usize) -> Option<io::Result<Vec<TcpListener>>> {
        let one = self.sockets.iter().find(|one| one.address == address)?;
        Some(listen::share(&one.socket, count))
    }

    /// Closes and logs those that no listener has.
    pub fn keep_for(&mut self, listeners: &[Listener]) {
        for (name, error) in self.unusable.drain(..) {
            tracing::warn!(name, %error, "what was handed over is no TCP socket that listens");
        }
        let mut seen = HashSet::new();
        self.sockets.retain(|One { address, name, .. }| {
            // Several of one address (`ReusePort=`) each have a queue, and nobody would look into the others.
            let is_first = seen.insert(*address);
            let used = is_first && listeners.iter().any(|listener| listener.address == *address);
            if used {
                tracing::info!(%address, name, "a listener uses the socket that was handed over");
            } else {
                tracing::warn!(%address, name, "a socket that was handed over is not used: no listener has its address");
            }
            used
        });
    }
}
