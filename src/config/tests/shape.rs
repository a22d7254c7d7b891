//! What a text without mistakes becomes.

use super::super::{AccessLogTo, OnError, PluginKind, Workers, find, load};
use super::{env, good};

const WHOLE: &str = include_str!("whole.yaml");

#[test]
fn every_key_is_decoded() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("extra")).expect("a folder");
    std::fs::write(folder.path().join("secret"), "from-a-file\n").expect("a file");
    let path = folder.path().join("gateway.yaml");
    std::fs::write(&path, WHOLE).expect("a file");
    let loaded = load(&path, None, &env);
    assert_eq!(loaded.diagnostics.render(super::Style::Plain), "");
    let config = loaded.config.expect("a configuration");

    assert_eq!(loaded.files.paths().collect::<Vec<_>>(), [&path, &folder.path().join("secret")]);
    let listeners: Vec<_> =
        config.listeners.iter().map(|l| format!("{} {:?}", l.address, l.name.as_ref().map(|n| n.as_str()))).collect();
    assert_eq!(listeners, ["127.0.0.1:8080 None", "[::1]:8081 Some(\"inner\")"]);
    let admin = config.admin.as_ref().expect("admin");
    let token = admin.token.as_ref().map(|t| t.0.as_str());
    assert_eq!((admin.address.to_string(), token), ("0.0.0.0:9080".to_owned(), Some("hunter2-hunter2")));
    assert_eq!(config.workers, Workers::Exactly(std::num::NonZeroUsize::MIN));
    assert_eq!(config.access_log.to, AccessLogTo::File(folder.path().join("access.log")));
    assert_eq!(config.redis.as_ref().map(|r| r.value.0.as_str()), Some("redis://127.0.0.1:6379/0"));
    assert_eq!(config.plugins_dir.path, folder.path().join("extra"));
    assert_eq!(format!("{:?}", config.trusted_proxies), "[10.0.0.0/8, 192.0.2.1/32]");
    assert_eq!(format!("{:?}", config.identity_headers), "[\"x-user-id\", \"x-tenant\"]");
    assert_eq!(
        format!("{:?}", config.limits),
        "Limits { max_header_bytes: 32768, max_header_count: 50, max_body_size: 1000000, max_connections: 50000, max_connections_per_ip: None, header_timeout: 5s, idle_timeout: 60s, min_body_rate: 1000, write_timeout: 30s, script_cpu: 20ms, script_memory: 33554432, quarantine: Some(Quarantine { failure_rate: 60, window: 20s, min_runs: 7, limit_hits: 4, hold_for: 2s, max_hold_for: 30s }) }"
    );

    let services: Vec<_> = config
        .services
        .iter()
        .map(|s| {
            let targets: Vec<_> = s.targets.iter().map(|t| format!("{t} x{}", t.weight)).collect();
            let times = [s.timeout.unwrap_or_default(), s.connect_timeout, s.read_timeout, s.write_timeout];
            format!("{} {} {times:?} {} {}", s.name.value, targets.join(" "), s.retries, s.preserve_host)
        })
        .collect();
    assert_eq!(
        services,
        [
            "users http://127.0.0.1:9001/v1/base x1 [5s, 1s, 2s, 3s] 2 true",
            "orders http://orders.internal x2 http://[::1]:9002/o x0 [60s, 5s, 60s, 60s] 0 false",
        ]
    );
    let times_streams: Vec<_> = config.services.iter().map(|s| s.times_streams).collect();
    assert_eq!(times_streams, [true, false], "only a timeout that is written ends a stream");
    let routes: Vec<_> = config
        .routes
        .iter()
        .map(|r| {
            let paths: Vec<_> = r.paths.iter().map(|p| p.to_string()).collect();
            let service = config.service_of(r).map_or("-", |s| s.name.as_str());
            format!("{} {service} {paths:?} {:?} {} {}", r.name.value, r.methods, r.strip_path, r.preserve_host)
        })
        .collect();
    assert_eq!(
        routes,
        [
            r#"users-1 users ["/api/users", "=/me", "/users/{id}", "~/u/(?<id>\\d+)"] [GET, POST] false true"#,
            r#"orders users ["/api/orders"] [] true false"#,
            r#"route-2 - ["/dash"] [] true false"#,
        ]
    );
    let first = &config.routes[0];
    assert_eq!(
        format!("{:?} {:?} {:?}", first.hosts, first.headers, first.query),
        "[Exact(\"api.example.com\"), Suffix(\".example.org\"), Prefix(\"api.\")] \
         [(\"x-version\", [Exact(\"2\"), Exact(\"3\")])] [(\"debug\", [Exact(\"1\")])]"
    );
    assert_eq!((first.priority, first.regex_priority), (5, 7));
    let plugin = &first.plugins[0];
    assert_eq!(plugin.kind, PluginKind::Named("jwt-auth".to_owned()));
    assert_eq!(
        plugin.config.to_json().to_string(),
        r#"{"secret":"hunter2-hunter2","digits":7,"file":"from-a-file","list":[1,2.5,true,null],"literal":"${SECRET}"}"#
    );
    assert_eq!(plugin.config.get("digits").and_then(|node| node.as_str()), Some("007"));
    let span = plugin.config.span_of("/list/1/nothing");
    assert_eq!((span.line(), span.text()), (50, "2.5"));
    let script = &first.plugins[1];
    assert_eq!(script.kind, PluginKind::Script(folder.path().join("scripts/greet.lua")));
    assert_eq!((script.enabled, script.on_error), (false, OnError::Continue));
    assert_eq!(config.plugins.len(), 1);
    let dev = config.dev.as_ref().expect("dev");
    assert_eq!((dev.commands[0].title.as_str(), dev.commands[0].curl.as_str()), ("Hi", "curl http://127.0.0.1:8080/"));
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = good("_format_version: '3.0'\n");
    let listener = &config.listeners[0];
    assert_eq!((listener.address.to_string(), config.listeners.len()), ("127.0.0.1:8080".to_owned(), 1));
    assert_eq!(config.admin.map(|a| a.address.to_string()), Some("127.0.0.1:9080".to_owned()));
    assert_eq!(config.plugins_dir.path, std::path::Path::new("plugins"));
    assert_eq!(format!("{:?}", config.identity_headers), "[\"x-user-id\", \"x-user-email\"]");
    assert!(config.redis.is_none() && config.routes.is_empty());
}

#[test]
fn off_and_empty_values_switch_off() {
    let config = good("admin: off\naccess_log: off\nredis: ${REDIS_URL:-}\nroutes:\nplugins:\n");
    assert!(config.admin.is_none() && config.redis.is_none());
    assert_eq!(config.access_log.to, AccessLogTo::Off);
    assert!(good("redis: \"${EMPTY}\"\nadmin: false").redis.is_none());
}

#[test]
fn anchors_and_merge_keys_work() {
    let config = good(
        "services:\n- &base\n  name: a\n  url: http://h:1\n  retries: 3\n- <<: *base\n  name: b\n- {<<: [{retries: 9}, *base], name: c}\n",
    );
    let services: Vec<_> =
        config.services.iter().map(|s| format!("{} {} {}", s.name.value, s.targets[0], s.retries)).collect();
    assert_eq!(services, ["a http://h:1 3", "b http://h:1 3", "c http://h:1 9"]);
}

#[test]
fn an_expanded_value_cannot_add_keys() {
    let inject = |name: &str| (name == "X").then(|| "a\nadmin: off\n- {b: c}".to_owned());
    let source = super::Source::new("x", "services: [{name: '$${X}', url: http://h}]\naccess_log: ${X}");
    let config = super::load_source(&source, None, &inject).config.expect("a configuration");
    assert_eq!(config.services[0].name.value, "${X}");
    assert_eq!(config.access_log.to, AccessLogTo::File("a\nadmin: off\n- {b: c}".into()));
    assert!(config.admin.is_some());
}

#[test]
fn plugins_at_the_top_go_where_they_say() {
    let config = good(
        "services: [{name: s, url: 'http://h', plugins: [{name: own}], routes: [{name: r, paths: [/]}]}]\n\
         plugins:\n- name: all\n- {name: of-s, service: s}\n- {name: of-r, route: {name: r}}\n",
    );
    let names = |plugins: &[super::super::PluginUse]| {
        let names: Vec<_> = plugins.iter().map(|p| p.span.text().to_owned()).collect();
        names.join(" ")
    };
    let found = [names(&config.plugins), names(&config.services[0].plugins), names(&config.routes[0].plugins)];
    assert_eq!(found, ["all", "own of-s", "of-r"]);
}

#[test]
fn generated_names_are_distinct() {
    let config = good(
        "services: [{url: 'http://h', routes: [{paths: [/a]}, {paths: [/b]}]}]\nroutes: [{name: service-1-1, paths: [/c]}]",
    );
    let names: Vec<_> = config.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["service-1-1-2", "service-1-2", "service-1-1"]);
}

#[test]
fn the_file_is_looked_for_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let there = folder.path().join("x.yaml");
    std::fs::write(&there, "").expect("a file");
    let named = there.display().to_string();
    let env = |name: &str| (name == "GATEWRIGHT_CONFIG").then(|| named.clone());
    assert_eq!(find(None, &env).expect("found"), there);
    let gone = std::path::Path::new("/nowhere/gateway.yaml");
    let error = find(Some(gone), &env).expect_err("missing").to_string();
    assert_eq!(error, "the configuration `/nowhere/gateway.yaml`, given with -c, does not exist");
    let env = |_: &str| Some("/nowhere/g.yaml".to_owned());
    let error = find(None, &env).expect_err("missing").to_string();
    assert_eq!(error, "the configuration `/nowhere/g.yaml`, named by $GATEWRIGHT_CONFIG, does not exist");
}

#[test]
fn the_reference_lists_every_section() {
    use super::super::keys;
    let sections = [keys::SECTIONS, keys::MANIFEST_SECTIONS].concat();
    let reference = keys::reference(&sections);
    for section in sections {
        assert!(reference.contains(&format!("## {}\n", section.name)), "{}", section.name);
    }
    assert!(reference.contains("| `retries` | number | `0` |"), "{reference}");
}
