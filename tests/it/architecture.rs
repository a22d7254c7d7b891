//! Which part may use which, read from the sources: arrows go down the list only.

use crate::support::repository;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A part of `src/`, those it may use, and why it needs them.
const ALLOWED: &[(&str, &[&str], &str)] = &[
    ("memory", &[], "allocates and counts, below everything"),
    ("config", &[], "what the user wrote; knows nothing of what runs"),
    ("http", &[], "heads and bodies; knows nothing of the rest"),
    ("crypto", &[], "tokens and digests; pure functions"),
    ("store", &[], "counters and values; knows neither HTTP nor scripts"),
    ("timer", &[], "one timer for many waits"),
    ("http1", &["http"], "HTTP/1.1 as bytes, by the rules of http"),
    ("http2", &["http"], "streams of HTTP/2, by the rules of http"),
    ("downstream", &["http", "http1", "http2", "timer"], "connections of clients, with bodies and refusals of http"),
    ("upstream", &["http", "http1", "http2", "timer"], "connections to targets, with bodies of http"),
    ("observe", &[], "counts, and where lines are written to; knows nothing of what it is told about"),
    (
        "balance",
        &["config", "upstream"],
        "health, breakers and balancing, by the rules that the user wrote; names of targets",
    ),
    (
        "script",
        &["crypto", "http", "memory", "observe", "store"],
        "both engines and the host's modules, which are made of these; calls are spans",
    ),
    (
        "gateway",
        &["config", "http", "script", "upstream"],
        "a generation: configuration and compiled scripts, routed; the TLS settings of targets",
    ),
    (
        "proxy",
        &["balance", "config", "downstream", "gateway", "http", "http1", "observe", "script", "store", "upstream"],
        "the life of an exchange uses all that serves it",
    ),
    (
        "admin",
        &["balance", "config", "crypto", "gateway", "observe", "proxy", "run", "script", "upstream"],
        "asks the process; `run` is named for its answer only",
    ),
    (
        "run",
        &["admin", "balance", "config", "gateway", "observe", "proxy", "store", "upstream"],
        "the process: starts workers, keeps names fresh, and replaces generations",
    ),
    (
        "harness",
        &["config", "gateway", "observe", "proxy", "script", "store"],
        "runs whole gateways for the test files of scripts",
    ),
    (
        "cli",
        &["config", "crypto", "gateway", "harness", "http", "memory", "observe", "proxy", "run", "script", "store"],
        "commands are the outermost layer",
    ),
    ("main", &[], "calls the command line"),
];

/// Crates that are named in one folder only.
const ENGINES: &[(&str, &str)] =
    &[("mlua", "src/script/lua"), ("rhai", "src/script/rhai"), ("corosensei", "src/script/rhai")];

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&repository("src"), &mut found);
    found.sort();
    assert!(found.len() > 100, "only {} files", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn short(path: &Path) -> String {
    path.strip_prefix(repository("")).unwrap_or(path).display().to_string()
}

/// The part that a file belongs to: its folder below `src/`, or its own name there.
fn part(path: &Path) -> String {
    let short = short(path);
    let below = short.strip_prefix("src/").unwrap_or(&short);
    below.split('/').next().unwrap_or(below).trim_end_matches(".rs").to_owned()
}

/// Code without comments, and without the tests at its end, which may use what they like.
fn code(text: &str) -> String {
    let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    own.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The parts that a text names by `crate::X` or within `use crate::{…}`.
fn used(code: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(group) => parts.extend(group_names(group)),
            None => parts.push(first_name(after)),
        }
    }
    parts.sort();
    parts.dedup();
    parts
}

fn first_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first names at the top level of a group of imports.
fn group_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut expected = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expected = true,
            c if expected && c.is_alphabetic() => {
                names.push(first_name(&group[at..]));
                expected = false;
            }
            _ => {}
        }
    }
    names
}

fn is_test(path: &Path) -> bool {
    let short = short(path);
    short.contains("/tests/") || short.ends_with("/tests.rs") || short.ends_with("/fixture.rs")
}

#[test]
fn parts_use_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for path in sources().iter().filter(|path| !is_test(path)) {
        let part = part(path);
        if part == "lib" {
            continue;
        }
        let Some((_, allowed, _)) = ALLOWED.iter().find(|(name, ..)| *name == part) else {
            wrong.push(format!("{}: the part `{part}` is not in the table", short(path)));
            continue;
        };
        for other in used(&code(&fs::read_to_string(path).expect("a source"))) {
            let is_part = ALLOWED.iter().any(|(name, ..)| *name == other);
            if is_part && other != part && !allowed.contains(&other.as_str()) {
                wrong.push(format!("{}: `{part}` may not use `{other}`", short(path)));
            }
        }
    }
    assert_eq!(wrong, [""; 0], "{}", wrong.join("\n"));
}

/// A line of the table that nothing needs would allow what nobody wanted.
#[test]
fn the_table_allows_nothing_that_is_not_used() {
    let uses: Vec<(String, Vec<String>)> = sources()
        .iter()
        .filter(|path| !is_test(path))
        .map(|path| (part(path), used(&code(&fs::read_to_string(path).expect("a source")))))
        .collect();
    for (part, allowed, _) in ALLOWED {
        for other in *allowed {
            let is_used = uses.iter().any(|(user, used)| user == part && used.iter().any(|name| name == other));
            assert!(is_used, "nothing in `{part}` uses `{other}`");
        }
    }
}

#[test]
fn engines_are_named_in_their_folders_only() {
    let mut wrong = Vec::new();
    for path in sources() {
        let code = code(&fs::read_to_string(&path).expect("a source"));
        for (engine, folder) in ENGINES {
            let named = code.contains(&format!("use {engine}::")) || names_crate(&code, engine);
            if named && !short(&path).starts_with(folder) {
                wrong.push(format!("{}: `{engine}` belongs to {folder}", short(&path)));
            }
        }
    }
    assert_eq!(wrong, [""; 0], "{}", wrong.join("\n"));
}

/// Whether `engine::` stands there as a crate, and not as our module of the same name, which a file then imports.
fn names_crate(code: &str, engine: &str) -> bool {
    let imports = code.split("use crate::").skip(1).filter_map(|rest| rest.split(';').next());
    let is_word = |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == engine);
    if imports.into_iter().any(is_word) {
        return false;
    }
    code.match_indices(&format!("{engine}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        before != ':' && !before.is_alphanumeric() && before != '_'
    })
}

#[test]
fn no_file_is_named_for_nothing() {
    for path in sources() {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for empty in ["util", "utils", "helper", "helpers", "manager", "common", "misc", "data", "info"] {
            assert_ne!(name, empty, "{}", short(&path));
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = sources()
        .iter()
        .filter(|path| !fs::read_to_string(path).expect("a source").starts_with("//!"))
        .map(|path| short(path))
        .collect();
    assert_eq!(silent, [""; 0]);
}

#[test]
fn scanning_finds_parts_in_groups_and_paths() {
    let code = "use crate::{\n    config::{A, B},\n    http::Body,\n};\nfn f(x: crate::store::Y) {}";
    assert_eq!(used(code), ["config", "http", "store"]);
}
