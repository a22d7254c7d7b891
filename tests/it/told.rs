//! What the gateway tells beside what it passes on: fields for targets, as scripts see and change them, and fields that scripts add to
//! answers. Both are kept apart from the headers that came as long as nobody looks, and nobody may notice.

use crate::support::{Gateway, Request, Upstream, gateway, reply};

const YAML: &str = "
services:
  - {name: users, url: '${users}', routes: [
      {name: lua, paths: [/lua], plugins: [{script: a.lua}]},
      {name: rhai, paths: [/rhai], plugins: [{script: a.rhai}]}]}
";
const LUA: &str = "return { on_request = function(req, ctx)
  local part, headers = req.query.part, req.headers
  if part == 'read' then ctx.response_headers['x-read'] = headers['X-Forwarded-Proto'] .. #headers['x-request-id']
  elseif part == 'has' then ctx.response_headers['x-has'] = tostring(headers:has('traceparent'))
  elseif part == 'remove' then headers['x-request-id'] = nil
  elseif part == 'replace' then headers['X-Forwarded-For'] = 'mine'
  elseif part == 'spell' then headers['x_forwarded_host'] = 'mine'
  elseif part == 'add' then headers:add('x-forwarded-port', '1')
  elseif part == 'names' then
    for _, name in headers:names() do
      if name == 'traceparent' then headers['x-seen'] = name end
    end
  elseif part then ctx.response_headers[part] = 'mine' end
end }";
const RHAI: &str = "fn on_request(req, ctx) {
  let part = req.query.part; let headers = req.headers;
  if part == \"read\" { ctx.response_headers[\"x-read\"] = headers[\"X-Forwarded-Proto\"] + headers[\"x-request-id\"].len; }
  else if part == \"has\" { ctx.response_headers[\"x-has\"] = `${headers.has(\"traceparent\")}`; }
  else if part == \"remove\" { headers[\"x-request-id\"] = (); }
  else if part == \"replace\" { headers[\"X-Forwarded-For\"] = \"mine\"; }
  else if part == \"spell\" { headers[\"x_forwarded_host\"] = \"mine\"; }
  else if part == \"add\" { headers.add(\"x-forwarded-port\", \"1\"); }
  else if part == \"names\" {
    for name in headers.names() { if name == \"traceparent\" { headers[\"x-seen\"] = name; } }
  }
  else if part != () { ctx.response_headers[part] = \"mine\"; }
}";
const TOLD: [&str; 6] =
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-host", "x-request-id", "traceparent"];

fn started(users: &Upstream) -> Gateway {
    gateway(YAML).url("users", users).file("a.lua", LUA).file("a.rhai", RHAI).start()
}

#[test]
fn scripts_see_and_change_what_targets_are_told() {
    let users = Upstream::echo("users");
    let gateway = started(&users);
    for language in ["lua", "rhai"] {
        // How often the target gets each of the fields.
        for (part, counts) in [
            ("", [1, 1, 1, 1, 1, 1]),
            ("read", [1, 1, 1, 1, 1, 1]),
            ("has", [1, 1, 1, 1, 1, 1]),
            ("remove", [1, 1, 1, 1, 0, 1]),
            ("replace", [1, 1, 1, 1, 1, 1]),
            ("spell", [1, 1, 1, 0, 1, 1]),
            ("add", [1, 1, 2, 1, 1, 1]),
            ("names", [1, 1, 1, 1, 1, 1]),
        ] {
            let query = if part.is_empty() { String::new() } else { format!("?part={part}") };
            let answer = gateway.send(Request::get(&format!("/{language}{query}")));
            let received = users.requests().pop().expect("a request");
            assert_eq!(TOLD.map(|name| received.headers.all(name).len()), counts, "{language} {part}");
            assert_eq!(answer.header("x-read"), (part == "read").then_some("http36"), "{language}");
            assert_eq!(answer.header("x-has"), (part == "has").then_some("true"), "{language}");
            let client = if part == "replace" { "mine" } else { "127.0.0.1" };
            assert_eq!(received.header("x-forwarded-for"), Some(client), "{language} {part}");
            assert_eq!(received.header("x_forwarded_host"), (part == "spell").then_some("mine"), "{language}");
            assert_eq!(received.header("x-seen"), (part == "names").then_some("traceparent"), "{language}");
        }
    }
}

#[test]
fn what_a_script_adds_to_an_answer_replaces_what_the_target_says() {
    let users = Upstream::start(|_| reply(200, "hi").header("X-One", "1").header("x-one", "2").header("Server", "it"));
    let gateway = started(&users);
    for language in ["lua", "rhai"] {
        for (part, expected) in [
            ("x-two", [vec!["1", "2"], vec!["mine"], vec!["it"]]),
            ("X-ONE", [vec!["mine"], vec![], vec!["it"]]),
            ("server", [vec!["1", "2"], vec![], vec!["mine"]]),
            ("x-request-id", [vec!["1", "2"], vec![], vec!["it"]]),
            ("content-length", [vec!["1", "2"], vec![], vec!["it"]]),
            ("connection", [vec!["1", "2"], vec![], vec!["it"]]),
        ] {
            let answer = gateway.send(Request::get(&format!("/{language}?part={part}")));
            assert_eq!(
                ["x-one", "x-two", "server"].map(|name| answer.headers.all(name)),
                expected,
                "{language} {part}"
            );
            assert_eq!(
                answer.headers.all("x-request-id").iter().map(|id| id.len()).collect::<Vec<_>>(),
                [36],
                "{part}"
            );
            assert_eq!((answer.headers.all("content-length"), answer.text().as_str()), (vec!["2"], "hi"), "{part}");
            assert_eq!(answer.headers.all("connection"), Vec::<&str>::new(), "{part}");
            assert_eq!(answer.headers.all("date").len(), 1, "{part}");
        }
    }
}
