//! What a failure tells its client: in development all there is, in the form that it reads; in production a problem with the id.

use crate::support::{Request, Upstream, gateway};

const YAML: &str = "workers: 1\nlimits: {quarantine: off}\nservices:\n- {name: dead, url: \"${dead}\", routes: [{name: dead, paths: [/dead]}]}\n\
    routes:\n- {name: broken, paths: [/broken], methods: [GET], plugins: [{script: scripts/broken.lua}]}\n\
    - {name: rhai, paths: [/rhai], plugins: [{script: scripts/broken.rhai}]}\n";
const LUA: &str = "local function deep(req)\n  return req.headers.nothing .. '<i>'\nend\nreturn { handle = function(req) return deep(req) end }\n";
const RHAI: &str = "fn handle(req, ctx) {\n  let x = ();\n  x.nothing()\n}\n";
const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

fn given() -> crate::support::gateway::Given {
    gateway(YAML).url("dead", &Upstream::dead()).file("scripts/broken.lua", LUA).file("scripts/broken.rhai", RHAI)
}

#[test]
fn curl_reads_text_with_place_caret_hook_route_and_id() {
    let gateway = given().dev().start();
    for (path, place, line) in [
        ("/broken", "scripts/broken.lua:2:", "    2 |   return req.headers.nothing .. '<i>'"),
        ("/rhai", "scripts/broken.rhai:3:", "    3 |   x.nothing()"),
    ] {
        let answer = gateway.send(Request::get(path).header("accept", "*/*"));
        assert_eq!((answer.status, answer.header("content-type")), (500, Some("text/plain; charset=utf-8")));
        let (text, id) = (answer.text(), answer.header("x-request-id").expect("an id").to_owned());
        let route = format!("route: {}", path.trim_start_matches('/'));
        for expected in [
            place,
            line,
            "      | ",
            "^",
            "hook: handle",
            &route,
            &format!("request: GET {path}"),
            &format!("request id: {id}"),
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }
    let text = gateway.get("/broken").text();
    assert!(text.contains("\n  at "), "a stack: {text}");
    assert!(gateway.get("/rhai").text().contains("there is no function `nothing` for (nothing)\n"));
}

#[test]
fn browsers_read_a_page_and_programs_a_problem() {
    let gateway = given().dev().start();
    let page = gateway.send(Request::get("/broken").header("accept", BROWSER));
    assert_eq!((page.status, page.header("content-type")), (500, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src"), "{policy}");
    let text = page.text();
    assert!(text.contains("&lt;i&gt;") && !text.contains("<i>"), "{text}");
    assert!(!text.contains("<script") && !text.contains("http://") && !text.contains("src="), "{text}");
    let problem = gateway.send(Request::get("/broken").header("accept", "application/json"));
    assert!(problem.problem(500).contains("scripts/broken.lua:2:"));
}

#[test]
fn no_route_and_a_dead_target_are_explained() {
    let gateway = given().dev().start();
    let lost = gateway.send(Request::new("POST", "/broken"));
    assert_eq!(lost.status, 404);
    let text = lost.text();
    for expected in [
        "no route matches POST /broken",
        "  broken: its methods do not include POST",
        "  dead: its paths do not match `/broken`",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let dead = gateway.get("/dead/x");
    assert_eq!(dead.status, 502);
    let text = dead.text();
    for expected in
        ["service: dead", "target: 127.0.0.1:", "request: GET /dead/x", "route: dead", "connecting: Connection refused"]
    {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn production_tells_nobody() {
    let gateway = given().start();
    for (path, status) in [("/broken", 500), ("/rhai", 500), ("/dead", 502), ("/none", 404)] {
        let answer = gateway.send(Request::get(path).header("accept", BROWSER));
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, Some("application/problem+json")),
            "{path}"
        );
        let text = answer.text();
        for secret in ["scripts", ".lua", ".rhai", "nothing", "127.0.0.1:", "methods"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert_eq!(answer.json()["request_id"].as_str(), answer.header("x-request-id"));
    }
}

#[test]
fn an_error_that_repeats_is_logged_once_and_counted() {
    let mut gateway = given().start();
    for _ in 0..20 {
        assert_eq!(gateway.get("/broken").status, 500);
    }
    assert_eq!(gateway.get("/rhai").status, 500);
    gateway.log_contains("broken.rhai:3:");
    // What was counted is told when it ends, at the latest.
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    let again = gateway.log_contains("a script failed again in the same way");
    assert!(again.contains("broken.lua:2:") && again.contains("\"repeats\":19"), "{again}");
    let whole = gateway
        .log
        .lines()
        .iter()
        .filter(|line| line.contains("\"a script failed\"") && line.contains("broken.lua"))
        .count();
    assert_eq!(whole, 1);
}
