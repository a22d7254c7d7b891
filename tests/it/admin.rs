//! The administration: who may ask, by which method, and what it tells of generations.

use crate::support::{Answer, Client, Gateway, Request, Upstream, eventually, gateway, reply};

const YAML: &str = "admin: 127.0.0.1:0\nworkers: 1\nroutes:\n- {name: a, paths: [/a], reply: {body: one}}\n";

fn admin(gateway: &Gateway, request: Request) -> Answer {
    Client::connect(gateway.address_of("admin")).send(&request)
}

fn generations(gateway: &Gateway) -> serde_json::Value {
    admin(gateway, Request::get("/api/v1/generations")).ok().json()
}

#[test]
fn a_page_of_another_name_or_origin_is_refused() {
    let gateway = gateway(YAML).start();
    let address = gateway.address_of("admin");
    let told = |host: &str, origin: Option<&str>, method: &str, target: &str| {
        let request = Request::new(method, target).header("host", host);
        admin(&gateway, origin.into_iter().fold(request, |request, origin| request.header("origin", origin))).status
    };
    let own = address.to_string();
    let localhost = format!("localhost:{}", address.port());
    for (host, origin, expected) in [
        (own.as_str(), None, 200),
        (&localhost, None, 200),
        // DNS rebinding: a name of the attacker's that has come to mean this machine.
        ("attacker.example", None, 403),
        (&format!("attacker.example:{}", address.port()), None, 403),
        ("localhost.attacker.example", None, 403),
        ("127.0.0.1.attacker.example", None, 403),
        (&own, Some(&*format!("http://{own}")), 200),
        (&localhost, Some(&*format!("http://{localhost}")), 200),
        // Cross-site requests, also from another port of this machine.
        (&own, Some("http://attacker.example"), 403),
        (&own, Some("null"), 403),
        (&own, Some("http://127.0.0.1:1"), 403),
        (&own, Some(&*format!("https://{own}")), 403),
        (&own, Some(&*format!("http://{own}.attacker.example")), 403),
    ] {
        for target in ["/api/v1/status", "/healthz", "/metrics", "/"] {
            assert_eq!(told(host, origin, "GET", target), expected, "{host} {origin:?} {target}");
        }
    }
    assert_eq!(told(&own, Some("http://attacker.example"), "POST", "/api/v1/reload"), 403);
    assert_eq!(generations(&gateway)["attempts"].as_array().map(Vec::len), Some(1), "nothing was reloaded");
}

#[test]
fn each_path_takes_its_methods_and_answers_json() {
    let gateway = gateway(YAML).start();
    let read = ["status", "routes", "services", "targets", "plugins", "generations"];
    let paths = read.iter().map(|name| format!("/api/v1/{name}")).chain(["/healthz".into(), "/readyz".into()]);
    for path in paths {
        let answer = admin(&gateway, Request::get(&path)).ok();
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        assert!(answer.json().is_object() || answer.json().is_array(), "{path}");
        let head = admin(&gateway, Request::new("HEAD", &path));
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        let refused = admin(&gateway, Request::post(&path, ""));
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{path}");
        assert_eq!(refused.json()["error"], format!("{path} takes GET, HEAD, not POST"));
    }
    for path in ["/api/v1/reload", "/api/v1/targets/s/127.0.0.1:1/up"] {
        let refused = admin(&gateway, Request::get(path));
        assert_eq!((refused.status, refused.header("allow")), (405, Some("POST")), "{path}");
    }
    let missing = admin(&gateway, Request::get("/api/v1/nothing"));
    assert_eq!((missing.status, &missing.json()["error"]), (404, &"there is no /api/v1/nothing".into()));
    assert_eq!(admin(&gateway, Request::new("DELETE", "/metrics")).header("allow"), Some("GET, HEAD"));
}

#[test]
fn a_token_opens_all_but_health_and_the_empty_page() {
    let yaml = YAML.replace("admin: 127.0.0.1:0", "admin: {address: '127.0.0.1:0', token: secret-of-the-operator}");
    let gateway = gateway(&yaml).start();
    for (path, without) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/", 200),
        ("/metrics", 401),
        ("/api/v1/status", 401),
        ("/api/v1/x", 401),
    ] {
        assert_eq!(admin(&gateway, Request::get(path)).status, without, "{path}");
    }
    let refused = admin(&gateway, Request::get("/api/v1/generations").bearer("secret-of-the-operato"));
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    admin(&gateway, Request::get("/api/v1/generations").bearer("secret-of-the-operator")).ok();
    let page = admin(&gateway, Request::get("/"));
    assert!(!page.text().contains("secret-of-the-operator"));
}

#[test]
fn generations_say_what_changed_and_why_one_was_refused() {
    let gateway = gateway(YAML).start();
    let first = generations(&gateway);
    assert_eq!((&first["current"]["generation"], &first["previous"]), (&1.into(), &serde_json::Value::Null));
    assert_eq!(first["attempts"][0]["cause"], "start");
    let reload = || admin(&gateway, Request::post("/api/v1/reload", "")).status;
    let written = |text: &str| gateway.files.write("gateway.yaml", &crate::support::gateway::with_defaults(text));
    written(&YAML.replace("one", "two"));
    assert_eq!(reload(), 200);
    written(&YAML.replace("reply", "replay"));
    assert_eq!(reload(), 422);
    let now = generations(&gateway);
    let serving = now["current"]["generation"].as_u64().expect("a number");
    assert_eq!(now["previous"]["generation"], 1);
    let attempts = now["attempts"].as_array().expect("a list");
    // Saves are also seen by the watcher: there may be attempts of its own, which changed nothing any more.
    let refused = attempts.iter().find(|attempt| attempt["result"] == "refused").expect("the refused one");
    let text = refused["diagnostics"].as_str().expect("a text");
    assert!(text.contains("replay") && text.contains("gateway.yaml:"), "{text}");
    let served = attempts.iter().find(|attempt| attempt["generation"] == serving).expect("the serving one");
    assert_eq!(served["result"], "serving");
    let changed = served["changed"][0].as_str().expect("a path");
    assert!(changed.ends_with("gateway.yaml"), "{changed}");
    let (at, since) = (served["at"].as_f64().expect("a time"), first["current"]["since"].as_f64().expect("a time"));
    assert!(at >= since, "{at} is before {since}");
    assert_eq!(gateway.get("/a").text(), "two");
}

/// Scripts that load for long, as those do that ask somebody: meanwhile it is not ready.
#[test]
fn it_is_not_ready_while_it_starts() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (arrive, arrived) = std::sync::mpsc::channel::<()>();
    let both = std::sync::Mutex::new((arrive, released));
    let asked = Upstream::start(move |_| {
        let (arrive, released) = &*both.lock().expect("no panic before");
        let _ = arrive.send(());
        let _ = released.recv();
        reply(200, "")
    });
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let yaml = format!(
        "admin: {free}\nworkers: 1\nservices: [{{name: s, url: '${{s}}', routes: [{{paths: [/], plugins: [{{script: a.lua}}]}}]}}]\n"
    );
    let script = "return { on_load = function() http.get('svc://s/x') end }";
    let given = gateway(&yaml).url("s", &asked).file("a.lua", script);
    let readiness = || {
        let mut client = Client::try_connect(free).ok()?;
        let answer = client.try_send(&Request::get("/readyz")).ok()?;
        Some((answer.status, answer.json()["status"].as_str().unwrap_or_default().to_owned()))
    };
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| given.start());
        let told = eventually("it answers", readiness);
        assert_eq!(told, (503, "starting".to_owned()));
        arrived.recv().expect("the script asks");
        assert_eq!(readiness(), Some((503, "starting".to_owned())));
        let alive = Client::connect(free).send(&Request::get("/healthz"));
        assert_eq!(alive.status, 200);
        release.send(()).expect("the upstream waits");
        let _gateway = starting.join().expect("it starts");
        assert_eq!(readiness(), Some((200, "ready".to_owned())));
    });
}

#[test]
fn the_page_has_all_that_it_needs() {
    let gateway = gateway(YAML).start();
    let page = admin(&gateway, Request::get("/")).ok();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let text = page.text();
    for elsewhere in ["http://", "https://", "src=", "<link", "@import", "innerHTML", "eval("] {
        assert!(!text.contains(elsewhere), "{elsewhere}");
    }
}
