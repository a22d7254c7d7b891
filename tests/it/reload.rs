//! Saving a file changes the running gateway whole or not at all, and costs no request.

use crate::support::{Gateway, Request, eventually, gateway, gateway::with_defaults};
use serde_json::Value;
use std::{
    fs,
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
    ["handle", "config", "request", "request_config", "library", "mark"].iter().filter_map(|key| answer[key].as_i64()).collect()
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

#[test]
fn a_broken_save_shows_the_place_and_the_line_and_changes_nothing() {
    let gateway = started(1);
    for (path, text, place, excerpt) in [
        ("current/handle.rhai", "fn handle(req, ctx) {\n    let x = 1 +;\n}\n", "handle.rhai:2:16", "let x = 1 +;"),
        ("current/request.lua", "local M = {}\nfunction M.on_request(req, ctx)\n  req.x = = 1\nend\nreturn M\n", "request.lua:3", "req.x = = 1"),
        ("current/lib/number.lua", "return {\n  number = = 1,\n}\n", "number.lua:2", "number = = 1"),
        ("plugins/mark.lua", "error('no luck')\n", "mark.lua:1", "error('no luck')"),
        ("gateway.yaml", "routes:\n  - {name: r, pths: [/]}\n", "gateway.yaml:2:15", "{name: r, pths: [/]}"),
        ("gateway.yaml", "routes: [\n", "gateway.yaml:", ""),
    ] {
        let good = fs::read_to_string(gateway.files.path(path)).expect("the file");
        let before = gateway.log.lines().len();
        gateway.files.replace(path, text);
        let line = gateway.log.wait(&format!("{path}: nothing was said"), |lines| {
            lines.iter().skip(before).find(|line| line.contains("not reloaded")).cloned()
        });
        let entry: Value = serde_json::from_str(&line).expect("a JSON line");
        let shown = entry["diagnostics"].as_str().expect("diagnostics");
        assert!(shown.contains(place), "no {place} in\n{shown}");
        assert!(shown.contains(excerpt), "no `{excerpt}` in\n{shown}");
        assert_eq!(numbers(&gateway.get("/").ok().json()), [1; 6], "{path}");
        let reloads = gateway.log.lines().iter().filter(|line| line.contains("\"reloaded\"")).count();
        gateway.files.replace(path, &good);
        gateway.log.counts("\"reloaded\"", reloads + 1);
    }
}

#[test]
fn a_deleted_configuration_or_script_changes_nothing_until_it_is_back() {
    let gateway = started(1);
    for (path, next) in [("gateway.yaml", yaml(1)), ("current/handle.rhai", handle_rhai(1)), ("current/lib/number.lua", library(1))] {
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

/// How a test saves a file: as some editor or tool does.
const WAYS: [&str; 4] = ["replace", "in place", "delete and write", "symlink"];

/// Saves the number in all files at once by swapping a symlink, or in one file in another way, valid or not.
fn save(gateway: &Gateway, turn: usize) {
    let file = ["current/handle.rhai", "current/request.lua", "plugins/mark.lua", "current/lib/number.lua"][turn % 4];
    let good = fs::read_to_string(gateway.files.path(file)).expect("the file");
    let is_bad = turn.is_multiple_of(3);
    // What is saved means the same as before, so that every answer must still be of one number.
    let text = if is_bad { format!("{good}\n)))") } else { format!("{good}\n") };
    match WAYS[(turn / 4) % 4] {
        "replace" => gateway.files.replace(file, &text),
        "in place" => gateway.files.write(file, &text),
        "delete and write" => {
            gateway.files.remove(file);
            gateway.files.write(file, &text);
        }
        _ => {
            let beside = gateway.files.path(&format!("{file}.link~"));
            let real = format!("{file}.real");
            gateway.files.write(&real, &text);
            let _ = fs::remove_file(&beside);
            symlink(gateway.files.path(&real), &beside).expect("a link");
            fs::rename(&beside, gateway.files.path(file)).expect("a rename");
        }
    }
    if is_bad {
        gateway.files.replace(file, &good);
    }
}

#[test]
fn two_hundred_saves_under_load_lose_no_request_and_mix_no_generations() {
    let gateway = started(1);
    // Everything of one number lies in one folder; which one is current is a symlink's business.
    write_all(&gateway, 1);
    fs::rename(gateway.files.path("current"), gateway.files.path("first")).expect("a rename");
    symlink("set1", gateway.files.path("current")).expect("a link");
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = gateway.connect();
                    let mut seen = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        let answer = client.send(&Request::get("/"));
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        seen.push(numbers(&answer.json()));
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                    seen
                })
            })
            .collect();
        for turn in 0..200 {
            save(&gateway, turn);
            // The next save comes when clients were answered meanwhile, so that saves and requests mingle.
            let before = asked.load(Ordering::Relaxed);
            eventually("answers", || (asked.load(Ordering::Relaxed) >= before + 8 || clients.iter().any(|c| c.is_finished())).then_some(()));
        }
        // At the end a new number for everything, in the one way that changes several files at once.
        gateway.files.write("plugins/mark.lua", &mark_lua(2));
        write_all(&gateway, 2);
        symlink("set2", gateway.files.path("next")).expect("a link");
        fs::rename(gateway.files.path("next"), gateway.files.path("current")).expect("a rename");
        gateway.files.replace("gateway.yaml", &yaml(2));
        eventually("the last save is live", || {
            (numbers(&gateway.get("/").json()) == [2; 6] || clients.iter().any(|c| c.is_finished())).then_some(())
        });
        done.store(true, Ordering::Relaxed);
        for client in clients {
            let seen = client.join().expect("a client");
            assert!(seen.len() > 200, "only {} answers", seen.len());
            // Between the swap of the link and the save of the configuration a generation may have been built; within the
            // saves of the same number there is only that number.
            let mixed: Vec<_> = seen.iter().filter(|numbers| numbers.len() != 6 || numbers[0] != numbers[2]).collect();
            assert!(mixed.is_empty(), "answers from two generations: {mixed:?}");
        }
    });
    let refused = gateway.log.lines().iter().filter(|line| line.contains("not reloaded")).count();
    let reloaded = gateway.log.lines().iter().filter(|line| line.contains("\"reloaded\"")).count();
    assert!(reloaded > 5, "{reloaded} reloads, {refused} refused");
}

/// Scripts and configuration that are swapped together are never seen apart: each save changes the number everywhere.
#[test]
fn every_answer_is_of_one_generation_while_everything_changes() {
    let gateway = started(0);
    write_all(&gateway, 0);
    fs::rename(gateway.files.path("current"), gateway.files.path("first")).expect("a rename");
    symlink("set0", gateway.files.path("current")).expect("a link");
    eventually("the link is live", || (gateway.get("/").status == 200).then_some(()));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = gateway.connect();
                    let mut answers = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        answers.push(numbers(&client.send(&Request::get("/")).ok().json()));
                    }
                    answers
                })
            })
            .collect();
        for number in 1..=20 {
            write_all(&gateway, number);
            symlink(format!("set{number}"), gateway.files.path("next")).expect("a link");
            fs::rename(gateway.files.path("next"), gateway.files.path("current")).expect("a rename");
            eventually("the swap is live", || {
                (numbers(&gateway.get("/").json()).first() == Some(&(number as i64)) || clients.iter().any(|c| c.is_finished())).then_some(())
            });
        }
        done.store(true, Ordering::Relaxed);
        for client in clients {
            for numbers in client.join().expect("a client") {
                // handle, request and library come from the folder behind the link.
                assert!(numbers[0] == numbers[2] && numbers[2] == numbers[4], "{numbers:?}");
            }
        }
    });
}
