//! How release builds are made: `.cargo/rustc` hands the compiler a profile, if there is one that was taken with it.

use crate::support::{command::ended, gateway::Files, repository};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::Command,
};

const COMPILER: &str = "#!/bin/sh
if [ \"$*\" = -vV ]; then
    printf 'rustc 1.95.0 (59807616e 2026-04-14)\\nhost: x86_64-unknown-linux-gnu\\nrelease: 1.95.0\\nLLVM version: 22.1.2\\n'
else
    echo \"$@\"
fi
";

/// What a compiler is asked by the wrapper that has this profile.
fn asked(profile: &str, count: &str, arguments: &[&str]) -> String {
    let files = Files::new();
    for (name, text) in
        [("rustc", &*fs::read_to_string(repository(".cargo/rustc")).expect("the wrapper")), ("compiler", COMPILER)]
    {
        files.write(name, text);
        fs::set_permissions(files.path(name), Permissions::from_mode(0o755)).expect("a mode");
    }
    files.write(&format!("profiles/{profile}"), "");
    let mut command = Command::new(files.path("rustc"));
    command.current_dir(files.folder()).env("GATEWRIGHT_COUNT", count).arg(files.path("compiler")).args(arguments);
    let ended = ended(&mut command);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    ended.stdout.trim().replace(&files.folder().display().to_string(), "")
}

#[test]
fn a_compiler_gets_the_profile_that_was_taken_with_it() {
    let (own, release) = ("rustc-1.95.0-llvm-22.1.2.profdata", ["a.rs", "-C", "opt-level=3"]);
    let by_profile = "a.rs -C opt-level=3 -Cprofile-use=/profiles/rustc-1.95.0-llvm-22.1.2.profdata \
                      -Cllvm-args=-no-pgo-warn-mismatch";
    assert_eq!(asked(own, "", &release), by_profile);
    for (profile, count, arguments, expected) in [
        ("rustc-1.96.0-llvm-22.1.2.profdata", "", &release[..], "a.rs -C opt-level=3"),
        ("rustc-1.95.0-llvm-21.1.0.profdata", "", &release, "a.rs -C opt-level=3"),
        (own, "", &["a.rs", "-C", "opt-level=2"], "a.rs -C opt-level=2"),
        (own, "", &["a file.rs"], "a file.rs"),
        (own, "1", &release, "a.rs -C opt-level=3 -Cprofile-generate -Clink-arg=-lgcov"),
    ] {
        assert_eq!(asked(profile, count, arguments), expected, "with {profile}");
    }
}
