//! W3C Trace Context: continued when it is valid, begun when it is not, and passed on to whatever is called.

use crate::support::{Request, Upstream, gateway};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const YAML: &str = "
services:
  - {name: users, url: '${users}', routes: [{name: users, paths: [/users]}]}
routes:
  - {name: script, paths: [/script], plugins: [{script: a.lua}]}
";
const SCRIPT: &str = "return { handle = function() http.get('svc://users/called') return reply.text(200, 'hi') end }\n";

/// What the service gets of these headers.
fn received(path: &str, headers: &[(&str, &str)]) -> (String, Option<String>) {
    let users = Upstream::echo("users");
    let gateway = gateway(YAML).url("users", &users).file("a.lua", SCRIPT).start();
    let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(name, value));
    assert_eq!(gateway.send(request).status, 200);
    let received = users.request();
    let parents = received.headers.all("traceparent");
    assert_eq!(parents.len(), 1, "{parents:?}");
    (parents[0].to_owned(), received.header("tracestate").map(str::to_owned))
}

#[test]
fn a_trace_goes_on_with_the_gateway_as_its_span() {
    let (sent, state) = received("/users", &[("traceparent", PARENT), ("tracestate", "a=1,b=2")]);
    assert_eq!((&sent[..36], &sent[52..]), (&PARENT[..36], "-01"));
    assert_ne!(sent[36..52], PARENT[36..52]);
    assert_eq!(state.as_deref(), Some("a=1,b=2"));
}

#[test]
fn what_is_no_trace_is_replaced_and_its_state_is_dropped() {
    let twice: &[(&str, &str)] = &[("traceparent", PARENT), ("traceparent", PARENT)];
    let bad: &[(&str, &str)] = &[("traceparent", "00-zz-01-01"), ("tracestate", "a=1")];
    for headers in [&[], bad, twice] {
        let (sent, state) = received("/users", headers);
        assert_eq!((sent.len(), &sent[..3], &sent[52..]), (55, "00-", "-00"), "{sent}");
        assert_ne!(sent[3..35], PARENT[3..35]);
        assert_eq!(state, None);
    }
}

#[test]
fn calls_by_scripts_belong_to_the_trace() {
    let (sent, _) = received("/script", &[("traceparent", PARENT)]);
    assert_eq!(sent[..36], PARENT[..36]);
}

#[test]
fn calls_to_other_hosts_belong_to_the_trace_unless_the_script_says_otherwise() {
    let other = Upstream::echo("other");
    let yaml = "routes: [{paths: [/], plugins: [{name: it}]}]\n";
    let script = "return { handle = function(req)
  local own = req.query.own and { headers = { traceparent = req.query.own } } or nil
  return reply.text(200, tostring(http.get('URL/x', own).status))
end }";
    let manifest = format!("kind = \"other\"\n[permissions]\nhosts = [\"{}\"]\n", other.address());
    let gateway = gateway(yaml)
        .file("plugins/it/plugin.toml", &manifest)
        .file("plugins/it/main.lua", &script.replace("URL", &other.url()))
        .start();
    assert_eq!(gateway.send(Request::get("/").header("traceparent", PARENT)).ok().text(), "200");
    let of_script = "00-11111111111111111111111111111111-2222222222222222-00";
    assert_eq!(gateway.get(&format!("/?own={of_script}")).ok().text(), "200");
    let told: Vec<String> =
        other.requests().iter().map(|request| request.headers.all("traceparent").join(" ")).collect();
    assert_eq!((&told[0][..36], &told[0][52..]), (&PARENT[..36], "-01"));
    assert_ne!(told[0][36..52], PARENT[36..52], "the gateway's own span");
    assert_eq!(told[1], of_script);
}
