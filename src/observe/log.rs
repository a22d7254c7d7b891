//! The program's own log, on standard error: readable on a terminal, JSON otherwise.
//!
//! `GATEWRIGHT_LOG` chooses what is shown (`info` by default; `debug`, `gatewright::proxy=debug`, …).

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// `readable`: plain lines even where there is no terminal, as `gatewright dev` wants them.
pub fn start(readable: bool) {
    let filter = EnvFilter::try_from_env("GATEWRIGHT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let terminal = std::io::stderr().is_terminal();
    // Only the first subscriber of a process counts: tests start several gateways.
    let _ = if readable || terminal {
        builder.with_ansi(terminal).with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}
