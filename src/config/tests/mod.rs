//! Cases as data: `cases/*.txt` hold a YAML text and what comes of it, as people read it.
//!
//! A case is `=== title`, the text, `>>>`, the outcome. `UPDATE_CASES=1 cargo test config` writes the outcomes anew;
//! read the diff before committing it.

mod cases;
mod kong;
mod shape;
mod yaml;

use std::path::Path;

use super::{Config, Loaded, Source, Style, load_source};

/// A few variables; everything else is unset.
pub(in crate::config) fn env(name: &str) -> Option<String> {
    let value = match name {
        "SECRET" => "hunter2-hunter2",
        "DIGITS" => "007",
        "LONG_DIGITS" => "0012345678",
        "PORT" => "9001",
        "EMPTY" => "",
        "BAD_URL" => "http://user:hunter2@db",
        "BAD_REGEX" => "~/hunter2(",
        _ => return None,
    };
    Some(value.to_owned())
}

pub(in crate::config) fn load_text(yaml: &str) -> Loaded {
    load_source(&Source::new("gateway.yaml", yaml), None, &env)
}

/// The configuration of a text without mistakes.
pub(in crate::config) fn good(yaml: &str) -> Config {
    let loaded = load_text(yaml);
    assert_eq!(loaded.diagnostics.render(Style::Plain), "", "{yaml}");
    loaded.config.expect("a configuration")
}

/// Runs `check` over every case of a file and compares; returns how many there were.
pub(in crate::config) fn run_cases(file: &str, check: impl Fn(&str) -> String) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests/cases").join(file);
    let text = std::fs::read_to_string(&path).expect(file);
    let mut rewritten = String::new();
    let mut failed = Vec::new();
    let mut count = 0;
    for case in text.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (input, expected) = rest.split_once("\n>>>\n").unwrap_or((rest, ""));
        let found = check(input);
        if found.trim_end() != expected.trim_end() {
            failed.push(format!("=== {title}\nexpected:\n{expected}\nfound:\n{found}\n"));
        }
        rewritten.push_str(&format!("=== {title}\n{input}\n>>>\n{}\n\n", found.trim_end()));
        count += 1;
    }
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(&path, rewritten).expect(file);
    } else {
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }
    count
}
