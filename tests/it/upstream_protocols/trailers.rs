//! Trailers of chunked HTTP/1.1, both ways.

use crate::support::{Upstream, gateway, wire};
use std::{
    io::{BufRead, BufReader, Read, Write},
    sync::mpsc,
};

const YAML: &str = "services: [{name: s, url: '${up}', routes: [{paths: [/]}]}]\nworkers: 1";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Content-Length\r\n\r\n\
                      2\r\nok\r\n0\r\nX-Sum: 9\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\n\r\n";

#[test]
fn announced_ones_pass_and_those_that_decide_something_do_not() {
    let (tell, told) = mpsc::channel();
    let upstream = Upstream::raw(move |stream| {
        let mut input = BufReader::new(stream);
        let mut served = 0;
        while let Ok(Some((request, _))) = wire::read_request_head(&mut input) {
            let mut body = String::new();
            while !body.ends_with("\r\n\r\n") {
                input.read_line(&mut body).expect("a line");
            }
            let announced = request.header("trailer").unwrap_or("none").to_owned();
            served += 1;
            tell.send((served, announced, body)).expect("the test");
            input.get_mut().write_all(ANSWER.as_bytes()).expect("a write");
        }
    });
    let gateway = gateway(YAML).url("up", &upstream).start();
    // Twice on one connection to the target: nothing of the first is left on it.
    for round in 1..=2 {
        // A client's connection closes after a chunked request.
        let mut client = gateway.connect();
        client.write(
            b"POST / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\
              Trailer: X-Sum, Authorization, X-User-Id\r\n\r\n\
              3\r\nabc\r\n0\r\nX-Sum: 7\r\nX-User-Id: eve\r\nAuthorization: x\r\n\r\n",
        );
        let (status, headers) = client.read_head();
        assert_eq!((status, headers.get("trailer")), (200, Some("x-sum")));
        let mut body = String::new();
        while !body.ends_with("\r\n\r\n") {
            let mut byte = [0];
            client.reader().read_exact(&mut byte).expect("a byte");
            body.push(char::from(byte[0]));
        }
        assert_eq!(body, "2\r\nok\r\n0\r\nx-sum: 9\r\n\r\n");
        let (number, announced, body) = told.recv().expect("a request");
        assert_eq!(number, round);
        assert_eq!(announced, "x-sum, x-user-id");
        assert_eq!(body, "3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");
    }
}
