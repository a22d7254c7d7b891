//! Sockets that systemd hands over: the shell plays systemd, with the variables of sd_listen_fds(3).

use crate::support::{Client, Gateway, Request, Upstream, eventually, gateway, repository};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
};

fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// A gateway that listens on `address`, started with descriptor 3 being the socket.
fn started(listener: &TcpListener, address: &str, commands: &str, upstream: &Upstream) -> Gateway {
    let yaml = format!(
        "workers: 2\nlisten: '{address}'\nservices:\n  - {{name: echo, url: '${{echo}}', routes: [{{name: r, paths: [/]}}]}}"
    );
    let socket = OwnedFd::from(listener.try_clone().expect("a second handle"));
    gateway(&yaml).url("echo", upstream).after(&format!("exec 3<&0 </dev/null\n{commands}"), socket).start()
}

const HANDED: &str = "export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=web";

#[test]
fn a_handed_socket_is_used_and_outlives_the_gateway() {
    let upstream = Upstream::echo("echo");
    let (listener, address) = bound();
    let mut first = started(&listener, &address.to_string(), HANDED, &upstream);
    assert_eq!(first.address(), address);
    let line = first.log_contains("uses the socket that was handed over");
    assert!(line.contains(r#""name":"web""#), "{line}");
    // More than one worker would take of its own accord.
    let mut clients: Vec<Client> = (0..20).map(|_| first.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.send(&Request::get("/a")).ok().text(), "echo GET /a");
    }
    drop(clients);
    first.signal("TERM");
    assert_eq!(first.ended(), Some(0));
    // Nobody accepts now, and nobody is refused: the request waits for the next gateway.
    let mut waiting = Client::connect(address);
    waiting.write(b"GET /b HTTP/1.1\r\nhost: a\r\n\r\n");
    let _second = started(&listener, &address.to_string(), HANDED, &upstream);
    assert_eq!(waiting.read_answer().ok().text(), "echo GET /b");
}

#[test]
fn a_listener_comes_back_to_its_handed_socket() {
    let upstream = Upstream::echo("echo");
    let (listener, address) = bound();
    let gateway = started(&listener, &address.to_string(), HANDED, &upstream);
    let yaml = fs::read_to_string(gateway.files.path("gateway.yaml")).expect("the configuration");
    let (_, elsewhere) = bound();
    for listen in [elsewhere, address] {
        gateway.files.replace("gateway.yaml", &yaml.replace(&address.to_string(), &listen.to_string()));
        eventually("it listens there", || Client::try_connect(listen).ok()?.try_send(&Request::get("/")).ok()).ok();
    }
}

#[test]
fn what_no_listener_has_is_named_and_closed() {
    let upstream = Upstream::echo("echo");
    let (listener, address) = bound();
    let commands = "exec 4</dev/null\nexport LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=old:null";
    let gateway = started(&listener, "127.0.0.1:0", commands, &upstream);
    drop(listener);
    let line = gateway.log_contains("not used: no listener has its address");
    assert!(line.contains(&format!(r#""address":"{address}","name":"old""#)), "{line}");
    let line = gateway.log_contains("what was handed over is no TCP socket that listens");
    assert!(line.contains(r#""name":"null","error":"fd 4 is not a socket""#), "{line}");
    let refused = Client::try_connect(address).map(drop).expect_err("a closed port");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    gateway.get("/").ok();
}

/// The variables are those of another process, which may have handed them down.
#[test]
fn sockets_for_another_process_are_left_alone() {
    let upstream = Upstream::echo("echo");
    let (listener, _) = bound();
    let gateway = started(&listener, "127.0.0.1:0", "export LISTEN_FDS=1 LISTEN_PID=1", &upstream);
    gateway.get("/").ok();
    let lines = gateway.log.lines().join("\n");
    assert!(!lines.contains("handed over"), "{lines}");
}

#[test]
fn the_example_units_fit_together() {
    let unit = |name: &str| fs::read_to_string(repository(&format!("examples/systemd/{name}"))).expect("a unit");
    let (service, socket) = (unit("gatewright.service"), unit("gatewright.socket"));
    assert!(service.contains("Requires=gatewright.socket\n"), "{service}");
    let stream = socket.lines().find_map(|line| line.strip_prefix("ListenStream=")).expect("a stream");
    // `ListenStream=80` alone would be `[::]:80`, and no listener of that address.
    stream.parse::<SocketAddr>().expect("an address as `listen` has it");
}
