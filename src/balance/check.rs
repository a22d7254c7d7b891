//! Active health checks: one task for each target that is checked, on the control thread, once in the process.
//!
//! [`Checks::follow`] is called with every generation: checks that are still wanted as they are go on with what they have counted, the
//! others end. Each check is a connection of its own, so that it sees what a new client would see. What a check finds is written into
//! the target's state; nothing on the path of a request waits for it.

use super::{Registry, ServiceState, TargetState};
use crate::{
    config::{ActiveCheck, Config, Probe, Service, Target},
    upstream::Names,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{cell::OnceCell, collections::HashMap, io, net::SocketAddr, sync::Arc};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

/// The checks that run.
pub struct Checks {
    /// Made for the first check: reading the system's certificates would keep the start of those who have none.
    client: OnceCell<reqwest::Client>,
    names: Arc<Names>,
    running: HashMap<Wanted, Running>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Wanted {
    service: String,
    address: String,
    url: String,
}

struct Running {
    how: ActiveCheck,
    target: Arc<TargetState>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
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
        Checks { client: OnceCell::new(), names, running: HashMap::new() }
    }

    fn client(&self) -> &reqwest::Client {
        self.client.get_or_init(|| {
            let client = reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .pool_max_idle_per_host(0)
                .no_proxy()
                .dns_resolver(Arc::new(Lookup(self.names.clone())))
                .user_agent("gatewright-health-check");
            client.build().unwrap_or_default()
        })
    }

    /// Starts what this configuration wants and ends what it doesn't.
    pub fn follow(&mut self, config: &Config, registry: &Registry) {
        let mut before = std::mem::take(&mut self.running);
        for service in config.services.iter().filter(|service| service.enabled) {
            let Some(how) = &service.active_check else { continue };
            let state = registry.service(&service.name.value);
            for target in &service.targets {
                let wanted = wanted(service, target, how);
                let kept = before.remove(&wanted).filter(|running| running.how == *how);
                let running = kept.unwrap_or_else(|| self.start(&wanted, how, &state));
                self.running.insert(wanted, running);
            }
        }
        for gone in before.into_values() {
            gone.target.unchecked();
        }
    }

    fn start(&self, wanted: &Wanted, how: &ActiveCheck, service: &Arc<ServiceState>) -> Running {
        let target = service.target(&wanted.address);
        let check = Check {
            wanted: wanted.clone(),
            how: how.clone(),
            service: service.clone(),
            target: target.clone(),
            client: self.client().clone(),
            names: self.names.clone(),
        };
        Running { how: how.clone(), target, task: tokio::spawn(check.run()) }
    }
}

/// What the client asks for addresses; the port is put in by it.
struct Lookup(Arc<Names>);

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.0.clone();
        Box::pin(async move {
            let found = names.lookup(name.as_str()).await?;
            let found: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

fn wanted(service: &Service, target: &Target, how: &ActiveCheck) -> Wanted {
    let url = match &how.probe {
        Probe::Http(path) => format!("{}://{}{path}", target.scheme.as_str(), target.authority()),
        Probe::Tcp => String::new(),
    };
    Wanted { service: service.name.value.clone(), address: target.address(), url }
}

struct Check {
    wanted: Wanted,
    how: ActiveCheck,
    service: Arc<ServiceState>,
    target: Arc<TargetState>,
    client: reqwest::Client,
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
        loop {
            let found = self.look().await;
            self.target.looked(match found {
                Found::Good => Some(true),
                Found::Neither => None,
                Found::Status | Found::Tcp | Found::Timeout => Some(false),
            });
            if let Some(good) = rows.count(found, &self.how) {
                up = good;
                if self.target.checked(good, self.service.clock.now()) {
                    let Wanted { service, address, .. } = &self.wanted;
                    match good {
                        true => tracing::info!(service, target = address, "health checks: the target is up"),
                        false => tracing::warn!(service, target = address, ?found, "health checks: the target is down"),
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
        if self.how.probe == Probe::Tcp {
            return match self.connect().await {
                Ok(_) => Found::Good,
                Err(_) => Found::Tcp,
            };
        }
        let Ok(answer) = self.client.get(&self.wanted.url).send().await else { return Found::Tcp };
        judge(answer.status().as_u16(), &self.how)
    }
}

impl Check {
    async fn connect(&self) -> io::Result<TcpStream> {
        let (host, port) = self.wanted.address.rsplit_once(':').unwrap_or((&self.wanted.address, ""));
        let port = port.parse().map_err(io::Error::other)?;
        let found = self.names.lookup(host).await?;
        let addresses: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
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
