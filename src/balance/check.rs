//! Active health checks: one task for each target that is checked, on the control thread, once in the process.
//!
//! [`Checks::follow`] is called with every generation: checks that are still wanted as they are go on with what they have counted, the
//! others end. A name of several addresses is checked at each, and followed. Each check is a connection of its
//! own, made as requests make theirs, so that it sees what a new client would see. What a check finds is written into the target's
//! state; nothing on the path of a request waits for it.

use super::{Registry, ServiceState, TargetState, apart, origin};
use crate::{
    config::{ActiveCheck, Config, Probe},
    upstream::{Kind, Names, Origin, Tls, look},
};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tokio::{
    net::TcpStream,
    task::{JoinHandle, spawn_local},
    time::timeout,
};

/// The checks that run.
pub struct Checks {
    names: Arc<Names>,
    running: HashMap<Wanted, Running>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Wanted {
    service: String,
    /// `host:port`.
    target: String,
}

struct Running {
    how: ActiveCheck,
    origin: Arc<Origin>,
    _task: Task,
}

/// Ends when it is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What one check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Good,
    /// A status that counts neither way.
    Neither,
    Status,
    Tcp,
    Timeout,
}

impl Checks {
    /// They resolve names as requests do.
    pub fn new(names: Arc<Names>) -> Checks {
        Checks { names, running: HashMap::new() }
    }

    /// Starts what this configuration wants and ends what it doesn't. `tls`: of its services, in their order.
    pub fn follow(&mut self, config: &Config, tls: &[Option<Tls>], registry: &Registry) {
        let mut before = std::mem::take(&mut self.running);
        for (service, tls) in config.services.iter().zip(tls).filter(|(service, _)| service.enabled) {
            let Some(how) = &service.active_check else { continue };
            for target in &service.targets {
                let Some(origin) = origin(service, target, tls.as_ref(), &self.names) else { continue };
                let wanted = Wanted { service: service.name.value.clone(), target: target.address() };
                let kept = before.remove(&wanted).filter(|running| running.how == *how && *running.origin == origin);
                let running = kept.unwrap_or_else(|| {
                    let origin = Arc::new(origin);
                    let whole = Whole {
                        wanted: wanted.clone(),
                        how: how.clone(),
                        service: registry.service(&service.name.value),
                        origin: origin.clone(),
                        names: self.names.clone(),
                    };
                    Running { how: how.clone(), origin, _task: Task(spawn_local(whole.run())) }
                });
                self.running.insert(wanted, running);
            }
        }
    }
}

/// A target as the configuration writes it.
struct Whole {
    wanted: Wanted,
    how: ActiveCheck,
    service: Arc<ServiceState>,
    origin: Arc<Origin>,
    names: Arc<Names>,
}

impl Whole {
    async fn run(self) {
        let Some(name) = self.origin.name() else {
            return self.check(self.wanted.target.clone(), self.origin.clone()).run().await;
        };
        let mut running: HashMap<IpAddr, Task> = HashMap::new();
        loop {
            let (edition, addresses) = name.addresses();
            let each = apart(&addresses);
            running.retain(|ip, _| each.iter().any(|(one, _)| one == ip));
            for (ip, _) in &each {
                running.entry(*ip).or_insert_with(|| {
                    let target = SocketAddr::new(*ip, self.origin.port()).to_string();
                    Task(spawn_local(self.check(target, Arc::new(self.origin.at(*ip))).run()))
                });
            }
            if each.is_empty() {
                let whole = self.check(self.wanted.target.clone(), self.origin.clone());
                tokio::select! {
                    () = whole.run() => {}
                    () = name.changed(edition) => {}
                }
            } else {
                name.changed(edition).await;
            }
        }
    }

    fn check(&self, address: String, origin: Arc<Origin>) -> Check {
        Check {
            target: Judged(self.service.target(&address)),
            service_name: self.wanted.service.clone(),
            address,
            how: self.how.clone(),
            service: self.service.clone(),
            origin,
            names: self.names.clone(),
        }
    }
}

/// A target while it is checked: without checks what they found is forgotten.
struct Judged(Arc<TargetState>);

impl Drop for Judged {
    fn drop(&mut self) {
        self.0.unchecked();
    }
}

/// One address, or a name that is one target.
struct Check {
    service_name: String,
    address: String,
    how: ActiveCheck,
    service: Arc<ServiceState>,
    target: Judged,
    origin: Arc<Origin>,
    names: Arc<Names>,
}

/// Results in a row.
#[derive(Default)]
struct Rows {
    good: u32,
    status: u32,
    tcp: u32,
    timeouts: u32,
}

impl Check {
    async fn run(self) {
        let mut rows = Rows::default();
        let mut up = true;
        let target = &*self.target.0;
        loop {
            let found = self.look().await;
            target.looked(match found {
                Found::Good => Some(true),
                Found::Neither => None,
                Found::Status | Found::Tcp | Found::Timeout => Some(false),
            });
            if let Some(good) = rows.count(found, &self.how) {
                up = good;
                if target.checked(good, self.service.clock.now()) {
                    let (service, address) = (&self.service_name, &self.address);
                    match good {
                        true => tracing::info!(service, address, "health checks: the target is up"),
                        false => tracing::warn!(service, address, ?found, "health checks: the target is down"),
                    }
                }
            }
            tokio::time::sleep(if up { self.how.interval } else { self.how.unhealthy_interval }).await;
        }
    }

    async fn look(&self) -> Found {
        timeout(self.how.timeout, self.ask()).await.unwrap_or(Found::Timeout)
    }

    async fn ask(&self) -> Found {
        match &self.how.probe {
            Probe::Tcp => self.connect().await.map_or(Found::Tcp, |_| Found::Good),
            Probe::Http(path) => match look(&self.origin, path).await {
                Ok(status) => judge(status.as_u16(), &self.how),
                Err(error) if matches!(error.kind, Kind::Timeout) => Found::Timeout,
                Err(_) => Found::Tcp,
            },
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        if let Some(address) = self.origin.address() {
            return TcpStream::connect(address).await;
        }
        let found = self.names.lookup(self.origin.host()).await?;
        let addresses: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(*ip, self.origin.port())).collect();
        TcpStream::connect(&addresses[..]).await
    }
}

fn judge(status: u16, how: &ActiveCheck) -> Found {
    if how.expected.iter().any(|range| range.contains(&status)) {
        return Found::Good;
    }
    match &how.unexpected {
        Some(bad) if !bad.iter().any(|range| range.contains(&status)) => Found::Neither,
        _ => Found::Status,
    }
}

impl Rows {
    /// Whether the target is good, once there are enough results in a row to say so.
    fn count(&mut self, found: Found, how: &ActiveCheck) -> Option<bool> {
        let (row, limit) = match found {
            Found::Neither => return None,
            Found::Good => {
                *self = Rows { good: self.good.saturating_add(1), ..Rows::default() };
                return (how.successes > 0 && self.good >= how.successes).then_some(true);
            }
            Found::Status => (&mut self.status, how.http_failures),
            Found::Tcp => (&mut self.tcp, how.tcp_failures),
            Found::Timeout => (&mut self.timeouts, how.timeouts),
        };
        self.good = 0;
        *row = row.saturating_add(1);
        (limit > 0 && *row >= limit).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn rows_of_results_decide() {
        let how = ActiveCheck {
            probe: Probe::Tcp,
            interval: Duration::from_secs(1),
            unhealthy_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            successes: 2,
            http_failures: 2,
            tcp_failures: 1,
            timeouts: 0,
            expected: vec![200..=299],
            unexpected: Some(vec![500..=599]),
        };
        let run = |found: &[Found]| {
            let mut rows = Rows::default();
            found.iter().map(|found| rows.count(*found, &how)).collect::<Vec<_>>()
        };
        let of = |status| judge(status, &how);
        assert_eq!([of(204), of(404), of(503)], [Found::Good, Found::Neither, Found::Status]);
        assert_eq!(run(&[of(500), of(404), of(500)]), [None, None, Some(false)]);
        assert_eq!(run(&[of(500), of(200), of(500)]), [None, None, None]);
        assert_eq!(run(&[Found::Tcp, of(200), of(200)]), [Some(false), None, Some(true)]);
        assert_eq!(run(&[Found::Timeout; 3]), [None; 3]);
    }
}
