//! The commands: what they print, and how they exit.

use crate::support::{command::gatewright, gateway};
use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    folder
}

const GOOD: &str = "
services:
  - name: users
    url: http://127.0.0.1:9001
    routes:
      - {name: users, paths: [/api/users], plugins: [{name: request-id}]}
      - {name: user, paths: ['/api/users/{id}'], methods: [GET]}
";

const BAD: &str = "listen: 127.0.0.1:8080
services:
  - name: users
    urll: http://127.0.0.1:9001
    timeout: 5 parsecs
    routes:
      - name: a
        paths: [/a]
        plugins:
          - name: rate-limt
          - script: missing.lua
routes:
  - {name: b, service: nobody, paths: [/b]}
";

#[test]
fn check_says_that_a_good_configuration_is_fine() {
    let folder = folder(&[("gateway.yaml", GOOD)]);
    let ended = gatewright(folder.path(), &["check"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert!(ended.stdout.contains("fine: 2 routes, 1 service, 1 script in use"), "{}", ended.stdout);
}

#[test]
fn check_reports_all_problems_at_once_with_carets() {
    let folder = folder(&[("gateway.yaml", BAD)]);
    let ended = gatewright(folder.path(), &["check", "-c", "gateway.yaml"]);
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    for expected in [
        "gateway.yaml:4:5",
        "urll: http://127.0.0.1:9001",
        "`url`",
        "gateway.yaml:5:14",
        "5 parsecs",
        "gateway.yaml:10:19",
        "rate-limt",
        "`rate-limit`",
        "gateway.yaml:11:21",
        "missing.lua",
        "gateway.yaml:13:24",
        "nobody",
        "^^^^^^",
    ] {
        assert!(ended.stdout.contains(expected), "no `{expected}` in\n{}", ended.stdout);
    }
}

#[test]
fn a_plugin_folder_that_is_missing_is_one_problem() {
    let folder = folder(&[("gateway.yaml", "plugins_dir: ./none\n")]);
    let ended = gatewright(folder.path(), &["check"]);
    let expected = "error: the plugin folder `./none` does not exist
 --> gateway.yaml:1:14
  |
1 | plugins_dir: ./none
  |              ^^^^^^
gateway.yaml: 1 error
";
    assert_eq!((ended.code, format!("{}{}", ended.stderr, ended.stdout).as_str()), (1, expected));
}

#[test]
fn check_gives_the_same_as_json() {
    let folder = folder(&[("gateway.yaml", BAD)]);
    let ended = gatewright(folder.path(), &["check", "--format", "json"]);
    assert_eq!(ended.code, 1);
    let found: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout));
    let lines: Vec<u64> =
        found["diagnostics"].as_array().into_iter().flatten().filter_map(|d| d["line"].as_u64()).collect();
    assert_eq!(found["plugins"], serde_json::json!([]));
    for line in [4, 5, 10, 11, 13] {
        assert!(lines.contains(&line), "nothing on line {line}: {found:#}");
    }
}

#[test]
fn check_compiles_scripts_and_runs_their_on_load() {
    let yaml = "routes:
  - {name: a, paths: [/a], plugins: [{script: a.lua}]}
  - {name: b, paths: [/b], plugins: [{script: b.rhai}]}
  - {name: c, paths: [/c], plugins: [{script: c.lua}]}
";
    let folder = folder(&[
        ("gateway.yaml", yaml),
        ("a.lua", "local M = {}\nfunction M.handle(req, ctx)\n  return reply.text(200, 'x'\nend\nreturn M\n"),
        ("b.rhai", "fn handle(req, ctx) {\n    let x = ;\n}\n"),
        ("c.lua", "return {\n  on_load = function() error('no luck today') end,\n  handle = function() end,\n}\n"),
    ]);
    let ended = gatewright(folder.path(), &["check"]);
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    for expected in ["a.lua:4", "b.rhai:2:13", "let x = ;", "c.lua:2", "no luck today"] {
        assert!(ended.stdout.contains(expected), "no `{expected}` in\n{}", ended.stdout);
    }
}

#[test]
fn routes_lists_what_leads_where() {
    let folder = folder(&[("gateway.yaml", GOOD)]);
    let ended = gatewright(folder.path(), &["routes"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lines: Vec<Vec<&str>> = ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines,
        [
            vec!["users", "/api/users", "->", "users", "request-id"],
            vec!["user", "GET", "/api/users/{id}", "->", "users"],
        ]
    );
}

#[test]
fn routes_match_says_which_and_why_not_the_others() {
    let folder = folder(&[("gateway.yaml", GOOD)]);
    let ended = gatewright(folder.path(), &["routes", "match", "GET", "/api/users/7"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.starts_with("GET /api/users/7: route `users` -> users\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("  not `user`: "), "{}", ended.stdout);
    let ended = gatewright(folder.path(), &["routes", "match", "GET", "/nothing"]);
    assert_eq!((ended.code, ended.stdout.lines().next()), (1, Some("GET /nothing: no route matches (404)")));
}

#[test]
fn version_and_usage() {
    let folder = folder(&[]);
    let ended = gatewright(folder.path(), &["version"]);
    assert_eq!((ended.code, ended.stdout), (0, format!("gatewright {}\n", env!("CARGO_PKG_VERSION"))));
    assert_eq!(gatewright(folder.path(), &["--help"]).code, 0);
    assert_eq!(gatewright(folder.path(), &["frobnicate"]).code, 2);
    assert_eq!(gatewright(folder.path(), &["check", "--colour"]).code, 2);
}

#[test]
fn a_missing_configuration_is_one_line() {
    let folder = folder(&[]);
    for command in ["run", "check", "routes"] {
        let ended = gatewright(folder.path(), &[command, "-c", "nowhere.yaml"]);
        assert_eq!(ended.code, 1, "{command}");
        assert_eq!(ended.stderr.lines().count(), 1, "{command}: {}", ended.stderr);
        assert!(ended.stderr.contains("nowhere.yaml"), "{command}: {}", ended.stderr);
    }
}

#[test]
fn a_busy_port_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address");
    for yaml in [format!("listen: {address}\nadmin: off\n"), format!("listen: 127.0.0.1:0\nadmin: {address}\n")] {
        let folder = folder(&[("gateway.yaml", yaml.as_str())]);
        for command in ["run", "dev"] {
            let ended = gatewright(folder.path(), &[command]);
            let line = format!("gatewright: can't listen on {address}: the port is in use by another process\n");
            let errors =
                ended.stderr.lines().filter(|line| !line.contains("\"listening\"")).collect::<Vec<_>>().join("\n");
            assert_eq!((ended.code, errors + "\n"), (1, line), "{command} {yaml}");
        }
    }
}

#[test]
fn a_missing_port_is_shown_where_it_is_missing() {
    for (written, listen) in [("127.0.0.1", "127.0.0.1"), ("''", "''"), ("127.0.0.1:", "'127.0.0.1:'")] {
        let folder = folder(&[("gateway.yaml", &format!("listen: {listen}\nadmin: off\n"))]);
        let ended = gatewright(folder.path(), &["run"]);
        assert_eq!(ended.code, 1, "{written}: {}", ended.stderr);
        assert!(ended.stderr.contains("gateway.yaml:1:9"), "{written}: {}", ended.stderr);
        assert!(ended.stderr.contains("port"), "{written}: {}", ended.stderr);
    }
}

#[test]
fn a_start_with_a_broken_configuration_ends_with_the_same_report() {
    let folder = folder(&[("gateway.yaml", BAD)]);
    let ended = gatewright(folder.path(), &["run"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("gateway.yaml:10:19") && ended.stderr.contains("rate-limt"), "{}", ended.stderr);
}

#[test]
fn eject_writes_the_source_where_it_takes_effect() {
    let folder = folder(&[("gateway.yaml", GOOD)]);
    let ended = gatewright(folder.path(), &["eject", "request-id", "--lang", "rhai"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let written = fs::read_to_string(folder.path().join("plugins/request-id.rhai")).expect("the file");
    let own = fs::read_to_string(crate::support::repository("scripts/request-id.rhai")).expect("the file");
    assert_eq!(written, own);
    let again = gatewright(folder.path(), &["eject", "request-id"]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("is there already"), "{}", again.stderr);
    let unknown = gatewright(folder.path(), &["eject", "nothing"]);
    assert!(unknown.stderr.contains("`nothing` is not a stock plugin"), "{}", unknown.stderr);
}

#[test]
fn a_term_signal_drains_and_exits_with_zero() {
    let script = "return { handle = function() return reply.text(200, 'hi') end }";
    let mut gateway =
        gateway("routes: [{name: a, paths: [/], plugins: [{script: a.lua}]}]").file("a.lua", script).start();
    gateway.get("/").ok();
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    gateway.log_contains("draining");
}

#[test]
fn what_new_writes_works_as_it_is_in_both_languages() {
    for lang in ["lua", "rhai"] {
        let config = format!(
            "services:\n  - name: s\n    url: http://127.0.0.1:9001\n    routes:\n      - name: r\n        paths: [/r]\n        plugins:\n          - script: mine.{lang}\n          - {{name: stamp, config: {{value: hello}}}}\n"
        );
        let folder = folder(&[("gateway.yaml", &config)]);
        for what in [["new", "script", "mine"], ["new", "plugin", "stamp"]] {
            let made = gatewright(folder.path(), &[&what[..], &["--lang", lang]].concat());
            assert_eq!(made.code, 0, "{}", made.stderr);
            let again = gatewright(folder.path(), &[&what[..], &["--lang", lang]].concat());
            assert!(again.code == 1 && again.stderr.contains("is there already"), "{}", again.stderr);
        }
        let checked = gatewright(folder.path(), &["check"]);
        let first = checked.stdout.lines().next();
        assert_eq!(first, Some("gateway.yaml: fine: 1 route, 1 service, 2 scripts in use"), "{lang}");
    }
    let odd = gatewright(folder(&[]).path(), &["new", "script", "../x"]);
    assert_eq!(odd.stderr, "gatewright: `../x` is not a name of letters, digits, `-` and `_`\n");
}

/// In an empty folder, with nothing but what the command prints.
#[test]
fn what_new_says_next_works_in_both_languages() {
    for (what, lang) in [("script", "lua"), ("script", "rhai"), ("plugin", "lua"), ("plugin", "rhai")] {
        let made_in = folder(&[]);
        let made = gatewright(made_in.path(), &["new", what, "hello", "--lang", lang]);
        let line = |start: &str| made.stdout.lines().find(|line| line.starts_with(start)).expect("a line").to_owned();
        let test = line("test it:");
        let tested = gatewright(made_in.path(), &["test", test.split_whitespace().last().expect("a path")]);
        assert_eq!(tested.code, 0, "{what} {lang}: {}", tested.stdout);
        let config = format!("{}\n", line("routes: "));
        fs::write(made_in.path().join("gateway.yaml"), &config).expect("a file");
        let checked = gatewright(made_in.path(), &["check"]);
        assert_eq!(checked.code, 0, "{what} {lang}: {}", checked.stdout);
        // As a gateway on a port of its own.
        let mut given = gateway(&config);
        for entry in walk(made_in.path()) {
            let path = entry.strip_prefix(made_in.path()).expect("below it").to_string_lossy().into_owned();
            given = given.file(&path, &fs::read_to_string(&entry).expect("a file"));
        }
        let answer = given.start().get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "hi\n"), "{what} {lang}");
    }
}

/// Files that `new` wrote, without the configuration.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let is_other = |path: &PathBuf| !path.ends_with("gateway.yaml");
    entries.filter(is_other).flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_password_is_hashed_as_basic_auth_takes_it() {
    let hashed = |text: &str, more: &[&str]| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("a file");
        let input = file.reopen().expect("the file");
        crate::support::command::ended(crate::support::command::binary().arg("hash-password").args(more).stdin(input))
    };
    let ended = hashed("lovelace:1\n", &["--iterations", "1000"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let stored = ended.stdout.trim_end().to_owned();
    assert!(stored.starts_with("$pbkdf2-sha256$i=1000$"), "{stored}");
    for behind in crate::support::stock::behind("basic-auth", &format!("{{users: {{ada: '{stored}'}}}}"), || {
        crate::support::Upstream::echo("it")
    }) {
        let ada = |password: &str| {
            let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("ada:{password}"));
            crate::support::Request::get("/x").header("authorization", format!("Basic {pair}"))
        };
        behind.gateway.send(ada("lovelace:1")).ok();
        assert_eq!(behind.gateway.send(ada("lovelace")).status, 401, "{}", behind.language);
    }
    assert_eq!(hashed("", &[]).stderr, "gatewright: there is no password on standard input\n");
    let none = hashed("x\n", &["--iterations", "0"]);
    assert_eq!(none.stderr, "gatewright: 0 iterations are not between 1 and 10000000\n");
}
