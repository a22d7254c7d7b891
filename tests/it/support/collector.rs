//! A collector of traces: OpenTelemetry's own Python package decodes what the gateway exports.

use super::{gateway::Log, python::python};
use serde_json::Value;
use std::process::{Child, ChildStdin, Stdio};

pub struct Collector {
    process: Child,
    // It ends when this closes.
    _input: ChildStdin,
    output: Log,
}

impl Collector {
    pub fn start() -> Collector {
        let mut command = python("otlp/receiver.py");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python");
        let output = Log::default();
        output.follow(process.stdout.take().expect("a pipe"));
        let input = process.stdin.take().expect("a pipe");
        output.contains("\"port\"");
        Collector { process, _input: input, output }
    }

    pub fn url(&self) -> String {
        let first: Value = serde_json::from_str(&self.output.contains("\"port\"")).expect("JSON");
        format!("http://127.0.0.1:{}", first["port"])
    }

    /// What has been posted so far.
    pub fn posts(&self) -> Vec<Value> {
        posts(&self.output.lines())
    }

    /// Waits until there are this many spans.
    pub fn spans(&self, count: usize) -> Vec<Value> {
        self.output.wait(&format!("fewer than {count} spans came"), |lines| {
            let posts = posts(lines);
            let spans: Vec<Value> =
                posts.iter().flat_map(|post| post["spans"].as_array().into_iter().flatten().cloned()).collect();
            (spans.len() >= count).then_some(spans)
        })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn posts(lines: &[String]) -> Vec<Value> {
    lines.iter().skip(1).filter_map(|line| serde_json::from_str(line).ok()).collect()
}
