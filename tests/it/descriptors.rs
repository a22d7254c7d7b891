//! Out of file descriptors: clients that are connected are served, the others wait, and it passes.

use crate::support::{Client, Request, Upstream, eventually, gateway};
use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

const YAML: &str = "
workers: 2
admin: '127.0.0.1:0'
services:
  - {name: echo, url: '${echo}', routes: [{name: r, paths: [/]}]}
  - {name: other, url: '${other}', routes: [{name: o, paths: [/other]}]}
";

#[test]
fn a_shortage_is_survived() {
    let (echo, other) = (Upstream::echo("echo"), Upstream::echo("other"));
    let gateway = gateway(YAML).url("echo", &echo).url("other", &other).after("ulimit -n 80", Stdio::null()).start();
    let mut served: Vec<Client> = (0..8).map(|_| gateway.connect()).collect();
    for client in &mut served {
        client.send(&Request::get("/")).ok();
    }
    // More than fit: the kernel takes them all, the gateway what it can.
    let crowd: Vec<Client> = (0..120).map(|_| gateway.connect()).collect();
    gateway.log_contains("can't accept connections: they wait until others end");

    let (began, used) = (Instant::now(), gateway.cpu());
    while began.elapsed() < Duration::from_secs(2) {
        for client in &mut served {
            client.send(&Request::get("/")).ok();
        }
        thread::sleep(Duration::from_millis(100));
    }
    let (wall, cpu) = (began.elapsed(), gateway.cpu() - used);
    assert!(cpu * 2 < wall, "{cpu:?} of processor time in {wall:?}");

    // There is no descriptor for a connection to this one.
    let answer = served[0].send(&Request::get("/other"));
    assert!([502, 503].contains(&answer.status), "{}: {}", answer.status, answer.text());

    let lines = gateway.log.lines();
    let told = lines.iter().filter(|line| line.contains("can't accept connections")).count();
    // Since the first of them a little more than `wall` has gone by.
    assert!(told <= wall.as_secs() as usize + 3, "{told} lines in {wall:?}:\n{}", lines.join("\n"));

    drop(crowd);
    eventually("it accepts again", || gateway.connect().try_send(&Request::get("/")).ok()).ok();
    eventually("it connects again", || {
        let answer = gateway.connect().try_send(&Request::get("/other")).ok()?;
        (answer.status == 200).then_some(())
    });
    let admin = Client::connect(gateway.address_of("admin")).send(&Request::get("/healthz"));
    assert_eq!(admin.status, 200);
}
