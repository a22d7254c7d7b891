//! Out of file descriptors: clients that are connected are served, the others wait, and it passes.

use crate::support::{Client, Request, Upstream, eventually, gateway, reply};
use std::{
    process::Stdio,
    sync::Barrier,
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

/// How many requests are under way at once, and how many connections to their service rest behind them.
const BURST: usize = 30;
const DESCRIPTORS: usize = 160;

#[test]
fn idle_connections_to_services_give_way() {
    let all_are_here = Barrier::new(BURST);
    let echo = Upstream::start(move |request| {
        if request.target == "/burst" {
            all_are_here.wait();
        }
        let wait = if request.target == "/slow" { Duration::from_secs(1) } else { Duration::ZERO };
        reply(200, "echo").after(wait)
    });
    let other = Upstream::echo("other");
    let yaml = YAML.replace("workers: 2", "workers: 1");
    let limit = format!("ulimit -n {DESCRIPTORS}");
    let gateway = gateway(&yaml).url("echo", &echo).url("other", &other).after(&limit, Stdio::null()).start();
    let all_send = |clients: &mut [Client], target| -> Vec<u16> {
        thread::scope(|scope| {
            let send = |client| scope.spawn(move || Client::send(client, &Request::get(target)).status);
            let sending: Vec<_> = clients.iter_mut().map(send).collect();
            sending.into_iter().map(|status| status.join().expect("an answer")).collect()
        })
    };
    let mut clients: Vec<Client> = (0..BURST).map(|_| gateway.connect()).collect();
    assert_eq!(all_send(&mut clients, "/burst"), [200; BURST]);
    // Clients that are served by what rests already, until no descriptor is left.
    for _ in gateway.descriptors(DESCRIPTORS)..DESCRIPTORS {
        let mut client = gateway.connect();
        client.send(&Request::get("/")).ok();
        clients.push(client);
    }
    assert_eq!(gateway.descriptors(DESCRIPTORS), DESCRIPTORS);

    // A connection to another service takes the place of one that rests.
    clients[0].send(&Request::get("/other")).ok();
    assert!(gateway.descriptors(DESCRIPTORS) < DESCRIPTORS, "the older half is closed");
    // Clients take the places of those that have rested for a second, not of the one that is in use.
    let late: Vec<Client> = (gateway.descriptors(DESCRIPTORS)..DESCRIPTORS + 4).map(|_| gateway.connect()).collect();
    for mut client in late {
        client.send(&Request::get("/")).ok();
        clients.push(client);
    }

    // None rests where all are in use.
    let statuses = all_send(&mut clients, "/slow");
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert!(count(200) > 0 && count(502) > 0 && count(200) + count(502) == statuses.len(), "{statuses:?}");
    gateway.log_contains("connecting: Too many open files");
    drop(clients);
    gateway.get("/other").ok();
}
