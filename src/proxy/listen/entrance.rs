//! What a generation says about a listener, looked up once a generation and not once a connection.

use crate::{config::ListenerKey, gateway::generation::Generation};
use std::rc::Rc;
use tokio_rustls::TlsAcceptor;

pub struct Entrance {
    pub generation: u64,
    /// Empty when it has none.
    pub name: Rc<str>,
    /// Absent for plain text.
    pub tls: Option<TlsAcceptor>,
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
        }))
    }
}
