//! TLS to targets: who is believed, who is asked for, what is shown, and that connections are kept.

use crate::support::{Gateway, Upstream, gateway, gateway::Given, reply, wire};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use std::{
    io::{BufReader, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// An authority of the test's own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
    der: CertificateDer<'static>,
}

/// A certificate with its key.
pub struct Identity {
    pub pem: String,
    pub key_pem: String,
    der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Authority { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub fn sign(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        }
    }
}

/// A server's settings; with `clients`, only for those that this authority signed.
pub fn server(identity: &Identity, clients: Option<&Authority>, alpn: &str) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der.clone()).expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let built = builder.with_single_cert(vec![identity.der.clone()], identity.key.clone_key());
    let mut config = built.expect("a configuration");
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Arc::new(config)
}

/// An upstream over TLS that says what it was asked for and by which name.
struct Secure {
    upstream: Upstream,
    connections: Arc<AtomicUsize>,
    names: Arc<Mutex<Vec<String>>>,
}

fn secure(config: Arc<ServerConfig>) -> Secure {
    let connections = Arc::new(AtomicUsize::new(0));
    let names = Arc::new(Mutex::new(Vec::new()));
    let (count, seen) = (connections.clone(), names.clone());
    let upstream = Upstream::raw(move |stream| {
        let connection = ServerConnection::new(config.clone()).expect("a connection");
        let mut input = BufReader::new(StreamOwned::new(connection, stream));
        let mut first = true;
        while let Ok(Some((request, framing))) = wire::read_request_head(&mut input) {
            if std::mem::take(&mut first) {
                count.fetch_add(1, Ordering::SeqCst);
                let name = input.get_ref().conn.server_name().unwrap_or("none").to_owned();
                seen.lock().expect("the names").push(name);
            }
            let body = wire::read_body(&mut input, framing).expect("a body");
            let host = request.header("host").unwrap_or_default().to_owned();
            let said = reply(200, format!("{} {host} {}", request.target, body.len()));
            if input.get_mut().write_all(&said.bytes(&request.method)).is_err() {
                return;
            }
        }
    });
    Secure { upstream, connections, names }
}

fn given(secure: &Secure, tls: &str) -> Given {
    let port = secure.upstream.address().port().to_string();
    let yaml = "services: [{name: s, url: 'https://127.0.0.1:${port}', tls: TLS, routes: [{paths: [/]}]}]\nworkers: 1";
    gateway(&yaml.replace("TLS", tls)).env("port", port)
}

fn refused(gateway: &Gateway, why: &str) {
    assert_eq!(gateway.get("/").problem(502), "the upstream service did not answer");
    gateway.log_contains(why);
}

#[test]
fn a_target_is_verified_by_the_authority_of_its_service_and_its_connection_kept() {
    let authority = Authority::new();
    let secure = secure(server(&authority.sign("127.0.0.1"), None, "http/1.1"));
    let gateway = given(&secure, "{ca: ca.pem}").file("ca.pem", &authority.pem).start();
    let mut client = gateway.connect();
    for size in [0, 1, 300_000] {
        let request = crate::support::Request::post("/x", vec![b'x'; size]);
        let host = secure.upstream.address();
        assert_eq!(client.send(&request).ok().text(), format!("/x {host} {size}"));
    }
    assert_eq!(secure.connections.load(Ordering::SeqCst), 1);
}

/// What active checks found of the one target of `s`, once they have found anything.
pub fn checked(gateway: &Gateway) -> String {
    let admin = gateway.address_of("admin");
    crate::support::eventually("a check", || {
        let page = crate::support::Client::connect(admin).send(&crate::support::Request::get("/metrics")).text();
        let line = page.lines().find(|line| line.starts_with("gatewright_health_checks_total{"))?;
        Some(line.split("result=\"").nth(1)?.split('"').next()?.to_owned())
    })
}

#[test]
fn checks_speak_tls_as_requests_do() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (ca, result) in [(&authority, "good"), (&other, "bad")] {
        let secure = secure(server(&authority.sign("127.0.0.1"), None, "http/1.1"));
        let port = secure.upstream.address().port().to_string();
        let yaml = "admin: 127.0.0.1:0\nservices: [{name: s, url: 'https://127.0.0.1:${port}', tls: {ca: ca.pem}, health: {path: /healthz, interval: 10ms}}]\n";
        let gateway = gateway(yaml).env("port", port).file("ca.pem", &ca.pem).start();
        assert_eq!(checked(&gateway), result);
    }
}

#[test]
fn the_authorities_of_the_system_are_the_default() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let trusted = secure(server(&known.sign("127.0.0.1"), None, "http/1.1"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("system.pem");
    std::fs::write(&file, &known.pem).expect("a file");
    let gateway = given(&trusted, "{}").env("SSL_CERT_FILE", file.display().to_string()).start();
    gateway.get("/").ok();

    let strange = secure(server(&unknown.sign("127.0.0.1"), None, "http/1.1"));
    let gateway = given(&strange, "{}").env("SSL_CERT_FILE", file.display().to_string()).start();
    refused(&gateway, "TLS: invalid peer certificate");
}

#[test]
fn a_certificate_for_another_name_is_refused_unless_that_name_is_asked_for() {
    let authority = Authority::new();
    let secure = secure(server(&authority.sign("users.internal"), None, "http/1.1"));
    let start = |tls| given(&secure, tls).file("ca.pem", &authority.pem).start();
    refused(&start("{ca: ca.pem}"), "certificate not valid for name");
    start("{ca: ca.pem, server_name: users.internal}").get("/").ok();
    assert_eq!(*secure.names.lock().expect("the names"), ["users.internal"]);
    let unverified = start("{verify: false}");
    unverified.get("/").ok();
    unverified.log_contains("the certificate of this service is not verified");
}

#[test]
fn a_target_that_wants_a_client_certificate_gets_that_of_the_service() {
    let authority = Authority::new();
    let secure = secure(server(&authority.sign("127.0.0.1"), Some(&authority), "http/1.1"));
    let own = authority.sign("gateway");
    let start = |tls| {
        let files = given(&secure, tls).file("ca.pem", &authority.pem);
        files.file("own.pem", &own.pem).file("own.key", &own.key_pem).start()
    };
    assert_eq!(start("{ca: ca.pem}").get("/").status, 502);
    start("{ca: ca.pem, client_cert: own.pem, client_key: own.key}").get("/").ok();
}

#[test]
fn files_that_cannot_be_used_are_pointed_at() {
    let files = crate::support::gateway::Files::new();
    files.write("empty.pem", "");
    let yaml = "services:\n- url: https://127.0.0.1:1\n  tls: {ca: FILE}\n  routes: [{paths: [/]}]\n";
    for (file, expected) in [
        ("missing.pem", "can't be read: there is no such file"),
        ("empty.pem", "it holds no usable certificate: there is none in it"),
    ] {
        files.write("gateway.yaml", &crate::support::gateway::with_defaults(&yaml.replace("FILE", file)));
        let mut command = crate::support::command::binary();
        let output = command.arg("check").arg("-c").arg(files.path("gateway.yaml")).output().expect("the binary");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains(expected) && text.contains(":6:13"), "{text}");
    }
}
