//! The command line: `gatewright ARGS` in a folder, run to its end.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
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
    program(Path::new(env!("CARGO_BIN_EXE_gatewright")))
}

/// A copy of the binary in a folder, written page by page. What a linker wrote at once may lie in large pieces in the system's cache of
/// files, and since 6.18 Linux maps all of a piece when a page of it is touched: that would count as the gateway's memory.
pub fn copy(folder: &Path) -> Command {
    let path = folder.join("gatewright");
    // Not written here: a process that another test starts meanwhile would hold it open, and then it can't be run.
    let (from, to) = (format!("if={}", env!("CARGO_BIN_EXE_gatewright")), format!("of={}", path.display()));
    let written = ended(Command::new("dd").args([&from, &to, "bs=4096"]));
    assert_eq!(written.code, 0, "{}", written.stderr);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a mode");
    program(&path)
}

fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_remove("GATEWRIGHT_CONFIG").env_remove("GATEWRIGHT_LOG").env_remove("REDIS_URL").env("NO_COLOR", "1");
    command
}

/// The binary with SIGINT as a terminal gives it: a run of the tests in the background of a script is started with it ignored, and
/// that is inherited (POSIX, Shell Command Language, 2.11).
pub fn interruptible(args: &[&str]) -> Command {
    let mut env = Command::new("env");
    let binary = binary();
    env.arg("--default-signal=INT").arg(binary.get_program()).args(args);
    with_settings(env, &binary)
}

/// A shell that is given the binary as `"$@"`.
pub fn shell(commands: &str) -> Command {
    let mut shell = Command::new("sh");
    let binary = binary();
    shell.args(["-c", commands, "sh"]).arg(binary.get_program());
    with_settings(shell, &binary)
}

/// What starts the binary, with the settings that the binary is to have.
fn with_settings(mut command: Command, binary: &Command) -> Command {
    for (name, value) in binary.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

pub fn ended(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}
