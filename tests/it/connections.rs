//! What happens before a request: redirects to https, the PROXY protocol, limits of connections.

use crate::support::{
    Client, Request, Upstream, certificates::Authority, command::gatewright, gateway, gateway::Files,
};

const ROUTES: &str = "
services:
  - {name: echo, url: '${echo}', routes: [{name: r, paths: [/]}]}
";

#[test]
fn a_plain_listener_sends_requests_to_https() {
    let upstream = Upstream::echo("echo");
    let server = Authority::new("ours").server(&["shop.example"]);
    let yaml = format!(
        "listen:
  - {{address: '127.0.0.1:0', name: plain, https_redirect: true}}
  - {{address: '127.0.0.1:0', name: tls, tls: {{cert: a.pem, key: a.key}}}}
{ROUTES}"
    );
    let gateway = gateway(&yaml).url("echo", &upstream).file("a.pem", &server.cert).file("a.key", &server.key).start();
    let mut client = Client::connect(gateway.address_of("plain"));
    let port = gateway.address_of("tls").port();
    for (request, location) in [
        (Request::get("/a?b=1").header("host", "shop.example"), format!("https://shop.example:{port}/a?b=1")),
        (Request::post("/", "x").header("host", "shop.example:8080"), format!("https://shop.example:{port}/")),
        (Request::get("/").header("host", "[::1]:80"), format!("https://[::1]:{port}/")),
    ] {
        let answer = client.send(&request);
        assert_eq!((answer.status, answer.header("location")), (308, Some(location.as_str())));
    }
    assert_eq!(client.send(&Request::get("/").header("host", "a/b")).problem(400), "the host header is not a host");
    assert_eq!(upstream.requests().len(), 0);
}

fn with_proxy_protocol(trusted: &str) -> String {
    format!("listen: [{{address: '127.0.0.1:0', proxy_protocol: true}}]\ntrusted_proxies: [{trusted}]\n{ROUTES}")
}

/// A header of version 2 for TCP over IPv4 from 203.0.113.9:4711, with an extension of three bytes.
fn binary(command: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, 0x11, 0, 16, 203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0, 80, 0x04, 0, 1, 0]);
    header
}

#[test]
fn the_client_is_the_one_that_a_trusted_balancer_tells() {
    let upstream = Upstream::echo("echo");
    let gateway = gateway(&with_proxy_protocol("127.0.0.0/8")).url("echo", &upstream).start();
    let ask = |header: &[u8], together: bool| {
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 6.6.6.6\r\n\r\n";
        let mut client = gateway.connect();
        if together {
            client.write(&[header, request].concat());
        } else {
            header.iter().for_each(|byte| client.write(&[*byte]));
            client.write(request);
        }
        client.read_answer().ok();
        upstream.requests().last().and_then(|r| r.header("x-forwarded-for").map(str::to_owned)).unwrap_or_default()
    };
    for together in [true, false] {
        assert_eq!(ask(b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n", together), "203.0.113.7");
        assert_eq!(ask(b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n", together), "2001:db8::7");
        assert_eq!(ask(&binary(1), together), "203.0.113.9");
        // The balancer's own: what it says of others in headers is believed, as it is a trusted proxy.
        assert_eq!(ask(b"PROXY UNKNOWN\r\n", together), "6.6.6.6, 127.0.0.1");
        assert_eq!(ask(&binary(0), together), "6.6.6.6, 127.0.0.1");
    }
}

#[test]
fn a_connection_without_a_proxy_header_is_closed() {
    let upstream = Upstream::echo("echo");
    let gateway = gateway(&with_proxy_protocol("127.0.0.1")).url("echo", &upstream).start();
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        b"PROXY TCP4 nonsense\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        &[&b"PROXY TCP4 "[..], &[b'1'; 200]].concat(),
    ] {
        let mut client = gateway.connect();
        client.write(bytes);
        assert!(client.try_send(&Request::get("/")).is_err(), "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn a_stranger_may_not_speak_the_proxy_protocol() {
    let upstream = Upstream::echo("echo");
    let gateway = gateway(&with_proxy_protocol("10.0.0.0/8")).url("echo", &upstream).start();
    let mut client = gateway.connect();
    client.write(b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n");
    assert!(client.try_send(&Request::get("/")).is_err());
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn what_cannot_work_is_told() {
    let files = Files::new();
    files.write(
        "gateway.yaml",
        "listen:\n  - {address: '127.0.0.1:1', https_redirect: true}\n  - {address: '127.0.0.1:2', proxy_protocol: true}\n",
    );
    let text = gatewright(files.folder(), &["check"]).stdout;
    for message in [
        "`https_redirect` has nowhere to send requests: no listener has `tls`\n --> gateway.yaml:2:15",
        "`proxy_protocol` lets nobody in: `trusted_proxies` is empty\n --> gateway.yaml:3:15",
    ] {
        assert!(text.contains(message), "no {message} in\n{text}");
    }
}

#[test]
fn connections_beyond_the_limits_are_closed() {
    for limit in ["max_connections", "max_connections_per_ip"] {
        let upstream = Upstream::echo("echo");
        let yaml = format!("workers: 2\nlimits: {{{limit}: 2}}\n{ROUTES}");
        let gateway = gateway(&yaml).url("echo", &upstream).start();
        let mut open: Vec<Client> = (0..2).map(|_| gateway.connect()).collect();
        for client in &mut open {
            client.send(&Request::get("/")).ok();
        }
        assert!(gateway.connect().try_send(&Request::get("/")).is_err(), "{limit}");
        open.pop();
        crate::support::eventually("a place", || gateway.connect().try_send(&Request::get("/")).ok()).ok();
        open[0].send(&Request::get("/")).ok();
    }
}
