//! Upstreams that are processes, and clients that keep asking and note what they got.

use crate::support::{Client, Gateway, Request, gateway::signal, python::python};
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// An upstream as a process of its own; it ends with the value.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    mode: &'static str,
}

impl Process {
    pub fn start(mode: &'static str) -> Process {
        Process::on(mode, 0)
    }

    fn on(mode: &'static str, port: u16) -> Process {
        let mut command = python("failures/upstream.py");
        command.args([mode, &port.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a Python");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("its port");
        let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("the upstream said `{line}`"));
        Process { child, address: SocketAddr::from(([127, 0, 0, 1], port)), mode }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// SIGKILL; returns when the process is gone, and all its sockets with it.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process");
        self.child.wait().expect("its end");
    }

    /// Again at the same address.
    pub fn restart(&mut self) {
        self.kill();
        *self = Process::on(self.mode, self.address.port());
    }

    /// SIGSTOP: sockets stay open and nothing answers.
    pub fn hang(&self) {
        signal(self.child.id(), "STOP");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request of a [`Load`].
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub at: Instant,
    pub took: Duration,
    /// 0: the gateway itself did not answer.
    pub status: u16,
}

/// What clients saw.
#[derive(Default)]
pub struct Load {
    seen: Mutex<Vec<Asked>>,
    done: AtomicBool,
}

impl Load {
    pub fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many requests that began after `since` have been answered, and so much time has passed.
    pub fn wait(&self, since: Instant, count: usize, time: Duration) {
        crate::support::eventually("enough requests", || {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let enough = seen.iter().rev().take_while(|asked| asked.at >= since).count() >= count;
            (enough && since.elapsed() >= time).then_some(())
        });
    }
}

/// Asks for `/` with so many clients at once for as long as `act` runs; gives every request with what came of it.
pub fn under_load(gateway: &Gateway, clients: usize, act: impl FnOnce(&Load)) -> Vec<Asked> {
    let load = Load::default();
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = gateway.connect();
                while !load.done.load(Ordering::Relaxed) {
                    let at = Instant::now();
                    let answer = client.try_send(&Request::get("/"));
                    if answer.is_err() {
                        client = Client::connect(gateway.address());
                    }
                    let status = answer.map_or(0, |answer| answer.status);
                    let asked = Asked { at, took: at.elapsed(), status };
                    load.seen.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
                }
            });
        }
        // Also when it panics: the clients would go on for ever.
        let done = Done(&load.done);
        act(&load);
        drop(done);
    });
    load.seen()
}

struct Done<'d>(&'d AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How many of those that began in this time there are, and those of them that failed.
pub fn failures(asked: &[Asked], from: Instant, to: Instant) -> (usize, Vec<Asked>) {
    let within: Vec<Asked> = asked.iter().filter(|asked| (from..to).contains(&asked.at)).copied().collect();
    (within.len(), within.into_iter().filter(|asked| asked.status != 200).collect())
}

/// The time within which so many percent of the requests were answered.
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}
