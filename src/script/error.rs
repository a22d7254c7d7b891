//! What can go wrong in a script, and how it is told.
//!
//! [`Raise`] is what a host function throws into a script; [`ScriptError`] is what comes out of a script that
//! failed. The author sees file, line, column, the source line and a short stack, in the log; the client only a status and the id.

use super::{Hook, Reply, Value};
use std::{fmt, path::PathBuf};

/// Thrown by a host function into the script that called it.
#[derive(Debug)]
pub enum Raise {
    /// An error the script may catch.
    Error(String),
    /// Ends the hook with this reply, from any depth.
    Reply(Box<Reply>),
}

impl Raise {
    pub fn error(message: impl Into<String>) -> Raise {
        Raise::Error(message.into())
    }

    pub fn argument(index: usize, expected: &str, got: &Value) -> Raise {
        Raise::Error(format!("argument {}: expected {expected}, got {}", index + 1, got.type_name()))
    }
}

impl fmt::Display for Raise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raise::Error(message) => f.write_str(message),
            Raise::Reply(reply) => write!(f, "reply {}", reply.status.as_u16()),
        }
    }
}

/// The limits of §4 of the contract that a hook can hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// CPU time of one hook call.
    Cpu,
    /// The exchange's deadline.
    Wall,
    Memory,
    /// Depth of calls.
    Depth,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not compile.
    Syntax,
    /// A hook or `on_load` raised an error.
    Runtime,
    /// A hook returned something that is not a reply.
    Returned,
    Limit(Limit),
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("{}:{line}:{column}: {message}", file.display())]
pub struct ScriptError {
    pub fault: Fault,
    /// Without position and stack.
    pub message: String,
    pub file: PathBuf,
    /// From 1; 0 when it is not known.
    pub line: usize,
    /// From 1; 0 when it is not known.
    pub column: usize,
    /// The text of the line.
    pub source_line: String,
    pub hook: Option<Hook>,
    /// Innermost call first, at most ten.
    pub stack: Vec<String>,
    /// A way to mend it, when one is known.
    pub help: Option<String>,
    /// What else was found in the file without running it.
    pub also: Vec<ScriptError>,
}
