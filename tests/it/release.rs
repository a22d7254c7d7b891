//! How release builds are made: what `.cargo` puts before the compilers hands them a profile, if there is one that was taken with them.

use crate::support::{command::ended, gateway::Files, repository};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::Command,
};

/// A compiler that says which one it is, or else what it is asked to do.
const COMPILER: &str = r#"#!/bin/sh
case "$*" in
    -vV) printf 'rustc 1.95.0 (59807616e 2026-04-14)\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n' ;;
    -dumpfullversion) echo 12.2.0 ;;
    *) echo "$@" ;;
esac
"#;

/// What the compiler is asked by a wrapper that has one profile.
fn asked(wrapper: &str, profile: &str, count: &str, arguments: &[&str]) -> String {
    let files = Files::new();
    let text = fs::read_to_string(repository(&format!(".cargo/{wrapper}"))).expect("the wrapper");
    for (name, text) in [("wrapper", &*text), ("c++", COMPILER)] {
        files.write(name, text);
        fs::set_permissions(files.path(name), Permissions::from_mode(0o755)).expect("a mode");
    }
    files.write(&format!("profiles/{profile}"), "");
    let path = format!("{}:{}", files.folder().display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(files.path("wrapper"));
    if wrapper == "rustc" {
        command.arg("c++");
    }
    command.env("PATH", path).env("GATEWRIGHT_COUNT", count).args(arguments);
    let ended = ended(&mut command);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let folder = files.folder().canonicalize().expect("a folder");
    ended.stdout.trim().replace(&format!("{}/profiles", folder.display()), "")
}

#[test]
fn rustc_gets_the_profile_that_was_taken_with_it() {
    let (own, release) = ("rustc-1.95.0-llvm-22.1.2.profdata", ["a.rs", "-C", "opt-level=3"]);
    let by_profile = "a.rs -C opt-level=3 -Cprofile-use=/rustc-1.95.0-llvm-22.1.2.profdata \
                      -Cllvm-args=-no-pgo-warn-mismatch";
    for (profile, count, arguments, expected) in [
        (own, "", &release[..], by_profile),
        ("rustc-1.96.0-llvm-22.1.2.profdata", "", &release, "a.rs -C opt-level=3"),
        ("rustc-1.95.0-llvm-21.1.0.profdata", "", &release, "a.rs -C opt-level=3"),
        (own, "", &["a.rs", "-C", "opt-level=2"], "a.rs -C opt-level=2"),
        (own, "", &["a file.rs"], "a file.rs"),
        (own, "1", &release, "a.rs -C opt-level=3 -Cprofile-generate -Clink-arg=-lgcov"),
    ] {
        assert_eq!(asked("rustc", profile, count, arguments), expected, "with {profile}");
    }
}

#[test]
fn a_cpp_compiler_gets_the_profile_of_a_file_of_luau() {
    let (own, release) = ("g++-12.2.0/lapi.gcda", ["-O3", "-c", "/luau/VM/src/lapi.cpp"]);
    let plain = "-O3 -c /luau/VM/src/lapi.cpp";
    let by_profile = format!(
        "{plain} -fprofile-use=/g++-12.2.0/lapi.gcda -fprofile-partial-training -fprofile-correction \
         -Wno-coverage-mismatch -Wno-missing-profile"
    );
    for (profile, count, arguments, expected) in [
        (own, "", &release[..], &*by_profile),
        ("g++-13.1.0/lapi.gcda", "", &release, plain),
        ("g++-12.2.0/lgc.gcda", "", &release, plain),
        (own, "", &["-O2", "-c", "/luau/VM/src/lapi.cpp"], "-O2 -c /luau/VM/src/lapi.cpp"),
        (own, "", &["-O3", "-c", "/other/lapi.cpp"], "-O3 -c /other/lapi.cpp"),
        (own, "", &[], ""),
        (own, "1", &release, &format!("{plain} -fprofile-generate")),
    ] {
        assert_eq!(asked("c++", profile, count, arguments), expected, "with {profile}");
    }
}

/// Of the assertions of Luau, which are compiled with their texts.
const ASSERTION: &[u8] = b"page->busyBlocks == 1";

#[test]
fn luau_checks_what_it_is_given_in_development_builds_only() {
    let program = fs::read(env!("CARGO_BIN_EXE_gatewright")).expect("the program");
    let checks = memchr::memmem::find(&program, ASSERTION).is_some();
    assert_eq!(checks, cfg!(debug_assertions));
}
