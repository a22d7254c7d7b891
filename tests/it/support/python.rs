//! The Python of the tests, which has the official clients that `tests/requirements.txt` names. `tests/run` makes it.

use super::repository;
use std::process::Command;

/// A Python that runs `script`, of the folder `tests/it`.
pub fn python(script: &str) -> Command {
    let python = repository("target/venv/bin/python");
    assert!(python.exists(), "{} is not there: `tests/run` makes it", python.display());
    let mut command = Command::new(python);
    command.arg(repository("tests/it").join(script));
    command
}
