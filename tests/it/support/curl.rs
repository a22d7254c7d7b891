//! curl, for what a client written by hand should not be trusted with: TLS and HTTP/2.

use super::{command, gateway::Files};
use std::{net::SocketAddr, process::Command};

/// What curl saw.
#[derive(Debug)]
pub struct Seen {
    pub code: i32,
    /// The answers with their heads, in the order in which they came.
    pub text: String,
    pub errors: String,
}

impl Seen {
    pub fn has(&self, text: &str) -> &Seen {
        assert!(self.text.contains(text), "no `{text}`: {self:#?}");
        self
    }

    pub fn lacks(&self, text: &str) -> &Seen {
        assert!(!self.text.contains(text), "`{text}`: {self:#?}");
        self
    }

    /// The handshake or the connection failed, and nothing was answered.
    pub fn failed(&self) {
        assert!(self.code != 0 && !self.errors.is_empty() && !self.text.contains("HTTP/"), "{self:#?}");
    }
}

/// Asks with these arguments.
pub fn curl(args: &[&str]) -> Seen {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "25", "--noproxy", "*"]).args(args);
    let ended = command::ended(&mut command);
    Seen { code: ended.code, text: ended.stdout.replace("\r\n", "\n"), errors: ended.stderr }
}

/// Asks `https://NAME/PATH` of an address, trusting the authority in the folder's `ca.pem`.
pub fn https(files: &Files, address: SocketAddr, name: &str, path: &str, args: &[&str]) -> Seen {
    let ca = files.path("ca.pem").display().to_string();
    let resolve = format!("{name}:{}:127.0.0.1", address.port());
    let url = format!("https://{name}:{}{path}", address.port());
    let mut all = vec!["--cacert", &ca, "--resolve", &resolve];
    all.extend(args);
    all.push(&url);
    curl(&all)
}
