//! HTTP messages as a gateway sees them: bodies, targets, and the rules that protect both neighbours from each other.
//!
//! Every file holds one rule set and its sources: [`police`] refuses heads that two parties could read differently,
//! [`path`] normalises the target once, [`hop`] removes what belongs to one connection, [`forwarded`] and [`identity`]
//! decide what a client may claim about itself, [`content`] and [`encoding`] keep a body and its headers in step, [`passed`] and
//! [`response_headers`] let a head be that nobody looks at, [`deadline`] reads how long a client waits.
//! Nothing here performs input or output, and nothing here knows of routes, scripts or targets.

pub mod body;
pub mod content;
pub mod cookies;
pub mod deadline;
pub mod encoding;
pub mod forwarded;
pub mod h2;
pub mod hop;
pub mod identity;
pub mod passed;
pub mod path;
pub mod police;
pub mod query;
pub mod received;
pub mod response_headers;
pub mod trace;
pub mod trailers;

pub use body::{Body, BodyError};
pub use path::{BadPath, NormalPath};

use std::fmt;

/// Whose fault a failure is. It decides the status class, the log level, and which counters move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The client sent something wrong, too slowly, or went away.
    Client,
    /// The target answered wrongly, too late, or not at all.
    Upstream,
    /// The gateway itself is at fault.
    Gateway,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Client => "client",
            Fault::Upstream => "upstream",
            Fault::Gateway => "gateway",
        })
    }
}
