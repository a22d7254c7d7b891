//! TLS: certificates chosen by name, replaced while connections stay open, and those of clients.

use crate::support::{
    Client, Request, Upstream,
    certificates::{Authority, Issued},
    command::gatewright,
    curl::{curl, https},
    eventually, gateway,
    gateway::{Files, Gateway, Given},
};

/// A gateway with an authority's certificate for `shop.example`, and its `/` at an echoing upstream.
fn given(listen: &str, authority: &Authority, upstream: &Upstream) -> Given {
    let yaml = format!(
        "{listen}
services:
  - {{name: echo, url: '${{echo}}', routes: [{{name: r, paths: [/]}}]}}
"
    );
    issued(
        gateway(&yaml).url("echo", upstream).file("ca.pem", &authority.pem()),
        "shop",
        &authority.server(&["shop.example"]),
    )
}

fn issued(given: Given, name: &str, issued: &Issued) -> Given {
    given.file(&format!("{name}.pem"), &issued.cert).file(&format!("{name}.key"), &issued.key)
}

fn ask(gateway: &Gateway, name: &str, args: &[&str]) -> crate::support::curl::Seen {
    https(&gateway.files, gateway.address(), name, "/", args)
}

const ONE: &str = "listen: [{address: '127.0.0.1:0', tls: {cert: shop.pem, key: shop.key}}]";

#[test]
fn a_request_over_tls_is_told_to_the_target() {
    let (authority, upstream) = (Authority::new("ours"), Upstream::echo("echo"));
    let gateway = given(ONE, &authority, &upstream).start();
    ask(&gateway, "shop.example", &["--http1.1"]).has("HTTP/1.1 200").has("echo GET /");
    let request = upstream.request();
    assert_eq!(request.header("x-forwarded-proto"), Some("https"));
    assert_eq!(request.header("x-forwarded-port"), Some(gateway.address().port().to_string().as_str()));
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let (authority, upstream) = (Authority::new("ours"), Upstream::echo("echo"));
    let listen = "
listen:
  - address: '127.0.0.1:0'
    tls:
      certificates:
        - {cert: shop.pem, key: shop.key}
        - {cert: wild.pem, key: wild.key}
        - {cert: exact.pem, key: exact.key}";
    let given = given(listen, &authority, &upstream);
    let given = issued(given, "wild", &authority.server(&["*.api.example"]));
    let gateway = issued(given, "exact", &authority.server(&["one.api.example", "127.0.0.1"])).start();
    let subject = |name: &str| {
        let seen = ask(&gateway, name, &["--insecure", "--write-out", "%{certs}"]);
        (
            seen.text.contains("DNS:*.api.example"),
            seen.text.contains("DNS:one.api.example"),
            seen.text.contains("DNS:shop.example"),
        )
    };
    assert_eq!(subject("shop.example"), (false, false, true));
    assert_eq!(subject("two.api.example"), (true, false, false));
    assert_eq!(subject("One.API.example"), (false, true, false), "exact goes before a wildcard");
    assert_eq!(subject("a.b.api.example"), (false, false, true), "a wildcard stands for one label");
    assert_eq!(subject("other.example"), (false, false, true), "the first is for all others");
}

#[test]
fn a_new_certificate_serves_new_handshakes_and_open_connections_go_on() {
    let (authority, upstream) = (Authority::new("ours"), Upstream::echo("echo"));
    let listen = "listen:\n  - {address: '127.0.0.1:0', name: tls, tls: {cert: shop.pem, key: shop.key}}\n  - {address: '127.0.0.1:0', name: plain}";
    let gateway = given(listen, &authority, &upstream).start();
    let mut open = rustls_client(&gateway, &authority);
    assert_eq!(open.get("/before"), "echo GET /before");
    let next = authority.server(&["shop.example", "next.example"]);
    gateway.files.replace("shop.key", &next.key);
    gateway.files.replace("shop.pem", &next.cert);
    eventually("the next certificate", || {
        let seen = ask(&gateway, "next.example", &[]);
        (seen.code == 0 && seen.text.contains(" 200")).then_some(())
    });
    assert_eq!(open.get("/after"), "echo GET /after");
    Client::connect(gateway.address_of("plain")).send(&Request::get("/")).ok();
}

/// One connection over TLS that is kept open.
struct Open(std::io::BufReader<rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>>);

fn rustls_client(gateway: &Gateway, authority: &Authority) -> Open {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM")).expect("an authority");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "shop.example".try_into().expect("a name");
    let session = rustls::ClientConnection::new(std::sync::Arc::new(config), name).expect("a session");
    let stream = std::net::TcpStream::connect(gateway.address()).expect("a connection");
    stream.set_read_timeout(Some(crate::support::PATIENCE)).expect("a timeout");
    Open(std::io::BufReader::new(rustls::StreamOwned::new(session, stream)))
}

impl Open {
    fn get(&mut self, path: &str) -> String {
        use std::io::Write;
        write!(self.0.get_mut(), "GET {path} HTTP/1.1\r\nhost: shop.example\r\n\r\n").expect("a request");
        crate::support::wire::read_answer(&mut self.0, "GET").expect("an answer").ok().text()
    }
}

#[test]
fn a_version_below_the_least_is_refused() {
    let (authority, upstream) = (Authority::new("ours"), Upstream::echo("echo"));
    let listen = "listen:
  - {address: '127.0.0.1:0', name: old, tls: {cert: shop.pem, key: shop.key}}
  - {address: '127.0.0.1:0', name: new, tls: {cert: shop.pem, key: shop.key, min_version: 1.3}}";
    let gateway = given(listen, &authority, &upstream).start();
    let ask = |listener, args: &[&str]| https(&gateway.files, gateway.address_of(listener), "shop.example", "/", args);
    ask("old", &["--tls-max", "1.2"]).has(" 200");
    ask("old", &["--tlsv1.3"]).has(" 200");
    ask("old", &["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"]).failed();
    ask("new", &["--tls-max", "1.2"]).failed();
    ask("new", &[]).has(" 200");
    let plain = format!("http://{}/", gateway.address_of("old"));
    curl(&[&plain]).failed();
    Client::connect(gateway.address_of("old")).write(b"GET / HTTP/1.1\r\n\r\n");
    ask("old", &[]).has(" 200");
}

const SUBJECT_LUA: &str = "return { handle = function(req, ctx)
  return reply.text(200, 'lua ' .. tostring(ctx.client.tls) .. ' ' .. tostring(ctx.client.subject) .. ' ' .. req.scheme)
end }
";
const SUBJECT_RHAI: &str = "fn handle(req, ctx) {
    let subject = ctx.client.subject;
    reply::text(200, `rhai ${ctx.client.tls} ${if subject == () { \"nil\" } else { subject }} ${req.scheme}`)
}
";

#[test]
fn scripts_read_the_subject_of_a_client_s_certificate() {
    let authority = Authority::new("ours");
    let listen = "
listen:
  - {address: '127.0.0.1:0', name: must, tls: {cert: shop.pem, key: shop.key, client_auth: {ca: ca.pem}}}
  - {address: '127.0.0.1:0', name: may, tls: {cert: shop.pem, key: shop.key, client_auth: {ca: ca.pem, mode: optional}}}
  - {address: '127.0.0.1:0', name: plain}
routes:
  - {name: lua, paths: [/lua], plugins: [{script: subject.lua}]}
  - {name: rhai, paths: [/rhai], plugins: [{script: subject.rhai}]}
";
    let given = gateway(listen).file("ca.pem", &authority.pem()).file("subject.lua", SUBJECT_LUA);
    let given = issued(given.file("subject.rhai", SUBJECT_RHAI), "shop", &authority.server(&["shop.example"]));
    let given = issued(given, "till", &authority.client("till-1", "Shop, Inc."));
    let gateway = issued(given, "other", &Authority::new("theirs").client("till-1", "Shop, Inc.")).start();
    let files = &gateway.files;
    let path = |name: &str| files.path(name).display().to_string();
    let ask = |listener, target: &str, client: Option<&str>| {
        let (cert, key) =
            (path(&format!("{}.pem", client.unwrap_or(""))), path(&format!("{}.key", client.unwrap_or(""))));
        let args = ["--cert", cert.as_str(), "--key", key.as_str()];
        let args = if client.is_some() { &args[..] } else { &[] };
        https(files, gateway.address_of(listener), "shop.example", target, args)
    };
    ask("must", "/lua", Some("till")).has("lua true CN=till-1,O=Shop\\, Inc. https");
    ask("must", "/rhai", Some("till")).has("rhai true CN=till-1,O=Shop\\, Inc. https");
    ask("must", "/lua", None).failed();
    ask("must", "/lua", Some("other")).failed();
    ask("may", "/lua", None).has("lua true nil https");
    ask("may", "/rhai", None).has("rhai true nil https");
    ask("may", "/lua", Some("other")).failed();
    let mut plain = Client::connect(gateway.address_of("plain"));
    assert_eq!(plain.send(&Request::get("/lua")).text(), "lua false nil http");
    assert_eq!(plain.send(&Request::get("/rhai")).text(), "rhai false nil http");
}

#[test]
fn files_that_cannot_serve_are_told_with_their_place() {
    let authority = Authority::new("ours");
    let (one, two) = (authority.server(&["one.example"]), authority.server(&["two.example"]));
    let files = Files::new();
    files.write("one.pem", &one.cert);
    files.write("two.key", &two.key);
    files.write("empty.pem", "");
    files.write(
        "gateway.yaml",
        "listen:
  - address: 127.0.0.1:1
    tls: {cert: one.pem, key: two.key}
  - address: 127.0.0.1:2
    tls: {cert: missing.pem, key: two.key}
  - address: 127.0.0.1:3
    tls: {cert: empty.pem, key: two.key}
  - address: 127.0.0.1:4
    tls: {cert: one.pem, key: one.pem, client_auth: {ca: two.key}}
",
    );
    for command in ["check", "run"] {
        let ended = gatewright(files.folder(), &[command]);
        let text = format!("{}{}", ended.stdout, ended.stderr);
        assert_ne!(ended.code, 0, "{text}");
        for (place, message) in [
            ("gateway.yaml:3:31", "`two.key` can't be used: it is not the key of this certificate"),
            ("gateway.yaml:5:17", "`missing.pem` can't be used: there is no such file"),
            ("gateway.yaml:7:17", "`empty.pem` can't be used: there is no certificate in it"),
            ("gateway.yaml:9:31", "`one.pem` can't be used: there is no private key in it"),
            ("gateway.yaml:9:58", "`two.key` can't be used: there is no certificate in it"),
        ] {
            assert!(text.contains(place) && text.contains(message), "no {place} {message} in\n{text}");
        }
    }
}

#[test]
fn a_reload_with_a_broken_certificate_keeps_the_last_good_one() {
    let (authority, upstream) = (Authority::new("ours"), Upstream::echo("echo"));
    let gateway = given(ONE, &authority, &upstream).start();
    gateway.files.write("shop.pem", "-----BEGIN CERTIFICATE-----\nnothing\n");
    gateway.log_contains("not reloaded");
    ask(&gateway, "shop.example", &[]).has(" 200");
}
