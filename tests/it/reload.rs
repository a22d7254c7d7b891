//! Saving a file changes the running gateway whole or not at all, and costs no request.

use crate::support::{Gateway, Request, eventually, gateway, gateway::with_defaults};
use serde_json::Value;
use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

/// One number everywhere: in the configuration, in both scripts, in a plugin and in a library. An answer that tells of two is
/// from two generations.
fn yaml(number: usize) -> String {
    with_defaults(&format!(
        "
routes:
  - name: r
    paths: [/]
    plugins:
      - {{script: current/request.lua, config: {{number: {number}}}}}
      - {{name: mark, config: {{number: {number}}}}}
      - {{script: current/handle.rhai, config: {{number: {number}}}}}
"
    ))
}

fn request_lua(number: usize) -> String {
    format!(
        "local lib = require('lib.number')
return {{ on_request = function(req, ctx)
  ctx.vars.request = {number}
  ctx.vars.request_config = ctx.config.number
  ctx.vars.library = lib.number
end }}
"
    )
}

fn handle_rhai(number: usize) -> String {
    format!(
        "fn handle(req, ctx) {{
    reply::json(200, #{{ handle: {number}, config: ctx.config.number, request: ctx.vars.request, request_config: ctx.vars.request_config, library: ctx.vars.library, mark: ctx.vars.mark }})
}}
"
    )
}

fn mark_lua(number: usize) -> String {
    format!("return {{ on_request = function(req, ctx) ctx.vars.mark = {number} end }}\n")
}

fn library(number: usize) -> String {
    format!("return {{ number = {number} }}\n")
}

/// All files of one number. The scripts stand behind a symlink, as Kubernetes mounts them.
fn write_all(gateway: &Gateway, number: usize) {
    gateway.files.write(&format!("set{number}/request.lua"), &request_lua(number));
    gateway.files.write(&format!("set{number}/handle.rhai"), &handle_rhai(number));
    gateway.files.write(&format!("set{number}/lib/number.lua"), &library(number));
}

fn started(number: usize) -> Gateway {
    gateway(&yaml(number))
        .file("current/request.lua", &request_lua(number))
        .file("current/handle.rhai", &handle_rhai(number))
        .file("current/lib/number.lua", &library(number))
        .file("plugins/mark.lua", &mark_lua(number))
        .start()
}

fn numbers(answer: &Value) -> Vec<i64> {
    ["handle", "config", "request", "request_config", "library", "mark"]
        .iter()
        .filter_map(|key| answer[key].as_i64())
        .collect()
}

#[test]
fn each_kind_of_file_takes_effect_when_it_is_saved() {
    let gateway = started(1);
    let seen = |key: &str, number: i64| {
        eventually(&format!("{key} = {number}"), || (gateway.get("/").ok().json()[key] == number).then_some(()));
    };
    assert_eq!(numbers(&gateway.get("/").ok().json()), [1; 6]);
    gateway.files.write("current/handle.rhai", &handle_rhai(2));
    seen("handle", 2);
    gateway.files.replace("current/request.lua", &request_lua(3));
    seen("request", 3);
    gateway.files.remove("plugins/mark.lua");
    gateway.files.write("plugins/mark.lua", &mark_lua(4));
    seen("mark", 4);
    gateway.files.replace("current/lib/number.lua", &library(5));
    seen("library", 5);
    gateway.files.write("gateway.yaml", &yaml(6));
    seen("config", 6);
    gateway.files.replace("gateway.yaml", &yaml(7));
    seen("request_config", 7);
}

#[test]
fn a_swapped_symlink_is_seen() {
    let gateway = started(1);
    write_all(&gateway, 2);
    fs::rename(gateway.files.path("current"), gateway.files.path("old")).expect("a rename");
    symlink("set2", gateway.files.path("current")).expect("a link");
    let seen = |number: i64| {
        eventually(&format!("handle = {number}"), || (gateway.get("/").ok().json()["handle"] == number).then_some(()));
    };
    seen(2);
    // And once more, now from one link to another.
    write_all(&gateway, 3);
    symlink("set3", gateway.files.path("next")).expect("a link");
    fs::rename(gateway.files.path("next"), gateway.files.path("current")).expect("a rename");
    seen(3);
}

/// What is said of a save that is refused.
fn refusal(gateway: &Gateway, path: &str, text: &str) -> String {
    let before = gateway.log.lines().len();
    gateway.files.replace(path, text);
    let line = gateway.log.wait(&format!("{path}: nothing was said"), |lines| {
        lines.iter().skip(before).find(|line| line.contains("not reloaded")).cloned()
    });
    let entry: Value = serde_json::from_str(&line).expect("a JSON line");
    entry["diagnostics"].as_str().expect("diagnostics").to_owned()
}

#[test]
fn a_broken_save_shows_the_place_and_the_line_and_changes_nothing() {
    let gateway = started(1);
    for (path, text, place, excerpt) in [
        ("current/handle.rhai", "fn handle(req, ctx) {\n    let x = 1 +;\n}\n", "handle.rhai:2:16", "let x = 1 +;"),
        (
            "current/request.lua",
            "local M = {}\nfunction M.on_request(req, ctx)\n  req.x = = 1\nend\nreturn M\n",
            "request.lua:3",
            "req.x = = 1",
        ),
        ("current/lib/number.lua", "return {\n  number = = 1,\n}\n", "number.lua:2", "number = = 1"),
        ("plugins/mark.lua", "error('no luck')\n", "mark.lua:1", "error('no luck')"),
        ("gateway.yaml", "routes:\n  - {name: r, pths: [/]}\n", "gateway.yaml:2:15", "{name: r, pths: [/]}"),
        ("gateway.yaml", "routes: [\n", "gateway.yaml:", ""),
    ] {
        let good = fs::read_to_string(gateway.files.path(path)).expect("the file");
        let shown = refusal(&gateway, path, text);
        assert!(shown.contains(place), "no {place} in\n{shown}");
        assert!(shown.contains(excerpt), "no `{excerpt}` in\n{shown}");
        assert_eq!(numbers(&gateway.get("/").ok().json()), [1; 6], "{path}");
        let reloads = gateway.log.lines().iter().filter(|line| line.contains("\"reloaded\"")).count();
        gateway.files.replace(path, &good);
        gateway.log.counts("\"reloaded\"", reloads + 1);
    }
}

/// What a list holds before and behind a change is not parsed again.
#[test]
fn routes_around_a_change_are_what_they_were() {
    let file = |lines: &[String]| with_defaults(&format!("routes:\n{}", lines.concat()));
    let route = |n: usize, to: &str| format!("  - {{name: r{n}, paths: [/r{n}], redirect: 'https://{to}.example/'}}\n");
    let mut lines: Vec<String> = (0..500).map(|n| route(n, "old")).collect();
    let gateway = gateway(&file(&lines)).start();
    let mut saves = 0;
    let mut save = |lines: &[String]| {
        gateway.files.replace("gateway.yaml", &file(lines));
        saves += 1;
        gateway.log.counts("\"reloaded\"", saves);
    };
    let leads = |n: usize, to: Option<&str>| {
        let answer = gateway.get(&format!("/r{n}"));
        assert_eq!(answer.header("location"), to.map(|to| format!("https://{to}.example/")).as_deref(), "r{n}");
    };
    lines[250] = route(250, "changed");
    save(&lines);
    lines.insert(100, route(1000, "added"));
    save(&lines);
    lines.remove(401);
    save(&lines);
    for n in [0, 1, 99, 100, 249, 251, 399, 401, 498, 499] {
        leads(n, Some("old"));
    }
    leads(250, Some("changed"));
    leads(1000, Some("added"));
    leads(400, None);

    // Said of what was taken over, at its place of now.
    lines[10] = route(498, "twice");
    let text = file(&lines);
    let shown = refusal(&gateway, "gateway.yaml", &text);
    let places: Vec<usize> =
        (1..).zip(text.lines()).filter(|(_, line)| line.contains("name: r498,")).map(|(n, _)| n).collect();
    for place in places {
        assert!(shown.contains(&format!("{place} |   - {{name: r498,")), "no {place} in\n{shown}");
    }
    leads(498, Some("old"));
}

#[test]
fn a_deleted_configuration_or_script_changes_nothing_until_it_is_back() {
    let gateway = started(1);
    for (path, next) in
        [("gateway.yaml", yaml(1)), ("current/handle.rhai", handle_rhai(1)), ("current/lib/number.lua", library(1))]
    {
        let before = gateway.log.lines().iter().filter(|line| line.contains("not reloaded")).count();
        gateway.files.remove(path);
        gateway.log.counts("not reloaded", before + 1);
        assert_eq!(numbers(&gateway.get("/").ok().json()), [1; 6], "{path}");
        let reloads = gateway.log.lines().iter().filter(|line| line.contains("\"reloaded\"")).count();
        gateway.files.write(path, &next);
        gateway.log.counts("\"reloaded\"", reloads + 1);
    }
}

#[test]
fn a_signal_and_the_administration_reload_as_well() {
    let script = |number: usize| format!("return {{ handle = function() return reply.text(200, '{number}') end }}");
    let yaml = "admin: 127.0.0.1:0\nroutes: [{name: r, paths: [/], plugins: [{script: a.lua}]}]";
    let gateway = gateway(yaml).arg("--no-watch").file("a.lua", &script(1)).start();
    let text = || gateway.get("/").ok().text();
    gateway.files.write("a.lua", &script(2));
    gateway.signal("HUP");
    eventually("the signal's reload", || (text() == "2").then_some(()));
    gateway.files.write("a.lua", &script(3));
    assert_eq!(text(), "2", "files are not watched");
    let admin = gateway.address_of("admin");
    let reload = || crate::support::Client::connect(admin).send(&Request::new("POST", "/api/v1/reload"));
    assert_eq!(reload().ok().json()["generation"], 3);
    assert_eq!(text(), "3");
    gateway.files.write("a.lua", "return {\n  = 1\n}");
    let refused = reload();
    assert_eq!(refused.status, 422);
    let shown = refused.json()["diagnostics"].as_str().unwrap_or_default().to_owned();
    assert!(shown.contains("a.lua:2") && shown.contains("  = 1"), "{shown}");
    assert_eq!(text(), "3");
    let ready = crate::support::Client::connect(admin).send(&Request::get("/readyz"));
    assert_eq!(ready.ok().json()["status"], "ready");
}

/// A gateway of which everything, its configuration and plugin folder included, lies in `set0`, behind the link `current`. As
/// Kubernetes mounts a ConfigMap: one swap changes it all.
fn linked() -> Gateway {
    let gateway = gateway(&in_set(0)).file("current/placeholder.lua", "return {}");
    let gateway =
        SET.iter().fold(gateway, |given, (path, text)| given.file(&format!("current/{path}"), &text(0))).start();
    write_set(&gateway, 0);
    gateway.files.write("set0/gateway.yaml", &in_set(0));
    fs::rename(gateway.files.path("current"), gateway.files.path("first")).expect("a rename");
    swap_to(&gateway, 0);
    fs::remove_file(gateway.files.path("gateway.yaml")).expect("the file");
    symlink("current/gateway.yaml", gateway.files.path("gateway.yaml")).expect("a link");
    gateway
}

/// What a file of that number says.
type Text = fn(usize) -> String;

/// The files of a set, by their path in it.
const SET: [(&str, Text); 4] = [
    ("request.lua", request_lua),
    ("handle.rhai", handle_rhai),
    ("lib/number.lua", library),
    ("plugins/mark.lua", mark_lua),
];

fn in_set(number: usize) -> String {
    format!("plugins_dir: current/plugins\n{}", yaml(number))
}

fn write_set(gateway: &Gateway, number: usize) {
    for (path, text) in SET {
        gateway.files.write(&format!("set{number}/{path}"), &text(number));
    }
    gateway.files.write(&format!("set{number}/gateway.yaml"), &in_set(number));
}

fn swap_to(gateway: &Gateway, number: usize) {
    symlink(format!("set{number}"), gateway.files.path("next")).expect("a link");
    fs::rename(gateway.files.path("next"), gateway.files.path("current")).expect("a rename");
}

fn count(gateway: &Gateway, message: &str) -> usize {
    gateway.log.lines().iter().filter(|line| line.contains(message)).count()
}

#[test]
fn a_change_while_files_are_read_never_serves_two_saves() {
    let set = |number: usize| {
        let script = format!(
            "return {{ handle = function(req, ctx) return reply.text(200, ctx.config.number .. ' {number}') end }}"
        );
        let yaml = format!(
            "routes: [{{name: r, paths: [/], plugins: [{{script: current/a.lua, config: {{number: {number}, token: '${{file:pipe}}'}}}}]}}]"
        );
        (script, yaml)
    };
    let (script, yaml) = set(1);
    let gateway = gateway(&yaml).file("pipe", "x").file("current/a.lua", &script).start();
    for number in [1, 2] {
        let (script, yaml) = set(number);
        gateway.files.write(&format!("set{number}/a.lua"), &script);
        gateway.files.write(&format!("set{number}/gateway.yaml"), &with_defaults(&yaml));
    }
    fs::rename(gateway.files.path("current"), gateway.files.path("old")).expect("a rename");
    swap_to(&gateway, 1);
    fs::remove_file(gateway.files.path("gateway.yaml")).expect("the file");
    symlink("current/gateway.yaml", gateway.files.path("gateway.yaml")).expect("a link");
    eventually("the links are followed", || (gateway.get("/").ok().text() == "1 1").then_some(()));
    // Whoever reads the pipe has read the configuration, and not yet the script.
    fs::remove_file(gateway.files.path("pipe")).expect("the file");
    let made = std::process::Command::new("mkfifo").arg(gateway.files.path("pipe")).status().expect("mkfifo");
    assert!(made.success());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (done, gateway) = (&done, &gateway);
        scope.spawn(move || {
            let mut swapped = false;
            while !done.load(Ordering::Relaxed) {
                let mut pipe = fs::OpenOptions::new().write(true).open(gateway.files.path("pipe")).expect("a reader");
                if !std::mem::replace(&mut swapped, true) {
                    swap_to(gateway, 2);
                }
                // Who read what was written before may leave between opening and this, and at the end nobody may be there.
                let written = pipe.write_all(b"x").map_err(|error| error.kind());
                let is_left = written == Err(std::io::ErrorKind::BrokenPipe);
                assert!(written.is_ok() || is_left || done.load(Ordering::Relaxed), "{written:?}");
            }
        });
        let live = eventually("the second set is live", || {
            let answer = gateway.get("/").ok().text();
            (answer != "1 1").then_some(answer)
        });
        done.store(true, Ordering::Relaxed);
        // Whoever waits for the other end of the pipe has it, and ends.
        let both_ends = fs::OpenOptions::new().read(true).write(true).open(gateway.files.path("pipe")).expect("a pipe");
        gateway.files.replace("pipe", "x");
        drop(both_ends);
        assert_eq!(live, "2 2", "two saves in one answer");
    });
}

struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Clients that ask without a pause while `change` runs; every answer must be 200 and of one number throughout.
fn under_load(gateway: &Gateway, change: impl FnOnce(&dyn Fn())) -> usize {
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let ask = || {
            let mut client = gateway.connect();
            while !done.load(Ordering::Relaxed) {
                let answer = client.send(&Request::get("/"));
                assert_eq!(answer.status, 200, "{}", answer.text());
                let found = numbers(&answer.json());
                assert!(
                    found.len() == 6 && found.iter().all(|number| *number == found[0]),
                    "two generations in one answer: {}",
                    answer.text()
                );
                answered.fetch_add(1, Ordering::Relaxed);
            }
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        // Also when the test has failed: the clients must come to an end.
        let ends = Done(&done);
        // Saves and requests mingle: the next save comes when clients were answered meanwhile.
        change(&|| {
            let before = answered.load(Ordering::Relaxed);
            let failed = || clients.iter().any(|client| client.is_finished());
            eventually("answers", || (answered.load(Ordering::Relaxed) >= before + 8 || failed()).then_some(()));
            assert!(!failed(), "a client failed");
        });
        drop(ends);
        for client in clients {
            client.join().expect("a client");
        }
    });
    answered.into_inner()
}

/// How a file is saved: as some editor or tool does.
#[derive(Clone, Copy, Debug)]
enum Way {
    Replace,
    InPlace,
    DeleteAndWrite,
    Symlink,
}

const WAYS: [Way; 4] = [Way::Replace, Way::InPlace, Way::DeleteAndWrite, Way::Symlink];

fn save(gateway: &Gateway, way: Way, path: &str, text: &str) {
    match way {
        Way::Replace => gateway.files.replace(path, text),
        Way::InPlace => gateway.files.write(path, text),
        Way::DeleteAndWrite => {
            gateway.files.remove(path);
            gateway.files.write(path, text);
        }
        Way::Symlink => {
            let real = format!("{path}.{}", text.len());
            gateway.files.replace(&real, text);
            symlink(gateway.files.path(&real), gateway.files.path("link~")).expect("a link");
            fs::rename(gateway.files.path("link~"), gateway.files.path(path)).expect("a rename");
        }
    }
}

#[test]
fn two_hundred_saves_under_load_lose_no_request_and_mix_no_generations() {
    let gateway = linked();
    let mut number = 0;
    let mut refused = 0;
    let answered = under_load(&gateway, |mingle| {
        for turn in 0..200 {
            let way = WAYS[(turn / 5) % 4];
            let (path, good) = match turn % 5 {
                4 => ("gateway.yaml".to_owned(), in_set(number)),
                file => (SET[file].0.to_owned(), SET[file].1(number)),
            };
            let path = format!("set{number}/{path}");
            if turn % 4 == 3 {
                // A broken save: told, and nothing changes.
                let before = count(&gateway, "not reloaded");
                save(&gateway, way, &path, &format!("{good}\n)))"));
                gateway.log.counts("not reloaded", before + 1);
                refused += 1;
                mingle();
                save(&gateway, Way::Replace, &path, &good);
            } else if turn % 8 == 0 {
                // Everything at once.
                number += 1;
                write_set(&gateway, number);
                swap_to(&gateway, number);
                eventually("the swap is live", || {
                    mingle();
                    (numbers(&gateway.get("/").json()).first() == Some(&(number as i64))).then_some(())
                });
            } else {
                // The same in other words.
                save(&gateway, way, &path, &format!("{good}\n"));
                mingle();
            }
        }
        eventually("the last save is live", || (numbers(&gateway.get("/").json()) == [number as i64; 6]).then_some(()));
    });
    assert_eq!((refused, number), (50, 25));
    assert!(answered >= 1600, "{answered} answers");
    assert!(count(&gateway, "\"reloaded\"") >= 25, "{} reloads", count(&gateway, "\"reloaded\""));
}

#[test]
fn every_answer_is_of_one_generation_while_everything_changes_at_once() {
    let gateway = linked();
    under_load(&gateway, |mingle| {
        for number in 1..=20 {
            write_set(&gateway, number);
            swap_to(&gateway, number);
            eventually("the swap is live", || {
                mingle();
                (numbers(&gateway.get("/").json()).first() == Some(&(number as i64))).then_some(())
            });
        }
    });
}
