//! What a target of HTTP/2 gives back unprocessed is sent again, whatever its method; nothing else is (RFC 9113 §8.7).

use crate::support::{
    Gateway, Request, Upstream,
    frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, OK, RST_STREAM, frame, target},
    gateway,
};
use std::{
    io::Write,
    net::{Shutdown, TcpStream},
    sync::mpsc,
};

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

fn answer(stream: &mut TcpStream, id: u32, text: &str) {
    let frames = [frame(HEADERS, END_HEADERS, id, &[OK]), frame(DATA, END_STREAM, id, text.as_bytes())];
    stream.write_all(&frames.concat()).expect("a write");
}

fn reset(stream: &mut TcpStream, id: u32, reason: u32) {
    stream.write_all(&frame(RST_STREAM, 0, id, &reason.to_be_bytes())).expect("a write");
}

/// Says that streams up to `last` are served.
fn go_away(stream: &mut TcpStream, last: u32) {
    let payload = [last.to_be_bytes(), NO_ERROR.to_be_bytes()].concat();
    stream.write_all(&frame(GOAWAY, 0, 0, &payload)).expect("a write");
}

/// Without retries of its own, so that what goes again is the connection's doing.
fn start(upstream: &Upstream) -> Gateway {
    let yaml = "services: [{name: s, url: '${up}', protocol: h2c, retries: 0, routes: [{paths: [/]}]}]\nworkers: 1";
    gateway(yaml).url("up", upstream).start()
}

#[test]
fn a_refused_stream_is_opened_again() {
    let upstream = target(|connection, id, stream| match id {
        1 => reset(stream, id, REFUSED_STREAM),
        _ => answer(stream, id, &format!("stream {id} of {connection}")),
    });
    assert_eq!(start(&upstream).send(Request::new("POST", "/")).ok().text(), "stream 3 of 1");
}

#[test]
fn a_stream_beyond_the_last_of_a_goaway_is_opened_on_another_connection() {
    let upstream = target(|connection, id, stream| match (connection, id) {
        (1, 3) => go_away(stream, 1),
        _ => answer(stream, id, &format!("stream {id} of {connection}")),
    });
    let gateway = start(&upstream);
    assert_eq!(gateway.send(Request::new("POST", "/")).ok().text(), "stream 1 of 1");
    assert_eq!(gateway.send(Request::new("POST", "/")).ok().text(), "stream 1 of 2");
}

#[test]
fn what_the_target_may_have_begun_with_is_not_sent_again() {
    for end in ["reset", "goaway"] {
        let (tell, told) = mpsc::channel();
        let upstream = target(move |connection, id, stream| {
            tell.send((connection, id)).expect("the test");
            if end == "reset" {
                return reset(stream, id, INTERNAL_ERROR);
            }
            // It counts as begun, and never ends.
            go_away(stream, id);
            let _ = stream.shutdown(Shutdown::Write);
        });
        start(&upstream).send(Request::new("POST", "/")).problem(502);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(1, 1)], "{end}");
    }
}
