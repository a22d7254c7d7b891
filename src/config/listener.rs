//! Where clients and administrators connect, and the process as a whole: listeners, admin, workers.
//!
//! Nothing is bound here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::keys;
use super::node::Node;
use super::source::{Span, Spanned};
use super::table::{Table, list, mismatch, string};
use super::tls::{self, Tls};

const PROXY_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9080;

/// A socket that clients connect to.
#[derive(Clone, Debug)]
pub struct Listener {
    pub address: SocketAddr,
    /// Which one of those with the same address it is, from 0: several may take a free port.
    pub nth: usize,
    /// What the `listeners` of a route call it.
    pub name: Option<Spanned<String>>,
    /// Absent for plain text.
    pub tls: Option<Tls>,
    /// Whether every request is sent to the listener with TLS.
    pub https_redirect: bool,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Absent for the listener that is there when none is written.
    pub span: Option<Span>,
}

/// What a listener is known by over generations: its address as it is written, and [`Listener::nth`].
pub type ListenerKey = (SocketAddr, usize);

impl Listener {
    pub fn key(&self) -> ListenerKey {
        (self.address, self.nth)
    }
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Admin {
    pub address: SocketAddr,
    /// Required of every call when set; always set on an address that others can reach.
    pub token: Option<Secret>,
    pub span: Option<Span>,
}

/// A string that debug output does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// One a core.
    #[default]
    Auto,
    Exactly(NonZeroUsize),
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Decodes `listen`: an address, a mapping, or a list of either; 127.0.0.1:8080 when absent.
pub(super) fn listeners(node: Option<&Node>, directory: &Path, diagnostics: &mut Diagnostics) -> Vec<Listener> {
    let Some(node) = node else {
        return vec![plain(local(PROXY_PORT), None)];
    };
    let items = match node.as_list() {
        Some([]) => {
            diagnostics.error(&node.span, "`listen` is empty: there is nowhere to connect to");
            &[]
        }
        Some(items) => items,
        None => std::slice::from_ref(node),
    };
    let mut listeners: Vec<_> = items.iter().filter_map(|item| listener(item, directory, diagnostics)).collect();
    for index in 0..listeners.len() {
        let (earlier, rest) = listeners.split_at_mut(index);
        rest[0].nth = earlier.iter().filter(|l| l.address == rest[0].address).count();
    }
    check_distinct(&listeners, diagnostics);
    listeners
}

fn plain(address: SocketAddr, span: Option<Span>) -> Listener {
    Listener { address, nth: 0, name: None, tls: None, https_redirect: false, proxy_protocol: false, span }
}

fn listener(node: &Node, directory: &Path, diagnostics: &mut Diagnostics) -> Option<Listener> {
    if node.as_map().is_none() {
        let text = text(node, "an address such as `127.0.0.1:8080`", diagnostics)?;
        return Some(plain(socket_address(&text, PROXY_PORT, diagnostics)?, Some(text.span)));
    }
    let table = Table::open(node, &keys::LISTENER, diagnostics)?;
    let name = table.name("name", diagnostics);
    let Some(text) = table.string("address", diagnostics) else {
        if table.get("address").is_none() {
            table.missing("a listener needs an `address`", diagnostics);
        }
        return None;
    };
    let tls = match table.get("tls") {
        None => None,
        // SECURITY: plain text must not stand in for what can't be read.
        Some(node) => Some(tls::tls(node, directory, diagnostics)?),
    };
    let https_redirect = table.boolean("https_redirect", diagnostics).unwrap_or_default();
    if https_redirect && let Some(tls) = &tls {
        diagnostics.error(&tls.span, "`https_redirect` is for a listener without `tls`");
    }
    let proxy_protocol = table.boolean("proxy_protocol", diagnostics).unwrap_or_default();
    let address = socket_address(&text, PROXY_PORT, diagnostics)?;
    Some(Listener { name, tls, https_redirect, proxy_protocol, ..plain(address, Some(text.span)) })
}

fn text(node: &Node, expected: &str, diagnostics: &mut Diagnostics) -> Option<Spanned<String>> {
    // A bare port is a number, and explained as an address that lacks its IP.
    let port = node.as_i64().map(|port| port.to_string());
    let text = node.as_str().map(str::to_owned).or(port);
    if text.is_none() {
        mismatch(node, expected, diagnostics);
    }
    Some(Spanned::new(text?, node.span.clone()))
}

fn check_distinct(listeners: &[Listener], diagnostics: &mut Diagnostics) {
    for (index, listener) in listeners.iter().enumerate() {
        let Some(span) = &listener.span else { continue };
        for earlier in &listeners[..index] {
            let Some(first) = &earlier.span else { continue };
            if overlap(listener.address, earlier.address) {
                let message = format!("two listeners on {}", span.quote(listener.address));
                let diagnostic = Diagnostic::error(span, message).related(first, "first here");
                diagnostics.push(diagnostic);
            }
        }
        let Some(name) = &listener.name else { continue };
        for first in listeners[..index].iter().filter_map(|l| l.name.as_ref()) {
            if first.value == name.value {
                let message = format!("two listeners are named {}", name.quoted());
                let diagnostic = Diagnostic::error(&name.span, message);
                diagnostics.push(diagnostic.related(&first.span, "first here"));
            }
        }
    }
}

/// Whether two sockets would take the same connections. `0.0.0.0` has every address of its family; port 0 has none.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip =
        a.ip() == b.ip() || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() != 0 && a.port() == b.port() && same_ip
}

fn socket_address(text: &Spanned<String>, port: u16, diagnostics: &mut Diagnostics) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (why, fix) = why_no_address(text, port);
    let message = format!("{} is not an address to listen on: {why}", text.quoted());
    let mut diagnostic = Diagnostic::error(&text.span, message);
    // A fix is made of the value, so it is not offered for what came out of `${…}`.
    match fix {
        Some(fix) if !text.span.is_expanded() => {
            diagnostic = diagnostic.help(format!("write `{fix}`")).fix(fix);
        }
        _ => diagnostic = diagnostic.help(format!("write it like `127.0.0.1:{port}`")),
    }
    diagnostics.push(diagnostic);
    None
}

fn why_no_address(text: &str, port: u16) -> (&'static str, Option<String>) {
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return ("the port is missing", Some(SocketAddr::new(ip, port).to_string()));
    }
    let number = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = number.parse::<u16>() {
        let why = "the IP address is missing";
        return (why, Some(format!("127.0.0.1:{port}")));
    }
    match text.rsplit_once(':') {
        Some(("localhost", port)) if port.parse::<u16>().is_ok() => {
            ("it needs an IP address, not a name", Some(format!("127.0.0.1:{port}")))
        }
        Some((ip, _)) if ip.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() => {
            ("the port is not a number from 0 to 65535", None)
        }
        Some(("*", port)) if port.parse::<u16>().is_ok() => ("it needs an IP address", Some(format!("0.0.0.0:{port}"))),
        _ => ("it needs an IP address and a port", None),
    }
}

/// Decodes `admin`: an address, `off`, or a mapping with a token; 127.0.0.1:9080 when absent.
pub(super) fn admin(node: Option<&Node>, listeners: &[Listener], diagnostics: &mut Diagnostics) -> Option<Admin> {
    let admin = match node {
        None => Admin { address: local(ADMIN_PORT), token: None, span: None },
        // `off` of YAML 1.1 may reach us as false.
        Some(node) if node.as_str() == Some("off") || node.as_bool() == Some(false) => return None,
        Some(node) => written_admin(node, diagnostics)?,
    };
    if let Some(span) = &admin.span
        && !admin.address.ip().is_loopback()
        && admin.token.is_none()
    {
        let address = span.quote(admin.address);
        let message = format!("the admin API on {address} is open to others and has no token");
        let help = "write `admin: {address: …, token: \"${ADMIN_TOKEN:?}\"}`, or listen on 127.0.0.1";
        diagnostics.push(Diagnostic::error(span, message).help(help));
    }
    if let Some(taken) = listeners.iter().find(|l| overlap(l.address, admin.address)) {
        let message = format!("admin and a listener are both on port {}", admin.address.port());
        if let Some(span) = admin.span.as_ref().or(taken.span.as_ref()) {
            diagnostics.push(Diagnostic::error(span, message));
        }
    }
    Some(admin)
}

fn written_admin(node: &Node, diagnostics: &mut Diagnostics) -> Option<Admin> {
    if node.as_map().is_none() {
        let text = text(node, "an address, `off`, or a mapping", diagnostics)?;
        return Some(Admin {
            address: socket_address(&text, ADMIN_PORT, diagnostics)?,
            token: None,
            span: Some(text.span),
        });
    }
    let table = Table::open(node, &keys::ADMIN, diagnostics)?;
    let token = table.name("token", diagnostics);
    let (address, span) = match table.string("address", diagnostics) {
        Some(text) => (socket_address(&text, ADMIN_PORT, diagnostics)?, text.span),
        None => (local(ADMIN_PORT), node.span.clone()),
    };
    Some(Admin { address, token: token.map(|token| Secret(token.value)), span: Some(span) })
}

pub(super) fn workers(node: Option<&Node>, diagnostics: &mut Diagnostics) -> Workers {
    let Some(node) = node.filter(|node| node.as_str() != Some("auto")) else {
        return Workers::Auto;
    };
    let number = node.as_i64().and_then(|n| usize::try_from(n).ok());
    match number.and_then(NonZeroUsize::new).filter(|n| n.get() <= 1024) {
        Some(number) => Workers::Exactly(number),
        None => {
            mismatch(node, "`auto` or a number from 1 to 1024", diagnostics);
            Workers::Auto
        }
    }
}

/// Decodes a list with a function for one item.
pub(super) fn each<T>(
    node: Option<&Node>,
    diagnostics: &mut Diagnostics,
    item: impl Fn(&Spanned<String>) -> Result<T, String>,
) -> Option<Vec<T>> {
    let items = list(node?, diagnostics)?;
    let mut all = Vec::with_capacity(items.len());
    for node in items {
        let Some(text) = string(node, diagnostics) else {
            continue;
        };
        match item(&text) {
            Ok(value) => all.push(value),
            Err(why) => diagnostics.error(&text.span, format!("{} {why}", text.quoted())),
        }
    }
    Some(all)
}
