//! WebSockets that clients of HTTP/2 open by an extended CONNECT (RFC 8441).

use crate::support::{
    Gateway, PATIENCE, Request, Upstream, gateway, reply,
    websocket::{TEXT, frame, masked, read_frame, target},
};
use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{Builder, SendRequest},
    ext::Protocol,
};
use std::{future::Future, io::Write, net::SocketAddr};
use tokio::runtime::Runtime;

const YAML: &str = "services: [{name: s, url: '${up}', routes: [{paths: [/]}]}]\nworkers: 1";

/// A connection of HTTP/2.
pub struct Client {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    address: SocketAddr,
}

/// An answer, and the stream behind it.
pub struct Opened {
    pub status: u16,
    pub headers: http::HeaderMap,
    from: RecvStream,
    pub to: SendStream<Bytes>,
}

impl Client {
    pub fn connect(gateway: &Gateway) -> Client {
        let address = gateway.address();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let sender = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
            let (sender, connection) = Builder::new().handshake::<_, Bytes>(stream).await.expect("a handshake");
            tokio::spawn(connection);
            let mut sender = sender.ready().await.expect("a stream");
            // The server's SETTINGS are here with its first answer.
            let request = http::Request::get(format!("http://{address}/first")).body(()).expect("a request");
            let _ = sender.send_request(request, true).expect("a stream").0.await;
            sender
        });
        Client { runtime, sender, address }
    }

    fn within<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("never") })
    }

    pub fn open(&mut self, protocol: &'static str, fields: &[(&str, &str)]) -> Opened {
        assert!(self.sender.is_extended_connect_protocol_enabled(), "it is not announced");
        let mut request = http::Request::connect(format!("http://{}/chat?a=1", self.address));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).expect("a request");
        request.extensions_mut().insert(Protocol::from_static(protocol));
        let (answer, to) = self.sender.send_request(request, false).expect("a stream");
        let (head, from) = self.within(answer).expect("an answer").into_parts();
        Opened { status: head.status.as_u16(), headers: head.headers, from, to }
    }

    fn read(&self, opened: &mut Opened) -> Option<Bytes> {
        let data = self.within(opened.from.data())?.expect("data");
        let _ = opened.from.flow_control().release_capacity(data.len());
        Some(data)
    }

    /// Waits until these bytes have come.
    pub fn expect(&self, opened: &mut Opened, expected: &[u8]) {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            got.extend(self.read(opened).expect("more"));
        }
        assert_eq!(got, expected);
    }

    /// Waits for the end, before which nothing comes.
    pub fn ends(&self, opened: &mut Opened) {
        while let Some(data) = self.read(opened) {
            assert_eq!(data, "");
        }
    }
}

pub const FIELDS: [(&str, &str); 3] =
    [("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat"), ("sec-websocket-key", "not a key")];

#[test]
fn it_is_a_get_to_the_target_and_its_101_is_a_200() {
    let upstream = target(|request, input| {
        // Seen from here all is of HTTP/1.1.
        let said = ["connection", "upgrade", "sec-websocket-version", "sec-websocket-protocol"]
            .map(|name| request.header(name).unwrap_or("none"));
        let length = request.header("sec-websocket-key").map(str::len);
        let said = format!("{} {} {said:?} {length:?}", request.method, request.target);
        input.get_mut().write_all(&frame(TEXT, said)).expect("a write");
        while let Some((first, is_masked, payload)) = read_frame(input) {
            assert!(is_masked);
            input.get_mut().write_all(&frame(first, payload)).expect("a write");
        }
        // The client's end came; the other way is still open.
        input.get_mut().write_all(&frame(TEXT, "bye")).expect("a write");
    });
    let gateway = gateway(YAML).url("up", &upstream).start();
    let mut client = Client::connect(&gateway);
    let mut opened = client.open("websocket", &FIELDS);
    assert_eq!(opened.status, 200);
    assert_eq!(opened.headers["sec-websocket-protocol"], "chat");
    for absent in ["sec-websocket-accept", "connection", "upgrade", "content-length"] {
        assert!(!opened.headers.contains_key(absent), "{absent}: {:?}", opened.headers);
    }
    let said = r#"GET /chat?a=1 ["upgrade", "websocket", "13", "chat"] Some(24)"#;
    client.expect(&mut opened, &frame(TEXT, said));
    for text in ["hello", "", "again"] {
        opened.to.send_data(masked(TEXT, text).into(), false).expect("a write");
        client.expect(&mut opened, &frame(TEXT, text));
    }
    opened.to.send_data(Bytes::new(), true).expect("an end");
    client.expect(&mut opened, &frame(TEXT, "bye"));
    client.ends(&mut opened);
}

#[test]
fn a_refusal_is_passed_on_and_a_success_that_is_no_101_is_none() {
    let upstream = Upstream::start(|request| match request.header("sec-websocket-protocol") {
        Some("refused") => reply(403, "not you"),
        Some("fine") => reply(200, "fine"),
        _ => reply(404, "first"),
    });
    let gateway = gateway(YAML).url("up", &upstream).start();
    let mut client = Client::connect(&gateway);
    let mut opened = client.open("websocket", &[("sec-websocket-protocol", "refused")]);
    assert_eq!(opened.status, 403);
    client.expect(&mut opened, b"not you");
    assert_eq!(client.open("websocket", &[("sec-websocket-protocol", "fine")]).status, 502);
    gateway.log_contains("the response to a websocket is 200 and not 101");
}

#[test]
fn a_target_that_does_not_prove_that_it_understood_is_not_believed() {
    let upstream = Upstream::raw(|mut stream| {
        let _ = crate::support::wire::read_request_head(&mut std::io::BufReader::new(&stream));
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
    });
    let gateway = gateway(YAML).url("up", &upstream).start();
    let mut client = Client::connect(&gateway);
    assert_eq!(client.open("websocket", &[]).status, 502);
    gateway.log_contains("the response does not accept the websocket's key");
}

#[test]
fn scripts_see_a_get_and_their_success_opens_nothing() {
    let script = "return {on_request = function(req)
        return reply.text(req.headers['sec-websocket-protocol'] and 200 or 401, req.method)
    end}";
    let upstream = Upstream::echo("never");
    let given = gateway(&format!("{YAML}\nplugins: [{{script: a.lua}}]")).file("a.lua", script);
    let gateway = given.url("up", &upstream).start();
    let mut client = Client::connect(&gateway);
    for (fields, status) in [(&[][..], 401), (&[("sec-websocket-protocol", "chat")], 502)] {
        let mut opened = client.open("websocket", fields);
        assert_eq!(opened.status, status);
        client.expect(&mut opened, b"GET");
        client.ends(&mut opened);
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn other_protocols_and_a_plain_connect_are_refused() {
    let upstream = Upstream::echo("up");
    let gateway = gateway(YAML).url("up", &upstream).start();
    let mut client = Client::connect(&gateway);
    assert_eq!(client.open("connect-udp", &[]).status, 501);
    let request = http::Request::connect("shop.example:443").body(()).expect("a request");
    let answer = client.sender.send_request(request, true).expect("a stream").0;
    assert_eq!(client.within(answer).expect("an answer").status(), 405);
    let refused = gateway.send(Request::new("CONNECT", "shop.example:443").header("host", "shop.example:443"));
    assert_eq!(refused.status, 405);
}
