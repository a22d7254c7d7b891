//! Files shaped as in Kong's documentation run as they stand.

use super::super::Style;
use super::{good, load_text, run_cases};

/// Services with everything from `url` to upstreams, as `deck gateway dump` writes them.
const DUMP: &str = include_str!("kong.yml");

fn routes(yaml: &str) -> Vec<String> {
    let config = good(yaml);
    let show = |route: &super::super::Route| {
        let paths: Vec<_> = route.paths.iter().map(|p| p.to_string()).collect();
        let targets: Vec<_> =
            config.service_of(route).iter().flat_map(|s| &s.targets).map(|t| format!("{t} x{}", t.weight)).collect();
        format!("{} {} -> {}", route.name.value, paths.join(" "), targets.join(" "))
    };
    config.routes.iter().map(show).collect()
}

#[test]
fn a_dump_runs_unmodified() {
    assert_eq!(
        routes(DUMP),
        [
            "example_route /mock /anything -> http://httpbin.example.com x1",
            r"users-regex ~/users/(?<id>\d+)$ -> http://127.0.0.1:9001/v1 x1",
            "orders-route /orders -> http://10.0.0.1:8000/base x100 http://orders.internal:9000/base x50",
            "by-id /by-id -> http://127.0.0.1:9001/v1 x1",
        ]
    );
    let config = good(DUMP);
    let service = &config.services[0];
    assert_eq!(
        format!(
            "{:?} {:?} {:?} {}",
            service.connect_timeout, service.read_timeout, service.write_timeout, service.retries
        ),
        "60s 60s 60s 5"
    );
    let route = &config.routes[0];
    assert_eq!(
        format!(
            "{:?} {:?} {:?} {} {}",
            route.hosts, route.methods, route.headers, route.strip_path, route.preserve_host
        ),
        "[Exact(\"example.com\"), Suffix(\".foo.com\")] [GET, POST] [(\"x-version\", [Exact(\"v1\"), Exact(\"v2\")])] true true"
    );
}

#[test]
fn before_format_3_a_path_with_odd_characters_is_a_regex() {
    let yaml = |version: &str| {
        format!("_format_version: '{version}'\nservices: [{{url: 'http://h', routes: [{{paths: ['/a/\\d+', /b]}}]}}]")
    };
    assert_eq!(routes(&yaml("2.1")), ["service-1-1 ~/a/\\d+ /b -> http://h x1"]);
    let shown = load_text(&yaml("3.0")).diagnostics.render(Style::Plain);
    assert_eq!(
        shown.lines().next(),
        Some("error: `/a/\\d+` is not a path to match: `\\` must be percent-encoded in a path")
    );
}

#[test]
fn a_disabled_service_is_not_routed_to() {
    let yaml = "services: [{name: a, url: 'http://h', enabled: false, routes: [{paths: [/a]}]}, {name: b, url: 'http://i', routes: [{paths: [/b]}]}]";
    assert_eq!(routes(yaml), ["b-1 /b -> http://i x1"]);
}

#[test]
fn what_differs_from_kong_is_said() {
    let count = run_cases("kong.txt", |yaml| load_text(yaml).diagnostics.render(Style::Plain));
    assert!(count >= 5, "{count} cases ran");
}
