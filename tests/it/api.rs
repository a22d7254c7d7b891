//! Every function that scripts can call, called in both languages, with a real Redis and a real service.
//!
//! The calls and what must come of them stand in `api/`; many others are called by the tests of their own subjects. That
//! none is called nowhere is held here too, by the generated reference.

use crate::support::{Request, Upstream, command::gatewright, gateway, redis::redis, reply, repository};
use std::{collections::BTreeSet, fs, path::Path};

const PARTS: [&str; 7] = ["strings", "hashes", "lists", "calls", "text", "tokens", "objects"];

#[test]
fn functions_do_what_the_reference_says_in_both_languages() {
    let upstream = Upstream::start(|request| {
        reply(200, format!("{} {} {}", request.method, request.target, String::from_utf8_lossy(&request.body)))
            .header("x-one", "1")
    });
    let redis = redis();
    let yaml = format!(
        "redis: {}\nservices:\n  - {{name: s, url: '${{s}}', routes: [\n    {{name: lua, paths: ['/lua/{{id}}'], plugins: [{{script: calls.lua}}]}},\n    {{name: rhai, paths: ['/rhai/{{id}}'], plugins: [{{script: calls.rhai}}]}}]}}",
        redis.url()
    );
    let given = gateway(&yaml).url("s", &upstream);
    let given = given.file("calls.lua", include_str!("api/calls.lua"));
    let gateway = given.file("calls.rhai", include_str!("api/calls.rhai")).start();
    for language in ["lua", "rhai"] {
        for part in PARTS {
            let request = Request::get(&format!("/{language}/7?part={part}"));
            let answer = gateway.send(request.header("x-mine", "1").header("cookie", "a=1"));
            assert_eq!((answer.status, answer.text().as_str()), (200, "wrong: []"), "{language} {part}");
            assert_eq!(answer.headers.all("set-cookie"), ["a=1", "b=2"]);
            assert_eq!(answer.headers.all("x-coming"), ["1"]);
        }
    }
}

#[test]
fn functions_of_the_test_runner_are_called_too() {
    let lua = "return { test_it = function()
  local gw = test.plugin('it.lua') gw:redis('GET a', 'b') test.equal(gw:request().status, 200) test.fail('on purpose') end }";
    let rhai = "fn test_it() {
  let gw = test::plugin(\"it.lua\"); gw.redis(\"GET a\", \"b\"); test::now(1767225600000); test::equal(gw.request().status, 200); test::fail(\"on purpose\"); }";
    let it = "return { handle = function() return reply.text(redis.get('a') == 'b' and 200 or 500, 'x') end }";
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [("it.lua", it), ("it_test.lua", lua), ("it_test.rhai", rhai)] {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    let ended = gatewright(folder.path(), &["test"]);
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    assert!(ended.stdout.matches("on purpose").count() >= 2, "{}", ended.stdout);
}

/// The text of every script below a folder, and of every string of the Rust there: its scripts are such, its own calls are none.
fn read(path: &Path, all: &mut String) {
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("a folder");
        entries.flatten().for_each(|entry| read(&entry.path(), all));
        return;
    }
    let text = || fs::read_to_string(path).expect("a file");
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("lua" | "rhai") => all.push_str(&text()),
        Some("rs") => all.push_str(&literals(&text())),
        _ => {}
    }
}

/// The string literals of Rust, a line each.
fn literals(rust: &str) -> String {
    let (mut all, mut rest, mut before) = (String::new(), rust, ' ');
    while let Some(first) = rest.chars().next() {
        let raw = rest.strip_prefix('r').map(|after| after.trim_start_matches('#'));
        let is_raw = raw.is_some_and(|after| after.starts_with('"')) && !before.is_alphanumeric() && before != '_';
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if is_raw {
            let hashes = rest[1..].find('"').expect("it was seen");
            let begin = hashes + 2;
            let end = format!("\"{}", "#".repeat(hashes));
            let length = rest[begin..].find(&end).expect("the end of a string");
            all.push_str(&rest[begin..begin + length]);
            all.push('\n');
            begin + length + end.len()
        } else if first == '"' {
            let mut length = 1;
            while !rest[length..].starts_with('"') {
                length += usize::from(rest[length..].starts_with('\\'));
                length += rest[length..].chars().next().expect("the end of a string").len_utf8();
            }
            all.push_str(&rest[1..length].replace("\\n", "\n").replace("\\\"", "\""));
            all.push('\n');
            length + 1
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\") {
            rest[3..].find('\'').expect("the end of a character") + 4
        } else {
            first.len_utf8()
        };
        before = first;
        rest = &rest[length..];
    }
    all
}

#[test]
fn calls_of_rust_itself_are_no_cases() {
    let rust = r####"map.get(1); "kv.get(\"a\")\n" r#"x.has("b")"# /* */ '"' .all( '\'' // "comment"
        for<'a> "c""####;
    assert_eq!(literals(rust), "kv.get(\"a\")\n\nx.has(\"b\")\nc\n");
    let modules = BTreeSet::from(["kv"]);
    assert!(!has_method("kv.get(1)", ".get(", &modules));
    assert!(has_method("kv.get(1) x.get(1)", ".get(", &modules));
    assert!(!has_method("reply::json(1)", ":json(", &modules));
}

#[test]
fn no_function_is_without_a_case_in_either_language() {
    let mut cases = String::new();
    for folder in ["tests", "scripts", "examples", "plugins", "src/script/lua/tests", "src/script/rhai/tests"] {
        read(&repository(folder), &mut cases);
    }
    for file in ["src/script/lua/tests.rs", "src/script/rhai/tests.rs"] {
        read(&repository(file), &mut cases);
    }
    let reference = fs::read_to_string(repository("docs/scripts.md")).expect("the reference");
    let headings = || reference.lines().filter_map(|line| line.strip_prefix("#### `")?.split('(').next());
    let modules = headings().filter_map(|name| Some(name.split_once('.')?.0));
    let modules: BTreeSet<&str> = modules.chain(["string", "table", "buffer", "coroutine"]).collect();
    let mut missing = BTreeSet::new();
    let mut count = 0;
    for name in headings() {
        count += 1;
        let (lua, rhai) = match (name.split_once(':'), name.split_once('.')) {
            (Some((_, method)), _) => (format!(":{method}("), format!(".{method}(")),
            (None, Some((module, function))) => (name.to_owned(), format!("{module}::{function}")),
            // The same in both languages.
            (None, None) => (format!("{name}("), format!("{name}(")),
        };
        let is_called = |call: &String| match call.starts_with(['.', ':']) {
            true => has_method(&cases, call, &modules),
            false => has_call(&cases, call),
        };
        missing.extend([lua, rhai].into_iter().filter(|call| !is_called(call)));
    }
    assert!(count > 130, "{count} functions");
    assert!(missing.is_empty(), "never called in a test: {missing:?}");
}

/// Whether a value is asked so: a function of a module is called with `.` in Lua and with `::` in Rhai.
fn has_method(text: &str, call: &str, modules: &BTreeSet<&str>) -> bool {
    text.match_indices(call).any(|(at, _)| {
        let before = text[..at].rsplit(|char: char| !char.is_alphanumeric() && char != '_').next();
        !text[..at].ends_with(':') && before.is_none_or(|before| !modules.contains(before))
    })
}

/// Whether it stands there and not as the begin of a longer name.
fn has_call(text: &str, call: &str) -> bool {
    text.match_indices(call).any(|(at, _)| {
        let next = text[at + call.len()..].chars().next();
        call.ends_with('(') || !next.is_some_and(|next| next.is_alphanumeric() || next == '_')
    })
}
