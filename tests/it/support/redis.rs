//! A real redis-server on a free port, with nothing in it.

use super::gateway::{Log, signal};
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

pub struct Redis {
    process: Child,
    port: u16,
}

/// Starts one. A test that needs it fails where it is missing: it is never skipped.
pub fn redis() -> Redis {
    // A free port may be taken by another test before the server binds it.
    for _ in 0..10 {
        if let Some(redis) = start(free_port()) {
            return redis;
        }
    }
    panic!("redis-server does not start");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn start(port: u16) -> Option<Redis> {
    let mut process = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server: {error}; `tests/run` installs it"));
    let log = Log::default();
    log.follow(process.stdout.take().expect("a pipe"));
    let started = log.wait("redis-server says nothing", |lines| {
        let says = |text: &str| lines.iter().any(|line| line.contains(text));
        match () {
            () if says("Ready to accept connections") => Some(true),
            () if says("Address already in use") => Some(false),
            () => None,
        }
    });
    let redis = Redis { process, port };
    started.then_some(redis)
}

impl Redis {
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Makes it hang: connections stay open and nothing answers.
    pub fn stop(&self) {
        signal(self.process.id(), "STOP");
    }

    pub fn go_on(&self) {
        signal(self.process.id(), "CONT");
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) {
        self.process.kill().expect("a process");
        self.process.wait().expect("its end");
    }

    /// Again on the same port, with nothing in it.
    pub fn restart(&mut self) {
        self.kill();
        *self = start(self.port).expect("its port is still free");
    }

    /// How many keys it holds.
    pub fn keys(&self) -> u64 {
        let answer = self.ask("DBSIZE");
        let number = answer.strip_prefix(':').and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("redis answered `{answer}`"))
    }

    /// How many requests the one sliding window that it holds has counted.
    pub fn counted(&self) -> usize {
        let answer = self.ask("EVAL \"return redis.call('LLEN', redis.call('KEYS', '*')[1] or 'none')\" 0");
        let number = answer.strip_prefix(':').and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("redis answered `{answer}`"))
    }

    /// How many checks it was asked for.
    pub fn checks(&self) -> u64 {
        let answer = self.ask("EVAL \"return tonumber(string.match(redis.call('INFO','commandstats'),'cmdstat_evalsha:calls=(%d+)')or'0')\" 0");
        let number = answer.strip_prefix(':').and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("redis answered `{answer}`"))
    }

    /// Throws all keys away.
    pub fn forget(&self) {
        assert_eq!(self.ask("FLUSHALL"), "+OK");
    }

    fn ask(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("redis");
        stream.write_all(format!("{command}\r\n").as_bytes()).expect("redis reads");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("redis answers");
        line.trim_end().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
