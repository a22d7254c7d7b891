//! gRPC with the official Python client and server, of which the gateway knows nothing but where a call's outcome stands.

use crate::support::{
    Gateway, Upstream, certificates::Authority, gateway, gateway::Files, gateway::Given, gateway::Log, python::python,
};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Child, Stdio},
};

const YAML: &str = "
workers: 1
services:
  - {name: calls, url: '${up}', protocol: grpc, routes: [{paths: [/test.Echo], strip_path: false}]}
";

/// A Python server; it ends with the value.
struct Server {
    process: Child,
    said: Log,
    port: String,
}

impl Server {
    fn start(args: &[&Path]) -> Server {
        let mut command = python("grpc/server.py");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("a Python");
        let said = Log::default();
        said.follow(process.stdout.take().expect("a pipe"));
        let line = said.contains("listening ");
        let port = line.trim_start_matches("listening ").to_owned();
        Server { process, said, port }
    }

    fn gateway(&self) -> Given {
        gateway(YAML).env("up", format!("http://127.0.0.1:{}", self.port))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs one case of `client.py` to its end.
fn client(case: &str, gateway: &Gateway) -> Value {
    finish(begin(case, gateway, None))
}

fn begin(case: &str, gateway: &Gateway, authority: Option<&Path>) -> Child {
    let mut command = python("grpc/client.py");
    command.arg(case).arg(gateway.address().to_string()).args(authority);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a Python")
}

fn finish(client: Child) -> Value {
    // Ends its standard input first.
    let output = client.wait_with_output().expect("its end");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

fn answered() -> Value {
    json!({
        "answer": "HELLO",
        "code": "OK",
        "initial": {"x-first": "yes", "x-data-bin": "base64 AAH+"},
        "trailing": {"x-last": "over", "x-last-bin": "base64 AP8="},
    })
}

#[test]
fn messages_and_metadata_pass_both_ways() {
    let server = Server::start(&[]);
    let gateway = server.gateway().start();
    assert_eq!(client("unary", &gateway), answered());
    let streams = json!({
        "gathered": "a b c",
        "scattered": ["message 0", "message 1", "message 2"],
        "none": [],
    });
    assert_eq!(client("streams", &gateway), streams);
    assert_eq!(client("large", &gateway), json!({"length": 4 << 20, "same": true}));
}

#[test]
fn a_conversation_is_not_held_back() {
    let server = Server::start(&[]);
    let gateway = server.gateway().start();
    let heard = json!({"heard": ["re: one", "re: two", "re: three"], "rest": [], "code": "OK"});
    assert_eq!(client("talk", &gateway), heard);
}

#[test]
fn an_error_of_the_server_arrives_with_its_details() {
    let server = Server::start(&[]);
    let gateway = server.gateway().start();
    let failed = json!({
        "code": "FAILED_PRECONDITION",
        "details": "50 % of it: ärgerlich\nreally",
        "trailing": {"x-last": "failed", "grpc-status-details-bin": "base64 CAkSAm5v"},
    });
    assert_eq!(client("fail", &gateway), failed);
    assert_eq!(client("missing", &gateway)["code"], "UNIMPLEMENTED");
}

#[test]
fn a_deadline_and_a_cancellation_reach_the_server() {
    let server = Server::start(&[]);
    let gateway = server.gateway().start();
    assert_eq!(client("deadline", &gateway), json!({"heard": ["begun"], "code": "DEADLINE_EXCEEDED"}));
    server.said.contains("ended deadline");
    let client = begin("cancel", &gateway, None);
    server.said.contains("ended cancel");
    assert_eq!(finish(client), json!({"heard": ["begun"], "code": "CANCELLED"}));
}

#[test]
fn an_answer_that_breaks_off_ends_with_a_status() {
    let server = Server::start(&[]);
    let yaml = YAML.replace("protocol: grpc", "protocol: grpc, read_timeout: 300ms");
    let gateway = gateway(&yaml).env("up", format!("http://127.0.0.1:{}", server.port)).start();
    let stalled = json!({"heard": ["begun"], "code": "DEADLINE_EXCEEDED", "details": "the answer broke off"});
    assert_eq!(client("stalled", &gateway), stalled);
}

#[test]
fn a_failure_of_the_gateway_is_a_status_of_the_call() {
    let dead = gateway(YAML).url("up", &Upstream::dead()).start();
    let failed = client("fail", &dead);
    assert_eq!(failed["code"], "UNAVAILABLE", "{failed}");
    assert_eq!(failed["trailing"], json!({}));
    let nowhere = gateway("routes: [{paths: [/other], plugins: [{script: a.lua}]}]")
        .file("a.lua", "return {handle = function() return reply.text(200, 'hi') end}")
        .start();
    let failed = client("fail", &nowhere);
    assert_eq!(failed["code"], "UNIMPLEMENTED", "{failed}");
    assert_eq!(failed["details"], "no route matches POST /test.Echo/Fail");
}

#[test]
fn tls_on_both_sides_changes_nothing() {
    let (authority, files) = (Authority::new("ours"), Files::new());
    let issued = authority.server(&["127.0.0.1"]);
    files.write("ca.pem", &authority.pem());
    files.write("server.pem", &issued.cert);
    files.write("server.key", &issued.key);
    let server = Server::start(&[&files.path("server.pem"), &files.path("server.key")]);
    let listen = "listen: [{address: '127.0.0.1:0', tls: {cert: server.pem, key: server.key}}]\n";
    let yaml = format!("{listen}{}", YAML.replace("protocol: grpc", "protocol: grpcs, tls: {ca: ca.pem}"));
    let gateway = gateway(&yaml)
        .env("up", format!("https://127.0.0.1:{}", server.port))
        .file("ca.pem", &authority.pem())
        .file("server.pem", &issued.cert)
        .file("server.key", &issued.key)
        .start();
    let ca = files.path("ca.pem");
    assert_eq!(finish(begin("unary", &gateway, Some(&ca))), answered());
    assert_eq!(finish(begin("talk", &gateway, Some(&ca)))["code"], "OK");
}
