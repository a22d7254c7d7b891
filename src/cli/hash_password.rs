//! `hash-password`: a password from standard input, as `basic-auth` and `crypto.verify_password` take it.
//!
//! Never as an argument: those stand in the shell's history and in the list of processes.

use crate::crypto::password;
use anyhow::{Context, bail};
use std::{
    io::{IsTerminal, stdin},
    process::ExitCode,
};

pub fn hash_password(iterations: i64) -> anyhow::Result<ExitCode> {
    let iterations = password::iterations(iterations)?;
    if stdin().is_terminal() {
        eprintln!("the password, then Enter (it is shown):");
    }
    let mut line = String::new();
    stdin().read_line(&mut line).context("can't read the password")?;
    let given = line.trim_end_matches(['\n', '\r']);
    if given.is_empty() {
        bail!("there is no password on standard input");
    }
    println!("{}", password::store(given.as_bytes(), iterations)?);
    Ok(ExitCode::SUCCESS)
}
