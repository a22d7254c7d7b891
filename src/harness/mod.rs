//! Runs the test files of scripts.
//!
//! [`Suite`] is a file's cases. Each runs with a [`case`] of its own (clock, stores, log) and the gateways that it makes ([`gateway`]):
//! real workers that serve from memory, before upstreams ([`upstream`]) that answer what the case declared ([`fakes`]). Nothing
//! here knows of the command line or prints.

mod case;
mod fakes;
mod find;
mod gateway;
mod logs;
mod suite;
mod upstream;

pub use find::find;
pub use suite::{Failure, Outcome, Suite};
