//! The command line: `gatewright ARGS` in a folder, run to its end.

use std::{
    path::Path,
    process::{Command, Output},
};

/// How a command ended and what it printed.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `gatewright` in a folder.
pub fn gatewright(folder: &Path, args: &[&str]) -> Ended {
    ended(binary().current_dir(folder).args(args))
}

/// The real binary, without settings of the machine that runs the tests.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewright"));
    command.env_remove("GATEWRIGHT_CONFIG").env_remove("GATEWRIGHT_LOG").env_remove("REDIS_URL").env("NO_COLOR", "1");
    command
}

/// A shell that is given the binary as `"$@"`.
pub fn shell(commands: &str) -> Command {
    let mut shell = Command::new("sh");
    let binary = binary();
    shell.args(["-c", commands, "sh"]).arg(binary.get_program());
    for (name, value) in binary.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

pub fn ended(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}
