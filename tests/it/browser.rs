//! What a real browser makes of the gateway: `cors`, the pages, WebSockets and event streams.

use crate::support::{
    Gateway, Upstream,
    browser::Browser,
    gateway::{self, with_defaults},
    reply,
    websocket::{self, TEXT, frame, read_frame},
    wire,
};
use serde_json::json;
use std::{
    io::{BufReader, Write},
    sync::{Mutex, mpsc},
};

const CORS: &str = "
access_log: stdout
workers: 1
services:
- name: api
  url: '${api}'
  routes:
  - name: open
    paths: [/api]
    plugins:
      - name: cors
        config: {origins: ['${page}'], methods: [GET, PUT], headers: [x-own, content-type], expose: [x-total], credentials: true}
  - {name: closed, paths: [/closed]}
";

/// `ask` of the page: what its own script sees of an answer.
const ASK: &str = "
const ask = async (url, options) => {
  try {
    const answer = await fetch(url, options);
    const seen = name => answer.headers.get(name);
    return { status: answer.status, text: await answer.text(), total: seen('x-total'), hidden: seen('x-hidden') };
  } catch (error) { return { error: error.name }; }
};";

const PUT: &str = "{ method: 'PUT', headers: { 'x-own': '1', 'content-type': 'application/json' }, body: '{\"a\":1}' }";

fn requests_of(gateway: &Gateway, method: &str) -> usize {
    gateway.output.lines().iter().filter(|line| line.contains(&format!("\"method\":\"{method}\""))).count()
}

#[test]
fn cors_lets_in_whom_it_names_and_no_other() {
    let api = Upstream::start(|_| reply(200, "[1]").json().header("x-total", "3").header("x-hidden", "1"));
    let page =
        Upstream::start(|_| reply(200, "<!doctype html><title>a page</title>").header("content-type", "text/html"));
    let gateway = gateway::gateway(CORS).url("api", &api).url("page", &page).start();
    let (url, browser) = (format!("http://{}", gateway.address()), Browser::start());
    let ask = |path: &str, options: &str| browser.run(&format!("{ASK} return ask('{url}{path}', {options});"));
    let refused = json!({ "error": "TypeError" });

    browser.open(&page.url());
    let seen = json!({ "status": 200, "text": "[1]", "total": "3", "hidden": null });
    assert_eq!(ask("/api/simple", "{}"), seen, "only exposed headers are shown");
    assert_eq!(requests_of(&gateway, "OPTIONS"), 0, "a simple request needs no preflight");

    assert_eq!(ask("/api/put", PUT), seen);
    assert_eq!(ask("/api/put", PUT), seen);
    gateway.output.counts("\"method\":\"PUT\"", 2);
    assert_eq!(requests_of(&gateway, "OPTIONS"), 1, "the preflight's answer is remembered");
    let put = api.requests().into_iter().find(|request| request.method == "PUT").expect("it arrived");
    assert_eq!((put.header("x-own"), &*put.text()), (Some("1"), "{\"a\":1}"));

    browser.run("document.cookie = 'session=7'");
    assert_eq!(ask("/api/with", "{ credentials: 'include' }"), seen);
    assert_eq!(ask("/api/without", "{ credentials: 'omit' }"), seen);
    let cookie = |path: &str| {
        api.requests().into_iter().find(|r| r.target == path).expect("it").header("cookie").map(str::to_owned)
    };
    assert_eq!((cookie("/with"), cookie("/without")), (Some("session=7".to_owned()), None));

    let before = api.requests().len();
    assert_eq!(ask("/api/delete", "{ method: 'DELETE' }"), refused, "not one of the methods");
    assert_eq!(ask("/api/header", "{ headers: { 'x-other': '1' } }"), refused, "not one of the headers");
    assert_eq!(api.requests().len(), before, "their preflights were refused");
    assert_eq!(ask("/closed", "{}"), refused, "without the plugin nobody may read it");

    // The same page under another name is another origin.
    browser.open(&page.url().replace("127.0.0.1", "localhost"));
    assert_eq!(ask("/api/simple", "{}"), refused);
    let before = api.requests().len();
    assert_eq!(ask("/api/put", PUT), refused);
    assert_eq!(api.requests().len(), before, "its preflight was refused");
}

#[test]
fn the_dashboard_shows_what_runs_and_why_a_save_was_refused() {
    let users = Upstream::json("1");
    let yaml = "admin: {address: '127.0.0.1:0', token: of-the-operator}\nworkers: 1\nservices:\n- name: users\n  url: '${users}'\n  routes:\n\
        \x20 - {name: '<b>users</b>', paths: [/users], plugins: [{name: request-id}]}\n";
    let gateway = gateway::gateway(yaml).url("users", &users).start();
    let browser = Browser::start();
    browser.open(&format!("http://{}/", gateway.address_of("admin")));
    browser.shows("#status", "asks for a token");
    browser.run(
        "document.querySelector('#token').value = 'of-the-operator'; document.querySelector('#ask button').click()",
    );
    browser.shows("#status", "Ready: generation 1");
    browser.shows("#routes", "<b>users</b>");
    assert_eq!(browser.run("return document.querySelectorAll('b').length"), 0, "names are text");
    browser.shows("#services", "1 of 1");
    browser.shows("#targets", &users.address().to_string());
    browser.shows("#plugins", "request-id");
    browser.shows("#generations", "serving");
    assert_eq!(browser.run("return document.querySelector('#problem').hidden"), true);
    gateway.files.write("gateway.yaml", &with_defaults(&yaml.replace("plugins:", "plugin:")));
    browser.shows("#error", "unknown key `plugin`");
    browser.shows("#generations", "refused");
    assert_eq!(browser.run("return document.querySelector('#problem').hidden"), false);
    browser.shows("#status", "generation 1");
}

#[test]
fn an_error_in_development_is_a_page_that_runs_nothing() {
    let script = "return {\n  on_request = function(req)\n    error('<img src=x onerror=\"window.hit=1\">' .. req.query.q)\n  end,\n}\n";
    let yaml =
        "workers: 1\nroutes:\n- {name: broken, paths: [/broken], plugins: [{script: broken.lua}], reply: {body: x}}\n";
    let gateway = gateway::gateway(yaml).file("broken.lua", script).dev().start();
    let browser = Browser::start();
    browser.open(&format!("http://{}/broken?q=%3Cscript%3Ewindow.hit=1%3C/script%3E", gateway.address()));
    assert_eq!(browser.run("return document.title"), "500 Internal Server Error: a script failed");
    let error = browser.text("#error");
    assert!(error.contains("broken.lua:3:") && error.contains("<script>window.hit=1</script>"), "{error}");
    assert!(error.contains("    3 |     error('<img"), "{error}");
    browser.shows("#facts", "on_request");
    assert_eq!(
        browser.run("return [document.querySelectorAll('img, script').length, window.hit ?? null]"),
        json!([0, null])
    );
    browser.open(&format!("http://{}/elsewhere", gateway.address()));
    assert_eq!(browser.run("return document.title"), "404 Not Found: no route matches");
    browser.shows("#routes", "its paths do not match `/elsewhere`");
}

#[test]
fn web_sockets_and_event_streams_reach_the_page() {
    let echo = websocket::target(|_, input| {
        while let Some((TEXT, _, payload)) = read_frame(input) {
            let _ = input.get_mut().write_all(&frame(TEXT, payload.to_ascii_uppercase()));
        }
    });
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let events = Upstream::raw(move |stream| {
        let mut input = BufReader::new(stream);
        let Ok(Some(_)) = wire::read_request_head(&mut input) else { return };
        let out = input.get_mut();
        let _ = out.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\nid: 1\ndata: one\n\n",
        );
        // The second only when the page has seen the first.
        let _ = wait.lock().expect("the only one").recv();
        let _ = out.write_all(b"id: 2\ndata: two\n\n");
        let _ = wait.lock().expect("the only one").recv();
    });
    let yaml = "workers: 1\nservices:\n- {name: echo, url: '${echo}', routes: [{name: echo, paths: [/ws]}]}\n\
        - {name: events, url: '${events}', routes: [{name: events, paths: [/events]}]}\n\
        routes:\n- {name: page, paths: [/page], reply: {headers: {content-type: text/html}, body: <title>page</title>}}\n";
    let gateway = gateway::gateway(yaml).url("echo", &echo).url("events", &events).start();
    let browser = Browser::start();
    browser.open(&format!("http://{}/page", gateway.address()));
    let heard = browser.run(
        "const socket = new WebSocket(`ws://${location.host}/ws`, 'chat');
         const heard = [];
         await new Promise((done, failed) => {
           socket.onopen = () => { socket.send('hello'); socket.send('again'); };
           socket.onmessage = event => { heard.push(event.data); if (heard.length === 2) done(); };
           socket.onerror = () => failed(new Error('the socket failed'));
         });
         return [heard, socket.protocol];",
    );
    assert_eq!(heard, json!([["HELLO", "AGAIN"], "chat"]));
    browser.run(
        "window.seen = []; window.stream = new EventSource('/events');
         stream.onmessage = event => { seen.push(event.lastEventId + event.data); document.title = seen.join(); };",
    );
    browser.shows("title", "1one");
    assert_eq!(browser.run("return window.seen"), json!(["1one"]), "before there was a second");
    go_on.send(()).expect("it waits");
    browser.shows("title", "1one,2two");
    browser.run("stream.close()");
}
