//! What the gateway takes of a machine: memory, and the time to start and to reload.
//!
//! Figures of memory are those that are promised; times are the promised ones with an allowance for the development build and
//! for the tests that run beside. `benches/README.md` says how the real ones are measured.

use crate::support::{Client, Gateway, Request, Upstream, command, frames, gateway, quickstart::Quickstart};
use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

const MIB: usize = 1 << 20;

/// Descriptors of the test's process and of the gateway's, and the time until idle connections are closed, bound this.
const CONNECTIONS: usize = 2000;

fn before(upstream: &Upstream) -> Gateway {
    let yaml = "workers: 1\nservices:\n  - {name: s, url: '${s}', routes: [{name: r, paths: [/]}]}";
    gateway(yaml).url("s", upstream).start()
}

/// The kilobytes that each connection takes which `open` opens.
fn each_takes<C>(gateway: &Gateway, open: impl Fn(usize) -> Vec<C>) -> f64 {
    let _warm = open(50);
    // Without the program's own pages, which are given back after the start.
    let without = gateway.memory("RssAnon");
    let _idle = open(CONNECTIONS);
    (gateway.memory("RssAnon") - without) as f64 / CONNECTIONS as f64
}

/// A client's connection with one request behind it; the service's is another's by then.
#[test]
fn an_idle_connection_takes_twenty_kilobytes_at_most() {
    let upstream = Upstream::echo("s");
    let gateway = before(&upstream);
    let open = |count: usize| -> Vec<Client> {
        let ask = |_| {
            let mut client = gateway.connect();
            client.send(&Request::get("/")).ok();
            client
        };
        (0..count).map(ask).collect()
    };
    let kilobytes = each_takes(&gateway, open);
    assert!(kilobytes <= 20.0, "{kilobytes:.1} KiB a connection");
}

/// More than over HTTP/1.1: the crate h2 asks for 28 KiB for each connection, whatever it is told, of which a quiet one touches a part.
#[test]
fn an_idle_connection_of_http2_takes_twenty_five_kilobytes_at_most() {
    let upstream = Upstream::echo("s");
    let gateway = before(&upstream);
    let open = |count: usize| -> Vec<TcpStream> {
        let ask = |_| {
            let mut client = frames::connect(gateway.address());
            let settings = frames::frame(frames::SETTINGS, 0, 0, &[]);
            let request = [frames::PREFACE, &settings[..], &frames::get(1, "/")].concat();
            client.write_all(&request).expect("a write");
            let mut ended = false;
            while !ended {
                let (kind, flags, stream, _) = frames::read_frame(&mut client);
                if kind == frames::SETTINGS && flags & frames::ACK == 0 {
                    client.write_all(&frames::frame(frames::SETTINGS, frames::ACK, 0, &[])).expect("a write");
                }
                assert!(kind != frames::GOAWAY && kind != frames::RST_STREAM, "a frame of kind {kind}");
                ended = stream == 1 && flags & frames::END_STREAM != 0;
            }
            client
        };
        (0..count).map(ask).collect()
    };
    let kilobytes = each_takes(&gateway, open);
    assert!(kilobytes <= 25.0, "{kilobytes:.1} KiB a connection");
}

/// Sends a body of as many bytes as the path says, or takes one, without ever having more than a piece of it.
fn bulk() -> Upstream {
    Upstream::raw(|stream| {
        let mut input = BufReader::new(stream);
        while let Some((size, is_download)) = read_head(&mut input) {
            let output = input.get_mut();
            if is_download {
                let _ = write!(output, "HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
                pour(output, size);
            } else {
                let _ = std::io::copy(&mut (&mut input).take(size as u64), &mut std::io::sink());
                let _ = write!(input.get_mut(), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        }
    })
}

fn read_head(input: &mut BufReader<TcpStream>) -> Option<(usize, bool)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim_end().is_empty() {
            break;
        }
        lines.push(line);
    }
    let size = lines[0].split(['/', ' ']).nth(2)?.parse().ok()?;
    Some((size, lines[0].starts_with("GET")))
}

fn pour(output: &mut impl Write, size: usize) {
    let piece = vec![b'x'; MIB];
    for left in (1..=size).rev().step_by(MIB) {
        output.write_all(&piece[..left.min(MIB)]).expect("a connection that takes it");
    }
}

#[test]
fn bodies_stream_in_constant_memory() {
    let upstream = bulk();
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    let mut both_ways = |size: usize| {
        client.write(format!("GET /{size} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes());
        assert_eq!(client.read_head().0, 200);
        let body = &mut client.reader().take(size as u64);
        let got = std::io::copy(body, &mut std::io::sink()).expect("the body");
        assert_eq!(got, size as u64);
        client.write(format!("POST /{size} HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n").as_bytes());
        for left in (1..=size).rev().step_by(MIB) {
            client.write(&[b'x'; MIB][..left.min(MIB)]);
        }
        client.read_answer().ok();
    };
    both_ways(1024);
    let small = gateway.watch_peak();
    for size in [MIB, 16 * MIB, 256 * MIB] {
        both_ways(size);
        let grown = gateway.memory("VmHWM").saturating_sub(small);
        assert!(grown < 32 * 1024, "{grown} KiB more after a body of {size} bytes");
    }
}

#[test]
fn the_quickstart_idles_in_twenty_megabytes() {
    let quickstart = Quickstart::start_by(command::copy);
    // What only starting needed is given back soon after.
    let limit = Instant::now() + Duration::from_secs(10);
    while quickstart.memory("VmRSS") >= 20_000 {
        let (all, own) = (quickstart.memory("VmRSS"), quickstart.memory("RssAnon"));
        assert!(Instant::now() < limit, "{all} KiB, of which {own} KiB are not the program's pages");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Of what a request needs, the program's pages are several times as many in the development build.
    Client::connect(quickstart.address()).send(&Request::get("/"));
    let own = quickstart.memory("RssAnon");
    assert!(own < 20_000, "{own} KiB, and {} KiB in all", quickstart.memory("VmRSS"));
}

/// The promise is 50 ms.
#[test]
fn the_first_answer_comes_soon() {
    let upstream = Upstream::echo("s");
    let start = |_| {
        let began = Instant::now();
        before(&upstream).get("/").ok();
        began.elapsed()
    };
    let best = (0..5).map(start).min().expect("five");
    assert!(best < Duration::from_secs(1), "{best:?}");
}

/// The promise is 250 ms.
#[test]
fn ten_thousand_routes_are_reloaded_soon() {
    let upstream = Upstream::echo("s");
    let mut yaml = String::from("workers: 1\nservices:\n  - name: s\n    url: '${s}'\n    routes:\n");
    for number in 0..10_000 {
        let _ = writeln!(yaml, "      - {{name: r{number}, paths: [/team-{}/service-{number}]}}", number % 100);
    }
    let gateway = gateway(&yaml).url("s", &upstream).start();
    // Processor time, since the tests beside make the clock useless.
    let mut best = Duration::MAX;
    for round in 1..4 {
        let before = gateway.cpu();
        gateway.signal("HUP");
        gateway.log.counts(r#""message":"reloaded""#, round);
        best = best.min(gateway.cpu() - before);
        gateway.get("/team-7/service-7/a").ok();
    }
    assert!(best < Duration::from_millis(2500), "{best:?}");
}
