//! `gatewright test` as a tool: it watches, reports to other tools, and stops what does not end; and what `new` and `eject` write
//! passes it. What a case can say is in [`super::unit_tests`].

use crate::support::{
    command::{Ended, binary, ended, gatewright, interruptible},
    gateway::{Files, Log, signal},
    python::python,
};
use std::{
    process::{Child, Stdio},
    thread,
};

const LANGUAGES: [&str; 2] = ["lua", "rhai"];

/// A script, and a case that wants `status` of it.
fn suite(status: u16) -> (&'static str, String) {
    let case = format!("fn test_a() {{ test::equal(test::plugin(\"a.lua\").request().status, {status}); }}\n");
    ("return { handle = function(req, ctx) return reply.text(200, 'hi') end }", case)
}

fn passed(ended: &Ended) -> usize {
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.stdout);
    ended.stdout.lines().filter(|line| line.starts_with("ok ")).count()
}

/// `gatewright test --watch`, running; it is killed with the value.
struct Watching {
    process: Child,
    output: Log,
    /// Lines of the runs so far.
    seen: usize,
}

impl Watching {
    fn start(files: &Files) -> Watching {
        let mut command = interruptible(&["test", "--watch"]);
        command.current_dir(files.folder());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the gateway's binary");
        let output = Log::default();
        output.follow(process.stdout.take().expect("a pipe"));
        output.follow(process.stderr.take().expect("a pipe"));
        Watching { process, output, seen: 0 }
    }

    /// Waits for a whole run, after those before, that says `text`. One save may be seen in two steps on a busy machine.
    fn until(&mut self, text: &str) {
        let from = self.seen;
        self.seen = self.output.wait(&format!("no run says `{text}` after line {from}"), |lines| {
            let said = from + lines.iter().skip(from).position(|line| line.contains(text))?;
            let ends = said + lines.iter().skip(said).position(|line| line == "waiting for changes")?;
            Some(ends + 1)
        });
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn watching_runs_again_after_each_save_and_ends_by_ctrl_c() {
    let files = Files::new();
    let (script, case) = suite(200);
    files.write("a.lua", script);
    files.write("a_test.rhai", &case);
    let mut watching = Watching::start(&files);
    watching.until("1 case, 0 failed");
    // The script, by an editor that writes in place.
    files.write("a.lua", &script.replace("200", "404"));
    watching.until("got 404");
    // The test, by one that renames.
    files.replace("a_test.rhai", &suite(404).1);
    watching.until("1 case, 0 failed");
    // A mistake ends nothing.
    files.replace("a_test.rhai", "fn test_a() { let x = ; }");
    watching.until("FAILED a_test.rhai load");
    // A second file of tests.
    files.replace("b_test.rhai", &suite(404).1);
    watching.until("2 cases, 1 failed");
    signal(watching.process.id(), "INT");
    let status = watching.process.wait().expect("its end");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2), "{status}");
}

#[test]
fn reports_have_the_shape_that_other_tools_read() {
    let files = Files::new();
    files.write("a.lua", "return { handle = function(req, ctx) log.error('<&\\27') error('\"no\"') end }");
    files.write("a_test.rhai", &suite(200).1);
    files.write("in/b_test.lua", "return { test_b = function() end, test_c = function() test.fail('a\\nb') end }");
    files.write("in/c_test.lua", "return {");
    let ended = gatewright(files.folder(), &["test", "--junit", "out.xml"]);
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    let shape = crate::support::command::ended(python("junit/shape.py").arg(files.path("out.xml")));
    assert_eq!((shape.code, shape.stdout.trim()), (0, "3 4 3"), "{}", shape.stderr);
}

#[test]
fn a_case_that_does_not_end_is_stopped_with_its_place_and_the_next_one_runs() {
    let lua = "return {\n  test_loops = function()\n    while true do pcall(function() while true do end end) end\n  end,\n  test_next = function() end,\n}\n";
    let rhai = "fn test_loops() {\n    loop { try { loop { } } catch { } }\n}\nfn test_next() { }\n";
    let waits = "fn test_waits() {\n    let gw = test::plugin(\"request-id\", #{ service: #{ timeout: \"off\" } });\n    gw.answer(\"GET\", \"svc://backend/*\", #{ delay: \"1h\" });\n    gw.request();\n}\nfn test_next() { }\n";
    let fills = "return { test_fills = function() local t = {} while true do table.insert(t, string.rep('x', 1e6) .. #t) end end, test_next = function() end }";
    let files = [
        ("a_test.lua", lua, "a_test.lua:3"),
        ("b_test.rhai", rhai, "b_test.rhai:1"),
        ("c_test.rhai", waits, "c_test.rhai:1"),
        ("d_test.lua", fills, "d_test.lua:1"),
    ];
    thread::scope(|scope| {
        for (file, text, place) in files {
            scope.spawn(move || {
                let folder = Files::new();
                folder.write(file, text);
                let ended = gatewright(folder.folder(), &["test"]);
                assert_eq!(ended.code, 1, "{}", ended.stdout);
                for expected in
                    [&format!("FAILED {file} test_"), "error: stopped: ", place, "test_next (", "2 cases, 1 failed"]
                {
                    assert!(ended.stdout.contains(expected), "no `{expected}` in\n{}", ended.stdout);
                }
            });
        }
    });
}

#[test]
fn what_a_script_adds_to_its_line_of_the_log_can_be_asserted() {
    let files = Files::new();
    files.write("a.lua", "return { on_log = function(ctx) log.info('done', { took = { ms = 7 }, who = 'ada' }) end }");
    let lua = "return { test_a = function()\n  local gw = test.plugin('a.lua')\n  gw:request()\n  test.equal(gw.logs[1].fields, { took = { ms = 7 }, who = 'ada' })\nend }";
    let rhai = "fn test_a() {\n  let gw = test::plugin(\"a.lua\");\n  gw.request();\n  test::equal(gw.logs[0].fields.took.ms, 7);\n}";
    files.write("a_test.lua", lua);
    files.write("a_test.rhai", rhai);
    assert_eq!(passed(&gatewright(files.folder(), &["test"])), 2);
}

/// Not only `time`: what the languages bring along for the time of day.
#[test]
fn the_languages_own_clocks_are_the_tests() {
    let files = Files::new();
    let lua = "return { handle = function()
  local then_, day = os.time(), os.date('!%H:%M:%S')
  time.sleep('2s')
  return reply.json(200, { then_ == math.floor(time.now()) - 2, os.time() - then_, day ~= os.date('!%H:%M:%S'),
    os.date('!%H', 3600), os.time({ year = 2020, month = 1, day = 1, hour = 0 }) })
end }";
    let rhai = "fn handle(req, ctx) {
  let then = timestamp();
  time::sleep(\"2s\");
  reply::json(200, [then.elapsed, timestamp() - then, elapsed(then)])
}";
    files.write("a.lua", lua);
    files.write("b.rhai", rhai);
    let body = r#"[true,2,true,"01",1577836800]"#;
    files.write(
        "a_test.lua",
        &format!("return {{ test_a = function() test.equal(json.encode(test.plugin('a.lua'):request().json), '{body}') end }}"),
    );
    let case = "fn test_b() { test::equal(test::plugin(\"b.rhai\").request().json, [2.0, 2.0, 2.0]); }";
    files.write("b_test.rhai", case);
    assert_eq!(passed(&gatewright(files.folder(), &["test"])), 2);
}

#[test]
fn what_new_writes_passes_test_and_check_in_both_languages() {
    for lang in LANGUAGES {
        let files = Files::new();
        let new = |what: &str, name: &str| gatewright(files.folder(), &["new", what, name, "--lang", lang]);
        for (what, name) in [("script", "greet"), ("plugin", "Stamp")] {
            let made = new(what, name);
            assert_eq!(made.code, 0, "{what} {lang}: {}", made.stderr);
            // Nothing is written over.
            let again = new(what, name);
            assert_eq!(again.code, 1, "{what} {lang}: {}", again.stdout);
            assert!(again.stderr.contains("is there already"), "{what} {lang}: {}", again.stderr);
        }
        assert_eq!(passed(&gatewright(files.folder(), &["test"])), 3, "{lang}");
        let plugins = format!("[{{script: greet.{lang}}}, {{name: Stamp, config: {{value: hello}}}}]");
        files.write("gateway.yaml", &format!("services: [{{name: s, url: 'http://127.0.0.1:1', routes: [{{name: r, paths: [/], plugins: {plugins}}}]}}]\n"));
        let checked = gatewright(files.folder(), &["check"]);
        assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{lang}: {}", checked.stdout);
        assert!(checked.stdout.contains("fine: 1 route, 1 service, 2 scripts in use"), "{lang}: {}", checked.stdout);
    }
}

#[test]
fn every_stock_plugin_passes_its_tests_after_eject_in_both_languages() {
    for lang in LANGUAGES {
        let files = Files::new();
        let list = gatewright(files.folder(), &["eject", "no-such-plugin"]);
        assert_eq!(list.code, 1, "{}", list.stdout);
        let names: Vec<&str> = list.stderr.split("there are ").nth(1).expect("a list").trim().split(", ").collect();
        assert!(names.len() >= 11, "{names:?}");
        for name in &names {
            let made = gatewright(files.folder(), &["eject", name, "--lang", lang]);
            assert_eq!(made.code, 0, "{name}: {}", made.stderr);
            let again = gatewright(files.folder(), &["eject", name, "--lang", lang]);
            assert_eq!(again.code, 1, "{name}: {}", again.stdout);
            assert!(again.stderr.contains(&format!("{name}.{lang} is there already")), "{}", again.stderr);
        }
        let tested = gatewright(files.folder(), &["test"]);
        assert!(passed(&tested) > names.len(), "{lang}: {}", tested.stdout);
        for name in &names {
            let first = format!("plugins/{name}_test.{lang} test_");
            assert!(tested.stdout.contains(&first), "no `{first}` in\n{}", tested.stdout);
        }
        // Without a route that names them they are read all the same.
        files.write("gateway.yaml", "routes: [{name: r, paths: [/], reply: {body: hi}}]\n");
        let checked = ended(binary().current_dir(files.folder()).arg("check"));
        assert_eq!(checked.code, 0, "{lang}: {}{}", checked.stdout, checked.stderr);
    }
}
