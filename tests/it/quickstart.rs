//! The quickstart as a newcomer meets it: started by one command, its printed lines pasted into a shell, a script saved.

use crate::support::{Client, Request, command::ended, eventually, quickstart::Quickstart};
use std::{fs, process::Command};

/// For each printed command, by the number of its pattern: what the answer must hold.
const ANSWERS: [(&str, &[&str]); 5] = [
    ("1", &["HTTP/1.1 200 OK", r#""id":"42""#, r#""name":"Ada Lovelace""#]),
    ("2", &["HTTP/1.1 200 OK", "x-caller: 42 <ada@example.com>"]),
    ("3", &["HTTP/1.1 200 OK", "ratelimit-policy: \"default\";q=5;w=10", "ratelimit: \"default\";r=4;t="]),
    ("4", &["HTTP/1.1 200 OK", r#""email":"ada@example.com""#, r#""source":"legacy-transform""#]),
    ("5", &["HTTP/1.1 200 OK", r#""recentOrders":[{"#, r#""avatar":"https://cdn.example.com/avatars/42.png""#]),
];

fn shell(line: &str) -> String {
    let ended = ended(Command::new("sh").args(["-c", line]));
    assert_eq!(ended.code, 0, "{line}: {} (curl is missing? `tests/run` installs it)", ended.stderr);
    ended.stdout
}

#[test]
fn it_prints_where_it_listens_the_routes_and_a_line_for_each_pattern() {
    let quickstart = Quickstart::start();
    let output = quickstart.output.lines().join("\n");
    for expected in [
        format!("listening on http://{}", quickstart.address()),
        format!("administration on http://{}", quickstart.admin()),
        "mobile-dashboard".into(),
        "-> legacy".into(),
    ] {
        assert!(output.contains(&expected), "no `{expected}` in\n{output}");
    }
    let commands = quickstart.commands();
    let numbers: Vec<&str> = commands.iter().filter_map(|(title, _)| title.split(' ').next()).collect();
    assert_eq!(numbers, ANSWERS.map(|(number, _)| number));
}

#[test]
fn every_printed_line_works_when_pasted() {
    let quickstart = Quickstart::start();
    let commands = quickstart.commands();
    for (number, expected) in ANSWERS {
        let (_, line) = commands.iter().find(|(title, _)| title.starts_with(number)).expect("a line for it");
        assert!(line.starts_with("curl "), "{line}");
        let answer = shell(line);
        for part in expected {
            assert!(answer.contains(part), "{line}\nno `{part}` in\n{answer}");
        }
    }
}

#[test]
fn the_patterns_do_what_their_titles_say() {
    let quickstart = Quickstart::start();
    let get = |target: &str| Client::connect(quickstart.address()).send(&Request::get(target));
    for target in ["/account/42", "/mobile/dashboard", "/web/dashboard"] {
        get(target).problem(401);
    }
    let statuses: Vec<u16> = (0..6).map(|_| get("/limited/orders/7").status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    assert_eq!(get("/by-hand/v2/users/42").ok().json(), get("/api/v2/users/42").ok().json());
    let v2 = r#"{"id":"7","email":"g@example.com","name":{"first":"Grace","last":"Hopper"}}"#;
    let posted = Client::connect(quickstart.address()).send(&Request::post("/api/v2/users", "").json(v2));
    assert_eq!(posted.status, 201, "{}", posted.text());
    let (_, line) =
        quickstart.commands().into_iter().find(|(title, _)| title.starts_with('5')).expect("the last pattern");
    let web = shell(&line.replace("/mobile/dashboard", "/web/dashboard"));
    assert!(web.contains(r#""recommended":[{"#) && web.contains(r#""orders":[{"#), "{web}");
    Client::connect(quickstart.admin()).send(&Request::get("/healthz")).ok();
}

#[test]
fn a_saved_script_is_live_and_a_broken_one_shows_its_error_and_changes_nothing() {
    let quickstart = Quickstart::start();
    let path = "examples/quickstart/scripts/demo/users.lua";
    let original = fs::read_to_string(quickstart.files.path(path)).expect("the script");
    let name =
        || Client::connect(quickstart.address()).send(&Request::get("/api/users/42")).ok().json()["name"].clone();
    quickstart.files.replace(path, &original.replace("Ada Lovelace", "Grace Hopper"));
    eventually("the saved script", || (name() == "Grace Hopper").then_some(()));
    quickstart.files.replace(path, &original.replace("function M.handle(req, ctx)", "function M.handle(req, ctx"));
    let shown = quickstart.errors.wait("nothing was said of the broken script", |lines| {
        lines.iter().any(|line| line.contains("not reloaded")).then(|| lines.join("\n"))
    });
    assert!(shown.contains("users.lua:") && shown.contains("| "), "{shown}");
    assert_eq!(name(), "Grace Hopper");
}

/// In development a client sees what went wrong in a script, and where.
#[test]
fn clients_see_the_errors_of_scripts() {
    let quickstart = Quickstart::start();
    let path = "examples/quickstart/scripts/demo/users.lua";
    quickstart.files.replace(path, "return { handle = function(req)\n  return req.cookies.nothing.at_all\nend }\n");
    eventually("the failing script", || {
        let answer = Client::connect(quickstart.address()).send(&Request::get("/api/users/42"));
        (answer.status == 500
            && answer.text().contains("users.lua:2")
            && answer.text().contains("req.cookies.nothing.at_all"))
        .then_some(())
    });
}
