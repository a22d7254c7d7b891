//! `gatewright test`: what it finds, how it fails, and that the scripts that are shipped pass their own tests.

use crate::support::{
    command::{Ended, gatewright},
    repository,
};
use std::{fs, path::Path};

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    folder
}

/// Runs the tests of these files.
fn tested(files: &[(&str, &str)]) -> Ended {
    gatewright(folder(files).path(), &["test"])
}

fn passed(ended: &Ended) -> usize {
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.stdout);
    ended.stdout.lines().filter(|line| line.starts_with("ok ")).count()
}

#[test]
fn every_stock_script_and_shipped_plugin_passes_its_tests_in_both_languages() {
    let ended = gatewright(&repository(""), &["test", "scripts", "plugins"]);
    assert_eq!(passed(&ended), 123, "{}", ended.stdout);
    let scripts = fs::read_dir(repository("scripts")).expect("a folder").map(|entry| entry.expect("an entry").path());
    for script in scripts.filter(|path| !path.to_string_lossy().contains("_test.")) {
        let name = script.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let tests =
            script.with_file_name(format!("{name}_test")).with_extension(script.extension().unwrap_or_default());
        assert!(tests.is_file(), "{} has no tests", script.display());
    }
}

#[test]
fn examples_pass_their_tests() {
    assert_eq!(passed(&gatewright(&repository(""), &["test", "examples"])), 4);
}

#[test]
fn what_new_writes_passes_its_tests_in_both_languages() {
    for lang in ["lua", "rhai"] {
        let folder = folder(&[]);
        for what in [["new", "script", "mine"], ["new", "plugin", "Stamp"]] {
            let made = gatewright(folder.path(), &[&what[..], &["--lang", lang]].concat());
            assert_eq!(made.code, 0, "{}", made.stderr);
        }
        assert_eq!(passed(&gatewright(folder.path(), &["test"])), 3, "{lang}");
    }
}

#[test]
fn tests_see_metrics_and_move_the_clock_of_background_work() {
    let script = "local M = {}\nfunction M.on_load()\n  every('30s', function()\n    metrics.counter('ticks', { kind = 'slow' })\n    metrics.histogram('took', 0.5)\n  end)\nend\nfunction M.handle()\n  metrics.gauge('level', 3)\n  return reply.empty(204)\nend\nreturn M\n";
    let lua = "local M = {}\nfunction M.test_it()\n  local gw = test.plugin('a.lua')\n  test.equal(gw:metric('ticks'), nil)\n  test.advance('29s')\n  test.equal(gw:metric('ticks'), nil)\n  test.advance('62s')\n  test.equal(gw:metric('ticks'), 3)\n  test.equal(gw:metric('ticks', { kind = 'fast' }), nil)\n  test.equal(gw:metric('took'), { count = 3, sum = 1.5 })\n  gw:request()\n  test.equal(gw:metric('level'), 3)\nend\nreturn M\n";
    let rhai = "fn test_it() {\n  let gw = test::plugin(\"a.lua\");\n  test::advance(\"61s\");\n  test::equal(gw.metric(\"ticks\", #{ kind: \"slow\" }), 2);\n}\n";
    assert_eq!(passed(&tested(&[("a.lua", script), ("a_test.lua", lua), ("b_test.rhai", rhai)])), 2);
}

const LUA: &str = r#"local M = {}

function M.test_that_fails()
  local gw = test.plugin("a.lua")
  local res = gw:request()
  test.equal(res.status, 401, "the status")
end

function M.test_that_passes() end

function M.test_with_a_mistake()
  local gw = nil
  gw.x = 1
end

return M
"#;

const RHAI: &str = r#"fn test_that_fails() {
    let gw = test::plugin("a.lua");
    test::equal(gw.request().status, 401);
}
"#;

const SCRIPT: &str = "return { handle = function(req, ctx) return reply.text(200, 'hi') end }";

#[test]
fn a_failure_shows_its_line_and_what_came() {
    let files = [("a.lua", SCRIPT), ("a_test.lua", LUA), ("b_test.rhai", RHAI)];
    let ended = tested(&files);
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    for expected in [
        "FAILED a_test.lua test_that_fails (",
        "a_test.lua:6:3",
        "6 |   test.equal(res.status, 401, \"the status\")",
        "  |   ^",
        "test.equal: the status: expected 401\n",
        "got 200\n",
        "ok     a_test.lua test_that_passes (",
        "FAILED a_test.lua test_with_a_mistake (",
        "a_test.lua:13",
        "FAILED b_test.rhai test_that_fails (",
        "b_test.rhai:3:11",
        "at b_test.rhai:3 in test_that_fails",
        "test::equal(gw.request().status, 401);",
        "4 cases, 3 failed, in ",
    ] {
        assert!(ended.stdout.contains(expected), "no `{expected}` in\n{}", ended.stdout);
    }
}

#[test]
fn a_filter_chooses_and_nothing_at_all_is_a_failure() {
    let folder = folder(&[("a.lua", SCRIPT), ("a_test.lua", LUA)]);
    assert_eq!(passed(&gatewright(folder.path(), &["test", "--filter", "that_passes"])), 1);
    let none = gatewright(folder.path(), &["test", "--filter", "nothing like it"]);
    assert_eq!(none.code, 1);
    assert!(none.stdout.starts_with("no case found"), "{}", none.stdout);
    let missing = gatewright(folder.path(), &["test", "nowhere"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.starts_with("gatewright: nowhere can't be read: "), "{}", missing.stderr);
    assert_eq!(gatewright(folder.path(), &["test", "--frobnicate"]).code, 2);
}

#[test]
fn a_file_that_does_not_load_is_a_failure_with_its_place() {
    let ended = tested(&[("a_test.rhai", "fn test_a() {\n    let x = ;\n}\n"), ("b_test.lua", "return 7\n")]);
    assert_eq!(ended.code, 1);
    for expected in ["FAILED a_test.rhai load", "a_test.rhai:2:13", "FAILED b_test.lua load", "b_test.lua:1"] {
        assert!(ended.stdout.contains(expected), "no `{expected}` in\n{}", ended.stdout);
    }
}

#[test]
fn junit_has_every_case_and_its_failure() {
    let folder = folder(&[("a.lua", SCRIPT), ("a_test.lua", LUA)]);
    assert_eq!(gatewright(folder.path(), &["test", "--junit", "out.xml"]).code, 1);
    let xml = fs::read_to_string(folder.path().join("out.xml")).expect("a report");
    for expected in [
        r#"<testsuites tests="3" failures="2" errors="0""#,
        r#"<testcase name="test_that_passes" classname="a_test.lua" file="a_test.lua" line="9""#,
        r#"<failure message="test.equal: the status: expected 401&#10;     got 200">"#,
    ] {
        assert!(xml.contains(expected), "no `{expected}` in\n{xml}");
    }
}

const FRONT: &str = r#"
return {
  handle = function(req, ctx)
    local user = http.get("svc://users/users/7", { timeout = "100ms" })
    local rate = http.get("https://rates.example.com/eur")
    log.info("asked", { user = user.status })
    kv.set("seen", 1, { ttl = "10s" })
    local seen = redis.get("seen:7")
    return reply.json(200, { user = user.ok and user:json().name or user.error, rate = rate.error, seen = seen })
  end,
  on_log = function(ctx) log.warn("done") end,
}
"#;

const FAKES: &str = r#"local M = {}

local function gateway()
  local gw = test.plugin("front.lua")
  gw:redis("GET seen:7", "yesterday")
  return gw
end

function M.test_services_redis_and_logs()
  local gw = gateway()
  gw:answer("GET", "svc://users/users/7", { json = { name = "Ada" } })
  local res = gw:request({ method = "POST", path = "/a?b=c", json = { x = 1 } })
  test.equal(res.json, { user = "Ada", rate = "forbidden", seen = "yesterday" })
  test.equal(gw.received[1].url, "svc://users/users/7")
  test.equal(gw.logs[1].message, "asked")
  test.equal(gw.logs[2].level, "warn")
end

function M.test_a_service_that_is_late_or_broken()
  local gw = gateway()
  gw:answer("*", "svc://users/*", { delay = "2s" })
  test.equal(gw:request().json.user, "timeout")
  gw:answer("*", "svc://users/*", { fail = true })
  test.equal(gw:request().json.user, "protocol")
end

function M.test_the_clock_is_the_tests()
  local before = time.now()
  time.sleep("10s")
  test.equal(time.now() - before, 10)
  test.now(1000)
  test.equal(time.now_ms(), 1000)
end

function M.test_nothing_is_called_that_was_not_declared()
  local gw = gateway()
  gw:answer("GET", "svc://users/other", {})
  local ok, why = pcall(function() return gw:request() end)
  test.equal(ok, false)
  test.contains(tostring(why), "the test says nothing of the call GET svc://users/users/7")
end

return M
"#;

#[test]
fn upstreams_redis_clock_and_log_are_the_tests_own() {
    assert_eq!(passed(&tested(&[("front.lua", FRONT), ("front_test.lua", FAKES)])), 4);
}

const STUCK: &str = r#"return { handle = function(req, ctx) while true do end end }"#;

const LIMITED: &str = r#"fn test_a_script_is_stopped_as_it_would_be_in_earnest() {
    let gw = test::plugin("stuck.lua");
    test::equal(gw.request().status, 500);
    test::contains(gw.logs[0].error, "stuck.lua:1");
}

fn test_the_backend_is_retried_and_its_failure_becomes_an_answer() {
    let gw = test::plugin("request-id", #{ service: #{ retries: 1 } });
    gw.answer("GET", "svc://backend/*", #{ fail: true });
    test::equal(gw.request().status, 502);
    test::equal(gw.received.len(), 2);
}
"#;

#[test]
fn the_life_of_an_exchange_is_the_real_one() {
    assert_eq!(passed(&tested(&[("stuck.lua", STUCK), ("stuck_test.rhai", LIMITED)])), 2);
}
