//! One worker in the caller's own thread, for the tests of scripts.
//!
//! It serves whole exchanges as the others do, from a pipe in memory instead of a socket. There is one generation, nothing is
//! reloaded, and nothing listens.

use super::{
    background, life,
    service::{self, Exchanges},
    worker::{Shared, Worker},
};
use crate::{
    config::Diagnostics, downstream, gateway::generation::Generation, http::forwarded, observe::metrics::Metrics,
    script::Services, store::Stores,
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::{io::DuplexStream, sync::watch};

pub struct Alone(Rc<Worker>);

impl Alone {
    /// `furnish` may change what scripts reach. Must be made in the runtime that will serve.
    ///
    /// # Errors
    /// What is wrong with the generation's scripts.
    pub async fn new(
        generation: Generation,
        stores: Arc<Stores>,
        furnish: impl FnOnce(Services) -> Services,
    ) -> Result<Alone, Diagnostics> {
        let (_, drain) = watch::channel(false);
        let current = AtomicU64::new(generation.number);
        let shared = Arc::new(Shared {
            current,
            stores,
            access_log: None,
            traces: None,
            open: false,
            drain,
            metrics: Arc::new(Metrics::new()),
            admission: Default::default(),
            exhausted: Default::default(),
            registry: Default::default(),
            names: Arc::default(),
            administration: Default::default(),
        });
        Ok(Alone(Rc::new(Worker::alone(Arc::new(generation), shared, furnish).await?)))
    }

    /// The intervals of what its scripts gave to `every`.
    pub fn intervals(&self) -> Vec<Duration> {
        self.0.ready().prepared.tasks.iter().map(|task| task.interval).collect()
    }

    /// Runs one of those, as if it was due.
    pub async fn run_task(&self, at: usize) {
        let ready = self.0.ready();
        if let Some(task) = ready.prepared.tasks.get(at) {
            background::run(&ready, task, None).await;
        }
    }

    /// Serves one connection from `peer` until it ends.
    ///
    /// # Errors
    /// Why it ended in the middle of an exchange.
    pub async fn serve(&self, peer: SocketAddr, stream: DuplexStream) -> io::Result<()> {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        let connection = Rc::new(life::Connection {
            client: Rc::new(forwarded::Connection::new(peer, here, &http::uri::Scheme::HTTP)),
            port: peer.port(),
            listener: Rc::from(""),
            tls: false,
            subject: None,
            redirect: None,
            place: None,
        });
        let limits = service::limits(&self.0.ready().prepared.generation.config.limits);
        let exchanges = Exchanges { worker: self.0.clone(), connection };
        downstream::serve(stream, &exchanges, limits, self.0.spares.clone(), std::future::pending()).await
    }
}
