//! Targets with names, resolved by a DNS server of the test: several addresses, addresses that change, servers that fail.
//!
//! The upstreams of a test listen on one port of several addresses of the loopback network.

use crate::support::{Client, Gateway, Request, eventually, gateway};
use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    thread,
};

type Records = HashMap<String, Vec<Ipv4Addr>>;

/// A DNS server that knows addresses of version 4; no answer at all while it is down.
#[derive(Clone, Default)]
struct Dns {
    known: Arc<Mutex<Option<Records>>>,
    asked: Arc<AtomicUsize>,
}

impl Dns {
    fn start() -> (Dns, SocketAddr) {
        let dns = Dns::default();
        dns.set("up.test", &[]);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("its address");
        let server = dns.clone();
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                if let Some(answer) = server.answer(&question[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        (dns, address)
    }

    fn set(&self, name: &str, addresses: &[u8]) {
        let addresses = addresses.iter().map(|last| Ipv4Addr::new(127, 0, 0, *last)).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert_default().insert(name.to_owned(), addresses);
    }

    fn down(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// RFC 1035 §4.1: the question again, then a CNAME and the addresses of its name, all names by pointers.
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let mut labels = Vec::new();
        let mut at = 12;
        while question[at] > 0 {
            let end = at + 1 + usize::from(question[at]);
            labels.push(String::from_utf8_lossy(&question[at + 1..end]).into_owned());
            at = end;
        }
        let found = known.get(&labels.join("."));
        let wants_four = question[at + 1..at + 3] == [0, 1];
        let addresses = found.filter(|_| wants_four).cloned().unwrap_or_default();
        let mut answer = question[..at + 5].to_vec();
        answer[2] |= 0x80;
        answer[3] = if found.is_some() { 0 } else { 3 };
        answer[7] = 1 + addresses.len() as u8;
        answer.extend([0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 2, 0xC0, 12]);
        for address in addresses {
            answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(address.octets());
        }
        Some(answer)
    }
}

/// Servers on one port of 127.0.0.2 and the following addresses; each says which one it is.
fn servers(count: u8) -> u16 {
    failing_servers(count, &Arc::default())
}

/// The same, of which the one with this last octet answers 500.
fn failing_servers(count: u8, failing: &Arc<AtomicU8>) -> u16 {
    for _ in 0..20 {
        let first = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).expect("a free port");
        let port = first.local_addr().expect("its address").port();
        let others = (1..count).map(|more| TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2 + more), port)));
        let Ok(others) = others.collect::<Result<Vec<_>, _>>() else { continue };
        for listener in [first].into_iter().chain(others) {
            let failing = failing.clone();
            thread::spawn(move || serve(&listener, &failing));
        }
        return port;
    }
    panic!("no port is free on {count} addresses");
}

fn serve(listener: &TcpListener, failing: &Arc<AtomicU8>) {
    let IpAddr::V4(ip) = listener.local_addr().expect("its address").ip() else { return };
    let own = ip.octets()[3];
    for stream in listener.incoming().flatten() {
        let failing = failing.clone();
        thread::spawn(move || {
            let mut input = BufReader::new(stream);
            let mut line = String::new();
            while input.read_line(&mut line).is_ok_and(|read| read > 0) {
                let status = if failing.load(Ordering::Relaxed) == own { 500 } else { 200 };
                let answer = format!("HTTP/1.1 {status} OK\r\ncontent-length: 1\r\n\r\n{own}");
                if line == "\r\n" && input.get_mut().write_all(answer.as_bytes()).is_err() {
                    return;
                }
                line.clear();
            }
        });
    }
}

fn named(dns: SocketAddr, port: u16, keys: &str) -> Gateway {
    let yaml = format!(
        "
workers: 1
admin: 127.0.0.1:0
dns: {{servers: ['{dns}'], refresh: 20ms}}
services:
  - {{name: s, url: 'http://up.test:{port}', {keys} routes: [{{paths: [/]}}]}}
"
    );
    gateway(&yaml).start()
}

/// Which servers answered so many requests on one connection.
fn shares(client: &mut Client, count: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        *shares.entry(client.send(&Request::get("/")).ok().text()).or_default() += 1;
    }
    shares
}

fn share(parts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    parts.iter().map(|(server, count)| ((*server).to_owned(), *count)).collect()
}

fn target(gateway: &Gateway) -> serde_json::Value {
    Client::connect(gateway.address_of("admin")).send(&Request::get("/api/v1/targets")).ok().json()[0].clone()
}

fn wait_for_addresses(gateway: &Gateway, expected: &[&str]) {
    eventually("the addresses are these", || {
        (target(gateway)["addresses"] == serde_json::json!(expected)).then_some(())
    });
}

#[test]
fn requests_go_round_over_all_addresses_of_a_name_and_follow_when_they_change() {
    let (dns, address) = Dns::start();
    let port = servers(4);
    dns.set("up.test", &[2, 3, 4]);
    let gateway = named(address, port, "");
    let mut client = gateway.connect();
    assert_eq!(shares(&mut client, 30), share(&[("2", 10), ("3", 10), ("4", 10)]));
    // Their connections are open and resting: they must not be used any more.
    dns.set("up.test", &[5]);
    wait_for_addresses(&gateway, &["127.0.0.5"]);
    assert_eq!(shares(&mut client, 10), share(&[("5", 10)]));
    dns.set("up.test", &[5, 2]);
    wait_for_addresses(&gateway, &["127.0.0.2", "127.0.0.5"]);
    assert_eq!(shares(&mut client, 10), share(&[("2", 5), ("5", 5)]));
}

#[test]
fn an_address_where_nobody_listens_is_passed_over() {
    let (dns, address) = Dns::start();
    let port = servers(2);
    dns.set("up.test", &[2, 3, 9]);
    let gateway = named(address, port, "retries: 0,");
    let shares = shares(&mut gateway.connect(), 20);
    assert_eq!((shares.values().sum::<usize>(), shares.len()), (20, 2), "{shares:?}");
}

#[test]
fn a_server_that_fails_leaves_the_last_addresses_in_use_and_is_told_of_once() {
    let (dns, address) = Dns::start();
    let port = servers(1);
    dns.set("up.test", &[2]);
    let gateway = named(address, port, "");
    assert_eq!(gateway.get("/").text(), "2");
    // As if the record were gone; then no answer at all.
    dns.set("up.test", &[]);
    eventually("looks fail", || (target(&gateway)["lookups_failed"].as_u64()? >= 3).then_some(()));
    assert_eq!(target(&gateway)["lookup_error"], "it has no address");
    assert_eq!(shares(&mut gateway.connect(), 5), share(&[("2", 5)]));
    dns.down();
    let asked = dns.asked();
    eventually("nobody answers", || {
        (dns.asked() > asked && target(&gateway)["lookup_error"] != "it has no address").then_some(())
    });
    assert_eq!(target(&gateway)["lookup_error"], format!("{address} does not answer"));
    assert_eq!(shares(&mut gateway.connect(), 5), share(&[("2", 5)]));
    dns.set("up.test", &[2]);
    gateway.log_contains("the name of a target is resolved again");
    let told = gateway.log.lines().iter().filter(|line| line.contains("can't be resolved")).count();
    assert_eq!(told, 1, "{:#?}", gateway.log.lines());
}

#[test]
fn a_name_that_does_not_exist_fails_at_once_and_works_when_it_does() {
    let (dns, address) = Dns::start();
    let port = servers(1);
    let yaml = format!(
        "dns: {{servers: ['{address}'], refresh: 10s}}\nworkers: 1\nservices: [{{name: s, url: 'http://new.test:{port}', routes: [{{paths: [/]}}]}}]"
    );
    let gateway = gateway(&yaml).start();
    assert_eq!(gateway.get("/").status, 502);
    let asked = dns.asked();
    // Nobody looks on the path of a request; in the background that is once a second, here two questions each.
    (0..50).for_each(|_| drop(gateway.get("/")));
    assert!(dns.asked() <= asked + 4, "{asked} questions, then {}", dns.asked());
    dns.set("new.test", &[2]);
    eventually("it is found", || (gateway.get("/").status == 200).then_some(()));
}

#[test]
fn localhost_is_reached_on_whichever_address_somebody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || serve(&listener, &Arc::default()));
    let yaml = format!("services: [{{name: s, url: 'http://localhost:{port}', routes: [{{paths: [/]}}]}}]");
    let gateway = gateway(&yaml).start();
    assert_eq!(shares(&mut gateway.connect(), 10), share(&[("1", 10)]));
}

/// The targets as the administration lists them: which, and how they stand.
fn states(gateway: &Gateway) -> Vec<(String, String)> {
    let answer = Client::connect(gateway.address_of("admin")).send(&Request::get("/api/v1/targets")).ok();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let all = answer.json().as_array().expect("a list").clone();
    all.iter().map(|target| (text(&target["target"]), text(&target["state"]))).collect()
}

fn standing(port: u16, states: &[(u8, &str)]) -> Vec<(String, String)> {
    states.iter().map(|(last, state)| (format!("127.0.0.{last}:{port}"), (*state).to_owned())).collect()
}

fn post(gateway: &Gateway, path: &str) {
    assert_eq!(Client::connect(gateway.address_of("admin")).send(&Request::post(path, "")).status, 200, "{path}");
}

#[test]
fn an_address_that_answers_badly_is_left_out_alone() {
    let (dns, address) = Dns::start();
    let failing = Arc::new(AtomicU8::new(3));
    let port = failing_servers(3, &failing);
    dns.set("up.test", &[2, 3, 4]);
    let gateway = named(address, port, "circuit_breaker: off,");
    let mut client = gateway.connect();
    let bad = (0..30).filter(|_| client.send(&Request::get("/")).status == 500).count();
    assert_eq!(bad, 5, "five in a row are enough");
    assert_eq!(states(&gateway), standing(port, &[(2, "up"), (3, "ejected"), (4, "up")]));
    assert_eq!(target(&gateway)["name"], format!("up.test:{port}"));
    let metrics = Client::connect(gateway.address_of("admin")).send(&Request::get("/metrics")).text();
    let line = format!("gatewright_target_ejected{{service=\"s\",target=\"127.0.0.3:{port}\"}} 1");
    assert!(metrics.lines().any(|each| each == line), "{metrics}");
    failing.store(0, Ordering::Relaxed);
    post(&gateway, &format!("/api/v1/targets/s/127.0.0.3:{port}/auto"));
    assert_eq!(shares(&mut client, 30), share(&[("2", 10), ("3", 10), ("4", 10)]));
}

#[test]
fn each_address_of_a_name_is_checked_and_those_that_come_and_go_with_it() {
    let (dns, address) = Dns::start();
    let failing = Arc::new(AtomicU8::new(3));
    let port = failing_servers(4, &failing);
    dns.set("up.test", &[2, 3, 4]);
    let health = "health: {path: /healthz, interval: 10ms, unhealthy_threshold: 1, healthy_threshold: 1},";
    let gateway = named(address, port, health);
    let becomes = |expected: &[(u8, &str)]| {
        eventually("they stand so", || (states(&gateway) == standing(port, expected)).then_some(()));
    };
    becomes(&[(2, "up"), (3, "down"), (4, "up")]);
    assert_eq!(shares(&mut gateway.connect(), 10), share(&[("2", 5), ("4", 5)]));
    dns.set("up.test", &[3, 5]);
    becomes(&[(3, "down"), (5, "up")]);
    assert_eq!(shares(&mut gateway.connect(), 4), share(&[("5", 4)]));
    failing.store(5, Ordering::Relaxed);
    becomes(&[(3, "up"), (5, "down")]);
}

/// A server at home, or anyone whose name has one address: as a service's only target it is never left out.
#[test]
fn a_name_of_one_address_is_one_target_whichever_version_of_ip_it_has() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let failing = Arc::new(AtomicU8::new(1));
    let server = failing.clone();
    thread::spawn(move || serve(&listener, &server));
    let yaml = format!(
        "workers: 1\nadmin: 127.0.0.1:0\nservices: [{{name: s, url: 'http://localhost:{port}', circuit_breaker: off, routes: [{{paths: [/]}}]}}]\n"
    );
    let gateway = gateway(&yaml).start();
    (0..20).for_each(|_| assert_eq!(gateway.get("/").status, 500));
    failing.store(0, Ordering::Relaxed);
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!(states(&gateway), [(format!("localhost:{port}"), "up".to_owned())]);
}

#[test]
fn a_name_that_is_set_by_hand_is_so_with_all_its_addresses_those_to_come_too() {
    let (dns, address) = Dns::start();
    let port = servers(3);
    dns.set("up.test", &[2, 3]);
    let gateway = named(address, port, "");
    assert_eq!(gateway.get("/").status, 200);
    post(&gateway, &format!("/api/v1/targets/s/up.test:{port}/down"));
    assert_eq!(states(&gateway), standing(port, &[(2, "down"), (3, "down")]));
    gateway.get("/").problem(503);
    dns.set("up.test", &[4]);
    wait_for_addresses(&gateway, &["127.0.0.4"]);
    gateway.get("/").problem(503);
    post(&gateway, &format!("/api/v1/targets/s/up.test:{port}/auto"));
    assert_eq!(gateway.get("/").text(), "4");
}

#[test]
fn a_key_stays_with_one_address_of_a_name() {
    let (dns, address) = Dns::start();
    let port = servers(3);
    dns.set("up.test", &[2, 3, 4]);
    let gateway = named(address, port, "balance: hash, hash_on: 'header:x-user',");
    let of = |n: usize| gateway.send(Request::get("/").header("x-user", n)).ok().text();
    let first: Vec<String> = (0..30).map(of).collect();
    assert_eq!(first, (0..30).map(of).collect::<Vec<_>>());
    let different: std::collections::HashSet<_> = first.iter().collect();
    assert_eq!(different.len(), 3, "{first:?}");
}

#[test]
fn a_name_has_its_share_however_many_addresses_it_has() {
    let (dns, address) = Dns::start();
    let port = servers(4);
    dns.set("up.test", &[2, 3, 4]);
    let yaml = format!(
        "
workers: 1
dns: {{servers: ['{address}']}}
services:
  - name: s
    targets: [{{url: 'http://up.test:{port}'}}, {{url: 'http://127.0.0.5:{port}'}}]
    routes: [{{paths: [/]}}]
"
    );
    let gateway = gateway(&yaml).start();
    let mut client = gateway.connect();
    // From the first request on its name is known; that one may have gone anywhere.
    eventually("the name is resolved", || (client.send(&Request::get("/")).text() == "3").then_some(()));
    let of = shares(&mut client, 60);
    let expected = share(&[("2", 10), ("3", 10), ("4", 10), ("5", 30)]);
    assert_eq!(of, expected);
}
