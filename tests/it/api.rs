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

/// The text of every file below a folder that may call functions.
fn read(path: &Path, all: &mut String) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            read(&path, all);
        } else if matches!(extension, Some("lua" | "rhai" | "rs")) {
            all.push_str(&fs::read_to_string(&path).unwrap_or_default());
        }
    }
}

#[test]
fn no_function_is_without_a_case_in_either_language() {
    let mut cases = String::new();
    for folder in
        ["tests", "scripts", "examples", "plugins", "src/script/lua/tests", "src/script/rhai/tests", "src/harness"]
    {
        read(&repository(folder), &mut cases);
    }
    for file in ["src/script/lua/tests.rs", "src/script/rhai/tests.rs"] {
        cases.push_str(&fs::read_to_string(repository(file)).expect("a file"));
    }
    let reference = fs::read_to_string(repository("docs/scripts.md")).expect("the reference");
    let mut missing = BTreeSet::new();
    let mut count = 0;
    for heading in reference.lines().filter_map(|line| line.strip_prefix("#### `")) {
        let name = heading.split('(').next().unwrap_or_default();
        count += 1;
        let (lua, rhai) = match (name.split_once(':'), name.split_once('.')) {
            (Some((_, method)), _) => (format!(":{method}("), format!(".{method}(")),
            (None, Some((module, function))) => (name.to_owned(), format!("{module}::{function}")),
            // The same in both languages.
            (None, None) => (format!("{name}("), format!("{name}(")),
        };
        for call in [lua, rhai].into_iter().filter(|call| !has_call(&cases, call)) {
            missing.insert(call);
        }
    }
    assert!(count > 130, "{count} functions");
    assert!(missing.is_empty(), "never called in a test: {missing:?}");
}

/// Whether it stands there and not as the begin of a longer name.
fn has_call(text: &str, call: &str) -> bool {
    text.match_indices(call).any(|(at, _)| {
        let next = text[at + call.len()..].chars().next();
        call.ends_with('(') || !next.is_some_and(|next| next.is_alphanumeric() || next == '_')
    })
}
