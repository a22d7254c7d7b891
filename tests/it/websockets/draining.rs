//! WebSockets while the process drains: a close frame each way, behind the frame at hand.

use super::extended_connect;
use crate::support::{
    Client, Gateway, gateway,
    websocket::{ACCEPT, CLOSE, GOING_AWAY, KEY, TEXT, frame, masked, read_frame, target},
};
use std::{
    io::{Read, Write},
    sync::{Mutex, mpsc},
};

const YAML: &str = "services: [{name: s, url: '${up}', routes: [{paths: [/]}]}]\nworkers: 1";

/// What a client of HTTP/1.1 asks with.
pub fn handshake(gateway: &Gateway, protocol: &str) -> Vec<u8> {
    let host = gateway.address();
    format!(
        "GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

pub fn open(gateway: &Gateway, protocol: &str) -> Client {
    let mut client = gateway.connect();
    client.write(&handshake(gateway, protocol));
    let (status, headers) = client.read_head();
    assert_eq!((status, headers.get("sec-websocket-accept")), (101, Some(ACCEPT)));
    client
}

#[test]
fn both_ends_are_told_and_the_client_may_answer() {
    let (tell, told) = mpsc::channel();
    let upstream = target(move |_, input| {
        input.get_mut().write_all(&frame(TEXT, "welcome")).expect("a write");
        let last = read_frame(input);
        // As a server must (RFC 6455 §5.5.1).
        input.get_mut().write_all(&frame(CLOSE, GOING_AWAY)).expect("a write");
        tell.send((last, read_frame(input))).expect("the test");
    });
    let mut gateway = gateway(YAML).url("up", &upstream).start();
    let mut client = open(&gateway, "websocket");
    assert_eq!(read_frame(client.reader()), Some((TEXT, false, b"welcome".to_vec())));
    gateway.signal("TERM");
    assert_eq!(read_frame(client.reader()), Some((CLOSE, false, GOING_AWAY.to_vec())));
    client.write(&masked(CLOSE, GOING_AWAY));
    assert!(client.is_closed());
    let (last, after) = told.recv().expect("the target");
    assert_eq!(last, Some((CLOSE, true, GOING_AWAY.to_vec())));
    assert_eq!(after, None, "the gateway has closed the connection");
    assert_eq!(gateway.ended(), Some(0));
}

#[test]
fn a_frame_at_hand_is_finished_first_in_both_directions() {
    let (tell, told) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let upstream = target(move |_, input| {
        let whole = frame(TEXT, "two halves");
        input.get_mut().write_all(&whole[..5]).expect("a write");
        // The half of the client's frame, so that both ways are in the middle of one.
        let mut half = [0; 8];
        input.read_exact(&mut half).expect("a half");
        tell.send(half.to_vec()).expect("the test");
        gone.lock().expect("a lock").recv().expect("the test");
        input.get_mut().write_all(&[&whole[5..], &frame(TEXT, "too late")].concat()).expect("a write");
        let mut rest = Vec::new();
        input.read_to_end(&mut rest).expect("the rest");
        tell.send(rest).expect("the test");
    });
    let mut gateway = gateway(YAML).url("up", &upstream).start();
    let mut client = open(&gateway, "websocket");
    let whole = masked(TEXT, "mine too");
    client.write(&whole[..8]);
    assert_eq!(told.recv().expect("a half"), whole[..8]);
    let mut half = [0; 5];
    client.reader().read_exact(&mut half).expect("a half");
    gateway.signal("TERM");
    gateway.log_contains("draining");
    go.send(()).expect("the target");
    let rest = [&frame(TEXT, "two halves")[5..], &frame(CLOSE, GOING_AWAY)].concat();
    let mut got = vec![0; rest.len()];
    client.reader().read_exact(&mut got).expect("the rest");
    assert_eq!(got, rest);
    client.write(&[&whole[8..], &masked(TEXT, "ignored"), &masked(CLOSE, GOING_AWAY)].concat());
    let rest = told.recv().expect("the rest");
    let (mine, mut close) = rest.split_at(whole.len() - 8);
    assert_eq!(mine, &whole[8..]);
    assert_eq!(read_frame(&mut close), Some((CLOSE, true, GOING_AWAY.to_vec())));
    assert_eq!(close, b"", "nothing comes behind a close");
    assert!(client.is_closed());
    assert_eq!(gateway.ended(), Some(0));
}

#[test]
fn a_client_that_does_not_answer_is_not_waited_for_long() {
    let upstream = target(|_, input| {
        input.get_mut().write_all(&frame(TEXT, "welcome")).expect("a write");
        let _ = input.read_to_end(&mut Vec::new());
    });
    let mut gateway = gateway(YAML).url("up", &upstream).start();
    let mut client = open(&gateway, "WebSocket");
    assert_eq!(read_frame(client.reader()), Some((TEXT, false, b"welcome".to_vec())));
    gateway.signal("TERM");
    assert_eq!(read_frame(client.reader()), Some((CLOSE, false, GOING_AWAY.to_vec())));
    let begun = std::time::Instant::now();
    assert!(client.is_closed());
    assert_eq!(gateway.ended(), Some(0));
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn what_is_no_websocket_is_closed_without_a_word() {
    let upstream = target(|_, input| {
        let _ = input.read_to_end(&mut Vec::new());
    });
    let mut gateway = gateway(YAML).url("up", &upstream).start();
    let mut client = open(&gateway, "chat");
    gateway.signal("TERM");
    assert!(client.is_closed());
    assert_eq!(gateway.ended(), Some(0));
}

/// The stream ends in the same way, beside the GOAWAY of its connection.
#[test]
fn a_client_of_http2_is_told_on_its_stream() {
    let (tell, told) = mpsc::channel();
    let upstream = target(move |_, input| tell.send(read_frame(input)).expect("the test"));
    let mut gateway = gateway(YAML).url("up", &upstream).start();
    let mut client = extended_connect::Client::connect(&gateway);
    let mut opened = client.open("websocket", &extended_connect::FIELDS);
    assert_eq!(opened.status, 200);
    gateway.signal("TERM");
    client.expect(&mut opened, &frame(CLOSE, GOING_AWAY));
    opened.to.send_data(masked(CLOSE, GOING_AWAY).into(), true).expect("a write");
    client.ends(&mut opened);
    assert_eq!(told.recv().expect("the target"), Some((CLOSE, true, GOING_AWAY.to_vec())));
    assert_eq!(gateway.ended(), Some(0));
}
