//! Examples that are settings alone, or need certificates: they are checked, and what has scripts is run.

use super::folders;
use crate::support::{
    Upstream,
    certificates::{Authority, Issued},
    command::{binary, ended},
    curl::https,
    gateway,
    gateway::Files,
    repository,
};
use std::fs;

/// Without a script, so that nothing of theirs is run here: the tests of what they set are elsewhere.
pub const SETTINGS: [&str; 4] = ["aggregate", "failing-targets", "grpc", "tracing"];

#[test]
fn every_example_passes_check() {
    let certificates = Files::new();
    let authority = Authority::new("ours");
    issue(&certificates, "server", &authority.server(&["lua.localhost"]));
    certificates.write("ca.pem", &authority.pem());
    for folder in folders() {
        let mut command = binary();
        command.current_dir(repository("examples")).arg("check").arg(format!("{folder}/gateway.yaml"));
        command.env("TLS_DIR", certificates.folder());
        for name in ["JWT_SECRET", "WEBHOOK_SECRET", "MAINTENANCE_PASS", "SIGNING_SECRET", "CHALLENGE_SECRET"] {
            command.env(name, "a secret of more than thirty-two bytes");
        }
        let ended = ended(&mut command);
        let lines: Vec<&str> = ended.stdout.lines().collect();
        assert_eq!(ended.code, 0, "{folder}: {}{}", ended.stdout, ended.stderr);
        // Below it stands what each plugin may reach.
        assert!(lines[0].contains("gateway.yaml: fine: "), "{folder}: {}", ended.stdout);
        let scripts = fs::read_dir(repository("examples").join(&folder)).expect("the example");
        let scripts = scripts.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name() != "gateway.yaml"));
        assert_eq!(scripts.count() == 0, SETTINGS.contains(&folder.as_str()), "{folder}");
    }
}

#[test]
fn a_file_of_kong_s_passes_check_as_it_stands() {
    let ended = ended(binary().current_dir(repository("examples/kong")).args(["check", "kong.yml"]));
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "kong.yml: fine: 3 routes, 2 services, 0 scripts in use\n"));
}

fn issue(files: &Files, name: &str, issued: &Issued) {
    files.write(&format!("{name}.pem"), &issued.cert);
    files.write(&format!("{name}.key"), &issued.key);
}

#[test]
fn machines_are_known_by_their_certificates() {
    let (authority, files) = (Authority::new("ours"), Files::new());
    files.write("ca.pem", &authority.pem());
    issue(&files, "server", &authority.server(&["lua.localhost", "rhai.localhost"]));
    issue(&files, "till-1", &authority.client("till-1", "Shop"));
    issue(&files, "till-9", &authority.client("till-9", "Shop"));
    issue(&files, "theirs", &authority.client("till-1", "Shop, Inc."));
    let service = Upstream::json("{}");
    let text = |name: &str| fs::read_to_string(repository("examples/client-certificates").join(name)).expect("a file");
    let gateway = gateway(&text("gateway.yaml"))
        .file("machines.lua", &text("machines.lua"))
        .file("machines.rhai", &text("machines.rhai"))
        .env("LISTEN", "127.0.0.1:0")
        .env("TLS_DIR", files.folder().display().to_string())
        .url("BACKEND", &service)
        .start();
    for host in ["lua.localhost", "rhai.localhost"] {
        let ask = |client: &str| {
            let path = |ending: &str| files.path(&format!("{client}.{ending}")).display().to_string();
            let (cert, key) = (path("pem"), path("key"));
            let forged = "x-client-name: till-2";
            https(&files, gateway.address(), host, "/", &["--cert", &cert, "--key", &key, "--header", forged])
        };
        ask("till-1").has(" 200");
        let received = service.requests().pop().expect("a request");
        assert_eq!(received.header("x-client-name"), Some("till-1"), "{host}");
        ask("till-9").has(" 403").has("not for this machine");
        ask("theirs").has(" 403");
        https(&files, gateway.address(), host, "/", &[]).failed();
    }
    assert_eq!(service.requests().len(), 2);
}
