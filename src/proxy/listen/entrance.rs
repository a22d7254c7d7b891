//! What a generation says about a listener, looked up once a generation and not once a connection.

use crate::{config::ListenerKey, gateway::generation::Generation};
use ipnet::IpNet;
use std::{net::IpAddr, rc::Rc};
use tokio_rustls::TlsAcceptor;

pub struct Entrance {
    pub generation: u64,
    /// Empty when it has none.
    pub name: Rc<str>,
    /// Absent for plain text.
    pub tls: Option<TlsAcceptor>,
    /// The listener that every request is sent to.
    pub redirect: Option<ListenerKey>,
    pub proxy_protocol: bool,
    pub trusted: Vec<IpNet>,
    pub max_connections: usize,
    pub max_connections_per_ip: Option<usize>,
}

impl Entrance {
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|net| net.contains(&address))
    }
}

impl Entrance {
    /// None when the generation has no such listener.
    pub fn of(generation: &Generation, key: ListenerKey) -> Option<Rc<Entrance>> {
        let listeners = &generation.config.listeners;
        let index = listeners.iter().position(|listener| listener.key() == key)?;
        let listener = &listeners[index];
        let tls = generation.tls.get(index).cloned().flatten();
        Some(Rc::new(Entrance {
            generation: generation.number,
            name: Rc::from(listener.name.as_ref().map_or("", |name| name.as_str())),
            tls: tls.map(TlsAcceptor::from),
            redirect: listener
                .https_redirect
                .then(|| listeners.iter().find(|l| l.tls.is_some()))
                .flatten()
                .map(|l| l.key()),
            proxy_protocol: listener.proxy_protocol,
            trusted: generation.config.trusted_proxies.clone(),
            max_connections: generation.config.limits.max_connections,
            max_connections_per_ip: generation.config.limits.max_connections_per_ip,
        }))
    }
}
