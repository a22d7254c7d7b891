//! The access log: what a line says and never says, sampling, choice of fields, rotation, a full disk.

use crate::support::{
    Client, Request, Upstream, eventually, gateway,
    gateway::Files,
    reply,
    token::{Key, ada},
};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Stdio, thread};

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// Waits for so many lines.
fn wait(file: &Path, count: usize) -> Vec<Value> {
    eventually(&format!("{count} lines"), || Some(lines(file)).filter(|lines| lines.len() >= count))
}

const REFUSE: &str = "return { on_request = function() return reply.text(429, 'later') end }\n";

#[test]
fn a_line_says_all_about_an_exchange() {
    let users = Upstream::start(|_| reply(201, "hello"));
    let key = Key::make("HS256");
    let gateway = gateway(
        "
access_log: access.log
services:
  - name: users
    url: ${users}
    routes:
      - {name: users, paths: [/users], plugins: [{name: jwt-auth, config: {secret: '${SECRET}', algorithms: [HS256]}}]}
",
    )
    .url("users", &users)
    .env("SECRET", key.text())
    .start();
    let token = key.token("HS256", &ada());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = Request::post("/users/1?token=s3cret", "12345678")
        .header("host", "api.test")
        .header("x-request-id", "my-id")
        .header("traceparent", parent)
        .header("cookie", "session=s3cret")
        .bearer(&token);
    assert_eq!(gateway.send(request).status, 201);
    let file = gateway.files.path("access.log");
    let mut line = wait(&file, 1).remove(0);
    for time in ["time", "duration_ms", "upstream_ms", "scripts_ms"] {
        assert!(line[time].as_f64().is_some_and(|time| time > 0.0), "{time} of {line}");
        line.as_object_mut().expect("an object").remove(time);
    }
    // A file that changed while it started has been loaded again.
    let generation = line["generation"].as_u64().expect("a number");
    assert!(generation >= 1, "{generation}");
    let expected = json!({
        "id": "my-id", "trace_id": "0af7651916cd43dd8448eb211c80319c", "client": "127.0.0.1", "identity": ada()["sub"],
        "method": "POST", "host": "api.test", "path": "/users/1", "protocol": "HTTP/1.1", "status": 201, "flags": [],
        "route": "users", "service": "users", "target": users.address().to_string(), "tries": 1,
        "request_bytes": 8, "bytes": 5, "generation": generation,
    });
    assert_eq!(line, expected);
    let text = fs::read_to_string(&file).expect("the log");
    for secret in ["s3cret", &token] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn flags_say_why() {
    let gateway = gateway(
        "
access_log: {file: access.log, fields: [path, status, flags]}
services:
  - {name: dead, url: '${dead}', routes: [{name: dead, paths: [/dead]}]}
routes:
  - {name: fault, paths: [/fault], fault: {abort: 503}, reply: {body: hi}}
  - {name: limited, paths: [/limited], plugins: [{script: refuse.lua}, {script: answer.lua}]}
",
    )
    .url("dead", &Upstream::dead())
    .file("refuse.lua", REFUSE)
    .file("answer.lua", "return { handle = function() return reply.text(200, 'hi') end }\n")
    .start();
    for path in ["/nowhere", "/dead", "/fault", "/limited"] {
        gateway.get(path);
    }
    let expected = [
        json!({"path": "/nowhere", "status": 404, "flags": ["no_route"]}),
        json!({"path": "/dead", "status": 502, "flags": ["connect"]}),
        json!({"path": "/fault", "status": 503, "flags": ["fault"]}),
        json!({"path": "/limited", "status": 429, "flags": ["limited", "refused:refuse.lua"]}),
    ];
    assert_eq!(wait(&gateway.files.path("access.log"), 4), expected);
}

#[test]
fn flags_of_services_say_why() {
    let failing = Upstream::start(|_| reply(500, ""));
    let slow = Upstream::start(|_| reply(200, "").after(std::time::Duration::from_secs(5)));
    let gateway = gateway(
        "
access_log: {file: access.log, fields: [path, status, tries, flags]}
services:
  - {name: none, targets: [{url: '${dead}'}, {url: '${dead2}'}], routes: [{name: none, paths: [/none]}]}
  - {name: slow, url: '${slow}', timeout: 50ms, routes: [{name: slow, paths: [/slow]}]}
  - {name: failing, url: '${failing}', circuit_breaker: {min_requests: 1}, routes: [{name: failing, paths: [/failing]}]}
",
    )
    .url("dead", &Upstream::dead())
    .url("dead2", &Upstream::dead())
    .url("slow", &slow)
    .url("failing", &failing)
    .start();
    for path in ["/none", "/slow", "/failing", "/failing"] {
        gateway.get(path);
    }
    let expected = [
        json!({"path": "/none", "status": 503, "tries": 2, "flags": ["no_target"]}),
        json!({"path": "/slow", "status": 504, "tries": 1, "flags": ["timeout"]}),
        json!({"path": "/failing", "status": 500, "tries": 1, "flags": []}),
        json!({"path": "/failing", "status": 503, "tries": 0, "flags": ["breaker"]}),
    ];
    assert_eq!(wait(&gateway.files.path("access.log"), 4), expected);
}

/// SECURITY: whoever reads the log in a terminal, or by lines, reads what was written here and nothing else.
#[test]
fn what_clients_write_stays_in_its_line() {
    let gateway = gateway("access_log: {file: access.log, fields: [id, method, host, path]}\n").start();
    let path = "/a%0a%0d%1b[31m%7f%c2%9b%e2%80%ae%22";
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-request-id: b\u{202e}\u{9b}\r\n\r\n");
    gateway.raw(request);
    let file = gateway.files.path("access.log");
    wait(&file, 1);
    let text = fs::read_to_string(&file).expect("the log");
    assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    let is_harmless = |c: char| c == '\n' || (!c.is_control() && !('\u{202a}'..='\u{202e}').contains(&c));
    assert!(text.chars().all(is_harmless), "{text:?}");
}

#[test]
fn a_client_that_leaves_is_said_to_have_left() {
    let slow = Upstream::start(|_| reply(200, "late").after(std::time::Duration::from_secs(20)));
    let gateway = gateway(
        "access_log: {file: access.log, fields: [status, flags]}\nservices:\n  - {name: s, url: '${slow}', routes: [{name: s, paths: [/]}]}\n",
    )
    .url("slow", &slow)
    .start();
    let mut client = gateway.connect();
    client.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    eventually("the request arrived", || (!slow.requests().is_empty()).then_some(()));
    drop(client);
    let line = wait(&gateway.files.path("access.log"), 1).remove(0);
    assert_eq!(line, json!({"status": 499, "flags": ["client_closed"]}));
}

#[test]
fn a_sample_of_none_writes_none() {
    let gateway = gateway("access_log: {file: access.log, sample: 0}\nadmin: 127.0.0.1:0\n").start();
    assert_eq!(gateway.get("/x").status, 404);
    // Its metrics count it after the log was asked.
    counted(gateway.address_of("admin"), r#"gatewright_requests_total{route="",service="",status="404"} 1"#);
    assert_eq!(lines(&gateway.files.path("access.log")), [Value::Null; 0]);
}

#[test]
fn a_share_of_the_lines_is_written() {
    let mut gateway = gateway("access_log: {file: access.log, fields: [status], sample: 0.25}\n").start();
    ask(&mut gateway.connect(), 400);
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    let count = lines(&gateway.files.path("access.log")).len();
    // Of 400 with a share of a quarter: seven standard deviations on each side.
    assert!((40..=160).contains(&count), "{count}");
}

#[test]
fn the_log_is_opened_anew_by_usr1() {
    let gateway = gateway("access_log: {file: access.log, fields: [path]}\n").start();
    let (log, moved) = (gateway.files.path("access.log"), gateway.files.path("access.log.1"));
    gateway.get("/one");
    wait(&log, 1);
    fs::rename(&log, &moved).expect("a rename");
    gateway.get("/two");
    assert_eq!(wait(&moved, 2)[1], json!({"path": "/two"}));
    gateway.signal("USR1");
    eventually("the new file", || log.exists().then_some(()));
    gateway.get("/three");
    assert_eq!(wait(&log, 1), [json!({"path": "/three"})]);
    assert_eq!(lines(&moved).len(), 2);
}

#[test]
fn a_full_disk_loses_lines_and_counts_them() {
    let gateway = gateway("access_log: /dev/full\nadmin: 127.0.0.1:0\n").start();
    for _ in 0..3 {
        assert_eq!(gateway.get("/x").status, 404);
    }
    counted(gateway.address_of("admin"), "gatewright_access_log_lost_lines_total 3");
    gateway.log_contains("access log lines are being lost");
}

/// Requests on one connection, without waiting for answers in between.
fn ask(client: &mut Client, count: usize) {
    client.write("GET /x HTTP/1.1\r\nhost: a\r\n\r\n".repeat(count).as_bytes());
    for _ in 0..count {
        assert_eq!(client.read_answer().status, 404);
    }
}

#[test]
fn the_end_waits_for_the_last_lines() {
    let mut gateway = gateway("access_log: {file: access.log, fields: [status]}\n").start();
    let clients = 4;
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| (0..10).for_each(|_| ask(&mut gateway.connect(), 100)));
        }
    });
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    assert_eq!(lines(&gateway.files.path("access.log")).len(), clients * 1000);
}

/// Of a gateway whose standard output is a pipe that nobody reads.
#[test]
fn a_log_that_nobody_reads_holds_up_neither_signals_nor_the_end() {
    let folder = Files::new();
    // The shell holds both ends open.
    let pipe = "mkfifo \"$PIPE\"\nexec 3<>\"$PIPE\"\nexec 1>\"$PIPE\"";
    let mut gateway = gateway("access_log: stdout\nadmin: 127.0.0.1:0\n")
        .env("PIPE", folder.path("pipe").display().to_string())
        .after(pipe, Stdio::null())
        .start();
    let admin = gateway.address_of("admin");
    let lost = || {
        let text = Client::connect(admin).send(&Request::get("/metrics")).text();
        !text.contains("gatewright_access_log_lost_lines_total 0\n")
    };
    let mut client = gateway.connect();
    while !lost() {
        ask(&mut client, 500);
    }
    gateway.signal("USR1");
    gateway.signal("HUP");
    gateway.log_contains("\"reloaded\"");
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    gateway.log_contains("access log lines are lost: what they are written to does not take them");
}

fn counted(admin: std::net::SocketAddr, line: &str) {
    eventually(line, || {
        let text = Client::connect(admin).send(&Request::get("/metrics")).text();
        text.lines().any(|each| each == line).then_some(())
    });
}
