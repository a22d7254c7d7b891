//! The request path: workers, sockets, the life of an exchange, forwarding.
//!
//! [`life`] is the page to read first; the other files are its steps. [`Workers`] is the handle by which the rest of the
//! process starts workers and hands them generations. Sockets, TLS and both HTTPs stand in `listen`.

mod accept;
pub mod alone;
mod attempt;
pub mod backend;
mod background;
mod chunks;
mod compression;
mod current;
mod develop;
pub mod failure;
mod forward;
mod frames;
mod grpc;
mod hooks;
mod ids;
mod life;
mod lineup;
pub mod listen;
mod mirror;
pub mod outbound;
pub mod outside;
mod quarantine;
mod record;
mod repeats;
mod report;
mod service;
mod spans;
mod traffic;
mod tries;
mod tunnel;
mod websocket;
mod worker;

pub use life::without_port;
pub use worker::{Shared, shape};

use crate::{
    config::{Diagnostics, ListenerKey},
    gateway::{generation::Generation, prepared},
    observe::metrics::Meters,
};
use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
};
use tokio::sync::{mpsc, oneshot};
use worker::Command;

/// All workers of the process.
pub struct Workers {
    shared: Arc<Shared>,
    all: Vec<(mpsc::UnboundedSender<Command>, JoinHandle<()>)>,
}

impl Workers {
    /// Starts `count` threads, each with this generation ready to serve.
    ///
    /// # Errors
    /// What the first worker that could not make the generation ready found wrong with it.
    pub async fn start(
        count: usize,
        shared: Arc<Shared>,
        generation: Arc<Generation>,
        meters: Arc<Meters>,
    ) -> Result<Workers, Diagnostics> {
        shared.current.store(generation.number, Ordering::Release);
        let mut workers = Workers { shared, all: Vec::with_capacity(count) };
        for index in 0..count {
            let (sender, commands) = mpsc::unbounded_channel();
            let (started, ready) = oneshot::channel();
            let (shared, generation, meters) = (workers.shared.clone(), generation.clone(), meters.clone());
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || worker::run(index, shared, generation, meters, commands, started))
                .map_err(|error| prepared::internal(format!("a worker can't start: {error}")))?;
            workers.all.push((sender, thread));
            ready.await.unwrap_or_else(|_| Err(prepared::internal("a worker stopped while it started")))?;
        }
        Ok(workers)
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Makes a generation ready on every worker, beside the traffic.
    pub async fn prepare(&self, generation: &Arc<Generation>, meters: &Arc<Meters>) -> Result<(), Diagnostics> {
        let replies: Vec<_> = self
            .all
            .iter()
            .map(|(worker, _)| {
                let (reply, result) = oneshot::channel();
                let _ = worker.send(Command::Prepare { generation: generation.clone(), meters: meters.clone(), reply });
                result
            })
            .collect();
        for result in replies {
            result.await.unwrap_or_else(|_| Err(prepared::internal("a worker has stopped")))?;
        }
        Ok(())
    }

    /// From now on new exchanges run in this generation, which every worker has prepared.
    pub fn switch(&self, number: u64) {
        self.shared.current.store(number, Ordering::Release);
        for (worker, _) in &self.all {
            let _ = worker.send(Command::Switch);
        }
    }

    /// Gives each worker its own socket of one listener.
    pub fn listen(&self, sockets: Vec<TcpListener>, listener: ListenerKey) {
        for ((worker, _), socket) in self.all.iter().zip(sockets) {
            let _ = worker.send(Command::Listen { socket, listener });
        }
    }

    pub fn unlisten(&self, address: SocketAddr) {
        for (worker, _) in &self.all {
            let _ = worker.send(Command::Unlisten(address));
        }
    }

    /// Closes the listeners and waits for the workers to end.
    pub fn stop(self) {
        let threads: Vec<_> = self.all.into_iter().map(|(commands, thread)| (drop(commands), thread).1).collect();
        for thread in threads {
            let _ = thread.join();
        }
    }
}
