//! Connections that never come to their first request are cut off, each step within its ten seconds.

use crate::support::{
    PATIENCE, Upstream,
    certificates::Authority,
    frames::{PREFACE, SETTINGS, frame},
    gateway,
};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::pem::PemObject};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const YAML: &str = "
workers: 1
listen:
  - {name: plain, address: '127.0.0.1:0'}
  - {name: secure, address: '127.0.0.1:0', tls: {cert: a.pem, key: a.key}}
services: [{name: s, url: '${up}', routes: [{paths: [/]}]}]
";

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Waits until the other end has closed it, whatever comes before.
fn closed(mut stream: impl Read, what: &str) {
    if let Err(error) = stream.read_to_end(&mut Vec::new()) {
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof];
        assert!(kinds.contains(&error.kind()), "{what}: {error}");
    }
}

/// As [`closed`]: neither too late, nor before a client on a slow network could have gone on.
fn ended(begun: Instant, stream: impl Read, what: &str) {
    closed(stream, what);
    let took = begun.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(20)).contains(&took), "{what}: {took:?}");
}

/// A connection over TLS that has agreed upon HTTP/2.
fn secure(address: SocketAddr, authority: &Authority) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    let der = rustls::pki_types::CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("a certificate");
    roots.add(der).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = "shop.example".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut stream = StreamOwned::new(connection, connect(address));
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).expect("a handshake");
    }
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    stream
}

#[test]
fn what_never_begins_is_cut_off_in_time() {
    let (authority, upstream) = (Authority::new("ours"), Upstream::echo("up"));
    let issued = authority.server(&["shop.example"]);
    let given = gateway(YAML).url("up", &upstream).file("a.pem", &issued.cert).file("a.key", &issued.key);
    let gateway = given.start();
    let (plain, tls) = (gateway.address_of("plain"), gateway.address_of("secure"));
    let begun = Instant::now();
    let of_plain = |bytes: &[u8]| {
        let mut stream = connect(plain);
        stream.write_all(bytes).expect("a write");
        stream
    };
    let of_tls = |bytes: &[u8]| {
        let mut stream = connect(tls);
        stream.write_all(bytes).expect("a write");
        stream
    };
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    // A ClientHello of 512 bytes (RFC 8446 §5.1), of which most is missing.
    let waiting = [
        ("nothing at all", of_plain(b"")),
        ("half a preface", of_plain(&PREFACE[..12])),
        ("a preface alone", of_plain(PREFACE)),
        ("half of the SETTINGS", of_plain(&[&PREFACE[..], &settings[..12]].concat())),
        ("a handshake that never begins", of_tls(b"")),
        ("a handshake that never ends", of_tls(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])),
    ];
    let silent = secure(tls, &authority);
    // Byte by byte is no beginning either.
    let mut slow = connect(plain);
    let writing = slow.try_clone().expect("a socket");
    thread::spawn(move || {
        let mut writing = writing;
        let long = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100].repeat(1000));
        for byte in PREFACE.iter().chain(&long) {
            if writing.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    thread::scope(|scope| {
        for (what, stream) in waiting {
            scope.spawn(move || ended(begun, stream, what));
        }
        scope.spawn(|| ended(begun, silent, "HTTP/2 over TLS, and no preface"));
        scope.spawn(|| ended(begun, &mut slow, "SETTINGS that never end"));
    });
    gateway.raw("GET / HTTP/1.1\r\nhost: a\r\n\r\n").ok();
}

/// RFC 9113 §3.4: the first frame is SETTINGS.
#[test]
fn another_first_frame_than_settings_ends_the_connection() {
    let upstream = Upstream::echo("up");
    let gateway = gateway("services: [{name: s, url: '${up}', routes: [{paths: [/]}]}]").url("up", &upstream).start();
    let mut stream = connect(gateway.address());
    stream.write_all(&[&PREFACE[..], &crate::support::frames::get(1, "/")].concat()).expect("a write");
    closed(stream, "a request first");
    assert_eq!(upstream.requests().len(), 0);
}
