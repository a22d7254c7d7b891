//! The router against a plain reading of the rules: the index must find what trying every route finds.

use super::*;
use crate::config::{Source, load_source};
use proptest::prelude::*;

fn routes(yaml: &str) -> Vec<Route> {
    let loaded = load_source(&Source::new("gateway.yaml", yaml), None, &|_| None);
    loaded.config.map(|config| config.routes).unwrap_or_default()
}

/// One route a line: hosts, path, method.
fn yaml(routes: &[(usize, usize, usize)]) -> String {
    let mut yaml = String::from("services:\n  - name: s\n    url: http://127.0.0.1:1\n    routes:\n");
    for (index, (host, path, method)) in routes.iter().enumerate() {
        let hosts = ["", "hosts: [a.example.com], ", "hosts: ['*.example.com'], ", "hosts: ['a.*'], "][*host];
        let method = ["", "methods: [POST], "][*method];
        let path = PATHS[*path];
        yaml.push_str(&format!("      - {{name: r{index}, {hosts}{method}paths: ['{path}']}}\n"));
    }
    yaml
}

const PATHS: [&str; 12] =
    ["/", "/a", "/a/", "/a/b", "=/a", "=/a/b", "/{x}", "/a/{x}", "/{x}/b", "/{x}/", "~/a/[a-c]+$", "~/a"];
const ASKED: [&str; 12] = ["/", "/a", "/a/", "/ab", "/a/b", "/a/b/", "/a/b/c", "/b", "/b/b", "/b/", "//", "/a//b"];
const HOSTS: [&str; 5] = ["a.example.com", "b.example.com", "example.com", "a.test", ""];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_index_finds_what_trying_every_route_finds(
        all in prop::collection::vec((0..4usize, 0..PATHS.len(), 0..2usize), 1..12),
        host in 0..HOSTS.len(),
        path in 0..ASKED.len(),
        post in any::<bool>(),
    ) {
        let router = Router::new(routes(&yaml(&all)));
        let method = if post { Method::POST } else { Method::GET };
        let headers = HeaderMap::new();
        let subject = Subject {
            listener: "", scheme: Scheme::Http, host: HOSTS[host], path: ASKED[path], query: "", method: &method, headers: &headers,
        };
        let plain = router.entries.iter()
            .filter(|entry| {
                let route = &router.routes[entry.route];
                let host_fits = route.hosts.is_empty() || route.hosts.iter().any(|h| h.matches(subject.host));
                host_fits && path_fits(router.pattern(entry), subject.path) && unmet(route, &subject).is_none()
            })
            .max_by_key(|entry| *entry.rank)
            .map(|entry| router.routes[entry.route].name.value.clone());
        let found = router.find(&subject).map(|found| router.routes[found.route].name.value.clone());
        prop_assert_eq!(found, plain);
    }

    /// Kong's users were bitten by this (6031, 7687, 9914): a route that a request doesn't match must not change where it goes.
    #[test]
    fn an_unrelated_route_changes_nothing(
        all in prop::collection::vec((0..4usize, 0..PATHS.len(), 0..2usize), 1..8),
        path in 0..ASKED.len(),
    ) {
        let name = |yaml: &str| {
            let router = Router::new(routes(yaml));
            let headers = HeaderMap::new();
            let subject = Subject {
                listener: "", scheme: Scheme::Http, host: "a.example.com", path: ASKED[path], query: "",
                method: &Method::GET, headers: &headers,
            };
            router.find(&subject).map(|found| router.routes[found.route].name.value.clone())
        };
        let before = yaml(&all);
        let after = format!("{before}      - {{name: other, paths: ['/elsewhere', '~/else.*']}}\n");
        prop_assert_eq!(name(&before), name(&after));
    }
}

#[test]
fn the_rules_rank_in_their_order() {
    let file = "
services:
  - name: s
    url: http://127.0.0.1:1
    routes:
      - {name: regex, paths: ['~/users/\\d+']}
      - {name: parameters, paths: ['/users/{id}']}
      - {name: prefix, paths: [/users]}
      - {name: longer, paths: [/users/7]}
      - {name: exact, paths: ['=/users/7']}
      - {name: wildcard, hosts: ['*.example.com'], paths: [/]}
      - {name: host, hosts: [api.example.com], paths: [/]}
      - {name: first, priority: 1, methods: [DELETE], paths: [/users]}
";
    let router = Router::new(routes(file));
    let order = |method: Method, host: &str, path: &str| {
        let headers = HeaderMap::new();
        let subject =
            Subject { listener: "", scheme: Scheme::Http, host, path, query: "", method: &method, headers: &headers };
        router.find(&subject).map(|found| router.routes()[found.route].name.value.clone()).unwrap_or_default()
    };
    assert_eq!(order(Method::GET, "x.test", "/users/7"), "exact");
    assert_eq!(order(Method::GET, "x.test", "/users/7/a"), "longer");
    assert_eq!(order(Method::GET, "x.test", "/users/8"), "prefix");
    assert_eq!(order(Method::GET, "api.example.com", "/users/7"), "host");
    assert_eq!(order(Method::GET, "b.example.com", "/users/7"), "wildcard");
    assert_eq!(order(Method::DELETE, "api.example.com", "/users/7"), "first");
    assert_eq!(order(Method::GET, "x.test", "/userss"), "");
}
