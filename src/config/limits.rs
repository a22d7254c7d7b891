//! What one request and one script may use.

use std::time::Duration;

use super::diagnostic::Diagnostics;
use super::keys;
use super::node::Node;
use super::quarantine::{Quarantine, quarantine};
use super::table::{Table, mismatch};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A request's line and headers together, in bytes. Default 64 KiB.
    pub max_header_bytes: usize,
    /// A request's header lines. Default 100, as in hyper.
    pub max_header_count: usize,
    /// A body that a script reads, in bytes; bodies that stream have no limit. Default 8 MiB.
    pub max_body_size: usize,
    /// Open connections of clients, in the process. Default 50,000.
    pub max_connections: usize,
    /// Open connections of one client's address. Default none: many clients may stand behind one.
    pub max_connections_per_ip: Option<usize>,
    /// From the first byte of a request's head to its last. Default 10 s, as in hyper; of the order of nginx' and Envoy's.
    pub header_timeout: Duration,
    /// Of a connection between two requests. Default 75 s, as nginx' `keepalive_timeout`.
    pub idle_timeout: Duration,
    /// Bytes a second of a request body that is waited for, after 5 s; 0 for no limit. Default 240, as Kestrel's
    /// `MinRequestBodyDataRate`.
    pub min_body_rate: u64,
    /// From one byte of an answer that the client takes to the next. Default 60 s, as nginx' `send_timeout`.
    pub write_timeout: Duration,
    /// Processor time of one hook. Default 50 ms.
    pub script_cpu: Duration,
    /// Memory of one script VM, in bytes. Default 64 MiB.
    pub script_memory: usize,
    /// When a script that keeps failing is left out; none: never.
    pub quarantine: Option<Quarantine>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_header_bytes: 64 * 1024,
            max_header_count: 100,
            max_body_size: 8 * 1024 * 1024,
            max_connections: 50_000,
            max_connections_per_ip: None,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            min_body_rate: 240,
            write_timeout: Duration::from_secs(60),
            script_cpu: Duration::from_millis(50),
            script_memory: 64 * 1024 * 1024,
            quarantine: Some(Quarantine::default()),
        }
    }
}

/// No header limit below this lets an ordinary browser through.
const MIN_HEADER_BYTES: usize = 1024;
/// A VM with its libraries needs half a megabyte before the first script.
const MIN_SCRIPT_MEMORY: usize = 2 * 1024 * 1024;

pub(super) fn limits(node: Option<&Node>, diagnostics: &mut Diagnostics) -> Limits {
    let mut limits = Limits::default();
    let Some(table) = node.and_then(|node| Table::open(node, &keys::LIMITS, diagnostics)) else {
        return limits;
    };
    let mut size = |key, least: usize, limit: &mut usize| {
        let size = table.size(key, diagnostics);
        match size.and_then(|size| usize::try_from(size).ok()) {
            Some(size) if size >= least => *limit = size,
            Some(_) => {
                if let Some(node) = table.get(key) {
                    mismatch(node, &format!("a size of at least {least} bytes"), diagnostics);
                }
            }
            None => {}
        }
    };
    size("max_header_bytes", MIN_HEADER_BYTES, &mut limits.max_header_bytes);
    size("max_body_size", 0, &mut limits.max_body_size);
    size("script_memory", MIN_SCRIPT_MEMORY, &mut limits.script_memory);
    let count = table.integer("max_header_count", 1..=10_000, diagnostics);
    if let Some(count) = count.and_then(|count| usize::try_from(count).ok()) {
        limits.max_header_count = count;
    }
    let mut connections = |key| {
        let count = table.integer(key, 1..=10_000_000, diagnostics);
        count.and_then(|count| usize::try_from(count).ok())
    };
    if let Some(count) = connections("max_connections") {
        limits.max_connections = count;
    }
    limits.max_connections_per_ip = connections("max_connections_per_ip");
    let mut duration = |key, limit: &mut Duration| {
        if let Some(given) = table.duration(key, diagnostics) {
            *limit = given;
        }
    };
    duration("header_timeout", &mut limits.header_timeout);
    duration("idle_timeout", &mut limits.idle_timeout);
    duration("write_timeout", &mut limits.write_timeout);
    duration("script_cpu", &mut limits.script_cpu);
    if let Some(rate) = table.size("min_body_rate", diagnostics) {
        limits.min_body_rate = rate;
    }
    limits.quarantine = quarantine(table.get("quarantine"), diagnostics);
    limits
}
