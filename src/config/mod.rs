//! What the user wrote: `gateway.yaml` and `plugin.toml`, checked and typed, each value with its place.
//!
//! Text becomes a [`Node`] tree once (`yaml`), decoders turn it into [`Config`] and report every mistake they meet
//! into [`Diagnostics`], and whole-file checks follow. The keys are listed in one table ([`keys`]), from which the
//! reference is made. Deliberately absent: serde (it stops at the first mistake and loses places), anything that
//! opens a socket, and any knowledge of plugins, scripts or the rest of the crate.

mod access_log;
mod check;
mod compression;
mod diagnostic;
mod dns;
mod drain;
mod expand;
mod file;
mod foreign;
mod health;
pub mod keys;
mod limits;
mod listener;
mod load;
pub mod manifest;
mod matching;
mod mirror;
mod node;
mod path;
mod plugin_use;
mod quarantine;
mod render;
mod reread;
mod route;
mod scalar;
mod seen;
mod service;
mod source;
mod table;
mod target;
mod tls;
mod toml;
mod traces;
mod traffic;
pub mod units;
mod upstream;
mod upstream_tls;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use http::HeaderName;
use ipnet::IpNet;

pub use access_log::{AccessLog, AccessLogTo, FIELDS as ACCESS_LOG_FIELDS};
pub use compression::{Coding, Compression};
pub use diagnostic::{Diagnostic, Diagnostics, Severity, nearest};
pub use dns::Dns;
pub use drain::Drain;
pub use foreign::foreign;
pub use health::{ActiveCheck, Algorithm, CircuitBreaker, HashOn, PassiveCheck, Probe, RetryOn};
pub use limits::Limits;
pub use listener::{Admin, Listener, ListenerKey, Secret, Workers};
pub use load::{Loaded, NotFound, find, load, load_source};
pub use matching::{HostPattern, ValueMatch};
pub use mirror::Mirror;
pub use node::{Entry, Map, Node, Value};
pub use path::{PathPattern, Segment};
pub use plugin_use::{OnError, PluginKind, PluginUse};
pub use quarantine::Quarantine;
pub use render::Style;
pub use reread::Document;
pub use route::Route;
pub use seen::Seen;
pub use service::Service;
pub use source::{Source, Span, Spanned};
pub use target::{Protocol, Scheme, Target};
pub use tls::{CertificateFiles, ClientAuth, Tls, TlsVersion};
pub use traces::Traces;
pub use traffic::{Fault, Fixed, HeaderChanges, Part, Template, Traffic};
pub use upstream_tls::UpstreamTls;

use file::File;

/// `gateway.yaml`, decoded. Relative paths in it are joined to the folder of the file.
#[derive(Clone, Debug)]
pub struct Config {
    pub listeners: Vec<Listener>,
    /// Absent when switched off.
    pub admin: Option<Admin>,
    pub workers: Workers,
    pub access_log: AccessLog,
    /// Absent when no spans are exported.
    pub traces: Option<Traces>,
    /// The URL of the shared store, which may hold a password; absent for the embedded one.
    pub redis: Option<Spanned<Secret>>,
    /// How the names of targets are resolved.
    pub dns: Dns,
    pub plugins_dir: PluginsDir,
    pub trusted_proxies: Vec<IpNet>,
    pub identity_headers: Vec<HeaderName>,
    pub limits: Limits,
    pub drain: Drain,
    /// Absent when answers are sent as they are.
    pub compression: Option<Compression>,
    /// Disabled ones included: routes refer to services by position.
    pub services: Vec<Service>,
    /// All of them, those of services in the order of the services, then those at the top; without those of disabled
    /// services.
    pub routes: Vec<Route>,
    /// On every route.
    pub plugins: Vec<PluginUse>,
    pub dev: Option<Dev>,
}

/// The drop-in folder.
#[derive(Clone, Debug)]
pub struct PluginsDir {
    /// May not exist when it is not written.
    pub path: PathBuf,
    /// Where it is written; absent for the default, `plugins` beside the file.
    pub written: Option<Span>,
}

/// What `gatewright dev` prints.
#[derive(Clone, Debug)]
pub struct Dev {
    pub commands: Vec<Command>,
}

/// A command line to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub title: String,
    pub curl: String,
}

impl Config {
    /// The service of a route.
    pub fn service_of(&self, route: &Route) -> Option<&Service> {
        route.service.and_then(|index| self.services.get(index))
    }

    fn leave_out_disabled(&mut self) {
        let services = &self.services;
        let served = |route: &Route| {
            let service = route.service.and_then(|index| services.get(index));
            service.is_none_or(|service| service.enabled)
        };
        self.routes.retain(served);
    }
}
