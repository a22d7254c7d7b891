//! Frames of HTTP/2 by hand (RFC 9113 §4.1), and a target that is made of them.

use super::{PATIENCE, Upstream};
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
};

pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// By HPACK's static table (RFC 7541 §A): `:status 200`.
pub const OK: u8 = 0x88;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn connect(address: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A request: by HPACK (RFC 7541) GET and http are of the static table, the path and the authority literals.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).expect("a short path");
    let block = [&[0x82, 0x86, 0x04, length], path.as_bytes(), &[0x01, 12], b"shop.example"].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

pub type Frame = (u8, u8, u32, Vec<u8>);

pub fn read_frame(stream: &mut TcpStream) -> Frame {
    try_read_frame(stream).expect("a frame")
}

pub fn try_read_frame(stream: &mut TcpStream) -> std::io::Result<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload)?;
    Ok((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

/// A target that is told of each request by the number of its connection, counted from 1, and of its stream.
pub fn target(serve: impl Fn(usize, u32, &mut TcpStream) + Send + Sync + 'static) -> Upstream {
    let connections = AtomicUsize::new(0);
    Upstream::raw(move |mut stream| {
        let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
        let mut preface = [0; PREFACE.len()];
        if stream.read_exact(&mut preface).is_err() || stream.write_all(&frame(SETTINGS, 0, 0, &[])).is_err() {
            return;
        }
        while let Ok((kind, flags, id, payload)) = try_read_frame(&mut stream) {
            match kind {
                SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).expect("a write"),
                PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &payload)).expect("a write"),
                HEADERS => serve(number, id, &mut stream),
                _ => {}
            }
        }
    })
}
