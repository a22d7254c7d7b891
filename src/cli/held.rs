//! What a running gateway leaves out at the moment, asked of its administration: the configuration's file does not know it.
//!
//! Without an answer nothing is said: `routes` is also for configurations that nobody runs.

use crate::config::Admin;
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_millis(500);

/// A line for each hook that is left out on a route: its name first.
pub fn lines(admin: Option<&Admin>, asked: Option<SocketAddr>) -> Vec<String> {
    let token = admin.and_then(|admin| admin.token.as_ref()).map(|token| token.0.as_str());
    let Some(address) = asked.or(admin.map(|admin| admin.address)).filter(|address| address.port() != 0) else {
        return Vec::new();
    };
    let routes = ask(reachable(address), token).unwrap_or_default();
    let routes = routes.as_array().map(Vec::as_slice).unwrap_or_default();
    routes.iter().flat_map(of_route).collect()
}

/// Who listens everywhere is here too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let here = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(here, address.port())
}

fn ask(address: SocketAddr, token: Option<&str>) -> Option<Value> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!("GET /api/v1/routes HTTP/1.0\r\nhost: {address}\r\n{authorization}\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    serde_json::from_slice(&answer[body..]).ok()
}

fn of_route(route: &Value) -> Vec<String> {
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
    let held = route["quarantined"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |held: &Value| {
        let seconds = held["for_ms"].as_u64().unwrap_or_default().div_ceil(1000);
        format!(
            "{}  {} of {}, tried again in {seconds} s",
            text(route, "name"),
            text(held, "hook"),
            text(held, "plugin")
        )
    };
    held.iter().map(line).collect()
}
